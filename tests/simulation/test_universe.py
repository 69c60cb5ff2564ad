"""The real operator in small modelled universes in which everything goes wrong that can; DESIGN's promises are held against every write.

`make simulate RUNS=…` plays many; here are a few, and what shows that they can be relied upon: a seed replays, planted bugs are found, and what
fails is made smaller. BACKSTAY_UNIVERSES sets how many.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backstay.api.steps import Step, actions
from tests.simulation.universe.choices import bytes_of
from tests.simulation.universe.loop import Process, VirtualLoop
from tests.simulation.universe.many import Tally
from tests.simulation.universe.mutations import MUTATIONS, Mutation, planted
from tests.simulation.universe.page import BEGIN, END, drawn, shortened
from tests.simulation.universe.processes import KINDS
from tests.simulation.universe.scenario import scenario
from tests.simulation.universe.shrinking import shrunk
from tests.simulation.universe.universe import Outcome, enact, play

UNIVERSES = int(os.environ.get("BACKSTAY_UNIVERSES", "100"))
TRIED = 400
"""In so many universes a planted bug must show."""
ROOT = Path(__file__).parents[2]


def command(*arguments: str) -> str:
    """Play in a process of its own, where the order of sets is no chance; return what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.universe", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def test_every_kind_of_step_can_be_in_a_universe() -> None:
    assert set(actions(Step)) == KINDS


def test_no_promise_is_broken_in_the_universes_of_the_first_seeds() -> None:
    told = command("--runs", str(UNIVERSES), "--workers", "2")
    assert "no promise was broken" in told
    assert f"{UNIVERSES:,} universes" in told


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=160))
def test_no_promise_is_broken_in_any_universe(data: bytes) -> None:
    outcome = play(data)
    assert not outcome.broken, words(outcome)


def kept_tally(file: Path) -> Tally:
    found = Tally.kept(file)
    found.played.append(1)
    found.note(50, play(bytes_of(50)))
    found.keep(file)
    return found


def test_a_tally_that_is_kept_is_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "tally.json"
    first = kept_tally(file)
    assert Tally.kept(file) == first
    second = Tally.kept(file)
    second.add(Tally(universes=1, phases=Counter(Succeeded=1), played=[0]))
    assert (second.universes, sorted(second.played)) == (2, [0, 1])
    assert Tally.kept(tmp_path / "none.json").universes == 0


def test_a_tally_of_other_sources_proves_nothing_of_these_and_is_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "tally.json"
    replace(kept_tally(file), sources="others").keep(file)
    assert Tally.kept(file).universes == 0


def test_the_page_shows_the_tally_between_its_marks_and_nothing_else_of_it_changes(tmp_path: Path) -> None:
    kept_tally(tmp_path / "tally.json")
    tally = shortened(json.loads((tmp_path / "tally.json").read_text()))
    page = drawn(f"# Proof\n{BEGIN}\nold\n{END}\nthe rest\n", tally)
    assert "seeds 50 to 99.\n" in page
    assert "| universes | 1 |" in page
    assert page.endswith(f"| universes that break a promise | 0 |\n{END}\nthe rest\n")
    assert drawn(page, tally) == page


def test_a_tally_with_gaps_is_not_drawn() -> None:
    with pytest.raises(ValueError, match="has gaps between chunk 0 and 2"):
        shortened({"played": [2, 0]})


def test_a_seed_replays_to_the_last_request_in_another_process() -> None:
    assert command("--seed", "53") == command("--seed", "53")


@pytest.mark.parametrize("bug", MUTATIONS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_a_planted_bug_is_found(bug: Mutation) -> None:
    worlds = bug.worlds or [scenario(bytes_of(seed)) for seed in (*bug.seeds, *range(TRIED))]
    with planted(bug):
        found = next((world for world in worlds if enact(world).broken), None)
    assert found is not None, f"{bug.name}: no promise is broken in {len(worlds)} universes"
    assert not enact(found).broken, "without the bug the same universe breaks no promise"


def test_a_bug_whose_place_in_the_source_is_gone_is_not_passed_over() -> None:
    gone = Mutation("a bug of yesterday", MUTATIONS[0].where, "what is nowhere in it", "")
    with pytest.raises(LookupError, match="plant it anew"), planted(gone):
        pass


def test_what_fails_is_made_smaller_and_breaks_the_same_promise_still() -> None:
    bug = next(bug for bug in MUTATIONS if bug.name == "timers are forgotten")
    with planted(bug):
        seed = next(seed for seed in (*bug.seeds, *range(TRIED)) if play(bytes_of(seed)).broken)
        before = bytes_of(seed)
        after = shrunk(before, tries=20)
        assert len(after) < len(before)
        assert play(after).broken[0][:2] == play(before).broken[0][:2]
        assert shrunk(before, seconds=0) == before


async def beats(times: int, seconds: float) -> None:
    for _ in range(times):
        await asyncio.sleep(seconds)


@pytest.mark.parametrize(("seconds", "is_too_much"), [(0.1, False), (0.001, True)])
def test_who_wakes_seldom_may_do_so_for_long_and_who_wakes_for_nothing_is_told_of(seconds: float, is_too_much: bool) -> None:
    told: list[SystemExit] = []
    loop = VirtualLoop(lambda process: None, lambda process, why: told.append(why))
    loop.most_steps = 100
    loop.run_until_complete(Process("a").start(beats(300, seconds), loop))
    loop.close()
    assert bool(told) is is_too_much


def test_an_operator_that_is_dead_does_not_die_again_while_it_ends() -> None:
    killed: list[Process] = []
    loop = VirtualLoop(killed.append, lambda process, why: None)
    process = Process("a")
    process.dies_at, process.is_dead = 5, True
    loop.run_until_complete(process.start(beats(20, 0.1), loop))
    loop.close()
    assert killed == []


def words(outcome: Outcome) -> str:
    return "\n".join([*outcome.broken, f"python -m tests.simulation.universe --data {outcome.data.hex()}"])
