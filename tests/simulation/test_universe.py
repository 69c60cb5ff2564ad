"""The real operator in small modelled universes in which everything goes wrong that can; DESIGN's promises are held against every write.

`make simulate RUNS=…` plays many; here are a few, and what shows that they can be relied upon: a seed replays, planted bugs are found, and what
fails is made smaller. BACKSTAY_UNIVERSES sets how many.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backstay.api.steps import Step, actions
from tests.simulation.universe.choices import bytes_of
from tests.simulation.universe.many import Tally
from tests.simulation.universe.mutations import MUTATIONS, Mutation, planted
from tests.simulation.universe.processes import KINDS
from tests.simulation.universe.shrinking import shrunk
from tests.simulation.universe.universe import Outcome, play

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


def test_a_tally_that_is_kept_is_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "tally.json"
    first = Tally(played=[1])
    first.note(50, play(bytes_of(50)))
    first.keep(file)
    assert Tally.kept(file) == first
    second = Tally.kept(file)
    second.add(Tally(universes=1, phases=Counter(Succeeded=1), played=[0]))
    assert (second.universes, sorted(second.played)) == (2, [0, 1])
    assert Tally.kept(tmp_path / "none.json") == Tally()


def test_a_seed_replays_to_the_last_request_in_another_process() -> None:
    assert command("--seed", "53") == command("--seed", "53")


@pytest.mark.parametrize("bug", MUTATIONS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_a_planted_bug_is_found(bug: Mutation) -> None:
    with planted(bug):
        found = next((seed for seed in (*bug.seeds, *range(TRIED)) if play(bytes_of(seed)).broken), None)
    assert found is not None, f"{bug.name}: no promise is broken in {TRIED} universes"
    assert not play(bytes_of(found)).broken, "without the bug the same universe breaks no promise"


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


def words(outcome: Outcome) -> str:
    return "\n".join([*outcome.broken, f"python -m tests.simulation.universe --data {outcome.data.hex()}"])
