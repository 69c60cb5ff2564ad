"""Attempts as Jobs: start one, stop one, and what is seen of it.

Starting is idempotent: the Job's name comes from run, path and attempt (`names.job_name`), so a second creation finds the first.
"""

from collections.abc import Mapping
from typing import Any, Final

from backstay import errors, names
from backstay.engine.model import CreateJob, DeleteJob, Fault
from backstay.executors import refusals
from backstay.executors.job_fact import NO_POD_AFTER, fact, facts, is_podless, needs_look, unexplained
from backstay.executors.job_seen import SeenJob, SeenPod, controller_uid, seen_job, seen_pod, trim_job, trim_pod
from backstay.kube import manifests
from backstay.kube.client import Client, Object
from backstay.kube.manifests import RunRef
from backstay.kube.resources import EVENTS, JOBS, PODS

__all__ = [
    "NO_POD_AFTER",
    "SELECTOR",
    "SeenJob",
    "SeenPod",
    "belongs",
    "controller_uid",
    "fact",
    "facts",
    "is_podless",
    "look",
    "needs_look",
    "seen_job",
    "start",
    "stop",
    "trim_job",
    "trim_pod",
    "unexplained",
    "why_no_pod",
]

SELECTOR: Final = names.LABEL_RUN
"""Label selector of the Job and Pod informers: everything that is labelled with a run."""

_LABEL_JOB: Final = "batch.kubernetes.io/job-name"
"""Put on pods by the Job controller."""


async def start(client: Client, run: RunRef, effect: CreateJob) -> SeenJob:
    """Create the Job of an attempt, or find the one that was created before.

    Raises Invalid where the Job is refused for good (Denied by whom else has a say), also where an object of somebody else has its name;
    Forbidden where it is refused, for now or for good: `refusals` tells; Conflict where it has just been deleted; Unavailable where a
    webhook is down, or where nobody can tell yet whether it was created: calling again is safe.
    """
    try:
        manifest = manifests.job(run, effect)
    except errors.InvalidDefinition as error:
        raise errors.Invalid(422, "Invalid", str(error)) from error
    try:
        return seen_job(await client.create(JOBS, run.namespace, manifest, strict=True))
    except errors.AlreadyExists as error:
        return await _existing(
            client, run, effect, otherwise=errors.Conflict(409, "Conflict", f"{error.message}, and was deleted just now")
        )
    except errors.Unavailable as error:
        if error.is_failed_webhook:
            raise
        return await _existing(client, run, effect, otherwise=error)


async def stop(client: Client, namespace: str, effect: DeleteJob) -> None:
    """Delete a Job and its pods, the pods first: while the Job is seen, something may still run. One that is gone is a success."""
    try:
        await client.delete(JOBS, namespace, effect.name, uid=effect.uid, propagation="Foreground")
    except errors.NotFound:
        return
    except errors.Conflict:
        return  # a Job of this name is there and has another UID: ours is gone


async def look(client: Client, job: SeenJob) -> list[SeenPod]:
    """Ask the API server which pods a Job has: for when the informer may be behind (`needs_look`)."""
    page = await client.list(PODS, job.namespace, label_selector=f"{_LABEL_JOB}={job.name}")
    return [seen_pod(pod) for pod in page.items]


async def why_no_pod(client: Client, job: SeenJob, since: str = "") -> Fault | None:
    """Ask why the Job controller cannot create a pod: only its Events tell. None where they do not, or are older than `since` (RFC 3339)."""
    page = await client.list(EVENTS, job.namespace, field_selector=f"regarding.uid={job.uid},reason=FailedCreate")
    told = max(((refusals.time_of(event), str(event.get("note") or "")) for event in page.items), default=("", ""))
    return refusals.of_pod(told[1]) if told[1] and told[0][:19] >= since[:19] else None


def belongs(job: Mapping[str, Any], run_uid: str) -> bool:
    """Tell whether a Job is of this run: by its label, and by its controller unless it has none (it was made while the run was deleted)."""
    metadata = job["metadata"]
    labelled = (metadata.get("labels") or {}).get(names.LABEL_RUN) == run_uid
    return labelled and controller_uid(metadata) in ("", run_uid)


async def _existing(client: Client, run: RunRef, effect: CreateJob, *, otherwise: errors.ApiError) -> SeenJob:
    """Return the Job that is there if it is ours; raise `otherwise` where none is there, or where that cannot be found out."""
    try:
        found = await client.get(JOBS, run.namespace, effect.name)
    except (errors.NotFound, errors.Unavailable, errors.TooManyRequests):
        raise otherwise from None
    if not belongs(found, run.uid):
        raise errors.Invalid(409, "AlreadyExists", _stands_in_the_way(found, run))
    return seen_job(found)


def _stands_in_the_way(found: Object, run: RunRef) -> str:
    metadata = found["metadata"]
    owner = controller_uid(metadata) or "nobody"
    return (
        f"the Job {metadata['namespace']}/{metadata['name']} (UID {metadata['uid']}, created {metadata.get('creationTimestamp')}, controlled by {owner}) "
        f"has the name that this attempt needs and is not of run {run.name} ({run.uid}); delete it, or run the workflow anew"
    )
