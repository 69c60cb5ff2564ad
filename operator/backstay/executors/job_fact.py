"""From Jobs and Pods to facts for the engine: pure classification.

a pod Succeeded                               Succeeded   at once: the Job controller says it a second later (DESIGN §3)
the Job is Complete                           Succeeded   its pod may be gone already, and the output with it
the Job Failed: DeadlineExceeded              Failed      Timeout
the Job Failed, a pod of it failed            Failed      what the newest pod died of (`pod_verdict`)
the Job Failed, no pod is left                Failed      Evicted: it was taken away before it ended
anything else                                 Active      a failed pod may be replaced: only the Job's verdict counts
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from backstay.engine.model import Fault, JobFact, JobState
from backstay.executors.job_seen import SeenJob, SeenPod

NO_POD_AFTER: Final = timedelta(seconds=10)
"""How long a Job may be without a pod before that is worth telling; the controller's first retry comes after some seconds."""


def fact(job: SeenJob, pods: Sequence[SeenPod], now: datetime | None = None) -> JobFact:
    """Return what is known of an attempt. `pods` may hold pods of other Jobs, which do not count.

    With `now` a Job whose pod cannot be created is found out, too.
    """
    own = _own(job, pods)
    if winner := next((pod for pod in own if pod.succeeded), None):
        return _fact(job, JobState.SUCCEEDED, started=True, output=winner.output)
    newest = max(own, key=lambda pod: (pod.created_at, not pod.failed, pod.resource_version), default=None)
    output, started = (newest.output, newest.started) if newest else (None, False)
    if job.state is JobState.SUCCEEDED:
        return _fact(job, JobState.SUCCEEDED, started=True, output=output)
    if job.state is JobState.FAILED:
        return _fact(job, JobState.FAILED, started=started, output=output, fault=_why(job, newest))
    return _fact(job, JobState.ACTIVE, started=started, stuck=newest.stuck if newest else _without_pod(job, now))


def facts(namespace: str, jobs: Iterable[SeenJob], pods: Iterable[SeenPod], now: datetime | None = None) -> dict[str, JobFact]:
    """Return the facts of a run's Jobs by name. What is not in the run's namespace is left out: a label can be put on anything anywhere."""
    by_job: dict[str, list[SeenPod]] = {}
    for pod in pods:
        by_job.setdefault(pod.job_uid, []).append(pod)
    return {job.name: fact(job, by_job.get(job.uid, ()), now) for job in jobs if job.namespace == namespace}


def needs_look(job: SeenJob, pods: Sequence[SeenPod]) -> bool:
    """Tell whether a Job has ended and the pod that ended it is not in the picture.

    The two informers know nothing of each other: the Job's end may be seen before its pod's. Deciding then would lose the
    output, so `executors.job.look` asks the API server first. A Job that ran out of time has had its pods deleted.
    """
    if job.state is JobState.ACTIVE or job.reason == "DeadlineExceeded":
        return False
    return not any(pod.succeeded if job.state is JobState.SUCCEEDED else pod.failed for pod in _own(job, pods))


def _own(job: SeenJob, pods: Sequence[SeenPod]) -> list[SeenPod]:
    return [pod for pod in pods if pod.job_uid == job.uid and pod.namespace == job.namespace]


def _fact(
    job: SeenJob, state: JobState, *, started: bool, output: str | None = None, fault: Fault | None = None, stuck: Fault | None = None
) -> JobFact:
    owned = bool(job.owner_uid)
    return JobFact(job.name, job.uid, state, started=started, output=output, fault=fault, stuck=stuck, deleting=job.deleting, owned=owned)


def _why(job: SeenJob, newest: SeenPod | None) -> Fault:
    if job.reason == "DeadlineExceeded":
        return Fault("Timeout", "the attempt took too long", job.message or "the Job was active longer than its deadline")
    if newest is not None and newest.fault is not None:
        return newest.fault
    words = f"{job.reason}: {job.message}".strip(": ")
    return Fault("Evicted", "the pod was taken away before it ended", f"no pod of the Job is left; the Job says: {words or 'nothing'}")


def _without_pod(job: SeenJob, now: datetime | None) -> Fault | None:
    if job.suspended:
        return Fault("Unschedulable", "the Job is suspended", "a queue such as Kueue, or a person, holds it back (spec.suspend)")
    if now is None or job.has_pods or job.deleting or not job.created_at or now - datetime.fromisoformat(job.created_at) < NO_POD_AFTER:
        return None
    command = f"kubectl describe job -n {job.namespace} {job.name}"
    return Fault(
        "Unschedulable", "no pod could be created", f"a quota or an admission policy may forbid it; `{command}` shows what it says"
    )
