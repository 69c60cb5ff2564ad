"""Transactions: all participants or none, whatever fails, whoever wants it to end, and whenever the operator dies."""

from datetime import timedelta
from itertools import combinations_with_replacement, permutations, product
from typing import Any

import pytest

from backstay.engine.model import Fault, JobState, Request
from backstay.engine.transactions import is_in_doubt
from tests.support.world import World


def participant(name: str, kind: str = "job", *, phases: tuple[str, str, str] = ("prepare", "commit", "abort"), more: str = "") -> str:
    action = {"job": "job: {image: i}", "http": "http: {method: POST, url: 'https://x.example.com'}", "workflow": "workflow: {name: w}"}[
        kind
    ]
    first, second, third = phases
    retry = "retry: {interval: 1s, maxDelay: 8s, jitter: None}"
    return f"{{name: {name}, {first}: {{{action}{more}}}, {second}: {{{action}, {retry}}}, {third}: {{{action}, {retry}}}}}"


def transaction(*participants: str, head: str = "", step: str = "") -> str:
    return f"{{name: book, {step}transaction: {{{head}participants: [{', '.join(participants)}]}}}}"


def world(*participants: str, head: str = "", step: str = "", after: str = "", rest: str = "", **given: Any) -> World:
    return World(
        f"steps: [{transaction(*participants or (participant('a'), participant('b')), head=head, step=step)}{after}]\n{rest}", **given
    )


def attempts(found: World) -> list[str]:
    """The phases that were begun, in order, each attempt."""
    return [entry.path.removeprefix("book/") for entry in found.entries if entry.kind == "AttemptStarted"]


def decided(found: World) -> str | None:
    return found.step("book").decision


OK, NO, BROKEN = "Succeeded", "NoTruck", "ExitCode"


def end(found: World, path: str, how: str) -> None:
    if how == OK:
        found.succeed(path)
    elif how == NO:
        found.end(path, JobState.SUCCEEDED, '{"error": {"type": "NoTruck", "message": "none is left"}}')
    else:
        found.fail(path, how)


# ----------------------------------------------------------------------------------------------------------- the decision


@pytest.mark.parametrize("order", list(permutations("abc")))
@pytest.mark.parametrize("results", list(combinations_with_replacement((OK, NO, BROKEN), 3)))
def test_all_commit_when_all_are_prepared_and_none_when_one_is_not_in_whatever_order_they_answer(
    order: tuple[str, ...], results: tuple[str, ...]
) -> None:
    found = world(*map(participant, "abc"))
    how = dict(zip("abc", results, strict=True))
    answered = []
    for name in order:
        if decided(found) is None:
            end(found, f"book/{name}/prepare", how[name])
            answered.append(name)
    second = "commit" if all(result == OK for result in results) else "abort"
    assert decided(found) == second.capitalize()
    told = {path.partition("/")[0] for path in attempts(found) if path.endswith(second)}
    said_no = {name for name in answered if how[name] == NO}
    assert told == set("abc") - said_no, "whoever may be prepared is told, and whoever said No is not"
    for name in sorted(told):
        found.succeed(f"book/{name}/{second}")
    assert found.phase == ("Succeeded" if second == "commit" else "Failed")
    assert not any(path.endswith("abort" if second == "commit" else "commit") for path in attempts(found))


def test_the_decision_is_in_one_write_with_the_beginning_of_phase_two_and_before_it() -> None:
    found = world()
    found.succeed("book/a/prepare")
    writes = found.writes
    found.succeed("book/b/prepare")
    kinds = [(entry.kind, entry.path) for entry in found.entries[-3:]]
    assert kinds == [("TransactionDecided", "book"), ("AttemptStarted", "book/a/commit"), ("AttemptStarted", "book/b/commit")]
    assert found.writes == writes + 1


def test_participants_that_are_not_prepared_in_time_are_aborted() -> None:
    found = world(head="decisionTimeout: 30s, ")
    found.succeed("book/a/prepare").pass_time("31s")
    assert (decided(found), found.step("book/b/prepare").phase) == ("Abort", "Cancelled")
    assert [path for path in attempts(found) if "abort" in path] == ["a/abort", "b/abort"]
    told = {made.path: made.inputs["transaction"]["prepared"] for made in found.made if made.path.endswith("abort")}
    assert told == {"book/a/abort": "Succeeded", "book/b/abort": "Unknown"}
    found.succeed("book/a/abort").succeed("book/b/abort")
    assert found.status["error"]["type"] == "Timeout"
    assert found.status["error"]["detail"] == "b is not prepared within 30s; see decisionTimeout"


