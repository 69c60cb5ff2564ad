"""The beats of a run's story, for people: in which words an entry of its journal is told as an Event, and what counts as the same said again.

An Event is told once and counted: a step that fails fifty times with one type of error, or fifty items that fail at the same step, are one
Event with a count. So its words hold what stays: of the attempts and the items that follow, the count and the status tell.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from backstay.engine.model import Entry, State, StepRecord
from backstay.engine.paths import ROOT, static


@dataclass(frozen=True, slots=True)
class Beat:
    """What is told. `subject` is what it is about: said again of the same, it is only counted."""

    message: str
    subject: str


def beat(entry: Entry, state: State, status: Mapping[str, Any]) -> Beat | None:
    """Return how an entry is told, once it is written; None where another entry tells the same.

    `state` is what came of the decision, `status` how it is shown.
    """
    record = state.steps.get(entry.path)
    if entry.kind == "StepFailed" and not _is_own(entry, record):
        return None
    words = _WORDS.get(entry.kind, _plain)(entry, record, status)
    if not entry.path:
        return Beat(words, words)
    return Beat(words, f"{static(entry.path)} {entry.reason.partition(':')[0]}")


def _is_own(entry: Entry, record: StepRecord | None) -> bool:
    """Tell whether a step has failed by itself: what fails because a step in it did was told with that step."""
    fault = record.error if record is not None else None
    if entry.path == ROOT or fault is None:
        return entry.path != ROOT
    return fault.step in ("", entry.path) or fault.step.startswith(f"{entry.path}:child/")


_Words = Callable[[Entry, StepRecord | None, Mapping[str, Any]], str]


def _plain(entry: Entry, _record: StepRecord | None, _status: Mapping[str, Any]) -> str:
    return f"{entry.path}: {entry.reason}" if entry.path and entry.reason else entry.reason or entry.path or entry.kind


def _after(words: str) -> _Words:
    """Tell of a step: its path, what happened to it, and why."""

    def tell(entry: Entry, _record: StepRecord | None, _status: Mapping[str, Any]) -> str:
        return f"{entry.path or 'the run'} {words}{f': {entry.reason}' if entry.reason else ''}"

    return tell


def _failed(entry: Entry, record: StepRecord | None, _status: Mapping[str, Any]) -> str:
    tries = f" after {record.attempt} attempts" if record is not None and record.attempt > 1 else ""
    return f"{entry.path} failed{tries}: {entry.reason}"


def _paused(entry: Entry, record: StepRecord | None, _status: Mapping[str, Any]) -> str:
    return f"{entry.path} is {record.message}" if record is not None and record.message else f"{entry.path} is paused: {entry.reason}"


def _undone(entry: Entry, _record: StepRecord | None, _status: Mapping[str, Any]) -> str:
    return f"{entry.path} is undone" if entry.path else entry.reason


def _end(words: str) -> _Words:
    """Tell of the run's end: why, and what is undone and what is not."""

    def tell(_entry: Entry, _record: StepRecord | None, status: Mapping[str, Any]) -> str:
        compensated: Mapping[str, Any] = next((item for item in status.get("conditions") or () if item.get("type") == "Compensated"), {})
        rest = (str(status.get("message") or ""), str(compensated.get("message") or ""))
        return "; ".join([": ".join(filter(None, (words, rest[0]))), *filter(None, rest[1:])])

    return tell


_WORDS: Final[Mapping[str, _Words]] = {
    "StepRetrying": _after("failed and is tried again"),
    "StepCatching": _after("failed, and a handler takes over"),
    "StepCaught": _after("is done: its handler has dealt with the error"),
    "StepFailed": _failed,
    "StepPaused": _paused,
    "StepSkipped": _after("is skipped, as a person asked"),
    "StepCompensated": _undone,
    "RunFailing": _after("fails"),
    "RunCompensating": _after("is being undone, the newest step first"),
    "NotUndone": _after("is left with something undone"),
    "FinallyAbandoned": _after("is not waited for any longer"),
    "RunFailed": _end("the run has failed"),
    "RunCancelled": _end("the run was ended early"),
    "RunCompensated": _end("the run is undone"),
}
