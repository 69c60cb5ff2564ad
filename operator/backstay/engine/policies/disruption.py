"""How often an attempt may be disrupted by the infrastructure, and how long to wait before it runs again (docs/decisions/0010)."""

from datetime import timedelta
from typing import Final

MAX_DISRUPTIONS: Final = 20
"""An attempt that is disrupted more often fails with what disrupted it last: something evicts it again and again, and a person must know."""
FIRST_DELAY: Final = timedelta(seconds=1)
LONGEST_DELAY: Final = timedelta(minutes=1)


def delay_after(disruptions: int) -> timedelta:
    """Return how long to wait after a disruption, the first being 1: twice as long each time."""
    return min(LONGEST_DELAY, FIRST_DELAY * (1 << min(disruptions - 1, 16)))


def words_of(disruptions: int) -> str:
    """Return a count in words."""
    return f"{disruptions} disruption{'s' if disruptions > 1 else ''}"
