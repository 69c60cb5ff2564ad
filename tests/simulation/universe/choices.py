"""Choices read off bytes: each takes one, and where there are none left it is the first option. Fewer and smaller bytes make a simpler universe."""

import random
from collections.abc import Sequence
from typing import Any, Final, TypeVar

T = TypeVar("T")
MOST: Final = 240


class Choices:
    """Bytes, used up from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.notes: dict[str, Any] = {}
        """What those who choose must remember."""

    def byte(self) -> int:
        """Take one byte; 0 where there is none left."""
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def number(self, most: int) -> int:
        """A number from 0 on, below `most`."""
        return (self.byte() if most <= 256 else self.byte() + 256 * self.byte()) % most

    def pick(self, options: Sequence[T]) -> T:
        """One of several, the first where nothing is left."""
        return options[self.byte() % len(options)]

    def often(self, share: int) -> bool:
        """True in so many of 256 cases, never where nothing is left."""
        return self.byte() >= 256 - share


def bytes_of(seed: int) -> bytes:
    """Return the choices that a seed stands for."""
    chance = random.Random(seed)
    return chance.randbytes(chance.choice((40, 80, 120, 160, MOST)))
