"""A step that runs another workflow: what goes in, what comes back, and how both ways back are gone together."""

from typing import Any

import pytest

from backstay.engine.model import CancelRun, Fault, Hold, RunFact, UndoRun
from tests.support.world import World

JOB = "job: {image: i}"
FULFIL = """
parameters: [{name: country, default: nl}, {name: lines, default: [1, 2]}]
steps:
- {name: reserve, job: {image: i}, compensate: {job: {image: i}}}
- name: fulfil
  workflow: {name: "ship-${params.country}", version: 3, params: {lines: "${params.lines}", note: "for ${params.country}"}}
- {name: after, job: {image: i, args: ["${steps.fulfil.outputs.parcel}"]}}
"""
BARE = "steps: [{name: h, workflow: {name: child}}]"


def called(world: World) -> RunFact:
    """The child run of the newest attempt."""
    return world.children[world.born[-1].name]


# ------------------------------------------------------------------------------------------------------------------- there and back


def test_a_child_run_gets_its_parameters_by_value_and_gives_its_outputs_back() -> None:
    world = World(FULFIL).succeed("reserve")
    (made,) = world.born
    assert made.inputs == {"workflow": {"name": "ship-nl", "revision": 3}, "parameters": {"lines": [1, 2], "note": "for nl"}}
    assert made.name.startswith("order-7f2-fulfil-")
    world.child("fulfil", "Running").child("fulfil", "Succeeded", outputs={"parcel": "p-1"})
    assert world.running == ["after"]
    assert world.made[-1].inputs["args"] == ["p-1"]


def test_a_child_run_stands_in_the_written_state_before_it_is_made() -> None:
    world = World(BARE)
    entry = next(entry for entry in world.entries if entry.kind == "AttemptStarted")
    assert entry.changes["inputs"]["workflow"] == {"name": "child"}
    assert entry.changes["child"] == world.born[0].name


def test_a_child_run_that_takes_long_is_confirmed_by_one_write_and_only_one() -> None:
    world = World(BARE).child("h", "Running")
    writes = world.writes
    world.pass_time("1h")
    assert world.writes == writes + 1
    assert (world.step("h").child_uid, world.step("h").inputs) == ("run-1", None)


def test_a_template_of_another_workflow_is_run_as_a_child() -> None:
    world = World("steps: [{name: h, workflow: {name: library, template: pack-box, params: {n: 1}}}]")
    assert world.born[0].inputs["workflow"] == {"name": "library", "template": "pack-box"}


@pytest.mark.parametrize(
    ("workflow", "words"),
    [
        ('{name: "${params.n}"}', "is no name of a Workflow"),
        ('{name: child, version: "${params.n}"}', "is no number of a revision"),
    ],
)
def test_a_name_or_version_that_is_none_is_an_expression_error(workflow: str, words: str) -> None:
    world = World(f"parameters: [{{name: n}}]\nsteps: [{{name: h, workflow: {workflow}}}]", {"n": "../secrets"})
    assert (world.phase, world.status["error"]["type"], world.born) == ("Failed", "ExpressionError", [])
    assert words in world.status["error"]["detail"]


def test_a_child_run_that_nobody_waits_for_is_done_once_it_is_there() -> None:
    world = World(
        "steps: [{name: h, workflow: {name: child, wait: false}}]\noutputs: [{name: run, value: '${steps.h.outputs.run}'}]",
    )
    assert (world.phase, world.status["outputs"]) == ("Succeeded", {"run": world.born[0].name})
    assert not world.born[0].owned
    assert world.told == [], "it lives on"


# ------------------------------------------------------------------------------------------------------------------------- errors

CATCHES = """
steps:
- name: h
  workflow: {name: child}
  catch: [{errors: [OutOfStock], as: e, steps: [{name: note, set: {what: "${e.detail}", where: "${e.step}"}}]}]
"""


def test_the_error_of_a_child_run_is_caught_by_its_type() -> None:
    world = World(CATCHES).child("h", "Failed", error=Fault("OutOfStock", detail="no lamps", step="pick/lamp"))
    assert (world.phase, world.phases()["h"]) == ("Succeeded", "Caught")
    assert world.status["vars"] == {"what": f"no lamps (run {called(world).name})", "where": "h:child/pick/lamp"}


