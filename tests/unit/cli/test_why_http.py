"""`backstay why` for runs that wait for an answer over HTTP."""

from backstay.cli.views.why import Cause, Evidence, why
from tests.support.world import World
from tests.unit.cli.runs import run_of, soon

CHARGE = 'steps: [{name: a, http: {method: POST, url: "https://pay.example.com/charges?key=geheim"}}]'


def test_a_call_that_goes_on_is_told_with_its_age_and_without_its_query() -> None:
    world = World(CHARGE)
    found = why(run_of(world), Evidence({}, {}, ()), soon(world, 12))
    assert (found.cause, found.sentence) == (Cause.STEP, "step a waits for the answer to POST https://pay.example.com/charges (for 12s)")


def test_what_a_call_waits_for_is_told() -> None:
    world = World(CHARGE).call_waits("a", "Waiting for other HTTP calls to end")
    assert (
        why(run_of(world), Evidence({}, {}, ()), soon(world, 12)).sentence
        == "step a is Running (for 12s): Waiting for other HTTP calls to end"
    )
