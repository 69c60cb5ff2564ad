"""A queue of things to look at, each once however often it was added, worked off in turns of the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

_LOG: Final = logging.getLogger(__name__)
_BATCH: Final = 20
_RETRY_SECONDS: Final = 1.0

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Calls `work` for each item added. An item whose work fails is logged and tried again a second later."""

    def __init__(self, name: str, work: Callable[[Item], None]) -> None:
        self._name = name
        self._work = work
        self._items: dict[Item, None] = {}
        self._filled = asyncio.Event()

    def add(self, item: Item) -> None:
        """Have an item looked at soon."""
        self._items[item] = None
        self._filled.set()

    def add_all(self, items: Iterable[Item]) -> None:
        """Have several items looked at soon."""
        for item in tuple(items):
            self.add(item)

    async def run(self) -> None:
        """Work until cancelled, giving way to requests after every few items."""
        loop = asyncio.get_running_loop()
        while True:
            await self._filled.wait()
            for _ in range(min(_BATCH, len(self._items))):
                item = next(iter(self._items))
                del self._items[item]
                try:
                    self._work(item)
                except Exception:
                    _LOG.exception("%s: %s failed; it is tried again in %s s", self._name, item, _RETRY_SECONDS)
                    loop.call_later(_RETRY_SECONDS, self.add, item)
            if not self._items:
                self._filled.clear()
            await asyncio.sleep(0)
