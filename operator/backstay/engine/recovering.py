"""What a recovery run is told of the run that failed: a picture of its state that fits into parameters, with what was left out told."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from backstay.engine import codec
from backstay.engine.model import Json, Phase, StepRecord
from backstay.engine.paths import ROOT

if TYPE_CHECKING:
    from backstay.engine.turn import Turn

MOST_BYTES: Final = 16 * 1024
"""What the picture may take as JSON: it goes into the parameters of another run, and so into its object."""
_ROOM_FOR_COUNTS: Final = 200


class _Room:
    """How many bytes are left."""

    def __init__(self, size: int) -> None:
        self.left = size

    def takes(self, name: str, value: Json) -> bool:
        """Take the room for a member of an object, if there is enough of it."""
        size = len(orjson.dumps({name: value})) + 1
        if size > self.left:
            return False
        self.left -= size
        return True


def state_of(turn: "Turn") -> dict[str, Json]:
    """Return what a run has come to: `phase`, `vars`, and by path `steps` with phase, attempt, error and outputs.

    What does not fit into 16 KiB is left out, and counted in `omitted`: first outputs, those of the oldest steps before others; then
    variables; then steps, the oldest before others and those with an error last of all.
    """
    records = [record for record in turn.steps.values() if record.path != ROOT]
    room = _Room(MOST_BYTES - _ROOM_FOR_COUNTS)
    shown: dict[str, dict[str, Json]] = {}
    newest_first = records[::-1]
    for record in sorted(newest_first, key=lambda record: record.error is None):
        if room.takes(record.path, view := _view(record)):
            shown[record.path] = view
    kept = {name: value for name, value in turn.run.vars.items() if room.takes(name, value)}
    given = [record for record in newest_first if _outputs(record) is not None]
    left_out = 0
    for record in given:
        if record.path in shown and room.takes("outputs", _outputs(record)):
            shown[record.path]["outputs"] = _outputs(record)
        else:
            left_out += 1
    return {
        "phase": str(turn.run.result or turn.run.phase or ""),
        "vars": kept,
        "steps": {record.path: shown[record.path] for record in records if record.path in shown},
        "omitted": {"steps": len(records) - len(shown), "vars": len(turn.run.vars) - len(kept), "outputs": left_out},
    }


def _view(record: StepRecord) -> dict[str, Any]:
    found: dict[str, Any] = {"phase": str(record.phase)}
    if record.attempt:
        found["attempt"] = record.attempt
    if record.error is not None:
        found["error"] = codec.fault_to_json(record.error)
    return found


def _outputs(record: StepRecord) -> Mapping[str, Json] | None:
    is_given = record.has_succeeded or record.phase is Phase.SKIPPED
    return record.outputs if is_given and record.outputs else None
