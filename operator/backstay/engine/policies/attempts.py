"""What attempts have in common, whatever they are made of, a Job, a call or a child run: how long one may take, and what its expressions see."""

from datetime import datetime
from typing import TYPE_CHECKING, Final

from backstay.engine.model import Json, Phase, StepRecord
from backstay.engine.scopes import Scope
from backstay.engine.turn import Turn, shown_fault

if TYPE_CHECKING:
    from backstay.engine.node import Node


def ends_at(node: "Node", record: StepRecord) -> datetime | None:
    """Return when the latest attempt at a step times out; None where nothing limits it. A suspension does not stop this clock: what runs goes on."""
    if node.attempt_timeout is None or record.attempt_started_at is None:
        return None
    return record.attempt_started_at + node.attempt_timeout


def is_overdue(turn: Turn, node: "Node", record: StepRecord) -> bool:
    """Tell whether the latest attempt has taken too long."""
    end = ends_at(node, record)
    return end is not None and end <= turn.now


def wake_at_end(turn: Turn, node: "Node", record: StepRecord) -> None:
    """Ask to be woken when the latest attempt times out."""
    end = ends_at(node, record)
    if end is not None:
        turn.wake(end)


# ------------------------------------------------------------------------------------------------------------- expressions

ATTEMPT: Final = "attempt"
"""The number of the attempt that is made, or was made, from 1."""
LAST_ERROR: Final = "lastError"
"""What went wrong with the attempt before; its type is empty at the first."""


def seeing(scope: Scope) -> Scope:
    """Return what the action of a step in a list sees: what the list does, and which attempt it is."""
    return Scope(scope.segments, scope, (ATTEMPT, LAST_ERROR), gives=_given)


def _given(turn: Turn, path: str, name: str) -> Json:
    record = turn.steps.get(path)
    if name == LAST_ERROR:
        return shown_fault(record.error if record else None)
    return number_of(record)


def number_of(record: StepRecord | None) -> int:
    """Return the number of the attempt that a step is at: the next one where none goes on; a disrupted one is made again under its number."""
    if record is None:
        return 1
    is_ahead = record.phase in (Phase.RETRYING, Phase.PAUSED) and record.then is not Phase.RUNNING
    return max(1, record.attempt + is_ahead)
