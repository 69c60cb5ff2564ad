"""What a Job's status has to say, in the order in which it may be said so that no pod is ever counted twice or never. Pure.

A pod that ended is counted by: its UID in `uncountedTerminatedPods`; then its finalizer removed; then the counter (KEP-2307). Where the very same
write ends the Job, the list can be left out: a finished Job counts nothing any more, whatever finalizers a crash leaves on its pods.
"""

from dataclasses import dataclass
from datetime import datetime

from backstay.local.controllers.failure_policy import judge
from backstay.local.controllers.job_plan import Verdict
from backstay.local.controllers.job_view import JobView, format_indexes, is_tracked, phase
from backstay.local.node.api import Obj
from backstay.local.node.state import timestamp


@dataclass(frozen=True, slots=True)
class Accounting:
    """Write `first` where there is one, then take the finalizers of `release`, then write `last`. A status that is no news is not written."""

    first: Obj | None
    release: list[Obj]
    last: Obj
    last_before_release: bool = False


def announce(view: JobView, end: Verdict) -> Obj | None:
    """Return the status that says that the Job ends, if it has to say so before its pods are deleted; deleted pods would look like the reason."""
    if not view.active or any(known["type"] == end.kind for known in view.status.get("conditions") or ()):
        return None
    conditions = list(view.status.get("conditions") or ())
    _put(conditions, end.kind, "True", end.reason, end.message, view.now)
    return view.status | {"conditions": conditions}


def account(view: JobView, end: Verdict | None, *, managed: bool) -> Accounting:
    """Return what to write, given why the Job ends, if it does.

    `managed` tells whether pods were looked after in this pass, which is when the Suspended condition follows the specification.
    """
    end = None if view.active else end
    release = [pod for pod in view.pods if is_tracked(pod) and _is_over(view, pod, end)]
    successes = [pod["metadata"]["uid"] for pod in view.new_successes]
    failures = [pod["metadata"]["uid"] for pod in _failures(view, end)]
    status = _base(view, end, managed=managed)
    if end and not view.terminating:
        last = _count(status, view, len(successes) + len(view.uncounted("succeeded")), len(failures) + len(view.uncounted("failed")))
        return Accounting(None, release, _finish(last, end, view.now), last_before_release=True)
    listed = {"succeeded": [*view.uncounted("succeeded"), *successes], "failed": [*view.uncounted("failed"), *failures]}
    if view.is_indexed:
        listed["succeeded"] = []
    last = _count(status, view, len(listed["succeeded"]), len(listed["failed"]))
    if not (successes or failures or release):
        return Accounting(None, [], last)
    return Accounting(status | {"uncountedTerminatedPods": {key: uids for key, uids in listed.items() if uids}}, release, last)


def _is_over(view: JobView, pod: Obj, end: Verdict | None) -> bool:
    return bool(view.is_deleted or end is not None or phase(pod) == "Succeeded" or view.is_failed(pod))


def _failures(view: JobView, end: Verdict | None) -> list[Obj]:
    """Return the pods that count as failed from now on: when the Job fails, all that did not succeed."""
    if end is None or end.kind != "FailureTarget":
        return view.new_failures
    known, policy = set(view.uncounted("failed")), view.spec.get("podFailurePolicy")
    rest = [pod for pod in view.pods if is_tracked(pod) and phase(pod) != "Succeeded" and pod["metadata"]["uid"] not in known]
    return [pod for pod in rest if judge(policy, pod).counts]


def _base(view: JobView, end: Verdict | None, *, managed: bool) -> Obj:
    """Return the status without its counters: how many pods are active, when it started, conditions."""
    status: Obj = {key: value for key, value in view.status.items() if key not in ("uncountedTerminatedPods", "active")}
    status |= {"ready": view.ready, "terminating": len(view.terminating)} | _nonzero(active=len(view.active))
    if view.is_indexed and view.completed_indexes:
        status |= {"succeeded": len(view.completed_indexes), "completedIndexes": format_indexes(view.completed_indexes)}
    conditions: list[Obj] = list(status.get("conditions") or ())
    if end is not None:
        _put(conditions, end.kind, "True", end.reason, end.message, view.now)
    elif managed and view.spec["suspend"]:
        _put(conditions, "Suspended", "True", "JobSuspended", "Job suspended", view.now)
    elif managed and any(known["type"] == "Suspended" and known["status"] == "True" for known in conditions):
        _put(conditions, "Suspended", "False", "JobResumed", "Job resumed", view.now)
        status["startTime"] = timestamp(view.now)
    if "startTime" not in status and not view.spec["suspend"]:
        status["startTime"] = timestamp(view.now)
    if conditions:
        status["conditions"] = conditions
    return status


def _count(status: Obj, view: JobView, successes: int, failures: int) -> Obj:
    """Return the status with what was uncounted in its counters."""
    counted = status | {"uncountedTerminatedPods": {}} | _nonzero(failed=int(view.status.get("failed") or 0) + failures)
    if view.is_indexed:
        return counted
    return counted | _nonzero(succeeded=int(view.status.get("succeeded") or 0) + successes)


def _nonzero(**numbers: int) -> dict[str, int]:
    """Leave out counters that are 0, as the real API does."""
    return {name: number for name, number in numbers.items() if number}


def _finish(status: Obj, end: Verdict, now: datetime) -> Obj:
    conditions = list(status["conditions"])
    _put(conditions, end.final, "True", end.reason, end.message, now)
    finished = status | {"conditions": conditions}
    return finished | ({"completionTime": timestamp(now)} if end.final == "Complete" else {})


def _put(conditions: list[Obj], kind: str, value: str, reason: str, message: str, now: datetime) -> None:
    """Set a condition in place; one that says so already keeps its times."""
    new = {"type": kind, "status": value, "reason": reason, "message": message}
    for position, known in enumerate(conditions):
        if known["type"] == kind:
            if not new.items() <= known.items():
                conditions[position] = new | {"lastProbeTime": timestamp(now), "lastTransitionTime": timestamp(now)}
            return
    conditions.append(new | {"lastProbeTime": timestamp(now), "lastTransitionTime": timestamp(now)})
