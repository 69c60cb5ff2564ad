"""The reference's words: how Jobs go, how a step can end, and what became of a run."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from backstay.api.base import parse_duration

if TYPE_CHECKING:
    from tests.support.reference.lists import Listing

Json = Any
Spec = Mapping[str, Any]
Going = Generator[None, None, Json]


class Fate(NamedTuple):
    """How one attempt's Job goes: when it ends, how (an error type, or outputs), and how long it takes to be gone once it is deleted."""

    takes: timedelta
    error: str = ""
    outputs: Json = None
    lingers: timedelta = timedelta(seconds=1)


Script = Callable[[str, int], Fate]
"""The fate of a Job by its step's path and its attempt."""


class Fault(Exception):
    """A step failed."""

    def __init__(self, type_: str, path: str) -> None:
        super().__init__(type_, path)
        self.type, self.path = type_, path


class Stop(Exception):
    """A step is not wanted any more."""


class Late(Stop):
    """It came to a good end while it was being stopped: that counts."""

    def __init__(self, outputs: Json) -> None:
        super().__init__()
        self.outputs = outputs


class Jump(Exception):
    """The run goes on at a step of a list."""

    def __init__(self, listing: "Listing", name: str) -> None:
        super().__init__(name)
        self.listing, self.name = listing, name


@dataclass
class Account:
    """What became of a run."""

    phase: str = ""
    error: tuple[str, str] | None = None
    """Type, and the path of the step that raised it."""
    vars: dict[str, Json] = field(default_factory=dict)
    outputs: Json = None
    took: timedelta = timedelta(0)
    began: dict[str, timedelta] = field(default_factory=dict)
    """When each step began, counted from the start of the run."""
    ended: dict[str, tuple[str, timedelta]] = field(default_factory=dict)
    """How each step ended, and when."""
    attempts: dict[str, int] = field(default_factory=dict)
    undone: list[str] = field(default_factory=list)
    """The steps that were undone, in that order."""


def length_of(text: str | None) -> timedelta | None:
    return None if text is None else parse_duration(text)
