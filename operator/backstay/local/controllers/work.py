"""What controllers share: a queue of keys with retries."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from backstay import errors
from backstay.local.node.api import Obj

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = (0.05, 30.0)
WORKERS: Final = 16


class WorkQueue:
    """Handles each key by itself, one at a time; a key that comes again meanwhile is handled once more; a failure is tried again later."""

    def __init__(self, name: str, handle: Callable[[str], Awaitable[None]]) -> None:
        self._name, self._handle = name, handle
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._waiting: set[str] = set()
        self._busy: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}

    def add(self, key: str) -> None:
        """Handle the key soon."""
        if key not in self._waiting:
            self._waiting.add(key)
            if key not in self._busy:
                self._ready.put_nowait(key)

    def add_after(self, key: str, seconds: float) -> None:
        """Handle the key in a while; the earlier of two moments counts."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + seconds:
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_later(max(0.0, seconds), self._ring, key)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(WORKERS):
                    group.create_task(self._work())
        finally:
            for timer in self._timers.values():
                timer.cancel()

    def _ring(self, key: str) -> None:
        del self._timers[key]
        self.add(key)

    async def _work(self) -> None:
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            self._busy.add(key)
            try:
                await self._handle(key)
                self._failures.pop(key, None)
            except Exception as fault:
                self._retry(key, fault)
            finally:
                self._busy.discard(key)
                if key in self._waiting:
                    self._ready.put_nowait(key)

    def _retry(self, key: str, fault: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        shortest, longest = RETRY_SECONDS
        pause = min(shortest * 2.0 ** min(failures - 1, 20), longest)
        level = logging.INFO if isinstance(fault, errors.Conflict) else logging.WARNING
        log.log(level, "%s %s: %s; again in %.2f s", self._name, key, str(fault) or type(fault).__name__, pause)
        self.add_after(key, pause)


def controller_of(obj: Obj) -> Obj | None:
    """Return the owner reference of the object's controller."""
    return next((owner for owner in obj["metadata"].get("ownerReferences") or () if owner.get("controller")), None)
