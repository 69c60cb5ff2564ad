"""Which steps are independent of each other: it follows from the structure they stand in, never from times.

where two paths part                            independent
branches of a parallel, cases of `mode: Every`  yes
iterations of a forEach                         yes, where more than one may go on at the same time
steps of a dag                                  where no path of dependencies leads from one to the other
anything else                                   no: one came after the other, and may rely on it
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from backstay.api.actions.structures import SwitchMode
from backstay.engine.paths import BOUNDARY, ROOT

if TYPE_CHECKING:
    from backstay.engine.node import Node
    from backstay.engine.program import Program

_PART: Final = re.compile(r"(?:^|[/:\[])[^/:\[]+")


@lru_cache(maxsize=20_000)
def parts_of(path: str) -> tuple[str, ...]:
    """Return a path's parts, each with the character before it: `pack`, `[3]`, `/box` for `pack[3]/box`."""
    return tuple(_PART.findall(path))


def are_independent(program: "Program", one: str, other: str) -> bool:
    """Tell whether neither of two steps came after the other because of how the workflow is written."""
    ours, theirs = parts_of(one), parts_of(other)
    for place, (mine, yours) in enumerate(zip(ours, theirs, strict=False)):
        if mine != yours:
            owner = program.node("".join(ours[:place]) or ROOT)
            return owner is not None and _run_apart(owner, mine, yours)
    return False


def _run_apart(owner: "Node", one: str, other: str) -> bool:
    if one.startswith("[") and other.startswith("["):
        return owner.kind == "forEach" and owner.body.action.parallelism > 1
    if not (_is_step_or_branch(one) and _is_step_or_branch(other)):
        return False
    if owner.kind == "dag":
        first, second = one.lstrip("/"), other.lstrip("/")
        return not (owner.body.depends(first, second) or owner.body.depends(second, first))
    return owner.kind == "parallel" or (owner.kind == "switch" and owner.body.mode is SwitchMode.EVERY)


def _is_step_or_branch(part: str) -> bool:
    return not part.startswith((":", "["))


def line_of(program: "Program", path: str) -> str:
    """Return the innermost line of work that a step stands in: a branch, an iteration, a step of a dag; empty for the run as a whole.

    Other lines go on beside it, so a step in it does not undo what is outside of it: they may rely on that.
    """
    parts = parts_of(path)
    edge = ""
    for place, part in enumerate(parts[:-1]):
        owner = program.node("".join(parts[:place]) or ROOT)
        if owner is not None and _is_line(owner, part):
            edge = "".join(parts[: place + 1])
    return edge


def _is_line(owner: "Node", part: str) -> bool:
    if part.startswith("["):
        return owner.kind == "forEach"
    if part.startswith(BOUNDARY):
        return any(f"{BOUNDARY}{event.called}" == part and not event.interrupting for event in owner.boundaries)
    if part.startswith(":"):
        return False
    return owner.kind in ("parallel", "dag") or (owner.kind == "switch" and owner.body.mode is SwitchMode.EVERY)
