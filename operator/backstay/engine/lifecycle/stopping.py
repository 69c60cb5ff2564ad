"""stop: a step is no longer wanted. It is brought to an end, at once or as soon as what it started has ended."""

from typing import Any

from backstay.api.base import format_duration
from backstay.engine.compensation.pending import Reach
from backstay.engine.lifecycle import boundary, catching, ending, failing, lists, outcomes, undoing
from backstay.engine.model import UNKNOWN, Fault, Phase, StepRecord
from backstay.engine.node import Node
from backstay.engine.paths import handler_prefix
from backstay.engine.turn import Turn


def stop(turn: Turn, node: Node, record: StepRecord) -> None:
    """A step is no longer wanted: bring it to an end, at once or as soon as what it started has ended."""
    if turn.is_full:
        return
    if record.phase is Phase.FINISHING:
        boundary.stop(turn, node, record)
        ending.proceed_finishing(turn, node, record)
    elif record.phase is Phase.STOPPING and record.then not in (Phase.FAILED, Phase.CAUGHT):
        proceed(turn, node, record)
    elif record.is_joined:
        begin_stopping(turn, node, record, Phase.SUCCEEDED)
    elif not record.has_ended:
        begin_stopping(turn, node, record, Phase.CANCELLED)


def cancel(turn: Turn, node: Node, record: StepRecord, reason: str, *, undo: bool = False) -> None:
    """The workflow, or a person, does not want a step any more: stop it, and the run goes on after it; `undo` what was completed in it before.

    To be called before a turn advances the run, never from within a step: what is cancelled may be around that step.
    """
    if record.phase is Phase.FINISHING:
        boundary.stop(turn, node, record)
        return
    flagged: dict[str, Any] = {"undoing": True} if undo else {}
    if record.is_joined and not undo:
        begin_stopping(turn, node, record, Phase.SUCCEEDED, reason=reason)
    elif record.phase is not Phase.STOPPING or record.then in (Phase.FAILED, Phase.CAUGHT):
        begin_stopping(turn, node, record, Phase.SKIPPED, reason=reason, **flagged)


def leave(turn: Turn, node: Node, record: StepRecord, target: str) -> None:
    """A goto inside a structure leads out of it, to `target`: stop what else goes on in it."""
    begin_stopping(turn, node, record, Phase.CANCELLED, reason=f"the run goes on at {target}", goto=target)


def begin_stopping(
    turn: Turn, node: Node, record: StepRecord, then: Phase, fault: Fault | None = None, *, reason: str = "", **changes: Any
) -> None:
    """Stop what a step has started; it becomes `then` once that has ended. `fault` says why, where it is to fail."""
    is_to_be_undone = changes.get("undoing") and record.outcome == UNKNOWN
    if record.phase in (Phase.WAITING, Phase.RETRYING, Phase.PAUSED) and not is_to_be_undone:
        _settle(turn, node, record, then, fault, reason)
        return
    if fault:
        changes |= {"error": fault}
    words = failing.words_of(fault) if fault else reason
    changes |= outcomes.after_cutting_off(turn, record, fault)
    kept = turn.change_step("StepStopping", record.path, phase=Phase.STOPPING, then=then, reason=words, **changes)
    proceed(turn, node, kept)


def proceed(turn: Turn, node: Node, record: StepRecord) -> None:
    """Look again at a step that is being stopped."""
    if record.boundary is not None:
        ended = boundary.stop_handling(turn, node, record)
    elif record.handler is not None:
        ended = lists.stop_list(turn, node.handlers[record.handler].nodes, handler_prefix(record.path, record.handler))
    else:
        ended = (record.undoing and record.finishing is Phase.SUCCEEDED and turn.run.phase is Phase.RUNNING) or node.machine.stop(
            turn, node, record
        )
    after = turn.steps[record.path]
    if ended and after.undoing and turn.run.phase is Phase.RUNNING:
        ended = undoing.advance_undoing(turn, Reach(inside=record.path), besides=record.path)
    if ended and after.phase is Phase.STOPPING:
        _settle(turn, node, after, after.then or Phase.CANCELLED, after.error)


def _settle(turn: Turn, node: Node, record: StepRecord, then: Phase, fault: Fault | None, reason: str = "") -> None:
    if then is Phase.FAILED:
        failing.fail(turn, node, record.path, fault or Fault("Cancelled"))
    elif then is Phase.SUCCEEDED:
        ending.succeed(turn, record.path)
    elif then is Phase.CAUGHT:
        catching.proceed(turn, node, boundary.take_over(turn, node, record.path))
    else:
        over = ending.LET_GO | {"deadline_at": None, "then": Phase.SKIPPED if then is Phase.SKIPPED else None}
        ending.end(turn, "StepCancelled", record.path, Phase.CANCELLED, reason=reason, **over)


def time_out(turn: Turn, node: Node, record: StepRecord) -> None:
    """A step has taken too long, all attempts together."""
    assert record.started_at is not None
    took = (record.deadline_at or turn.now) - record.started_at
    fault = Fault(
        "Timeout",
        "The step took too long",
        f"it has not ended within {format_duration(took)}{waited(record)}; see its timeout",
        record.path,
        record.attempt,
    )
    begin_stopping(turn, node, record, Phase.FAILED, fault)


def waited(record: StepRecord) -> str:
    """Return what a step that took too long was waiting for, if that is known: then its work is not to blame."""
    return f" ({record.message})" if record.message and (record.job or record.circuit) is not None else ""
