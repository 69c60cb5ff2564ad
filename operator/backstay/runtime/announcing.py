"""Telling the world what was written: Kubernetes Events for what a person would want to know, log lines, figures. Never before the write."""

import logging
from typing import Final

from backstay.engine.model import ENDED, Decision, Entry, Fault, Phase, State
from backstay.engine.transactions import is_in_doubt
from backstay.errors import ApiError, grant, missing_right
from backstay.observe.events import Announcer as Events
from backstay.observe.metrics import Metrics
from backstay.runtime.beats import beat
from backstay.runtime.queue import Key
from backstay.runtime.store import Reading
from backstay.runtime.view import Object, key_of, ref_of, workflow_of

log = logging.getLogger(__name__)

WARNINGS: Final = frozenset(
    {
        "StepFailed",
        "StepRetrying",
        "StepPaused",
        "StepDisrupted",
        "StepCatching",
        "RunFailing",
        "RunRefused",
        "RunFailed",
        "StatusRestored",
        "CompensationAbandoned",
        "CompensationRefused",
        "NotUndone",
        "FinallyAbandoned",
        "HeuristicOutcome",
        "DeadLetterWritten",
        "ReplayRefused",
    }
)
NOTES: Final = frozenset(
    {
        "LockWaiting",
        "CircuitWaiting",
        "RunCancelled",
        "CancelRequested",
        "DeletionRequested",
        "RunSuspended",
        "RunResumed",
        "RunCompensating",
        "CompensationRequested",
        "RunCompensated",
        "StepCompensated",
        "PivotPassed",
        "StepCaught",
        "StepInterrupted",
        "EscalationHeard",
        "EscalationUnheard",
        "RecoveryStarted",
        "StepResumed",
    }
)

ASKED: Final = frozenset({"StepSkipped", "StepCancelled"})
"""Told where a person asked for it: a run goes on although something was not done, or was not undone."""
STALLED: Final = "Stalled"
IN_DOUBT: Final = "InDoubt"