def test_the_default_decision_timeout_is_a_minute() -> None:
    found = world()
    assert decided(found.pass_time("59s")) is None
    assert decided(found.pass_time("2s")) == "Abort"


def test_an_error_can_be_caught_by_its_type_once_all_is_aborted() -> None:
    catch = "catch: [{errors: [NoTruck], steps: [{name: other, job: {image: i}}]}], "
    found = world(step=catch)
    end(found, "book/a/prepare", NO)
    assert found.running == ["book/b/abort"]
    found.succeed("book/b/abort")
    assert found.running == ["book:catch0/other"]
    assert found.succeed("book:catch0/other").phase == "Succeeded"


def test_a_prepare_is_tried_again_where_it_says_so_and_the_no_of_a_later_attempt_does_not_take_back_an_earlier_one() -> None:
    again = ", retry: {maxAttempts: 2, interval: 1s, jitter: None}"
    found = world(participant("a", more=again), participant("b"))
    found.fail("book/a/prepare").pass_time("1s")
    assert found.running == ["book/a/prepare", "book/b/prepare"]
    end(found, "book/a/prepare", NO)
    assert {made.path: made.inputs["transaction"].get("prepared") for made in found.made}["book/a/abort"] == "Unknown"


@pytest.mark.parametrize(
    ("fault", "told"),
    [("ImagePull", False), ("AdmissionDenied", False), ("Forbidden", False), ("ExitCode", True), ("OOMKilled", True), ("NodeLost", True)],
)
def test_only_who_may_have_prepared_something_is_aborted(fault: str, told: bool) -> None:
    found = world(participant("a"))
    if fault == "Forbidden":
        found.refuse("book/a/prepare", fault, "no rights").look()
    else:
        found.fail("book/a/prepare", fault)
    found.pass_time("1h")
    assert ("a/abort" in attempts(found)) is told
    assert (found.phase == "Failed") is not told


def test_a_participant_that_never_began_is_not_aborted() -> None:
    found = world(participant("a").replace("prepare: {job: {image: i}}", 'prepare: {job: {image: "${ vars.missing }"}}'), participant("b"))
    assert found.step("book/a/prepare").error.type == "ExpressionError"  # type: ignore[union-attr]
    assert (found.made, found.phase) == ([], "Failed"), "the prepare of b was given up in the write that began it"


def test_a_participant_whose_job_nobody_sees_may_have_been_prepared_by_an_operator_that_died() -> None:
    found = world()
    del found.jobs[found.step("book/a/prepare").job or ""]
    found.now += timedelta(milliseconds=1)
    found.fail("book/b/prepare")
    assert {made.path: made.inputs["transaction"].get("prepared") for made in found.made}["book/a/abort"] == "Unknown"


# ------------------------------------------------------------------------------------------------- who wants it to end


def cancel(found: World) -> None:
    found.wants(cancel=True, cancel_reason="a whim")


def delete(found: World) -> None:
    found.wants(delete=True)


def fail_beside(found: World) -> None:
    found.fail("beside")


def time_out(found: World) -> None:
    found.pass_time("3h")


ENDS = {
    "cancel": cancel,
    "delete": delete,
    "a step beside it fails": fail_beside,
    "the step's timeout": time_out,
    "the run's timeout": time_out,
}
POINTS = ["nothing", "one prepared", "all prepared", "one committed", "one commit fails"]


def at_point(point: str, end_by: str) -> World:
    step = "timeout: 2h, " if end_by == "the step's timeout" else ""
    given: dict[str, Any] = {"timeout": 7200.0} if end_by == "the run's timeout" else {}
    head = "decisionTimeout: 24h, "
    book = transaction(participant("a"), participant("b"), head=head, step=step)
    found = World(f"dag: {{steps: [{{name: beside, job: {{image: i}}}}, {book}]}}", **given)
    if point != "nothing":
        found.succeed("book/a/prepare")
    if POINTS.index(point) >= 2:
        found.succeed("book/b/prepare")
    if point == "one committed":
        found.succeed("book/a/commit")
    if point == "one commit fails":
        found.fail("book/a/commit")
    return found


