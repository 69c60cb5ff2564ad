"""circuit: each attempt at a step asks its circuit breaker first. What the engine decides, what it asks of the world, and what it tells.

    breaker   the step             becomes
    Closed    –                    the attempt is made; nothing is written for it
    Open      whenOpen: Fail       the step fails with CircuitOpen: no attempt was made, so none is used up and no retry follows
    Open      whenOpen: Wait       Waiting (a retry: it stays Retrying) until it is let through
    HalfOpen  –                    it asks to be let through as a probe; who gets no place among these is treated as by one that is open

A step that undoes something, and one that is retriable, waits whatever is said: it must come to pass. A timeout of the step counts while it
waits. What an attempt came to is told to the breaker once it is written (`reports`); a report that is lost with the operator is lost.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from backstay.api.circuit import CircuitState, WhenOpen
from backstay.api.steps import Step
from backstay.engine import codec
from backstay.engine.model import (
    AskCircuit,
    CircuitFact,
    Entry,
    Fault,
    LeaveCircuit,
    Observations,
    Phase,
    State,
    StepRecord,
    Wish,
)
from backstay.engine.paths import undone_by

if TYPE_CHECKING:
    from backstay.engine.node import Node
    from backstay.engine.program import Program
    from backstay.engine.turn import Turn

CIRCUIT_OPEN: Final = "CircuitOpen"
_AT_WORK: Final = frozenset({Phase.RUNNING, Phase.STOPPING})
_UNTIL: Final = re.compile(r"open until (\S+Z)")


@dataclass(frozen=True, slots=True)
class CircuitNode:
    """A step's circuit breaker. Without `when_open`, the breaker says what becomes of an attempt that it does not let through."""

    name: str
    when_open: WhenOpen | None


def compile_circuit(step: Step) -> CircuitNode | None:
    """Return the circuit breaker that a step names."""
    return None if step.circuit is None else CircuitNode(step.circuit, step.when_open)


# ------------------------------------------------------------------------------------------------------------- deciding


def is_waiting(record: StepRecord) -> bool:
    """Tell whether a step waits to be let through by its circuit breaker."""
    return record.circuit is not None and record.phase in (Phase.WAITING, Phase.RETRYING) and record.then is not Phase.RUNNING


def is_asked(node: "Node", record: StepRecord | None) -> bool:
    """Tell whether the next attempt at a step asks. One that was disrupted and runs again is not another attempt."""
    return node.circuit is not None and (record is None or record.then is not Phase.RUNNING)


def ask(turn: "Turn", node: "Node", path: str) -> bool | Fault:
    """Return whether the next attempt at a step may be made; where it may not, the step waits, or fails with the fault that is returned."""
    assert node.circuit is not None
    name = node.circuit.name
    fact = turn.observations.circuits.get(name) or CircuitFact()
    record = turn.steps.get(path)
    if fact.state is CircuitState.CLOSED:
        if record is not None and record.circuit is not None:
            turn.change_step("CircuitPassed", path, circuit=None, message=None, reason=f"circuit breaker {name} is closed")
        return True
    permit = turn.observations.permits.get(path) if record is not None and record.circuit is not None else None
    if permit is not None and permit.granted:
        turn.change_step("CircuitProbed", path, message=None, reason=f"a probe of circuit breaker {name}")
        return True
    is_refused = fact.state is CircuitState.OPEN or (permit.answered if permit is not None else not fact.room)
    if is_refused and not _waits(node, path, fact):
        return Fault(CIRCUIT_OPEN, "The circuit breaker is open", words_of(name, fact))
    _wait(turn, node, path, record, fact)
    return False


def _waits(node: "Node", path: str, fact: CircuitFact) -> bool:
    assert node.circuit is not None
    if node.is_retriable or undone_by(path) is not None:
        return True
    return fact.waits if node.circuit.when_open is None else node.circuit.when_open is WhenOpen.WAIT


def _wait(turn: "Turn", node: "Node", path: str, record: StepRecord | None, fact: CircuitFact) -> None:
    """Write that the step waits; of one that does already, only what is worth a write."""
    assert node.circuit is not None
    name = node.circuit.name
    words = f"waits for circuit breaker {words_of(name, fact)}"
    if record is not None and record.circuit is not None:
        if _is_news(record, fact):
            turn.change_step("CircuitWaits", path, message=words, reason=words)
        return
    changes: dict[str, Any] = {"circuit": name, "message": words, "reason": words}
    if record is not None and record.phase is Phase.RETRYING and record.attempt:
        turn.change_step("CircuitWaiting", path, **changes)
        return
    deadline = None if node.timeout is None else turn.now + node.timeout
    if deadline is not None:
        turn.wake(deadline)
    begun: dict[str, Any] = {"kind": node.kind, "phase": Phase.WAITING, "started_at": turn.now, "deadline_at": deadline, "due_at": None}
    turn.change_step("CircuitWaiting", path, **begun, **changes)


