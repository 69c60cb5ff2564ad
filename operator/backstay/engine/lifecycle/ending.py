"""How a step ends: every way goes through here, through what runs beside it for boundary events, and through its `finally`.

    state      on         becomes     then
    (any)      ends       Finishing   something still runs beside it, or it has a `finally`, which comes then; `finishing` says what it becomes
    Finishing  beside     Finishing   what ran beside it has failed: what would have ended well fails
    Finishing  done       (as said)   Succeeded, Caught, Skipped, Failed or Cancelled
    Finishing  failed     Failed      its finally failed, and the run would have gone on after it
    Finishing  failed     (as said)   the same, of one that had failed or was stopped: the first error stays, the other is told
    Finishing  stop       Finishing   a finally is carried through, whoever no longer wants the step
    Finishing  let go     (as said)   the run's time to end is over, or its namespace goes: the finally is stopped, and that is told

A step that is skipped has not begun, and neither has one that never got its lock: they have no finally.
"""

from typing import Any, Final

from backstay.engine.lifecycle import advancing, boundary, failing, stopping
from backstay.engine.model import DONE, Fault, Phase, StepRecord
from backstay.engine.node import Node
from backstay.engine.paths import finally_path, static
from backstay.engine.turn import Turn

_PLACED: Final = (Phase.CAUGHT, Phase.SKIPPED)
"""Ends that have a place in the order of undoing, besides success: what was completed after them can be told."""
LET_GO: Final[dict[str, Any]] = dict.fromkeys(
    ("inputs", "due_at", "then", "message", "held_since", "starting_since", "lost_pod", "stalled", "circuit"),
)
"""What a step no longer needs to remember once an attempt is over."""
ABANDONED: Final = "FinallyAbandoned"
_EVENTS: Final = {
    Phase.SUCCEEDED: "StepSucceeded",
    Phase.CAUGHT: "StepCaught",
    Phase.SKIPPED: "StepSkipped",
    Phase.FAILED: "StepFailed",
    Phase.CANCELLED: "StepCancelled",
}


def succeed(turn: Turn, path: str, **changes: Any) -> None:
    """A step did what it was for. Its place in the order of undoing is the number of this entry, or of the one that met its join."""
    record = turn.steps.get(path)
    over: dict[str, Any] = {"deadline_at": None, **LET_GO, **changes}
    if record is not None and record.undoing and record.phase is Phase.STOPPING and turn.run.phase is Phase.RUNNING:
        kept = {name: value for name, value in over.items() if name not in LET_GO}
        turn.change_step(
            "LateResult", path, **kept, finishing=Phase.SUCCEEDED, sequence=turn.sequence + 1, reason="it was done; it is undone"
        )
        return
    if record is not None and record.outcome:
        over |= {"outcome": None, "sequence": 0}
    if _has_more_to_do(turn, path, Phase.SUCCEEDED):
        _begin_finishing(turn, path, Phase.SUCCEEDED, over)
    else:
        place = turn.sequence + 1 if "sequence" in over else _place(turn, record)
        turn.change_step("StepSucceeded", path, **{"phase": Phase.SUCCEEDED, "finished_at": turn.now, **over, "sequence": place})
        note_pivot(turn, path)


def end(turn: Turn, event: str, path: str, phase: Phase, **changes: Any) -> StepRecord:
    """A step has come to an end other than success."""
    if _has_more_to_do(turn, path, phase):
        return _begin_finishing(turn, path, phase, changes)
    record = turn.steps.get(path)
    place = _place(turn, record) if phase in _PLACED or (record is not None and record.outcome) else None
    placed = {} if place is None else {"sequence": place}
    return turn.change_step(event, path, **{"phase": phase, "finished_at": turn.now, **placed, **changes})


def note_pivot(turn: Turn, path: str) -> None:
    """Write that the run has come to where it only goes forward, where the step that has succeeded is a pivot, and the first one."""
    if not turn.run.pivot and turn.program.pivots and static(path) in turn.program.pivots:
        turn.change_run("PivotPassed", pivot=path, reason=f"{path} has succeeded: from now on nothing is undone any more")


def _place(turn: Turn, record: StepRecord | None) -> int:
    """Return a step's place in the order of undoing: where it ends, unless its join was met before; one that was cut off keeps where that was."""
    return record.sequence if record and record.sequence else turn.sequence + 1


# ------------------------------------------------------------------------------------------------------------- finishing


def _has_more_to_do(turn: Turn, path: str, phase: Phase) -> bool:
    boundary.withdraw(turn, path)
    return boundary.goes_on(turn, path) or _has_finally(turn, path, phase)


