"""How long to wait before the next try."""

import random
from typing import Final

_RANDOM: Final = random.SystemRandom()


class Backoff:
    """Waiting times in seconds that double from `first` up to `most`.

    Each is drawn from the upper half of its range, so that clients that lost the same server do not come back together.
    """

    def __init__(self, first: float = 0.1, most: float = 10.0) -> None:
        self._first = first
        self._most = most
        self.tries = 0
        """How many times in a row it has been asked since the last reset."""

    def next(self) -> float:
        """Return how long to wait now, and be more patient the next time."""
        longest: float = min(self._most, self._first * 2 ** min(self.tries, 32))
        self.tries += 1
        return _RANDOM.uniform(longest / 2, longest)

    def reset(self) -> None:
        """Begin anew: something has worked."""
        self.tries = 0


def jittered(seconds: float) -> float:
    """Return `seconds` with up to a quarter more: never less, for it may be what a server asked for."""
    return seconds * _RANDOM.uniform(1.0, 1.25)
