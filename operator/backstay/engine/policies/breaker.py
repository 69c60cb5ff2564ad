"""A circuit breaker by itself: results in, state out. Pure; what keeps it in the cluster is `runtime/circuits.py`.

    state     on                                     becomes
    Closed    enough results, too many failures      Open       until now + openFor
    Open      until is over                          HalfOpen   a few attempts are let through, as probes
    HalfOpen  a probe fails                          Open       again
    HalfOpen  as many probes as wanted go well       Closed     with an empty window
    any       reset                                  Closed     with an empty window
    any       forced                                 the state that a person holds it at; released from Open it goes on by way of HalfOpen

Results of attempts that were begun before it opened, and end after, count for nothing: only probes tell how it stands now.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from backstay.api.circuit import CircuitBreakerSpec, CircuitState, share_of
from backstay.api.faults import BUILT_IN, matches
from backstay.engine.model import Fault

GRAINS: Final = 20
"""A window of time drops results in so many steps: each counts for its whole length, and at most a twentieth longer."""
_ANSWERS: Final = frozenset({"HttpStatus", "NotFound", "AlreadyExists", "FieldConflict", "InvalidOutput"})
"""Errors of our own that mean that somebody has answered."""
_UNTRIED: Final = frozenset({"CircuitOpen", "LockTimeout", "ConcurrencyLimit"})
"""Errors that mean that nothing was tried: they count only where they are named themselves."""


@dataclass(frozen=True, slots=True)
class Rules:
    """A spec, ready to be asked: a share of failures from 0 to 1, or a number of them."""

    count: int | None = 20
    duration: timedelta | None = None
    minimum: int = 10
    rate: float | None = 0.5
    failures: int | None = None
    errors: tuple[str, ...] = ("Transient", "Timeout")
    open_for: timedelta = timedelta(seconds=30)
    probes: int = 1
    within: timedelta = timedelta(minutes=1)

    def is_breached(self, calls: int, failures: int) -> bool:
        """Tell whether so many failures among so many results are too many."""
        if calls < self.minimum:
            return False
        return failures >= self.failures if self.failures is not None else failures >= (self.rate or 0) * calls

    def judge(self, error: str | None) -> bool | None:
        """Tell whether a result is a failure (True) or a success (False); None where it tells nothing of whoever was called."""
        if error is None:
            return False
        if error in self.errors or (error not in _UNTRIED and matches(error, self.errors)):
            return True
        return False if error not in BUILT_IN or error in _ANSWERS else None


def rules_of(spec: CircuitBreakerSpec) -> Rules:
    """Return the rules of a spec."""
    rate = None if spec.failures is not None else share_of(spec.failure_rate or "50%")
    return Rules(
        spec.window.count,
        spec.window.duration,
        spec.calls_needed,
        rate,
        spec.failures,
        spec.errors,
        spec.open_for,
        spec.half_open.probes,
        spec.half_open.within,
    )


@dataclass(frozen=True, slots=True)
class Probe:
    """An attempt that wants to be let through to find out, or was, `since` then."""

    run: str
    uid: str
    path: str
    attempt: int
    since: datetime

    @property
    def id(self) -> str:
        """What tells it from all others: a step makes one attempt at a time."""
        return f"{self.uid}/{self.path}"


@dataclass(frozen=True, slots=True)
class Result:
    """What an attempt came to: None where that tells nothing."""

    id: str
    failed: bool | None
    is_probe: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """The latest failure."""

    fault: Fault
    run: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Circuit:
    """Where a breaker stands: all that is written of it."""

    state: CircuitState = CircuitState.CLOSED
    since: datetime | None = None
    until: datetime | None = None
    forced: bool = False
    transitions: int = 0
    probes: Mapping[str, Probe] = field(default_factory=dict)
    succeeded: int = 0
    reset: str = ""

    def room(self, rules: Rules) -> int:
        """Return how many more it would let through as probes."""
        return max(0, rules.probes - self.succeeded - len(self.probes)) if self.state is CircuitState.HALF_OPEN else 0


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person asks of it."""

    forced: CircuitState | None = None
    reset: str = ""


@dataclass(slots=True)
class _Grain:
    """So many results, counted as at one moment."""

    at: datetime
    calls: int = 0
    failures: int = 0


