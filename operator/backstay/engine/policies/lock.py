"""lock: a step begins when it holds its lock, and holds it until it has ended. What the engine decides, and what it asks of the world.

    (new)     its if holds               → LockWanted     Waiting; the want is written before anybody asks for the slot
    Waiting   told its place in line     → LockWaiting    what it waits for, in words; later LockMoved, seldom
    Waiting   the slot is its own        → LockAcquired   and the step begins, in the same turn
    Waiting   lock.timeout is over       → fails with LockTimeout, which its catch may handle
    any       the step has ended         → nobody wants the slot any more: it is given back

A lock of scope Run is decided here alone, from the run's own records: one holder at a time, in the order in which they came. A step inside
one that holds the same lock does not wait: its run holds it already. Undoing a step takes the lock of the step again, without a timeout;
compensations go one at a time and hold nothing else, so none of them can wait for another in a circle.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from backstay.api.actions.lock import MAX_KEY_LENGTH, Lock, LockScope
from backstay.api.base import format_duration
from backstay.engine.model import AcquireLock, Fault, LockFact, Observations, Phase, ReleaseLock, State, StepRecord, Wish
from backstay.engine.paths import around, undone_by
from backstay.engine.policies.queueing import ordinal
from backstay.engine.scopes import Bound, Scope, bind
from backstay.errors import EvaluationError

if TYPE_CHECKING:
    from backstay.engine.node import Node
    from backstay.engine.turn import Turn

_PLACE: Final = re.compile(r"(\d+)(?:st|nd|rd|th) of ")
_LINES: Final = "lines of the run's own locks"


@dataclass(frozen=True, slots=True)
class LockNode:
    """A step's lock, compiled. Without a key: that of the step which is undone."""

    name: str
    key: Bound | None
    scope: LockScope
    timeout: timedelta | None


def compile_lock(lock: Lock | None, scope: Scope) -> LockNode | None:
    """Bind a lock's expressions. Raises InvalidExpression."""
    return None if lock is None else LockNode(lock.name, bind(lock.key, scope), lock.scope, lock.timeout)


def compile_undo_lock(lock: Lock | None) -> LockNode | None:
    """Return the lock that undoing a step takes: the step's own. Within a run nothing else goes on while it is undone."""
    return None if lock is None or lock.scope is LockScope.RUN else LockNode(lock.name, None, lock.scope, None)


# ------------------------------------------------------------------------------------------------------------- deciding


def is_waiting(record: StepRecord) -> bool:
    """Tell whether a step waits for its lock."""
    return record.lock is not None and record.locked_at is None and record.phase is Phase.WAITING


def take(turn: "Turn", node: "Node", path: str) -> bool:
    """Return whether a step that is to begin may: it needs no lock, or has it now. Otherwise it waits. Raises EvaluationError."""
    lock = _resolved(turn, node, path)
    if lock is None or _is_held_around(turn, path, lock):
        return True
    if lock.get("scope") == LockScope.RUN and not (line := _line(turn, lock)):
        line.append(path)
        turn.change_step(
            "LockAcquired",
            path,
            kind=node.kind,
            phase=Phase.WAITING,
            started_at=turn.now,
            locked_at=turn.now,
            lock=lock,
            reason=label(lock),
        )
        return True
    timeout = node.lock.timeout if node.lock else None
    due = None if timeout is None else turn.now + timeout
    if due is not None:
        turn.wake(due)
    words = f"waits for {label(lock)}"
    if lock.get("scope") == LockScope.RUN:
        words += f", held by step {line[0]}"
        line.append(path)
    changes: dict[str, Any] = {"kind": node.kind, "phase": Phase.WAITING, "started_at": turn.now, "due_at": due, "lock": lock}
    turn.change_step("LockWanted", path, message=words, reason=words, **changes)
    return False


def overdue(turn: "Turn", record: StepRecord) -> Fault | None:
    """Return the error of a step that has waited for its lock for too long."""
    if _is_granted(turn, record) or not turn.is_due(record.due_at):
        return None
    assert record.due_at is not None
    assert record.started_at is not None
    took = format_duration(record.due_at - record.started_at)
    return Fault("LockTimeout", "The lock was not to be had", f"it {record.message or 'waits for its lock'} ({took}; see lock.timeout)")


def take_at_last(turn: "Turn", record: StepRecord) -> bool:
    """Look again at a step that waits for its lock. Return whether it has it now, so that the step begins."""
    if _is_granted(turn, record) and turn.may_begin:
        changes: dict[str, Any] = {"locked_at": turn.now, "due_at": None, "message": None}
        turn.change_step("LockAcquired", record.path, reason=label(record.lock or {}), **changes)
        return True
    fact = turn.observations.locks.get(record.path)
    if fact is not None and fact.place and is_news(record.message, fact.place):
        words = f"waits for {label(record.lock or {})}: {line_words(fact)}"
        turn.change_step("LockMoved" if _PLACE.search(record.message or "") else "LockWaiting", record.path, message=words, reason=words)
    return False


