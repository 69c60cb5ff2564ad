"""A run that cannot begin yet, because its workflow is not there: the status says so, and since when."""

from typing import TYPE_CHECKING, Any

from backstay.engine import codec
from backstay.engine.model import Fault
from backstay.kube import resources
from backstay.runtime.patch import status_patch
from backstay.runtime.programs import Resolution
from backstay.runtime.queue import Key
from backstay.runtime.store import Known

if TYPE_CHECKING:
    from backstay.runtime.reconciler import Reconciler

PATIENCE_SECONDS = 1.0
"""A Workflow and its run are often applied together: no word is lost about so short a wait."""


async def show(reconciler: "Reconciler", key: Key, known: Known, resolution: Resolution) -> None:
    """Say in the status what the run waits for, once; look again when that may have changed."""
    reconciler.queue.wake_in(key, min(5.0, reconciler.missing_workflow_seconds))
    fault = resolution.missing
    begun = bool((known.run.get("status") or {}).get("startedAt"))
    waited = reconciler.loop_time() - known.since if known.since else 0.0
    if fault is None:
        return
    if begun:
        reconciler.announcer.lost(known.run, fault)
        return
    if waited < PATIENCE_SECONDS:
        reconciler.queue.wake_in(key, PATIENCE_SECONDS - waited + 0.01)
        return
    status = _status(reconciler, known, fault)
    if status["conditions"][0]["message"] == _message(known):
        return
    written = await reconciler.client.patch(
        resources.RUNS, key.namespace, key.name, status_patch(known.run, status), subresource="status", kind="json"
    )
    reconciler.store.remember(written)


def _message(known: Known) -> str:
    conditions = (known.run.get("status") or {}).get("conditions") or [{}]
    return str(conditions[0].get("message", ""))


def _status(reconciler: "Reconciler", known: Known, fault: Fault) -> dict[str, Any]:
    generation = known.run["metadata"].get("generation", 0)
    common = {"observedGeneration": generation, "lastTransitionTime": codec.time_to_json(reconciler.now())[:19] + "Z"}
    return {
        "observedGeneration": generation,
        "status": "Pending",
        "conditions": [
            {"type": "Succeeded", "status": "Unknown", "reason": fault.type, "message": fault.detail, **common},
            {"type": "Complete", "status": "False", "reason": fault.type, "message": fault.detail, **common},
            {"type": "Reconciling", "status": "True", "reason": fault.type, "message": fault.detail, **common},
        ],
    }
