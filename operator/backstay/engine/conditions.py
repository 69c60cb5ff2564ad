"""Conditions of a run: what `kubectl wait`, kstatus and people go by. Derived from the state, never stored as a truth of their own.

Succeeded     True, False or Unknown while it runs
Complete      True at any end, so that `kubectl wait --for=condition=Complete` always returns
Suspended     while spec.suspend holds it
Compensated   True when all that was to be undone is undone, False while it is not
Stalled       a person is needed; with Reconciling as kstatus wants them
Reconciling   while there is something left to do; its message says what a step waits for that cannot start
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from backstay.engine import codec
from backstay.engine.compensation import stalled, to_undo, undone
from backstay.engine.model import Json, Phase, State, StepRecord
from backstay.engine.paths import ROOT
from backstay.engine.policies.lock import is_waiting
from backstay.engine.program import Program

MESSAGE_LIMIT = 2048
MOST_WAITING = 3


def conditions(
    program: Program, state: State, before: Sequence[Mapping[str, Any]], generation: int, now: datetime
) -> list[dict[str, Json]]:
    """Return the conditions of a state. `before` are those of the last status: a condition that keeps its status keeps its time."""
    return [condition(*judged, generation, before, now) for judged in _judge(program, state)]


def condition(
    kind: str,
    status: str,
    reason: str,
    message: str,
    generation: int,
    before: Sequence[Mapping[str, Any]],
    now: datetime,
    limit: int = MESSAGE_LIMIT,
) -> dict[str, Json]:
    """Return one condition (metav1.Condition). Where it has the status that it had `before`, it keeps its time. `limit` counts characters."""
    old = next((item for item in before if item["type"] == kind), None)
    return {
        "type": kind,
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": old["lastTransitionTime"] if old and old["status"] == status else codec.time_to_json(now)[:19] + "Z",
        "reason": reason,
        "message": message[:limit],
    }


def _judge(program: Program, state: State) -> Iterator[tuple[str, str, str, str]]:
    run = state.run
    stuck = stuck_at(program, state)
    phase = str(run.phase or "Pending")
    words = run.message or (f"{run.error.type}: {run.error.detail}" if run.error else "")
    if run.is_finished:
        good = run.phase is Phase.SUCCEEDED
        reason = "Succeeded" if good else (run.error.type if run.error and run.phase is Phase.FAILED else phase)
        yield "Succeeded", "True" if good else "False", reason, words
        yield "Complete", "True", phase, words
    else:
        yield "Succeeded", "Unknown", phase, words
        yield "Complete", "False", phase, words
    if run.suspended_at is not None:
        yield "Suspended", "True", "SuspendRequested", "spec.suspend is true; set it to false to go on"
    else:
        yield "Suspended", "False", "NotSuspended", ""
    yield from _compensated(program, state)
    child = None if run.is_finished else stalled_child(state)
    if stuck is not None:
        yield "Stalled", "True", "CompensationFailed", stall_words(stuck)
    elif child is not None:
        yield "Stalled", "True", "ChildStalled", f"{child.path}: {child.message}"
    waits = "" if run.is_finished else waiting_words(state)
    yield "Reconciling", "False" if run.is_finished or stuck or child else "True", "Waiting" if waits else phase, waits


def _compensated(program: Program, state: State) -> Iterator[tuple[str, str, str, str]]:
    run = state.run
    if not run.compensate or run.phase is Phase.SUCCEEDED:
        return
    left = [record.path for record in to_undo(program, state.steps)]
    done = sum(1 for _ in undone(state.steps))
    if not left:
        if done or run.is_finished:
            yield "Compensated", "True", "AllUndone" if done else "NothingToUndo", f"{done} steps are undone"
        return
    reason = "Abandoned" if run.is_finished else "Compensating"
    yield "Compensated", "False", reason, f"undone: {_count(done)}; not undone: {', '.join(left)}"


def _count(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"


def stuck_at(program: Program, state: State) -> StepRecord | None:
    """Return the compensation that needs a person, if there is one."""
    return stalled(program, state.steps) if state.run.phase is Phase.COMPENSATING else None


def stalled_child(state: State) -> StepRecord | None:
    """Return a step whose child run needs a person, if there is one."""
    return next((record for record in state.steps.values() if record.stalled and not record.has_ended), None)


def stall_words(record: StepRecord) -> str:
    """Say why a run is stalled and what can be done."""
    error = f"{record.error.type}: {record.error.detail}" if record.error else "it was stopped"
    return (
        f"{record.path} failed{f' after {record.attempt} attempts' if record.attempt else ''} ({error}); mend its cause by hand, then let the run go with the annotation "
        'backstay.dev/release-finalizer: "true", or wait for the compensation timeout'
    )


def waiting_words(state: State) -> str:
    """Return what the steps whose work cannot start wait for; empty where none does."""
    held = [
        f"{record.path}: {record.message}"
        for record in state.steps.values()
        if record.message and not record.has_ended and not record.stalled and (record.job or record.child or is_waiting(record))
    ]
    more = f" (and {len(held) - MOST_WAITING} more steps wait)" if len(held) > MOST_WAITING else ""
    return "; ".join(held[:MOST_WAITING]) + more


def shown_status(program: Program, state: State) -> str:
    """Return what the STATUS column shows: one word for eyes."""
    run = state.run
    if stuck_at(program, state) is not None or (not run.is_finished and stalled_child(state) is not None):
        return "Stalled"
    if run.suspended_at is not None:
        return "Suspended"
    if run.phase is Phase.RUNNING and waiting_words(state):
        return "Waiting"
    return str(run.phase or "Pending")


def going_on(state: State) -> list[StepRecord]:
    """Return what is going on now: the innermost steps that have begun and not ended."""
    active = {path: record for path, record in state.steps.items() if not record.has_ended and path != ROOT}
    outer = {path[: found.start()] for path in active for found in re.finditer(r"[/:\[]", path)}
    return [record for path, record in active.items() if path not in outer]
