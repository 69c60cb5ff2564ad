"""What has to happen to a Job's pods next. Pure; the rules are those of syncJob and manageJob in pkg/controller/job/job_controller.go.

verdict(view)         is the Job at its end, and why
pods_wanted(view)     which pods to make, which to delete
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from backstay.local.controllers.failure_policy import judge
from backstay.local.controllers.job_view import INDEX, TRACKING, JobView, condition, index_of
from backstay.local.node.api import Obj

_SUFFIX: Final = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' alphabet for generated names: no vowels, nothing that looks like something else."""
_PREFIX_MAX: Final = 58


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a Job ends: `kind` is the interim condition, SuccessCriteriaMet or FailureTarget."""

    kind: str
    reason: str
    message: str

    @property
    def final(self) -> str:
        return "Complete" if self.kind == "SuccessCriteriaMet" else "Failed"


@dataclass(frozen=True, slots=True)
class Backoff:
    """The delay before the pod that follows a failed one, doubling with each failure in a row."""

    base_seconds: float = 10.0
    max_seconds: float = 600.0

    def left(self, view: JobView) -> float:
        """Return how many seconds are left to wait; 0 or less is none."""
        failures, last = view.failures_in_a_row()
        if not failures or last is None:
            return 0.0
        delay = min(self.base_seconds * 2.0 ** min(failures - 1, 30), self.max_seconds)
        return delay - (view.now - last).total_seconds()


@dataclass(frozen=True, slots=True)
class Actions:
    """`withdraw` is deleted without being counted; `look_again` is in seconds from now."""

    create: list[Obj] = field(default_factory=list)
    delete: list[Obj] = field(default_factory=list)
    withdraw: list[Obj] = field(default_factory=list)
    look_again: float | None = None


def verdict(view: JobView) -> Verdict | None:
    """Return why the Job is at its end, or None. An end that is in the status stays what it is; failure is looked at before success."""
    for kind in ("SuccessCriteriaMet", "FailureTarget"):
        if known := condition(view.status, kind):
            return Verdict(kind, known.get("reason", ""), known.get("message", ""))
    return _unsupported(view) or _failure(view) or _success(view)


def _unsupported(view: JobView) -> Verdict | None:
    for name in ("successPolicy", "backoffLimitPerIndex", "maxFailedIndexes"):
        if view.spec.get(name) is not None:
            return Verdict("FailureTarget", "NotSupported", f"spec.{name}: the embedded cluster does not know it; use a real cluster")
    return None


def _failure(view: JobView) -> Verdict | None:
    policy = view.spec.get("podFailurePolicy")
    for pod in view.pods if policy else ():
        if view.is_failed(pod) and (message := judge(policy, pod).fails_job):
            return Verdict("FailureTarget", "PodFailurePolicy", message)
    if view.failed > view.spec["backoffLimit"] or _restarted_too_often(view):
        return Verdict("FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    left = seconds_to_deadline(view)
    if left is not None and left <= 0:
        return Verdict("FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline")
    return None


def _success(view: JobView) -> Verdict | None:
    if view.active or (view.succeeded == 0 if view.completions is None else view.succeeded < view.completions):
        return None
    return Verdict("SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods")


def _restarted_too_often(view: JobView) -> bool:
    """Tell whether the restarts of running pods exceed the limit; only pods with restartPolicy OnFailure are restarted."""
    if view.spec["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    statuses = [pod.get("status") or {} for pod in view.pods if (pod.get("status") or {}).get("phase") in ("Running", "Pending")]
    lists = [status.get(key) or () for status in statuses for key in ("initContainerStatuses", "containerStatuses")]
    restarts = sum(container.get("restartCount", 0) for containers in lists for container in containers)
    limit = view.spec["backoffLimit"]
    return bool(restarts > 0 if limit == 0 else restarts >= limit)


def seconds_to_deadline(view: JobView) -> float | None:
    """Return what is left of activeDeadlineSeconds, which runs from startTime while the Job is not suspended."""
    limit, started = view.spec.get("activeDeadlineSeconds"), view.status.get("startTime")
    if limit is None or started is None or view.spec["suspend"]:
        return None
    return (datetime.fromisoformat(started) + timedelta(seconds=limit) - view.now).total_seconds()


def pods_wanted(view: JobView, end: Verdict | None, backoff: Backoff) -> Actions:
    """Return which pods to make and delete now. Nothing is made for a Job that is being deleted, suspended or at its end."""
    if end is not None:
        return Actions(delete=view.active)
    if view.is_deleted:
        return Actions()
    if view.spec["suspend"]:
        return Actions(withdraw=view.active)
    wanted = _active_wanted(view)
    if surplus := _surplus(view, wanted):
        return Actions(withdraw=surplus)
    held = len(view.terminating) if view.spec["podReplacementPolicy"] == "Failed" else 0
    missing = wanted - held - len(view.active)
    left = backoff.left(view)
    look_again = min(
        (seconds for seconds in (seconds_to_deadline(view), left if missing > 0 and left > 0 else None) if seconds is not None),
        default=None,
    )
    if missing <= 0 or left > 0:
        return Actions(look_again=look_again)
    return Actions(create=list(_new_pods(view, missing)), look_again=look_again)


def _active_wanted(view: JobView) -> int:
    if view.completions is None:
        return len(view.active) if view.succeeded else view.parallelism
    return max(0, min(view.completions - view.succeeded, view.parallelism))


def _surplus(view: JobView, wanted: int) -> list[Obj]:
    """Return the pods that are too many, those that have got least far first; for indexed Jobs also doubles and indexes out of range."""
    rank = {"Pending": 0, "Running": 1}
    by_progress = sorted(
        view.active, key=lambda pod: (bool(pod["spec"].get("nodeName")), rank.get((pod.get("status") or {}).get("phase", ""), 0))
    )
    if not view.is_indexed:
        return by_progress[: max(0, len(by_progress) - wanted)]
    seen: set[int] = set()
    surplus = []
    for pod in reversed(by_progress):
        index = index_of(pod)
        if index is None or index in seen or index >= (view.completions or 0):
            surplus.append(pod)
        else:
            seen.add(index)
    return surplus


def _new_pods(view: JobView, count: int) -> Iterator[Obj]:
    """Yield manifests under the first names of the Job's fixed sequence that are not taken: made twice, a pod has the same name twice."""
    taken = {pod["metadata"]["name"] for pod in view.pods} | view.former_names
    indexes: Iterable[int | None] = islice(_free_indexes(view), count) if view.is_indexed else [None] * count
    for index in indexes:
        name = next(name for name in _names(view, index) if name not in taken)
        taken.add(name)
        yield _manifest(view, name, index)


