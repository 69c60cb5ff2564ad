"""Every timeout: what it ends, with which error, what becomes of what runs, and that a late result is told and not believed (docs/timeouts.md)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from backstay.engine.decide import decide
from backstay.engine.model import CallFact, CallState, Fault, LockFact
from tests.support.world import World

JOB = "job: {image: i}"


def steps(modifiers: str = "", action: str = JOB, rest: str = "") -> str:
    return f"{rest}\nsteps: [{{name: a, {action}, {modifiers}}}]"


# The timeout, the workflow, how long it takes, the error's type and the step that raised it, and what its words name.
ROWS = [
    ("an attempt", steps("attemptTimeout: 1m"), "61s", ("Timeout", "a"), "attemptTimeout"),
    ("an attempt, by default", steps("", rest="defaults: {attemptTimeout: 1m}"), "61s", ("Timeout", "a"), "attemptTimeout"),
    ("a call", steps("attemptTimeout: 1m", "http: {url: 'https://example.com'}"), "61s", ("Timeout", "a"), "attemptTimeout"),
    ("a child run", steps("attemptTimeout: 1m", "workflow: {name: w}"), "61s", ("Timeout", "a"), "attemptTimeout"),
    ("a step", steps("timeout: 1m, retry: {maxAttempts: 9, errors: ['*']}"), "61s", ("Timeout", "a"), "see its timeout"),
    ("a step, by default", steps("", rest="defaults: {timeout: 1m}"), "61s", ("Timeout", "a"), "see its timeout"),
    ("a block", steps("timeout: 1m", f"steps: [{{name: x, {JOB}}}]"), "61s", ("Timeout", "a"), "see its timeout"),
    ("a forEach", steps("timeout: 1m", f"forEach: {{count: 2, steps: [{{name: x, {JOB}}}]}}"), "61s", ("Timeout", "a"), "see its timeout"),
    ("a condition", steps("timeout: 1m", "wait: {condition: '${has(vars.x)}'}"), "61s", ("Timeout", "a"), "see its timeout"),
    ("a run", steps("", rest="timeout: 1m"), "61s", ("DeadlineExceeded", ""), "the run has not ended within its timeout"),
]


@pytest.mark.parametrize(("workflow", "wait", "error", "words"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_what_takes_too_long_is_stopped_and_fails_with_the_name_of_the_timeout(
    workflow: str, wait: str, error: tuple[str, str], words: str
) -> None:
    world = World(workflow).pass_time("59s")
    assert world.phase == "Running"
    world.pass_time("2s")
    for path, record in world.state.steps.items():
        if record.child and not record.has_ended:
            world.child(path, "Cancelled")
    found = world.status["error"]
    assert (world.phase, world.running) == ("Failed", [])
    assert ((found["type"], found.get("step", "")), words in found["detail"]) == (error, True)


def test_a_pod_that_does_not_start_in_time_fails_with_what_stands_in_its_way() -> None:
    world = World(steps("", "job: {image: i, startTimeout: 2m}"))
    world.sees("a", started=False).pass_time("3m")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "StartTimeout")
    world = World(steps("", rest="defaults: {startTimeout: 2m}"))
    world.sees("a", started=False).pass_time("3m")
    assert world.status["error"]["type"] == "StartTimeout"


def test_waiting_for_a_lock_has_a_timeout_of_its_own_and_that_of_the_step_does_not_run_meanwhile() -> None:
    taken = {"door": LockFact(place=1, waiting=1)}
    world = World(steps("timeout: 1m, lock: {name: door, timeout: 5m}"), taken=taken).pass_time("4m")
    assert (world.phase, world.phases()["a"]) == ("Running", "Waiting")
    world.pass_time("2m")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "LockTimeout")


def test_a_run_that_waits_for_a_lock_still_ends_at_its_own_timeout() -> None:
    world = World(steps("lock: {name: door}", rest="timeout: 1m"), taken={"door": LockFact(place=1, waiting=1)}).pass_time("2m")
    assert (world.phase, world.status["error"]["type"], world.asked) == ("Failed", "DeadlineExceeded", {})


def test_undoing_has_a_timeout_for_each_step_and_one_for_all_of_it() -> None:
    saga = f"steps: [{{name: a, {JOB}, compensate: {{{JOB}, timeout: 1m, retry: {{maxAttempts: 1}}}}}}, {{name: b, {JOB}}}]"
    world = World(f"compensationTimeout: 10m\n{saga}").succeed("a").fail("b").pass_time("2m")
    assert (world.phase, world.step("a:compensate").error.type) == ("Compensating", "Timeout")  # type: ignore[union-attr]
    assert world.condition("Stalled") is not None
    world.pass_time("9m")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "ExitCode")
    assert "CompensationAbandoned" in world.story


def test_a_timeout_is_not_tried_again_where_it_is_that_of_the_step_and_is_where_it_is_that_of_an_attempt() -> None:
    retry = "retry: {maxAttempts: 2, interval: 1s, errors: [Timeout]}"
    assert World(steps(f"timeout: 1m, {retry}")).pass_time("2m").phase == "Failed"
    world = World(steps(f"attemptTimeout: 1m, {retry}")).pass_time("62s")
    assert (world.phase, world.step("a").attempt) == ("Running", 2)


@pytest.mark.parametrize(
    ("outer", "inner", "first"),
    [("1m", "2m", ""), ("2m", "1m", "a/x")],
    ids=["the block's", "the step's"],
)
def test_of_two_timeouts_the_earlier_one_counts(outer: str, inner: str, first: str) -> None:
    world = World(steps(f"timeout: {outer}", f"steps: [{{name: x, {JOB}, timeout: {inner}}}]")).pass_time("3m")
    assert world.status["error"]["step"] == (first or "a")


def test_what_is_stopped_by_a_timeout_gets_its_grace_and_nothing_goes_on_before_it_has_ended() -> None:
    world = World(f"steps: [{{name: a, {JOB}, attemptTimeout: 1m, catch: [{{steps: [{{name: h, {JOB}}}]}}]}}]")
    world.stops_at_once = False
    world.pass_time("61s")
    assert (world.phases(), [fact.deleting for fact in world.jobs.values()]) == ({"a": "Stopping"}, [True])
    world.pass_time("30s")
    assert world.phases() == {"a": "Stopping"}
    world.gone("a")
    assert world.phases() == {"a": "Catching", "a:catch0/h": "Running"}


# ------------------------------------------------------------------------------------------------------------ late results


def test_a_job_that_succeeds_after_its_attempt_timed_out_is_told_and_not_believed() -> None:
    world = World(steps("attemptTimeout: 1m, retry: {maxAttempts: 2, interval: 1s, errors: [Timeout]}"))
    world.stops_at_once = False
    world.pass_time("61s").succeed("a", {"late": True})
    assert "LateResult a" in world.story
    world.pass_time("2s")
    assert (world.step("a").attempt, world.step("a").outputs) == (2, None)
    assert world.succeed("a", {"late": False}).step("a").outputs == {"late": False}


def test_a_call_that_is_answered_after_its_attempt_timed_out_is_told_and_not_believed() -> None:
    world = World(steps("attemptTimeout: 1m", "http: {url: 'https://example.com'}"))
    seen, late = world.observations, world.now + timedelta(minutes=2)
    stopping = decide(world.program, world.identity, world.state, seen, late)
    assert stopping.state.steps["a"].phase == "Stopping"
    answer = CallFact(world.step("a").call or "", CallState.SUCCEEDED, {"status": 200})
    after = decide(world.program, world.identity, stopping.state, replace(seen, calls={answer.name: answer}), late)
    assert next(entry.kind for entry in after.entries) == "LateResult"
    assert (after.state.run.phase, after.state.steps["a"].outputs) == ("Failed", None)


def test_a_child_that_succeeds_after_its_step_timed_out_is_undone_and_not_believed() -> None:
    world = World(steps("timeout: 1m", "workflow: {name: w}")).pass_time("61s")
    world.child("a", "Succeeded", outputs={"late": True})
    assert (world.phases()["a"], world.told[-1].__class__.__name__) == ("Stopping", "UndoRun")
    world.child("a", "Compensated")
    assert (world.phase, world.status["error"]["type"], world.step("a").outputs) == ("Failed", "Timeout", None)


@pytest.mark.parametrize(
    ("phase", "seen", "words"),
    [
        ("Succeeded", {"kept": "it is past its pivot, pay"}, "run {} stays as it is: it is past its pivot, pay"),
        ("Failed", {"error": Fault("CompensationFailed")}, "run {} could not be undone wholly: it is Failed"),
        ("Succeeded", {"is_gone": True}, "run {} is gone, and with it how it ended"),
    ],
)
def test_a_late_child_that_is_not_undone_leaves_its_step_with_an_outcome_that_is_not_known(
    phase: str, seen: dict[str, Any], words: str
) -> None:
    world = World(steps("timeout: 1m", "workflow: {name: w}")).pass_time("61s")
    world.child("a", "Succeeded", undoing=True).child("a", phase, **seen)
    assert (world.phase, world.step("a").phase, world.step("a").outcome) == ("Failed", "Failed", "Unknown")
    told = next(entry for entry in world.entries if entry.kind == "OutcomeUnknown")
    assert told.reason == words.format(world.step("a").child)
    assert world.condition("Compensated") == ("Unknown", "OutcomeUnknown")
    assert any("undo by hand what was left (a)" in item["message"] for item in world.status["conditions"])


def test_the_time_that_a_run_is_suspended_for_counts_towards_no_timeout() -> None:
    world = World(steps("timeout: 1m", rest="timeout: 2m")).wants(suspend=True).pass_time("1h").wants(suspend=False).pass_time("50s")
    assert world.phase == "Running"
    assert world.pass_time("20s").status["error"]["type"] == "Timeout"
