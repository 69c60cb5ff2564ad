"""What stands in a status and what does not, so that it never grows beyond what an object of the API server can hold (DESIGN, promise 8).

The state in memory knows every record. Of a run's records the status shows as many as fit; of its entries the newest, and the older ones
stand in WorkflowJournal objects. Between the two bounds of each there is much room, so that moving and leaving out are seldom.

    entries    more than KEEP are too many           → the oldest are moved, until LEAVE are left
    records    more than STEPS_BYTES are too many    → those that matter least are left out, until two thirds of it are left
    the whole  never more than STATUS_BYTES: what the entries and the rest need is taken from the records

Sizes are bytes of JSON.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from backstay.engine import codec, journal
from backstay.engine.model import Entry, Json, Phase, State, StepRecord
from backstay.engine.paths import ROOT
from backstay.engine.program import Program
from backstay.errors import BackstayError

STATUS_BYTES: Final = 690_000
STEPS_BYTES: Final = 300_000
KEEP_ENTRIES: Final = 400
KEEP_BYTES: Final = 256 * 1024
LEAVE_ENTRIES: Final = 200
LEAVE_BYTES: Final = 64 * 1024
WORTH_ENTRIES: Final = 100
"""Fewer than this are not moved by themselves, unless they take more than LEAVE_BYTES: a write for each hundred entries is enough."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of the oldest entries just now: those up to number `last` stand in WorkflowJournals, or are lost where none can be made."""

    last: int = 0
    lost: bool = False


NOTHING_MOVED: Final = Moved()


def surplus(written: Sequence[Json], new: Sequence[Json]) -> int:
    """Return how many of the oldest entries are to be moved before `new` ones are added to those that are `written`.

    Only what is written may be moved: it is a fact, and the same for whoever else works on the run.
    """
    count = len(written) + len(new)
    size = _size(written) + _size(new)
    if count <= KEEP_ENTRIES and size <= KEEP_BYTES:
        return 0
    moved = moved_bytes = 0
    while moved < len(written) and (count - moved > LEAVE_ENTRIES or size - moved_bytes > LEAVE_BYTES):
        moved_bytes += _size(written[moved])
        moved += 1
    return moved if moved >= WORTH_ENTRIES or moved_bytes > LEAVE_BYTES else 0


def shown_journal(before: Mapping[str, Any], new: Sequence[Entry], head: str, moved: Moved) -> dict[str, Json]:
    """Return `status.journal` after `new` entries, without those that were moved."""
    entries = [*(before.get("entries") or ()), *map(codec.entry_to_json, new)]
    dropped, archived = int(before.get("dropped") or 0), int(before.get("archived") or 0)
    elsewhere = max(moved.last, dropped + archived)
    if moved.lost and elsewhere > dropped + archived:
        dropped, archived = elsewhere, 0
    found: dict[str, Json] = {"head": head}
    if elsewhere > dropped:
        found["archived"] = elsewhere - dropped
    if dropped:
        found["dropped"] = dropped
    found["entries"] = [entry for entry in entries if entry["sequence"] > elsewhere]
    return found


def shown_steps(
    program: Program, state: State, entries: Sequence[Entry], before: Mapping[str, Any], others: Mapping[str, Json]
) -> tuple[list[Json], int]:
    """Return `status.steps` and how many records are left out. `others` are the other fields of the status, which the steps share it with.

    What the status showed `before` is shown on as it is, unless an entry changed it: so nothing is written, or compared, anew that
    stays as it was.
    """
    known = {item["path"]: item for item in before.get("steps") or ()}
    changed = {entry.path for entry in entries}
    if any(entry.kind == journal.DEADLINES_MOVED for entry in entries):
        changed.update(path for path, record in state.steps.items() if record.deadline_at is not None)
    paths = [path for path in state.steps if path in known or path in changed] if before.get("stepsOmitted") else list(state.steps)
    items = [known[path] if path in known and path not in changed else codec.record_to_json(state.steps[path]) for path in paths]
    most = min(STEPS_BYTES, STATUS_BYTES - _size(others))
    if most <= 0:
        raise BackstayError(f"the status would take more than {STATUS_BYTES:,} bytes without any step in it")
    if _size(items) > most:
        items = _fitting(program, state, items, most * 2 // 3)
    return items, len(state.steps) - len(items)


def _fitting(program: Program, state: State, items: Sequence[Json], most: int) -> list[Json]:
    """Leave out what matters least until the rest fits, and before all else what does not fit by itself."""
    sizes = [_size(item) + 1 for item in items]
    size = sum(sizes)
    places = range(len(items))
    ranks = [_rank(program, state.steps[item["path"]], place) for place, item in enumerate(items)]
    left_out: set[int] = set()
    for place in sorted(places, key=lambda place: (sizes[place] < most, ranks[place])):
        if size <= most:
            break
        size -= sizes[place]
        left_out.add(place)
    return [items[place] for place in places if place not in left_out]


def _rank(program: Program, record: StepRecord, place: int) -> tuple[int, int]:
    """How much it matters that a record is seen.

    What has ended well least, then what may have to be undone, then what failed: the newest of them most. Most of all what goes on: there
    the oldest matter most, for they are the structures around the others.
    """
    if not record.has_ended or record.path == ROOT:
        return 3, -place
    if record.phase in (Phase.FAILED, Phase.CAUGHT):
        return 2, place
    return (1 if record.phase is Phase.SUCCEEDED and program.undo_of(record.path) is not None else 0), place


def _size(value: Any) -> int:
    return len(orjson.dumps(value))
