"""decide: what is true from now on. Pure: the same inputs give the same answer on any machine.

phase         on                    becomes
(new)         start                 Running, or Failed with InvalidParameters
Running       body done             Succeeded
Running       body failed           Stopping (result Failed)
Running       cancel, delete        Stopping (result Cancelled)
Running       deadline              Stopping (result Failed, DeadlineExceeded)
Running       an `end` step         Stopping (its result)
Running       body done             Finishing (result Succeeded) where there is a finally, as below
Stopping      nothing runs          Compensating where there is something to undo, else the result
Stopping      deadline, namespace   Stopping: the finallys of steps are let go
Stopping      release, namespace    the result; a transaction that was decided and cannot be carried out is recorded as in doubt
Compensating  all undone            the result
(both)        the result            Finishing before it, where there is a finally or a recovery to start; see finishing.py
Finishing     all done              the result
Finishing     finally failed        Compensating, of a run that had succeeded (result Failed)
Finishing     release               the result
Compensating  deadline, release     the result; what is not undone is recorded
Compensating  namespace goes        the result; what is not undone is recorded
Succeeded     compensate            Compensating (result Compensated, or Failed where it is let go)
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from backstay.api.validate import check_parameters
from backstay.engine import finishing, replays, requests, transactions, uncaught
from backstay.engine.compensation import cut_off, has_begun, left, to_undo, why_left
from backstay.engine.lifecycle import advance, advance_undoing, finish_begun, stop, tell_left
from backstay.engine.lifecycle.ending import ABANDONED
from backstay.engine.model import Decision, Fault, Identity, Json, Observations, Phase, State, StepRecord
from backstay.engine.paths import ROOT
from backstay.engine.policies.sizes import exceeding
from backstay.engine.program import NOTHING, Program
from backstay.engine.steps import cancel
from backstay.engine.turn import Turn
from backstay.errors import BackstayError, EvaluationError

MAX_PASSES = 100_000
MAX_OUTPUT_BYTES = 64 * 1024
MAX_CHILD_OUTPUT_BYTES = 16 * 1024
"""The outputs of a child run stand in its caller's status as well, where many may come together."""
MOST_NAMED = 100
"""Steps that are named one by one where many are not undone."""
NAMESPACE_TERMINATING = "NamespaceTerminating"
NAMESPACE_GOES = "the namespace is being deleted and refuses new Jobs"
OUT_OF_TIME = "the compensation timeout is over"


def decide(
    program: Program,
    identity: Identity,
    state: State,
    observations: Observations,
    now: datetime,
    revision: tuple[str, int] = ("", 0),
    restored: str = "",
) -> Decision:
    """Bring a run as far as it goes now, given what is seen of the world.

    `revision` is the name and number of the ControllerRevision that a new run is pinned to. `restored` says what was wrong with a
    status that was not believed: the state goes on from what is certain, and the journal tells. Raises IllegalTransition for a bug.
    """
    turn = Turn(program, identity, state, observations, now)
    if restored:
        turn.change_run("StatusRestored", reason=restored)
    if turn.run.is_finished and not _is_to_be_undone(turn):
        return turn.decision()
    _hear_wishes(turn)
    if turn.run.phase is None and not turn.is_suspended:
        _start(turn, revision)
    _advance_until_nothing_changes(turn)
    return turn.decision()


def is_terminating(observations: Observations) -> bool:
    """Tell whether the run's namespace is being deleted, as was asked for or as the refusal of a Job says."""
    return observations.terminating or any(refusal.type == NAMESPACE_TERMINATING for refusal in observations.refused.values())


def refuse(identity: Identity, state: State, fault: Fault, now: datetime, observations: Observations) -> Decision:
    """End a run that cannot even begin, because its workflow is missing or cannot be run."""
    if state.run.phase is not None:
        return Decision(state)
    turn = Turn(NOTHING, identity, state, observations, now)
    _refuse(turn, fault)
    return turn.decision()


def _refuse(turn: Turn, fault: Fault) -> None:
    turn.change_run(
        "RunRefused",
        phase=Phase.FAILED,
        result=Phase.FAILED,
        started_at=turn.now,
        finished_at=turn.now,
        error=fault,
        message=f"{fault.type}: {fault.detail}",
        reason=f"{fault.type}: {fault.detail}",
    )


