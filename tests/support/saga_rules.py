"""What every journal of a run must satisfy where something is undone, read from its entries alone; nothing of `engine/compensation` is used.

undone at most once         a compensation begins once, and is done once
only what was done          it begins after its step has succeeded; or after that has ended with outcome Unknown, and then its work is told so
in order                    it begins after everything that came after its step, and may rely on it, is undone or left
wholly, or told             a run that ends and is to be undone has undone everything, or has told of each step that it left; one that has not
                            ended goes on, or is paused and says why
never after the pivot       no compensation begins once a pivot has succeeded

check_saga(world.program, world.entries)
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from backstay.engine.model import Entry
from backstay.engine.program import Program

_UNDO: Final = ":compensate"
_ENDED: Final = frozenset({"Succeeded", "Caught", "Skipped", "Failed", "Cancelled", "Compensated"})
_WENT_WELL: Final = frozenset({"Succeeded", "Compensated"})


@dataclass
class Seen:
    """A step as its entries tell of it."""

    fields: dict[str, Any] = field(default_factory=dict)
    begun: int = 0
    """Number of its first entry."""
    ended: int = 0
    """Number of the entry that ended it, the first time."""
    completed: int = 0
    """Its place in the order of undoing, once it has succeeded, or has ended and nobody knows."""
    done: int = 0
    """How often it came to a good end."""

    @property
    def phase(self) -> str:
        return str(self.fields.get("phase", ""))

    @property
    def did_its_work(self) -> bool:
        return self.phase in _WENT_WELL or (
            self.phase in ("Failed", "Stopping", "Cancelled") and self.fields.get("finishing") == "Succeeded"
        )

    @property
    def is_unknown(self) -> bool:
        return self.fields.get("outcome") == "Unknown" and not self.did_its_work and bool(self.ended)


def check_saga(program: Program, entries: Sequence[Entry]) -> None:
    """Raise AssertionError that names every rule which a journal, from its first entry on, does not satisfy."""
    broken = list(violations(program, entries))
    assert not broken, "\n".join(broken)


def violations(program: Program, entries: Sequence[Entry]) -> Iterator[str]:
    """Yield, in words, where a journal breaks the rules."""
    reader = _Reader(program)
    for entry in entries:
        yield from reader.read(entry)
    yield from reader.at_the_end()


class _Reader:
    """Reads a journal entry by entry."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.steps: dict[str, Seen] = {}
        self.run: dict[str, Any] = {}
        self.told: list[str] = []
        self.abandoned = False

    def read(self, entry: Entry) -> Iterator[str]:
        if entry.kind == "IterationForgotten":
            yield from self._forget(entry.path)
        elif entry.path:
            yield from self._read_step(entry)
        else:
            self.run.update(entry.changes)
            self.abandoned = self.abandoned or entry.kind == "CompensationAbandoned"
            if entry.kind == "NotUndone":
                self.told.append(entry.reason)

    def _read_step(self, entry: Entry) -> Iterator[str]:
        path = entry.path
        is_new = path not in self.steps
        seen = self.steps.setdefault(path, Seen(begun=entry.sequence))
        before = seen.phase
        seen.fields.update(entry.changes)
        if seen.phase in _ENDED and before not in _ENDED:
            seen.ended = entry.sequence
        if (seen.did_its_work or seen.is_unknown) and not seen.completed:
            seen.completed = int(seen.fields.get("sequence") or entry.sequence)
        seen.done += seen.phase == "Succeeded" and before != "Succeeded"
        if path.endswith(_UNDO):
            if is_new:
                yield from self._begins(path.removesuffix(_UNDO), entry.sequence)
            if seen.done > 1:
                yield f"{path}: it was undone {seen.done} times"
        yield from self._told_the_outcome(entry)

    # --------------------------------------------------------------------------------------------------------- the rules

    def _begins(self, path: str, now: int) -> Iterator[str]:
        step = self.steps.get(path)
        if step is None or not (step.did_its_work or self._may_be_done(path)):
            yield f"{path}: it is undone at entry {now}, and was never done ({step.phase if step else 'it has not begun'})"
            return
        if self.run.get("pivot"):
            yield f"{path}: it is undone at entry {now}, after the pivot {self.run['pivot']} had succeeded"
        if any(self._speaks(outer) for outer in _around(path)):
            yield f"{path}: it is undone at entry {now}, although a structure around it says how to undo the whole"
        whole = self.run.get("phase") == "Compensating"
        for later, other in self.steps.items():
            if self._is_before(path, later, other, whole) and (whole or self._is_of_the_same_undo(later)) and not self._is_settled(later):
                yield f"{path}: it is undone at entry {now}, before {later}, which came after it (place {other.completed})"

    def _may_be_done(self, path: str) -> bool:
        step = self.steps[path]
        return step.is_unknown or (bool(step.fields.get("undoing")) and step.fields.get("outcome") == "Unknown")

    def _is_before(self, path: str, later: str, other: Seen, whole: bool) -> bool:
        """Tell whether a step that may have to be undone came after another one, and may rely on it."""
        if later == path or self.program.undo_of(later) is None or _UNDO in later or not (other.did_its_work or other.is_unknown):
            return False
        if any(self._speaks(outer) for outer in _around(later)):
            return False
        mine = self.steps[path].completed or 10**9
        at_once = self.program.spec.on_failure.parallel or not whole  # lines that go on side by side undo parts of themselves side by side
        together = at_once and _are_apart(self.program, path, later)
        return other.completed > mine and not together

    def _is_of_the_same_undo(self, later: str) -> bool:
        doing = self.steps.get(later + _UNDO)
        return doing is not None and doing.phase not in _ENDED

    def _is_settled(self, path: str) -> bool:
        doing = self.steps.get(path + _UNDO)
        return doing is not None and doing.phase in _ENDED

    def _speaks(self, path: str) -> bool:
        step = self.steps.get(path)
        return step is not None and step.did_its_work and self.program.undo_of(path) is not None

    def _told_the_outcome(self, entry: Entry) -> Iterator[str]:
        """What undoes a step is told whether that was done."""
        inputs = entry.changes.get("inputs")
        place = entry.path.rfind(_UNDO)
        if place < 0 or not isinstance(inputs, dict) or "image" not in inputs:
            return
        step = self.steps[entry.path[:place]]
        right = "Succeeded" if step.did_its_work else "Unknown"
        told = (inputs.get("compensates") or {}).get("outcome")
        if told != right:
            yield f"{entry.path}: it is told that the outcome is {told}, which is {right}"

    def _forget(self, prefix: str) -> Iterator[str]:
        for path in [path for path in self.steps if path == prefix or path.startswith((f"{prefix}/", f"{prefix}:", f"{prefix}["))]:
            if self._is_to_be_undone(path) and not self.run.get("pivot"):
                yield f"{path}: it is forgotten, and may have to be undone yet"
            del self.steps[path]

    def _is_to_be_undone(self, path: str) -> bool:
        step = self.steps[path]
        if _UNDO in path or self.program.undo_of(path) is None or any(self._speaks(outer) for outer in _around(path)):
            return False
        return (step.did_its_work or step.is_unknown) and not self._is_settled(path)

    def at_the_end(self) -> Iterator[str]:
        if not self.run.get("compensate") or self.run.get("pivot") or self.abandoned or self.run.get("phase") == "Succeeded":
            return
        still = [path for path in self.steps if self._is_to_be_undone(path)]
        if self.run.get("finishedAt"):
            for path in still:
                yield f"{path}: the run has ended, and it is not undone"
            for path in self.steps:
                yield from self._left_and_not_told(path)
        elif self.run.get("phase") == "Compensating" and not any(_goes_on(path, step) for path, step in self.steps.items()):
            yield f"{', '.join(still)}: not undone, and nothing goes on that would undo it, nor says why not"

    def _left_and_not_told(self, path: str) -> Iterator[str]:
        step, doing = self.steps[path], self.steps.get(path + _UNDO)
        if doing is None or doing.phase in ("Succeeded", "Caught") or step.phase == "Compensated":
            return
        if not any(words.startswith(f"{path}: ") for words in self.told):
            yield f"{path}: it was left as it is ({doing.phase}), and nothing tells of it"


