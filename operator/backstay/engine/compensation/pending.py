"""What is to be undone, and what became of it: derived from the records, so that no plan is stored that could disagree with them.

    the step                          how it is undone         so it is
    completed, or outcome Unknown     nothing has begun        still to be undone
    the same                          it goes on, or pauses    still to be undone
    the same                          it was done              undone (a step that had succeeded is Compensated)
    the same                          skipped, given up        left: it is not undone, and that is told
    anything, after the pivot         –                        kept: nothing is undone any more

A structure that says how to undo itself speaks for the steps inside it. The order is that of the journal entries that ended the steps.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from backstay.engine.model import UNKNOWN, Phase, RunRecord, StepRecord
from backstay.engine.paths import is_within, speakers, static, undo_path, undone_by

if TYPE_CHECKING:
    from backstay.engine.program import Program

_UNDOES: Final = frozenset({Phase.SUCCEEDED, Phase.CAUGHT})
"""How a compensation ends that has undone its step."""


class Known(Protocol):
    """What is known of a run: a State, or the working copy of one."""

    @property
    def run(self) -> RunRecord:
        """The run's own record."""

    @property
    def steps(self) -> Mapping[str, StepRecord]:
        """The records of its steps, by path."""


class Standing(StrEnum):
    """What became of undoing a step."""

    TO_UNDO = "ToUndo"
    UNDONE = "Undone"
    LEFT = "Left"


@dataclass(frozen=True, slots=True)
class Reach:
    """Which steps somebody wants undone: what was completed between two entries of the journal, inside one step or everywhere."""

    inside: str = ""
    after: int = 0
    before: int | None = None
    savepoint: str = ""
    """A step that is none of them, with all that is inside it or handled its error."""

    def covers(self, record: StepRecord) -> bool:
        """Tell whether a step is among them."""
        is_in_time = record.sequence > self.after and (self.before is None or record.sequence < self.before)
        is_inside = not self.inside or is_within(record.path, self.inside)
        return is_in_time and is_inside and not (self.savepoint and is_within(record.path, self.savepoint))


EVERYTHING: Final = Reach()


def has_completed(record: StepRecord) -> bool:
    """Tell whether a step did its work, undone since or not; also where it failed because its `finally` did, or was done when it was cancelled."""
    if record.phase in (Phase.SUCCEEDED, Phase.COMPENSATED):
        return True
    return record.finishing is Phase.SUCCEEDED and record.phase in (Phase.FAILED, Phase.STOPPING, Phase.CANCELLED)


def is_unknown(record: StepRecord, besides: str = "") -> bool:
    """Tell whether a step may have done its work, and nobody knows. `besides` is the path of one that counts as ended."""
    ended = record.has_ended or record.path == besides
    return record.outcome == UNKNOWN and ended and not has_completed(record)


def undoable(program: "Program", known: Known, besides: str = "") -> Iterator[StepRecord]:
    """The steps that there may be something to undo of, whatever became of that. A structure that was completed speaks for the steps inside it."""
    found = [
        record
        for path, record in known.steps.items()
        if (has_completed(record) or is_unknown(record, besides)) and program.undo_of(path) is not None and undone_by(path) is None
    ]
    speaking = {record.path for record in found if has_completed(record)}
    return (record for record in found if not any(outer in speaking for outer in speakers(record.path)))


def standing(known: Known, record: StepRecord) -> Standing:
    """Return what became of undoing a step that is undoable."""
    doing = known.steps.get(undo_path(record.path))
    if record.phase is Phase.COMPENSATED:
        return Standing.UNDONE
    if doing is None or not doing.has_ended:
        return Standing.TO_UNDO
    return Standing.UNDONE if doing.phase in _UNDOES else Standing.LEFT


