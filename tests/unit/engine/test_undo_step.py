"""undo: what it reaches, forward recovery, and that nothing is undone twice, whatever becomes of the step meanwhile."""

import pytest

from tests.support.saga_rules import check_saga
from tests.support.world import World

JOB = "job: {image: busybox}"
UNDO = "compensate: {job: {image: undo}}"


def work(name: str) -> str:
    """A step that can be undone."""
    return f"{{name: {name}, {JOB}, {UNDO}}}"


def undone_in_order(world: World) -> list[str]:
    """Which compensations were begun, in that order; each may have made one Job only."""
    made = [made.path for made in world.made if made.path.endswith(":compensate")]
    assert len(made) == len(set(made)), f"a compensation was made twice: {made}"
    check_saga(world.program, world.entries)
    return [path.removesuffix(":compensate") for path in made]


def let_undo(world: World) -> World:
    """Every compensation that is asked for succeeds."""
    while going := [path for path in world.running if ":compensate" in path]:
        world.succeed(going[0])
    return world


@pytest.mark.parametrize(
    ("action", "undone"),
    [("{}", ["c", "b", "a"]), ("{to: a}", ["c", "b"]), ("{to: c}", []), ("{within: b}", ["b"])],
    ids=["everything so far", "back to the first", "back to where it is", "one step"],
)
def test_an_undo_reaches_as_far_as_it_says_and_the_run_goes_on(action: str, undone: list[str]) -> None:
    world = World(f"steps: [{work('a')}, {work('b')}, {work('c')}, {{name: back, undo: {action}}}, {{name: next, {JOB}}}]")
    world.succeed("a").succeed("b").succeed("c")
    assert undone_in_order(let_undo(world)) == undone
    assert (world.running, world.phases()["back"]) == (["next"], "Succeeded")
    assert {path for path in "abc" if world.phases()[path] == "Compensated"} == set(undone)
    world.succeed("next")
    assert world.phase == "Succeeded"


def test_what_an_undo_has_undone_is_not_undone_again_when_the_run_fails_later() -> None:
    world = World(f"steps: [{work('a')}, {work('b')}, {{name: back, undo: {{to: a}}}}, {{name: next, {JOB}}}]")
    let_undo(world.succeed("a").succeed("b")).fail("next")
    assert undone_in_order(let_undo(world)) == ["b", "a"]
    assert (world.phase, world.condition("Compensated")) == ("Failed", ("True", "AllUndone"))


def test_forward_recovery_undoes_goes_back_and_does_the_steps_anew() -> None:
    world = World(
        f"""
steps:
- {{name: start, set: {{tries: 0}}}}
- {work("hotel")}
- name: flight
  {JOB}
  {UNDO}
  catch: [{{errors: [NoSeat], steps: [{{name: back, undo: {{to: start}}}}, {{name: again, goto: {{step: hotel, maxVisits: 3}}}}]}}]
- {{name: pay, {JOB}}}
"""
    )
    let_undo(world.succeed("hotel").fail("flight", "NoSeat"))
    assert (undone_in_order(world), world.running) == (["hotel"], ["hotel~2"])
    world.succeed("hotel~2").succeed("flight~2").fail("pay~2")
    assert undone_in_order(let_undo(world)) == ["hotel", "flight~2", "hotel~2"]
    assert world.phase == "Failed"


def test_a_step_in_a_handler_undoes_the_block_that_failed_and_sees_its_error() -> None:
    undo = 'compensate: {job: {image: undo, args: ["${ error.type }"]}}'
    world = World(
        f"""
steps:
- {work("before")}
- name: trip
  steps: [{{name: a, {JOB}, {undo}}}, {{name: b, {JOB}}}]
  catch: [{{steps: [{{name: back, undo: {{within: trip}}}}]}}]
- {{name: next, {JOB}}}
"""
    )
    world.succeed("before").succeed("trip/a").fail("trip/b", "NoSeat")
    assert (world.running, world.made[-1].inputs["args"]) == (["trip/a:compensate"], ["NoSeat"])
    assert undone_in_order(let_undo(world)) == ["trip/a"]
    assert world.running == ["next"]


