"""What is kept of Jobs and Pods: the few fields that are used, out of manifests of several kilobytes.

A Pod is judged here already, when it is seen: why it failed, or what keeps it from starting, in words for people.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backstay import names
from backstay.engine.model import Fault, JobState
from backstay.executors import pod_verdict

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SeenJob:
    """A Job. `reason` and `message` are those of its verdict; `owner_uid` is that of its controller, `""` where it has none."""

    namespace: str
    name: str
    uid: str
    resource_version: int = field(compare=False)
    run_uid: str
    owner_uid: str = ""
    unowned: bool = False
    """Whether it was made without an owner, because its run was being deleted; one that was orphaned had one."""
    state: JobState = JobState.ACTIVE
    reason: str = ""
    message: str = ""
    has_pods: bool = False
    """Whether its controller says that a pod of it is there, or was."""
    suspended: bool = False
    deleting: bool = False
    noticed_at: float = field(default_factory=lambda: time.monotonic(), compare=False)
    """When this was seen, by this machine's clock: that of the API server may show another time."""


@dataclass(frozen=True, slots=True)
class SeenPod:
    """A Pod of a Job. `output` is what container `main` left as its termination message, None while it has not ended."""

    namespace: str
    name: str
    uid: str
    resource_version: int = field(compare=False)
    run_uid: str
    job_uid: str
    created_at: str = ""
    started: bool = False
    succeeded: bool = False
    failed: bool = False
    output: str | None = None
    fault: Fault | None = None
    exit_code: int | None = None
    """How container `main` ended, where that is why the pod failed."""
    stuck: Fault | None = None
    lost: Fault | None = None
    """Why it is being taken away, or was, by a disruption that its Job does not count."""
    gone: bool = False
    """Whether the object is there no longer: this is how it was seen last."""

    @property
    def is_alive(self) -> bool:
        """Whether something of it may still run, or begin to."""
        return not (self.succeeded or self.failed or self.gone)


def trim_job(manifest: Object) -> SeenJob | None:
    """Keep what matters of a Job's manifest; None where the Job is not of the run that its label names."""
    seen = seen_job(manifest)
    return seen if seen.run_uid and seen.owner_uid in ("", seen.run_uid) else None


def seen_job(manifest: Object) -> SeenJob:
    """Keep what matters of a Job's manifest, whosever it is."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    verdict = _verdict(status)
    return SeenJob(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=int(metadata["resourceVersion"]),
        run_uid=(metadata.get("labels") or {}).get(names.LABEL_RUN, ""),
        owner_uid=controller_uid(metadata),
        unowned=(metadata.get("annotations") or {}).get(names.ANNOTATION_UNOWNED) == "true",
        state={"Complete": JobState.SUCCEEDED, "Failed": JobState.FAILED}.get(verdict.get("type", ""), JobState.ACTIVE),
        reason=verdict.get("reason", ""),
        message=verdict.get("message", ""),
        has_pods=any(status.get(count) for count in ("active", "succeeded", "failed", "terminating")),
        suspended=bool((manifest.get("spec") or {}).get("suspend")),
        deleting="deletionTimestamp" in metadata,
    )


def trim_pod(manifest: Object) -> SeenPod | None:
    """Keep what matters of a Pod's manifest, judged; None where no Job can be its own."""
    return seen_pod(manifest) if controller_uid(manifest["metadata"]) else None


def seen_pod(manifest: Object) -> SeenPod:
    """Keep what matters of a Pod's manifest, judged."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    phase = status.get("phase", "")
    ended = pod_verdict.main_end(status)
    succeeded = phase == "Succeeded" and (ended or {}).get("exitCode") == 0
    stuck = None if phase in ("Succeeded", "Failed") else pod_verdict.stuck(status)
    return SeenPod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=int(metadata["resourceVersion"]),
        run_uid=(metadata.get("labels") or {}).get(names.LABEL_RUN, ""),
        job_uid=controller_uid(metadata),
        created_at=metadata.get("creationTimestamp", ""),
        started=stuck is None and pod_verdict.has_begun(status),
        succeeded=succeeded,
        failed=phase == "Failed",
        output=pod_verdict.output(ended),
        fault=(fault := pod_verdict.fault(manifest) if phase == "Failed" else None),
        exit_code=pod_verdict.exit_code(fault, ended),
        stuck=stuck,
        lost=pod_verdict.lost(manifest) if phase != "Succeeded" else None,
    )


def controller_uid(metadata: Mapping[str, Any]) -> str:
    """Return the UID of the object that controls this one; `""` where nothing does."""
    owners = metadata.get("ownerReferences") or ()
    return next((owner["uid"] for owner in owners if owner.get("controller")), "")


def _verdict(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the condition that ends a Job. `FailureTarget` and `SuccessCriteriaMet` come before it, while pods still run: they end nothing."""
    conditions = status.get("conditions") or ()
    return next((found for found in conditions if found.get("type") in ("Complete", "Failed") and found.get("status") == "True"), {})