class Window:
    """The results that count: the latest so many, or those of the latest time. Costs the same whatever it holds."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._latest: deque[bool] = deque()
        self._grains: deque[_Grain] = deque()
        self._calls = 0
        self._failures = 0

    def add(self, failed: bool, now: datetime, times: int = 1) -> None:
        """Take in a result, or several that are alike."""
        for _ in range(times if self._rules.count is not None else 0):
            self._latest.append(failed)
            if len(self._latest) > self._rules.count:  # type: ignore[operator]
                self._count(-1, -int(self._latest.popleft()))
        if self._rules.duration is not None:
            self._drop(now)
            if not self._grains or now - self._grains[-1].at >= self._rules.duration / GRAINS:
                self._grains.append(_Grain(now))
            self._grains[-1].calls += times
            self._grains[-1].failures += times * failed
        self._count(times, times * failed)

    def counts(self, now: datetime) -> tuple[int, int]:
        """Return how many results count now, and how many of them are failures."""
        self._drop(now)
        return self._calls, self._failures

    def seed(self, calls: int, failures: int, at: datetime) -> None:
        """Begin with what was counted before: nobody knows in which order, so the failures are spread among the rest."""
        self.clear()
        calls = min(calls, self._rules.count or calls)
        failures = min(failures, calls)
        for number in range(calls):
            self.add((number + 1) * failures // calls > number * failures // calls, at)

    def clear(self) -> None:
        """Forget all results."""
        self._latest.clear()
        self._grains.clear()
        self._calls = self._failures = 0

    def _drop(self, now: datetime) -> None:
        if self._rules.duration is None:
            return
        while self._grains and self._grains[0].at + self._rules.duration * (1 + 1 / GRAINS) <= now:
            grain = self._grains.popleft()
            self._count(-grain.calls, -grain.failures)

    def _count(self, calls: int, failures: int) -> None:
        self._calls += calls
        self._failures += failures


def settle(
    circuit: Circuit,
    rules: Rules,
    wishes: Wishes,
    window: Window,
    results: Iterable[Result],
    gone: Collection[str],
    asking: Iterable[Probe],
    now: datetime,
) -> Circuit:
    """Return where a breaker stands after all that has come in; the window is emptied where it closes.

    `results` are those that came while it was not closed (all others are in the window), `gone` the probes that want no attempt any more,
    `asking` those who want to be let through, in their order.
    """
    before = circuit
    circuit = _asked(circuit, wishes, now)
    if (circuit.forced, circuit.reset) != (before.forced, before.reset):
        window.clear()
    if not circuit.forced:
        if circuit.state is CircuitState.HALF_OPEN:
            circuit = _heard(circuit, rules, results, gone, now)
        elif circuit.state is CircuitState.CLOSED and rules.is_breached(*window.counts(now)):
            circuit = _opened(circuit, rules, now)
        if circuit.state is CircuitState.OPEN and (circuit.until is None or circuit.until <= now):
            circuit = _turned(circuit, CircuitState.HALF_OPEN, now)
    if circuit.state is CircuitState.CLOSED and before.state is not CircuitState.CLOSED:
        window.clear()
    return _granted(circuit, rules, asking, now)


def wakes_at(circuit: Circuit, rules: Rules) -> datetime | None:
    """Return when to look again by itself: when it lets probes through, or when a place among these is free again."""
    if circuit.state is CircuitState.OPEN:
        return None if circuit.forced else circuit.until
    ends = [probe.since + rules.within for probe in circuit.probes.values()]
    return min(ends, default=None) if circuit.state is CircuitState.HALF_OPEN else None


def _asked(circuit: Circuit, wishes: Wishes, now: datetime) -> Circuit:
    """Do what a person asks for."""
    if wishes.reset and wishes.reset != circuit.reset:
        circuit = replace(_turned(circuit, CircuitState.CLOSED, now), reset=wishes.reset)
    if wishes.forced is not None:
        turned = circuit if circuit.state is wishes.forced else _turned(circuit, wishes.forced, now)
        return replace(turned, forced=True, until=None)
    return replace(circuit, forced=False) if circuit.forced else circuit


def _heard(circuit: Circuit, rules: Rules, results: Iterable[Result], gone: Collection[str], now: datetime) -> Circuit:
    """Take in what has become of probes. One that failed decides; one whose place was given to another still counts."""
    probes = {id_: probe for id_, probe in circuit.probes.items() if id_ not in gone and probe.since + rules.within > now}
    succeeded = circuit.succeeded
    for result in results:
        if not result.is_probe:
            continue
        probes.pop(result.id, None)
        if result.failed:
            return _opened(circuit, rules, now)
        succeeded += result.failed is False
    if succeeded >= rules.probes:
        return _turned(circuit, CircuitState.CLOSED, now)
    return replace(circuit, probes=probes, succeeded=succeeded)


def _granted(circuit: Circuit, rules: Rules, asking: Iterable[Probe], now: datetime) -> Circuit:
    room = circuit.room(rules)
    news = [probe for probe in asking if probe.id not in circuit.probes][:room] if room else []
    if not news:
        return circuit
    return replace(circuit, probes={**circuit.probes, **{probe.id: replace(probe, since=now) for probe in news}})


def _opened(circuit: Circuit, rules: Rules, now: datetime) -> Circuit:
    until = now + rules.open_for
    if rules.open_for >= timedelta(seconds=1) and until.microsecond:
        until = until.replace(microsecond=0) + timedelta(seconds=1)  # for eyes
    return replace(_turned(circuit, CircuitState.OPEN, now), until=until)


def _turned(circuit: Circuit, state: CircuitState, now: datetime) -> Circuit:
    changed = circuit.transitions + (state is not circuit.state)
    return replace(circuit, state=state, since=now, until=None, transitions=changed, probes={}, succeeded=0)
