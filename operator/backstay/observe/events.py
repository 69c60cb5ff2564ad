"""Kubernetes Events about runs, for `kubectl describe` and `kubectl events`: best effort, never in the way.

    announce → said before? then only counted → queue, bounded → one worker, rate limited → POST, or PATCH of the series

What is said for the first time is posted at once. Repeats within the window raise the count of a series, which is written at most every
half minute (events.k8s.io/v1, KEP-383). What does not fit is dropped and counted: an Event is a courtesy, the journal is the record.
"""

import asyncio
import heapq
import logging
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol

from backstay import errors, names
from backstay.kube.client import Client
from backstay.kube.limiter import Priority, at
from backstay.kube.manifests import RunRef
from backstay.kube.resources import EVENTS

log = logging.getLogger(__name__)

EventType = Literal["Normal", "Warning"]
Key = tuple[str, str, str, str]

CONTROLLER: Final = f"{names.GROUP}/operator"
NOTE_LIMIT_BYTES: Final = 1024
_NAME_ROOM: Final = 220
_DEFAULT: Final = "default"
_KNOWN: Final = 4096
_TRIES: Final = 3


class Named(Protocol):
    """An object that something is said of."""

    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is said: `room` bounds the queue, `a_second` and `burst` the requests. What is repeated within `window_seconds` is one
    series, which is written at most every `pause_seconds`."""

    room: int = 1000
    a_second: float = 10.0
    burst: int = 50
    window_seconds: float = 600.0
    pause_seconds: float = 30.0


@dataclass(slots=True, order=True)
class _Series:
    """One thing that is said of a run, and how often. `written` is the count that the server knows; ordered by when it is due."""

    due: float
    number: int
    run: RunRef = field(compare=False)
    type_: EventType = field(compare=False)
    reason: str = field(compare=False)
    message: str = field(compare=False)
    name: str = field(compare=False)
    first_at: datetime = field(compare=False)
    last_at: datetime = field(compare=False)
    said: float = field(compare=False)
    count: int = field(compare=False, default=1)
    written: int = field(compare=False, default=0)
    tries: int = field(compare=False, default=0)
    queued: bool = field(compare=False, default=False)
    about_namespace: bool = field(compare=False, default=False)
    kind: str = field(compare=False, default=names.RUN)
    """Of what it is said: a run, unless it is of another kind of ours."""

    @property
    def namespace(self) -> str:
        """Where its Event is."""
        return _DEFAULT if self.about_namespace else self.run.namespace


class Announcer:
    """Posts Events. Call `announce` from anywhere in the loop, `run` as a task, and `flush` before the end."""

    def __init__(
        self,
        client: Client,
        *,
        instance: str = "",
        limits: Limits | None = None,
        dropped: Callable[[str], None] | None = None,
        clock: Callable[[], float] = lambda: time.monotonic(),  # looked up when called: a test may turn it
        now: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
    ) -> None:
        """`instance` names this process (the host's name by default); `dropped` is told the cause of each loss, for metrics."""
        self._client = client
        self._instance = (instance or socket.gethostname())[:128]
        self._limits = limits or Limits()
        self._dropped = dropped or _unheard
        self._clock = clock
        self._now = now
        self._bucket = _Bucket(self._limits.a_second, self._limits.burst, clock)
        self._known: OrderedDict[Key, _Series] = OrderedDict()
        self._queue: list[_Series] = []
        self._wake = asyncio.Event()
        self._number = 0
        self._missed: set[str] = set()

    def announce(self, run: RunRef, type_: EventType, reason: str, message: str, subject: str = "") -> None:
        """Say something about a run. Returns at once; whether it is ever posted depends on the server and on how much is said.

        What is said again of the same `subject` is only counted, in whatever words; where there is none, of the same words.
        """
        self._say(run, type_, reason, message, about_namespace=False, subject=subject)

    def announce_for_namespace(self, run: RunRef, type_: EventType, reason: str, message: str) -> None:
        """Say something about a run whose namespace is being deleted and takes no Events: it is said of the namespace itself.

        Namespaces belong to no namespace, and Events about such things are in `default`, where Kubernetes puts its own about nodes.
        """
        self._say(run, type_, reason, message, about_namespace=True)

    def announce_about(self, kind: str, thing: Named, type_: EventType, reason: str, message: str) -> None:
        """Say something about an object of another kind of ours."""
        self._say(RunRef(thing.uid, thing.name, thing.namespace), type_, reason, message, about_namespace=False, kind=kind)

    def _say(
        self, run: RunRef, type_: EventType, reason: str, message: str, *, about_namespace: bool, kind: str = names.RUN, subject: str = ""
    ) -> None:
        clock, now = self._clock(), self._now()
        key = (run.uid, type_, reason, subject or message)
        series = self._known.get(key)
        if series is None or clock - series.said > self._limits.window_seconds:
            self._number += 1
            name = f"{run.name[:_NAME_ROOM].rstrip('.-')}.{_in_order(now, self._number)}"
            series = _Series(clock, self._number, run, type_, reason, message, name, first_at=now, last_at=now, said=clock)
            series.about_namespace, series.kind = about_namespace, kind
            self._known[key] = series
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        else:
            series.count, series.last_at, series.said = series.count + 1, now, clock
            self._known.move_to_end(key)
        self._enqueue(series)

    async def run(self) -> None:
        """Post what is announced until cancelled."""
        with at(Priority.BACKGROUND):
            while True:
                series = await self._next()
                await self._bucket.take()
                await self._write(series)

    async def flush(self, limit_seconds: float = 2.0) -> None:
        """Post what is still to be posted, as far as the time allows. Not while `run` runs."""
        try:
            async with asyncio.timeout(limit_seconds):
                while self._queue:
                    await self._write(self._pop())
        except TimeoutError:
            log.debug("%d events were not posted in time", len(self._queue))
        for _ in self._queue:
            self._dropped("shutdown")
        self._queue.clear()

    # ---------------------------------------------------------------------------------------------------------- queue

    def _enqueue(self, series: _Series) -> None:
        if series.queued:
            return
        if len(self._queue) >= self._limits.room:
            self._dropped("full")
            return
        series.queued = True
        heapq.heappush(self._queue, series)
        self._wake.set()

    def _pop(self) -> _Series:
        series = heapq.heappop(self._queue)
        series.queued = False
        return series

    async def _next(self) -> _Series:
        while True:
            wait = self._queue[0].due - self._clock() if self._queue else None
            if wait is not None and wait <= 0:
                return self._pop()
            self._wake.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                continue

    # ---------------------------------------------------------------------------------------------------------- write

    async def _write(self, series: _Series) -> None:
        if series.written >= series.count:
            return
        count = series.count
        series.due = self._clock() + self._limits.pause_seconds  # now, while it is not in the heap: it may be said again meanwhile
        try:
            await self._send(series)
        except (errors.Unavailable, errors.TooManyRequests) as error:
            self._try_again(series, error)
        except errors.ApiError as error:
            # A terminating namespace, a missing right, a run that is gone: nobody will read it.
            self._miss_right(series, error)
            log.debug("the event %s of %s/%s is not posted: %s", series.reason, series.run.namespace, series.run.name, error)
            self._dropped("refused")
            series.written = count
        else:
            series.written, series.tries = count, 0

    def _miss_right(self, series: _Series, error: errors.ApiError) -> None:
        """Say once in the log that Events are lost for lack of a right: they cannot say so themselves."""
        right = errors.missing_right(error.message)
        if right and right not in self._missed and not series.about_namespace:
            self._missed.add(right)
            log.warning("Events about runs are lost: %s", error)

    async def _send(self, series: _Series) -> None:
        namespace = series.namespace
        if series.written:
            try:
                await self._client.patch(EVENTS, namespace, series.name, {"series": _series(series)})
                return
            except errors.NotFound:
                log.debug("the event %s has expired and is posted anew", series.name)
        try:
            await self._client.create(EVENTS, namespace, self._manifest(series))
        except errors.AlreadyExists:
            return  # the request before this one had arrived after all

    def _try_again(self, series: _Series, error: errors.ApiError) -> None:
        series.tries += 1
        if series.tries >= _TRIES:
            self._dropped("unavailable")
            series.written, series.tries = series.count, 0
            return
        if not series.queued:
            series.due = self._clock() + (error.retry_after_seconds or 1.0)
            self._enqueue(series)

    def _manifest(self, series: _Series) -> dict[str, Any]:
        manifest: dict[str, Any] = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": series.name, "namespace": series.namespace},
            "eventTime": _micro_time(series.first_at),
            "type": series.type_,
            "reason": series.reason[:128],
            "note": _note(series.message),
            "action": "Reconcile",
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "regarding": _regarding(series),
        }
        if series.count > 1:
            manifest["series"] = _series(series)
        return manifest


