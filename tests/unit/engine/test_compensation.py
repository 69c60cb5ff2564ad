"""The way back: what is undone, in which order, and what happens when undoing goes wrong (DESIGN, promise 4)."""

import pytest

from backstay.engine.decide import decide
from backstay.engine.effects import effects_of
from backstay.engine.model import Observations, RemoveFinalizer, Wish
from backstay.engine.program import NOTHING
from tests.support.world import World

JOB = "job: {image: busybox}"
SAGA = """
steps:
- {name: reserve, job: {image: stock}, compensate: {job: {image: stock, args: [release, "${self.outputs.id}", "${error.type}"]}}}
- {name: charge, job: {image: pay}, compensate: {job: {image: pay, args: [refund]}}}
- {name: note, job: {image: note}}
- {name: ship, job: {image: ship}, compensate: {job: {image: ship, args: [recall]}}}
"""


def shipped(world: World, upto: str) -> World:
    for path in ("reserve", "charge", "note", "ship"):
        if path == upto:
            return world
        world.succeed(path, {"id": f"{path}-1"})
    return world


def test_a_failure_undoes_the_completed_steps_in_reverse_order() -> None:
    world = shipped(World(SAGA), "ship").fail("ship")
    assert (world.phase, world.running) == ("Compensating", ["charge:compensate"])
    world.succeed("charge:compensate")
    assert world.running == ["reserve:compensate"]
    assert world.made[-1].inputs["args"] == ["release", "reserve-1", "ExitCode"]
    world.succeed("reserve:compensate")
    assert (world.phase, world.condition("Compensated")) == ("Failed", ("True", "AllUndone"))
    assert {path: phase for path, phase in world.phases().items() if ":" not in path} == {
        "reserve": "Compensated",
        "charge": "Compensated",
        "note": "Succeeded",
        "ship": "Failed",
    }


def test_the_order_is_that_of_completion_not_of_the_definition() -> None:
    world = World(
        f"""
steps:
- name: p
  parallel:
    branches:
    - {{name: x, steps: [{{name: s, {JOB}, compensate: {{{JOB}}}}}]}}
    - {{name: y, steps: [{{name: s, {JOB}, compensate: {{{JOB}}}}}]}}
- {{name: last, {JOB}}}
"""
    )
    world.succeed("p/y/s").succeed("p/x/s").fail("last")
    assert world.running == ["p/x/s:compensate"]
    world.succeed("p/x/s:compensate")
    assert world.running == ["p/y/s:compensate"]


def test_the_finalizer_is_there_before_the_first_job_and_goes_with_the_end() -> None:
    world = World(SAGA)
    assert (world.finalizer, [made.path for made in world.made]) == (True, ["reserve"])
    shipped(world, "")
    assert (world.phase, world.finalizer) == ("Succeeded", False)


def test_cancel_stops_what_runs_then_undoes_what_was_done() -> None:
    world = shipped(World(SAGA), "charge")
    world.stops_at_once = False
    world.wants(cancel=True, cancel_reason="customer changed her mind")
    assert (world.phase, world.phases()["charge"]) == ("Stopping", "Stopping")
    world.gone("charge")
    assert (world.phase, world.running) == ("Compensating", ["charge:compensate"]), "it was cut off: nobody knows whether it was done"
    world.succeed("charge:compensate").succeed("reserve:compensate")
    assert (world.phase, world.status["message"]) == ("Cancelled", "customer changed her mind")
    assert world.condition("Succeeded") == ("False", "Cancelled")


def test_cancel_without_compensation_leaves_what_was_done() -> None:
    world = shipped(World(SAGA), "charge").wants(cancel=True, cancel_compensates=False)
    assert (world.phase, world.phases()["reserve"]) == ("Cancelled", "Succeeded")


def test_a_step_that_was_done_before_it_could_be_stopped_is_undone_too() -> None:
    world = shipped(World(SAGA), "charge")
    world.stops_at_once = False
    world.wants(cancel=True).succeed("charge", {"id": "c"})
    assert (world.phase, world.running) == ("Compensating", ["charge:compensate"])


def test_deletion_undoes_a_run_with_jobs_that_the_garbage_collector_leaves_alone() -> None:
    world = shipped(World(SAGA), "ship").wants(delete=True)
    assert (world.phase, world.running, world.made[-1].owned) == ("Compensating", ["ship:compensate"], False)
    world.succeed("ship:compensate").succeed("charge:compensate").succeed("reserve:compensate")
    assert (world.phase, world.finalizer) == ("Cancelled", False)
    assert [fact.name for fact in world.jobs.values() if not fact.owned] == [], "Jobs that would outlive the run are left"