@pytest.mark.parametrize("end_by", ENDS)
@pytest.mark.parametrize("point", POINTS)
def test_before_the_decision_whoever_ends_it_aborts_it_and_after_it_nobody_changes_it(point: str, end_by: str) -> None:
    found = at_point(point, end_by)
    ENDS[end_by](found)
    is_committed = POINTS.index(point) >= 2
    assert decided(found) == ("Commit" if is_committed else "Abort")
    assert found.phase in ("Running", "Stopping"), "the run does not end before phase two is over"
    if is_committed and end_by == "the step's timeout":
        assert found.step("book").phase == "Running", "the timeout is that of phase one"
    second = "commit" if is_committed else "abort"
    found.pass_time("10s")
    for name in "ab":
        if not found.step(f"book/{name}/{second}").has_ended:
            found.succeed(f"book/{name}/{second}")
    assert found.step("book").phase == ("Succeeded" if is_committed else "Failed" if "step's" in end_by else "Cancelled")
    if end_by == "the step's timeout" and is_committed:
        found.succeed("beside")
    assert found.phase == {"cancel": "Cancelled", "delete": "Cancelled"}.get(
        end_by, "Succeeded" if is_committed and "step's" in end_by else "Failed"
    )
    assert not found.finalizer
    assert not {path for path in attempts(found) if path.endswith("abort" if is_committed else "commit")}


def test_what_a_stopped_prepare_started_is_gone_before_its_abort_begins() -> None:
    found = world()
    found.stops_at_once = False
    end(found, "book/a/prepare", NO)
    assert (decided(found), found.phases()) == ("Abort", {"book": "Stopping", "book/a/prepare": "Failed", "book/b/prepare": "Stopping"})
    found.gone("book/b/prepare")
    assert found.running == ["book/b/abort"]


def test_a_prepare_that_succeeds_while_it_is_stopped_is_aborted_as_prepared() -> None:
    found = world()
    found.stops_at_once = False
    end(found, "book/a/prepare", NO)
    found.succeed("book/b/prepare", {"id": "t-9"})
    (made,) = found.made_for("book/b/abort")
    assert made.inputs["transaction"]["prepared"] == "Succeeded"


def test_a_suspended_run_decides_and_begins_nothing_until_it_goes_on() -> None:
    found = world()
    found.wants(suspend=True).succeed("book/a/prepare").succeed("book/b/prepare")
    assert (decided(found), found.running) == ("Commit", [])
    found.pass_time("2h").wants(suspend=False)
    assert (decided(found), found.running) == ("Commit", ["book/a/commit", "book/b/commit"])


@pytest.mark.parametrize("point", range(5))
def test_with_another_operator_at_every_point_the_same_calls_are_made_again_under_the_same_names(point: int) -> None:
    found = world(participant("a", "http"), participant("b", "http"))
    fine = {"status": 200, "headers": {}, "body": None}
    for number, path in enumerate(["book/a/prepare", "book/b/prepare", "book/a/commit", "book/b/commit"]):
        if number == point:
            found.restart()
        found.answer(path, fine)
    assert found.phase == "Succeeded"
    names = {(call.name, call.path, call.attempt) for call in found.called}
    assert len(names) == 4, "a call that is made again is the same call"
    assert len({call.inputs["transaction"]["transaction"] for call in found.called}) == 1


# ------------------------------------------------------------------------------------------------------------- phase two


def test_phase_two_is_tried_until_it_succeeds_ever_less_often_and_shows_as_in_doubt() -> None:
    found = world()
    found.succeed("book/a/prepare").succeed("book/b/prepare").succeed("book/a/commit")
    assert (found.condition("InDoubt"), is_in_doubt(found.state.steps)) == (("False", "Decided"), False)
    found.fail("book/b/commit", "ExitCode")
    assert (found.condition("InDoubt"), found.status["status"]) == (("True", "Retrying"), "InDoubt")
    assert is_in_doubt(found.state.steps), "the metric counts it"
    pauses = []
    for _ in range(12):
        began = found.now
        found.pass_time("8s")
        pauses.append((found.step("book/b/commit").attempt_started_at - began).total_seconds())  # type: ignore[operator]
        found.fail("book/b/commit", "ExitCode")
    assert pauses[:5] == [1, 2, 4, 8, 8]
    assert found.step("book/b/commit").attempt == 13
    message = next(item["message"] for item in found.status["conditions"] if item["type"] == "InDoubt")
    assert message == "book is to be committed, and not so yet at b; b: ExitCode: ExitCode happened (13 attempts)"
    found.pass_time("8s").succeed("book/b/commit")
    assert (found.phase, found.condition("InDoubt")) == ("Succeeded", ("False", "Decided"))


