"""A run that cannot begin yet, because its workflow is not there: what its status says meanwhile. Pure."""

from datetime import datetime
from typing import Any, Final

from backstay.engine import codec
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
    common = {
        "observedGeneration": generation,
        "lastTransitionTime": codec.time_to_json(now)[:19] + "Z",
        "reason": fault.type,
        "message": fault.detail,
    }
    return {
        "observedGeneration": generation,
        "status": "Pending",
        "conditions": [
            {"type": "Succeeded", "status": "Unknown", **common},
            {"type": "Complete", "status": "False", **common},
            {"type": "Reconciling", "status": "True", **common},
        ],
    }