def _goes_on(path: str, step: Seen) -> bool:
    """Tell whether something is being undone; one that is paused must say why."""
    return _UNDO in path and step.phase not in _ENDED and (step.phase != "Paused" or bool(step.fields.get("message")))


def _around(path: str) -> Iterator[str]:
    for place, character in enumerate(path):
        if character in "/:[" and not path.startswith(":boundary", place):
            yield path[:place]


def _are_apart(program: Program, one: str, other: str) -> bool:
    """Tell whether two steps stand in lines that go on side by side."""
    differs = (place for place, (mine, theirs) in enumerate(zip(one, other, strict=False)) if mine != theirs)
    shared = one[: next(differs, min(len(one), len(other)))]
    cut = max(shared.rfind(character) for character in "/:[")
    owner = program.node(shared[:cut] if cut > 0 else "/")
    separator = shared[cut] if cut >= 0 else "/"
    if owner is None or separator == ":":
        return False
    if separator == "[":
        return owner.kind == "forEach" and owner.body.action.parallelism > 1
    if owner.kind == "switch":
        return str(owner.body.mode) == "Every"
    if owner.kind != "dag":
        return owner.kind == "parallel"
    names = [re.split(r"[/:\[~]", path[cut + 1 :])[0] for path in (one, other)]
    if names[0] == names[1]:
        return False
    needs = {node.name: [item.step for item in node.depends_on] for node in owner.body.nodes}
    return names[1] not in _all_needed(needs, names[0]) and names[0] not in _all_needed(needs, names[1])


def _all_needed(needs: dict[str, list[str]], name: str) -> set[str]:
    found: set[str] = set()
    waiting = list(needs[name])
    while waiting:
        other = waiting.pop()
        if other not in found:
            found.add(other)
            waiting.extend(needs[other])
    return found
