"""How steps are addressed: names from the outside in, as in `pack[3]/box`.

a/x               step x of block a                 charge:catch0/ask      step ask of the first handler of charge
c/left/x          step x of branch left             reserve:compensate     undoing reserve
pack:boundary0    the first boundary event of pack  pack:boundary-late/x   step x of its boundary event late
pack:boundary0[2]/x                                 step x of its boundary event, the third time that it happened
                                                    charge:finally/tidy    step tidy of the finally of charge; `/:finally` is the workflow's
d/0/x             step x of the first case          /                      the block that is the body of the workflow
pack[3]/box       step box of iteration 3          a~2                    step a in the second lap of its list: a goto led back
"""

import re
from collections.abc import Iterator
from typing import Final

ROOT: Final = "/"
RECOVERY: Final = "/:recovery"
"""Path of the record that tells of starting the run that recovers from a failure."""
BOUNDARY: Final = ":boundary"


def join(prefix: str, name: str) -> str:
    """Return the path of a step in the list at `prefix`."""
    return f"{prefix}/{name}" if prefix else name


def prefix_of(path: str, segments: int) -> str:
    """Return the path of the list with so many segments that encloses a step: `prefix_of("pack[3]/box", 1)` is `pack[3]`."""
    return "/".join(path.split("/")[:segments])


def segments_of(prefix: str) -> int:
    """Return how many segments a list's path has; 0 for the outermost list."""
    return len(prefix.split("/")) if prefix else 0


def iteration(path: str, index: int) -> str:
    """Return the path of the list of one iteration of a structure: `pack[3]`."""
    return f"{path}[{index}]"


def is_iteration(path: str) -> bool:
    """Tell whether a path is that of an iteration: `pack[3]`."""
    return bool(re.fullmatch(r".+\[\d+\]", path))


def iteration_of(prefix: str) -> tuple[str, int]:
    """Return the path of the structure that an iteration is of, and its index: `pack[3]` is iteration 3 of `pack`."""
    owner, _, index = prefix.removesuffix("]").rpartition("[")
    return owner, int(index)


def static(path: str) -> str:
    """Return a path without the indexes of iterations and the numbers of laps: `pack[3]/box~2` is `pack/box`."""
    return re.sub(r"\[\d+\]|~\d+", "", path)


def in_lap(prefix: str, name: str, lap: int) -> str:
    """Return the path of a step in a lap of the list at `prefix`: `a`, `a~2`, `a~3` …"""
    return join(prefix, name if lap == 1 else f"{name}~{lap}")


def lap_of(path: str, segments: int) -> int | None:
    """Return the lap, in the list with so many segments, of the step that is or encloses `path`; None where `path` is not inside that list."""
    inside = path.split("/")[segments : segments + 1]
    if not inside or not inside[0]:
        return None
    found = re.match(r"[^~:\[]*~(\d+)", inside[0])
    return int(found[1]) if found else 1


def around(path: str) -> Iterator[str]:
    """Every step, iteration, branch or case that encloses a path, from the outside in: `pack` and `pack[3]` for `pack[3]/box`."""
    return (path[:place] for place, character in enumerate(path) if character in "/:[")


def speakers(path: str) -> Iterator[str]:
    """Every step, iteration, branch or case that `path` is a part of the work of: those around it, without the owners of boundary events."""
    return (outer for outer in around(path) if not path.startswith(BOUNDARY, len(outer)))


def is_within(path: str, outer: str) -> bool:
    """Tell whether a path is `outer` itself or inside it."""
    return path == outer or path.startswith((f"{outer}/", f"{outer}:", f"{outer}["))


def handler_prefix(path: str, index: int) -> str:
    """Return the path of the list of steps of a step's catch."""
    return f"{path}:catch{index}"


def boundary_path(path: str, called: str) -> str:
    """Return the path of a boundary event of a step: of its record, and of the list of its steps."""
    return f"{path}{BOUNDARY}{called}"


def event_path(path: str) -> str:
    """Return the path of the record of what a boundary event, whose steps are at `path`, waits for."""
    return f"{path}:event"


def is_event(path: str) -> bool:
    """Tell whether a path is of what a boundary event waits for: it is no step by itself."""
    return path.endswith(":event")


def is_handling(path: str, owner: str) -> bool:
    """Tell whether a path is of a step of one of the handlers or boundary events of the step at `owner`: its errors are not the step's own."""
    return path.startswith((f"{owner}:catch", f"{owner}{BOUNDARY}"))


def finally_path(path: str) -> str:
    """Return the path of the block that is the `finally` of a step, or with ROOT of the workflow."""
    return f"{path}:finally"


def finished_by(path: str) -> str | None:
    """Return the path of the step that the innermost `finally` around `path` belongs to, or None outside of any."""
    place = f"{path}/".rfind(":finally/")
    return path[:place] if place >= 0 else None


def undo_path(path: str) -> str:
    """Return the path of the record that tells of undoing a step."""
    return f"{path}:compensate"


def undone_by(path: str) -> str | None:
    """Return the path of the step that a step at `path` helps to undo, or None where it undoes nothing."""
    place = path.rfind(":compensate")
    return path[:place] if place >= 0 else None


def handled_by(path: str) -> str | None:
    """Return the path of the step whose error the innermost handler around `path` is for, or None outside handlers."""
    place = path.rfind(":")
    while place >= 0 and path.startswith(":finally", place):
        place = path.rfind(":", 0, place)
    return path[:place] if place >= 0 and path.startswith(":catch", place) else None
