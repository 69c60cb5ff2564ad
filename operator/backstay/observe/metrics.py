"""Prometheus metrics, all with the prefix `backstay_`, in a registry of their own.

Never by run: a label has few values (at most 50 workflows, then `other`; resources and codes are few by nature), so that a thousand runs a
minute cost the monitoring nothing. Units are base units, as Prometheus wants them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Final, Literal, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, Info, PlatformCollector, ProcessCollector

from backstay import __version__, names
from backstay.kube.limiter import IN_LINE, Limiter, Priority

MAX_WORKFLOWS: Final = 50
MAX_CIRCUITS: Final = 200
OTHER: Final = "other"
_CIRCUIT_STATES: Final = {"Closed": 0, "HalfOpen": 1, "Open": 2}

Part = Literal["observe", "decide", "persist", "act"]
"""The parts of a pass (DESIGN §3)."""

Limit = Literal["lock", "workflow", "installation"]
"""What keeps runs and steps waiting for a slot; a namespace's limit is one of the installation's."""

_FAST: Final = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_REQUEST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_STEP: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_WAIT: Final = (0.01, 0.05, 0.25, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)
_RUN: Final = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400, 604800)


class Picture(Protocol):
    """What metrics ask of an informer."""

    failures: int
    lists: int
    lagged: Callable[[float], None]

    def __len__(self) -> int: ...
    @property
    def silence_seconds(self) -> float: ...


class Line(Protocol):
    """What metrics ask of the queue."""

    def depth(self, priority: Priority) -> int: ...
    def oldest_seconds(self, *priorities: Priority) -> float: ...
    def timers(self) -> int: ...
    def busy(self) -> int: ...
    def longest_look_seconds(self) -> float: ...


class Metrics:
    """The operator's metrics. Make one, hand it around; `registry` is what the server shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        Info("backstay_build", "Which Backstay this is.", registry=self.registry).info({"version": __version__, "api": names.API_VERSION})
        self._workflows: set[str] = set()
        self._define_runs()
        self._define_passes()
        self._define_requests()
        self._define_informers()
        self._define_slots()
        self._define_shards()
        self._define_circuits()
        self._define_letters()

    def _define_runs(self) -> None:
        self._runs = Gauge(
            "backstay_runs", "Runs that are not finished, by workflow and phase.", ["workflow", "phase"], registry=self.registry
        )
        self._finished = Counter("backstay_runs_finished", "Runs that have ended.", ["workflow", "phase"], registry=self.registry)
        self._abandoned = Counter(
            "backstay_compensations_abandoned",
            "Runs that ended with something not undone: released by hand, out of time, or in a namespace that was deleted.",
            ["workflow"],
            registry=self.registry,
        )
        self._vanished = Counter(
            "backstay_runs_vanished",
            "Runs that went before they had ended, although the finalizer held them, and left something that nobody undoes.",
            ["workflow"],
            registry=self.registry,
        )
        self._run_seconds = Histogram(
            "backstay_run_duration_seconds", "From a run's start to its end.", ["phase"], buckets=_RUN, registry=self.registry
        )
        self._steps = Counter(
            "backstay_steps_finished", "Steps that have ended, by kind and phase.", ["kind", "phase"], registry=self.registry
        )
        self._step_to_step = Histogram(
            "backstay_step_to_step_seconds",
            "From the news that a step has ended to the creation of the next Job: what the operator adds to a workflow.",
            buckets=_STEP,
            registry=self.registry,
        )

    def _define_passes(self) -> None:
        self._parts = Histogram(
            "backstay_pass_seconds", "How long the parts of a pass over a run take.", ["part"], buckets=_FAST, registry=self.registry
        )
        self._failed_passes = Counter("backstay_passes_failed", "Passes that ended in an error.", ["error"], registry=self.registry)
        self._depth = Gauge("backstay_queue_depth", "Runs that wait for a pass, by priority.", ["priority"], registry=self.registry)
        self._oldest = Gauge(
            "backstay_queue_oldest_seconds",
            "How long the run that waits longest for a pass has waited, by priority.",
            ["priority"],
            registry=self.registry,
        )
        self._queue_wait = Histogram(
            "backstay_queue_wait_seconds",
            "From the news about a run until a pass over it begins, by priority.",
            ["priority"],
            buckets=_FAST,
            registry=self.registry,
        )
        self._queue_waits = {priority: self._queue_wait.labels(_word(priority)) for priority in IN_LINE}
        self._busy = Gauge("backstay_passes_under_way", "Passes that go on.", registry=self.registry)
        self._longest = Gauge(
            "backstay_pass_longest_seconds", "How long the pass that has gone on for longest has done so.", registry=self.registry
        )
        self._late = Histogram(
            "backstay_loop_late_seconds",
            "How late timers of the event loop are: what everything that the operator does waits for.",
            buckets=_FAST,
            registry=self.registry,
        )
        self._timers = Gauge("backstay_timers", "Runs that are to be woken at a time.", registry=self.registry)
        self._dropped = Counter("backstay_events_dropped", "Kubernetes Events not posted, by cause.", ["cause"], registry=self.registry)

    def _define_requests(self) -> None:
        self._requests = Counter(
            "backstay_api_requests",
            "Requests to the API server; code 0 is no answer.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "backstay_api_request_duration_seconds",
            "How long requests to the API server take; of a watch, until it begins.",
            ["verb", "resource"],
            buckets=_REQUEST,
            registry=self.registry,
        )
        self._skew = Gauge(
            "backstay_clock_skew_seconds", "How far this machine's clock is ahead of the API server's.", registry=self.registry
        )
        self._held_back = Histogram(
            "backstay_api_wait_seconds",
            "How long requests to the API server were held back by our own rate limit, or after a 429; those that were not do not count.",
            ["priority"],
            buckets=_REQUEST,
            registry=self.registry,
        )
        self._held_backs = {priority: self._held_back.labels(_word(priority)) for priority in IN_LINE}
        self._in_line = Gauge(
            "backstay_api_waiting", "Requests to the API server that are held back, by priority.", ["priority"], registry=self.registry
        )
        self._pauses = Counter(
            "backstay_api_pauses", "How often all requests had to pause, since the API server had answered 429.", registry=self.registry
        )
        self._at_once = Gauge(
            "backstay_api_at_once_limit",
            "How many requests may be under way at a time since the API server has answered 429; 0 where there is no such limit.",
            registry=self.registry,
        )
        self._known_requests: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def _define_informers(self) -> None:
        self._pictures: dict[str, list[Picture]] = {}
        self._objects = Gauge("backstay_informer_objects", "Objects that are kept in memory.", ["resource"], registry=self.registry)
        self._silence = Gauge(
            "backstay_informer_silence_seconds", "How long ago the API server last said anything.", ["resource"], registry=self.registry
        )
        self._lists = Gauge(
            "backstay_informer_lists",
            "Lists since the start: one an informer, and one more for every gap.",
            ["resource"],
            registry=self.registry,
        )
        self._lag = Histogram(
            "backstay_informer_lag_seconds",
            "How long after a write of our own the watch has told of it.",
            ["resource"],
            buckets=_FAST,
            registry=self.registry,
        )
        self._failures = Gauge("backstay_informer_failures", "Lists and watches that failed.", ["resource"], registry=self.registry)

    def _define_slots(self) -> None:
        self._held = Gauge("backstay_slots_held", "Slots that are held, by what limits them.", ["limit"], registry=self.registry)
        self._waiting = Gauge(
            "backstay_slots_waiting", "Runs and steps that wait for a slot, by what limits them.", ["limit"], registry=self.registry
        )
        self._waited = Histogram(
            "backstay_slot_wait_seconds",
            "How long those who got a slot have waited for it, by what limits them.",
            ["limit"],
            buckets=_WAIT,
            registry=self.registry,
        )

    def _define_circuits(self) -> None:
        self._circuits: set[tuple[str, str]] = set()
        self._circuit_state = Gauge(
            "backstay_circuit_state",
            "Where a circuit breaker stands: 0 closed, 1 half open, 2 open.",
            ["namespace", "circuit"],
            registry=self.registry,
        )
        self._circuit_transitions = Counter(
            "backstay_circuit_transitions",
            "How often a circuit breaker has changed its state, by the new one.",
            ["namespace", "circuit", "to"],
            registry=self.registry,
        )

    # ----------------------------------------------------------------------------------------------------------- runs

    def run_changed(self, workflow: str, old: str | None, new: str | None) -> None:
        """Count a run in phase `new` that was in phase `old`; None where it was not known before, or has ended or gone."""
        name = self._workflow(workflow)
        if old == new:
            return
        if old is not None:
            self._runs.labels(name, old).dec()
        if new is not None:
            self._runs.labels(name, new).inc()

    def run_finished(self, workflow: str, phase: str, seconds: float) -> None:
        """Count a run that ended in `phase` after `seconds`."""
        self._finished.labels(self._workflow(workflow), phase).inc()
        self._run_seconds.labels(phase).observe(seconds)

    def compensation_abandoned(self, workflow: str) -> None:
        """Count a run whose compensation was given up."""
        self._abandoned.labels(self._workflow(workflow)).inc()

    def run_vanished(self, workflow: str) -> None:
        """Count a run that went before it had ended, and left something behind."""
        self._vanished.labels(self._workflow(workflow)).inc()

    def step_finished(self, kind: str, phase: str) -> None:
        """Count a step that ended."""
        self._steps.labels(kind, phase).inc()

    def step_to_step(self, seconds: float) -> None:
        """Count how long after the news that a step has ended the next Job was created."""
        self._step_to_step.observe(seconds)

    def _workflow(self, workflow: str) -> str:
        """The first 50 workflows have a name of their own for as long as the process lives: what was counted up can be counted down."""
        if workflow not in self._workflows:
            if len(self._workflows) >= MAX_WORKFLOWS:
                return OTHER
            self._workflows.add(workflow)
        return workflow

    # --------------------------------------------------------------------------------------------------------- passes

    @contextmanager
    def timed(self, part: Part) -> Iterator[None]:
        """Count how long a part of a pass takes."""
        started = perf_counter()
        try:
            yield
        finally:
            self._parts.labels(part).observe(perf_counter() - started)

    def part_took(self, part: Part, seconds: float) -> None:
        """Count how long a part of a pass took; cheaper than `timed`."""
        self._parts.labels(part).observe(seconds)

    def pass_failed(self, error: BaseException) -> None:
        """Count a pass that ended in an error, by the error's class."""
        self._failed_passes.labels(type(error).__name__).inc()

    def event_dropped(self, cause: str) -> None:
        """Count a Kubernetes Event that was not posted."""
        self._dropped.labels(cause).inc()

    def watch_queue(self, queue: Line) -> None:
        """Ask the queue whenever metrics are read."""
        for priority in IN_LINE:
            self._depth.labels(_word(priority)).set_function(partial(queue.depth, priority))
            self._oldest.labels(_word(priority)).set_function(partial(queue.oldest_seconds, priority))
        self._timers.set_function(queue.timers)
        self._busy.set_function(queue.busy)
        self._longest.set_function(queue.longest_look_seconds)

    def queue_waited(self, priority: Priority, seconds: float) -> None:
        """Count how long a run was ready before a worker took it."""
        self._queue_waits[priority].observe(seconds)

    def loop_late(self, seconds: float) -> None:
        """Count how late the event loop was."""
        self._late.observe(seconds)

    # --------------------------------------------------------------------------------------------------------- shards

    def _define_shards(self) -> None:
        self._leader = Gauge(
            "backstay_leader",
            "1 on the process that holds the Lease of the first shard: the one that works, where there is a single shard.",
            registry=self.registry,
        )
        self._shards_held = Gauge("backstay_shards_held", "Shards that this process holds the Lease of.", registry=self.registry)

    def watch_shards(self, is_first: Callable[[], bool], held: Callable[[], int]) -> None:
        """Ask what this process works on whenever metrics are read."""
        self._leader.set_function(lambda: float(is_first()))
        self._shards_held.set_function(lambda: float(held()))

    # --------------------------------------------------------------------------------------------------- dead letters

    def _define_letters(self) -> None:
        self._letters = Gauge("backstay_dead_letters", "DeadLetters that are there, by phase.", ["phase"], registry=self.registry)
        self._letters_written = Counter(
            "backstay_dead_letters_written", "DeadLetters that were written, by workflow.", ["workflow"], registry=self.registry
        )
        self._letters_settled = Counter(
            "backstay_dead_letters_settled",
            "DeadLetters that were replayed or discarded, by workflow.",
            ["workflow", "phase"],
            registry=self.registry,
        )

    def watch_letters(self, phase: str, count: Callable[[], int]) -> None:
        """Ask how many DeadLetters are in a phase whenever metrics are read."""
        self._letters.labels(phase).set_function(count)

    def dead_letter_written(self, workflow: str) -> None:
        """Count a DeadLetter that was written."""
        self._letters_written.labels(self._workflow(workflow)).inc()

    def dead_letter_settled(self, workflow: str, phase: str) -> None:
        """Count a DeadLetter that was replayed or discarded."""
        self._letters_settled.labels(self._workflow(workflow), phase).inc()

    # ---------------------------------------------------------------------------------------------------------- slots

    def slot_granted(self, limit: Limit, seconds: float) -> None:
        """Count how long somebody has waited for a slot."""
        self._waited.labels(limit).observe(max(0.0, seconds))

    def watch_slots(self, limit: Limit, counts: Callable[[], tuple[int, int]]) -> None:
        """Ask how many slots are held and how many wait whenever metrics are read."""
        self._held.labels(limit).set_function(lambda: counts()[0])
        self._waiting.labels(limit).set_function(lambda: counts()[1])

    # ------------------------------------------------------------------------------------------------------- circuits

    def circuit_state(self, namespace: str, name: str, state: str) -> None:
        """Note where a circuit breaker stands. The first 200 have a series of their own; of others only changes are counted, together."""
        if self._has_series(namespace, name):
            self._circuit_state.labels(namespace, name).set(_CIRCUIT_STATES[state])

    def circuit_turned(self, namespace: str, name: str, to: str) -> None:
        """Count that a circuit breaker has changed its state."""
        self.circuit_state(namespace, name, to)
        where = (namespace, name) if self._has_series(namespace, name) else (OTHER, OTHER)
        self._circuit_transitions.labels(*where, to).inc()

    def circuit_gone(self, namespace: str, name: str) -> None:
        """A circuit breaker was deleted."""
        if (namespace, name) in self._circuits:
            self._circuits.discard((namespace, name))
            self._circuit_state.remove(namespace, name)

    def _has_series(self, namespace: str, name: str) -> bool:
        if len(self._circuits) < MAX_CIRCUITS:
            self._circuits.add((namespace, name))
        return (namespace, name) in self._circuits

    # ------------------------------------------------------------------------------------------------------ API server

    def api_call(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """Count a request: the hook of `kube.client.Client.calls`."""
        key = (verb, resource, status)
        if (known := self._known_requests.get(key)) is None:
            known = self._requests.labels(verb, resource, str(status)), self._request_seconds.labels(verb, resource)
            self._known_requests[key] = known
        known[0].inc()
        known[1].observe(seconds)

    def request_waited(self, priority: Priority, seconds: float) -> None:
        """Count how long a request was held back: the hook of `kube.limiter.Limiter`."""
        self._held_backs[priority].observe(seconds)

    def requests_paused(self) -> None:
        """Count that all requests had to pause: the other hook of `kube.limiter.Limiter`."""
        self._pauses.inc()

    def watch_limiter(self, limiter: Limiter) -> None:
        """Ask what holds requests back whenever metrics are read."""
        for priority in IN_LINE:
            self._in_line.labels(_word(priority)).set_function(partial(limiter.waiting, priority))
        self._at_once.set_function(limiter.at_once)

    def watch_clock(self, skew_seconds: Callable[[], float | None]) -> None:
        """Ask how far the clocks are apart whenever metrics are read."""
        self._skew.set_function(lambda: skew_seconds() or 0.0)

    def watch_informer(self, resource: str, picture: Picture) -> None:
        """Ask an informer whenever metrics are read. Several of one resource, a namespace each, are added up; the longest silence counts."""
        pictures = self._pictures.setdefault(resource, [])
        pictures.append(picture)
        picture.lagged = self._lag.labels(resource).observe
        self._objects.labels(resource).set_function(lambda: sum(map(len, pictures)))
        self._silence.labels(resource).set_function(lambda: max(one.silence_seconds for one in pictures))
        self._lists.labels(resource).set_function(lambda: sum(one.lists for one in pictures))
        self._failures.labels(resource).set_function(lambda: sum(one.failures for one in pictures))


def _word(priority: Priority) -> str:
    """Return a priority as labels have it."""
    return priority.name.lower()
