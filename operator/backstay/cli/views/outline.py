"""The structure of a run as a tree of items, from paths alone: a new kind of step shows up without a line here.

The paths of the program say what there is, those of the status what has begun (`engine/paths.py`). Between a step and the steps in it
may stand the name of a branch, of a case, of a handler, or of an iteration: a group.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from backstay.engine.model import Phase, StepRecord
from backstay.engine.node import Node
from backstay.engine.paths import BOUNDARY, RECOVERY, ROOT, event_path, join
from backstay.engine.program import Program

_KEYS = re.compile(r"[^/:\[]+|:[^/:\[]+|\[\d+\]")
_UNDO = ":compensate"
_EVENT = event_path("")
_NAMED = (":finally", RECOVERY.removeprefix(ROOT))


class What(StrEnum):
    """What an item of the tree is."""

    STEP = "step"
    GROUP = "group"
    HANDLER = "handler"
    UNDO = "undo"


@dataclass(slots=True)
class Item:
    """One place in the structure. A step that has not begun has no record, a step of an unknown program no node."""

    path: str
    key: str
    record: StepRecord | None = None
    node: Node | None = None
    children: dict[str, "Item"] = field(default_factory=dict)

    @property
    def what(self) -> What:
        if self.key == _UNDO:
            return What.UNDO
        if self.key.startswith(":"):
            return What.HANDLER
        return What.STEP if self.record is not None or self.node is not None else What.GROUP

    @property
    def phase(self) -> str:
        """The phase, or nothing where it has not begun."""
        return str(self.record.phase) if self.record is not None else ""

    @property
    def has_begun(self) -> bool:
        """It has begun, or something in it. What a boundary event waits for has not happened yet."""
        return self.record is not None or any(child.has_begun for child in self.children.values() if child.key != _EVENT)

    def walk(self) -> Iterator["Item"]:
        """This item and all below it, in order."""
        yield self
        for child in self.children.values():
            yield from child.walk()


def outline(program: Program | None, steps: Mapping[str, StepRecord]) -> Item:
    """Return the whole structure below an item that stands for the body of the workflow."""
    root = Item(ROOT, "", steps.get(ROOT), program.root if program else None)
    for path in (*(program.nodes if program else ()), *steps):
        if path != ROOT:
            _place(root, path)
    for item in root.walk():
        if item is not root:
            item.record = steps.get(item.path)
            item.node = program.node(item.path) if program else None
            _sort(item)
    _sort(root)
    return root


def _place(root: Item, path: str) -> None:
    item = root
    for key in _KEYS.findall(path):
        if key not in item.children:
            item.children[key] = Item(_below(item.path, key), key)
        item = item.children[key]


def _below(path: str, key: str) -> str:
    if key.startswith((":", "[")):
        return path + key
    return key if path == ROOT else join(path, key)


def _sort(item: Item) -> None:
    """Handlers and undoing come after the steps; where iterations have begun, they stand for the steps of the program. Where a goto has led
    back, the steps are in the order of their laps, and those that have not begun in any come last."""
    iterations = any(key.startswith("[") for key in item.children)
    kept = {key: child for key, child in item.children.items() if not iterations or key.startswith(("[", ":"))}
    order = {key: index for index, key in enumerate(item.children)}
    laps = any("~" in key for key in kept)
    if laps:
        begun = {key.partition("~")[0] for key, child in kept.items() if child.has_begun}
        kept = {key: child for key, child in kept.items() if child.has_begun or key not in begun}

    def place(child: Item) -> tuple[bool, bool, int, int]:
        name, _, lap = child.key.partition("~")
        return child.key.startswith(":"), laps and not child.has_begun, int(lap or 1), order.get(name, order[child.key])

    item.children = {child.key: child for child in sorted(kept.values(), key=place)}


def shown_children(item: Item, *, finished: bool) -> list[Item]:
    """Return the children that a person wants to see: no undoing (it has a place of its own), no handler that was not needed,
    no case that was not taken, nothing inside what was skipped or left before it began."""
    children = [child for child in item.children.values() if child.what is not What.UNDO and child.key != _EVENT]
    children = [child for child in children if child.what is not What.HANDLER or child.has_begun]
    record = item.record
    if record is None:
        return [] if finished and item.what is not What.GROUP else children
    if record.phase is Phase.SKIPPED:
        return []
    if record.phase is Phase.CANCELLED:
        return [child for child in children if child.has_begun]
    if record.choice is not None:
        chosen = record.choice.split(",")
        return [child for child in children if child.what is not What.GROUP or child.key in chosen or child.has_begun]
    if record.kind == "switch" and record.has_ended:
        return [child for child in children if child.has_begun]
    return children


def label(item: Item, owner: Item | None) -> str:
    """Return what an item is called; `owner` is the item that it stands in."""
    match item.what:
        case What.HANDLER:
            if item.key in _NAMED:
                return item.key[1:]
            if item.key.startswith(BOUNDARY):
                return f"boundary event {item.key.removeprefix(BOUNDARY).removeprefix('-')}"
            handlers = owner.node.handlers if owner is not None and owner.node is not None else ()
            index = int(re.sub(r"\D", "", item.key) or 0)
            return f"on {', '.join(handlers[index].errors)}" if index < len(handlers) else f"handler {index}"
        case What.UNDO:
            return item.path.removesuffix(_UNDO)
        case _:
            return item.key


def undo_items(root: Item) -> dict[str, Item]:
    """Return what undoes each step, by the path of the step."""
    return {item.path.removesuffix(_UNDO): item for item in root.walk() if item.what is What.UNDO}
