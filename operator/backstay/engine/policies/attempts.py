"""How long one attempt may take, whatever it is made of: a Job, a call, a child run."""

from datetime import datetime
from typing import TYPE_CHECKING

from backstay.engine.model import StepRecord

if TYPE_CHECKING:
    from backstay.engine.node import Node
    from backstay.engine.turn import Turn


def ends_at(node: "Node", record: StepRecord) -> datetime | None:
    """Return when the latest attempt at a step times out; None where nothing limits it. A suspension does not stop this clock: what runs goes on."""
    if node.attempt_timeout is None or record.attempt_started_at is None:
        return None
    return record.attempt_started_at + node.attempt_timeout


def is_overdue(turn: "Turn", node: "Node", record: StepRecord) -> bool:
    """Tell whether the latest attempt has taken too long."""
    end = ends_at(node, record)
    return end is not None and end <= turn.now


def wake_at_end(turn: "Turn", node: "Node", record: StepRecord) -> None:
    """Ask to be woken when the latest attempt times out."""
    end = ends_at(node, record)
    if end is not None:
        turn.wake(end)