def _resolved(turn: "Turn", node: "Node", path: str) -> dict[str, str] | None:
    """Return a step's lock as its record has it: name, key and scope, without what is the default."""
    assert node.lock is not None
    if node.lock.key is None:
        undone = turn.steps.get(undone_by(path) or "")
        return dict(undone.lock) if undone is not None and undone.lock is not None else None
    key = turn.evaluate_text(node.lock.key, path)
    if len(key) > MAX_KEY_LENGTH:
        raise EvaluationError(f"lock.key: it has {len(key)} characters, at most {MAX_KEY_LENGTH}; shorten it, or use a hash of it")
    lock = {"name": node.lock.name}
    if key:
        lock["key"] = key
    if node.lock.scope is LockScope.RUN:
        lock["scope"] = str(node.lock.scope)
    return lock


def _is_held_around(turn: "Turn", path: str, lock: Mapping[str, str]) -> bool:
    """Tell whether a step around this one holds the same lock: a run never waits for itself."""
    records = (turn.steps.get(outer) for outer in around(path))
    return any(record is not None and record.locked_at is not None and not record.has_ended and record.lock == lock for record in records)


def _is_granted(turn: "Turn", record: StepRecord) -> bool:
    lock = record.lock or {}
    if lock.get("scope") == LockScope.RUN:
        return _line(turn, lock)[0] == record.path
    fact = turn.observations.locks.get(record.path)
    return fact is not None and fact.held


def _line(turn: "Turn", lock: Mapping[str, str]) -> deque[str]:
    """Return the paths of those who hold or want a lock of the run's own, the holder first. Worked out once a turn from the records."""
    lines: dict[tuple[str, str], deque[str]] | None = turn.memory.get(_LINES)
    if lines is None:
        lines = turn.memory[_LINES] = {}
        wanting = [record for record in turn.steps.values() if record.lock is not None and _wants_own(record, record.lock)]
        for record in sorted(wanting, key=lambda record: record.locked_at is None):
            lines.setdefault(_name_and_key(record.lock or {}), deque()).append(record.path)
    line = lines.setdefault(_name_and_key(lock), deque())
    while line and not _wants_own(turn.steps.get(line[0]), lock):
        line.popleft()
    return line


def _name_and_key(lock: Mapping[str, str]) -> tuple[str, str]:
    return lock["name"], lock.get("key", "")


def _wants_own(record: StepRecord | None, lock: Mapping[str, str]) -> bool:
    """Tell whether a step holds or wants this lock of the run's own."""
    if record is None or record.has_ended or record.lock != lock or lock.get("scope") != LockScope.RUN:
        return False
    return record.locked_at is not None or is_waiting(record)


# -------------------------------------------------------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True)
class Want:
    """A slot that the written state wants: of a step that waits for it, or that has begun and holds it."""

    path: str
    name: str
    key: str
    since: datetime
    has_begun: bool


def wants(state: State, wish: Wish) -> Iterator[Want]:
    """Yield the slots that a run's state wants. One that is suspended wants none for what has not begun; it keeps its turn."""
    if state.run.is_finished:
        return
    is_suspended = wish.suspend and not wish.cancel and not wish.delete
    for record in state.steps.values():
        lock = record.lock
        if lock is None or record.has_ended or lock.get("scope") == LockScope.RUN:
            continue
        has_begun = record.locked_at is not None
        since = record.locked_at or record.started_at
        if since is not None and (has_begun or (is_waiting(record) and not is_suspended)):
            yield Want(record.path, lock["name"], lock.get("key", ""), since, has_begun)


def effects(state: State, observations: Observations) -> Iterator[AcquireLock | ReleaseLock]:
    """Yield what is to be asked for and what is to be given back."""
    wanted = {want.path: want for want in wants(state, observations.wish)}
    for path in observations.locks:
        if path not in wanted:
            yield ReleaseLock(path)
    for want in wanted.values():
        fact = observations.locks.get(want.path)
        if fact is None or (want.has_begun and not fact.has_begun):
            yield AcquireLock(want.path, want.name, want.key, want.since, want.has_begun)


# ---------------------------------------------------------------------------------------------------------------- words


def label(lock: Mapping[str, str]) -> str:
    """Return a lock in words."""
    of_run = " of this run" if lock.get("scope") == LockScope.RUN else ""
    return f"lock {lock['name']}{of_run}" + (f' (key "{lock["key"]}")' if lock.get("key") else "")


def line_words(fact: LockFact) -> str:
    """Return a place in line in words, and who keeps one waiting."""
    held = f"held by {', '.join(fact.holders)}" if fact.holders else ""
    return "; ".join(filter(None, (f"{ordinal(fact.place)} of {fact.waiting} in line", held, fact.why)))


def is_news(said: str | None, place: int) -> bool:
    """Tell whether a place in line is worth a write, given the words that tell the place before: the first one is."""
    found = _PLACE.search(said or "")
    return found is None or is_far(int(found[1]), place)


def is_far(old: int, new: int) -> bool:
    """Tell whether a place in line differs much from the one before: half of those in front are gone, or as many have come."""
    return not old / 2 < new <= old * 2
