"""The Job controller of the embedded cluster: looks, decides (job_plan, job_status), writes.

What the real one does that this one does not: successPolicy, backoffLimitPerIndex and maxFailedIndexes (such a Job fails and says so), adoption of
pods by label, and events other than FailedCreate.
"""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Final

from backstay import errors
from backstay.local.controllers.job_plan import Backoff, Verdict, pods_wanted, verdict
from backstay.local.controllers.job_status import account, announce
from backstay.local.controllers.job_view import TRACKING, JobView, condition, is_finished, is_tracked
from backstay.local.controllers.work import WorkQueue, controller_of
from backstay.local.node.api import Api, Obj, Reflector
from backstay.local.node.state import timestamp

log = logging.getLogger(__name__)

MANAGER: Final = "kubernetes.io/job-controller"


class JobController:
    """Brings Jobs to their end. `run` works until cancelled; two at a time do no harm, because names and versions guard every write."""

    def __init__(self, api: Api, jobs: Reflector, pods: Reflector, backoff: Backoff | None = None) -> None:
        """Work on what the two reflectors follow, which have to run besides."""
        self._api, self._jobs, self._pods, self._backoff = api, jobs, pods, backoff or Backoff()
        self._pods_by_job: defaultdict[str, set[str]] = defaultdict(set)
        self._former_names: defaultdict[str, set[str]] = defaultdict(set)
        self._queue = WorkQueue("job", self._sync)
        self._told: defaultdict[str, set[str]] = defaultdict(set)
        jobs.listen(self._on_job)
        pods.listen(self._on_pod)

    async def run(self) -> None:
        await self._jobs.synced.wait()
        await self._pods.synced.wait()
        await self._queue.run()

    def _on_job(self, kind: str, job: Obj) -> None:
        if kind == "DELETED":
            self._former_names.pop(job["metadata"]["uid"], None)
            self._told.pop(job["metadata"]["uid"], None)
        self._queue.add(job["metadata"]["uid"])

    def _on_pod(self, kind: str, pod: Obj) -> None:
        owner = controller_of(pod)
        if owner is None or owner["kind"] != "Job":
            return
        if kind == "DELETED":
            self._pods_by_job[owner["uid"]].discard(pod["metadata"]["uid"])
            if self._jobs.cache.get(owner["uid"]):
                self._former_names[owner["uid"]].add(pod["metadata"]["name"])
        else:
            self._pods_by_job[owner["uid"]].add(pod["metadata"]["uid"])
        self._queue.add(owner["uid"])

    async def _sync(self, uid: str) -> None:
        job = self._jobs.cache.get(uid)
        if job is None:
            await self._release_orphans(uid)
        elif (job["spec"].get("managedBy") or MANAGER) != MANAGER:
            return
        elif is_finished(job):
            await self._release(self._view(job).pods)
            await self._expire(job)
        else:
            await self._bring_on(job)

    def _view(self, job: Obj) -> JobView:
        uid = job["metadata"]["uid"]
        pods = [pod for pod in map(self._pods.cache.get, sorted(self._pods_by_job.get(uid, ()))) if pod is not None]
        return JobView(job, pods, datetime.now(UTC), frozenset(self._former_names.get(uid, ())))

    async def _bring_on(self, job: Obj) -> None:
        """Take a Job one step further. Why it ends is decided once, before its own deletions can look like a reason."""
        view = self._view(job)
        end = verdict(view)
        if end is not None and (status := announce(view, end)) is not None:
            job = await self._write_status(job, status)
        await self._manage(view, end)
        view = self._view(job)
        await self._report(view, end or verdict(view))

    async def _manage(self, view: JobView, end: Verdict | None) -> None:
        """Make and delete pods as the Job wants it."""
        actions = pods_wanted(view, end, self._backoff)
        await self._release(actions.withdraw)
        for pod in (*actions.withdraw, *actions.delete):
            await self._delete(pod)
        await asyncio.gather(*(self._create(view.job, pod) for pod in actions.create))
        if actions.look_again is not None:
            self._queue.add_after(view.job["metadata"]["uid"], actions.look_again)

    async def _report(self, view: JobView, end: Verdict | None) -> None:
        """Write what became of the pods, in the order that `account` gives."""
        accounting = account(view, end, managed=end is None and not view.is_deleted)
        job = view.job
        if accounting.first is not None:
            job = await self._write_status(job, accounting.first)
        if accounting.last_before_release:
            await self._write_status(job, accounting.last)
            await self._release(accounting.release)
        else:
            await self._release(accounting.release)
            await self._write_status(job, accounting.last)

    # ------------------------------------------------------------------------------------------------------ writes

    async def _write_status(self, job: Obj, status: Obj) -> Obj:
        if status == (job.get("status") or {}):
            return job
        metadata = job["metadata"]
        path = f"/apis/batch/v1/namespaces/{metadata['namespace']}/jobs/{metadata['name']}/status"
        try:
            written = await self._api.replace(path, {"apiVersion": "batch/v1", "kind": "Job", **job, "status": status})
        except errors.NotFound:
            return job  # the watch tells, and then its pods are let go
        self._jobs.take("MODIFIED", written)
        return written

    async def _create(self, job: Obj, pod: Obj) -> None:
        """Make a pod. One of that name that is this Job's own already is this pod: an earlier answer was lost, or the cache was behind."""
        path = _path(pod["metadata"]["namespace"])
        try:
            self._pods.take("MODIFIED", await self._api.create(path, pod))
        except errors.ApiError as fault:
            if isinstance(fault, errors.AlreadyExists):
                known = await self._api.get(f"{path}/{pod['metadata']['name']}")
                if (controller_of(known) or {}).get("uid") == job["metadata"]["uid"]:
                    self._pods.take("MODIFIED", known)
                    return
            if isinstance(fault, errors.Forbidden) and fault.is_terminating_namespace:
                return  # and the Job goes with it
            await self._tell_failed_create(job, fault)
            raise

    async def _delete(self, pod: Obj) -> None:
        metadata = pod["metadata"]
        with contextlib.suppress(errors.NotFound):
            options: Obj = {"preconditions": {"uid": metadata["uid"]}, "propagationPolicy": "Background"}
            answer = await self._api.delete(f"{_path(metadata['namespace'])}/{metadata['name']}", options)
            if answer.get("kind") == "Pod":
                self._pods.take("MODIFIED", answer)

    async def _release(self, pods: list[Obj]) -> None:
        """Take the tracking finalizer off; finalizers that are not the known ones are refused, and looked at again."""
        for pod in filter(is_tracked, pods):
            metadata = pod["metadata"]
            patch: list[Obj] = [
                {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
                {"op": "test", "path": "/metadata/finalizers", "value": metadata["finalizers"]},
                {"op": "remove", "path": f"/metadata/finalizers/{metadata['finalizers'].index(TRACKING)}"},
            ]
            with contextlib.suppress(errors.NotFound):
                self._pods.take("MODIFIED", await self._api.patch(f"{_path(metadata['namespace'])}/{metadata['name']}", patch))

    async def _release_orphans(self, job_uid: str) -> None:
        """Let pods go whose Job is no more. That it is not merely unknown yet was settled by the first list."""
        await self._release([pod for pod in map(self._pods.cache.get, sorted(self._pods_by_job.get(job_uid, ()))) if pod is not None])
        if not self._pods_by_job.get(job_uid):
            self._pods_by_job.pop(job_uid, None)

    async def _expire(self, job: Obj) -> None:
        """Delete a finished Job when its ttlSecondsAfterFinished is over, with its pods."""
        ttl, metadata = job["spec"].get("ttlSecondsAfterFinished"), job["metadata"]
        end = condition(job["status"], "Complete") or condition(job["status"], "Failed")
        if ttl is None or metadata.get("deletionTimestamp") or end is None:
            return
        left = datetime.fromisoformat(end["lastTransitionTime"]) + timedelta(seconds=ttl) - datetime.now(UTC)
        if left > timedelta(0):
            self._queue.add_after(metadata["uid"], left.total_seconds())
            return
        options: Obj = {"preconditions": {"uid": metadata["uid"]}, "propagationPolicy": "Foreground"}
        with contextlib.suppress(errors.NotFound):
            await self._api.delete(f"/apis/batch/v1/namespaces/{metadata['namespace']}/jobs/{metadata['name']}", options)

    async def _tell_failed_create(self, job: Obj, fault: errors.ApiError) -> None:
        """Record why no pod could be made, once for each reason: the Job's status has no place for it."""
        metadata = job["metadata"]
        if fault.message in self._told[metadata["uid"]]:
            return
        self._told[metadata["uid"]].add(fault.message)
        now = timestamp(datetime.now(UTC))
        reference = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        }
        event: Obj = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name'][:200]}.{time.time_ns():x}", "namespace": metadata["namespace"]},
            "involvedObject": reference,
            "type": "Warning",
            "reason": "FailedCreate",
            "message": f"Error creating: {fault.message}",
            "source": {"component": "job-controller"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        with contextlib.suppress(errors.ApiError):  # as when the namespace is going
            await self._api.create(f"/api/v1/namespaces/{metadata['namespace']}/events", event)


def _path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"
