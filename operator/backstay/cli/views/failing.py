"""What became of a run that failed, was cancelled or was undone, as a few lines in order: tried, caught, undone, left, what comes next. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from backstay.cli.views.seen import Run
from backstay.cli.views.text import clean, counted, one_line
from backstay.engine.compensation import left, to_undo, undone, why_left
from backstay.engine.model import Fault, Phase, StepRecord
from backstay.engine.paths import ROOT

MOST: Final = 8
"""Lines of a kind; of more, how many there are is told."""
_WORDS: Final = 160


@dataclass(frozen=True, slots=True)
class Beat:
    """One line: what happened, to which step, and what there is to say of it."""

    what: str
    step: str
    words: str = ""

    def to_json(self) -> dict[str, str]:
        """Return it as data."""
        return {"what": self.what, "step": self.step, "words": self.words}

    @property
    def text(self) -> str:
        """Return it as a line for people."""
        return f"{self.what:<9} {self.step}{': ' if self.step and self.words else ''}{self.words}"


def beats(run: Run) -> list[Beat]:
    """Return what became of a run that does not end well; nothing of one that goes forward or has succeeded."""
    record = run.state.run
    if record.result in (None, Phase.SUCCEEDED):
        return []
    steps = [step for step in run.state.steps.values() if step.path != ROOT]
    found = [*_few("tried", _tried(steps)), *_few("caught", _caught(steps)), *_few("stopped", _stopped(steps))]
    if run.program is not None and record.compensate:
        found += _few("undone", (Beat("undone", clean(step.path)) for step in undone(run.program, run.state)))
        found += _few("left", (Beat("left", clean(step.path), clean(why_left(run.state, step))) for step in left(run.program, run.state)))
        words = "not undone" if record.is_finished else "to be undone"
        found += _few("left", (Beat("left", clean(step.path), words) for step in to_undo(run.program, run.state)))
    found += _few("waits", (Beat("waits", clean(step.path), _short(step.message or "")) for step in steps if step.phase is Phase.PAUSED))
    if record.recovery:
        found.append(Beat("recovery", "", f"run {clean(record.recovery)} was started"))
    return found


def _tried(steps: Sequence[StepRecord]) -> Iterator[Beat]:
    for step in steps:
        is_own = step.error is not None and step.error.step in ("", step.path)
        if step.attempt > 1 and step.error is None:
            yield Beat("tried", clean(step.path), f"succeeded at attempt {step.attempt}")
        elif step.error is not None and is_own and step.phase not in (Phase.CAUGHT, Phase.PAUSED):
            tries = f"{counted(step.attempt, 'attempt')}, " if step.attempt else ""
            yield Beat("tried", clean(step.path), f"{tries}{_fault(step.error)}")


def _caught(steps: Sequence[StepRecord]) -> Iterator[Beat]:
    for step in steps:
        if step.phase is Phase.CAUGHT and step.error is not None:
            yield Beat("caught", clean(step.path), _fault(step.error))


def _stopped(steps: Sequence[StepRecord]) -> Iterator[Beat]:
    for step in steps:
        if step.phase is Phase.CANCELLED and (step.job or step.call or step.child):
            yield Beat("stopped", clean(step.path), "its outcome is not known" if step.outcome else "")


def _few(what: str, found: Iterator[Beat]) -> list[Beat]:
    """Return the first lines of a kind, and how many more there are."""
    all_of_them = list(found)
    more = len(all_of_them) - MOST
    return [*all_of_them[:MOST], *([Beat(what, "", f"and {more} more")] if more > 0 else [])]


def _fault(fault: Fault) -> str:
    return _short(f"{fault.type}: {fault.detail or fault.title}".rstrip(": "))


def _short(text: str) -> str:
    return clean(one_line(text), _WORDS)
