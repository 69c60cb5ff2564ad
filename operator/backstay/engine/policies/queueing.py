"""Who is next: slots for each key, a line before them, and how fast they are given out. Pure; the same for locks, workflows and installations.

First come, first served; a level of priority is worth a minute of waiting. So the order in a line never changes while time passes, a higher
priority goes first among those who came at about the same time, and whoever waits is overtaken only by those who came within so many minutes
after as their priority is higher: nobody starves.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

LEVEL: Final = timedelta(minutes=1)
"""What a level of priority is worth."""
MOST_HOLDERS: Final = 2000
"""At most so many hold slots of one semaphore, over all keys: its status has to fit into an object of the API server."""
MOST_STARTS: Final = 2000
"""At most so many starts are remembered of one semaphore, over all keys; more wait until the first of them count no longer."""
EXACT: Final = 20
"""A rate of so many at most is kept to the moment. Of a larger one, starts within a twentieth of its time count as one, at its end: a slot is
free again a little late, and never too soon."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` starts within any stretch of time of length `per`."""

    limit: int
    per: timedelta

    def moment(self, now: datetime) -> datetime:
        """Return from when a start now is counted."""
        if self.limit <= EXACT:
            return now
        grain = self.per / EXACT
        since = (now - _EPOCH) % grain
        return now if not since else now + (grain - since)


@dataclass(frozen=True, slots=True)
class Slots:
    """What may be given out for each key. A limit of None: as many as the rate allows."""

    limit: int | None = 1
    rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """One who wants a slot, or holds one: a step of a run, or with an empty path the run itself."""

    run: str
    uid: str
    path: str
    key: str
    since: datetime
    priority: int = 0

    @property
    def id(self) -> str:
        """What tells it from all others."""
        return f"{self.uid}/{self.path}"

    @property
    def turn(self) -> datetime:
        """Its place in the order: the earlier, the sooner."""
        return self.since - self.priority * LEVEL


@dataclass(frozen=True, slots=True)
class Starts:
    """So many starts of a key, counted as at one moment."""

    key: str
    at: datetime
    count: int = 1


_Place = tuple[datetime, int, str]


@dataclass(slots=True)
class Lines:
    """Those who wait, a line for each key. Who comes with the same turn as another stands behind."""

    _lines: dict[str, list[_Place]] = field(default_factory=dict)
    _claims: dict[str, Claim] = field(default_factory=dict)
    _places: dict[str, _Place] = field(default_factory=dict)
    _count: int = 0

    def __len__(self) -> int:
        return len(self._claims)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._claims

    def __iter__(self) -> Iterator[Claim]:
        """All of them, in the order of their turns."""
        return (self._claims[id_] for _, _, id_ in heapq.merge(*self._lines.values()))

    def add(self, claim: Claim) -> None:
        """Take a place in the line of a key; one that waits already keeps the place that it has, unless its turn or key is another."""
        if claim.id in self._claims:
            if self._places[claim.id][0] == claim.turn and self._claims[claim.id].key == claim.key:
                return
            self.remove(claim.id)
        self._count += 1
        place = (claim.turn, self._count, claim.id)
        self._claims[claim.id], self._places[claim.id] = claim, place
        insort(self._lines.setdefault(claim.key, []), place)

    def remove(self, id_: str) -> None:
        """Leave the line."""
        claim = self._claims.pop(id_, None)
        if claim is None:
            return
        place, line = self._places.pop(id_), self._lines[claim.key]
        del line[bisect_left(line, place)]
        if not line:
            del self._lines[claim.key]

    def place(self, id_: str) -> tuple[int, int]:
        """Return the place in its line, from 1, and how many stand in that line; (0, 0) for one who does not wait."""
        claim = self._claims.get(id_)
        if claim is None:
            return 0, 0
        line = self._lines[claim.key]
        return bisect_left(line, self._places[id_]) + 1, len(line)

    def awaited(self) -> tuple[str, ...]:
        """The keys that somebody waits for."""
        return tuple(self._lines)

    def line(self, key: str) -> Iterator[tuple[_Place, Claim]]:
        """Those who wait for a key, in order, each with what the order goes by."""
        return ((place, self._claims[place[2]]) for place in self._lines.get(key, ()))


def counting(starts: Iterable[Starts], rate: Rate | None, now: datetime) -> list[Starts]:
    """Return the starts that still count."""
    return [start for start in starts if rate is not None and start.at + rate.per > now]


def noted(starts: Iterable[Starts], key: str, rate: Rate | None, now: datetime) -> list[Starts]:
    """Return the starts with one more."""
    if rate is None:
        return list(starts)
    at, found, is_noted = rate.moment(now), [], False
    for start in starts:
        if not is_noted and start.key == key and start.at == at:
            start, is_noted = Starts(key, at, start.count + 1), True
        found.append(start)
    return found if is_noted else [*found, Starts(key, at)]


def next_in_turn(
    slots: Slots, held: Mapping[str, int], lines: Lines, starts: Iterable[Starts], now: datetime, most: int = MOST_HOLDERS
) -> tuple[list[Claim], datetime | None]:
    """Return who gets a slot now, in order, and when a rate lets the next one have one, where that is what they wait for.

    `held` counts what is held by key. At most `most` are held over all keys: then those with the earliest turn go first, whatever their key.
    """
    room = _Room(slots, dict(held), list(starts), now)
    waiting = {key: lines.line(key) for key in lines.awaited()}
    heads: list[tuple[_Place, Claim]] = []

    def step_up(key: str) -> None:
        if room.is_free(key) and (head := next(waiting[key], None)) is not None:
            heapq.heappush(heads, head)

    for key in waiting:
        step_up(key)
    found: list[Claim] = []
    left = most - sum(held.values())
    while heads and len(found) < left:
        _, claim = heapq.heappop(heads)
        found.append(claim)
        room.take(claim.key)
        step_up(claim.key)
    return found, room.wake_at


@dataclass(slots=True)
class _Room:
    """What is left to give out."""

    slots: Slots
    held: dict[str, int]
    starts: list[Starts]
    now: datetime
    wake_at: datetime | None = None
    _used: dict[str, int] | None = None

    def is_free(self, key: str) -> bool:
        slots = self.slots
        if slots.limit is not None and self.held.get(key, 0) >= slots.limit:
            return False
        is_full = len(self.starts) >= MOST_STARTS
        if slots.rate is None or (self._began(key) < slots.rate.limit and not is_full):
            return True
        due = min(start.at for start in self.starts if is_full or start.key == key) + slots.rate.per
        self.wake_at = due if self.wake_at is None else min(self.wake_at, due)
        return False

    def take(self, key: str) -> None:
        self.held[key] = self.held.get(key, 0) + 1
        rate = self.slots.rate
        if rate is not None:
            self._began(key)
            assert self._used is not None
            self._used[key] = self._used.get(key, 0) + 1
            self.starts = noted(self.starts, key, rate, self.now)

    def _began(self, key: str) -> int:
        if self._used is None:
            self._used = {}
            for start in self.starts:
                self._used[start.key] = self._used.get(start.key, 0) + start.count
        return self._used.get(key, 0)


_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)


def ordinal(number: int) -> str:
    """Return 1st, 2nd, 3rd, 4th …"""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
