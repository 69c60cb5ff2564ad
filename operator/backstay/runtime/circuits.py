"""Who keeps the circuit breakers: every CircuitBreaker has a desk here, at which results are counted and steps ask to be let through.

    facts        what is written of a breaker; read at every look at a run whose workflow names it, without I/O
    report       a result is counted in memory; the desk is woken where it may change the state, or where other failures are to be shown
    ask, leave   noted, without I/O; the desk is woken
    settle       one look at a desk: the next state by the pure rules → ONE write, conditional on the version it was made for, where it is another
    written      those who are let through are woken; what is true is what stands in the CircuitBreaker, not what we think

So a breaker whose calls go well costs nothing, one with some failures a write every few seconds, and one that is open none again. Two operators
alive at once do no harm: each counts the results that it has written itself, and the version lets only one of them change the state or hand
out the places of probes. One that takes over goes on from what is written: the state, the probes, and the counts.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from backstay.api.base import format_duration
from backstay.api.circuit import CircuitState
from backstay.engine.model import CircuitFact, Fault, PermitFact
from backstay.engine.policies.breaker import Circuit, Failed, Probe, Result, Rules, Window, settle, wakes_at
from backstay.engine.policies.circuit import Report
from backstay.errors import AlreadyExists, ApiError, Conflict, TooManyRequests, Unavailable
from backstay.executors import circuit
from backstay.executors.circuit import SeenBreaker
from backstay.kube import resources
from backstay.kube.client import Client
from backstay.kube.informer import Informer
from backstay.kube.manifests import RunRef
from backstay.names import BREAKER
from backstay.observe.events import Announcer as Events
from backstay.observe.metrics import Metrics
from backstay.runtime.ownership import ALONE, Ownership
from backstay.runtime.queue import Key, KeyedQueue
from backstay.runtime.store import RunStore
from backstay.runtime.view import Object

log = logging.getLogger(__name__)

WORKERS: Final = 8
"""Breakers that are written at the same time."""
SHOW_SECONDS: Final = 5.0
"""How often the counts are written while the state stays: for eyes, and for an operator that takes over."""

_Place = tuple[str, str]


@dataclass(slots=True)
class _Ask:
    """One who wants to be let through. `told_at` is when its run was woken last because the breaker has opened again."""

    probe: Probe
    run: Key
    answered: bool = False
    told_at: datetime | None = None


@dataclass(slots=True)
class _Desk:
    """What one operator knows of a breaker besides what stands in it."""

    rules: Rules
    window: Window
    asks: dict[str, _Ask] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    """Those that came while it was not closed."""
    gone: set[str] = field(default_factory=set)
    """Probes that want no attempt any more."""
    last_error: Failed | None = None
    is_seeded: bool = False
    shown_at: float = float("-inf")


class Circuits:
    """All desks. `wake(key)` has a run looked at; `trouble(run, error)` tells a run what keeps its breaker from being written."""

    def __init__(
        self,
        client: Client,
        namespaces: tuple[str, ...],
        store: RunStore,
        wake: Callable[[Key], None],
        trouble: Callable[[Object, ApiError], None],
        events: Events,
        metrics: Metrics,
        now: Callable[[], datetime],
        shards: Ownership = ALONE,
    ) -> None:
        self._client = client
        self._shards = shards
        self._store = store
        self._wake = wake
        self._trouble = trouble
        self._events = events
        self._metrics = metrics
        self._now = now
        self._queue = KeyedQueue()
        self._desks: dict[_Place, _Desk] = {}
        self._asked: dict[str, dict[str, _Place]] = {}
        """By the UID of a run and the path of a step: at which desk it has asked."""
        self._informers = {
            name: Informer(client, resources.BREAKERS, namespace=name or None, trim=circuit.seen, on_change=self._changed)
            for name in namespaces or ("",)
        }

    def informers(self) -> list[Informer[SeenBreaker]]:
        """Return the informers, to be run."""
        return list(self._informers.values())

    async def serve(self) -> None:
        """Write what has come in, until cancelled."""
        for informer in self._informers.values():
            await informer.synced.wait()
        await self._queue.serve(self._settle_or_wait, WORKERS)

    # ----------------------------------------------------------------------------------------------------- reading

    def facts(self, namespace: str, names: Iterable[str]) -> dict[str, CircuitFact]:
        """Return what is seen of breakers, by name. One that is not there lets everything through, and is made."""
        return {name: self._fact((namespace, name)) for name in names}

    def _fact(self, place: _Place) -> CircuitFact:
        found = self._seen(place)
        if found is None:
            if place not in self._desks:  # once: what cannot be made is tried again with pauses, however many runs ask
                self._desk(place)
                self._wake_desk(place)
            return CircuitFact()
        if found.circuit.state is CircuitState.CLOSED:
            return CircuitFact()
        room = found.circuit.room(found.rules) > 0
        return CircuitFact(found.circuit.state, found.circuit.until, room, found.waits, circuit.why(found, found.circuit, found.last_error))

    def permits(self, uid: str) -> dict[str, PermitFact]:
        """Return what became of the asking of a run's steps, by path."""
        return {path: self._permit(place, f"{uid}/{path}") for path, place in self._asked.get(uid, {}).items()}

    def _permit(self, place: _Place, id_: str) -> PermitFact:
        found, ask = self._seen(place), self._desks[place].asks[id_]
        granted = found is not None and found.circuit.state is CircuitState.HALF_OPEN and id_ in found.circuit.probes
        return PermitFact(granted, ask.answered)

    # ------------------------------------------------------------------------------------------------ what runs say

    def ask(self, run: Key, name: str, path: str, attempt: int, since: datetime) -> None:
        """A step wants to be let through. Asking twice is asking once."""
        place, id_ = (run.namespace, name), f"{run.uid}/{path}"
        desk = self._desk(place)
        if id_ in desk.asks:
            return
        desk.gone.discard(id_)
        desk.asks[id_] = _Ask(Probe(run.name, run.uid, path, attempt, since), run)
        self._asked.setdefault(run.uid, {})[path] = place
        self._wake_desk(place)

    def leave(self, uid: str, path: str, *, has_begun: bool = False) -> None:
        """A step asks no longer: its attempt is under way, or it wants none any more, and gives its place back."""
        asked = self._asked.get(uid, {})
        place = asked.pop(path, None)
        if not asked:
            self._asked.pop(uid, None)
        desk = self._desks.get(place) if place else None
        if desk is None or place is None:
            return
        id_ = f"{uid}/{path}"
        desk.asks.pop(id_, None)
        found = self._seen(place)
        if not has_begun and found is not None and id_ in found.circuit.probes:
            desk.gone.add(id_)
            self._wake_desk(place)

    def forget(self, uid: str) -> None:
        """A run is finished or gone: it asks for nothing any more."""
        for path in list(self._asked.get(uid, ())):
            self.leave(uid, path)

    def disown(self, uid: str) -> None:
        """Another process looks at a run from now on: places that its probes have stay theirs."""
        for path, place in self._asked.pop(uid, {}).items():
            desk = self._desks.get(place)
            if desk is not None:
                desk.asks.pop(f"{uid}/{path}", None)

    def lost(self) -> None:
        """Runs are another's now: which probe wants its place no more is not for us to say."""
        for desk in self._desks.values():
            desk.gone.clear()

    def look_at_all(self) -> None:
        """Runs are ours that were not before: settle whatever they may wait for."""
        for informer in self._informers.values():
            for found in informer.objects():
                self._wake_desk((found.namespace, found.name))
        for place in self._desks:
            self._wake_desk(place)

    def report(self, run: RunRef, reports: Iterable[Report]) -> None:
        """Take in what attempts came to, once that is written."""
        for report in reports:
            self._report(run, report)

    def _report(self, run: RunRef, report: Report) -> None:
        place, id_ = (run.namespace, report.name), f"{run.uid}/{report.path}"
        desk, found, now = self._desk(place), self._seen(place), self._now()
        if found is None:
            return
        failed = desk.rules.judge(report.error.type if report.error else None) if report.says else None
        if failed and report.error is not None:
            desk.last_error = Failed(_of_attempt(report), run.name, now)
        if found.circuit.state is not CircuitState.CLOSED:
            if report.is_probe:
                desk.results.append(Result(id_, failed, is_probe=True))
                self._wake_desk(place)
        elif failed is not None:
            desk.window.add(failed, now)
            if failed and not found.circuit.forced and desk.rules.is_breached(*desk.window.counts(now)):
                self._wake_desk(place)
            elif self._is_to_be_shown(desk, found, now):
                self._queue.wake_in(Key(*place, ""), desk.shown_at + SHOW_SECONDS - _loop_time())

    def _is_to_be_shown(self, desk: _Desk, found: SeenBreaker, now: datetime) -> bool:
        """Tell whether other counts are to be written than those that are: of several processes one shows what it has counted."""
        return _is_news(desk, found, now) and self._shards.owns_name(found.namespace, found.name)

    # ------------------------------------------------------------------------------------------------------- desks

    def _desk(self, place: _Place) -> _Desk:
        """Return the desk of a breaker. It begins with the counts that an operator before this one has written."""
        desk, found = self._desks.get(place), self._seen(place)
        if desk is None:
            rules = found.rules if found is not None else Rules()
            desk = self._desks[place] = _Desk(rules, Window(rules))
        if found is not None and (desk.rules != found.rules or not desk.is_seeded):
            self._seed(desk, found)
        return desk

    def _seed(self, desk: _Desk, found: SeenBreaker) -> None:
        """Begin to count by the rules that the breaker has now, with what was counted so far."""
        now = self._now()
        calls, failures = desk.window.counts(now) if desk.is_seeded else (found.calls, found.failures)
        at = now if desk.is_seeded else found.counted_at or now
        desk.rules, desk.window, desk.is_seeded = found.rules, Window(found.rules), True
        if found.circuit.state is CircuitState.CLOSED:
            desk.window.seed(calls, failures, at)

    def _seen(self, place: _Place) -> SeenBreaker | None:
        informer = self._informers.get(place[0], self._informers.get(""))
        return informer.get(*place) if informer is not None else None

    def _remember(self, found: SeenBreaker) -> SeenBreaker:
        informer = self._informers[found.namespace if found.namespace in self._informers else ""]
        informer.remember(found)
        return found

    def _changed(self, event: str, new: SeenBreaker, before: SeenBreaker | None) -> None:
        """A breaker was changed by somebody else, or is new, or gone."""
        place = (new.namespace, new.name)
        if event == "DELETED":
            self._metrics.circuit_gone(*place)
            desk = self._desks.get(place)
            if desk is None or not desk.asks:
                self._desks.pop(place, None)
                return
            desk.is_seeded = False
            self._wake_all(desk)
        else:
            self._metrics.circuit_state(*place, new.circuit.state)
            if before is not None and before.circuit.state is not new.circuit.state and (desk := self._desks.get(place)) is not None:
                desk.window.clear()
                self._answer(desk, new, self._now())
        self._wake_desk(place)

    def _wake_desk(self, place: _Place) -> None:
        self._queue.wake(Key(*place, ""))

    # ---------------------------------------------------------------------------------------------------- settling

    async def _settle_or_wait(self, key: Key) -> None:
        """Settle a desk; what the API server does not let us write is tried again, and told to those who wait."""
        if not self._shards.is_at_work:
            return
        place = (key.namespace, key.name)
        try:
            await self._settle(key, place)
            self._queue.succeeded(key)
        except (Conflict, AlreadyExists):
            self._queue.retry(key)  # the newer version is on its way here, and wakes the desk
        except ApiError as error:
            delay = self._queue.retry(key, error.retry_after_seconds or 0.0, 10.0)
            log.warning("CircuitBreaker %s cannot be written, trying again in %.1f s: %s", key, delay, error)
            if not isinstance(error, (Unavailable, TooManyRequests)):  # an outage is told once, by whoever meets it first
                for run in self._waiting_runs(place):
                    self._trouble(run, error)

    def _waiting_runs(self, place: _Place) -> Iterator[Object]:
        desk = self._desks.get(place)
        for ask in list(desk.asks.values())[:20] if desk else ():
            known = self._store.get(ask.run)
            if known is not None:
                yield known.run

    async def _settle(self, key: Key, place: _Place) -> None:
        found = self._seen(place)
        if found is None:
            if place not in self._desks:
                return
            found = self._remember(await circuit.make(self._client, *place))
            self._metrics.circuit_state(*place, found.circuit.state)
        desk, now = self._desk(place), self._now()
        results, gone = list(desk.results), frozenset(desk.gone)
        asking = sorted((ask.probe for ask in desk.asks.values()), key=lambda probe: probe.since)
        after = settle(found.circuit, found.rules, found.wishes, desk.window, results, gone, asking, now)
        is_shown = desk.shown_at + SHOW_SECONDS > _loop_time()
        if after != found.circuit or found.observed != found.generation or (self._is_to_be_shown(desk, found, now) and not is_shown):
            found = await self._write(desk, found, after, now)
        del desk.results[: len(results)]
        desk.gone -= gone
        self._answer(desk, found, now)
        self._plan(key, desk, found, now)

    async def _write(self, desk: _Desk, found: SeenBreaker, after: Circuit, now: datetime) -> SeenBreaker:
        """Write where a breaker stands, and tell of it where that is another state. What it opened by stays shown while it is open."""
        error = desk.last_error or found.last_error
        is_still = after.state is not CircuitState.CLOSED and found.circuit.state is not CircuitState.CLOSED
        calls, failures = (found.calls, found.failures) if is_still else desk.window.counts(now)
        status = circuit.status_of(found, after, calls, failures, error, now)
        desk.shown_at = _loop_time()
        written = self._remember(await circuit.write(self._client, found, status))
        if after.state is not found.circuit.state:
            if after.state is not CircuitState.CLOSED:
                desk.window.clear()
            self._tell(found, after, calls, failures, error)
        return written

    def _answer(self, desk: _Desk, found: SeenBreaker, now: datetime) -> None:
        """Wake those who are let through, or have got their first answer; and, seldom, those who wait on while it opens again."""
        state = found.circuit.state
        for id_, ask in desk.asks.items():
            passes = state is CircuitState.CLOSED or id_ in found.circuit.probes
            if passes or not ask.answered or (state is CircuitState.OPEN and _is_long(ask, now)):
                ask.answered, ask.told_at = True, now
                self._wake(ask.run)

    def _wake_all(self, desk: _Desk) -> None:
        for ask in desk.asks.values():
            self._wake(ask.run)

    def _plan(self, key: Key, desk: _Desk, found: SeenBreaker, now: datetime) -> None:
        """Look again when it lets probes through, when a place among these is free, and when the counts are to be shown."""
        due = wakes_at(found.circuit, found.rules)
        if due is not None:
            self._queue.wake_in(key, (due - now).total_seconds() + 0.001)
        if self._is_to_be_shown(desk, found, now):
            self._queue.wake_in(key, desk.shown_at + SHOW_SECONDS - _loop_time())

    # ----------------------------------------------------------------------------------------------------- telling

    def _tell(self, found: SeenBreaker, after: Circuit, calls: int, failures: int, error: Failed | None) -> None:
        """Tell of a change of state: in the log, as a figure, and as an Event about the breaker, the same words for the same thing."""
        self._metrics.circuit_turned(found.namespace, found.name, after.state)
        words = _words(found, after, calls, failures, error)
        log.info("CircuitBreaker %s/%s is %s: %s", found.namespace, found.name, after.state, words)
        is_bad = after.state is CircuitState.OPEN and not after.forced
        self._events.announce_about(BREAKER, found, "Warning" if is_bad else "Normal", _EVENTS[after.state], words)


