"""Telling that this machine's clock and the API server's disagree. Nothing is decided on that (docs/decisions/0011); people must know."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

TOLERATED_SECONDS: Final = 5.0
EVERY_SECONDS: Final = 10.0


async def watch(skew_seconds: Callable[[], float | None], every_seconds: float = EVERY_SECONDS) -> None:
    """Say it once when the clocks have come apart, and once when they agree again, until cancelled."""
    told = False
    while True:
        skew = skew_seconds() or 0.0
        apart = abs(skew) >= TOLERATED_SECONDS
        if apart and not told:
            log.warning(
                "this machine's clock is %.0f s %s the API server's: the times in statuses and the moments that runs wait for are this machine's; "
                "set both right (NTP)",
                abs(skew),
                "ahead of" if skew > 0 else "behind",
            )
        elif told and not apart:
            log.info("this machine's clock and the API server's agree again")
        told = apart
        await asyncio.sleep(every_seconds)
