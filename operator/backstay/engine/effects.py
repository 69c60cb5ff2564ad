"""effects_of: what the WRITTEN state wants in the world and the world lacks. Pure, and the same as often as it is asked.

An effect that was done shows in the next observations and is not wanted any more; one that was lost in a crash is wanted again.
"""

from collections.abc import Iterator
from typing import Final

from backstay.engine.model import (
    AddFinalizer,
    CancelRun,
    CreateJob,
    CreateRun,
    DeleteJob,
    Effect,
    JobState,
    Observations,
    Phase,
    RemoveFinalizer,
    StartCall,
    State,
    StepRecord,
    StopCall,
    UndoRun,
)
from backstay.engine.paths import undone_by
from backstay.engine.policies import circuit, dead_letter, lock
from backstay.engine.program import Program
from backstay.engine.steps.workflow import UNDO

NET_SECONDS: Final = 30.0


def effects_of(program: Program, state: State, observations: Observations) -> list[Effect]:
    """Return what is to be done, in the order in which it must be done: an effect that fails keeps the later ones from being tried."""
    run = state.run
    found: list[Effect] = [*lock.effects(state, observations), *circuit.effects(program, state, observations)]
    if run.is_finished:
        return [*found, *_leaving(state, observations)]
    if program.must_end and run.phase is not None and not observations.has_finalizer and not observations.wish.delete:
        found.append(AddFinalizer())
    wanted: set[str] = set()
    for record in state.steps.values():
        if record.has_ended:
            continue
        if record.job is not None:
            wanted.add(record.job)
            found.extend(_for_step(program, record, observations))
        elif record.call is not None and record.phase in (Phase.RUNNING, Phase.STOPPING):
            wanted.add(record.call)
            found.extend(_for_call(program, record, observations))
        elif record.child is not None:
            wanted.add(record.child)
            found.extend(_for_child(state, record, observations))
    found.extend(_strays(observations, wanted))
    found.extend(dead_letter.effects(state, observations))
    return found


def _for_step(program: Program, record: StepRecord, observations: Observations) -> Iterator[Effect]:
    assert record.job is not None
    fact = observations.jobs.get(record.job)
    if record.phase is Phase.STOPPING and fact is not None and not fact.deleting:
        yield DeleteJob(fact.name, fact.uid)
    unmade = fact is None and record.job_uid is None and record.job not in observations.vanished and record.job not in observations.refused
    if record.phase is Phase.RUNNING and unmade and record.inputs is not None:
        limit = _attempt_seconds(program, record)
        yield CreateJob(record.job, record.path, record.attempt, record.inputs, limit, owned=not observations.wish.delete)


def _for_call(program: Program, record: StepRecord, observations: Observations) -> Iterator[Effect]:
    """A call that nobody makes is made again: the operator that made it has died, and what came of it is not known."""
    assert record.call is not None
    if record.phase is Phase.RUNNING and record.inputs is not None and record.call not in observations.calls:
        limit = _attempt_seconds(program, record)
        yield StartCall(record.call, record.kind, record.path, record.attempt, record.inputs, limit)
    elif record.phase is Phase.STOPPING and record.call in observations.calls:
        yield StopCall(record.call)