def _advance_until_nothing_changes(turn: Turn) -> None:
    for _ in range(MAX_PASSES):
        before = turn.sequence
        _advance_run(turn)
        if turn.sequence == before or turn.run.is_finished:
            return
    raise BackstayError(f"run {turn.identity.name} does not settle after {MAX_PASSES:,} passes")


# -------------------------------------------------------------------------------------------------------------- starting


def _start(turn: Turn, revision: tuple[str, int]) -> None:
    _, problems = check_parameters(turn.program.spec, turn.identity.parameters)
    if problems:
        detail = "; ".join(map(str, problems[:5])) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        _refuse(turn, Fault("InvalidParameters", "The parameters do not fit the workflow", detail))
        return
    timeout = turn.program.spec.timeout if turn.identity.timeout_seconds is None else timedelta(seconds=turn.identity.timeout_seconds)
    turn.change_run(
        "RunStarted",
        actor=turn.identity.started_by or "operator",
        phase=Phase.RUNNING,
        started_at=turn.now,
        deadline_at=None if timeout is None else turn.now + timeout,
        revision_name=revision[0],
        revision_number=revision[1],
    )


# ------------------------------------------------------------------------------------------------- what people ask for


def _hear_wishes(turn: Turn) -> None:
    wish, run = turn.observations.wish, turn.run
    if wish.release and (wish.delete or run.phase in (Phase.STOPPING, Phase.COMPENSATING, Phase.FINISHING)):
        _let_go(turn, "released by annotation", actor="user")
        return
    if turn.program is NOTHING and turn.observations.terminating:
        _let_go(turn, "the namespace is being deleted, and the workflow's revision with it: what was left to undo is not known")
        return
    if run.phase in (None, Phase.RUNNING) and (wish.cancel or wish.delete or wish.undo):
        _cancel(turn)
    if _is_to_be_undone(turn):
        _begin_undoing(turn)
    if turn.is_suspended and run.suspended_at is None:
        turn.change_run("RunSuspended", actor="user", suspended_at=turn.now)
    elif not turn.is_suspended and run.suspended_at is not None:
        _resume(turn, run.suspended_at)
    if turn.run.phase is not None and not turn.run.is_finished and wish.requests:
        requests.hear(turn)
    replays.hear(turn)
    tell_left(turn)


def _cancel(turn: Turn) -> None:
    wish = turn.observations.wish
    if wish.cancel:
        why, undo = wish.cancel_reason or "cancelled", wish.cancel_compensates
        kind, detail = "CancelRequested", f"cancelled: {wish.cancel_reason}" if wish.cancel_reason else "cancelled"
    elif wish.undo:
        why, undo, kind, detail = wish.undo_reason, True, "CancelRequested", f"cancelled, to be undone: {wish.undo_reason}"
    else:
        why, undo, kind, detail = "deleted", True, "DeletionRequested", "the run was deleted before it had ended"
    fault = Fault("Cancelled", "The run was ended early", detail)
    if turn.run.phase is None:
        over = {"phase": Phase.CANCELLED, "result": Phase.CANCELLED, "finished_at": turn.now}
        turn.change_run("RunCancelled", actor="user", reason=why, message=why, error=fault, **over)
        return
    turn.change_run(
        kind,
        actor="user",
        phase=Phase.STOPPING,
        result=Phase.CANCELLED,
        compensate=undo,
        reason=why,
        message=why,
        error=fault,
        deadline_at=turn.ends_by(),
    )


def _is_to_be_undone(turn: Turn) -> bool:
    return turn.run.phase is Phase.SUCCEEDED and turn.observations.wish.undo


def _begin_undoing(turn: Turn) -> None:
    """The run has succeeded, and is to be undone all the same; unless it is past its pivot."""
    why = turn.observations.wish.undo_reason
    if turn.run.pivot:
        words = f"it cannot be undone ({why}): the pivot {turn.run.pivot} has succeeded"
        if turn.run.message != words:
            turn.change_run("CompensationRefused", actor="user", compensate=True, message=words, reason=words)
        return
    turn.change_run(
        "CompensationRequested",
        actor="user",
        phase=Phase.COMPENSATING,
        result=Phase.COMPENSATED,
        compensate=True,
        finished_at=None,
        deadline_at=turn.now + turn.program.spec.compensation_timeout,
        message=why,
        reason=why,
    )


