"""Failures that nobody wants to lose: what gave up, and what becomes of it."""

from typing import Final

from tests.scenarios.catalogue.rows import Row

_LETTERS = "tests/scenarios/dead_letters.py::"
_CRASHES = "tests/simulation/test_dead_letters.py::"
_GONE = _LETTERS + "test_a_letter_of_a_run_that_is_gone_starts_a_new_one_once_however_often_it_is_asked_and_though_the_operator_is_killed"

DEAD_LETTERS: Final[dict[str, Row]] = {
    "dead-letter": Row(
        "no attempt is left, and `onExhausted: DeadLetter`",
        "pauses the step and writes a DeadLetter with its error, its inputs and its run",
        "`kubectl get deadletters`; Event `DeadLetterWritten`; STATUS `Stalled`",
        "`backstay replay NAME` (with `--edit`, changed), or `backstay discard NAME --reason …`",
        tests=(_LETTERS + "test_a_step_that_gave_up_is_shown_and_replayed_where_its_run_waits",),
    ),
    "bad-edit": Row(
        "a replay is asked for with an edit that makes no action",
        "refuses it: the step waits on",
        "phase `Failed` of the letter, with the path and the mend; Event `ReplayRefused`",
        "replay it with another edit",
        tests=(_LETTERS + "test_an_edit_that_is_no_action_is_told_and_one_that_is_goes_on",),
    ),
    "letter-of-the-gone": Row(
        "a letter is replayed whose run has ended, or is gone",
        "starts one new run of the same workflow and revision, whatever crashes",
        "the letter: `Replayed`, and the run that goes on with it",
        "nothing",
        tests=(_GONE,),
    ),
    "replay-and-cancel": Row(
        "a letter is replayed and its run cancelled at the same moment, and the operator dies at any of its writes",
        "goes on in one place: the run's own write decides where",
        "the letter: `Replayed`, and where",
        "nothing",
        tests=(
            _LETTERS + "test_a_replay_and_a_cancellation_at_once_lead_to_one_continuation",
            _CRASHES + "test_a_replay_and_a_cancellation_at_once_lead_to_one_continuation_wherever_the_operator_dies",
        ),
    ),
    "lost-revision-of-a-letter": Row(
        "a letter is replayed whose revision or Workflow is gone",
        "starts nothing",
        "phase `Failed` of the letter, with the revisions that are there",
        "apply the Workflow and replay it again; or start a run by hand, and discard it",
        tests=(_CRASHES + "test_a_revision_that_is_gone_is_told_with_those_that_are_there",),
    ),
    "lost-record-of-a-letter": Row(
        "a letter is replayed whose run's record is lost",
        "starts nothing: never twice, rather not at all",
        "phase `Failed` of the letter: nobody can tell whether it had been taken up",
        "start a run by hand, or discard it",
        tests=("tests/unit/engine/test_dead_letters.py::test_what_becomes_of_a_letter",),
    ),
}
