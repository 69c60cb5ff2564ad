"""The tally of the kill tests, and what it says of recovery. Needs no cluster."""

import json
from pathlib import Path

import pytest

from tests.chaos.lane import Life
from tests.chaos.page import BEGIN, END, drawn
from tests.chaos.recovery import Recoveries, recoveries
from tests.chaos.rules import Line
from tests.chaos.tally import Round, Tally, digest_of_sources

CORES = {"cores": 2}


def played(seed: int, kills: int, **found: object) -> Round:
    return Round(seed, {"under load": kills}, {"Succeeded": 10}, **found)  # type: ignore[arg-type]


def kept(file: Path, *rounds: Round, sources: str = "") -> None:
    Tally(sources or digest_of_sources(), CORES, list(rounds)).write(file)


def test_a_tally_that_is_not_full_is_gone_on_with(tmp_path: Path) -> None:
    kept(tmp_path / "tally.json", played(1, 100), played(2, 100))
    found = Tally.kept_in(tmp_path / "tally.json", 300, CORES)
    assert (found.kills, [each.seed for each in found.rounds]) == (200, [1, 2])


@pytest.mark.parametrize(
    ("rounds", "sources"),
    [([played(1, 300)], ""), ([played(1, 100, broken=["a rule"])], ""), ([played(1, 100)], "others")],
    ids=["full", "broken", "of other sources"],
)
def test_a_tally_begins_anew_where_the_one_that_is_kept_is(tmp_path: Path, rounds: list[Round], sources: str) -> None:
    kept(tmp_path / "tally.json", *rounds, sources=sources)
    assert Tally.kept_in(tmp_path / "tally.json", 300, CORES).rounds == []


def test_a_tally_is_summed_up_over_its_rounds_with_percentiles_of_all_times(tmp_path: Path) -> None:
    kept(tmp_path / "tally.json", played(1, 2, recoveries={"starts_cold": [3.0]}), played(2, 1, recoveries={"starts_cold": [1.0, 2.0]}))
    summary = json.loads((tmp_path / "tally.json").read_text())["summary"]
    assert {name: summary[name] for name in ("kills", "runs", "starts cold p50 s", "starts cold max s", "rules broken")} == {
        "kills": 3,
        "runs": 20,
        "starts cold p50 s": 2.0,
        "starts cold max s": 3.0,
        "rules broken": 0,
    }


def test_a_broken_rule_is_told_with_the_seed_of_its_round() -> None:
    assert Tally("", {}, [played(1, 1), played(7, 1, broken=["a rule"])]).broken == ["seed 7: a rule"]


def ended(at: float, run: str) -> Line:
    return Line(at, "done", "pod", "hotel", f"ns.{run}", 1, f"pod of {run}", run)


LIVES = [Life(0, "under load", False, 0.3, killed=10), Life(10, "last", True, 12)]


def test_recovery_is_from_the_kill_until_the_next_operator_writes_and_until_all_go_on_that_had_news_meanwhile() -> None:
    changes = [(9.0, "a"), (12.0, "a"), (12.5, "b"), (14.0, "c")]
    lines = [ended(9.5, "c"), ended(10.5, "a"), ended(11.0, "b")]
    assert recoveries(LIVES, changes, lines) == Recoveries(starts_cold=[2.0], goes_on_cold=[2.5])


def test_a_recovery_that_the_next_kill_cut_short_is_not_measured() -> None:
    lives = [LIVES[0], Life(10, "while it starts", False, None, killed=10.2), Life(10.2, "under load", False, 11, killed=11.5)]
    found = recoveries(lives, [(11.0, "a"), (13.0, "b")], [ended(10.5, "b")])
    assert found == Recoveries(starts_warm=[pytest.approx(0.8)]), "b went on only after the second operator was dead as well"


def test_the_page_shows_the_tally_between_its_marks_and_nothing_else_of_it_changes(tmp_path: Path) -> None:
    kept(tmp_path / "tally.json", played(3, 300), sources="abc")
    tally = json.loads((tmp_path / "tally.json").read_text())
    page = drawn(f"# Proof\n{BEGIN}\nold\n{END}\nthe rest\n", tally)
    assert page.startswith(f"# Proof\n{BEGIN}\ncores 2; sources abc; 1 rounds, seeds 3 to 3.\n")
    assert page.endswith(f"| rules broken | 0 |\n{END}\nthe rest\n")
    assert "| kills | 300 |" in page
    assert drawn(page, tally) == page


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="put both lines where the table is to stand"):
        drawn("# Proof\n", {"about": {}, "sources": "", "rounds": [], "summary": {}})
