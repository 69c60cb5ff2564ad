"""`backstay why` for transactions that are decided and not carried out."""

from backstay.cli.views.why import Cause, Evidence, why
from backstay.engine.model import JobState
from tests.support.world import World
from tests.unit.cli.runs import run_of, soon

PHASES = "prepare: {job: {image: i}}, commit: {job: {image: i}, retry: {interval: 20s, jitter: None}}, abort: {job: {image: i}}"
BOOK = f"steps: [{{name: book, transaction: {{participants: [{{name: a, {PHASES}}}, {{name: b, {PHASES}}}]}}}}]"


def world() -> World:
    return World(BOOK).succeed("book/a/prepare").succeed("book/b/prepare").succeed("book/a/commit")


def test_a_participant_that_fails_to_commit_is_told_as_in_doubt() -> None:
    found = world().fail("book/b/commit")
    answer = why(run_of(found), Evidence(), soon(found))
    assert answer.cause is Cause.RETRY
    assert answer.sentence == (
        "IN DOUBT: book is to be committed, and not so yet at b: step book/b/commit failed (ExitCode: ExitCode happened), and attempt 2 "
        "begins in 20s"
    )


def test_a_heuristic_outcome_is_told_with_the_commands_that_resolve_it() -> None:
    found = world().end("book/b/commit", JobState.SUCCEEDED, '{"error": {"type": "HeuristicRollback", "message": "by hand"}}')
    answer = why(run_of(found), Evidence(), soon(found))
    assert answer.cause is Cause.PERSON
    assert answer.sentence.startswith(
        "IN DOUBT: book is to be committed, and not so yet at b: step book/b/commit is paused after 1 attempt"
    )
    for command in ("retry", "skip", "give-up"):
        assert f"backstay {command} order-7f2 book/b/commit -n shop" in answer.mend


def test_a_run_that_was_let_go_says_what_it_left_in_doubt() -> None:
    found = world().fail("book/b/commit").wants(cancel=True, cancel_reason="enough").wants(release=True)
    assert why(run_of(found), Evidence(), soon(found)).sentence.endswith("; IN DOUBT: book is to be committed, and not so yet at b")


def test_a_transaction_that_goes_well_is_not_told_as_in_doubt() -> None:
    assert "IN DOUBT" not in why(run_of(found := world()), Evidence(), soon(found)).sentence
