"""What becomes of a step whose attempts are used up: it fails, or it waits for a person (docs/retries.md).

    state     on         becomes    then
    (any)     exhausted  Paused     its `onExhausted` says so: nothing of it goes on, no timeout of its own runs, its lock stays its own
    Paused    retry      Retrying   the next attempt is due now; timeout and retries count anew; edits go for every later attempt
    Paused    skip       Skipped    the run goes on after it, with the outputs that the person gave
    Paused    give up    Failed     with the error that it has: handlers around it see it
    Paused    stop       Cancelled  at once: nothing of it goes on

Whoever is asked to retry, skip or give up a step that is Retrying does the same without the pause.
"""

from collections.abc import Mapping
from typing import Any, Final

from backstay.api.policies import OnExhausted
from backstay.engine.compensation.forward import is_dealt_with
from backstay.engine.lifecycle import ending, failing
from backstay.engine.model import UNKNOWN, Fault, Json, Phase, StepRecord
from backstay.engine.node import Node
from backstay.engine.paths import ROOT, undo_path, undone_by
from backstay.engine.policies import dead_letter
from backstay.engine.turn import Turn

WAY_OUT: Final = "a person must retry, edit, skip or give up"
"""How the message of every paused step ends."""


def exhaustion(turn: Turn, node: Node, path: str, fault: Fault) -> OnExhausted:
    """Return what becomes of the step at `path` once no attempt is left: what it says itself, else what goes where it stands.

    A retriable step never comes to an end of its attempts, but may be unable to make one: then it waits, for it must come to pass. Where there
    is no way but forward, a step that would fail waits as well: while a step is undone, and after the pivot; and so does a pivot of which
    nobody knows whether it was done.
    """
    undone = undone_by(path)
    if path == undo_path(undone or ROOT):
        return node.on_exhausted or OnExhausted.PAUSE
    if not node.machine.works or node.on_exhausted is not None:
        return node.on_exhausted or OnExhausted.FAIL
    if node.is_retriable:
        return OnExhausted.PAUSE
    if undone is not None:
        undo = turn.program.undo_of(undone)
        waits = undo is not None and undo.on_exhausted is None and not is_dealt_with(turn.program, path, fault.type, undo_path(undone))
    else:
        waits = _only_forward(turn, node, path) and not is_dealt_with(turn.program, path, fault.type)
    return OnExhausted.PAUSE if waits else OnExhausted.FAIL


def _only_forward(turn: Turn, node: Node, path: str) -> bool:
    record = turn.steps.get(path)
    return bool(turn.run.pivot) or (node.is_pivot and record is not None and record.outcome == UNKNOWN)


def pause(turn: Turn, node: Node, path: str, fault: Fault, reason: str = "") -> StepRecord:
    """No attempt is left: the step waits for a person, for as long as it takes. One that could not even begin is new."""
    record = turn.steps.get(path)
    words = failing.words_of(fault)
    attempts = f" after {record.attempt} attempt{'s' if record.attempt > 1 else ''}" if record and record.attempt else ""
    begun: dict[str, Any] = {} if record else {"kind": node.kind, "started_at": turn.now}
    message = f"paused{attempts} ({words}): {WAY_OUT}"
    over = {**ending.LET_GO, **begun, "phase": Phase.PAUSED, "error": fault, "deadline_at": None, "stalled": True, "message": message}
    if exhaustion(turn, node, path, fault) is OnExhausted.DEAD_LETTER:
        over |= dead_letter.opened(turn, node, path)
    return turn.change_step("StepPaused", path, reason=reason or words, **over)


def resume(
    turn: Turn, node: Node, record: StepRecord, edit: Mapping[str, Json] | None = None, *, actor: str = "user", reason: str = ""
) -> StepRecord:
    """Make another attempt now, of a step that is Paused or Retrying. `edit` is added to the edits that it has; see `policies.editing`."""
    over: dict[str, Any] = {**ending.LET_GO, "phase": Phase.RETRYING, "due_at": turn.now, "resumed_at": turn.now}
    over["deadline_at"] = None if node.timeout is None else turn.now + node.timeout
    over["tries"] = {"before": record.attempt} if record.attempt else None
    over |= dead_letter.closed(record, dead_letter.CONTINUED, reason)
    if edit is not None:
        over["edits"] = [*(record.edits or ()), edit]
    return turn.change_step("StepResumed", record.path, actor=actor, reason=reason, **over)


def skip(turn: Turn, record: StepRecord, outputs: Mapping[str, Json] | None = None, *, actor: str = "user", reason: str = "") -> StepRecord:
    """Go on after a step that is Paused or Retrying as if it were done, with the outputs that the person gave."""
    over: dict[str, Any] = {**ending.LET_GO, "deadline_at": None, "outputs": outputs}
    over |= dead_letter.closed(record, dead_letter.SKIPPED, reason)
    return ending.end(turn, "StepSkipped", record.path, Phase.SKIPPED, actor=actor, reason=reason, **over)


def give_up(turn: Turn, record: StepRecord, *, actor: str = "user", reason: str = "") -> StepRecord:
    """Let a step that is Paused or Retrying fail with the error that it has."""
    fault = record.error or Fault("Cancelled", "The step was given up", reason, record.path, record.attempt)
    over: dict[str, Any] = {**ending.LET_GO, "deadline_at": None, "error": fault}
    over |= dead_letter.closed(record, dead_letter.GIVEN_UP, reason)
    return ending.end(turn, "StepFailed", record.path, Phase.FAILED, actor=actor, reason=reason or "given up", **over)
