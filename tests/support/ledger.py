"""What was really done in a modelled world, in which order: written down by the world itself, never taken from the engine.

A tick is one look of the operator at the world that it acted upon. Work ends in the world at one moment and is seen by the operator at a
later tick, or never.
"""

from collections import defaultdict
from dataclasses import dataclass, field

DONE, FAILED, LOST = "done", "failed", "lost"
"""How work ends: it took effect; it said itself that it did not; nobody knows (it was killed, or it vanished)."""


@dataclass
class Work:
    """One Job or child run. `told` and `output` are what its arguments said of the outcome and the outputs of the step that it undoes."""

    path: str
    attempt: int
    name: str
    made: int
    told: str = ""
    output: str = ""
    gave: str = ""
    """What it put out itself."""
    ended: str = ""
    unwanted: bool = False
    """It was to be stopped before it ended."""
    seen: int | None = None
    """When the operator saw the end."""
    happened: int = 0
    """How much had happened in the world when it ended."""
    among_others: bool = False
    """Whether something else happened before the operator saw the end, so that nobody outside can tell what it saw first."""

    is_forgotten: bool = False
    """It was gone before the operator that knew of it had written so, and that one died: nobody can know that it was ever there."""

    @property
    def may_have_taken_effect(self) -> bool:
        """It did its work, or nobody can know: it was killed, or failed where that may be because it was being killed."""
        return self.ended in (DONE, LOST) or (self.ended == FAILED and (self.unwanted or self.among_others))

    @property
    def is_good(self) -> bool:
        """It was done, and the operator saw it while it was wanted."""
        return self.ended == DONE and not self.unwanted and self.seen is not None

    @property
    def is_sure(self) -> bool:
        """It was good beyond doubt: nothing else can have come before it."""
        return self.is_good and not self.among_others


@dataclass
class Ledger:
    """All work of one run."""

    works: list[Work] = field(default_factory=list)
    by_path: defaultdict[str, list[Work]] = field(default_factory=lambda: defaultdict(list))
    by_name: dict[str, Work] = field(default_factory=dict)
    """The newest work of a name."""

    def begin(self, work: Work) -> Work:
        """Note that work was begun."""
        before = self.by_name.get(work.name)
        assert before is None or before.ended == LOST, f"{work.name} is made twice"
        self.works.append(work)
        self.by_path[work.path].append(work)
        self.by_name[work.name] = work
        return work

    def undoing(self, path: str) -> list[Work]:
        """All work that was done to undo the step at a path."""
        way = f"{path}:compensate"
        return [work for other, works in self.by_path.items() if other == way or other.startswith(f"{way}/") for work in works]

    def __str__(self) -> str:
        return "\n".join(
            f"  {work.made:3} {work.path}#{work.attempt} {work.ended or 'goes on'}{' unwanted' * work.unwanted} seen {work.seen}"
            f"{' among others' * work.among_others} {work.told} {work.output}"
            for work in self.works
        )
