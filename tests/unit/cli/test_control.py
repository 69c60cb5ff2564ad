"""suspend, resume, cancel: what they change, what they say will happen, and when they refuse."""

from collections.abc import Callable

import pytest

from backstay.cli.views.control import MOST_REQUESTS, Step, cancel, refusal_of_request, resume, suspend
from backstay.cli.views.seen import read_run
from tests.support.world import World
from tests.unit.cli.runs import manifest_of, run_of

SAGA = """
steps:
- {name: reserve, job: {image: stock}, compensate: {job: {image: stock}}}
- {name: charge, job: {image: pay}, compensate: {job: {image: pay}}}
- {name: ship, job: {image: ship}}
"""


def shipping() -> World:
    return World(SAGA).succeed("reserve").succeed("charge")


def finished() -> World:
    return shipping().succeed("ship")


def stop(world: World, *, compensate: bool = True, reason: str = "") -> Step:
    return cancel(run_of(world), reason, compensate=compensate)


def test_suspending_says_what_goes_on() -> None:
    step = suspend(run_of(shipping()))
    assert step.patch == {"suspend": True}
    assert step.words == (
        "order-7f2 is suspended: nothing new starts; ship goes on to its end; let it go on with `backstay resume order-7f2`"
    )


def test_suspending_twice_changes_nothing() -> None:
    step = suspend(run_of(shipping().wants(suspend=True)))
    assert (step.patch, step.refusal, step.words) == (None, "", "order-7f2 is suspended already")


def test_resuming_undoes_a_suspension_that_the_operator_has_not_yet_seen() -> None:
    assert resume(run_of(shipping(), suspend=True)).patch == {"suspend": False}


def test_resuming_what_is_not_suspended_changes_nothing() -> None:
    step = resume(run_of(shipping()))
    assert (step.patch, step.refusal) == (None, "") and "is not suspended" in step.words


def test_cancelling_says_what_is_stopped_and_what_is_undone_in_which_order() -> None:
    step = stop(shipping(), reason="changed her mind")
    assert step.patch == {"cancel": {"compensate": True, "reason": "changed her mind"}}
    assert "ship is stopped; then charge and reserve are undone, in this order" in step.words


def test_cancelling_without_compensation_says_that_what_was_done_stays() -> None:
    step = stop(shipping(), compensate=False)
    assert step.patch == {"cancel": {"compensate": False}}
    assert step.words == "order-7f2 is cancelled: ship is stopped, and what was done stays done"


def test_cancelling_a_run_that_has_not_begun_is_possible() -> None:
    run = read_run({**manifest_of(World(SAGA)), "status": {}})
    assert cancel(run, "", compensate=True).patch == {"cancel": {"compensate": True}}


def test_cancelling_twice_changes_nothing_and_cannot_change_the_first() -> None:
    world = shipping()
    world.stops_at_once = False
    world.wants(cancel=True)
    assert (stop(world).patch, stop(world).refusal) == (None, "")
    assert "was cancelled with compensation, and that cannot be changed any more" in stop(world, compensate=False).refusal


@pytest.mark.parametrize(
    ("world", "ask", "words"),
    [
        (finished, suspend, "order-7f2 has succeeded and cannot be suspended any more"),
        (finished, resume, "order-7f2 has succeeded and cannot be resumed any more"),
        (finished, lambda run: cancel(run, "", compensate=True), "has succeeded and cannot be cancelled any more"),
        (lambda: World(SAGA).fail("reserve", "Permanent"), suspend, "has failed and cannot be suspended"),
        (lambda: shipping().wants(cancel=True), suspend, "order-7f2 was cancelled and cannot be suspended"),
        (lambda: shipping().wants(delete=True), suspend, "order-7f2 was deleted and cannot be suspended"),
        (lambda: shipping().wants(delete=True), lambda run: cancel(run, "", compensate=True), "was deleted and is ending"),
        (
            lambda: shipping().fail("ship", "Permanent"),
            lambda run: cancel(run, "", compensate=True),
            "is ending by itself already (it will end Failed)",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_mend(world: Callable[[], World], ask: Callable[..., Step], words: str) -> None:
    step = ask(run_of(world()))
    assert step.patch is None and words in step.refusal and step.mend


def test_nothing_can_be_asked_of_a_step_that_has_not_begun_or_of_a_run_that_has_ended() -> None:
    words, mend = refusal_of_request(run_of(shipping()), "charg") or ("", "")
    assert words == 'no step "charg" of order-7f2 has begun'
    assert mend == "what goes on is ship; see `backstay tree order-7f2`"
    words, _ = refusal_of_request(run_of(finished()), "ship") or ("", "")
    assert words == "order-7f2 has succeeded and cannot be asked for anything any more"
    assert refusal_of_request(run_of(shipping()), "ship") is None


def test_a_run_that_was_asked_too_often_says_so_before_the_api_server_does() -> None:
    manifest = manifest_of(shipping())
    manifest["spec"]["requests"] = [{"id": f"r{index}", "step": "ship", "action": "Cancel"} for index in range(MOST_REQUESTS)]
    words, _ = refusal_of_request(read_run(manifest), "ship") or ("", "")
    assert words == "order-7f2 was asked 100 times, and more is not possible"
