"""pivot: from where on the run only goes forward; what is no longer undone, and what waits instead of failing."""

import pytest

from tests.support.saga_rules import check_saga
from tests.support.world import World

JOB = "job: {image: busybox}"
UNDO = "compensate: {job: {image: undo}}"
SAGA = f"""
steps:
- {{name: reserve, {JOB}, {UNDO}}}
- {{name: send, {JOB}, pivot: true}}
- {{name: tell, {JOB}, {UNDO}}}
- {{name: book, {JOB}}}
"""


def beyond(world: World) -> World:
    return world.succeed("reserve").succeed("send").succeed("tell")


def test_before_the_pivot_a_failure_undoes_what_was_done() -> None:
    world = World(SAGA).succeed("reserve").fail("send")
    assert (world.phase, world.running) == ("Compensating", ["reserve:compensate"])


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_a_run_past_its_pivot_that_is_ended_keeps_what_was_done_and_says_so(how: str) -> None:
    world = beyond(World(SAGA)).wants(**{how: True})
    assert (world.phase, world.condition("Compensated")) == ("Cancelled", ("False", "PivotPassed"))
    assert not [made.path for made in world.made if ":compensate" in made.path]
    check_saga(world.program, world.entries)


def test_a_step_that_would_fail_after_the_pivot_waits_for_a_person_and_the_run_goes_on_forward() -> None:
    world = beyond(World(SAGA)).fail("book")
    assert (world.phase, world.phases()["book"], world.condition("Stalled")) == ("Running", "Paused", ("True", "StepPaused"))
    world.ask("book", "Retry").succeed("book")
    assert world.phase == "Succeeded"


def test_a_failure_that_a_catch_deals_with_does_not_wait() -> None:
    world = World(
        f"steps: [{{name: send, {JOB}, pivot: true}}, {{name: b, steps: [{{name: a, {JOB}}}], catch: [{{steps: [{{name: h, {JOB}}}]}}]}}]"
    )
    world.succeed("send").fail("b/a")
    assert world.running == ["b:catch0/h"]


@pytest.mark.parametrize(
    ("structure", "failing", "goes_on"),
    [
        (
            f"parallel: {{join: Any, branches: [{{name: x, steps: [{{name: a, {JOB}}}]}}, {{name: y, steps: [{{name: a, {JOB}}}]}}]}}",
            "s/x/a",
            "s/y/a",
        ),
        (f"forEach: {{count: 2, tolerate: 1, steps: [{{name: a, {JOB}}}]}}", "s[0]/a", "s[1]/a"),
        (
            f"dag: {{failFast: false, steps: [{{name: a, {JOB}}}, {{name: h, {JOB}, dependsOn: [{{step: a, outcome: Failed}}]}}]}}",
            "s/a",
            "s/h",
        ),
    ],
    ids=["a join without it", "tolerated", "asked for in a dag"],
)
def test_a_failure_that_the_structure_can_do_without_does_not_wait(structure: str, failing: str, goes_on: str) -> None:
    world = World(f"steps: [{{name: send, {JOB}, pivot: true}}, {{name: s, {structure}}}]").succeed("send").fail(failing)
    assert (world.phases()[failing], goes_on in world.running) == ("Failed", True)


def test_the_first_pivot_that_succeeds_in_any_branch_or_iteration_holds_for_the_whole_run() -> None:
    branches = (
        f"[{{name: x, steps: [{{name: send, {JOB}, pivot: true}}]}}, {{name: y, steps: [{{name: a, {JOB}, {UNDO}}}, {{name: b, {JOB}}}]}}]"
    )
    world = World(f"steps: [{{name: p, parallel: {{branches: {branches}}}}}]").succeed("p/y/a").succeed("p/x/send").fail("p/y/b")
    assert (world.phases()["p/y/b"], world.state.run.pivot) == ("Paused", "p/x/send")


