"""Waiting for something to hold, with a limit."""

import asyncio
from collections.abc import Callable

LIMIT_SECONDS = 5.0


async def until(holds: Callable[[], bool]) -> None:
    """Return once it holds; fail after LIMIT_SECONDS."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LIMIT_SECONDS
    while not holds():
        assert loop.time() < deadline, f"still not after {LIMIT_SECONDS} s"
        await asyncio.sleep(0.01)
