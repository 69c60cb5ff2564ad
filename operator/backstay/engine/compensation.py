"""Undoing: the saga's way back (Garcia-Molina and Salem, "Sagas", 1987).

Completed steps that say how are undone one at a time, in reverse order of the journal entry that completed them; never by
timestamps, which tie. What undoing needs is derived from the records: no plan is stored that could disagree with them.

    the newest completed step that is not undone
      has begun nothing      → its compensation begins
      is being undone        → wait
      was undone             → Compensated, and the next one follows
      could not be undone    → Stalled: a person is needed, or the deadline lets go
"""

from collections.abc import Iterator, Mapping
from typing import Final

from backstay.engine.lifecycle import advance
from backstay.engine.model import DONE, Phase, StepRecord
from backstay.engine.paths import around, undo_path, undone_by
from backstay.engine.program import Program
from backstay.engine.turn import Turn

_WENT_WELL: Final = frozenset({Phase.SUCCEEDED, Phase.COMPENSATED})


def to_undo(program: Program, steps: Mapping[str, StepRecord]) -> list[StepRecord]:
    """Return the completed steps that are still to be undone, the last one completed first.

    A structure that says how to undo itself speaks for the steps inside it.
    """
    speaking = {path: record for path, record in steps.items() if record.phase in _WENT_WELL and _undoable(program, path)}
    free = [
        record
        for path, record in speaking.items()
        if record.phase is Phase.SUCCEEDED and not any(outer in speaking for outer in around(path))
    ]
    return sorted(free, key=lambda record: record.sequence, reverse=True)


def _undoable(program: Program, path: str) -> bool:
    return undone_by(path) is None and program.undo_of(path) is not None


def advance_undoing(turn: Turn) -> bool:
    """Bring undoing as far as it goes now. Returns whether all is undone."""
    for record in to_undo(turn.program, turn.steps):
        undo = turn.program.undo_of(record.path)
        assert undo is not None
        doing = advance(turn, undo, undo_path(record.path))
        if doing is None or doing.phase not in DONE:
            return False
        turn.change_step("StepCompensated", record.path, phase=Phase.COMPENSATED)
    return True


def stalled(program: Program, steps: Mapping[str, StepRecord]) -> StepRecord | None:
    """Return the record of a compensation that could not be done and keeps the others waiting, if there is one."""
    for record in to_undo(program, steps):
        doing = steps.get(undo_path(record.path))
        return doing if doing is not None and doing.phase in (Phase.FAILED, Phase.CANCELLED) else None
    return None


def undone(steps: Mapping[str, StepRecord]) -> Iterator[StepRecord]:
    """The steps that were undone."""
    return (record for record in steps.values() if record.phase is Phase.COMPENSATED)
