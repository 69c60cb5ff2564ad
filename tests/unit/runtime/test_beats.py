"""What is told of a run as Events: in words for people, each thing once, however often it happened."""

import pytest

from backstay.runtime.announcing import NOTES, WARNINGS
from backstay.runtime.beats import Beat, beat
from tests.support.world import World

JOB = "job: {image: i}"


def story(world: World) -> list[tuple[str, Beat]]:
    """Return what is told of everything that has happened, each thing once."""
    found: dict[tuple[str, str], Beat] = {}
    for entry in world.entries:
        told = beat(entry, world.state, world.status)
        if told is not None and entry.kind in WARNINGS | NOTES:
            found.setdefault((entry.kind, told.subject), told)
    return [(kind, told) for (kind, _), told in found.items()]


def words(world: World) -> list[str]:
    return [f"{kind}: {told.message}" for kind, told in story(world)]


def test_a_saga_that_fails_is_told_from_its_first_trouble_to_its_end() -> None:
    world = World(
        f"""
steps:
- {{name: reserve, {JOB}, compensate: {{{JOB}}}}}
- name: pay
  steps: [{{name: charge, {JOB}, retry: {{maxAttempts: 2, interval: 1s, errors: ["*"]}}}}]
"""
    )
    world.succeed("reserve").fail("pay/charge").pass_time("5s").fail("pay/charge").succeed("reserve:compensate")
    assert words(world) == [
        "StepRetrying: pay/charge failed and is tried again: ExitCode: ExitCode happened",
        "StepFailed: pay/charge failed after 2 attempts: ExitCode: ExitCode happened",
        "RunFailing: the run fails: ExitCode: ExitCode happened; raised by pay/charge (attempt 2); there is no catch around it",
        "RunCompensating: the run is being undone, the newest step first: reserve",
        "StepCompensated: reserve is undone",
        "RunFailed: the run has failed: ExitCode: ExitCode happened; 1 step is undone: reserve",
    ]


def test_fifty_attempts_with_ever_new_words_are_told_once_and_another_type_of_error_by_itself() -> None:
    world = World(f"steps: [{{name: a, {JOB}, retry: {{maxAttempts: 60, interval: 1ms, maxDelay: 1ms, errors: ['*']}}}}]")
    for attempt in range(50):
        world.fail("a", output=f'{{"error": {{"type": "Busy", "message": "request {attempt}"}}}}').pass_time("1s")
    world.fail("a", "OOMKilled").pass_time("1s")
    assert words(world) == [
        "StepRetrying: a failed and is tried again: Busy: request 0",
        "StepRetrying: a failed and is tried again: OOMKilled: OOMKilled happened",
    ]


def test_items_that_fail_at_the_same_step_are_told_once() -> None:
    world = World(f"steps: [{{name: s, forEach: {{count: 20, parallelism: 20, tolerate: '100%', steps: [{{name: x, {JOB}}}]}}}}]")
    for index in range(20):
        world.fail(f"s[{index}]/x")
    assert words(world) == ["StepFailed: s[0]/x failed: ExitCode: ExitCode happened"]


def test_a_step_that_failed_because_a_step_in_it_did_is_not_told_again() -> None:
    world = World(f"steps: [{{name: a, steps: [{{name: b, steps: [{{name: c, {JOB}}}]}}]}}]").fail("a/b/c")
    assert [kind for kind, _ in story(world)] == ["StepFailed", "RunFailing", "RunFailed"]


@pytest.mark.parametrize(
    ("finally_", "told"),
    [
        ("fails", ["StepFailed: a:finally/tidy failed: Sticky: Sticky happened"]),
        ("is let go", ["FinallyAbandoned: a:finally is not waited for any longer: the compensation timeout is over"]),
    ],
)
def test_what_becomes_of_a_finally_is_told(finally_: str, told: list[str]) -> None:
    world = World(f"compensationTimeout: 1m\nsteps: [{{name: a, {JOB}, finally: [{{name: tidy, {JOB}}}]}}]").fail("a").wants(cancel=True)
    world.fail("a:finally/tidy", "Sticky") if finally_ == "fails" else world.pass_time("2m")
    assert [line for line in words(world) if "finally" in line] == told
