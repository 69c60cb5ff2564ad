"""Which revisions nobody needs any more: like a Deployment, a Workflow keeps its newest ones; one that a run is pinned to stays."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from backstay.engine.codec import time_from_json
from backstay.names import LABEL_WORKFLOW, label_value

KEEP: Final = 10
"""As many old revisions as a Deployment keeps (revisionHistoryLimit)."""
YOUNGEST: Final = timedelta(hours=1)
"""A younger one may be about to be used by a run that has not written so yet."""


def expendable(
    revisions: Iterable[dict[str, Any]], pinned: Collection[tuple[str, str]], workflows: Collection[tuple[str, str]], now: datetime
) -> list[dict[str, Any]]:
    """Return the ControllerRevisions that can go. `pinned` and `workflows` are (namespace, name) of revisions in use, and of Workflows that are there."""
    labels = {(namespace, label_value(name)) for namespace, name in workflows}
    by_workflow: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for revision in revisions:
        meta = revision["metadata"]
        by_workflow.setdefault((meta["namespace"], (meta.get("labels") or {}).get(LABEL_WORKFLOW, "")), []).append(revision)
    found = []
    for workflow, own in by_workflow.items():
        newest_first = sorted(own, key=lambda revision: int(revision.get("revision") or 0), reverse=True)
        old = newest_first[KEEP:] if workflow in labels else newest_first
        found += [one for one in old if _is_free(one, pinned) and _is_old(one, now)]
    return found


def _is_free(revision: dict[str, Any], pinned: Collection[tuple[str, str]]) -> bool:
    return (revision["metadata"]["namespace"], revision["metadata"]["name"]) not in pinned


def _is_old(revision: dict[str, Any], now: datetime) -> bool:
    made = revision["metadata"].get("creationTimestamp")
    return bool(made) and time_from_json(made) + YOUNGEST <= now
