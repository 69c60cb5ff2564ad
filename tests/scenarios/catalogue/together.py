"""Failures of transactions, and what runs at the edges of steps and runs."""

from typing import Any, Final

from tests.scenarios.catalogue.rows import HANGS, Row, Scenario, done, says, stop
from tests.scenarios.manifests import shell, step
from tests.support.api import Object

_TRANSACTIONS = "tests/scenarios/transactions.py::"
_ENGINE = "tests/unit/engine/test_transaction.py::"
_SIMULATED = "tests/simulation/test_transactions.py::"

EDGES: Final[dict[str, Row]] = {
    "interrupted": Row(
        "a step takes too long for an interrupting timer at its boundary",
        "stops it, with its grace period, and runs the event's steps in its place",
        "the step is `Caught`, with the event's outputs",
        "nothing",
        Scenario(
            (step("a", job=shell(HANGS), boundary=[{"wait": {"duration": "500ms"}, "steps": [step("b", set={"by": "post"})]}]),),
            phase="Succeeded",
            ends={"a": "Caught", "a:boundary0/b": "Succeeded"},
        ),
    ),
    "escalated": Row(
        "a step escalates, and a boundary event around it is for that",
        "runs the event's steps; it is no error",
        "the event's steps in the status",
        "nothing",
        Scenario(
            (
                step(
                    "trip",
                    steps=[step("tell", escalate={"code": "Late", "message": "fog"})],
                    boundary=[{"escalation": "Late", "interrupting": False, "steps": [step("b", set={"told": True})]}],
                ),
            ),
            phase="Succeeded",
            ends={"trip": "Succeeded", "trip:boundary0[0]/b": "Succeeded"},
        ),
    ),
    "unheard": Row(
        "a step escalates, and nobody hears it",
        "tells of it, and goes on",
        "an Event",
        "add a boundary event",
        tests=("tests/scenarios/errors.py::test_an_escalation_that_nobody_hears_is_told_by_an_event",),
    ),
    "uncaught": Row(
        "an error is raised that no `catch` takes",
        "fails the run, and says where the error was raised and why each `catch` around it does not take it",
        "Event `RunFailing`, condition `Succeeded`, `backstay why`",
        "mend the `catch`",
        tests=("tests/scenarios/errors.py::test_an_uncaught_error_tells_in_condition_and_event_which_catches_were_looked_at",),
    ),
    "finally-fails": Row(
        "the `finally` of a step that has succeeded fails",
        "fails the step; what it did is undone",
        "the error of the `finally`",
        "as for that error",
        Scenario(
            (done("hotel"), done("car", **{"finally": [step("tidy", fail={"error": "NoBroom"})]})),
            error="NoBroom",
            undone=("car", "hotel"),
        ),
    ),
    "finally-of-a-run": Row(
        "a run fails, and has a `finally`",
        "undoes what was done, runs its `finally`, then ends",
        "its steps in the status, after the compensations in the journal",
        "nothing",
        Scenario(
            (done("hotel"), stop()),
            error="NoFlight",
            undone=("hotel",),
            journal=("hotel:compensate ends before /:finally/tidy begins",),
            fields={"finally": [step("tidy", set={"tidy": True})]},
        ),
        ("tests/scenarios/finally_.py::test_a_run_that_is_deleted_is_there_until_it_has_tidied_up",),
    ),
    "finally-killed": Row(
        "the operator is killed during a `finally`",
        "goes on with it, and does nothing twice",
        "nothing",
        "nothing",
        tests=("tests/scenarios/finally_.py::test_an_operator_that_is_killed_during_a_finally_goes_on_with_it_and_does_nothing_twice",),
    ),
    "recovery": Row(
        "a run fails, and names a recovery workflow (`onFailure.workflow`)",
        "starts it once the run is undone, tells it the error and what the run had come to; nobody waits for it",
        "`status.recovery` names it",
        "look at that run",
        tests=("tests/scenarios/finally_.py::test_a_failed_run_starts_its_recovery_which_is_told_of_it_and_outlives_it",),
    ),
    "recovery-missing": Row(
        "the recovery workflow is not there",
        "tells of it; the run has ended all the same",
        "the recovery run says `WorkflowNotFound`",
        "apply it",
        tests=("tests/scenarios/finally_.py::test_a_recovery_whose_workflow_is_not_there_is_told_and_the_failed_run_has_ended",),
    ),
}


