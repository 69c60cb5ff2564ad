"""How many calls go on at the same time: in all, and for one namespace, so that a slow server of one tenant holds up no other's calls."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

IN_ALL: Final = 200
OF_A_NAMESPACE: Final = 50
TELL_AFTER_SECONDS: Final = 5.0
"""How long a call waits for room before its step says so: a status write, which short waits are not worth."""


@dataclass(slots=True)
class Room:
    """The places there are. One for all calls of an operator."""

    in_all: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_ALL))
    _namespaces: dict[str, asyncio.Semaphore] = field(default_factory=dict)
    _users: dict[str, int] = field(default_factory=dict)

    @asynccontextmanager
    async def taken(self, namespace: str, waits: Callable[[str | None], None]) -> AsyncIterator[None]:
        """Wait for a place and keep it; `waits` is told where that takes long."""
        own = self._namespaces.setdefault(namespace, asyncio.Semaphore(OF_A_NAMESPACE))
        self._users[namespace] = self._users.get(namespace, 0) + 1
        words = f"Waiting for other HTTP calls to end: {OF_A_NAMESPACE} of a namespace, and {IN_ALL} in all, are made at the same time"
        telling = asyncio.get_running_loop().call_later(TELL_AFTER_SECONDS, waits, words)
        try:
            async with own, self.in_all:
                if not telling.cancelled() and telling.when() <= asyncio.get_running_loop().time():
                    waits(None)
                telling.cancel()
                yield
        finally:
            telling.cancel()
            self._leave(namespace)

    def _leave(self, namespace: str) -> None:
        self._users[namespace] -= 1
        if not self._users[namespace]:
            del self._users[namespace], self._namespaces[namespace]
