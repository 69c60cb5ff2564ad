"""The rest of a cluster, modelled: Job controller, kubelet and garbage collector. They see everything at once and act after a while.

A Job gets a pod; the pod runs for as long as its fate says and ends as it says; its Job says so up to a second later. A pod that a disruption took
is replaced, one at a time. What is deleted is ended first, and may still end well meanwhile. `Work` tells what really happened, whatever
anybody believes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from backstay import names
from tests.simulation.universe.loop import VirtualLoop
from tests.simulation.universe.server import FOREGROUND, ORPHAN, Object, Refused, Server, owners_of
from tests.simulation.universe.wire import WORLD

GOOD, FAILS, DECLINES, HANGS, OOM, GARBAGE = "good", "fails", "declines", "hangs", "oom", "garbage"
DEPENDENTS: Final = ("jobs", "pods", "workflowruns", "workflowjournals", "configmaps", "semaphores", "deadletters")
"""Kinds that have owners."""


class Fate(NamedTuple):
    """How the pods of an attempt go: how it ends, after how many seconds, how long it takes to be gone once it is told to stop, and how often
    a disruption takes its pod before."""

    how: str
    takes: float
    lingers: float
    output: Any
    disruptions: int = 0
    pod_late: float = 0.0


@dataclass(eq=False)
class Work:
    """One Job, as the world knows it."""

    run: str
    path: str
    attempt: int
    name: str
    uid: str
    made_at: float
    fate: Fate
    ended: str = ""
    """`done`: it took effect. `failed`: it said itself that it did not. `killed`: nobody knows."""
    ended_at: float = 0.0
    told_to_stop: bool = False
    pods: int = 0
    gone: bool = False
    """Whether the Job is there no longer."""
    took_its_words_along: bool = False
    """Whether its pod was told to go before it ended by itself: it is gone a moment later, and with it what its container has said."""

    @property
    def pod(self) -> str:
        """Name of its newest pod. A Job that is made again under the same name has other pods."""
        return f"{self.name}-{self.uid.rpartition('-')[2]}-{self.pods}"

    def __str__(self) -> str:
        return f"{self.made_at:9.3f} {self.run} {self.path}#{self.attempt} {self.name} {self.ended or 'goes on'} {self.ended_at:9.3f}" + (
            " told to stop" if self.told_to_stop else ""
        )


@dataclass
class Cluster:
    """The controllers. `fate(work's run, path, attempt, times made before)` says how work goes."""

    loop: VirtualLoop
    server: Server
    fate: Callable[[str, str, int, int], Fate]
    chance: Callable[[], float]
    works: list[Work] = field(default_factory=list)
    by_uid: dict[str, Work] = field(default_factory=dict)
    made: dict[tuple[str, str, int], int] = field(default_factory=dict)
    owners: dict[str, set[tuple[str, str, str]]] = field(default_factory=dict)
    """By the UID of an owner: what it owns."""

    def __post_init__(self) -> None:
        self.server.listeners.append(self._changed)

    def going(self) -> Iterator[Work]:
        """Yield the work that is neither over nor gone."""
        return (work for work in self.works if not work.ended)

    def _later(self, seconds: float, what: Callable[..., None], *args: Any) -> None:
        self.loop.call_later(seconds * (0.5 + self.chance()), what, *args, context=WORLD)

    def _changed(self, plural: str, new: Object | None, old: Object | None) -> None:
        one = new or old
        assert one is not None
        if old is None:
            for owner in owners_of(one):
                self.owners.setdefault(owner["uid"], set()).add((plural, one["metadata"]["namespace"], one["metadata"]["name"]))
        if plural == "jobs":
            self._job_changed(new, old)
        elif plural == "pods":
            self._pod_changed(new, old)
        if new is None and one["metadata"]["uid"] in self.owners:
            self._later(0.05, self._collect, one["metadata"]["uid"])
        elif old is None and any(True for _ in owners_of(one)):
            self._later(0.2, self._orphaned, plural, one)
        if new is not None and FOREGROUND in (new["metadata"].get("finalizers") or ()):
            self._later(0.01, self._foreground, plural, new["metadata"]["namespace"], new["metadata"]["name"])
        if new is not None and ORPHAN in (new["metadata"].get("finalizers") or ()):
            self._later(0.01, self._orphan, plural, new["metadata"]["namespace"], new["metadata"]["name"])

    # ------------------------------------------------------------------------------------------------- garbage collector

    def _dependents(self, uid: str) -> list[tuple[str, Object]]:
        found = []
        for plural, namespace, name in sorted(self.owners.get(uid, ())):
            one = self.server.find(plural, namespace, name)
            if one is not None and any(owner["uid"] == uid for owner in owners_of(one)):
                found.append((plural, one))
        return found

    def _collect(self, uid: str) -> None:
        """An owner is gone: what it owned goes, in the background."""
        for plural, one in self._dependents(uid):
            self._delete(plural, one, "Background")
        self.owners.pop(uid, None)

    def _orphaned(self, plural: str, one: Object) -> None:
        """An object was made whose owner is gone already."""
        found = self.server.find(plural, one["metadata"]["namespace"], one["metadata"]["name"])
        if found is None or found["metadata"]["uid"] != one["metadata"]["uid"]:
            return
        for owner in owners_of(found):
            kind = {"WorkflowRun": "workflowruns", "Job": "jobs", "Workflow": "workflows"}.get(owner["kind"], "")
            there = self.server.find(kind, found["metadata"]["namespace"], owner["name"])
            if kind and (there is None or there["metadata"]["uid"] != owner["uid"]):
                self._delete(plural, found, "Background")
                return

    def _foreground(self, plural: str, namespace: str, name: str) -> None:
        """What an owner holds up goes before it."""
        one = self.server.find(plural, namespace, name)
        if one is None or FOREGROUND not in (one["metadata"].get("finalizers") or ()):
            return
        left = self._dependents(one["metadata"]["uid"])
        for kind, dependent in left:
            if not dependent["metadata"].get("deletionTimestamp"):
                self._delete(kind, dependent, "Foreground" if kind != "pods" else "Background")
        blocking = [
            dependent
            for _, dependent in self._dependents(one["metadata"]["uid"])
            if any(owner.get("blockOwnerDeletion") for owner in owners_of(dependent))
        ]
        if blocking:
            self._later(0.05, self._foreground, plural, namespace, name)
        else:
            self._drop_finalizer(plural, one, FOREGROUND)

    def _orphan(self, plural: str, namespace: str, name: str) -> None:
        one = self.server.find(plural, namespace, name)
        if one is None:
            return
        for kind, dependent in self._dependents(one["metadata"]["uid"]):
            meta = dependent["metadata"]
            left = [owner for owner in owners_of(dependent) if owner["uid"] != one["metadata"]["uid"]]
            self.server.update(kind, {**dependent, "metadata": {**meta, "ownerReferences": left}})
        self._drop_finalizer(plural, one, ORPHAN)

    def _drop_finalizer(self, plural: str, one: Object, finalizer: str) -> None:
        meta = one["metadata"]
        self.server.update(
            plural, {**one, "metadata": {**meta, "finalizers": [name for name in meta.get("finalizers") or () if name != finalizer]}}
        )

    def _delete(self, plural: str, one: Object, propagation: str) -> None:
        meta = one["metadata"]
        try:
            self.server.delete(plural, meta["namespace"], meta["name"], uid=meta["uid"], propagation=propagation)
        except Refused:
            return

    # ---------------------------------------------------------------------------------------------------- Job controller

    def _job_changed(self, new: Object | None, old: Object | None) -> None:
        if old is None and new is not None:
            notes = new["metadata"].get("annotations") or {}
            if names.ANNOTATION_PATH not in notes:
                return
            run, path, attempt = notes[names.ANNOTATION_RUN_NAME], notes[names.ANNOTATION_PATH], int(notes[names.ANNOTATION_ATTEMPT])
            times = self.made[run, path, attempt] = self.made.get((run, path, attempt), -1) + 1
            fate = self.fate(run, path, attempt, times)
            work = Work(run, path, attempt, new["metadata"]["name"], new["metadata"]["uid"], self.loop.now, fate)
            self.works.append(work)
            self.by_uid[work.uid] = work
            self._later(0.01 + fate.pod_late, self._make_pod, work)
            limit = new["spec"].get("activeDeadlineSeconds")
            if limit is not None:
                self.loop.call_later(limit + 0.01, self._deadline, work, context=WORLD)
        elif new is None and old is not None and old["metadata"]["uid"] in self.by_uid:
            work = self.by_uid[old["metadata"]["uid"]]
            work.gone = work.told_to_stop = True
            if self._living(work) is None:
                self._end(work, "killed")
        elif new is not None and new["metadata"].get("deletionTimestamp") and new["metadata"]["uid"] in self.by_uid:
            self.by_uid[new["metadata"]["uid"]].told_to_stop = True

    def _job(self, work: Work) -> Object | None:
        job = self.server.find("jobs", "shop", work.name)
        return job if job is not None and job["metadata"]["uid"] == work.uid else None

    def _make_pod(self, work: Work) -> None:
        job = self._job(work)
        if job is None or job["metadata"].get("deletionTimestamp") or _verdict(job):
            if job is None or self._living(work) is None:
                self._end(work, "killed")
            return
        work.pods += 1
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": work.name,
            "uid": work.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
        template = job["spec"]["template"]
        labels = {**template["metadata"]["labels"], "batch.kubernetes.io/job-name": work.name}
        name = work.pod
        pod = {"metadata": {"name": name, "labels": labels, "ownerReferences": [owner]}, "spec": {}}
        self.server.create("pods", "shop", pod)
        self._set_pod(name, "Running", {"running": {"startedAt": self.server.clock()}})
        if work.pods <= work.fate.disruptions:
            self._later(work.fate.takes * 0.7, self._disrupt, work, name)
        elif work.fate.how != HANGS:
            self.loop.call_later(work.fate.takes, self._pod_ends, work, name, context=WORLD)

    def _deadline(self, work: Work) -> None:
        """The Job has been active for too long: its pods are stopped, and then it has failed."""
        job = self._job(work)
        if job is None or _verdict(job) or job["metadata"].get("deletionTimestamp"):
            return
        pod = self._living(work)
        if pod is not None:
            work.told_to_stop = True
            self._delete("pods", pod, "Background")
            self.loop.call_later(0.1, self._deadline, work, context=WORLD)
        elif not work.ended or work.ended == "killed":
            self._end(work, "killed")
            self._say(work, "Failed", "DeadlineExceeded")

    def _living(self, work: Work) -> Object | None:
        pod = self.server.find("pods", "shop", work.pod)
        return pod if pod is not None and pod["status"]["phase"] == "Running" else None

    def _say(self, work: Work, verdict: str, reason: str = "") -> None:
        job = self._job(work)
        if job is not None and not _verdict(job):
            condition = {"type": verdict, "status": "True", "reason": reason}
            self.server.update("jobs", {**job, "status": {"conditions": [condition]}})

    # ----------------------------------------------------------------------------------------------------------- kubelet

    def _set_pod(self, name: str, phase: str, state: Object, **more: Any) -> None:
        pod = self.server.find("pods", "shop", name)
        if pod is not None:
            self.server.update(
                "pods", {**pod, "status": {"phase": phase, "containerStatuses": [{"name": names.CONTAINER, "state": state}], **more}}
            )

    def _pod_ends(self, work: Work, name: str) -> None:
        """The container has come to its own end."""
        pod = self.server.find("pods", "shop", name)
        if pod is None or pod["status"]["phase"] != "Running":
            return
        how, output = work.fate.how, work.fate.output
        good = how in (GOOD, DECLINES, GARBAGE)
        message = {
            DECLINES: '{"error": {"type": "CardDeclined", "message": "no"}}',
            GARBAGE: "no JSON at all",
            GOOD: "" if output is None else orjson.dumps(output).decode(),
        }.get(how, "")
        reason = "Completed" if good else "OOMKilled" if how == OOM else "Error"
        self._end(work, "done" if how in (GOOD, GARBAGE) else "failed")
        state = {"terminated": {"exitCode": 0 if good else 1, "message": message, "reason": reason, "finishedAt": self.server.clock()}}
        self._set_pod(name, "Succeeded" if good else "Failed", state)
        self._later(1.0, self._say, work, "Complete" if good else "Failed", "" if good else "BackoffLimitExceeded")
        if pod["metadata"].get("deletionTimestamp"):
            work.took_its_words_along = True
            self._later(0.05, self._forget_pod, name)

    def _disrupt(self, work: Work, name: str) -> None:
        """The node takes the pod; another one follows, and the Job does not count it."""
        pod = self.server.find("pods", "shop", name)
        if pod is None or pod["status"]["phase"] != "Running" or pod["metadata"].get("deletionTimestamp"):
            return
        target = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "the node is gone"}
        state = {"terminated": {"exitCode": 137, "reason": "Error", "message": "", "finishedAt": self.server.clock()}}
        self._set_pod(name, "Failed", state, conditions=[target])
        self._later(0.3, self._make_pod, work)

    def _pod_changed(self, new: Object | None, old: Object | None) -> None:
        if (
            new is not None
            and old is not None
            and new["metadata"].get("deletionTimestamp")
            and not old["metadata"].get("deletionTimestamp")
        ):
            work = self.by_uid.get(next(owners_of(new), {}).get("uid", ""))
            if work is not None:
                work.told_to_stop = True
                self.loop.call_later(work.fate.lingers, self._kill, work, new["metadata"]["name"], context=WORLD)

    def _kill(self, work: Work, name: str) -> None:
        """The time to end by itself is over."""
        pod = self.server.find("pods", "shop", name)
        if pod is None:
            return
        if pod["status"]["phase"] == "Running":
            self._end(work, "killed")
            state = {"terminated": {"exitCode": 137, "reason": "Error", "message": "", "finishedAt": self.server.clock()}}
            self._set_pod(name, "Failed", state)
            job = self._job(work)
            if job is not None and not job["metadata"].get("deletionTimestamp") and not _is_late(job, self.loop.now, work):
                self._later(0.5, self._say, work, "Failed", "BackoffLimitExceeded")
        self._later(0.02, self._forget_pod, name)

    def _forget_pod(self, name: str) -> None:
        pod = self.server.find("pods", "shop", name)
        if pod is not None:
            self.server.vanish("pods", pod)

    def _end(self, work: Work, how: str) -> None:
        if not work.ended:
            work.ended, work.ended_at = how, self.loop.now


def _verdict(job: Object) -> str:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return str(conditions[0]["type"]) if conditions else ""


def _is_late(job: Object, now: float, work: Work) -> bool:
    limit = job["spec"].get("activeDeadlineSeconds")
    return limit is not None and now >= work.made_at + limit
