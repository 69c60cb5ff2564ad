"""A run that cannot begin yet, because its workflow is not there: what its status says meanwhile. Pure."""

from datetime import datetime
from typing import Any, Final

from backstay.engine.conditions import condition
from backstay.engine.model import Fault
from backstay.runtime.view import Object

PATIENCE_SECONDS: Final = 1.0
"""A Workflow and its run are often applied together: no word is lost about so short a wait."""


def says_already(run: Object, fault: Fault) -> bool:
    """Tell whether the status says what the run waits for."""
    conditions = (run.get("status") or {}).get("conditions") or ()
    return any(item.get("type") == "Succeeded" and item.get("message") == fault.detail for item in conditions)


def waiting_status(run: Object, fault: Fault, now: datetime) -> dict[str, Any]:
    """Return the status of a run that waits: no phase, because nothing has begun; the reason and its mend in the conditions."""
    generation = run["metadata"].get("generation", 0)
    waits = (("Succeeded", "Unknown"), ("Complete", "False"), ("Reconciling", "True"))
    return {
        "observedGeneration": generation,
        "status": "Pending",
        "conditions": [condition(kind, status, fault.type, fault.detail, generation, (), now) for kind, status in waits],
    }
