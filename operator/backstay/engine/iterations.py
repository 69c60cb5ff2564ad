"""What structures that run their steps again and again share: how far they are, and which iterations are remembered.

The record of such a structure holds totals and the iterations that go on. An iteration that has ended is forgotten after a while (a journal
entry whose fold drops the records of its steps), so that the size of the state depends on what goes on and not on what has been; unless it
holds something that may have to be undone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from backstay.engine.lifecycle import lists
from backstay.engine.model import Fault, Json, StepRecord
from backstay.engine.node import Node
from backstay.engine.paths import iteration
from backstay.engine.turn import Turn

KEPT: Final = 10
"""Ended iterations whose steps are still shown."""
MORE_TO_STOP: Final = "IterationStopping"
"""Kind of the entry that says which iteration is no longer wanted."""
MOST_FAILURES: Final = 10
"""Failed iterations that are named in the record."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a structure is.

    `active` are the iterations that go on, `stopping` those of them that are no longer wanted, `undoing` those of these in which what was
    completed is undone first, `kept` those that have ended and are not
    forgotten, oldest first.
    """

    total: int = 0
    next: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    active: tuple[int, ...] = ()
    stopping: tuple[int, ...] = ()
    undoing: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()
    failures: tuple[str, ...] = ()

    @property
    def ended(self) -> int:
        """How many iterations have ended, in whatever way."""
        return self.succeeded + self.failed + self.cancelled

    def words(self) -> str:
        """Return how far it is, for people: `12 of 40 done, 1 failed, 10 going on`."""
        of = f" of {self.total:,}" if self.total else ""
        rest = [
            f"{count:,} {what}"
            for count, what in ((self.failed, "failed"), (self.cancelled, "cancelled"), (len(self.active), "going on"))
            if count
        ]
        return ", ".join([f"{self.succeeded:,}{of} done", *rest])

    def started(self, count: int) -> "Progress":
        """Return the progress after so many more iterations have begun."""
        return replace(self, next=self.next + count, active=(*self.active, *range(self.next, self.next + count)))

    def with_more(self, count: int) -> "Progress":
        """Return the progress after so many items were added."""
        return replace(self, total=self.total + count)

    def to_stop(self, index: int, *, undo: bool = False) -> "Progress":
        """Return the progress after an iteration is no longer wanted; `undo` what was completed in it before."""
        return replace(self, stopping=(*self.stopping, index), undoing=(*self.undoing, index) if undo else self.undoing)

    def settled(self, index: int, fault: Fault | None, *, cancelled: bool = False, holds: bool = False) -> "Progress":
        """Return the progress after an iteration has ended: well, with a fault, or because it was cancelled.

        One that `holds` something that may have to be undone is never forgotten, and so is not among those that are kept for a while.
        """
        left = tuple(other for other in self.active if other != index)
        stopping = tuple(other for other in self.stopping if other != index)
        undoing = tuple(other for other in self.undoing if other != index)
        kept = self.kept if holds else (*self.kept, index)
        after = replace(self, active=left, stopping=stopping, undoing=undoing, kept=kept)
        if cancelled:
            return replace(after, cancelled=self.cancelled + 1)
        if fault is None:
            return replace(after, succeeded=self.succeeded + 1)
        words = f"[{index}] {fault.type}: {fault.detail or fault.title}"[:200]
        return replace(after, failed=self.failed + 1, failures=(*self.failures, words)[:MOST_FAILURES])

    def to_json(self) -> dict[str, Json]:
        """Return it as it stands in the status, without what is zero or empty."""
        found: dict[str, Json] = {field.name: getattr(self, field.name) for field in fields(self)}
        found |= {
            "active": ranges(self.active),
            "stopping": ranges(self.stopping),
            "undoing": ranges(self.undoing),
            "kept": ranges(self.kept),
            "failures": list(self.failures),
        }
        return {name: value for name, value in found.items() if value}


def progress_of(record: StepRecord) -> Progress:
    """Read how far a structure is from its record."""
    found: dict[str, Any] = dict(record.iterations or {})
    lists = {name: numbers(found.get(name, "")) for name in ("active", "stopping", "undoing", "kept")}
    return Progress(**{**found, **lists, "failures": tuple(found.get("failures", ()))})


def ranges(indexes: Iterable[int]) -> str:
    """Write indexes, in their order, as people do: `0-9,12`. A thousand that go on take a few bytes."""
    found: list[list[int]] = []
    for index in indexes:
        if found and index == found[-1][1] + 1:
            found[-1][1] = index
        else:
            found.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def numbers(text: str) -> tuple[int, ...]:
    """Read what `ranges` has written."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return tuple(found)


def forget_oldest(turn: Turn, path: str, progress: Progress) -> Progress:
    """Forget the oldest ended iterations beyond those that are kept. Returns the progress without them; the caller writes it."""
    surplus = progress.kept[: max(0, len(progress.kept) - KEPT)]
    for index in surplus:
        turn.forget(iteration(path, index))
    return replace(progress, kept=progress.kept[len(surplus) :])


def stop_iterations(turn: Turn, nodes: Sequence[Node], record: StepRecord) -> bool:
    """Stop every iteration of a structure that goes on. Returns whether none does any more."""
    ended = [lists.stop_list(turn, nodes, iteration(record.path, index)) for index in progress_of(record).active]
    return all(ended)


def too_many(what: str, found: int, most: int, mend: str) -> Fault:
    """Return the fault of a structure that would run too often."""
    return Fault("LimitExceeded", f"Too many {what}", f"{found:,} {what} of at most {most:,}; {mend}")
