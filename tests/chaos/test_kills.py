"""kill -9 of the real operator at random moments under load, on the real control plane: nothing is lost, nothing is done twice. See docs/proof.md."""

import shutil
from pathlib import Path

import pytest

from tests.chaos.conftest import Asked
from tests.chaos.faults import FAULTS
from tests.chaos.round import play
from tests.chaos.tally import Tally

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(0)]  # each round has limits of its own, for everything that it waits for

KILLS_TO_FIND_A_FAULT = 12
REST_SECONDS = 30


async def test_however_often_the_operator_is_killed_nothing_is_lost_and_nothing_is_done_twice(asked: Asked, tally: Tally) -> None:
    while tally.kills < asked.kills and not tally.broken:
        seed = tally.rounds[-1].seed + 1 if tally.rounds else asked.seed
        folder = _fresh(asked.file.parent / f"chaos-{seed}")
        done = await play(folder, seed, min(asked.round_kills, asked.kills - tally.kills))
        tally.rounds.append(done)
        tally.write(asked.file)
        print(f"seed {seed}: {tally.kills} of {asked.kills} kills, {len(done.broken)} rules broken, {done.seconds:.0f} s", flush=True)
    assert not tally.broken, "\n".join([f"books and logs are in {asked.file.parent}", *tally.broken[:50]])
    assert tally.kills >= asked.kills


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_that_only_a_kill_brings_to_light_is_found(fault: str, tmp_path: Path) -> None:
    found = await play(_fresh(tmp_path / "round"), 1, KILLS_TO_FIND_A_FAULT, fault, REST_SECONDS)
    assert found.broken


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
