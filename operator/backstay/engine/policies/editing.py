"""What people change of a step's action before another attempt: JSON merge patches (RFC 7396) over the action as it is resolved.

The patches stand in the step's record, in the order in which they came, and go for every attempt that follows. What they make of the action
goes through the checks of a manifest each time: an edit can do what a definition could, and no more.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from backstay.api.validate.edited import EDITABLE, check_action
from backstay.engine.model import Json, StepRecord
from backstay.errors import EvaluationError
from backstay.expressions.words import quoted, there_are

if TYPE_CHECKING:
    from backstay.engine.node import Node, Work
    from backstay.engine.turn import Turn

MAX_EDIT_BYTES: Final = 32 * 1024
"""What the edits of a step may take as JSON, all together: they stand in the status."""
_SHOWN: Final = 3


def edited(turn: "Turn", kind: str, path: str, action: dict[str, Json]) -> dict[str, Json]:
    """Return a resolved action as the edits of the step at `path` make it. Raises EvaluationError where that is no action any more."""
    record = turn.steps.get(path)
    return with_edits(kind, action, record.edits) if record is not None and record.edits else action


def with_edits(kind: str, action: Mapping[str, Json], edits: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    """Return an action of a kind as edits make it. Raises EvaluationError where that is no action any more."""
    found: Json = action
    for edit in edits:
        found = merged(found, edit)
    if problems := check_action(kind, found):
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise EvaluationError("edit: " + "; ".join(map(str, problems[:_SHOWN])) + more)
    return dict(found)


def refusal(turn: "Turn", node: "Node", record: StepRecord, edit: Mapping[str, Json]) -> str:
    """Return why an edit cannot be taken, or nothing."""
    editable = EDITABLE.get(node.kind)
    if editable is None:
        return f"the action of a {node.kind} cannot be edited; retry it as it is, skip it or give it up"
    if unknown := [name for name in edit if name not in editable]:
        return f"edit: {quoted(unknown[0])} of a {node.kind} cannot be edited; {there_are(sorted(editable))}"
    edits = [*(record.edits or ()), edit]
    size = len(orjson.dumps(edits))
    if size > MAX_EDIT_BYTES:
        return f"edit: the edits of {record.path} take {size:,} bytes of at most {MAX_EDIT_BYTES:,}; hand large data over by reference"
    try:
        with_edits(node.kind, resolved(turn, node, record.path), edits)
    except EvaluationError as error:
        return str(error)
    return ""


def resolved(turn: "Turn", node: "Node", path: str) -> dict[str, Json]:
    """Return the action of a step that does work, as it is resolved now, in the shape in which users write it. Raises EvaluationError."""
    return cast("Work", node.machine).resolved(turn, node, path)


def next_action(turn: "Turn", node: "Node", path: str) -> dict[str, Json]:
    """Return what the next attempt at a step would be made from: its action as it is resolved now, with its edits. Raises EvaluationError."""
    return edited(turn, node.kind, path, resolved(turn, node, path))


def merged(target: Json, patch: Json) -> Json:
    """Apply a JSON merge patch (RFC 7396, section 2)."""
    if not isinstance(patch, Mapping):
        return patch
    found: dict[str, Any] = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found