def test_an_undo_in_an_iteration_leaves_the_other_iterations_alone() -> None:
    world = World(
        f"""
steps:
- {work("before")}
- name: each
  forEach:
    count: 2
    steps:
    - {work("a")}
    - {{name: b, {JOB}, catch: [{{steps: [{{name: back, undo: {{}}}}]}}]}}
"""
    )
    world.succeed("before").succeed("each[0]/a").succeed("each[1]/a").fail("each[1]/b")
    assert undone_in_order(let_undo(world)) == ["each[1]/a"]
    assert (world.phases()["each[0]/a"], world.phases()["before"]) == ("Succeeded", "Succeeded")


def test_an_undo_in_a_branch_reaches_nothing_outside_of_it() -> None:
    world = World(
        f"""
steps:
- {work("before")}
- name: p
  parallel:
    branches:
    - {{name: x, steps: [{work("a")}, {{name: back, undo: {{}}}}, {{name: wait, {JOB}}}]}}
    - {{name: y, steps: [{work("a")}, {{name: wait, {JOB}}}]}}
"""
    )
    world.succeed("before").succeed("p/y/a").succeed("p/x/a")
    assert undone_in_order(let_undo(world)) == ["p/x/a"]


def test_a_block_that_says_how_to_undo_itself_is_undone_as_a_whole() -> None:
    world = World(f"steps: [{{name: b, steps: [{work('a')}], {UNDO}}}, {{name: back, undo: {{within: b}}}}]")
    assert undone_in_order(let_undo(world.succeed("b/a"))) == ["b"]
    assert world.phase == "Succeeded"


def test_a_compensation_that_cannot_be_done_pauses_the_undo_and_a_person_resolves_it() -> None:
    world = World(f"steps: [{work('a')}, {work('b')}, {{name: back, undo: {{}}}}, {{name: next, {JOB}}}]").succeed("a").succeed("b")
    for _ in range(5):
        world.fail("b:compensate").pass_time("2m")
    assert (world.phase, world.status["status"], world.condition("Stalled")) == ("Running", "Stalled", ("True", "CompensationFailed"))
    world.ask("b:compensate", "Skip", reason="released by hand")
    assert world.running == ["a:compensate"]
    let_undo(world)
    assert world.running == ["next"]
    assert any("left as it is: b" in entry.reason for entry in world.entries if entry.path == "back")
    check_saga(world.program, world.entries)


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_a_run_that_ends_while_it_undoes_a_part_undoes_the_rest_and_nothing_twice(how: str) -> None:
    world = World(f"steps: [{work('a')}, {work('b')}, {{name: back, undo: {{to: a}}}}, {{name: next, {JOB}}}]")
    world.succeed("a").succeed("b").wants(**{how: True})
    assert (world.phase, world.running, world.phases()["back"]) == ("Compensating", ["b:compensate"], "Cancelled")
    assert undone_in_order(let_undo(world)) == ["b", "a"]
    assert world.phase == "Cancelled"


def test_an_undo_that_takes_too_long_ends_what_it_has_begun_and_begins_nothing_else() -> None:
    world = World(f"steps: [{work('a')}, {work('b')}, {{name: back, undo: {{}}, timeout: 1m}}, {{name: next, {JOB}}}]")
    world.succeed("a").succeed("b").pass_time("1m")
    assert (world.phases()["back"], world.running) == ("Stopping", ["b:compensate"])
    world.succeed("b:compensate")
    assert (world.phase, world.running) == ("Compensating", ["a:compensate"])
    assert undone_in_order(let_undo(world)) == ["b", "a"]
    assert world.state.run.error and world.state.run.error.type == "Timeout"