def _free_indexes(view: JobView) -> Iterator[int]:
    held = view.terminating if view.spec["podReplacementPolicy"] == "Failed" else []
    busy = {index_of(pod) for pod in [*view.active, *held]} | view.completed_indexes
    return (index for index in range(view.completions or 0) if index not in busy)


def _names(view: JobView, index: int | None) -> Iterator[str]:
    metadata = view.job["metadata"]
    prefix = f"{metadata['name']}-" if index is None else f"{metadata['name']}-{index}-"
    ordinal = 0
    while True:
        number = int.from_bytes(hashlib.sha256(f"{metadata['uid']}/{index}/{ordinal}".encode()).digest()[:8])
        letters = "".join(_SUFFIX[number // len(_SUFFIX) ** place % len(_SUFFIX)] for place in range(5))
        yield prefix[:_PREFIX_MAX] + letters
        ordinal += 1


def _manifest(view: JobView, name: str, index: int | None) -> Obj:
    job, template = view.job["metadata"], view.spec["template"]
    own = template.get("metadata") or {}
    labels = {"batch.kubernetes.io/controller-uid": job["uid"], "batch.kubernetes.io/job-name": job["name"], "controller-uid": job["uid"]}
    labels |= {"job-name": job["name"]} | (own.get("labels") or {})
    annotations = dict(own.get("annotations") or {})
    spec = template["spec"]
    if index is not None:
        labels[INDEX] = annotations[INDEX] = str(index)
        spec = _with_index(spec, index, f"{job['name']}-{index}")
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": job["name"],
        "uid": job["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {
        "name": name,
        "generateName": name[:-5],
        "namespace": job["namespace"],
        "labels": labels,
        "annotations": annotations,
        "finalizers": [*(own.get("finalizers") or ()), TRACKING],
        "ownerReferences": [owner],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _with_index(spec: Obj, index: int, hostname: str) -> Obj:
    variable = {"name": "JOB_COMPLETION_INDEX", "value": str(index)}
    lists = {
        key: [{**container, "env": [*(container.get("env") or ()), variable]} for container in spec[key]]
        for key in ("initContainers", "containers")
        if spec.get(key)
    }
    return {**spec, **lists, "hostname": spec.get("hostname") or hostname[:63]}
