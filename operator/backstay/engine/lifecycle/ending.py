"""How a step ends: every way goes through here."""

from typing import Any, Final

from backstay.engine.model import Phase, StepRecord
from backstay.engine.turn import Turn

LET_GO: Final[dict[str, Any]] = dict.fromkeys(
    ("inputs", "due_at", "then", "message", "held_since", "starting_since", "lost_pod", "stalled"),
)
"""What a step no longer needs to remember once an attempt is over."""


def succeed(turn: Turn, path: str, **changes: Any) -> None:
    """A step did what it was for. Its place in the order of undoing is the number of this entry, or of the one that met its join."""
    record = turn.steps.get(path)
    place = record.sequence if record and record.sequence else turn.sequence + 1
    turn.change_step(
        "StepSucceeded",
        path,
        **{"phase": Phase.SUCCEEDED, "finished_at": turn.now, "sequence": place, "deadline_at": None, **LET_GO, **changes},
    )


def end(turn: Turn, event: str, path: str, phase: Phase, **changes: Any) -> StepRecord:
    """A step has come to an end other than success."""
    return turn.change_step(event, path, phase=phase, finished_at=turn.now, **changes)