def test_an_error_from_far_below_names_the_whole_way_and_one_run() -> None:
    world = World(BARE).child("h", "Failed", error=Fault("Sunk", detail="no lamps (run x)", step="a:child/b"))
    error = world.status["error"]
    assert (error["type"], error["detail"], error["step"]) == ("Sunk", "no lamps (run x)", "h:child/a:child/b")


@pytest.mark.parametrize(
    ("phase", "seen", "type_"),
    [
        ("Failed", {"error": Fault("WorkflowNotFound", detail="no such")}, "WorkflowNotFound"),
        ("Failed", {}, "ChildFailed"),
        ("Cancelled", {"error": Fault("Cancelled", detail="cancelled: by hand")}, "Cancelled"),
        ("Compensated", {}, "ChildFailed"),
        ("Running", {"is_gone": True}, "ChildFailed"),
    ],
)
def test_however_a_child_run_fails_its_step_fails_of_it(phase: str, seen: dict[str, Any], type_: str) -> None:
    world = World(BARE).child("h", phase, **seen)
    assert (world.phase, world.status["error"]["type"]) == ("Failed", type_)


def test_another_attempt_is_another_child_run() -> None:
    world = World("steps: [{name: h, workflow: {name: child}, retry: {maxAttempts: 2, interval: 1s, jitter: None, errors: [Busy]}}]")
    world.child("h", "Failed", error=Fault("Busy")).pass_time("1s")
    assert [made.attempt for made in world.born] == [1, 2]
    assert len({made.name for made in world.born}) == 2
    assert world.child("h", "Succeeded").phase == "Succeeded"


def test_a_child_run_that_is_refused_fails_its_step() -> None:
    world = World(BARE)
    world.children.clear()
    world.refuse_run("h", "InvalidRun", "the run x stands in the way")
    assert (world.phase, world.status["error"]["detail"]) == ("Failed", "the run x stands in the way")


def test_what_keeps_a_child_run_from_being_made_is_told() -> None:
    world = World(BARE)
    world.children.clear()
    world.born.clear()
    world.held[world.step("h").child or ""] = Hold("Quota", "The quota is used up", "5 of 5 runs")
    world.look()
    assert world.status["status"] == "Running"
    assert world.born[0].name == world.step("h").child, "it is tried again"


# ------------------------------------------------------------------------------------------------------------------- cancelling


def test_a_cancelled_run_cancels_its_child_and_waits_until_that_is_undone() -> None:
    world = World(FULFIL).succeed("reserve").child("fulfil", "Running").wants(cancel=True, cancel_reason="a whim")
    (told,) = world.told
    assert isinstance(told, CancelRun)
    assert told.compensate
    assert "a whim" in told.reason
    assert "step fulfil" in told.reason
    assert (world.phase, world.running) == ("Stopping", [])
    world.child("fulfil", "Compensating")
    assert (world.phase, world.running) == ("Stopping", [])
    world.child("fulfil", "Cancelled")
    assert (world.phase, world.running) == ("Compensating", ["reserve:compensate"])


def test_a_run_that_is_cancelled_without_compensation_has_its_child_keep_what_it_did() -> None:
    world = World(FULFIL).succeed("reserve").child("fulfil", "Running").wants(cancel=True, cancel_compensates=False)
    assert [told.compensate for told in world.told if isinstance(told, CancelRun)] == [False]


def test_a_child_run_is_told_to_undo_itself_where_only_its_step_ends() -> None:
    world = World("onFailure: {compensate: false}\nsteps: [{name: h, timeout: 1m, workflow: {name: child}}]").child("h", "Running")
    world.pass_time("1m")
    assert (world.phase, world.step("h").phase) == ("Running", "Stopping")
    assert [told.compensate for told in world.told if isinstance(told, CancelRun)] == [True]
    world.child("h", "Cancelled", error=Fault("Cancelled"))
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "Timeout")


def test_an_attempt_that_takes_too_long_is_cancelled_and_tried_again_once_it_is_undone() -> None:
    world = World("steps: [{name: h, attemptTimeout: 1m, workflow: {name: child}, retry: {maxAttempts: 2, interval: 1ms, jitter: None}}]")
    world.child("h", "Running").pass_time("2m")
    assert (world.step("h").phase, len(world.born)) == ("Stopping", 1)
    world.child("h", "Cancelled").pass_time("1s")
    assert (world.step("h").phase, len(world.born)) == ("Running", 2)


