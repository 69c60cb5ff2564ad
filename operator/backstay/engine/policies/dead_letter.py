"""The DeadLetter of a step that gave up: what the step remembers of it, and what it wants in the world.

    gives up            → `letter` names it, and the inputs stand in the record until it is there: it is wanted
    it is seen          → DeadLetterWritten: its UID is noted, the inputs go; from then on one that is missing was deleted by somebody
    resumed, skipped,
    given up            → its outcome is noted by the same entry: whoever keeps the letter settles it by that, whenever that is
    stopped             → no outcome: the step did not go on, and the letter can still be replayed, by a new run

Whether a letter was taken up is so decided by one write of the run's status, and nowhere else (engine/letters.py judges by it).
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from backstay.api.dead_letter import MOST_BYTES
from backstay.api.validate.edited import EDITABLE
from backstay.engine.codec import time_to_json
from backstay.engine.model import CreateDeadLetter, Fault, Json, Observations, Phase, State, StepRecord
from backstay.engine.policies import editing
from backstay.errors import EvaluationError
from backstay.names import letter_name

if TYPE_CHECKING:
    from backstay.engine.node import Node
    from backstay.engine.turn import Turn

CONTINUED: Final = "Continued"
SKIPPED: Final = "Skipped"
GIVEN_UP: Final = "GivenUp"
"""The outcomes of a letter."""
MOST_WORDS: Final = 512
"""What is kept of the words with which somebody has settled it."""


def opened(turn: "Turn", node: "Node", path: str) -> dict[str, Any]:
    """Return what a step that gives up writes besides: the letter that it wants, and the inputs that are to stand in it."""
    record = turn.steps.get(path)
    letter = {
        "name": letter_name(turn.identity.name, turn.identity.uid, path, turn.sequence + 1),
        "at": time_to_json(turn.now),
    }
    if record is not None and record.letter is not None:
        letter["previous"] = record.letter["name"]
    inputs = _inputs(turn, node, path)
    if inputs is not None and len(orjson.dumps(inputs)) > MOST_BYTES:
        inputs, letter["omitted"] = None, "inputs"
    return {"letter": letter, "inputs": inputs}


def _inputs(turn: "Turn", node: "Node", path: str) -> Json:
    """Resolve the action as another attempt would; None where that is what fails, and for a kind that has no inputs of its own."""
    if node.kind not in EDITABLE:
        return None
    try:
        return editing.edited(turn, node.kind, path, editing.resolved(turn, node, path))
    except EvaluationError:
        return None


def closed(record: StepRecord, outcome: str, reason: str) -> dict[str, Any]:
    """Return what a step writes besides when it goes on, or is given up, after it had written a letter."""
    if not is_open(record):
        return {}
    return {"letter": {**(record.letter or {}), "outcome": outcome, "by": reason[:MOST_WORDS]}}


def is_open(record: StepRecord) -> bool:
    """Tell whether a step waits for what becomes of its letter."""
    return record.phase is Phase.PAUSED and record.letter is not None and "outcome" not in record.letter


def confirm(turn: "Turn") -> None:
    """Note the letters that are there now."""
    for name, path in [(record.letter["name"], record.path) for record in turn.steps.values() if _is_wanted(record) and record.letter]:
        fact = turn.observations.letters.get(name)
        if fact is not None:
            letter = {**(turn.steps[path].letter or {}), "uid": fact.uid}
            turn.change_step("DeadLetterWritten", path, letter=letter, inputs=None, reason=f"DeadLetter {name} tells of it")


def effects(state: State, observations: Observations) -> Iterator[CreateDeadLetter]:
    """Yield the letters that are to be written."""
    for record in state.steps.values():
        if _is_wanted(record) and record.letter is not None and record.letter["name"] not in observations.letters:
            yield _letter(record, record.letter)


def _letter(record: StepRecord, letter: Mapping[str, str]) -> CreateDeadLetter:
    return CreateDeadLetter(
        letter["name"],
        record.path,
        record.kind,
        record.attempt,
        record.error or Fault("Unknown"),
        letter["at"],
        record.inputs,
        is_cut=letter.get("omitted") == "inputs",
        previous=letter.get("previous", ""),
    )


def _is_wanted(record: StepRecord) -> bool:
    return is_open(record) and "uid" not in (record.letter or {})