def _for_child(state: State, record: StepRecord, observations: Observations) -> Iterator[Effect]:
    assert record.child is not None
    fact = observations.children.get(record.child)
    if fact is None:
        unmade = record.kind != UNDO and record.child_uid is None and record.child not in observations.refused
        if record.phase is Phase.RUNNING and unmade and record.inputs is not None:
            owned = not observations.wish.delete and not record.inputs.get("detached")
            yield CreateRun(record.child, record.path, record.attempt, record.inputs, owned)
        return
    if fact.is_gone or record.child_uid not in (None, fact.uid):
        return
    if fact.phase is Phase.SUCCEEDED:
        is_late = record.phase is Phase.STOPPING and record.then is Phase.FAILED
        if (record.kind == UNDO or is_late) and not fact.undoing:
            yield UndoRun(
                fact.name, fact.uid, _why(state, record, "its caller had given it up" if is_late else "what its caller did is undone")
            )
    elif record.kind == UNDO and fact.detached and fact.phase is Phase.RUNNING and not fact.cancelling:
        yield CancelRun(fact.name, fact.uid, _why(state, record, "what its caller did is undone"))
    elif record.phase is Phase.STOPPING and not fact.is_finished and not fact.cancelling:
        keeps = state.run.phase is Phase.STOPPING and state.run.result is not Phase.SUCCEEDED and not state.run.compensate
        yield CancelRun(fact.name, fact.uid, _why(state, record, "its caller no longer waits for it"), compensate=not keeps)


def _why(state: State, record: StepRecord, what: str) -> str:
    """Say on behalf of whom a child is asked for something."""
    step = undone_by(record.path) or record.path
    why = state.run.message or (f"{record.error.type}: {record.error.detail or record.error.title}" if record.error else "")
    return f"{what} (step {step}{': ' if why else ''}{why})"[:2048]


def _attempt_seconds(program: Program, record: StepRecord) -> float | None:
    """When Kubernetes itself ends an attempt: the net for when no operator is there to do it, a little later than an operator would."""
    node = program.node(record.path)
    limits = [limit.total_seconds() for limit in (node.attempt_timeout, node.timeout) if limit is not None] if node else []
    return min(limits) + NET_SECONDS if limits else None


def _strays(observations: Observations, wanted: set[str]) -> Iterator[Effect]:
    """Jobs and calls that go on although no step wants them: made by an operator with a stale view, or by a deed that was overtaken."""
    for fact in observations.jobs.values():
        if fact.state is JobState.ACTIVE and fact.name not in wanted and not fact.deleting:
            yield DeleteJob(fact.name, fact.uid)
    for name in observations.calls:
        if name not in wanted:
            yield StopCall(name)
    yield from _stray_children(observations, wanted)


def _stray_children(observations: Observations, wanted: set[str]) -> Iterator[Effect]:
    for child in observations.children.values():
        goes_forward = child.phase in (None, Phase.RUNNING) and not child.is_over
        if goes_forward and child.name not in wanted and not child.cancelling and not child.detached:
            yield CancelRun(child.name, child.uid, "no step of its caller waits for it")


def given_up_unseen(before: State, after: State, observations: Observations) -> list[str]:
    """Return the Jobs of attempts that a decision ends, or goes on without, although nothing was ever seen of them: not that they are there, not
    that they are gone, and not that they were refused."""
    known = observations.jobs.keys() | observations.vanished | observations.refused.keys()
    found: list[str] = []
    for path, record in before.steps.items():
        is_open = record.phase in (Phase.RUNNING, Phase.STOPPING)
        if record.job is None or record.job in known or not is_open:
            continue
        later = after.steps.get(path)
        if later is None or (later.phase, later.job) != (record.phase, record.job):
            found.append(record.job)
    return found


def may_be_undone_yet(state: State, observations: Observations) -> bool:
    """Tell whether a run has succeeded as the child of one that goes on: that one may have it undone yet, so its finalizer stays."""
    return observations.is_kept and state.run.phase is Phase.SUCCEEDED and not observations.wish.release


def _leaving(state: State, observations: Observations) -> Iterator[Effect]:
    """A finished run: end what still goes on, and let it go. Jobs that it does not own would outlive it."""
    for fact in observations.jobs.values():
        orphan = observations.wish.delete and not fact.owned
        if (fact.state is JobState.ACTIVE or orphan) and not fact.deleting:
            yield DeleteJob(fact.name, fact.uid)
    for name in observations.calls:
        yield StopCall(name)
    yield from _stray_children(observations, set())
    if observations.has_finalizer and not may_be_undone_yet(state, observations):
        yield RemoveFinalizer()