def _resume(turn: Turn, since: datetime) -> None:
    """Go on after a suspension: it does not count towards deadlines. Timers that fell due meanwhile are due now."""
    pause = turn.now - since
    deadline = turn.run.deadline_at
    if any(record.deadline_at is not None and not record.has_ended for record in turn.steps.values()):
        turn.move_deadlines("the run was suspended")
    turn.change_run("RunResumed", actor="user", suspended_at=None, deadline_at=deadline and deadline + pause)


# ------------------------------------------------------------------------------------------------------------- advancing


def _advance_run(turn: Turn) -> None:
    turn.begin_pass()
    phase = turn.run.phase
    if phase is Phase.RUNNING:
        _advance_running(turn)
    elif phase is Phase.STOPPING:
        _advance_stopping(turn)
    elif phase is Phase.COMPENSATING:
        _advance_compensating(turn)
    elif phase is Phase.FINISHING:
        _advance_finishing(turn)


def _advance_running(turn: Turn) -> None:
    if turn.is_due(turn.run.deadline_at):
        fault = Fault("DeadlineExceeded", "The run took too long", "the run has not ended within its timeout")
        _begin_stopping(turn, fault)
        return
    if cancel.KIND in turn.program.kinds:
        cancel.carry_out(turn)
    root = advance(turn, turn.program.root, ROOT)
    if root is None or turn.run.phase is not Phase.RUNNING:
        return
    if root.phase is Phase.FAILED:
        _begin_stopping(turn, root.error or Fault("Unknown"))
    elif not finish_begun(turn):
        return
    elif root.phase is Phase.SUCCEEDED:
        _succeed(turn)
    elif root.phase is Phase.CAUGHT:
        _finish_well(turn, reason="a handler of the workflow dealt with its error", outputs=root.outputs)


def _begin_stopping(turn: Turn, fault: Fault) -> None:
    turn.change_run(
        "RunFailing",
        phase=Phase.STOPPING,
        result=Phase.FAILED,
        compensate=turn.program.spec.on_failure.compensate,
        error=fault,
        message=f"{fault.type}: {fault.detail or fault.title}",
        reason=f"{fault.type}: {fault.detail or fault.title}{uncaught.words(turn.program, turn.steps, fault)}",
        deadline_at=turn.ends_by(),
    )


def _succeed(turn: Turn) -> None:
    try:
        outputs: Json = turn.evaluate(turn.program.outputs, "")
    except EvaluationError as error:
        _begin_stopping(turn, Fault("ExpressionError", "An output of the run could not be computed", f"outputs: {error}"))
        return
    of, most = ("child run's", MAX_CHILD_OUTPUT_BYTES) if turn.identity.callers else ("run's", MAX_OUTPUT_BYTES)
    if fault := exceeding("The outputs are too large", f"the {of} outputs take", outputs, most):
        _begin_stopping(turn, fault)
        return
    _finish_well(turn, outputs=outputs or None)


def _finish_well(turn: Turn, *, reason: str = "", **changes: Any) -> None:
    if finishing.is_left(turn, Phase.SUCCEEDED):
        finishing.begin(turn, Phase.SUCCEEDED, reason, **changes)
        return
    changes |= {"reason": reason}
    turn.change_run("RunSucceeded", phase=Phase.SUCCEEDED, result=Phase.SUCCEEDED, finished_at=turn.now, deadline_at=None, **changes)


def _advance_stopping(turn: Turn) -> None:
    turn.lets_go = _why_let_go(turn) if turn.program.finishing else ""
    root = turn.steps.get(ROOT)
    if root is not None and not root.has_ended:
        stop(turn, turn.program.root, root)
        if not turn.steps[ROOT].has_ended:
            if is_terminating(turn.observations) and transactions.cannot_go_on(turn.program, turn.steps):
                _let_go(turn, NAMESPACE_GOES)
            return
    if turn.run.result is Phase.SUCCEEDED and not finish_begun(turn):
        return
    if pending := _pending(turn):
        deadline = turn.now + turn.program.spec.compensation_timeout
        turn.change_run("RunCompensating", phase=Phase.COMPENSATING, deadline_at=deadline, reason=_names_of(pending))
        return
    _finish(turn, "")


