"""The keyed queue: which run is looked at next.

A key that is woken often is looked at once (deduplicated), never by two workers at a time, and namespaces take turns, so that a
burst in one does not starve another. Under load a key waits for a worker, and whatever happens to it meanwhile is one look; when idle
nothing waits. Timers are a heap with at most one live entry a key; a failed look is repeated with backoff.
"""

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

log = logging.getLogger(__name__)

FIRST_BACKOFF_SECONDS: Final = 0.05
LONGEST_BACKOFF_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Key:
    """A run: its namespace and name, and the UID that tells it from another of the same name."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class KeyedQueue:
    """Single-threaded; all methods but `get` return at once. Times are those of the running loop's clock, in seconds."""

    def __init__(self) -> None:
        self._ready: dict[str, deque[Key]] = {}
        self._turns: deque[str] = deque()
        self._queued: dict[Key, float] = {}
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._held: dict[Key, float] = {}
        """Until when a key is not looked at, whatever wakes it."""
        self._count = 0
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """How many keys are ready and wait for a worker."""
        return len(self._queued)

    def oldest_seconds(self) -> float:
        """How long the key that has waited longest has been ready."""
        oldest = next(iter(self._queued.values()), None)
        return 0.0 if oldest is None else asyncio.get_running_loop().time() - oldest

    def timers(self) -> float:
        """How many keys are to be woken at a time."""
        return float(len(self._due))

    def wake(self, key: Key) -> None:
        """Have a run looked at as soon as may be: now, or when it is no longer held."""
        if self._is_held(key):
            return
        if key in self._busy:
            self._again.add(key)
        elif key not in self._queued:
            self._queued[key] = asyncio.get_running_loop().time()
            if key.namespace not in self._ready:
                self._ready[key.namespace] = deque()
                self._turns.append(key.namespace)
            self._ready[key.namespace].append(key)
            self._changed.set()

    def _is_held(self, key: Key) -> bool:
        until = self._held.get(key)
        if until is None:
            return False
        left = until - asyncio.get_running_loop().time()
        if left <= 0:
            del self._held[key]
            return False
        self.wake_in(key, left)
        return True

    def wake_in(self, key: Key, seconds: float) -> None:
        """Have a run looked at after so many seconds at the latest; an earlier time that was asked for stays."""
        due = asyncio.get_running_loop().time() + max(0.0, seconds)
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        self._count += 1
        heapq.heappush(self._timers, (due, self._count, key))
        self._changed.set()

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
            self._held[key] = asyncio.get_running_loop().time() + delay
        return delay

    def forget(self, key: Key) -> None:
        """A run is finished or gone: nothing more is due for it."""
        self._held.pop(key, None)
        self._due.pop(key, None)
        self._failures.pop(key, None)
        self._again.discard(key)

    async def serve(self, handle: Callable[[Key], Awaitable[None]], workers: int) -> None:
        """Hand ready keys to `handle`, at most `workers` at a time and each key to one at a time, until cancelled.

        What `handle` raises is a bug there: it is logged, and the key is tried again with backoff.
        """
        free = asyncio.Semaphore(workers)
        async with asyncio.TaskGroup() as group:
            while True:
                await free.acquire()
                key = await self.get()
                group.create_task(self._work(handle, key, free))

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
        self._busy.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.wake(key)

    def _take(self) -> Key | None:
        while self._turns:
            namespace = self._turns.popleft()
            keys = self._ready[namespace]
            key = keys.popleft()
            if keys:
                self._turns.append(namespace)
            else:
                del self._ready[namespace]
            del self._queued[key]
            self._busy.add(key)
            return key
        return None

    def _move_due(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._timers and self._timers[0][0] <= now:
            due, _, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:
                del self._due[key]
                self.wake(key)

    async def _wait(self) -> None:
        self._changed.clear()
        timeout = self._timers[0][0] - asyncio.get_running_loop().time() if self._timers else None
        try:
            async with asyncio.timeout(timeout):  # not wait_for: before Python 3.12 it can swallow a cancellation
                await self._changed.wait()
        except TimeoutError:
            return
