"""A run that cannot begin yet, because its workflow is not there or its turn has not come: what its status says meanwhile. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from backstay.engine.codec import time_from_json
from backstay.engine.conditions import condition
from backstay.engine.model import Fault
from backstay.engine.policies.lock import is_news
from backstay.runtime.view import Object

PATIENCE_SECONDS: Final = 1.0
"""A Workflow and its run are often applied together: no word is lost about so short a wait."""
QUEUED: Final = "Queued"


def says_already(run: Object, fault: Fault) -> bool:
    """Tell whether the status says what the run waits for."""
    said = _said(run, "Succeeded")
    return said is not None and said.get("message") == fault.detail


def waiting_status(run: Object, fault: Fault, now: datetime) -> dict[str, Any]:
    """Return the status of a run that waits: no phase, because nothing has begun; the reason and its mend in the conditions."""
    waits = (("Succeeded", "Unknown"), ("Complete", "False"), ("Reconciling", "True"))
    return _status(run, "Pending", fault.type, fault.detail, waits, (), now)


def is_queued(run: Object) -> bool:
    """Tell whether the status says that the run waits for its turn."""
    return (run.get("status") or {}).get("status") == QUEUED


def queued_since(run: Object) -> datetime | None:
    """Return since when, to the second and none too early, the status says that the run waits for its turn; None where it does not."""
    said = _said(run, QUEUED)
    if not is_queued(run) or said is None or said.get("status") != "True":
        return None
    return time_from_json(said["lastTransitionTime"]) + timedelta(seconds=1)


def is_place_news(run: Object, place: int) -> bool:
    """Tell whether the status has to say anew at which place of the line the run is."""
    said = _said(run, QUEUED)
    return not is_queued(run) or said is None or is_news(said.get("message"), place)


def queued_status(run: Object, words: str, now: datetime) -> dict[str, Any]:
    """Return the status of a run whose turn has not come. What it said before stays: the run may have a journal already, of a suspension."""
    before = (run.get("status") or {}).get("conditions") or ()
    waits = ((QUEUED, "True"), ("Succeeded", "Unknown"), ("Complete", "False"), ("Reconciling", "True"))
    return {**(run.get("status") or {}), **_status(run, QUEUED, QUEUED, words, waits, before, now)}


def _status(
    run: Object, shown: str, reason: str, words: str, waits: tuple[tuple[str, str], ...], before: Any, now: datetime
) -> dict[str, Any]:
    generation = run["metadata"].get("generation", 0)
    return {
        "observedGeneration": generation,
        "status": shown,
        "conditions": [condition(kind, status, reason, words, generation, before, now) for kind, status in waits],
    }


def _said(run: Object, kind: str) -> Mapping[str, Any] | None:
    conditions = (run.get("status") or {}).get("conditions") or ()
    return next((item for item in conditions if item.get("type") == kind), None)
