"""Jobs, pods and nodes for tables."""

from datetime import UTC, datetime, timedelta
from typing import Any

from backstay.local.controllers.job_view import INDEX, TRACKING, JobView
from backstay.local.node.api import Obj
from backstay.local.node.state import timestamp

NOW = datetime(2026, 1, 2, 3, 4, 0, tzinfo=UTC)
STARTED = NOW - timedelta(seconds=30)
COMPLETE = {"type": "SuccessCriteriaMet", "status": "True"}


def job(status: Obj | None = None, **spec: Any) -> Obj:
    template = {
        "metadata": {"labels": {"own": "label"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]},
    }
    return {
        "metadata": {"name": "work", "namespace": "shop", "uid": "job-uid", "resourceVersion": "1"},
        "spec": {"parallelism": 1, "completions": 1, "backoffLimit": 0, "template": template, **spec},
        "status": {"startTime": timestamp(STARTED), **(status or {})},
    }


def pod(
    name: str = "p",
    phase: str = "Running",
    *,
    code: int | None = None,
    deleted: bool = False,
    tracked: bool = True,
    index: int | None = None,
    ended: datetime = NOW - timedelta(seconds=5),
    conditions: list[Obj] | None = None,
) -> Obj:
    code = {"Succeeded": 0, "Failed": 1}.get(phase) if code is None else code
    metadata: Obj = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "creationTimestamp": timestamp(STARTED)}
    metadata["finalizers"] = [TRACKING] if tracked else []
    if deleted:
        metadata |= {"deletionTimestamp": timestamp(NOW), "deletionGracePeriodSeconds": 30}
    if index is not None:
        metadata["annotations"] = {INDEX: str(index)}
    status: Obj = {"phase": phase, "conditions": conditions or []}
    if code is not None:
        end = {"exitCode": code, "finishedAt": timestamp(ended)}
        status["containerStatuses"] = [{"name": "main", "restartCount": 0, "state": {"terminated": end}}]
    return {"metadata": metadata, "spec": {"containers": [{"name": "main"}]}, "status": status}


def view(manifest: Obj, *pods: Obj, now: datetime = NOW) -> JobView:
    return JobView(manifest, list(pods), now)


def names(pods: list[Obj]) -> list[str]:
    return [each["metadata"]["name"] for each in pods]