def test_a_suspended_run_begins_no_compensation_and_goes_on_with_it_afterwards() -> None:
    world = World(f"steps: [{work('a')}, {work('b')}, {{name: back, undo: {{}}}}]").succeed("a").succeed("b")
    world.wants(suspend=True).succeed("b:compensate")
    assert (world.running, world.status["status"]) == ([], "Suspended")
    world.wants(suspend=False)
    assert undone_in_order(let_undo(world)) == ["b", "a"]
    assert world.phase == "Succeeded"


def test_a_savepoint_that_the_run_has_not_come_by_is_an_error() -> None:
    world = World(
        f"steps: [{{name: jump, goto: {{step: b}}}}, {{name: a, {JOB}}}, {{name: b, {JOB}}}, {{name: back, undo: {{to: a}}}}]"
    ).succeed("b")
    assert (world.phase, world.state.run.error and world.state.run.error.type) == ("Failed", "SavepointMissing")


@pytest.mark.parametrize("savepoint", ["set: {x: 1}", f"{JOB}, if: '${{ false }}'", "wait: {duration: 1s}"])
def test_any_step_is_a_savepoint_also_one_that_was_skipped(savepoint: str) -> None:
    world = World(f"steps: [{work('a')}, {{name: here, {savepoint}}}, {work('b')}, {{name: back, undo: {{to: here}}}}]")
    world.succeed("a").pass_time("1s").succeed("b")
    assert undone_in_order(let_undo(world)) == ["b"]


def test_a_child_run_is_undone_by_an_undo_of_its_caller() -> None:
    world = World("steps: [{name: c, workflow: {name: child}}, {name: back, undo: {}}, {name: next, job: {image: i}}]")
    world.child("c", "Succeeded").child("c:compensate", "Compensating").child("c:compensate", "Compensated")
    assert (world.phases()["c"], world.running) == ("Compensated", ["next"])


@pytest.mark.parametrize("loop", ["while: {condition: '${ index < 15 }', ", "forEach: {count: 15, parallelism: 1, "])
def test_an_iteration_that_may_have_to_be_undone_is_never_forgotten(loop: str) -> None:
    world = World(f"steps: [{{name: w, {loop}steps: [{work('a')}]}}}}, {{name: next, {JOB}}}]")
    for index in range(15):
        world.succeed(f"w[{index}]/a")
    assert undone_in_order(let_undo(world.fail("next"))) == [f"w[{index}]/a" for index in reversed(range(15))]


def test_a_loop_that_undoes_what_it_tried_remembers_only_its_last_iterations() -> None:
    tries = f"steps: [{work('a')}, {{name: back, undo: {{}}, if: '${{ index < 39 }}'}}]"
    world = World(f"steps: [{{name: w, while: {{condition: '${{ index < 40 }}', {tries}}}}}, {{name: next, {JOB}}}]")
    for index in range(40):
        let_undo(world.succeed(f"w[{index}]/a"))
    assert len(world.state.steps) < 60, "iterations in which nothing is left to undo are forgotten"
    world.fail("next")
    assert undone_in_order(let_undo(world))[-1] == "w[39]/a"
    assert world.phase == "Failed"


@pytest.mark.parametrize("keeps", ["cancelled without undoing", "out of time, with onFailure.compensate: false"])
def test_what_is_being_undone_when_a_run_ends_that_keeps_all_it_did_is_brought_to_its_end_and_nothing_else_is_undone(keeps: str) -> None:
    wants_cancel = keeps.startswith("cancelled")
    steps = f"[{work('a')}, {work('b')}, {{name: back, undo: {{within: b}}}}]"
    on_failure = f"onFailure: {{compensate: {str(wants_cancel).lower()}}}"
    world = World(f"timeout: 1h\n{on_failure}\nsteps: {steps}").succeed("a").succeed("b")
    if wants_cancel:
        world.wants(cancel=True, cancel_compensates=False)
    else:
        world.pass_time("1h")
    assert (world.phase, world.running) == ("Compensating", ["b:compensate"])
    world.succeed("b:compensate")
    assert (world.phase, world.running, world.phases()["a"]) == ("Cancelled" if wants_cancel else "Failed", [], "Succeeded")
    assert undone_in_order(world) == ["b"]