def _has_finally(turn: Turn, path: str, phase: Phase) -> bool:
    if not turn.program.finishing or static(path) not in turn.program.finishing:
        return False
    record = turn.steps.get(path)
    if record is None:
        return phase is not Phase.SKIPPED
    return record.lock is None or record.locked_at is not None


def _begin_finishing(turn: Turn, path: str, becomes: Phase, changes: dict[str, Any]) -> StepRecord:
    return turn.change_step("StepFinishing", path, **{"deadline_at": None, **changes, "phase": Phase.FINISHING, "finishing": becomes})


def proceed_finishing(turn: Turn, node: Node, record: StepRecord) -> None:
    """Bring what runs beside a step as far as it goes, then its finally; the step ends once these have."""
    has_ended, fault = boundary.settle(turn, node, record)
    if fault is not None and record.finishing in DONE:
        record = _fail_meanwhile(turn, record, fault)
    if not has_ended:
        return
    if node.finally_ is None or not _has_finally(turn, record.path, record.finishing or Phase.FAILED):
        _conclude(turn, record, None)
        return
    has_ended, fault = carry_through(turn, node.finally_, finally_path(record.path))
    if has_ended:
        _conclude(turn, record, fault)


def _fail_meanwhile(turn: Turn, record: StepRecord, fault: Fault) -> StepRecord:
    """What runs beside a step has failed before the step has ended: so has the step. What it had done is done."""
    place = _place(turn, record) if record.finishing is Phase.SUCCEEDED else record.sequence
    over: dict[str, Any] = {"finishing": Phase.FAILED, "error": fault, "then": None, "goto": None, "sequence": place}
    return turn.change_step("StepFinishing", record.path, reason=failing.words_of(fault), **over)


def carry_through(turn: Turn, node: Node, path: str) -> tuple[bool, Fault | None]:
    """Bring the block that is a finally, of a step or of the workflow, as far as it goes. Returns whether it has ended, and why it failed."""
    record = turn.steps.get(path)
    is_over = record is not None and record.has_ended
    record = (_let_go if turn.lets_go and not is_over else advancing.advance)(turn, node, path)
    if record is None or not record.has_ended:
        return False, None
    if record.phase is Phase.FAILED:
        return True, record.error
    if record.phase is not Phase.SKIPPED and record.is_done:
        return True, None
    return True, Fault(ABANDONED, "The finally was not carried through", "there was no time left for it, or its namespace goes", path)


def _let_go(turn: Turn, node: Node, path: str) -> StepRecord:
    """Nobody waits for a finally any more: stop it, or do not begin it."""
    record = turn.steps.get(path)
    if record is None:
        over: dict[str, Any] = {"kind": node.kind, "phase": Phase.SKIPPED, "finished_at": turn.now}
        turn.change_step(ABANDONED, path, reason=turn.lets_go, **over)
    elif record.phase is Phase.RUNNING:
        turn.change_step(ABANDONED, path, reason=turn.lets_go)
        stopping.begin_stopping(turn, node, record, Phase.CANCELLED, reason=turn.lets_go)
    else:
        stopping.stop(turn, node, record)
    return turn.steps[path]


def _conclude(turn: Turn, record: StepRecord, fault: Fault | None) -> None:
    """The finally of a step has ended, and so does the step: as it was to, unless the finally failed and the run would have gone on."""
    becomes = record.finishing or Phase.FAILED
    did_work = becomes is Phase.SUCCEEDED or (becomes is Phase.FAILED and record.sequence > 0 and not record.outcome)
    is_placed = did_work or becomes in _PLACED or record.outcome
    over: dict[str, Any] = {"finished_at": turn.now, "sequence": _place(turn, record) if is_placed else record.sequence, "finishing": None}
    if fault is not None and _goes_on(record, becomes):
        becomes, over = Phase.FAILED, over | {"then": None, "goto": None, "error": fault}
    elif fault is not None:
        over["message"] = f"its finally failed as well: {failing.words_of(fault)}"
    if becomes is Phase.FAILED:
        error = over.get("error") or record.error
        over |= {"finishing": Phase.SUCCEEDED if did_work else None, "reason": failing.words_of(error) if error else ""}
    turn.change_step(_EVENTS[becomes], record.path, phase=becomes, **over)
    if becomes is Phase.SUCCEEDED:
        note_pivot(turn, record.path)


def _goes_on(record: StepRecord, becomes: Phase) -> bool:
    """Tell whether the run goes on after a step that ends so: then a finally that failed is an error of the step."""
    return becomes in DONE or record.then is Phase.SKIPPED or bool(record.goto)
