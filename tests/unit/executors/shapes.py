"""Jobs and Pods as Kubernetes shows them, for tables."""

from typing import Any

RUN_UID = "run-1"
JOB_UID = "job-1"


def job(*, reason: str = "", message: str = "", condition: str = "", suspend: bool = False, **status: Any) -> dict[str, Any]:
    """A Job of the run; `condition` is its verdict, Complete or Failed."""
    if condition:
        status["conditions"] = [{"type": condition, "status": "True", "reason": reason, "message": message}]
    owner = {"apiVersion": "backstay.dev/v1alpha1", "kind": "WorkflowRun", "name": "order-1", "uid": RUN_UID, "controller": True}
    return {
        "metadata": {
            "namespace": "shop",
            "name": "order-1-charge",
            "uid": JOB_UID,
            "resourceVersion": "10",
            "creationTimestamp": "2026-11-23T10:00:00Z",
            "labels": {"backstay.dev/run": RUN_UID},
            "ownerReferences": [owner],
            "managedFields": [{"manager": "backstay", "fieldsV1": {"f:spec": {}}}],
        },
        "spec": {"suspend": suspend},
        "status": status,
    }


def pod(phase: str, *containers: dict[str, Any], name: str = "p1", created: str = "2026-11-23T10:00:00Z", **status: Any) -> dict[str, Any]:
    """A Pod of that Job."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "order-1-charge", "uid": JOB_UID, "controller": True}
    return {
        "metadata": {
            "namespace": "shop",
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": "20",
            "creationTimestamp": created,
            "labels": {"backstay.dev/run": RUN_UID},
            "ownerReferences": [owner],
        },
        "status": {"phase": phase, "containerStatuses": list(containers), **status},
    }


def ended(code: int, message: str = "", *, reason: str = "", name: str = "main") -> dict[str, Any]:
    state = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error")}
    return {"name": name, "state": {"terminated": {**state, **({"message": message} if message else {})}}}


def waiting(reason: str, message: str = "", *, name: str = "main") -> dict[str, Any]:
    return {"name": name, "state": {"waiting": {"reason": reason, **({"message": message} if message else {})}}}


def running(name: str = "main") -> dict[str, Any]:
    return {"name": name, "state": {"running": {"startedAt": "2026-11-23T10:00:01Z"}}}


def disrupted(reason: str, message: str = "") -> dict[str, Any]:
    return {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}]}


def unscheduled(message: str, reason: str = "Unschedulable") -> dict[str, Any]:
    return {"conditions": [{"type": "PodScheduled", "status": "False", "reason": reason, "message": message}]}