def test_every_attempt_of_every_phase_is_told_the_same_transaction() -> None:
    found = world()
    found.succeed("book/a/prepare").succeed("book/b/prepare").fail("book/a/commit").pass_time("1s")
    assert len(found.made) == 5
    (name,) = {made.inputs["transaction"]["transaction"] for made in found.made}
    assert name.startswith("backstay-") and len(name) <= 41
    again = world()
    assert again.made[0].inputs["transaction"]["transaction"] == name, "it follows from run and path alone"


def test_a_run_in_doubt_goes_when_it_is_released_and_says_what_is_in_doubt() -> None:
    found = world()
    found.succeed("book/a/prepare").succeed("book/b/prepare").succeed("book/a/commit").fail("book/b/commit")
    found.wants(delete=True)
    assert (found.phase, found.finalizer) == ("Stopping", True)
    found.wants(release=True)
    assert (found.phase, found.finalizer) == ("Cancelled", False)
    (entry,) = [entry for entry in found.entries if entry.kind == "CompensationAbandoned"]
    assert "IN DOUBT: book is to be committed, and not so yet at b; b: ExitCode" in entry.reason
    assert found.condition("InDoubt") == ("True", "Abandoned")


@pytest.mark.parametrize("kind", ["job", "http"])
def test_a_namespace_that_goes_takes_what_needs_jobs_with_it_and_lets_calls_be_made(kind: str) -> None:
    found = world(participant("a", kind), participant("b", kind))
    for name in "ab":
        if kind == "job":
            found.succeed(f"book/{name}/prepare")
        else:
            found.answer(f"book/{name}/prepare", {"status": 200, "headers": {}, "body": None})
    found.terminating = True
    found.wants(delete=True)
    assert found.phase == ("Cancelled" if kind == "job" else "Stopping")
    if kind == "http":
        for name in "ab":
            found.answer(f"book/{name}/commit", {"status": 200, "headers": {}, "body": None})
        assert (found.phase, found.step("book").phase) == ("Cancelled", "Succeeded")


# ------------------------------------------------------------------------------------------------------------ heuristics


def heuristic(found: World, path: str, error: str) -> None:
    found.end(path, JobState.SUCCEEDED, f'{{"error": {{"type": "{error}", "message": "by hand"}}}}')


def ask(found: World, path: str, action: str) -> str:
    number = len(found.wish.requests)
    found.wants(requests=(*found.wish.requests, Request(f"r{number}", path, action)))
    return found.state.run.answers[f"r{number}"]


def test_a_heuristic_outcome_is_not_tried_again_and_waits_for_a_person() -> None:
    found = world()
    found.succeed("book/a/prepare").succeed("book/b/prepare").succeed("book/a/commit")
    heuristic(found, "book/b/commit", "HeuristicRollback")
    found.pass_time("1d")
    assert found.step("book/b/commit").phase == "Paused"
    assert (found.condition("InDoubt"), found.status["status"]) == (("True", "WaitsForPerson"), "Stalled")
    assert found.condition("Stalled") is not None


@pytest.mark.parametrize(
    ("action", "phase", "error"), [("Skip", "Succeeded", None), ("GiveUp", "Failed", "HeuristicMixed"), ("Retry", "Running", None)]
)
def test_a_person_resolves_a_heuristic_outcome(action: str, phase: str, error: str | None) -> None:
    found = world()
    found.succeed("book/a/prepare").succeed("book/b/prepare").succeed("book/a/commit")
    heuristic(found, "book/b/commit", "HeuristicRollback")
    assert ask(found, "book/b/commit", action) == "Done"
    assert (found.step("book").phase, found.status.get("error", {}).get("type")) == (phase, error)
    if action == "Retry":
        found.succeed("book/b/commit")
        assert found.phase == "Succeeded"


