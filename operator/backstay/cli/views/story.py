"""The journal of a run as a story: when, what, which step, why, who."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from backstay.cli.views.seen import Run
from backstay.cli.views.text import Line, Span, clean, counted, length, line, one_line
from backstay.cli.views.verdict import about
from backstay.engine import codec
from backstay.engine.audit import Audit, Subject, audit
from backstay.engine.model import Entry
from backstay.engine.paths import ROOT

_WORDS: Final = 400
_KINDS: Final = {
    "RunStarted": "the run begins",
    "RunRefused": "the run is refused",
    "RunSuspended": "the run is suspended",
    "RunResumed": "the run goes on",
    "CancelRequested": "the run is cancelled",
    "DeletionRequested": "the run is deleted",
    "RunCancelled": "the run has ended early",
    "RunFailing": "the run fails; what still goes on is stopped",
    "RunStopping": "the run is ended by the workflow; what still goes on is stopped",
    "RunCompensating": "undoing begins",
    "RunSucceeded": "the run has succeeded",
    "RunFailed": "the run has failed",
    "VariablesSet": "variables are set",
    "CompensationAbandoned": "undoing is given up",
    "CompensationRefused": "undoing is refused",
    "NotUndone": "left as it is",
    "PivotPassed": "the pivot has succeeded",
    "OutcomeUnknown": "it may have been done, and nobody can know",
    "StatusRestored": "a status that did not follow from the journal was set right",
    "StepStarted": "begins",
    "AttemptStarted": "begins",
    "StepWaiting": "begins",
    "StepSkipped": "is skipped",
    "StepSucceeded": "has succeeded",
    "StepRetrying": "failed and will be tried again",
    "StepPaused": "is paused: a person must retry, edit, skip or give up",
    "DeadLetterWritten": "has left a DeadLetter",
    "ReplayRefused": "is not replayed",
    "StepResumed": "is tried again, as a person asked",
    "StepFinishing": "is about to end: what comes before its end begins",
    "RunFinishing": "the run is about to end: what comes last begins",
    "FinallyAbandoned": "what was to come before the end is given up",
    "RecoveryStarted": "another run is started to recover from the failure",
    "StepDisrupted": "was disrupted and runs again, without using up an attempt",
    "StepCatching": "failed, and a handler takes over",
    "StepCaught": "is done: its handler has dealt with the error",
    "StepStopping": "is stopped",
    "StepFailed": "has failed",
    "StepCancelled": "was stopped before its end",
    "StepCompensated": "is undone",
    "JobSeen": "its Job is known",
    "JobHeld": "its Job cannot be made yet",
    "CallWaits": "waits for something else",
    "ChildSeen": "its child run is seen",
    "ChildHeld": "its child run cannot be made yet",
    "CompensationRequested": "the run is to be undone although it has succeeded; undoing begins",
    "RunCompensated": "the run is undone",
    "StepJoined": "has met its join, and what follows begins",
    "LateArrival": "hears of a branch that came late",
    "RaceWon": "has its first event",
    "StepInterrupted": "is interrupted, and other steps take its place",
    "EscalationHeard": "hears an escalation",
    "EscalationUnheard": "escalates, and nobody hears it",
    "LateResult": "ended after it was given up",
    "DeadlineMoved": "its deadline has moved",
    "DeadlinesMoved": "the deadlines of its steps have moved",
}


@dataclass(frozen=True, slots=True)
class Story:
    """The journal, read and verified. `dropped` counts the oldest entries that are not told, `why` says why."""

    entries: tuple[Entry, ...]
    dropped: int
    verdict: str
    is_sound: bool
    why: str = "no longer kept"


def read_story(run: Run, found: Audit | None = None, trouble: str = "") -> Story:
    """Read a run's journal. `found` is the audit of all of it; without it there is the status alone, and `trouble` says why."""
    if found is None:
        found = audit(Subject(run.name, run.uid), _by_itself(run.status) if trouble else run.status)
    untold = found.entries[0].sequence - 1 if found.entries else found.dropped
    why = f"not told here: {clean(trouble, _WORDS)}" if trouble else "no longer kept" if found.dropped else "missing"
    verdict, is_sound = _verdict(run, found, trouble)
    return Story(found.entries, untold, verdict, is_sound, why)


