"""The journal of a run as a story: when, what, which step, why, who."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from backstay.cli.archive import NOTHING_OLDER, Older
from backstay.cli.views.seen import Run
from backstay.cli.views.text import Line, Span, clean, length, line, one_line
from backstay.engine import codec, journal
from backstay.engine.model import Entry
from backstay.engine.paths import ROOT
from backstay.errors import ArchiveNeeded, IllegalTransition, TamperedState

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
    """The journal, read and verified. `dropped` counts the oldest entries that are missing, `why` says where they are."""

    entries: tuple[Entry, ...]
    dropped: int
    verdict: str
    is_sound: bool
    why: str = "no longer kept"


def read_story(run: Run, older: Older = NOTHING_OLDER) -> Story:
    """Read a run's journal, and hold the status against it. `older` is what stands in WorkflowJournals."""
    kept = run.status.get("journal")
    given: Mapping[str, Any] = kept if isinstance(kept, Mapping) else {}
    entries, unreadable = [], 0
    for data in given.get("entries") or ():
        try:
            entries.append(codec.entry_from_json(data))
        except (TamperedState, AttributeError):
            unreadable += 1
    dropped, archived = given.get("dropped") or 0, given.get("archived") or 0
    if not isinstance(dropped, int) or not isinstance(archived, int):
        counts = clean(f"{dropped!r} and {archived!r}", _WORDS)
        return Story(tuple(entries), 0, f"NOT TO BE TRUSTED: the numbers of dropped and archived entries are {counts}", False)
    if archived and older.trouble:
        verdict, is_sound = _verdict(run, entries, dropped + archived, unreadable)
        return Story(tuple(entries), dropped + archived, verdict, is_sound, f"not told here: {clean(older.trouble, _WORDS)}")
    verdict, is_sound = _verdict(run, entries, dropped + archived, unreadable, older.entries)
    return Story((*older.entries, *entries), dropped, verdict, is_sound)


def _verdict(run: Run, entries: list[Entry], before: int, unreadable: int, older: Sequence[Entry] = ()) -> tuple[str, bool]:
    if not entries and not run.state.steps and run.state.run.phase is None:
        return "nothing has happened yet", True
    if unreadable:
        return f"NOT TO BE TRUSTED: {unreadable:,} of the journal's entries cannot be read", False
    if entries and entries[0].sequence != before + 1:
        return (
            f"NOT TO BE TRUSTED: the journal says that {before:,} entries are elsewhere, and begins with entry {entries[0].sequence:,}",
            False,
        )
    is_whole = len(older) == before
    try:
        journal.verify(run.status, journal.fold(older) if is_whole else None)
        if older and not is_whole:
            journal.check_chain([*older, *entries], run.state.head)
    except ArchiveNeeded as error:
        return f"NOT CHECKED: {clean(one_line(str(error)), _WORDS)}", False
    except (TamperedState, IllegalTransition, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"NOT TO BE TRUSTED: {clean(one_line(str(error)), _WORDS)}", False
    seal = clean(run.state.head)
    if not is_whole:
        return (
            f"the {len(older) + len(entries):,} newest entries form an unbroken chain that ends in the seal {seal}, and the status agrees with them",
            True,
        )
    return (
        f"the chain of all {before + len(entries):,} entries is unbroken (seal {seal}), and the status is exactly what follows from it",
        True,
    )


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
