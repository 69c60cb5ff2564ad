"""How late the event loop is: everything that the operator does waits for it, so its lateness is added to all of that."""

import asyncio
from collections.abc import Callable
from typing import Final

EVERY_SECONDS: Final = 0.5


async def watch(late: Callable[[float], None], every_seconds: float = EVERY_SECONDS) -> None:
    """Tell by how many seconds a timer came late, again and again until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + every_seconds
        await asyncio.sleep(every_seconds)
        late(max(0.0, loop.time() - due))