def test_a_child_that_succeeds_before_it_could_be_cancelled_counts_and_is_undone_in_its_turn() -> None:
    world = World(FULFIL).succeed("reserve").child("fulfil", "Running").wants(cancel=True)
    world.child("fulfil", "Succeeded", outputs={"parcel": "p-1"})
    assert world.phases()["fulfil:compensate"] == "Running"
    assert isinstance(world.told[-1], UndoRun)


def test_a_child_that_succeeds_after_its_step_timed_out_is_undone_before_the_step_fails() -> None:
    world = World("steps: [{name: h, timeout: 1m, workflow: {name: child}}]").child("h", "Running").pass_time("1m")
    world.child("h", "Succeeded", outputs={})
    assert (world.step("h").phase, type(world.told[-1])) == ("Stopping", UndoRun)
    world.child("h", "Compensating")
    assert world.step("h").phase == "Stopping"
    world.child("h", "Compensated")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "Timeout")


def test_a_step_whose_child_was_never_made_is_cancelled_at_once() -> None:
    world = World(BARE)
    world.children.clear()
    world.wants(cancel=True)
    assert (world.phase, world.phases()) == ("Cancelled", {"h": "Cancelled"})


def test_a_child_that_no_step_wants_is_cancelled() -> None:
    world = World(BARE)
    world.children["stray"] = RunFact("stray", "run-9")
    world.look()
    assert [(told.name, type(told)) for told in world.told] == [("stray", CancelRun)]


# ---------------------------------------------------------------------------------------------------------------------- undoing

TWO_CHILDREN = f"""
steps:
- {{name: a, {JOB}, compensate: {{{JOB}}}}}
- {{name: b, workflow: {{name: child}}}}
- {{name: c, {JOB}, compensate: {{{JOB}}}}}
- {{name: d, {JOB}}}
"""


def test_a_child_that_has_succeeded_is_undone_at_its_place_in_the_reverse_order() -> None:
    world = World(TWO_CHILDREN).succeed("a").child("b", "Succeeded").succeed("c").fail("d")
    assert (world.phase, world.running, world.told) == ("Compensating", ["c:compensate"], [])
    world.succeed("c:compensate")
    (told,) = world.told
    assert (type(told), told.uid, world.running) == (UndoRun, "run-1", [])
    assert "ExitCode" in told.reason
    world.child("b", "Compensating").child("b", "Compensated")
    assert world.running == ["a:compensate"]
    world.succeed("a:compensate")
    assert (world.phase, world.condition("Compensated")) == ("Failed", ("True", "AllUndone"))
    undone = [entry.path for entry in world.entries if entry.kind == "StepCompensated"]
    assert undone == ["c", "b", "a"]


def test_a_run_with_child_runs_is_held_by_the_finalizer() -> None:
    assert World(BARE).finalizer
    assert not World("steps: [{name: h, workflow: {name: child, wait: false}}, {name: w, wait: {duration: 1h}}]").finalizer


def test_a_step_that_says_how_to_undo_it_speaks_for_its_child() -> None:
    world = World(f"steps: [{{name: h, workflow: {{name: child}}, compensate: {{{JOB}}}}}, {{name: x, fail: {{error: NoCar}}}}]")
    world.child("h", "Succeeded")
    assert (world.running, world.told) == (["h:compensate"], [])


def test_a_child_that_was_undone_by_hand_before_is_not_asked_again() -> None:
    world = (
        World(TWO_CHILDREN).succeed("a").child("b", "Succeeded").child("b", "Compensated").succeed("c").fail("d").succeed("c:compensate")
    )
    assert (world.told, world.running) == ([], ["a:compensate"])


@pytest.mark.parametrize(
    ("phase", "seen", "words"),
    [("Succeeded", {"is_gone": True}, "is gone"), ("Failed", {"error": Fault("X", detail="let go")}, "could not be undone wholly: let go")],
)
def test_a_child_that_cannot_be_undone_needs_a_person(phase: str, seen: dict[str, Any], words: str) -> None:
    world = World(TWO_CHILDREN).succeed("a").child("b", "Succeeded").succeed("c").fail("d").succeed("c:compensate")
    world.child("b", phase, **seen)
    assert (world.status["status"], world.condition("Stalled")) == ("Stalled", ("True", "CompensationFailed"))
    told = next(item["message"] for item in world.status["conditions"] if item["type"] == "Stalled")
    assert words in told
    world.wants(release=True)
    assert world.phase == "Failed"


