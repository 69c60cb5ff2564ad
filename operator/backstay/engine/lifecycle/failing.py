"""fail: an attempt at a step went wrong. Another attempt, a handler, or the step fails."""

from datetime import timedelta
from typing import Any

from backstay.api.faults import matches
from backstay.engine.lifecycle import ending, lists
from backstay.engine.model import Fault, Phase, StepRecord
from backstay.engine.node import Node
from backstay.engine.paths import handler_prefix
from backstay.engine.policies.retry import delay_before
from backstay.engine.turn import Turn


def fail(turn: Turn, node: Node, path: str, fault: Fault, after: timedelta | None = None) -> None:
    """An attempt at a step went wrong: make another, hand it to a handler, or let the step fail.

    `after` is how long the other side asked to be left alone: another attempt does not come sooner.
    """
    record = turn.steps.get(path)
    attempt = record.attempt if record else 0
    placed = Fault(fault.type, fault.title, fault.detail, fault.step or path, fault.attempt or attempt)
    if _is_tried_again(turn, node, path, placed, after) or _is_caught(turn, node, path, placed):
        return
    ending.end(turn, "StepFailed", path, Phase.FAILED, **_failed(turn, node, path, placed))


def words_of(fault: Fault) -> str:
    """Return an error in a line."""
    return f"{fault.type}: {fault.detail or fault.title}".rstrip(": ")


def _failed(turn: Turn, node: Node, path: str, fault: Fault) -> dict[str, Any]:
    """What is written of a step whose last attempt has failed, whatever becomes of it; one that could not even begin is new."""
    over: dict[str, Any] = {"error": fault, "reason": words_of(fault), "deadline_at": None, **ending.LET_GO}
    return over if path in turn.steps else {"kind": node.kind, "started_at": turn.now, **over}


def _is_tried_again(turn: Turn, node: Node, path: str, fault: Fault, after: timedelta | None) -> bool:
    record, retry = turn.steps.get(path), node.retry
    if record is None or retry is None or not record.attempt or record.attempt >= retry.max_attempts:
        return False
    timed_out = record.deadline_at is not None and record.deadline_at <= turn.now
    if timed_out or not matches(fault.type, retry.errors):
        return False
    due = turn.now + max(after or timedelta(), delay_before(retry, turn.identity.uid, path, record.attempt + 1))
    over = {**ending.LET_GO, "phase": Phase.RETRYING, "error": fault, "due_at": due}
    turn.change_step("StepRetrying", path, reason=words_of(fault), **over)
    turn.wake(due)
    return True


# -------------------------------------------------------------------------------------------------------------- catching


def _is_caught(turn: Turn, node: Node, path: str, fault: Fault) -> bool:
    for index, handler in enumerate(node.handlers):
        if matches(fault.type, handler.errors):
            over = _failed(turn, node, path, fault)
            proceed_catching(turn, node, turn.change_step("StepCatching", path, phase=Phase.CATCHING, handler=index, **over))
            return True
    return False


def proceed_catching(turn: Turn, node: Node, record: StepRecord) -> None:
    """Bring the handler of a step's error as far as it goes; the step ends as its handler does."""
    index = record.handler or 0
    outcome, fault, target = lists.advance_list(turn, node.handlers[index].nodes, handler_prefix(record.path, index))
    if outcome is lists.Outcome.DONE:
        ending.end(turn, "StepCaught", record.path, Phase.CAUGHT)
    elif outcome is lists.Outcome.LEFT:
        ending.end(turn, "StepCaught", record.path, Phase.CAUGHT, goto=target, reason=f"the run goes on at {target}")
    elif outcome is lists.Outcome.FAILED and fault:
        ending.end(turn, "StepFailed", record.path, Phase.FAILED, error=fault, reason=words_of(fault))