def _is_news(record: StepRecord, fact: CircuitFact) -> bool:
    """Tell whether it is worth a write that a breaker has opened again: after twice the time each time, so that long waits cost little."""
    told, since = _told(record.message or ""), record.due_at or record.started_at
    if fact.until is None or since is None:
        return False
    return told is None or (fact.until > told and fact.until - since >= 2 * (told - since))


def _told(message: str) -> datetime | None:
    """Return until when a message says that the breaker is open."""
    found = _UNTIL.search(message)
    return codec.time_from_json(found[1]) if found else None


def words_of(name: str, fact: CircuitFact) -> str:
    """Say that a breaker lets nothing through, until when, and why."""
    if fact.state is CircuitState.HALF_OPEN:
        return f"{name}: it is half open and has let through as many as it may{f' ({fact.why})' if fact.why else ''}"
    until = f" until {codec.time_to_json(fact.until)[:19]}Z" if fact.until else ""
    return f"{name}: it is open{until}{f' ({fact.why})' if fact.why else ''}"


# -------------------------------------------------------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True)
class Want:
    """A step that the written state has waiting to be let through."""

    path: str
    name: str
    attempt: int
    since: datetime


def wants(program: "Program", state: State, wish: Wish) -> Iterator[Want]:
    """Yield the steps that wait to be let through. A run that is suspended makes no attempts, and so asks for none."""
    if not program.circuits or state.run.is_finished or (wish.suspend and not wish.cancel and not wish.delete):
        return
    for record in state.steps.values():
        if not is_waiting(record):
            continue
        node, since = program.node(record.path), record.due_at or record.started_at
        if node is not None and node.circuit is not None and since is not None:
            yield Want(record.path, node.circuit.name, record.attempt + 1, since)


def effects(program: "Program", state: State, observations: Observations) -> Iterator[AskCircuit | LeaveCircuit]:
    """Yield who is to ask a breaker, and who asks no longer: because its attempt is under way as a probe, or because it wants none any more."""
    wanted = {want.path: want for want in wants(program, state, observations.wish)}
    for path in observations.permits:
        if path not in wanted:
            record = state.steps.get(path)
            began = record is not None and record.circuit is not None and record.phase in _AT_WORK
            yield LeaveCircuit(path, began)
    for path, want in wanted.items():
        if path not in observations.permits:
            yield AskCircuit(path, want.name, want.attempt, want.since)


# -------------------------------------------------------------------------------------------------------------- telling


@dataclass(frozen=True, slots=True)
class Report:
    """What an attempt came to, for its breaker. `error` is None where it went well; one that was ended from outside `says` nothing."""

    name: str
    path: str
    attempt: int
    error: Fault | None = None
    says: bool = True
    is_probe: bool = False


@dataclass(slots=True)
class _Attempt:
    """One step of the walk through entries: where it stands, and whether an attempt of it is under way."""

    number: int
    phase: Phase
    is_under_way: bool
    is_probe: bool


def reports(program: "Program", before: State, entries: Sequence[Entry]) -> Iterator[Report]:
    """Yield what the attempts came to that end with these entries, which follow a state and are written."""
    if not program.circuits:
        return
    seen: dict[str, _Attempt] = {}
    for entry in entries:
        node = program.node(entry.path) if entry.path else None
        if node is None or node.circuit is None:
            continue
        attempt = seen.get(entry.path) or _attempt_of(before.steps.get(entry.path))
        seen[entry.path] = attempt
        phase, changes = Phase(entry.changes.get("phase", attempt.phase)), entry.changes
        if attempt.is_under_way and _is_over(phase, changes):
            yield _report(node.circuit.name, entry, attempt, phase)
        if "circuit" in changes:
            attempt.is_probe = changes["circuit"] is not None
        attempt.number, attempt.phase = entry.attempt, phase
        attempt.is_under_way = phase is Phase.RUNNING or (attempt.is_under_way and not _is_over(phase, changes))


def _attempt_of(record: StepRecord | None) -> _Attempt:
    if record is None:
        return _Attempt(0, Phase.WAITING, is_under_way=False, is_probe=False)
    is_disrupted = record.phase is Phase.RETRYING and record.then is Phase.RUNNING
    is_at_work = record.phase in _AT_WORK and record.handler is None and record.boundary is None and record.finishing is None
    is_under_way = is_disrupted or is_at_work
    return _Attempt(record.attempt, record.phase, is_under_way, record.circuit is not None)


def _is_over(phase: Phase, changes: Mapping[str, Any]) -> bool:
    """Tell whether a change ends an attempt. One that was disrupted goes on, once it runs again."""
    return phase not in _AT_WORK and not (phase is Phase.RETRYING and changes.get("then") == Phase.RUNNING)


def _report(name: str, entry: Entry, attempt: _Attempt, phase: Phase) -> Report:
    changes = entry.changes
    ends_in = Phase(changes.get("finishing") or phase)
    error = codec.fault_from_json(changes["error"]) if changes.get("error") else None
    if ends_in is Phase.SUCCEEDED:
        return Report(name, entry.path, attempt.number, is_probe=attempt.is_probe)
    says = error is not None and ends_in is not Phase.CANCELLED
    return Report(name, entry.path, attempt.number, error if says else None, says, attempt.is_probe)
