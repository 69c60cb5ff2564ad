"""fail: an attempt at a step went wrong. Another attempt, a handler of its own, a pause until a person looks, or the step fails."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from backstay.api.faults import matches
from backstay.api.policies import OnExhausted, Retry
from backstay.engine.lifecycle import boundary, catching, ending, pausing
from backstay.engine.model import Fault, Phase, StepRecord, broken_expression
from backstay.engine.node import Node
from backstay.engine.policies.retry import Again, another
from backstay.engine.turn import Turn
from backstay.errors import EvaluationError


def fail(turn: Turn, node: Node, path: str, fault: Fault, after: timedelta | None = None) -> None:
    """An attempt at a step went wrong: make another, hand it to a handler, pause, or let the step fail.

    `after` is how long the other side asked to be left alone: another attempt does not come sooner.
    """
    record = turn.steps.get(path)
    attempt = record.attempt if record else 0
    placed = Fault(fault.type, fault.title, fault.detail, fault.step or path, fault.attempt or attempt)
    if _is_handled_already(turn, node, record):
        ending.end(turn, "StepFailed", path, Phase.FAILED, **_failed(turn, node, path, placed))
        return
    again = _another(turn, node, path, placed, after)
    if again.words:
        placed = replace(placed, detail=f"{placed.detail or placed.title}; {again.words}")
    if _is_tried_again(turn, path, placed, again) or _is_caught(turn, node, path, placed):
        return
    if pausing.exhaustion(turn, node, path, placed) is not OnExhausted.FAIL:
        pausing.pause(turn, node, path, placed)
        return
    ending.end(turn, "StepFailed", path, Phase.FAILED, **_failed(turn, node, path, placed))


def words_of(fault: Fault) -> str:
    """Return an error in a line."""
    return f"{fault.type}: {fault.detail or fault.title}".rstrip(": ")


def _failed(turn: Turn, node: Node, path: str, fault: Fault) -> dict[str, Any]:
    """What is written of a step whose last attempt has failed, whatever becomes of it; one that could not even begin is new."""
    over: dict[str, Any] = {"error": fault, "reason": words_of(fault), "deadline_at": None, **ending.LET_GO}
    return over if path in turn.steps else {"kind": node.kind, "started_at": turn.now, **over}


def _another(turn: Turn, node: Node, path: str, fault: Fault, after: timedelta | None) -> Again:
    """Say whether another attempt follows. One that could not even be made is not made again: its expressions would fail again."""
    record = turn.steps.get(path)
    if record is None or not node.machine.works or (node.retry is None and not node.is_retriable):
        return Again()
    is_made = bool(record.attempt) and record.phase is not Phase.RETRYING
    if not is_made and not (node.is_retriable and fault.type == "LockTimeout"):
        return Again()
    if (record.deadline_at is not None and record.deadline_at <= turn.now) or matches(fault.type, node.never_again):
        return Again()
    return another(node.retry or Retry(), turn.identity.uid, record, fault, turn.now, after, is_retriable=node.is_retriable)


def _is_tried_again(turn: Turn, path: str, fault: Fault, again: Again) -> bool:
    if again.due is None:
        return False
    over = {**ending.LET_GO, "phase": Phase.RETRYING, "error": fault, "due_at": again.due, "tries": again.tries}
    turn.change_step("StepRetrying", path, reason=words_of(fault), **over)
    turn.wake(again.due)
    return True


# -------------------------------------------------------------------------------------------------------------- catching


def _is_handled_already(turn: Turn, node: Node, record: StepRecord | None) -> bool:
    """Tell whether an error came out of what runs in the step's place or beside it: that is no error of an attempt of its own."""
    if record is None or not (node.handlers or node.boundaries):
        return False
    return record.handler is not None or record.boundary is not None or boundary.has_failed(turn, node, record.path)


def _is_caught(turn: Turn, node: Node, path: str, fault: Fault) -> bool:
    """Hand the error to the first catch that takes it. Where a `when` cannot be evaluated, the step fails with that, which counts as dealt with."""
    try:
        index = catching.handler_of(turn, node, path, fault)
    except EvaluationError as error:
        broken = replace(broken_expression(f"{error}; the error was {words_of(fault)}", path), attempt=fault.attempt)
        ending.end(turn, "StepFailed", path, Phase.FAILED, **_failed(turn, node, path, broken))
        return True
    if index is None:
        return False
    over = _failed(turn, node, path, fault)
    record = turn.change_step("StepCatching", path, phase=Phase.CATCHING, handler=index, **over)
    boundary.withdraw(turn, path)
    catching.proceed(turn, node, record)
    return True
