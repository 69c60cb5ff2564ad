"""A desk: what one operator knows of one Semaphore besides what stands in it. Who wants a slot, who has left, who was told what. No I/O."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from backstay.api.base import format_duration
from backstay.engine.model import LockFact
from backstay.engine.paths import is_within
from backstay.engine.policies.lock import is_far
from backstay.engine.policies.queueing import Claim, Lines, Slots, Starts, next_in_turn
from backstay.executors.semaphore import SeenSemaphore
from backstay.names import ANNOTATION_DETACHED, ANNOTATION_PATH, LABEL_PARENT
from backstay.runtime.queue import Key
from backstay.runtime.store import RunStore
from backstay.runtime.view import Object

SHOWN_HOLDERS: Final = 3
MOST_CALLERS: Final = 64

Family = tuple[tuple[str, str], ...]
"""UID and path of each step that waits for a run to end, or for one that does: a slot of theirs is a slot of its own."""


@dataclass(slots=True)
class Want:
    """One who wants a slot, or has one. `told` is what its run was told."""

    claim: Claim
    run: Key | None
    """The run to wake; None for one that was only read from the Semaphore, and that its run has not asked for here yet."""
    has_begun: bool = False
    family: Family = ()
    told: LockFact | None = None


@dataclass(slots=True)
class Desk:
    """Times are those of the loop's clock, in seconds; `now` is the wall clock where a datetime is meant."""

    slots: Slots
    """What one of ours is to allow; somebody else's Semaphore says so itself."""
    wanted: dict[str, Want] = field(default_factory=dict)
    lines: Lines = field(default_factory=Lines)
    """Those of them who hold nothing."""
    leaving: set[str] = field(default_factory=set)
    strangers: dict[str, float] = field(default_factory=dict)
    """Holders nobody here has asked for, and when to read their runs."""
    new: list[str] = field(default_factory=list)
    """Those who have not been told their place."""
    line_changed: bool = False
    line_written_at: float = float("-inf")
    told_at: float = float("-inf")
    used_at: float = 0.0

    def is_known(self, id_: str) -> bool:
        """Tell whether somebody has asked here, and is not only read from the Semaphore."""
        want = self.wanted.get(id_)
        return want is not None and want.run is not None

    def take_in(self, found: SeenSemaphore) -> None:
        """Take in those who stand in line in the Semaphore, and have not asked here: an operator before this one has written them, or one beside
        it. They stand here for as long as they do there."""
        standing = {claim.id for claim in found.waiting} | found.holders.keys()
        for id_ in [id_ for id_, want in self.wanted.items() if want.run is None and id_ not in standing]:
            del self.wanted[id_]
            self.lines.remove(id_)
        for claim in found.waiting:
            if claim.id not in self.wanted and claim.id not in self.leaving and claim.id not in found.holders:
                self.wanted[claim.id] = Want(claim, None)
                self.lines.add(claim)

    def due_strangers(
        self, found: SeenSemaphore, now: float, patience: float, owns: Callable[[Claim], bool] = lambda _: True
    ) -> list[Claim]:
        """Return the holders that nobody here has asked for, and whose runs are to be read now. Those of another process are no strangers."""
        for id_ in [id_ for id_ in self.strangers if id_ not in found.holders or self.is_known(id_)]:
            del self.strangers[id_]
        unknown = [claim for id_, claim in found.holders.items() if not self.is_known(id_) and id_ not in self.leaving and owns(claim)]
        return [claim for claim in unknown if self.strangers.setdefault(claim.id, now + patience) <= now]

    def forget(self, id_: str) -> None:
        """Somebody wants nothing any more: a slot is taken off with the next write."""
        self.wanted.pop(id_, None)
        self.strangers.pop(id_, None)
        self.line_changed = self.line_changed or id_ in self.lines
        self.lines.remove(id_)
        self.leaving.add(id_)

    def disown(self, id_: str) -> None:
        """Another process speaks for somebody from now on: what stands in the Semaphore is all that is known here."""
        self.wanted.pop(id_, None)
        self.strangers.pop(id_, None)
        self.lines.remove(id_)

    def line_up(self, found: SeenSemaphore, now: datetime) -> tuple[dict[str, Claim], list[str]]:
        """Return who holds a slot before anybody new gets one, and who of them stood in line here: another operator gave them theirs, or the
        answer to our own write was lost. Everybody else who wants a slot stands in line: nobody falls between."""
        holders = {id_: claim for id_, claim in found.holders.items() if id_ not in self.leaving}
        news = [id_ for id_ in holders if id_ in self.lines]
        for id_ in news:
            self.lines.remove(id_)
        for id_, want in self.wanted.items():
            if id_ in holders:
                continue
            if want.has_begun:
                holders[id_] = replace(want.claim, since=now)
                self.lines.remove(id_)
            elif id_ not in self.lines:
                self.lines.add(want.claim)
        return holders, news

    def next(
        self, found: SeenSemaphore, holders: Mapping[str, Claim], starts: list[Starts], now: datetime
    ) -> tuple[list[Claim], datetime | None]:
        """Return who gets a slot now, guests of their callers first, and when a rate lets the next one have one."""
        held = Counter(claim.key for claim in holders.values())
        guests = [want.claim for id_, want in self.wanted.items() if want.family and id_ in self.lines and _is_guest(want, holders)]
        granted, due = next_in_turn(found.slots, held, self.lines, starts, now)
        return list({claim.id: claim for claim in (*guests, *granted)}.values()), due

    def tell(self, found: SeenSemaphore, now: float, pause: float) -> Iterator[Key]:
        """Work out the places: of those who have just come at once, of all others seldom. Yield the runs for which it is news."""
        fresh, self.new = [id_ for id_ in self.new if id_ in self.lines], []
        if now - self.told_at >= pause:
            self.told_at = now
            fresh = [claim.id for claim in self.lines]
        words = _Words(found)
        for id_ in fresh:
            want = self.wanted[id_]
            place, waiting = self.lines.place(id_)
            if want.told is None or is_far(want.told.place, place):
                holders, why = words.of(want.claim.key)
                want.told = LockFact(has_begun=want.has_begun, place=place, waiting=waiting, holders=holders, why=why)
                if want.run is not None:
                    yield want.run


