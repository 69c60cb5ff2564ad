"""Gates: where Jobs are refused for now, one tries for all.

A quota that is used up, or a webhook that is down, refuses every Job of a namespace alike. Were each run that waits to try by itself, a thousand of
them would ask the API server a thousand times. So the first refusal closes a gate, and what comes after waits before it:

    refused   the gate closes; after a pause, each longer than the one before, one is let through
    through   it was let through and its Job was made: two more are let through, then four, until nobody waits
    freed     a Job of the namespace is gone: one is let through at once

A pause ends with somebody being woken whatever became of the one before, so a run that has lost its interest holds nobody up.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from backstay.engine.model import Fault
from backstay.runtime.queue import Key, KeyedQueue
from backstay.runtime.view import Object, key_of, workflow_of

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 10.0
"""How late a quota that somebody raises is noticed, at most; a Job that goes is noticed at once."""

Scope = tuple[str, ...]
_NAMESPACE_WIDE: Final = frozenset({"Quota", "Rights", "ApiServer"})
"""What holds for all Jobs of a namespace. A webhook may be asked about some of them only: those of a workflow are taken to be alike."""


@dataclass(slots=True)
class _Gate:
    """A gate that is closed. `passes` may still be let through; who waits stands in line in the order in which they came."""

    fault: Fault
    pause: float = 0.0
    passes: int = 0
    next_passes: int = 1
    line: dict[Key, None] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None


class Gates:
    """All gates that are closed. Single-threaded; nothing here waits."""

    def __init__(self, queue: KeyedQueue) -> None:
        self._queue = queue
        self._gates: dict[Scope, _Gate] = {}

    def __len__(self) -> int:
        return len(self._gates)

    def closed(self, run: Object) -> Fault | None:
        """Return why a Job of a run is not to be tried now, or None where it is. Whoever is turned back will be woken."""
        for scope in _scopes(run) if self._gates else ():
            gate = self._gates.get(scope)
            if gate is None:
                continue
            if gate.passes <= 0:
                gate.line.setdefault(key_of(run))
                return gate.fault
            gate.passes -= 1
        return None

    def refused(self, run: Object, fault: Fault) -> None:
        """A Job was refused for now: close the gate, or keep it closed for longer."""
        scope = _scope(run, fault)
        gate = self._gates.setdefault(scope, _Gate(fault))
        gate.fault, gate.passes, gate.next_passes = fault, 0, 1
        gate.line.setdefault(key_of(run))
        gate.pause = min(LONGEST_PAUSE_SECONDS, gate.pause * 2 or FIRST_PAUSE_SECONDS)
        self._set_timer(scope, gate)

    def through(self, run: Object) -> None:
        """A Job was made: let more of those that wait try theirs."""
        for scope in _scopes(run) if self._gates else ():
            gate = self._gates.get(scope)
            if gate is None:
                continue
            gate.line.pop(key_of(run), None)
            gate.pause = FIRST_PAUSE_SECONDS
            if gate.passes <= 0:
                gate.next_passes *= 2
                self._let(scope, gate, gate.next_passes)

    def freed(self, namespace: str) -> None:
        """A Job of a namespace is there no longer, so that another may fit; the quota's own count follows a moment later."""
        scope = (namespace, "Quota")
        gate = self._gates.get(scope)
        if gate is not None:
            gate.pause = 0.0
            self._let(scope, gate, 1)

    def forget(self, key: Key) -> None:
        """A run is gone."""
        for gate in self._gates.values():
            gate.line.pop(key, None)

    def _let(self, scope: Scope, gate: _Gate, count: int) -> None:
        """Let the first in line try; the gate is open where nobody waits."""
        woken = list(gate.line)[:count]
        if not woken:
            del self._gates[scope]
            if gate.timer is not None:
                gate.timer.cancel()
            return
        gate.passes = max(gate.passes, len(woken))
        for key in woken:
            del gate.line[key]
            self._queue.wake(key)

    def _set_timer(self, scope: Scope, gate: _Gate) -> None:
        if gate.timer is not None:
            gate.timer.cancel()
        gate.timer = asyncio.get_running_loop().call_later(gate.pause, self._pause_is_over, scope)

    def _pause_is_over(self, scope: Scope) -> None:
        gate = self._gates.get(scope)
        if gate is not None:
            gate.timer = None
            self._set_timer(scope, gate)
            self._let(scope, gate, 1)


def _scopes(run: Object) -> tuple[Scope, ...]:
    """Return the gates that a Job of a run comes to."""
    namespace = run["metadata"]["namespace"]
    return (*((namespace, type_) for type_ in sorted(_NAMESPACE_WIDE)), (namespace, "of a workflow", workflow_of(run)))


def _scope(run: Object, fault: Fault) -> Scope:
    namespace = run["metadata"]["namespace"]
    return (namespace, fault.type) if fault.type in _NAMESPACE_WIDE else (namespace, "of a workflow", workflow_of(run))