@pytest.mark.parametrize(
    ("second", "reports", "error"),
    [
        ("commit", {"a": "HeuristicRollback", "b": "HeuristicRollback"}, "HeuristicRollback"),
        ("commit", {"a": "HeuristicRollback"}, "HeuristicMixed"),
        ("commit", {"a": "HeuristicMixed", "b": "HeuristicRollback"}, "HeuristicMixed"),
        ("abort", {"a": "HeuristicCommit", "b": "HeuristicCommit"}, "HeuristicCommit"),
        ("abort", {"b": "HeuristicCommit"}, "HeuristicMixed"),
    ],
)
def test_a_transaction_whose_participants_went_another_way_fails_with_what_came_of_it(
    second: str, reports: dict[str, str], error: str
) -> None:
    found = world(step="timeout: 30m, ")
    found.succeed("book/a/prepare")
    if second == "commit":
        found.succeed("book/b/prepare")
    else:
        found.fail("book/b/prepare")
    for name in "ab":
        if name in reports:
            heuristic(found, f"book/{name}/{second}", reports[name])
            ask(found, f"book/{name}/{second}", "GiveUp")
        else:
            found.succeed(f"book/{name}/{second}")
    assert (found.phase, found.status["error"]["type"]) == ("Failed", error)
    assert f"the decision was {second.capitalize()}, and it was not carried out at" in found.status["error"]["detail"]


def test_a_run_that_is_being_cancelled_still_hears_what_becomes_of_a_heuristic_outcome() -> None:
    found = world()
    found.succeed("book/a/prepare").succeed("book/b/prepare").succeed("book/a/commit")
    found.wants(cancel=True)
    heuristic(found, "book/b/commit", "HeuristicRollback")
    assert (found.phase, found.status["status"]) == ("Stopping", "Stalled")
    assert ask(found, "book/b/commit", "GiveUp") == "Done"
    assert (found.phase, found.step("book").error.type) == ("Cancelled", "HeuristicMixed")  # type: ignore[union-attr]


def test_phases_are_not_cancelled_or_prepared_by_hand() -> None:
    again = ", retry: {maxAttempts: 2, interval: 1h, jitter: None}"
    found = world(participant("a", more=again), participant("b"))
    assert ask(found, "book/a/prepare", "Cancel").startswith("Refused: book/a/prepare is a phase of the transaction book; ask that of book")
    found.fail("book/a/prepare")
    assert "nobody can be prepared by hand" in ask(found, "book/a/prepare", "Skip")
    assert ask(found, "book/a/prepare", "GiveUp") == "Done"
    assert decided(found) == "Abort"


# ------------------------------------------------------------------------------------------------------ where it stands


def test_try_confirm_and_cancel_are_the_same_under_other_names() -> None:
    phases = ("try", "confirm", "cancel")
    found = world(participant("a", phases=phases), participant("b", phases=phases), head="mode: TCC, ")
    found.succeed("book/a/try", {"id": 1}).succeed("book/b/try").succeed("book/a/confirm", {"ok": True}).succeed("book/b/confirm")
    assert found.phase == "Succeeded"
    found = world(participant("a", phases=phases), participant("b", phases=phases), head="mode: TCC, ")
    found.succeed("book/a/try")
    end(found, "book/b/try", NO)
    assert found.running == ["book/a/cancel"]


def test_phases_see_what_was_prepared_and_later_steps_what_was_left_behind() -> None:
    one = (
        "{name: a, prepare: {job: {image: i, args: ['${ self.transaction }', '${ self.name }', '${ params.n }']}}, "
        "commit: {job: {image: i, args: ['${ self.outputs.id }', '${ participants.b.outputs.id }', '${ self.prepared }']}}, "
        "abort: {job: {image: i}}}"
    )
    after = ", {name: after, job: {image: i, args: ['${ steps.book.outputs.a.prepare.id }', '${ steps.book.outputs.b.commit.n }']}}"
    found = world(one, participant("b"), after=after, rest="parameters: [{name: n, default: 7}]")
    assert found.made[0].inputs["args"] == [found.made[0].inputs["transaction"]["transaction"], "a", "7"]
    found.succeed("book/a/prepare", {"id": "x"}).succeed("book/b/prepare", {"id": "y"})
    assert found.made_for("book/a/commit")[0].inputs["args"] == ["x", "y", "Succeeded"]
    found.succeed("book/a/commit").succeed("book/b/commit", {"n": 3})
    assert found.made_for("after")[0].inputs["args"] == ["x", "3"]


