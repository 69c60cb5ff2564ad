"""The last things that a run does: its workflow's `finally`, then starting the run that recovers from its failure.

    phase      on                  becomes
    Finishing  finally done        goes on
    Finishing  finally failed      of a run that had succeeded: its result is Failed, and it is undone as any run that fails; else the first error stays
    Finishing  recovery started    the result; `recovery` names the run. A recovery that cannot be started is told, and keeps no run from ending
    Finishing  deadline, namespace the finally is let go, and that is told

A run that never began has nothing to finish. A finally is carried through once, whatever follows: undoing it later does not run it again.
"""

from typing import Any, Final

from backstay.engine import lifecycle
from backstay.engine.compensation import to_undo
from backstay.engine.lifecycle import advance, carry_through
from backstay.engine.model import Fault, Json, Phase
from backstay.engine.paths import RECOVERY, ROOT, finally_path
from backstay.engine.turn import Turn

FINALLY: Final = finally_path(ROOT)


def is_left(turn: Turn, result: Phase) -> bool:
    """Tell whether a run that is to end with a result has something to do before."""
    if turn.program.finally_ is not None and FINALLY not in turn.steps:
        return True
    return result is Phase.FAILED and turn.program.recovery is not None and RECOVERY not in turn.steps


def begin(turn: Turn, result: Phase, reason: str, **changes: Any) -> None:
    """All else is done, and what was to be undone is undone: the run is about to end with a result."""
    deadline = turn.now + turn.program.spec.compensation_timeout
    turn.change_run("RunFinishing", phase=Phase.FINISHING, result=result, deadline_at=deadline, reason=reason, **changes)


def advance_finishing(turn: Turn) -> bool:
    """Bring it as far as it goes. Returns whether nothing is left, so that the run ends."""
    if turn.program.finally_ is not None:
        has_ended, fault = carry_through(turn, turn.program.finally_, FINALLY)
        if not has_ended:
            return False
        if fault is not None and turn.run.result is Phase.SUCCEEDED:
            _fail(turn, fault)
            return False
    return turn.run.result is not Phase.FAILED or _has_recovery(turn)


def _fail(turn: Turn, fault: Fault) -> None:
    """The run had succeeded, and its finally failed: so does the run, and a run that has failed is undone."""
    undo = turn.program.spec.on_failure.compensate
    words = f"{fault.type}: {fault.detail or fault.title}"
    over: dict[str, Any] = {"result": Phase.FAILED, "compensate": undo, "error": fault, "message": words, "outputs": None}
    if undo and to_undo(turn.program, turn):
        over |= {"phase": Phase.COMPENSATING, "deadline_at": turn.now + turn.program.spec.compensation_timeout}
    turn.change_run("RunFailing", reason=words, **over)


def _has_recovery(turn: Turn) -> bool:
    """Start the recovery run, where there is to be one. Returns whether it is there, or cannot be."""
    node = turn.program.recovery
    if node is None:
        return True
    record = turn.steps.get(RECOVERY)
    if turn.lets_go and record is None:
        lifecycle.skip(turn, node, RECOVERY, turn.lets_go)
    elif turn.lets_go and record is not None and not record.has_ended:
        lifecycle.stop(turn, node, record)
    else:
        record = advance(turn, node, RECOVERY)
    record = turn.steps.get(RECOVERY)
    if record is None or not record.has_ended:
        return False
    if record.phase is Phase.SUCCEEDED and turn.run.recovery is None:
        outputs: Json = record.outputs
        turn.change_run("RecoveryStarted", recovery=outputs["run"], reason=f"run {outputs['run']} was started to recover from this failure")
    return True
