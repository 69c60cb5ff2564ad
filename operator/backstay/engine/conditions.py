"""Conditions of a run: what `kubectl wait`, kstatus and people go by. Derived from the state, never stored as a truth of their own.

Succeeded     True, False or Unknown while it runs
Complete      True at any end, so that `kubectl wait --for=condition=Complete` always returns
Suspended     while spec.suspend holds it
Compensated   True when all that was to be undone is undone, False while it is not
Stalled       a person is needed; with Reconciling as kstatus wants them
InDoubt       a transaction is decided, and a participant has failed so far to carry the decision out
Recovery      where a run that has failed starts another: whether that one was started, or what keeps it from being
Reconciling   while there is something left to do; its message says what a step waits for that cannot start
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from backstay.engine import codec, uncaught
from backstay.engine.compensation import kept, left, to_undo, undone, why_left
from backstay.engine.model import UNKNOWN, Json, Phase, RunRecord, State, StepRecord
from backstay.engine.paths import BOUNDARY, RECOVERY, ROOT, is_event, speakers, undone_by
from backstay.engine.policies.lock import is_waiting
from backstay.engine.program import Program
from backstay.engine.transactions import TRANSACTION, doubts, troubled

MESSAGE_LIMIT = 2048
MOST_WAITING = 3
MOST_LEFT = 20
"""Steps that are not undone which are named one by one."""
_OVER = frozenset({Phase.CATCHING, Phase.FINISHING})
"""Phases of a step whose own work is over, while something that belongs to it goes on."""


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


def plain_conditions(run: RunRecord) -> dict[str, str]:
    """Return the conditions that the run's own record tells without its program: those that `kubectl wait` is used with."""
    succeeded = str(run.phase is Phase.SUCCEEDED) if run.is_finished else "Unknown"
    return {"Succeeded": succeeded, "Complete": str(run.is_finished), "Suspended": str(run.suspended_at is not None)}