def test_a_transaction_that_was_committed_is_undone_as_any_step_that_says_how() -> None:
    undo = "compensate: {job: {image: i, args: ['${ self.outputs.a.commit.id }']}}, "
    found = world(step=undo, after=", {name: ship, job: {image: i}}")
    found.succeed("book/a/prepare").succeed("book/b/prepare").succeed("book/a/commit", {"id": "c-1"}).succeed("book/b/commit")
    found.fail("ship")
    assert found.made_for("book:compensate")[0].inputs["args"] == ["c-1"]
    assert found.succeed("book:compensate").phase == "Failed"


@pytest.mark.parametrize("point", [0, 2])
def test_a_transaction_cut_off_before_its_decision_is_not_undone_and_one_after_it_is(point: int) -> None:
    found = world(step="compensate: {job: {image: i}}, ")
    for name in "ab"[:point]:
        found.succeed(f"book/{name}/prepare")
    found.wants(cancel=True)
    second = "commit" if point else "abort"
    for name in "ab":
        found.succeed(f"book/{name}/{second}")
    assert bool(found.made_for("book:compensate")) is bool(point)


def test_transactions_in_iterations_are_transactions_of_their_own() -> None:
    book = transaction(participant("a"), participant("b"))
    found = World(f"steps: [{{name: each, forEach: {{count: 2, steps: [{book}]}}}}]")
    assert len({made.inputs["transaction"]["transaction"] for made in found.made}) == 2
    for index, phase in product(range(2), ("prepare", "commit")):
        for name in "ab":
            found.succeed(f"each[{index}]/book/{name}/{phase}")
    assert found.phase == "Succeeded"


def test_a_goto_back_to_a_transaction_begins_another_one() -> None:
    again = ", {name: again, if: '${ !has(vars.done) }', steps: [{name: s, set: {done: true}}, {name: g, goto: {step: book}}]}"
    found = world(after=again)
    for lap, phase in product(("book", "book~2"), ("prepare", "commit")):
        for name in "ab":
            found.succeed(f"{lap}/{name}/{phase}")
    assert found.phase == "Succeeded"
    assert len({made.inputs["transaction"]["transaction"] for made in found.made}) == 2


def test_child_runs_can_take_part() -> None:
    found = world(participant("a", "workflow"), participant("b"))
    found.succeed("book/b/prepare").child("book/a/prepare", "Succeeded", outputs={"id": 4})
    assert decided(found) == "Commit"
    found.succeed("book/b/commit").child("book/a/commit", "Failed", error=Fault("Odd"))
    found.pass_time("1s").child("book/a/commit", "Succeeded")
    assert found.phase == "Succeeded"


def test_a_child_run_that_is_cut_off_while_it_prepares_is_cancelled_and_then_aborted() -> None:
    found = world(participant("a", "workflow"), participant("b"))
    end(found, "book/b/prepare", NO)
    assert [type(told).__name__ for told in found.told] == ["CancelRun"]
    found.child("book/a/prepare", "Cancelled")
    assert found.step("book/a/abort").phase == "Running"


def test_a_transaction_with_an_end_beside_it_is_carried_through() -> None:
    book = transaction(participant("a"), participant("b"))
    found = World(
        f"steps: [{{name: p, parallel: {{branches: [{{name: l, steps: [{book}]}}, "
        "{name: r, steps: [{name: j, job: {image: i}}, {name: e, end: {result: Succeeded}}]}]}}]"
    )
    found.succeed("p/l/book/a/prepare").succeed("p/l/book/b/prepare").succeed("p/r/j")
    assert found.phase == "Stopping"
    found.succeed("p/l/book/a/commit").succeed("p/l/book/b/commit")
    assert (found.phase, found.step("p/l/book").phase) == ("Succeeded", "Succeeded")


def test_where_there_is_only_a_way_forward_a_participant_may_still_say_no() -> None:
    book = transaction(participant("a"), participant("b"))
    found = World(f"steps: [{{name: pay, pivot: true, job: {{image: i}}}}, {book}]")
    found.succeed("pay")
    end(found, "book/a/prepare", NO)
    assert (decided(found), found.step("book/a/prepare").phase) == ("Abort", "Failed")
