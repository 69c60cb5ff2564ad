"""Telling the world what was written: Kubernetes Events for what a person would want to know, log lines, figures. Never before the write."""

import logging
from typing import Final

from backstay.engine.model import ENDED, Decision, Entry, Fault, Phase, State
from backstay.errors import ApiError, grant, missing_right
from backstay.observe.events import Announcer as Events
from backstay.observe.metrics import Metrics
from backstay.runtime.store import Reading
from backstay.runtime.view import Object, key_of, ref_of, workflow_of

log = logging.getLogger(__name__)

WARNINGS: Final = frozenset(
    {
        "StepFailed",
        "StepRetrying",
        "StepDisrupted",
        "StepCatching",
        "RunFailing",
        "RunRefused",
        "RunFailed",
        "StatusRestored",
        "CompensationAbandoned",
    }
)
NOTES: Final = frozenset(
    {
        "LockWaiting",
        "RunCancelled",
        "CancelRequested",
        "DeletionRequested",
        "RunSuspended",
        "RunResumed",
        "RunCompensating",
        "CompensationRequested",
        "RunCompensated",
        "StepCompensated",
        "StepCaught",
    }
)


class Announcer:
    """Says what was decided, once it is written. The happy path costs no write: it is in the status for all to see."""

    def __init__(self, events: Events, metrics: Metrics) -> None:
        self._events = events
        self._metrics = metrics

    def tell(self, run: Object, decision: Decision, reading: Reading, *, namespace_goes: bool = False) -> None:
        """Announce the entries of a decision that has been written; what must outlive the namespace is told outside of it."""
        if not decision.entries:
            return
        for entry in decision.entries:
            self._tell_one(run, entry)
            if entry.kind == "CompensationAbandoned":
                self._tell_abandoned(run, entry, namespace_goes=namespace_goes)
        self._count(run, reading.state, decision)

    def _count(self, run: Object, before: State, decision: Decision) -> None:
        after, workflow = decision.state.run, workflow_of(run)
        self._metrics.run_changed(workflow, _active(before), _active(decision.state))
        if after.finished_at is not None and before.run.finished_at is None:
            began = after.started_at or after.finished_at
            self._metrics.run_finished(workflow, str(after.phase), (after.finished_at - began).total_seconds())
        for entry in decision.entries:
            phase = entry.changes.get("phase")
            if entry.path and phase and Phase(phase) in ENDED:
                self._metrics.step_finished(_kind(entry, before, decision), phase)

    def _tell_one(self, run: Object, entry: Entry) -> None:
        words = f"{entry.path}: {entry.reason}" if entry.path and entry.reason else entry.reason or entry.path or entry.kind
        log.debug("%s: %s %s", key_of(run), entry.kind, words)
        if entry.kind in WARNINGS or (entry.kind == "ChildSeen" and entry.changes.get("stalled")):
            self._events.announce(ref_of(run), "Warning", entry.kind, words)
        elif entry.kind in NOTES or (entry.kind in ("JobSeen", "JobHeld", "CallWaits", "ChildHeld") and entry.changes.get("message")):
            self._events.announce(ref_of(run), "Normal", entry.kind if entry.kind in NOTES else "Waiting", words)

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
    return str(state.run.phase) if state.run.phase is not None and not state.run.is_finished else None


def _kind(entry: Entry, before: State, decision: Decision) -> str:
    """The kind of step that an entry is about; the record may be forgotten by now, if not already begun in the same look."""
    record = decision.state.steps.get(entry.path) or before.steps.get(entry.path)
    if record is not None:
        return record.kind
    return next(str(begun.changes["kind"]) for begun in decision.entries if begun.path == entry.path and "kind" in begun.changes)