_EVENTS: Final[Mapping[CircuitState, str]] = {
    CircuitState.CLOSED: "CircuitClosed",
    CircuitState.OPEN: "CircuitOpened",
    CircuitState.HALF_OPEN: "CircuitHalfOpened",
}


def _words(found: SeenBreaker, after: Circuit, calls: int, failures: int, error: Failed | None) -> str:
    if after.forced:
        return circuit.why(found, after, error)
    if after.reset != found.circuit.reset:
        return f"reset by a person{f': {found.reset_words}' if found.reset_words else ''}"
    last = f"; {circuit.why(found, after, error)}" if error else ""
    match after.state, found.circuit.state:
        case CircuitState.OPEN, CircuitState.HALF_OPEN:
            return f"a probe has failed; it lets nothing through for {_length(found)}{last}"
        case CircuitState.OPEN, _:
            return f"{failures} of {calls} calls have failed; it lets nothing through for {_length(found)}{last}"
        case CircuitState.HALF_OPEN, _:
            return f"it lets {found.rules.probes} through to find out whether calls go well again"
    return f"{found.rules.probes} probes have gone well" if found.rules.probes > 1 else "the probe has gone well"


def _length(found: SeenBreaker) -> str:
    return format_duration(found.rules.open_for)


def _is_news(desk: _Desk, found: SeenBreaker, now: datetime) -> bool:
    """Tell whether other failures count than those that are written: that a healthy breaker is called is no news."""
    return found.circuit.state is CircuitState.CLOSED and desk.window.counts(now)[1] != found.failures


def _is_long(ask: _Ask, now: datetime) -> bool:
    """Tell whether it has waited twice as long as when its run was woken last."""
    return ask.told_at is None or now - ask.probe.since >= 2 * (ask.told_at - ask.probe.since)


def _of_attempt(report: Report) -> Fault:
    assert report.error is not None
    return Fault(report.error.type, report.error.title, report.error.detail, report.path, report.attempt)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