def test_the_run_remembers_the_first_pivot_alone() -> None:
    world = World(f"steps: [{{name: send, {JOB}, pivot: true}}, {{name: bill, {JOB}, pivot: true}}]").succeed("send").succeed("bill")
    assert (world.state.run.pivot, world.story.count("PivotPassed")) == ("send", 1)


def test_a_pivot_that_was_skipped_is_none() -> None:
    world = World(f"steps: [{{name: a, {JOB}, {UNDO}}}, {{name: send, if: '${{ false }}', {JOB}, pivot: true}}, {{name: b, {JOB}}}]")
    world.succeed("a").fail("b")
    assert world.running == ["a:compensate"]


def test_a_pivot_of_which_nobody_knows_whether_it_was_done_waits_for_a_person() -> None:
    world = World(f"steps: [{{name: a, {JOB}, {UNDO}}}, {{name: send, {JOB}, pivot: true, timeout: 1m}}, {{name: b, {JOB}}}]")
    world.succeed("a").pass_time("1m")
    assert (world.phase, world.phases()["send"], world.step("send").outcome) == ("Running", "Paused", "Unknown")
    world.ask("send", "Retry").succeed("send").wants(cancel=True)
    assert (world.phase, world.condition("Compensated")) == ("Cancelled", ("False", "PivotPassed"))


def test_an_undo_after_the_pivot_undoes_nothing_and_says_why() -> None:
    world = (
        World(f"steps: [{{name: a, {JOB}, {UNDO}}}, {{name: send, {JOB}, pivot: true}}, {{name: back, undo: {{}}}}]")
        .succeed("a")
        .succeed("send")
    )
    assert (world.phase, world.phases()["a"]) == ("Succeeded", "Succeeded")
    assert any("the pivot send has succeeded" in entry.reason for entry in world.entries if entry.path == "back")


def test_what_is_being_undone_when_the_pivot_succeeds_elsewhere_is_undone_to_its_end() -> None:
    left = f"{{name: x, steps: [{{name: a, {JOB}, {UNDO}}}, {{name: b, {JOB}, {UNDO}}}, {{name: back, undo: {{}}}}]}}"
    world = World(f"steps: [{{name: p, parallel: {{branches: [{left}, {{name: y, steps: [{{name: send, {JOB}, pivot: true}}]}}]}}}}]")
    world.succeed("p/x/a").succeed("p/x/b").succeed("p/y/send")
    assert world.running == ["p/x/b:compensate"]
    world.succeed("p/x/b:compensate")
    assert (world.phase, world.phases()["p/x/b"], world.phases()["p/x/a"]) == ("Succeeded", "Compensated", "Succeeded")


def test_a_run_past_its_pivot_cannot_be_undone_on_request() -> None:
    world = beyond(World(SAGA)).succeed("book").wants(undo=True, undo_reason="not wanted")
    assert (world.phase, world.condition("Compensated")) == ("Succeeded", ("False", "PivotPassed"))
    assert world.story.count("CompensationRefused") == 1


def test_a_caller_is_told_that_its_child_is_past_its_pivot() -> None:
    world = World("steps: [{name: c, workflow: {name: child}}, {name: b, job: {image: i}}]").child("c", "Succeeded").fail("b")
    world.child("c:compensate", "Succeeded", kept="the pivot send has succeeded")
    assert world.condition("Stalled") == ("True", "CompensationFailed")
    world.ask("c:compensate", "Skip")
    assert (world.phase, world.condition("Compensated")) == ("Failed", ("False", "PartlyUndone"))


def test_iterations_are_forgotten_after_the_pivot_whatever_could_have_been_undone() -> None:
    body = f"steps: [{{name: a, {JOB}, {UNDO}}}]"
    world = World(f"steps: [{{name: send, {JOB}, pivot: true}}, {{name: w, while: {{condition: '${{ index < 40 }}', {body}}}}}]").succeed(
        "send"
    )
    for index in range(40):
        world.succeed(f"w[{index}]/a")
    assert (world.phase, len(world.state.steps) < 40) == ("Succeeded", True)