def _regarding(series: _Series) -> dict[str, Any]:
    run = series.run
    if series.about_namespace:
        return {"apiVersion": "v1", "kind": "Namespace", "name": run.namespace}
    return {"apiVersion": names.API_VERSION, "kind": series.kind, "name": run.name, "namespace": run.namespace, "uid": run.uid}


def _in_order(now: datetime, number: int) -> str:
    """Return what an Event's name ends in: `kubectl describe` shows Events without a lastTimestamp, as these are, in the order of their names."""
    micros = int(now.timestamp() * 1_000_000)
    return f"{micros:014x}{number & 0xFFFF:04x}{secrets.token_hex(2)}"


class _Bucket:
    """A token bucket: `burst` at once, then `a_second` of them."""

    def __init__(self, a_second: float, burst: int, clock: Callable[[], float]) -> None:
        self._a_second = a_second
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._at = clock()

    async def take(self) -> None:
        """Take a token; wait for one where none is left."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._a_second) - 1
        self._at = now
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self._a_second)


def _series(series: _Series) -> dict[str, Any]:
    return {"count": series.count, "lastObservedTime": _micro_time(series.last_at)}


def _micro_time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _note(message: str) -> str:
    """Cut a message to what the API server takes: 1,024 bytes."""
    encoded = message.encode()
    if len(encoded) <= NOTE_LIMIT_BYTES:
        return message
    return encoded[: NOTE_LIMIT_BYTES - 4].decode(errors="ignore") + " …"


def _unheard(cause: str) -> None:
    """Where nobody counts what is dropped."""