def to_undo(program: "Program", known: Known, reach: Reach = EVERYTHING, besides: str = "") -> list[StepRecord]:
    """Return the steps that are still to be undone, the last one that ended first; once the pivot has succeeded only those that are being undone.

    `besides` is the path of a step that counts as ended, and is among them where its outcome is unknown.
    """
    if not program.undoable:
        return []
    found = (record for record in undoable(program, known, besides) if reach.covers(record) or record.path == besides)
    pending = [record for record in found if standing(known, record) is Standing.TO_UNDO]
    if known.run.pivot:
        pending = [record for record in pending if has_begun(known, record)]
    return sorted(pending, key=_place, reverse=True)


def has_begun(known: Known, record: StepRecord) -> bool:
    """Tell whether undoing a step has begun."""
    return undo_path(record.path) in known.steps


def _place(record: StepRecord) -> int:
    """The journal entry that ended a step; one that has not ended comes after all others."""
    return record.sequence if record.has_ended else 2**62


def undone(program: "Program", known: Known) -> list[StepRecord]:
    """Return the steps that were undone, in the order of the records."""
    return [record for record in undoable(program, known) if standing(known, record) is Standing.UNDONE]


def left(program: "Program", known: Known, reach: Reach = EVERYTHING) -> list[StepRecord]:
    """Return the steps that were to be undone and are not, because somebody, or the definition, said so or nobody could know how."""
    return [record for record in undoable(program, known) if reach.covers(record) and standing(known, record) is Standing.LEFT]


def kept(program: "Program", known: Known) -> list[StepRecord]:
    """Return the steps that are not undone because the pivot has succeeded."""
    if not known.run.pivot:
        return []
    return [record for record in undoable(program, known) if standing(known, record) is not Standing.UNDONE]


def why_left(known: Known, record: StepRecord) -> str:
    """Say in a few words why a step is left as it is."""
    doing = known.steps[undo_path(record.path)]
    if is_unexplained(record, doing) and doing.child is None:
        return "its outcome is not known, and undoing it needs what it would have left behind"
    if doing.phase is Phase.FAILED and doing.error is not None:
        return f"{doing.error.type}: {doing.error.detail or doing.error.title}"
    return "skipped" if doing.phase is Phase.SKIPPED else "cancelled"


def is_unexplained(record: StepRecord, doing: StepRecord) -> bool:
    """Tell whether a step whose outcome is unknown cannot be undone for lack of its outputs."""
    return is_unknown(record, record.path) and is_for_lack_of_outputs(doing)


def is_for_lack_of_outputs(doing: StepRecord) -> bool:
    """Tell whether undoing failed because it needs what the step would have left behind: its outputs, or its child run."""
    return doing.error is not None and (doing.error.type == "ExpressionError" or doing.child is not None)


def _is_surely_to_be_undone(known: Known, record: StepRecord) -> bool:
    return record.phase is Phase.SUCCEEDED and not known.run.pivot and not has_begun(known, record)


def holds_something(program: "Program", known: Known, prefix: str) -> bool:
    """Tell whether something inside an iteration, or one visit of a step, may have to be undone yet: then it must be remembered."""
    home = static(prefix)
    for path in program.undoing:
        record = known.steps.get(f"{prefix}{path.removeprefix(home)}") if is_within(path, home) else None
        if record is not None and undo_path(path) in program.nodes and _is_surely_to_be_undone(known, record):
            return True
    inside = {path: record for path, record in known.steps.items() if is_within(path, prefix)}
    return any(not record.has_ended for record in inside.values()) or bool(to_undo(program, known, Reach(inside=prefix)))


def cut_off(program: "Program", known: Known) -> list[StepRecord]:
    """Return the steps that say how to undo them and go on: a run that ends now overtakes them, and nobody will know what they did."""
    if not program.undoable or known.run.pivot:
        return []
    going = (record for record in known.steps.values() if not record.has_ended and undone_by(record.path) is None)
    at_work = (record for record in going if record.phase in (Phase.RUNNING, Phase.STOPPING) or record.outcome == UNKNOWN)
    return [record for record in at_work if program.undo_of(record.path) is not None and program.nodes[static(record.path)].machine.works]