def test_compensation_is_retried_and_stalls_when_it_cannot_be_done() -> None:
    world = shipped(World(SAGA), "ship").fail("ship")
    for _ in range(5):
        world.fail("charge:compensate").pass_time("2m")
    assert (world.phase, world.status["status"], world.condition("Stalled")) == ("Compensating", "Stalled", ("True", "CompensationFailed"))
    assert world.running == []
    world.pass_time("23h")
    assert world.phase == "Compensating"
    world.pass_time("1h")
    assert (world.phase, world.finalizer, world.condition("Compensated")) == ("Failed", False, ("False", "Abandoned"))
    assert "not undone: charge, reserve" in world.entries[-1].reason


def test_the_annotation_lets_a_stuck_run_go_and_it_is_recorded() -> None:
    world = shipped(World(SAGA), "ship").fail("ship").wants(delete=True, release=True)
    assert (world.phase, world.finalizer) == ("Failed", False)
    assert "CompensationAbandoned" in world.story
    assert "released by annotation; not undone: charge, reserve" in world.entries[-1].reason
    assert world.running == []


def test_what_goes_on_when_a_run_is_let_go_is_named_too() -> None:
    world = shipped(World(SAGA), "ship").wants(delete=True, release=True)
    assert (world.phase, world.finalizer) == ("Cancelled", False)
    told = next(entry.reason for entry in world.entries if entry.kind == "CompensationAbandoned")
    assert told.endswith("not undone: charge, reserve; cut off, and nobody knows whether it was done: ship")


def test_the_annotation_does_nothing_to_a_run_that_is_not_ending() -> None:
    world = shipped(World(SAGA), "ship").wants(release=True)
    assert (world.phase, world.running) == ("Running", ["ship"])


def test_a_terminating_namespace_ends_the_way_back_and_it_is_recorded() -> None:
    world = shipped(World(SAGA), "ship").wants(delete=True)
    world.refuse("ship:compensate", "NamespaceTerminating", "shop is being terminated")
    assert (world.phase, world.finalizer) == ("Cancelled", False)
    assert "not undone: ship, charge, reserve" in world.entries[-1].reason


@pytest.mark.parametrize("waits_for", ["a person", "its next attempt"])
def test_a_terminating_namespace_ends_a_way_back_that_would_create_no_job_soon(waits_for: str) -> None:
    world = shipped(World(SAGA), "ship").fail("ship")
    for _ in range(5 if waits_for == "a person" else 1):
        world.fail("charge:compensate").pass_time("2m" if waits_for == "a person" else "1ms")
    assert (world.phase, world.running) == ("Compensating", [])
    world.terminating = True
    world.wants(delete=True)
    assert (world.phase, world.finalizer) == ("Failed", False)
    assert world.entries[-1].reason == "the namespace is being deleted and refuses new Jobs; not undone: charge, reserve"


def test_in_a_terminating_namespace_a_run_whose_definition_is_gone_is_let_go() -> None:
    world = shipped(World(SAGA), "ship")
    observations = Observations(Wish(delete=True), terminating=True, has_finalizer=True)
    decision = decide(NOTHING, world.identity, world.state, observations, world.now)
    assert (decision.state.run.phase, decision.state.run.is_finished) == ("Cancelled", True)
    assert "the workflow's revision with it" in decision.entries[-1].reason
    assert effects_of(NOTHING, decision.state, observations) == [RemoveFinalizer()]


def test_a_job_that_the_deletion_of_its_run_took_away_is_made_again_and_uses_up_no_attempt() -> None:
    world = World(f"steps: [{{name: a, {JOB}, compensate: {{{JOB}, retry: {{maxAttempts: 1}}}}}}, {{name: b, {JOB}}}]")
    world.succeed("a").fail("b").wants(delete=True).lose_job("a:compensate").pass_time("2s")
    assert (world.running, world.step("a:compensate").attempt) == (["a:compensate"], 1)
    assert len({made.name for made in world.made_for("a:compensate")}) == 2
    world.succeed("a:compensate")
    assert (world.phase, world.finalizer, world.condition("Compensated")) == ("Failed", False, ("True", "AllUndone"))


def test_a_job_that_somebody_deletes_while_it_undoes_something_uses_up_an_attempt() -> None:
    world = World(f"steps: [{{name: a, {JOB}, compensate: {{{JOB}, retry: {{maxAttempts: 1}}}}}}, {{name: b, {JOB}}}]")
    world.succeed("a").fail("b").lose_job("a:compensate")
    assert world.condition("Stalled") == ("True", "CompensationFailed")


def test_a_block_that_says_how_to_undo_itself_speaks_for_its_steps() -> None:
    world = World(f"steps: [{{name: b, steps: [{{name: a, {JOB}, compensate: {{{JOB}}}}}], compensate: {{{JOB}}}}}, {{name: c, {JOB}}}]")
    world.succeed("b/a").fail("c")
    assert world.running == ["b:compensate"]
    world.succeed("b:compensate")
    assert (world.phase, world.phases()["b/a"]) == ("Failed", "Succeeded")


