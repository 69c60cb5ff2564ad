"""Whether a failure is dealt with by what is around it: where it is not, and must not be, the step waits for a person instead of failing.

dealt with by            where
a catch                  of a structure around it, for its type
another branch           a parallel that joins without all of its branches
the other iterations     a forEach that tolerates failures, or is complete before all have succeeded
a step that asks for it  a dag, with outcome Failed or Done
"""

from typing import TYPE_CHECKING

from backstay.api.faults import matches
from backstay.engine.compensation.order import parts_of
from backstay.engine.paths import ROOT

if TYPE_CHECKING:
    from backstay.engine.node import Node
    from backstay.engine.program import Program


def is_dealt_with(program: "Program", path: str, error_type: str, edge: str = "") -> bool:
    """Tell whether something around a step is there for its failure: up to the step at `edge`, or in the whole workflow.

    Whether a catch with a condition takes it is not asked: it may.
    """
    parts = parts_of(path)
    first = len(parts_of(edge)) if edge else 0
    for place in range(len(parts) - 1, first - 1, -1):
        outer = "".join(parts[:place]) or ROOT
        owner = program.node(outer)
        if owner is not None and _deals(owner, parts[place], error_type):
            return True
    return False


def _deals(owner: "Node", part: str, error_type: str) -> bool:
    """Tell whether a structure is there for the failure of a part of it; not of its own handlers and the like."""
    if part.startswith(":"):
        return False
    return any(matches(error_type, handler.errors) for handler in owner.handlers) or _goes_on_without(owner, part)


def _goes_on_without(owner: "Node", part: str) -> bool:
    match owner.kind:
        case "parallel":
            return bool(owner.body.needed < len(owner.body.branches))
        case "forEach":
            return owner.body.action.tolerate not in (0, "0", "0%") or owner.body.complete_when is not None
        case "dag":
            return bool(owner.body.heirs.get(part.lstrip("/")))
    return False