def _books(hotel: Any) -> Object:
    """A transaction of two, in which `hotel` is how the second one prepares."""
    aborts = {"commit": {"job": shell()}, "abort": {"job": shell()}}
    participants = [{"name": "flight", "prepare": {"job": shell()}, **aborts}, {"name": "hotel", "prepare": hotel, **aborts}]
    return step("trip", transaction={"mode": "TwoPhase", "decisionTimeout": "30s", "participants": participants})


TRANSACTIONS: Final[dict[str, Row]] = {
    "no": Row(
        "a participant of a transaction cannot prepare",
        "decides to abort, and aborts all who may have prepared; the transaction fails with that participant's error",
        "`decision: Abort`; the error can be caught by its type",
        "nothing",
        Scenario(
            (_books({"job": says('{"error": {"type": "NoRoom"}}')}),),
            error="NoRoom",
            ends={"trip": "Failed"},
        ),
    ),
    "not-in-time": Row(
        "a participant does not answer within `decisionTimeout`",
        "aborts: nobody commits what not all have prepared (presumed abort)",
        "`decision: Abort`",
        "raise `decisionTimeout`",
        tests=(_ENGINE + "test_participants_that_are_not_prepared_in_time_are_aborted",),
    ),
    "prepared-and-dead": Row(
        "a participant dies after it has prepared, or its commit fails for long",
        "tries the commit for ever, with growing pauses: the decision stands",
        "condition `InDoubt` says who has not answered",
        "bring the participant back",
        tests=(
            _TRANSACTIONS + "test_a_decided_transaction_is_in_doubt_until_it_is_carried_through_whoever_dies_or_wants_the_run_to_end",
            _ENGINE + "test_phase_two_is_tried_until_it_succeeds_ever_less_often_and_shows_as_in_doubt",
        ),
    ),
    "coordinator-dies": Row(
        "the operator dies before or after the decision is written",
        "before it, the next one aborts or decides; after it, it carries the decision through: all commit, or all abort",
        "nothing",
        "nothing",
        tests=(_SIMULATED + "test_a_fault_at_any_write_leaves_all_participants_where_they_belong",),
    ),
    "cancelled-while-preparing": Row(
        "a run is cancelled, or deleted, while a transaction prepares",
        "aborts at every participant that may have prepared; then the run ends",
        "`decision: Abort`",
        "nothing",
        tests=(
            _TRANSACTIONS + "test_a_run_that_is_cancelled_while_it_prepares_aborts_at_every_participant",
            _SIMULATED + "test_a_run_that_is_deleted_while_it_prepares_goes_only_when_all_have_committed_or_all_have_aborted",
        ),
    ),
    "heuristic": Row(
        "a participant decides alone, against the decision",
        "asks it no more, reports a heuristic outcome, and waits for a person",
        "`Heuristic…` as error, the phase is `Paused`",
        "resolve it by hand; then `backstay skip` or `give-up`",
        tests=(_TRANSACTIONS + "test_a_participant_that_decided_alone_is_not_asked_again_and_a_person_resolves_it",),
    ),
    "late-try": Row(
        "a prepare succeeds after it was given up",
        "aborts it as one that is prepared",
        "`decision: Abort`",
        "nothing",
        tests=(_ENGINE + "test_a_prepare_that_succeeds_while_it_is_stopped_is_aborted_as_prepared",),
    ),
    "after-commit": Row(
        "a run fails after a transaction of it has committed",
        "undoes it as the step says in `compensate`, like any other",
        "the step is `Compensated`",
        "nothing",
        tests=(_ENGINE + "test_a_transaction_that_was_committed_is_undone_as_any_step_that_says_how",),
    ),
}