def forged_conditions(given: Any, run: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield each of the plain conditions in a status that is not what the run's record tells: its type, and in words what it says.

    What they say has been the same in all releases, so a status that another release has written passes. A run that has not begun may lack them.
    """
    said = {item.get("type"): item.get("status") for item in given or () if isinstance(item, Mapping)} if isinstance(given, list) else {}
    for kind, follows in plain_conditions(run).items():
        found = said.get(kind)
        if found != follows and (kind in said or run.phase is not None):
            says = "is missing" if kind not in said else f"is {orjson.dumps(found).decode()[:60]}"
            yield kind, f"condition {kind} {says}, and follows from the journal as {follows}"


def _judge(program: Program, state: State) -> Iterator[tuple[str, str, str, str]]:
    run = state.run
    plain = plain_conditions(run)
    stuck = stuck_at(program, state)
    phase = str(run.phase or "Pending")
    words = run.message or (f"{run.error.type}: {run.error.detail}" if run.error else "")
    story = uncaught.words(program, state.steps, run.error) if run.error and run.result is Phase.FAILED else ""
    if run.is_finished:
        good = run.phase is Phase.SUCCEEDED
        reason = "Succeeded" if good else (run.error.type if run.error and run.phase is Phase.FAILED else phase)
        yield "Succeeded", plain["Succeeded"], reason, words + story
        yield "Complete", plain["Complete"], phase, words if good else _what_now(program, state)
    else:
        yield "Succeeded", plain["Succeeded"], phase, words + story
        yield "Complete", plain["Complete"], phase, words
    child = None if run.is_finished else stalled_child(state)
    if stuck is not None:
        yield "Stalled", "True", "CompensationFailed", stall_words(stuck)
    elif child is not None:
        yield "Stalled", "True", "StepPaused" if child.phase is Phase.PAUSED else "ChildStalled", f"{child.path}: {child.message}"
    yield from _in_doubt(program, state)
    yield from _compensated(program, state)
    yield from _recovery(state)
    waits = "" if run.is_finished else waiting_words(state)
    yield "Reconciling", "False" if run.is_finished or stuck or child else "True", "Waiting" if waits else phase, waits
    if run.suspended_at is not None:
        yield "Suspended", plain["Suspended"], "SuspendRequested", "spec.suspend is true; set it to false to go on"
    else:
        yield "Suspended", plain["Suspended"], "NotSuspended", ""


def _what_now(program: Program, state: State) -> str:
    """Say what a person can do about a run that has ended otherwise than well."""
    by_hand = [*to_undo(program, state), *left(program, state)] if state.run.compensate else []
    todo = [f"undo by hand what was left ({_named(by_hand)})"] if by_hand else []
    if state.run.recovery:
        todo.append(f"see how run {state.run.recovery} recovers from it")
    todo.append("`backstay why` tells what was tried, caught and undone")
    return "it has ended; " + "; ".join(todo)


def _compensated(program: Program, state: State) -> Iterator[tuple[str, str, str, str]]:
    run = state.run
    if not run.compensate or (run.phase is Phase.SUCCEEDED and not run.pivot):
        return
    pending = [record.path for record in to_undo(program, state)]
    done = undone(program, state)
    stays = kept(program, state)
    lost = [(record, why_left(state, record)) for record in left(program, state)] if not stays else []
    words = [f"undone: {_named(done) or 'nothing yet'}"]
    if stays:
        words.append(f"not undone: {', '.join(record.path for record in stays)}, since the pivot {run.pivot} has succeeded")
        yield "Compensated", "False", "PivotPassed", "; ".join(words)
        return
    if pending:
        words.append(f"not undone: {', '.join(pending)}")
    words += [f"left as it is: {record.path} ({why})" for record, why in lost]
    if pending:
        yield "Compensated", "False", "Abandoned" if run.is_finished else "Compensating", "; ".join(words)
    elif lost:
        unknown = all(record.outcome == UNKNOWN for record, _ in lost)
        yield "Compensated", "Unknown" if unknown else "False", "OutcomeUnknown" if unknown else "PartlyUndone", "; ".join(words)
    elif done or run.is_finished:
        yield "Compensated", "True", "AllUndone" if done else "NothingToUndo", _all_undone(done) if done else "there was nothing to undo"


def _in_doubt(program: Program, state: State) -> Iterator[tuple[str, str, str, str]]:
    """Told of a run in which a transaction was decided: one that ended in doubt stays so."""
    if TRANSACTION not in program.kinds or not any(record.decision for record in state.steps.values()):
        return
    found = [doubt for doubt in doubts(program, state.steps) if doubt.troubles or state.run.is_finished]
    paused = any(record.phase is Phase.PAUSED for doubt in found for record in doubt.troubles)
    reason = "Abandoned" if state.run.is_finished else "WaitsForPerson" if paused else "Retrying"
    if found:
        yield "InDoubt", "True", reason, "; ".join(doubt.words for doubt in found)
    else:
        yield "InDoubt", "False", "Decided", ""


def _recovery(state: State) -> Iterator[tuple[str, str, str, str]]:
    record = state.steps.get(RECOVERY)
    if record is None:
        return
    if state.run.recovery:
        yield "Recovery", "True", "Started", f"run {state.run.recovery} was started to recover from this failure"
    elif not record.has_ended:
        yield "Recovery", "Unknown", "Starting", record.message or ""
    else:
        error = record.error
        why = f"{error.type}: {error.detail or error.title}" if error else "there was no time left for it, or its namespace goes"
        yield "Recovery", "False", error.type if error else "NotStarted", f"no run was started to recover from this failure ({why})"


def _all_undone(records: Sequence[StepRecord]) -> str:
    return f"{'1 step is' if len(records) == 1 else f'{len(records)} steps are'} undone: {_named(records)}"


def _named(records: Sequence[StepRecord]) -> str:
    names = ", ".join(record.path for record in records[:MOST_LEFT])
    return names + (f" and {len(records) - MOST_LEFT} more" if len(records) > MOST_LEFT else "")


def stuck_at(program: Program, state: State) -> StepRecord | None:
    """Return the compensation, or the step of one, that needs a person, if there is one."""
    if state.run.is_finished or not program.undoable:
        return None
    records = state.steps.values()
    return next((record for record in records if record.phase is Phase.PAUSED and undone_by(record.path) is not None), None)


def stalled_child(state: State) -> StepRecord | None:
    """Return a step that needs a person, if there is one: it is paused, or its child run needs one."""
    return next((record for record in state.steps.values() if record.stalled and not record.has_ended), None)


def stall_words(record: StepRecord) -> str:
    """Say why a run is stalled and what can be done."""
    error = f"{record.error.type}: {record.error.detail}" if record.error else "it was stopped"
    return (
        f"{record.path} failed{f' after {_attempts(record.attempt)}' if record.attempt else ''} ({error}); have it tried again (backstay retry, with "
        "--edit where it needs other inputs), or skip it once it is undone by hand (backstay skip); or let the whole run go with the annotation "
        'backstay.dev/release-finalizer: "true", or wait for the compensation timeout'
    )


def _attempts(count: int) -> str:
    return "1 attempt" if count == 1 else f"{count} attempts"


def waiting_words(state: State) -> str:
    """Return what the steps whose work cannot start wait for; empty where none does."""
    held = [
        f"{record.path}: {record.message}"
        for record in state.steps.values()
        if record.message
        and not record.has_ended
        and not record.stalled
        and (record.job or record.child or record.circuit or is_waiting(record))
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
    if not run.is_finished and troubled(program, state.steps):
        return "InDoubt"
    if run.phase is Phase.RUNNING and waiting_words(state):
        return "Waiting"
    return str(run.phase or "Pending")


def going_on(state: State) -> list[StepRecord]:
    """Return what is going on now: the innermost steps that have begun and not ended.

    A step goes on beside the steps of its boundary events; what those events wait for is no step.
    """
    active = {path: record for path, record in state.steps.items() if not record.has_ended and path != ROOT and not is_event(path)}
    outer = {path[: found.start()] for path in active for found in re.finditer(r"[/:\[]", path)}
    if any(BOUNDARY in path for path in active):
        inside = {owner for path in active for owner in speakers(path)}
        outer = {path for path in outer if path in inside or path not in active or active[path].phase in _OVER}
    return [record for path, record in active.items() if path not in outer]
