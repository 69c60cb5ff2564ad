"""backstay why of a run that fails: what was tried, caught, undone and left, in order."""

import pytest

from backstay.cli.views.failing import MOST, beats
from backstay.engine.model import Request
from tests.support.world import World
from tests.unit.cli.runs import run_of

JOB = "job: {image: i}"
SAGA = f"""
onFailure: {{workflow: {{name: mend}}}}
steps:
- {{name: reserve, {JOB}, compensate: {{{JOB}}}}}
- {{name: ship, {JOB}, compensate: {{{JOB}, retry: {{maxAttempts: 2, interval: 1s}}}}}}
- {{name: label, {JOB}, catch: [{{steps: [{{name: plain, set: {{x: 1}}}}]}}]}}
- {{name: charge, {JOB}, retry: {{maxAttempts: 2, interval: 1s, errors: ["*"]}}, finally: [{{name: close, {JOB}}}]}}
"""


def failed() -> World:
    world = World(SAGA).succeed("reserve").succeed("ship").fail("label")
    world.fail("charge").pass_time("5s").fail("charge").succeed("charge:finally/close")
    return world.fail("ship:compensate").pass_time("5s").fail("ship:compensate")


def told(world: World) -> list[str]:
    return [beat.text for beat in beats(run_of(world))]


def test_a_stalled_run_says_what_was_tried_caught_and_is_left_and_what_waits_for_a_person() -> None:
    assert told(failed()) == [
        "tried     charge: 2 attempts, ExitCode: ExitCode happened",
        "caught    label: ExitCode: ExitCode happened",
        "left      ship: to be undone",
        "left      reserve: to be undone",
        "waits     ship:compensate: paused after 2 attempts (ExitCode: ExitCode happened): a person must retry, edit, skip or give up",
    ]


def test_a_run_that_has_ended_says_what_is_undone_what_is_left_as_it_is_and_which_run_recovers() -> None:
    world = failed().wants(requests=(Request("r1", "ship:compensate", "Skip", reason="by hand"),)).succeed("reserve:compensate")
    assert world.phase == "Failed"
    lines = told(world)
    assert "undone    reserve" in lines
    assert "left      ship: skipped" in lines
    assert lines[-1] == f"recovery  run {world.status['recovery']} was started"


@pytest.mark.parametrize("ends", [True, False], ids=["succeeded", "goes on"])
def test_a_run_that_goes_well_has_no_such_story(ends: bool) -> None:
    world = World(f"steps: [{{name: a, {JOB}}}]")
    assert told(world.succeed("a") if ends else world) == []


def test_of_many_failures_the_first_are_named_and_the_others_counted() -> None:
    world = World(
        f"steps: [{{name: s, forEach: {{count: 9, parallelism: 9, tolerate: 8, steps: [{{name: x, {JOB}}}]}}}}, {{name: b, fail: {{error: Bad}}}}]"
    )
    for index in range(8):
        world.fail(f"s[{index}]/x")
    lines = told(world.succeed("s[8]/x"))
    assert (len(lines), lines[-1]) == (MOST + 1, "tried     and 1 more")