def test_a_child_that_is_stalled_stalls_its_caller_and_names_itself_until_it_goes_on() -> None:
    world = World(TWO_CHILDREN).succeed("a").child("b", "Succeeded").succeed("c").fail("d").succeed("c:compensate")
    world.child("b", "Compensating", stalled="x:compensate failed after 5 attempts")
    assert (world.status["status"], world.condition("Stalled")) == ("Stalled", ("True", "ChildStalled"))
    told = next(item["message"] for item in world.status["conditions"] if item["type"] == "Stalled")
    assert told == f"b:compensate: child run {called(world).name} needs a person: x:compensate failed after 5 attempts"
    assert world.condition("Reconciling") == ("False", "Compensating")
    world.child("b", "Compensating", stalled="")
    assert (world.status["status"], world.condition("Stalled")) == ("Compensating", None)


def test_a_child_that_is_gone_while_its_step_is_stopped_leaves_an_outcome_that_is_not_known() -> None:
    world = World(BARE).wants(cancel=True).child("h", "Running", is_gone=True)
    assert (world.phase, world.step("h").phase, world.step("h").outcome) == ("Cancelled", "Cancelled", "Unknown")


def test_a_child_that_is_being_undone_by_hand_while_its_step_is_stopped_has_not_succeeded() -> None:
    world = World(BARE).wants(cancel=True).child("h", "Succeeded", undoing=True)
    assert world.phases() == {"h": "Stopping"}
    assert (world.child("h", "Compensated").phase, world.step("h").phase) == ("Cancelled", "Cancelled")


def test_a_child_inside_a_compensation_is_cancelled_and_not_undone() -> None:
    world = World(
        f"steps: [{{name: a, {JOB}, compensate: {{steps: [{{name: back, workflow: {{name: child}}}}]}}}}, {{name: x, fail: {{error: NoCar}}}}]"
    )
    world.succeed("a").child("a:compensate/back", "Succeeded")
    assert (world.phase, world.told) == ("Failed", [])


# -------------------------------------------------------------------------------------------------- undoing what has succeeded

SAGA = f"steps: [{{name: a, {JOB}, compensate: {{{JOB}}}}}, {{name: b, {JOB}}}]\noutputs: [{{name: n, value: 1}}]"


def test_a_run_that_has_succeeded_is_undone_on_request() -> None:
    world = World(SAGA).succeed("a").succeed("b")
    assert (world.phase, world.finalizer, world.condition("Succeeded")) == ("Succeeded", False, ("True", "Succeeded"))
    world.wants(undo=True, undo_reason="the customer sent it back")
    assert (world.phase, world.finalizer, world.running) == ("Compensating", True, ["a:compensate"])
    assert (world.condition("Complete"), world.condition("Succeeded")) == (("False", "Compensating"), ("Unknown", "Compensating"))
    world.succeed("a:compensate")
    assert (world.phase, world.finalizer, world.status["outputs"]) == ("Compensated", False, {"n": 1})
    assert world.condition("Complete") == ("True", "Compensated")
    assert world.condition("Succeeded") == ("False", "Compensated")
    assert world.condition("Compensated") == ("True", "AllUndone")
    assert "the customer sent it back" in [entry.reason for entry in world.entries if entry.kind == "CompensationRequested"]


def test_a_run_with_nothing_to_undo_is_compensated_at_once() -> None:
    world = World("steps: [{name: a, set: {x: 1}}]").wants(undo=True, undo_reason="why not")
    assert (world.phase, world.condition("Compensated")) == ("Compensated", ("True", "NothingToUndo"))


def test_undoing_a_run_that_had_succeeded_and_is_let_go_leaves_it_failed() -> None:
    world = World(SAGA).succeed("a").succeed("b").wants(undo=True, undo_reason="x").wants(release=True)
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "CompensationAbandoned")
    assert world.condition("Compensated") == ("False", "Abandoned")


def test_a_run_that_still_goes_and_is_to_be_undone_is_cancelled_and_undone() -> None:
    world = World(SAGA).succeed("a").wants(undo=True, undo_reason="x")
    assert (world.phase, world.running) == ("Compensating", ["a:compensate"])
    assert world.succeed("a:compensate").phase == "Cancelled"


