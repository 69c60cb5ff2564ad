"""Why nobody caught an error: which catches were looked at, from the inside out, and why each of them did not take it.

Derived from the program and the records, never stored: what a person asks first when a run has failed.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backstay.api.faults import ANY, class_of, matches
from backstay.engine.model import Fault, StepRecord
from backstay.engine.node import Handler
from backstay.engine.paths import ROOT, around, is_handling

if TYPE_CHECKING:
    from backstay.engine.program import Program

MOST_CATCHES: Final = 6
MOST_TYPES: Final = 4
MOST_WORDS: Final = 600
CHILD: Final = ":child/"
"""Stands in the place of an error between a step and the place in its child run."""
_BROKEN: Final = re.compile(r"catch\[(\d+)\]\.when: ")


@dataclass(frozen=True, slots=True)
class Looked:
    """One catch that did not deal with an error: of which step, which of its catches, and why not."""

    step: str
    index: int
    why: str

    def __str__(self) -> str:
        of = "the workflow" if self.step == ROOT else self.step
        return f"catch[{self.index}] of {of} {self.why}"


def looked_at(program: "Program", steps: Mapping[str, StepRecord], fault: Fault) -> list[Looked]:
    """Return the catches around the step that raised an error, the innermost first, each with the reason why the run failed of it."""
    place = fault.step.partition(CHILD)[0]
    if not place:
        return []
    owners = [owner for owner in (place, *reversed(list(around(place))), ROOT) if owner in steps]
    return [found for owner in dict.fromkeys(owners) for found in _of_step(program, steps[owner], place, fault)]


def _of_step(program: "Program", record: StepRecord, place: str, fault: Fault) -> Iterator[Looked]:
    node = program.node(record.path)
    for index, handler in enumerate(node.handlers if node else ()):
        yield Looked(record.path, index, _why(record, index, handler, place, fault))


def _why(record: StepRecord, index: int, handler: Handler, place: str, fault: Fault) -> str:
    broken = _BROKEN.match(fault.detail) if fault.type == "ExpressionError" and place == record.path else None
    if broken is not None:
        at = int(broken[1])
        return "could not be looked at: its when failed" if index == at else "was not looked at" if index > at else "did not match"
    if record.handler is not None:
        if index == record.handler:
            return (
                "took it, and raised it again"
                if not is_handling(place, record.path)
                else "had taken another error, and failed with this one"
            )
        return "was not looked at: another one had taken the error" if index > record.handler else "did not take the error"
    if is_handling(place, record.path):
        return "was not looked at: the error came out of a boundary event of the step"
    if matches(fault.type, handler.errors):
        return "did not take it: its when was false"
    shown = ", ".join(handler.errors[:MOST_TYPES]) + (", …" if len(handler.errors) > MOST_TYPES else "")
    return f"is for {shown}"


def words(program: "Program", steps: Mapping[str, StepRecord], fault: Fault) -> str:
    """Return where an error was raised and why nobody caught it, to be added to a sentence; nothing of one that the run itself raised."""
    if not fault.step:
        return ""
    attempt = f" (attempt {fault.attempt})" if fault.attempt else ""
    found = looked_at(program, steps, fault)
    more = f"; and {len(found) - MOST_CATCHES} more" if len(found) > MOST_CATCHES else ""
    catches = f"looked at: {'; '.join(map(str, found[:MOST_CATCHES]))}{more}" if found else "there is no catch around it"
    said = f"; raised by {fault.step}{attempt}; {catches}"
    return said if len(said) <= MOST_WORDS else f"{said[: MOST_WORDS - 1]}…"


def kind(fault: Fault) -> str:
    """Return an error's type with its class: `ExitCode (Transient)`."""
    found = class_of(fault.type)
    return f"{fault.type} ({found})" if found and fault.type != ANY else fault.type