class _Words:
    """What is told of the holders of a key, worked out once for all who wait for it."""

    def __init__(self, found: SeenSemaphore) -> None:
        self._found = found
        self._known: dict[str, tuple[tuple[str, ...], str]] = {}

    def of(self, key: str) -> tuple[tuple[str, ...], str]:
        """Return who holds the slots of a key, and what else keeps its line waiting."""
        if key not in self._known:
            holders = [claim for claim in self._found.holders.values() if claim.key == key]
            slots = self._found.slots
            is_full = slots.limit is not None and len(holders) >= slots.limit
            shown = tuple(map(_holder_words, holders[:SHOWN_HOLDERS]))
            if len(holders) > SHOWN_HOLDERS:
                shown = (*shown, f"{len(holders) - SHOWN_HOLDERS} more")
            self._known[key] = (shown if is_full else ()), _why(slots, is_full=is_full)
        return self._known[key]


def _why(slots: Slots, *, is_full: bool) -> str:
    if slots.limit == 0:
        return "its limit is 0"
    if not is_full and slots.rate is not None:
        return f"{slots.rate.limit} may begin in {format_duration(slots.rate.per)}"
    return ""


def _holder_words(claim: Claim) -> str:
    return f"run {claim.run}" + (f" (step {claim.path})" if claim.path else "")


def _is_guest(want: Want, holders: Mapping[str, Claim]) -> bool:
    """Tell whether a step that waits for this run holds a slot of its key: to wait for that one would be to wait for ever."""
    return any(
        holder.uid == uid and holder.key == want.claim.key and (not holder.path or is_within(path, holder.path))
        for uid, path in want.family
        for holder in holders.values()
    )


def family_of(run: Object, store: RunStore) -> Family:
    """Return the family of a run. One that nobody waits for has none."""
    found: list[tuple[str, str]] = []
    for _ in range(MOST_CALLERS):
        meta: Mapping[str, Any] = run["metadata"]
        parent = (meta.get("labels") or {}).get(LABEL_PARENT)
        notes = meta.get("annotations") or {}
        if not parent or notes.get(ANNOTATION_DETACHED):
            break
        found.append((parent, notes.get(ANNOTATION_PATH, "")))
        key = store.key_of_uid(parent)
        known = store.get(key) if key is not None else None
        if known is None:
            break
        run = known.run
    return tuple(found)
