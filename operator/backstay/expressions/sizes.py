"""Values as the estimate of a cost sees them: out of the data as they are, or built by the expression, with a bound on their size."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

from backstay.expressions.format import size_bytes

LARGEST_BYTES: Final = 1_000_000_000


class TooMuchData(Exception):
    """The data is so large that even the estimate would take too long. The message goes on after `EXPRESSION: `."""


class Known:
    """A value out of the data, which is one of several where it is an element of a list."""

    def __init__(self, values: tuple[Any, ...], sizes: dict[int, int]) -> None:
        self.values = values
        self._sizes = sizes
        """Bytes of the lists and maps of the data by identity, each counted once in an estimate."""

    @cached_property
    def size(self) -> int:
        return max(map(self._size_of, self.values), default=0)

    @cached_property
    def count(self) -> int:
        return max((len(value) for value in self.values if isinstance(value, (str, list, tuple, Mapping))), default=0)

    @cached_property
    def item(self) -> "Known":
        """What a loop over it sees: elements of a list, keys of a map."""
        return self.like(item for value in self.values if isinstance(value, (list, tuple, Mapping)) for item in value)

    def field(self, name: str) -> "Known":
        return self.like(value[name] for value in self.values if isinstance(value, Mapping) and name in value)

    @property
    def any_field(self) -> "Known":
        found: list[Any] = []
        for value in self.values:
            found.extend(value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ())
        return self.like(found)

    def like(self, values: Iterable[Any]) -> "Known":
        """Return other values of the same data."""
        return Known(tuple(values), self._sizes)

    def _size_of(self, value: Any) -> int:
        if not isinstance(value, (list, tuple, Mapping)):
            return size_bytes(value)
        if id(value) not in self._sizes:
            self._sizes[id(value)] = size_bytes(value)
        return self._sizes[id(value)]


@dataclass(frozen=True)
class Built:
    """A value that the expression makes: at most so many bytes, and so many elements or characters."""

    size: int = 16
    count: int = 0
    element: "Value | None" = None
    number: float = math.inf
    """Where it is a number: the largest that it may be."""

    @property
    def item(self) -> "Value":
        return self.element or Built(self.size, self.size, number=self.number)

    def field(self, _name: str) -> "Value":
        return self.any_field

    @property
    def any_field(self) -> "Value":
        return self.element or Built(self.size, self.size, number=self.number)


Value: TypeAlias = Known | Built
Scope: TypeAlias = Mapping[str, Value]

SCALAR: Final = Built()
NOTHING: Final = Built(0, 0, number=0)


def either(values: list[Value]) -> Value:
    """Return a bound for a value that is one of these."""
    if not values:
        return NOTHING
    known = [value for value in values if isinstance(value, Known)]
    if len(known) == len(values):
        return max(known, key=lambda value: len(value.values)).like(item for value in known for item in value.values)
    if len(values) == 1:
        return values[0]
    items = [value.item for value in values if value.count]
    element = Built(max(item.size for item in items), max(item.count for item in items)) if items else None
    return Built(max(value.size for value in values), max(value.count for value in values), element)


def bounded(value: Value) -> Value:
    """Refuse what is absurdly large at once: bounds that multiply each other grow beyond what can be calculated with."""
    if isinstance(value, Built) and value.size > LARGEST_BYTES:
        raise TooMuchData(f"it could build a value of more than {LARGEST_BYTES / 1e9:.0f} GB; use smaller values, or work it out in a job")
    return value