def _by_itself(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return a status with the entries that are elsewhere counted as lost."""
    kept = dict(status.get("journal") or {})
    elsewhere = (kept.pop("archived", 0) or 0) + (kept.get("dropped") or 0)
    return {**status, "journal": {**kept, "dropped": elsewhere}}


def _verdict(run: Run, found: Audit, trouble: str) -> tuple[str, bool]:
    if found.findings:
        first, more = found.findings[0], len(found.findings) - 1
        also = f"; and {counted(more, 'finding')} more, which `backstay verify` names" if more else ""
        return f"NOT TO BE TRUSTED: {about(first)}: {clean(one_line(first.message), _WORDS)}{also}", False
    if not found.entries:
        return "nothing has happened yet", True
    omitted = run.status.get("stepsOmitted")
    if trouble and omitted:
        return f"NOT CHECKED: the status leaves out {omitted} steps, of which only the entries tell that are not told here", False
    count, seal = f"{len(found.entries):,}", clean(found.head)
    if not found.is_proven:
        return f"the {count} newest entries form an unbroken chain that ends in the seal {seal}, and the status agrees with them", True
    return f"the chain of all {count} entries is unbroken (seal {seal}), and the status is exactly what follows from it", True


def story(told: Story) -> list[Line]:
    """Return the lines that tell what happened."""
    lines: list[Line] = []
    if told.dropped:
        count = f"{told.dropped:,} older {'entry is' if told.dropped == 1 else 'entries are'}"
        lines.append(line(Span(f"({count} {told.why}; the story begins at entry {told.dropped + 1:,})", "dim")))
    day = ""
    for entry in told.entries:
        date = entry.time.astimezone(UTC).strftime("%Y-%m-%d")
        if date != day:
            day = date
            lines.append(line(Span(f"{date} (UTC)", "bold")))
        lines.append(_entry_line(entry, told.entries[0].time))
    lines.append(line(Span(told.verdict, "dim" if told.is_sound else "Failed")))
    return lines


def _entry_line(entry: Entry, began: datetime) -> Line:
    time = entry.time.astimezone(UTC).strftime("%H:%M:%S.%f")[:-3]
    phase = str(entry.changes.get("phase") or "")
    after = f"+{length(entry.time - began)}"
    who = f"  by {clean(entry.actor)}" if entry.actor != "operator" else ""
    reason = f": {clean(one_line(entry.reason), _WORDS)}" if entry.reason else ""
    return line(f"  {time}  ", Span(f"{after:>8}", "dim"), "  ", Span(_words(entry), phase), reason, Span(who, "bold"))


def _words(entry: Entry) -> str:
    words = _KINDS.get(entry.kind) or _split(entry.kind)
    if not entry.path:
        return words
    name = "the body of the workflow" if entry.path == ROOT else clean(entry.path)
    attempt = f" (attempt {entry.attempt})" if entry.attempt > 1 or (entry.attempt and entry.kind == "StepRetrying") else ""
    return f"{name}{attempt} {words}" if entry.kind in _KINDS and not words.startswith("its") else f"{name}{attempt}: {words}"


def _split(kind: str) -> str:
    """Words for a kind of entry that this version does not know: `RunPinned` is `run pinned`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", clean(kind)).lower()


def story_data(run: Run, told: Story) -> dict[str, Any]:
    """Return the journal as data."""
    return {
        "name": run.name,
        "namespace": run.namespace,
        "dropped": told.dropped,
        "verified": told.is_sound,
        "verdict": told.verdict,
        "entries": [codec.entry_to_json(entry) for entry in told.entries],
    }
