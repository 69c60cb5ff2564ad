"""Telling the world what was written: Kubernetes Events for what a person would want to know, log lines, figures. Never before the write."""

import logging
from typing import Final

from backstay.engine.model import Decision, Entry
from backstay.errors import ApiError
from backstay.observe.events import Events
from backstay.observe.metrics import Metrics
from backstay.runtime.store import Reading
from backstay.runtime.view import Object, key_of, ref_of

log = logging.getLogger(__name__)

WARNINGS: Final = frozenset(
    {"StepFailed", "StepRetrying", "StepCatching", "RunFailing", "RunRefused", "RunFailed", "StatusRestored", "CompensationAbandoned"}
)
NOTES: Final = frozenset({"RunCancelled", "RunDeleted", "RunSuspended", "RunResumed", "RunCompensating", "StepCompensated", "StepCaught"})


class Announcer:
    """Says what was decided, once it is written. The happy path costs no write: it is in the status for all to see."""

    def __init__(self, events: Events, metrics: Metrics) -> None:
        self._events = events
        self._metrics = metrics

    def tell(self, run: Object, decision: Decision, reading: Reading) -> None:
        """Announce the entries of a decision that has been written."""
        for entry in decision.entries:
            self._tell_one(run, entry)
        if decision.entries:
            self._metrics.run_changed(run, reading.state.run.phase, decision.state.run.phase)

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

    def tampered(self, run: Object, what: str) -> None:
        """Tell that a status was changed by hand so that nothing certain is left."""
        words = f"the status does not follow from its journal ({what}), and nothing is left to restore it from; restore the run from a backup, or delete it"
        log.error("%s: %s", key_of(run), words)
        self._events.announce(ref_of(run), "Warning", "StatusTampered", words)
