"""Undoing steps: their compensations are begun, brought as far as they go, and what became of each is told.

    the next step to undo
      has begun nothing           → its compensation begins
      is being undone, or pauses  → wait; with `onFailure.parallel` those go on that are independent of it
      was undone                  → Compensated, and the next one follows
      was left                    → NotUndone: skipped, given up, or nobody can know how; the next one follows

A compensation whose attempts are used up pauses, unless it says `onExhausted: Skip`. Where the outcome of the step is unknown, and undoing it
needs outputs that it did not leave behind, it is left as it is and told: there is nothing that a person could put right there.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from backstay.engine.compensation.order import are_independent, parts_of
from backstay.engine.compensation.pending import (
    EVERYTHING,
    Reach,
    Standing,
    has_begun,
    has_completed,
    is_for_lack_of_outputs,
    is_unknown,
    standing,
    to_undo,
    why_left,
)
from backstay.engine.lifecycle import advancing, ending, stopping
from backstay.engine.model import Phase, StepRecord
from backstay.engine.node import Node
from backstay.engine.paths import is_within, undo_path, undone_by
from backstay.engine.turn import Turn

MOST_AT_ONCE: Final = 100
"""How many steps are undone at the same time at most, and no more iterations of a forEach than it runs at the same time."""
UNKNOWN_OUTCOME: Final = "OutcomeUnknown"


def advance_undoing(turn: Turn, reach: Reach = EVERYTHING, besides: str = "") -> bool:
    """Bring undoing as far as it goes now. Returns whether nothing of it is left to do.

    `besides` is the path of a step that counts as ended: one that is being cancelled, and whose own outcome may be unknown.
    """
    pending = to_undo(turn.program, turn, reach, besides)
    if turn.program.spec.on_failure.parallel:
        return _at_the_same_time(turn, pending)
    return all(_is_over(turn, record) for record in pending)


def finish_begun(turn: Turn) -> bool:
    """Bring every compensation to its end that has begun: a run does not end before. Returns whether none goes on."""
    if not turn.program.undoable:
        return True
    over = [_is_over(turn, record) for record in to_undo(turn.program, turn) if has_begun(turn, record)]
    return all(over)


def tell_left(turn: Turn) -> None:
    """Tell of the steps that a person has just decided to leave as they are."""
    for path in dict.fromkeys(entry.path for entry in turn.entries if entry.path.endswith(undo_path(""))):
        record = turn.steps.get(undone_by(path) or "")
        if record is not None and standing(turn, record) is Standing.LEFT:
            _tell_left(turn, record)


def _tell_left(turn: Turn, record: StepRecord) -> None:
    turn.change_run("NotUndone", reason=f"{record.path}: {why_left(turn, record)}")


def carry_through_begun(turn: Turn, reach: Reach) -> bool:
    """Begin no other compensation, and bring those to an end that go on. Returns whether none does: one that pauses, or waits for its next
    attempt, is left to whoever undoes its step next."""
    ended = True
    for record in to_undo(turn.program, turn, reach):
        doing = turn.steps.get(undo_path(record.path))
        if doing is not None and not _rests(turn, doing):
            ended = _is_over(turn, record) and ended
    return ended


def _rests(turn: Turn, doing: StepRecord) -> bool:
    """Tell whether nothing of a compensation goes on in the world at the moment."""
    inside = [record for path, record in turn.steps.items() if is_within(path, doing.path) and not record.has_ended]
    resting = (Phase.PAUSED, Phase.RETRYING, Phase.WAITING)
    leaves = [record for record in inside if not any(other.path != record.path and is_within(other.path, record.path) for other in inside)]
    return bool(leaves) and all(record.phase in resting for record in leaves)


def _at_the_same_time(turn: Turn, pending: Sequence[StepRecord]) -> bool:
    """Undo every step that is independent of all those after it that are not undone yet."""
    waiting: list[StepRecord] = []
    room = _Room(turn)
    for record in pending:
        free = room.has_place(record) and all(are_independent(turn.program, record.path, later.path) for later in reversed(waiting))
        if free and _is_over(turn, record):
            continue
        if free and undo_path(record.path) in turn.steps:
            room.take(record)
        waiting.append(record)
        if room.is_full:
            return False
    return not waiting


class _Room:
    """How many steps may be undone at the same time."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._count = 0
        self._iterations: dict[str, set[str]] = {}
        """By the path of a forEach: its iterations in which something is being undone."""

    @property
    def is_full(self) -> bool:
        return self._count >= MOST_AT_ONCE

    def has_place(self, record: StepRecord) -> bool:
        for owner, index in _iterations_around(record.path):
            active = self._iterations.get(owner, set())
            node = self._turn.program.node(owner)
            if node is not None and node.kind == "forEach" and index not in active and len(active) >= node.body.action.parallelism:
                return False
        return True

    def take(self, record: StepRecord) -> None:
        self._count += 1
        for owner, index in _iterations_around(record.path):
            self._iterations.setdefault(owner, set()).add(index)


def _iterations_around(path: str) -> Iterable[tuple[str, str]]:
    parts = parts_of(path)
    return [("".join(parts[:place]), part) for place, part in enumerate(parts) if part.startswith("[")]


def _is_over(turn: Turn, record: StepRecord) -> bool:
    """Bring undoing one step as far as it goes now. Returns whether that is over, and tells how it ended."""
    undo = turn.program.undo_of(record.path)
    assert undo is not None
    doing = advancing.advance(turn, undo, undo_path(record.path))
    if doing is not None and is_unknown(record, record.path):
        doing = _without_outputs(turn, undo, doing)
    if doing is None or not doing.has_ended:
        return False
    if standing(turn, record) is Standing.LEFT:
        _tell_left(turn, record)
    elif record.phase is Phase.SUCCEEDED:
        turn.change_step("StepCompensated", record.path, phase=Phase.COMPENSATED)
    else:
        known = "it had done its work" if has_completed(record) else "its outcome was not known"
        turn.change_run("StepCompensated", reason=f"{record.path}: undone; {known}")
    return True


def _without_outputs(turn: Turn, undo: Node, doing: StepRecord) -> StepRecord:
    """Let a compensation be that waits for a person because an expression needs what the step would have left behind."""
    stuck = next((other for other in turn.steps.values() if other.phase is Phase.PAUSED and is_within(other.path, doing.path)), None)
    if stuck is None or stuck.error is None or not is_for_lack_of_outputs(stuck):
        return doing
    words = f"the outcome of the step is not known, and undoing it needs what it would have left behind ({stuck.error.detail})"
    if doing is stuck:
        return ending.end(turn, UNKNOWN_OUTCOME, doing.path, Phase.SKIPPED, reason=words, **ending.LET_GO)
    stopping.begin_stopping(turn, undo, doing, Phase.SKIPPED, reason=words, error=stuck.error)
    return turn.steps[doing.path]
