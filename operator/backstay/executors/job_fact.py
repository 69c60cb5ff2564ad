"""From Jobs and Pods to facts for the engine: pure classification.

a pod Succeeded                               Succeeded   at once: the Job controller says it a second later (DESIGN §3)
the Job is Complete                           Succeeded   its pod may be gone already, and the output with it
the Job Failed: DeadlineExceeded              Failed      Timeout
the Job Failed, a pod of it failed            Failed      what the newest pod died of (`pod_verdict`)
the Job Failed, no pod is left                Failed      Evicted: it was taken away before it ended
anything else                                 Active      a failed pod may be replaced: only the Job's verdict counts

A pod that a disruption took away (lost) is replaced by the Job controller; until then the attempt waits for another.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from backstay.engine.model import Fault, Hold, JobFact, JobState
from backstay.executors.job_seen import SeenJob, SeenPod

NO_POD_AFTER: Final = timedelta(seconds=5)
"""How long a Job may be without a pod before that is worth telling; the controller's first retries come after some seconds."""
_SUSPENDED: Final = Hold(
    "Suspended", "Waiting for the Job to be resumed", "a queue such as Kueue, or a person, holds it back (spec.suspend)"
)


def fact(job: SeenJob, pods: Sequence[SeenPod], without_pod: Fault | None = None) -> JobFact:
    """Return what is known of an attempt. `pods` may hold pods of other Jobs, which do not count.

    `without_pod` says why no pod can be created for the Job (`refusals.of_pod`), for as long as it has none.
    """
    own = _own(job, pods)
    if winner := next((pod for pod in own if pod.succeeded), None):
        return _fact(job, JobState.SUCCEEDED, started=True, output=winner.output)
    newest = max(own, key=_age, default=None)
    output, started = (newest.output, newest.started) if newest else (None, False)
    if job.state is JobState.SUCCEEDED:
        return _fact(job, JobState.SUCCEEDED, started=True, output=output)
    lost = max((pod for pod in own if pod.lost is not None), key=_age, default=None)
    if job.state is JobState.FAILED:
        code = newest.exit_code if newest and job.reason != "DeadlineExceeded" else None
        return _fact(job, JobState.FAILED, started=started, output=output, fault=_why(job, newest), exit_code=code, lost=lost)
    if job.deleting or job.suspended:  # then its pods are taken away, and that is no disruption
        return _fact(job, JobState.ACTIVE, started=started, stuck=_SUSPENDED if job.suspended else None)
    if newest is None or (newest is lost and without_pod is not None):
        return _fact(job, JobState.ACTIVE, stuck=without_pod, lost=lost, unexplained=without_pod is None and is_podless(job, own))
    if newest is lost:
        return _fact(job, JobState.ACTIVE, stuck=_for_another(newest), lost=lost)
    return _fact(job, JobState.ACTIVE, started=started, stuck=newest.stuck, lost=lost)


def facts(
    namespace: str, jobs: Iterable[SeenJob], pods: Iterable[SeenPod], without_pod: Mapping[str, Fault] | None = None
) -> dict[str, JobFact]:
    """Return the facts of a run's Jobs by name. What is not in the run's namespace is left out: a label can be put on anything anywhere.

    `without_pod` says by a Job's UID why no pod can be created for it.
    """
    by_job: dict[str, list[SeenPod]] = {}
    for pod in pods:
        by_job.setdefault(pod.job_uid, []).append(pod)
    why = without_pod or {}
    return {job.name: fact(job, by_job.get(job.uid, ()), why.get(job.uid)) for job in jobs if job.namespace == namespace}


def is_podless(job: SeenJob, pods: Sequence[SeenPod]) -> bool:
    """Tell whether a Job goes on and has no pod that could do its work, as far as is seen."""
    waits = job.state is JobState.ACTIVE and not (job.has_pods or job.deleting or job.suspended)
    return waits and not any(pod.is_alive or pod.succeeded for pod in _own(job, pods))


def unexplained(job: SeenJob) -> Fault:
    """Return what to say of a Job that has no pod while nothing tells why."""
    command = f"kubectl describe job -n {job.namespace} {job.name}"
    detail = f"the Job has no pod yet, and no Event says why; `{command}` shows more, and whether the Job controller is there at all"
    return Fault("StartTimeout", "no pod was created", detail)


def needs_look(job: SeenJob, pods: Sequence[SeenPod]) -> bool:
    """Tell whether a Job has ended and the pod that ended it is not in the picture.

    The two informers know nothing of each other: the Job's end may be seen before its pod's. Deciding then would lose the
    output, so `executors.job.look` asks the API server first. A Job that ran out of time has had its pods deleted. A pod that was lost is no
    reason for a Job to have failed: another one followed it.
    """
    if job.state is JobState.ACTIVE or job.reason == "DeadlineExceeded":
        return False
    return not any(pod.succeeded if job.state is JobState.SUCCEEDED else pod.failed and pod.lost is None for pod in _own(job, pods))


def _own(job: SeenJob, pods: Sequence[SeenPod]) -> list[SeenPod]:
    return [pod for pod in pods if pod.job_uid == job.uid and pod.namespace == job.namespace]


def _age(pod: SeenPod) -> tuple[str, bool, int]:
    return pod.created_at, pod.is_alive, pod.resource_version


def _fact(job: SeenJob, state: JobState, *, started: bool = False, lost: SeenPod | None = None, **seen: Any) -> JobFact:
    away: dict[str, Any] = {"lost": lost.lost, "lost_pod": lost.uid} if lost is not None else {}
    return JobFact(job.name, job.uid, state, started=started, deleting=job.deleting, owned=not job.unowned, **away, **seen)


def _for_another(lost: SeenPod) -> Hold:
    """A pod that is lost may still run, as on a node that does not answer: only when it surely does not, another is made."""
    assert lost.lost is not None
    return Hold(lost.lost.type, "Waiting for another pod", f"{lost.lost.type}: {lost.lost.detail}")


def _why(job: SeenJob, newest: SeenPod | None) -> Fault:
    if job.reason == "DeadlineExceeded":
        return Fault("Timeout", "the attempt took too long", job.message or "the Job was active longer than its deadline")
    if newest is not None and newest.fault is not None:
        return newest.fault
    words = f"{job.reason}: {job.message}".strip(": ")
    return Fault("Evicted", "the pod was taken away before it ended", f"no pod of the Job is left; the Job says: {words or 'nothing'}")