class Announcer:
    """Says what was decided, once it is written. The happy path costs no write: it is in the status for all to see."""

    def __init__(self, events: Events, metrics: Metrics) -> None:
        self._events = events
        self._metrics = metrics
        self._counted: dict[Key, tuple[str, str]] = {}
        """What each run that goes on is counted as: its workflow and phase. An operator that starts knows of none."""

    def tell(self, run: Object, decision: Decision, reading: Reading, *, namespace_goes: bool = False) -> None:
        """Announce the entries of a decision that has been written; what must outlive the namespace is told outside of it."""
        if decision.entries or key_of(run) not in self._counted:
            self._count_active(key_of(run), workflow_of(run), _active(decision.state))
        if not decision.entries:
            return
        for entry in decision.entries:
            self._tell_one(run, entry, decision.state)
            if entry.kind == "CompensationAbandoned":
                self._tell_abandoned(run, entry, namespace_goes=namespace_goes)
        self._count(run, reading.state, decision)

    def forget(self, key: Key) -> None:
        """A run is finished or gone."""
        if key in self._counted:
            self._count_active(key, self._counted[key][0], None)

    def _count_active(self, key: Key, workflow: str, phase: str | None) -> None:
        _, before = self._counted.pop(key, ("", None))
        self._metrics.run_changed(workflow, before, phase)
        if phase is not None:
            self._counted[key] = workflow, phase

    def _count(self, run: Object, before: State, decision: Decision) -> None:
        after, workflow = decision.state.run, workflow_of(run)
        if after.finished_at is not None and before.run.finished_at is None:
            began = after.started_at or after.finished_at
            self._metrics.run_finished(workflow, str(after.phase), (after.finished_at - began).total_seconds())
        for entry in decision.entries:
            phase = entry.changes.get("phase")
            if entry.path and phase and Phase(phase) in ENDED:
                self._metrics.step_finished(_kind(entry, before, decision), phase)

    def _tell_one(self, run: Object, entry: Entry, state: State) -> None:
        log.debug("%s: %s %s: %s", key_of(run), entry.kind, entry.path, entry.reason)
        told = beat(entry, state, run.get("status") or {})
        if told is None:
            return
        by_a_person = entry.kind in ASKED and entry.actor != "operator"
        if entry.kind in WARNINGS or by_a_person or (entry.kind == "ChildSeen" and entry.changes.get("stalled")):
            self._events.announce(ref_of(run), "Warning", entry.kind, told.message, told.subject)
        elif entry.kind in NOTES or (entry.kind in ("JobSeen", "JobHeld", "CallWaits", "ChildHeld") and entry.changes.get("message")):
            self._events.announce(ref_of(run), "Normal", entry.kind if entry.kind in NOTES else "Waiting", told.message, told.subject)

    def _tell_abandoned(self, run: Object, entry: Entry, *, namespace_goes: bool) -> None:
        """Something was done and will not be undone: that must reach a person, also where the run and its Events vanish with the namespace."""
        log.warning("%s: the compensation is given up: %s", key_of(run), entry.reason)
        self._metrics.compensation_abandoned(workflow_of(run))
        if namespace_goes:
            self._events.announce_for_namespace(ref_of(run), "Warning", entry.kind, f"run {key_of(run)}: {entry.reason}")

    def trouble(self, run: Object, error: ApiError) -> None:
        """Tell that the API server keeps a run from going on. The same words every time: they count as one Event."""
        right = missing_right(error.message)
        mend = f"{grant(right)}; " if right else ""
        self._events.announce(ref_of(run), "Warning", "Waiting", f"{error.message}; {mend}it is tried again until it works")

    def queued(self, run: Object, words: str) -> None:
        """Tell that a run waits for its turn; once, the status tells how far it is."""
        self._events.announce(ref_of(run), "Normal", "Queued", words)

    def lost(self, run: Object, fault: Fault) -> None:
        """Tell that a run cannot go on, because the revision it is pinned to is gone."""
        log.error("%s: %s", key_of(run), fault.detail)
        self._events.announce(ref_of(run), "Warning", fault.type, fault.detail)

    def vanished(self, run: Object, left: str) -> None:
        """Tell that a run went that had not ended, and what it leaves behind: nobody else will ever know."""
        words = f"the run is gone although it had not ended: its finalizer was taken off by hand, or it was deleted while that was put on; {left}"
        log.error("%s (UID %s): %s", key_of(run), run["metadata"]["uid"], words)
        self._metrics.run_vanished(workflow_of(run))
        self._events.announce(ref_of(run), "Warning", "RunVanished", words)

    def bug(self, run: Object, error: Exception) -> None:
        """Tell that the operator itself failed on a run; the log has the details."""
        words = (
            f"the operator failed on this run ({type(error).__name__}: {error}) and tries again; please report it with the operator's log"
        )
        self._events.announce(ref_of(run), "Warning", "InternalError", words)

    def tampered(self, run: Object, what: str) -> None:
        """Tell that a status was changed by hand so that nothing certain is left."""
        words = f"the status does not follow from its journal ({what}), and nothing is left to restore it from; restore the run from a backup, or delete it"
        log.error("%s: %s", key_of(run), words)
        self._events.announce(ref_of(run), "Warning", "StatusTampered", words)

    def incomplete(self, run: Object, what: str) -> None:
        """Tell that a run cannot go on, because what its status leaves out is not where it was moved to."""
        words = f"{what}; restore the run together with its WorkflowJournals, or delete it"
        log.error("%s: %s", key_of(run), words)
        self._events.announce(ref_of(run), "Warning", "JournalIncomplete", words)


def _active(state: State) -> str | None:
    """Return what a run that is not finished counts as: its phase, Stalled where a step needs a person, InDoubt where a decision cannot be carried out."""
    if state.run.phase is None or state.run.is_finished:
        return None
    if any(record.stalled and not record.has_ended for record in state.steps.values()):
        return STALLED
    return IN_DOUBT if is_in_doubt(state.steps) else str(state.run.phase)


def _kind(entry: Entry, before: State, decision: Decision) -> str:
    """The kind of step that an entry is about; the record may be forgotten by now, if not already begun in the same look."""
    record = decision.state.steps.get(entry.path) or before.steps.get(entry.path)
    if record is not None:
        return record.kind
    return next(str(begun.changes["kind"]) for begun in decision.entries if begun.path == entry.path and "kind" in begun.changes)