def _pending(turn: Turn) -> list[StepRecord]:
    """Return the steps that are undone before the run ends: those that are being undone already also where all else is to stay as it is."""
    found = to_undo(turn.program, turn)
    return found if turn.run.compensate else [record for record in found if has_begun(turn, record)]


def _advance_compensating(turn: Turn) -> None:
    if turn.is_due(turn.run.deadline_at):
        _let_go(turn, OUT_OF_TIME)
        return
    if is_terminating(turn.observations):
        _let_go(turn, NAMESPACE_GOES)
        return
    if advance_undoing(turn) if turn.run.compensate else finish_begun(turn):
        _finish_undoing(turn)


def _finish_undoing(turn: Turn) -> None:
    """Nothing is left to be undone; what was left as it is makes a run that had succeeded fail: it is neither done nor undone."""
    words = ", ".join(f"{record.path} ({why_left(turn, record)})" for record in left(turn.program, turn)[:MOST_NAMED])
    if words and (changes := _instead_of_compensated(turn, f"not undone: {words}")):
        turn.change_run("CompensationAbandoned", reason=f"not undone: {words}", **changes)
    done = "all completed steps are undone" if turn.run.compensate else "what was being undone is undone; nothing else is"
    _finish(turn, f"not undone: {words}" if words else done)


def _why_let_go(turn: Turn) -> str:
    """Say why nobody waits for a finally any more; empty as long as somebody does."""
    if turn.is_due(turn.run.deadline_at):
        return OUT_OF_TIME
    return NAMESPACE_GOES if is_terminating(turn.observations) else ""


def _advance_finishing(turn: Turn) -> None:
    turn.lets_go = _why_let_go(turn)
    if finishing.advance_finishing(turn):
        _end(turn, "")


def _finish(turn: Turn, reason: str) -> None:
    """Nothing is left to be undone: the run ends, once it has done what it does at the very end."""
    result = turn.run.result or Phase.FAILED
    if finishing.is_left(turn, result):
        finishing.begin(turn, result, reason)
    else:
        _end(turn, reason)


def _end(turn: Turn, reason: str, actor: str = "operator") -> None:
    result = turn.run.result or Phase.FAILED
    changes: dict[str, Any] = {"phase": result, "finished_at": turn.now, "deadline_at": None, "suspended_at": None}
    turn.change_run(f"Run{result}", reason=reason, actor=actor, **changes)


def _instead_of_compensated(turn: Turn, words: str) -> dict[str, Any]:
    """A run that had succeeded and could not be undone wholly ends as failed: it is neither done nor undone."""
    if turn.run.result is not Phase.COMPENSATED:
        return {}
    return {"result": Phase.FAILED, "error": Fault("CompensationAbandoned", "The run could not be undone wholly", words)}


def _names_of(records: Sequence[StepRecord]) -> str:
    names = [record.path for record in records]
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")


def _let_go(turn: Turn, why: str, actor: str = "operator") -> None:
    """End a run without undoing the rest; what is not undone is named in the journal."""
    still = to_undo(turn.program, turn)
    words = f"{why}; not undone: {_names_of(still)}" if still else why
    if overtaken := cut_off(turn.program, turn):
        words += f"; cut off, and nobody knows whether it was done: {_names_of(overtaken)}"
    if doubt := transactions.in_doubt_words(turn.program, turn.steps):
        words += f"; IN DOUBT: {doubt}"
    if turn.run.phase is Phase.FINISHING:
        turn.change_run(ABANDONED, actor=actor, reason=why)
        _end(turn, why, actor)
        return
    if turn.run.phase in (None, Phase.RUNNING):
        _cancel(turn)
    if turn.program.finally_ is not None and why != OUT_OF_TIME:
        words += "; its finally is not carried out"
    turn.change_run("CompensationAbandoned", actor=actor, reason=words, **_instead_of_compensated(turn, words))
    if turn.run.is_finished:
        return
    if why == OUT_OF_TIME:
        _finish(turn, words)
    else:
        _end(turn, words, actor)
