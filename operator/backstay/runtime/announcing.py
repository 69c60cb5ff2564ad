"""Telling the world what was written: Kubernetes Events for what a person would want to know, log lines, figures. Never before the write."""

import logging
from typing import Final

from backstay.engine.model import ENDED, Decision, Entry, Fault, Phase, State
from backstay.errors import ApiError
from backstay.observe.events import Announcer as Events
from backstay.observe.metrics import Metrics
from backstay.runtime.store import Reading
from backstay.runtime.view import Object, key_of, ref_of, workflow_of

log = logging.getLogger(__name__)

WARNINGS: Final = frozenset(
    {"StepFailed", "StepRetrying", "StepCatching", "RunFailing", "RunRefused", "RunFailed", "StatusRestored", "CompensationAbandoned"}
)
NOTES: Final = frozenset(
    {
        "RunCancelled",
        "CancelRequested",
        "DeletionRequested",
        "RunSuspended",
        "RunResumed",
        "RunCompensating",
        "StepCompensated",
        "StepCaught",
    }
)


class Announcer:
    """Says what was decided, once it is written. The happy path costs no write: it is in the status for all to see."""

    def __init__(self, events: Events, metrics: Metrics) -> None:
        self._events = events
        self._metrics = metrics

    def tell(self, run: Object, decision: Decision, reading: Reading) -> None:
        """Announce the entries of a decision that has been written."""
        if not decision.entries:
            return
        for entry in decision.entries:
            self._tell_one(run, entry)
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
                self._metrics.step_finished(decision.state.steps[entry.path].kind, phase)

    def _tell_one(self, run: Object, entry: Entry) -> None:
        words = f"{entry.path}: {entry.reason}" if entry.path and entry.reason else entry.reason or entry.path or entry.kind
        log.debug("%s: %s %s", key_of(run), entry.kind, words)
        if entry.kind in WARNINGS:
            self._events.announce(ref_of(run), "Warning", entry.kind, words)
        elif entry.kind in NOTES or (entry.kind == "JobSeen" and entry.changes.get("message")):
            self._events.announce(ref_of(run), "Normal", entry.kind if entry.kind in NOTES else "Waiting", words)

    def trouble(self, run: Object, error: ApiError, delay_seconds: float) -> None:
        """Tell that the API server keeps a run from going on."""
        words = f"{error.message}; trying again in {delay_seconds:.0f} s"
        self._events.announce(ref_of(run), "Warning", "Waiting", words)

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


def _active(state: State) -> str | None:
    return str(state.run.phase) if state.run.phase is not None and not state.run.is_finished else None