@pytest.mark.parametrize(
    ("structure", "path", "reference"),
    [
        ("steps: [{name: a, job: {image: x}}]", "s/a", "a.id"),
        ("parallel: {branches: [{name: left, steps: [{name: a, job: {image: x}}]}]}", "s/left/a", "left.a.id"),
        ("forEach: {count: 1, collect: '${ steps.a.outputs.id }', steps: [{name: a, job: {image: x}}]}", "s[0]/a", "items[0]"),
    ],
)
def test_a_structure_that_is_undone_sees_what_it_left_behind(structure: str, path: str, reference: str) -> None:
    undo = f'compensate: {{job: {{image: undo, args: ["${{ self.outputs.{reference} }}"]}}}}'
    world = World(f"steps: [{{name: s, {structure}, {undo}}}, {{name: b, {JOB}}}]")
    world.succeed(path, {"id": "r-1"}).fail("b")
    assert (world.running, world.made[-1].inputs["args"]) == (["s:compensate"], ["r-1"])


def test_several_steps_can_undo_one() -> None:
    world = World(
        f'steps: [{{name: a, {JOB}, compensate: {{steps: [{{name: x, {JOB}}}, {{name: y, job: {{image: i, args: ["${{self.outputs.v}}"]}}}}]}}}}, {{name: b, {JOB}}}]'
    )
    world.succeed("a", {"v": 4}).fail("b")
    world.succeed("a:compensate/x")
    assert world.made[-1].inputs["args"] == ["4"]
    world.succeed("a:compensate/y")
    assert (world.phase, world.phases()["a"]) == ("Failed", "Compensated")


def test_on_failure_can_leave_everything_as_it_is() -> None:
    world = shipped(World("onFailure: {compensate: false}\n" + SAGA), "ship").fail("ship")
    assert (world.phase, world.phases()["charge"]) == ("Failed", "Succeeded")


def test_steps_in_a_handler_are_undone_as_well() -> None:
    world = World(f"steps: [{{name: a, {JOB}, catch: [{{steps: [{{name: alt, {JOB}, compensate: {{{JOB}}}}}]}}]}}, {{name: b, {JOB}}}]")
    world.fail("a").succeed("a:catch0/alt").fail("b")
    assert world.running == ["a:catch0/alt:compensate"]


@pytest.mark.parametrize("phase", ["Running", "Compensating"])
def test_suspension_holds_new_starts_and_resume_goes_on(phase: str) -> None:
    world = shipped(World(SAGA), "ship")
    if phase == "Compensating":
        world.fail("ship")
        world.wants(suspend=True).succeed("charge:compensate")
    else:
        world.wants(suspend=True).succeed("ship")
        assert world.phase == "Succeeded"
        return
    assert (world.running, world.status["status"]) == ([], "Suspended")
    world.wants(suspend=False)
    assert world.running == ["reserve:compensate"]


@pytest.mark.parametrize(("retry", "attempts"), [("", 5), ("retry: {maxAttempts: 2, errors: [Transient]}, ", 2)])
def test_the_steps_of_a_compensation_are_tried_as_often_as_it_says(retry: str, attempts: int) -> None:
    world = World(f"steps: [{{name: a, {JOB}, compensate: {{{retry}steps: [{{name: x, {JOB}}}]}}}}, {{name: b, {JOB}}}]")
    world.succeed("a").fail("b")
    for _ in range(attempts):
        world.fail("a:compensate/x").pass_time("2m")
    assert world.condition("Stalled") == ("True", "CompensationFailed")
    assert world.step("a:compensate/x").attempt == attempts


def test_a_parallel_is_undone_at_the_place_where_its_join_was_met_not_where_its_rest_ended() -> None:
    """What came after the join saw it done: it is undone before."""
    branches = "[{name: quick, steps: [{name: a, job: {image: i}}]}, {name: slow, steps: [{name: b, job: {image: i}}]}]"
    world = World(
        f"""
steps:
- name: quotes
  parallel: {{join: Any, cancelRest: false, branches: {branches}}}
  compensate: {{job: {{image: undo-quotes}}}}
- {{name: order, job: {{image: order}}, compensate: {{job: {{image: undo-order}}}}}}
- {{name: pay, job: {{image: pay}}}}
"""
    )
    world.succeed("quotes/quick/a").succeed("order").succeed("quotes/slow/b")
    world.fail("pay", "Declined")
    assert world.running == ["order:compensate"]
    world.succeed("order:compensate")
    assert world.running == ["quotes:compensate"]
