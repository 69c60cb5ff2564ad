"""The keyed queue: which run is looked at next.

A key that is woken often is looked at once (deduplicated), never by two workers at a time. Namespaces take turns, so that a burst in one
does not starve another; within a namespace runs that have begun go before new ones, and both before those whose round it is. Under load a
key waits for a worker, and whatever happens to it meanwhile is one look; when idle nothing waits. Timers are a heap with at most one live
entry a key; a failed look is repeated with backoff.
"""

import asyncio
import heapq
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from backstay.kube.limiter import IN_LINE, TO_THE_OLDEST, Priority

log = logging.getLogger(__name__)

FIRST_BACKOFF_SECONDS: Final = 0.05
LONGEST_BACKOFF_SECONDS: Final = 30.0
_SPARE_TIMERS: Final = 256


class Key(NamedTuple):
    """A run: its namespace and name, and the UID that tells it from another of the same name."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


Taken = Callable[[Priority, float], None]
"""Told of every key that a worker takes: its priority, and how many seconds it was ready before that."""


@dataclass(slots=True)
class _Namespace:
    """The keys of a namespace that are ready, each with when it became so: a line for each priority."""

    lines: dict[Priority, OrderedDict[Key, float]] = field(default_factory=lambda: {priority: OrderedDict() for priority in IN_LINE})
    taken: int = 0

    def first(self) -> Priority:
        """Return whose turn it is: the highest priority there is, and now and then who has waited longest, so that nobody starves."""
        self.taken += 1
        ready = [priority for priority, line in self.lines.items() if line]
        return ready[0] if self.taken % TO_THE_OLDEST else min(ready, key=self.ready_since)

    def ready_since(self, priority: Priority) -> float:
        """Return when the first in a line became ready; far in the future where the line is empty."""
        return next(iter(self.lines[priority].values()), float("inf"))


@dataclass(frozen=True, slots=True)
class _Look:
    """A key that is with a worker."""

    ready_since: float
    taken_at: float


def _all_alike(_: Key) -> Priority:
    return Priority.RUNNING


def _is_ours(_: Key) -> bool:
    return True


class KeyedQueue:
    """Single-threaded; all methods but `get` return at once. Times are those of the running loop's clock, in seconds."""

    def __init__(
        self, priority_of: Callable[[Key], Priority] = _all_alike, taken: Taken | None = None, owns: Callable[[Key], bool] = _is_ours
    ) -> None:
        """`priority_of` is asked whenever a key is woken; by default all keys are alike. One that `owns` says no to is another's to look at."""
        self._owns = owns
        self._priority_of = priority_of
        self._told_taken = taken
        self._ready: dict[str, _Namespace] = {}
        self._turns: deque[str] = deque()
        self._queued: dict[Key, Priority] = {}
        self._busy: dict[Key, _Look] = {}
        self._again: dict[Key, float] = {}
        """Keys that were woken while they are with a worker, and since when."""
        self._timers: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._held: dict[Key, float] = {}
        """Until when a key is not looked at, whatever wakes it."""
        self._count = 0
        self._changed = asyncio.Event()
        self._moved_at: float | None = None
        """When a worker last took a key; None while nobody serves."""

    # ---------------------------------------------------------------------------------------------------- how it stands

    def __len__(self) -> int:
        """How many keys are ready and wait for a worker."""
        return len(self._queued)

    def depth(self, priority: Priority) -> int:
        """How many keys of a priority are ready and wait for a worker."""
        return sum(len(namespace.lines[priority]) for namespace in self._ready.values())

    def oldest_seconds(self, *priorities: Priority) -> float:
        """How long the key that has waited longest has been ready; of these priorities, or of all."""
        since = [namespace.ready_since(priority) for namespace in self._ready.values() for priority in priorities or IN_LINE]
        return max(0.0, _now() - min(since, default=float("inf")))

    def timers(self) -> int:
        """How many keys are to be woken at a time."""
        return len(self._due)

    def busy(self) -> int:
        """How many keys are with a worker."""
        return len(self._busy)

    def longest_look_seconds(self) -> float:
        """How long the look that has gone on for longest has done so."""
        return max(0.0, _now() - min((look.taken_at for look in self._busy.values()), default=float("inf")))

    def stuck_seconds(self) -> float:
        """For how long keys have been ready, and workers there, and none was taken."""
        return 0.0 if self._moved_at is None or not self._queued else min(self.oldest_seconds(), _now() - self._moved_at)

    def ready_since(self, key: Key) -> float | None:
        """Return when the key became ready that is with a worker now: whatever the look finds out was there to be found then."""
        look = self._busy.get(key)
        return None if look is None else look.ready_since

    # ------------------------------------------------------------------------------------------------------------ waking

    def wake(self, key: Key, priority: Priority | None = None) -> None:
        """Have a run looked at as soon as may be: now, or when it is no longer held. In its own priority, unless another is given."""
        if not self._owns(key) or self._is_held(key):
            return
        if key in self._busy:
            self._again.setdefault(key, _now())
        else:
            self._line_up(key, self._priority_of(key) if priority is None else priority, _now())

    def _line_up(self, key: Key, priority: Priority, since: float) -> None:
        before = self._queued.get(key)
        if before is not None and before <= priority:
            return
        namespace = self._ready.get(key.namespace)
        if namespace is None:
            namespace = self._ready[key.namespace] = _Namespace()
            self._turns.append(key.namespace)
        if before is not None:
            del namespace.lines[before][key]
        self._queued[key] = priority
        namespace.lines[priority][key] = since
        self._changed.set()

    def _is_held(self, key: Key) -> bool:
        until = self._held.get(key)
        if until is None:
            return False
        left = until - _now()
        if left <= 0:
            del self._held[key]
            return False
        self.wake_in(key, left)
        return True

    def wake_in(self, key: Key, seconds: float) -> None:
        """Have a run looked at after so many seconds at the latest; an earlier time that was asked for stays."""
        due = _now() + max(0.0, seconds)
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        self._count += 1
        heapq.heappush(self._timers, (due, self._count, key))
        if len(self._timers) > 2 * len(self._due) + _SPARE_TIMERS:
            self._tidy_timers()
        self._changed.set()

    def _tidy_timers(self) -> None:
        """Drop timers that were overtaken or forgotten: a run that ends early leaves one behind for as long as its timeout was."""
        self._timers = [timer for timer in self._timers if self._due.get(timer[2]) == timer[0]]
        heapq.heapify(self._timers)

    def retry(
        self, key: Key, at_least_seconds: float = 0.0, at_most_seconds: float = LONGEST_BACKOFF_SECONDS, *, hold: bool = False
    ) -> float:
        """Have a run looked at again after a failure, each time later than before. Returns the delay in seconds.

        Where both bounds contradict each other, the lower one holds: it may be what the API server asked for. With `hold` the run is not
        looked at sooner, whatever happens to it meanwhile.
        """
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = max(at_least_seconds, min(at_most_seconds, FIRST_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 20)))
        self.wake_in(key, delay)
        if hold:
            self._held[key] = _now() + delay
        return delay

    def forget(self, key: Key) -> None:
        """A run is finished or gone: nothing more is due for it."""
        self._held.pop(key, None)
        self._due.pop(key, None)
        self._failures.pop(key, None)
        self._again.pop(key, None)

    # ----------------------------------------------------------------------------------------------------------- serving

    async def serve(self, handle: Callable[[Key], Awaitable[None]], workers: int) -> None:
        """Hand ready keys to `handle`, at most `workers` at a time and each key to one at a time, until cancelled.

        What `handle` raises is a bug there: it is logged, and the key is tried again with backoff.
        """
        free = asyncio.Semaphore(workers)
        self._moved_at = _now()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await free.acquire()
                    key = await self.get()
                    group.create_task(self._work(handle, key, free))
        finally:
            self._moved_at = None

    async def _work(self, handle: Callable[[Key], Awaitable[None]], key: Key, free: asyncio.Semaphore) -> None:
        try:
            await handle(key)
        except Exception:
            log.exception("looking at %s failed; it will be tried again in %.1f s", key, self.retry(key))
        finally:
            self.done(key)
            free.release()

    async def get(self) -> Key:
        """Take the next key; it is the caller's alone until `done`."""
        while True:
            self._move_due()
            key = self._take()
            if key is not None:
                return key
            await self._wait()

    def succeeded(self, key: Key) -> None:
        """A look went well: the next failure is the first one again."""
        self._failures.pop(key, None)

    def done(self, key: Key) -> None:
        """Give a key back; it is ready again at once if it was woken meanwhile."""
        self._busy.pop(key, None)
        since = self._again.pop(key, None)
        if since is not None and not self._is_held(key):
            self._line_up(key, self._priority_of(key), since)

    def _take(self) -> Key | None:
        if not self._turns:
            return None
        namespace = self._ready[name := self._turns.popleft()]
        priority = namespace.first()
        key, since = namespace.lines[priority].popitem(last=False)
        if any(namespace.lines.values()):
            self._turns.append(name)
        else:
            del self._ready[name]
        del self._queued[key]
        now = _now()
        self._busy[key] = _Look(since, now)
        if self._moved_at is not None:
            self._moved_at = now
        if self._told_taken is not None:
            self._told_taken(priority, now - since)
        return key

    def _move_due(self) -> None:
        now = _now()
        while self._timers and self._timers[0][0] <= now:
            due, _, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:
                del self._due[key]
                self.wake(key)

    async def _wait(self) -> None:
        self._changed.clear()
        timeout = self._timers[0][0] - _now() if self._timers else None
        try:
            async with asyncio.timeout(timeout):  # not wait_for: before Python 3.12 it can swallow a cancellation
                await self._changed.wait()
        except TimeoutError:
            return


def _now() -> float:
    return asyncio.get_running_loop().time()
