"""What a run leaves behind that is gone although it had not ended: nobody will undo it any more, so that a person must know.

A run that has something to undo is held by our finalizer; it goes all the same where somebody takes that off by hand, or where it was deleted
in the very moment in which it was put on (kubernetes/kubernetes#77988).
"""

from collections.abc import Collection, Iterator
from typing import Final

from backstay.engine import transactions
from backstay.engine.compensation import to_undo
from backstay.engine.model import Phase, State, StepRecord
from backstay.engine.program import Program

MOST_NAMED: Final = 20


def left_behind(program: Program | None, state: State, staying: Collection[str]) -> str:
    """Say what is left of a run that our finalizer held, as it was last known; empty where it had ended, or had not begun, and where nothing is left.

    `program` is None where it is not known, and with it what is to be undone. `staying` are the names of Jobs that go on and have no owner, so
    that the garbage collector does not take them.
    """
    if state.run.phase is None or state.run.is_finished:
        return ""
    return "; ".join(_left(program, state, staying))


def _left(program: Program | None, state: State, staying: Collection[str]) -> Iterator[str]:
    if program is not None:
        yield from _promised(program, state)
    elif done := [record.path for record in state.steps.values() if record.phase is Phase.SUCCEEDED and record.attempt]:
        yield f"done, and whether it is to be undone is not known: {_named(done)}"
    if going := [record for record in state.steps.values() if not record.has_ended and _work(record)]:
        yield f"at work, and nobody hears how it ends: {_named([f'{record.path} ({_work(record)})' for record in going])}"
    if staying:
        yield f"Jobs that go on and have no owner, and are deleted soon: {_named(sorted(staying))}"


def _promised(program: Program, state: State) -> Iterator[str]:
    if done := to_undo(program, state):
        yield f"done and not undone: {_named([record.path for record in done])}"
    if doubt := transactions.in_doubt_words(program, state.steps):
        yield f"IN DOUBT: {doubt}"
    if program.finally_ is not None or program.finishing:
        yield "what it does at its end (finally) is not done"


def _work(record: StepRecord) -> str:
    """Return what does the work of a step; empty where nothing does now."""
    if record.job:
        return f"Job {record.job}"
    if record.child:
        return f"run {record.child}"
    return f"{record.kind} call" if record.call else ""


def _named(names: Collection[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join([*names][:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
