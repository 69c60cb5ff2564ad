"""Random sagas in a world full of trouble, judged by what was really done in it (tests/support/ledger_rules.py), not by what the engine says.
The journal is held against its own rules as well (tests/support/saga_rules.py).

Attempts fail, hang, vanish, are cancelled and robbed; compensations fail, and people come for them; the run is suspended, cancelled and
deleted; the operator dies between any two deeds, loses writes, does things twice and sees late. A failing saga is shown with its seed, and
hypothesis makes it smaller: fewer and smaller bytes are fewer and simpler steps.
"""

import os

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.ledger_rules import Rules
from tests.support.random_sagas import Saga, saga
from tests.support.saga_rules import check_saga
from tests.support.saga_world import SagaWorld

EXAMPLES = int(os.environ.get("BACKSTAY_EXAMPLES", "10000" if os.environ.get("CI") else "2500"))
BYTES = 64


@pytest.mark.timeout(600)
@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(min_size=BYTES, max_size=BYTES))
def test_what_was_done_is_undone_exactly_once_in_reverse_or_the_run_says_why(seed: bytes) -> None:
    judge(seed)


def judge(seed: bytes) -> None:
    """Play a saga, and hold its ledger against the rules."""
    found = saga(seed)
    world = SagaWorld(found)
    try:
        world.play()
        Rules(world).check()
        check_saga(world.program, world.entries)
    except Exception as error:
        pytest.fail("\n".join([f"{type(error).__name__}: {error}", story(found, world)]), pytrace=not isinstance(error, AssertionError))


def story(found: Saga, world: SagaWorld) -> str:
    """What to look at when a rule is broken."""
    spec = yaml.safe_dump(found.spec, sort_keys=False)
    entries = "\n".join(f"  {entry.kind} {entry.path} {entry.reason}"[:200] for entry in world.entries)
    said = "\n".join(f"  {kind}: {world.condition(kind)}" for kind in ("Compensated", "Stalled"))
    return f"seed {found.seed.hex()}; {found.words}\n{spec}\nwork:\n{world.ledger}\njournal:\n{entries}\nconditions:\n{said}\n"
