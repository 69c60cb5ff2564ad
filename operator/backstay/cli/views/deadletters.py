"""DeadLetters for eyes and for commands: a table of them, and what may be asked of one. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from backstay.api.dead_letter import LetterPhase
from backstay.cli.failures import Usage
from backstay.cli.views.text import clean, length
from backstay.engine.codec import time_from_json

Object = Mapping[str, Any]

_COLUMNS: Final = ("NAME", "RUN", "STEP", "ERROR", "PHASE", "AGE")
_WIDE: Final = ("WORKFLOW", "ATTEMPTS", "MESSAGE")
_RATE: Final = re.compile(r"(\d+)/(s|m|h)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
SETTLED: Final = (LetterPhase.REPLAYED, LetterPhase.DISCARDED)


def phase_of(letter: Object) -> str:
    """Return where a letter stands; Waiting before the operator has looked at it."""
    return str((letter.get("status") or {}).get("phase") or LetterPhase.WAITING)


def words_of(letter: Object) -> str:
    """Return what a letter's status says."""
    return str((letter.get("status") or {}).get("message") or "")


def is_open(letter: Object) -> bool:
    """Tell whether somebody may say what is to become of a letter."""
    resolution = (letter.get("spec") or {}).get("resolution")
    if not resolution:
        return phase_of(letter) not in SETTLED
    return phase_of(letter) == LetterPhase.FAILED and (letter.get("status") or {}).get("resolution") == resolution.get("id")


def is_answered(letter: Object, id_: str) -> bool:
    """Tell whether something has become of a resolution."""
    return phase_of(letter) in SETTLED or (phase_of(letter) == LetterPhase.FAILED and (letter.get("status") or {}).get("resolution") == id_)


def table(letters: Sequence[Object], now: datetime, *, wide: bool = False) -> list[str]:
    """Return letters as lines, the oldest first, under a header."""
    oldest_first = sorted(letters, key=lambda letter: str(letter["metadata"].get("creationTimestamp")))
    header = _COLUMNS + (_WIDE if wide else ())
    rows = [header, *(tuple(clean(cell, 400) for cell in _row(letter, now, wide=wide)) for letter in oldest_first)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(letter: Object, now: datetime, *, wide: bool) -> tuple[str, ...]:
    meta, spec = letter["metadata"], letter.get("spec") or {}
    try:
        age = length(now - time_from_json(str(meta.get("creationTimestamp"))))
    except ValueError:
        age = "?"
    run, error = (spec.get("run") or {}).get("name"), (spec.get("error") or {}).get("type")
    found = (str(meta["name"]), str(run), str(spec.get("step")), str(error), phase_of(letter), age)
    if not wide:
        return found
    workflow = (spec.get("workflow") or {}).get("name") or "inline"
    return (*found, str(workflow), str(spec.get("attempts") or 0), words_of(letter))


def pause_of(rate: str) -> timedelta:
    """Read a rate as in `10/m`, and return how long to wait between two replays. Raises Usage."""
    found = _RATE.fullmatch(rate.strip())
    if found is None or not int(found[1]):
        raise Usage(f"--rate {rate}: that is no rate", "write how many within a second, a minute or an hour, as in 10/m")
    return timedelta(seconds=_SECONDS[found[2]] / int(found[1]))


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be asked of one letter; or why it cannot be, and what to do about it."""

    name: str
    words: str
    refusal: str = ""


def plan(letter: Object, action: str, *, edit: bool = False, parameters: bool = False) -> Plan:
    """Say what a replay or a discard of a letter comes to."""
    name, spec, status = letter["metadata"]["name"], letter.get("spec") or {}, letter.get("status") or {}
    run, step = (spec.get("run") or {}).get("name"), spec.get("step")
    error = (spec.get("error") or {}).get("type")
    if not is_open(letter):
        return Plan(name, "", f"{name} is {phase_of(letter)}: {words_of(letter) or 'somebody has asked for something already'}")
    ended = bool(status.get("runEnded"))
    if edit and ended:
        return Plan(
            name, "", f"{name}: run {run} has ended, so no step waits whose inputs --edit could change; use --parameters for a new run"
        )
    if parameters and not ended:
        return Plan(
            name, "", f"{name}: run {run} still waits, and keeps its parameters; use --edit for the step's inputs, or cancel the run first"
        )
    if action == "Discard":
        return Plan(name, f"{name}: discard ({error} of step {step} of run {run})")
    how = "by a new run" if ended else f"in run {run}"
    return Plan(name, f"{name}: replay step {step} {how} ({error})")