def test_a_run_that_has_failed_is_not_undone_once_more() -> None:
    world = World(f"onFailure: {{compensate: false}}\n{SAGA}").succeed("a").fail("b").wants(undo=True, undo_reason="x")
    assert (world.phase, world.running) == ("Failed", [])


# ----------------------------------------------------------------------------------------------------------------------- limits


def test_child_runs_nest_only_so_deep_and_the_error_names_the_chain() -> None:
    callers = tuple(f"w{number}" for number in range(16))
    world = World(BARE, callers=callers)
    assert (world.phase, world.status["error"]["type"], world.born) == ("Failed", "LimitExceeded", [])
    assert "w0 > w1 > w2 > w3 > w4 > w5 > … > w13 > w14 > w15 > order > child" in world.status["error"]["detail"]
    assert World(BARE, callers=callers[1:]).born


def test_the_outputs_of_a_child_run_have_a_limit_of_their_own() -> None:
    text = "parameters: [{name: big}]\nsteps: [{name: a, set: {x: 1}}]\noutputs: [{name: big, value: '${params.big}'}]"
    big = "x" * 20_000
    assert World(text, {"big": big}).phase == "Succeeded"
    world = World(text, {"big": big}, callers=("order",))
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "LimitExceeded")
    assert "of at most 16,384" in world.status["error"]["detail"]


def test_parameters_that_are_too_large_are_refused_before_a_child_is_made() -> None:
    world = World(
        "parameters: [{name: big}]\nsteps: [{name: h, workflow: {name: c, params: {x: '${params.big}'}}}]", {"big": "x" * 200_000}
    )
    assert (world.status["error"]["type"], world.born) == ("LimitExceeded", [])


def test_a_child_whose_outputs_the_step_does_not_accept_is_undone_before_the_step_fails() -> None:
    declared = "outputs: {type: object, required: [parcel], properties: {parcel: {type: string}}}"
    world = World(f"steps: [{{name: h, workflow: {{name: child}}, {declared}}}]").child("h", "Succeeded", outputs={"parcel": 5})
    assert (world.step("h").phase, type(world.told[-1])) == ("Stopping", UndoRun)
    world.child("h", "Compensating").child("h", "Compensated")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "InvalidOutput")


# ------------------------------------------------------------------------------------------------------- inside other structures


def test_each_iteration_has_a_child_run_of_its_own_and_all_are_undone_in_reverse() -> None:
    text = """
steps:
- name: each
  forEach: {in: [a, b], parallelism: 1, steps: [{name: h, workflow: {name: child, params: {x: "${item}"}}}]}
- {name: stop, fail: {error: NoCar}}
"""
    world = World(text).child("each[0]/h", "Succeeded").child("each[1]/h", "Succeeded")
    assert [made.inputs["parameters"] for made in world.born] == [{"x": "a"}, {"x": "b"}]
    assert len({made.name for made in world.born}) == 2
    assert [told.name for told in world.told] == [world.born[1].name], "the last one first"
    world.child("each[1]/h", "Compensated")
    assert [told.name for told in world.told] == [world.born[1].name, world.born[0].name]
    assert world.child("each[0]/h", "Compensated").phase == "Failed"


def test_a_child_run_that_loses_a_race_is_undone_before_the_run_goes_on() -> None:
    text = """
steps:
- name: first
  parallel:
    join: Any
    branches:
    - {name: slow, steps: [{name: h, workflow: {name: child}}]}
    - {name: quick, steps: [{name: s, job: {image: i}}]}
- {name: after, job: {image: i}}
"""
    world = World(text).child("first/slow/h", "Running").succeed("first/quick/s")
    assert (world.step("first/slow/h").phase, world.running) == ("Stopping", [])
    assert [type(told) for told in world.told] == [CancelRun]
    world.child("first/slow/h", "Cancelled")
    assert world.running == ["after"]


def test_a_visit_that_a_goto_leads_back_to_is_another_child_run() -> None:
    text = """
steps:
- {name: h, workflow: {name: child}}
- {name: again, if: "${ steps.h.outputs.n < 2 }", goto: {step: h, maxVisits: 5}}
"""
    world = World(text).child("h", "Succeeded", outputs={"n": 1})
    assert [made.path for made in world.born] == ["h", "h~2"]
    assert world.child("h~2", "Succeeded", outputs={"n": 2}).phase == "Succeeded"
