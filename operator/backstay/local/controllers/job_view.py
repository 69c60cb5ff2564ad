"""A Job and its pods as the controller looks at them: defaults filled in, pods sorted by how they are. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

from backstay.local.controllers.failure_policy import judge
from backstay.local.node.api import Obj

TRACKING: Final = "batch.kubernetes.io/job-tracking"
"""The finalizer that keeps a pod until the Job's status has counted it (KEP-2307)."""
INDEX: Final = "batch.kubernetes.io/job-completion-index"


def is_tracked(pod: Obj) -> bool:
    return TRACKING in (pod["metadata"].get("finalizers") or ())


def phase(pod: Obj) -> str:
    return str((pod.get("status") or {}).get("phase") or "Pending")


def is_ended(pod: Obj) -> bool:
    return phase(pod) in ("Succeeded", "Failed")


def index_of(pod: Obj) -> int | None:
    value = (pod["metadata"].get("annotations") or {}).get(INDEX)
    return None if value is None else int(value)


def condition(status: Obj, kind: str) -> Obj | None:
    """Return a condition that is True."""
    return next((c for c in status.get("conditions") or () if c["type"] == kind and c["status"] == "True"), None)


def is_finished(job: Obj) -> bool:
    status = job.get("status") or {}
    return bool(condition(status, "Complete") or condition(status, "Failed"))


@dataclass(frozen=True)
class JobView:
    """One Job, its pods, and the time. What the real controller's syncJobCtx holds."""

    job: Obj
    pods: list[Obj]
    now: datetime
    former_names: frozenset[str] = frozenset()
    """Names of pods that were seen and are gone: not given again, so that a replacement is told from what it replaces."""

    @cached_property
    def spec(self) -> Obj:
        spec: Obj = self.job["spec"]
        defaults: dict[str, Any] = {"backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False}
        defaults["podReplacementPolicy"] = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
        return defaults | {key: value for key, value in spec.items() if value is not None}

    @property
    def status(self) -> Obj:
        status: Obj = self.job.get("status") or {}
        return status

    @property
    def parallelism(self) -> int:
        return int(self.spec.get("parallelism", 1))

    @property
    def completions(self) -> int | None:
        """How many pods have to succeed; None where any success will do (a work queue)."""
        if "completions" in self.spec:
            return int(self.spec["completions"])
        return None if "parallelism" in self.spec else 1

    @property
    def is_indexed(self) -> bool:
        return bool(self.spec["completionMode"] == "Indexed")

    @property
    def is_deleted(self) -> bool:
        return bool(self.job["metadata"].get("deletionTimestamp"))

    @cached_property
    def active(self) -> list[Obj]:
        return [pod for pod in self.pods if not is_ended(pod) and not pod["metadata"].get("deletionTimestamp")]

    @cached_property
    def terminating(self) -> list[Obj]:
        return [pod for pod in self.pods if not is_ended(pod) and pod["metadata"].get("deletionTimestamp")]

    @property
    def ready(self) -> int:
        return sum(1 for pod in self.active if condition(pod.get("status") or {}, "Ready"))

    def is_failed(self, pod: Obj) -> bool:
        """Tell whether a pod is a failure; unless it has to be waited for, one that is being deleted is."""
        if phase(pod) == "Failed":
            return True
        waits = self.spec["podReplacementPolicy"] == "Failed"
        return not waits and bool(pod["metadata"].get("deletionTimestamp")) and phase(pod) != "Succeeded"

    def uncounted(self, outcome: str) -> list[str]:
        """Return the UIDs that the status lists as ended but not yet counted, under `succeeded` or `failed`."""
        return list((self.status.get("uncountedTerminatedPods") or {}).get(outcome) or ())

    @cached_property
    def new_successes(self) -> list[Obj]:
        """Return pods that succeeded and are not in the status in any way."""
        return [pod for pod in self._new("succeeded") if phase(pod) == "Succeeded"]

    @cached_property
    def new_failures(self) -> list[Obj]:
        """Return failed pods that are not in the status and count against backoffLimit."""
        return [pod for pod in self._new("failed") if self.is_failed(pod) and judge(self.spec.get("podFailurePolicy"), pod).counts]

    def _new(self, outcome: str) -> list[Obj]:
        known = set(self.uncounted(outcome))
        return [pod for pod in self.pods if is_tracked(pod) and pod["metadata"]["uid"] not in known]

    @property
    def succeeded(self) -> int:
        if self.is_indexed:
            return len(self.completed_indexes)
        return int(self.status.get("succeeded") or 0) + len(self.uncounted("succeeded")) + len(self.new_successes)

    @property
    def failed(self) -> int:
        return int(self.status.get("failed") or 0) + len(self.uncounted("failed")) + len(self.new_failures)

    @cached_property
    def completed_indexes(self) -> set[int]:
        """Return the indexes that are done: those in the status, and those of pods that succeeded."""
        new = {index_of(pod) for pod in self.pods if phase(pod) == "Succeeded" and is_tracked(pod)}
        return parse_indexes(self.status.get("completedIndexes") or "") | {
            index for index in new if index is not None and index < (self.completions or 0)
        }

    def failures_in_a_row(self) -> tuple[int, datetime | None]:
        """Return how many pods failed since the last success, and when the last one did: what the delay before the next one depends on."""
        last_success = max((ended_at(pod) for pod in self.pods if phase(pod) == "Succeeded"), default=None)
        times = [ended_at(pod) for pod in self.pods if self.is_failed(pod)]
        later = [time for time in times if last_success is None or time > last_success]
        return len(later), max(later, default=None)


def ended_at(pod: Obj) -> datetime:
    """Return when a pod ended: from its containers, its Ready condition, its deletion, or at worst when it was made."""
    status, metadata = pod.get("status") or {}, pod["metadata"]
    ends: list[Obj] = [(container.get("state") or {}).get("terminated") or {} for container in status.get("containerStatuses") or ()]
    if ends and all(end.get("finishedAt") for end in ends):
        return max(datetime.fromisoformat(end["finishedAt"]) for end in ends)
    for known in status.get("conditions") or ():
        if known["type"] == "Ready" and known["status"] == "False" and known.get("lastTransitionTime"):
            return datetime.fromisoformat(known["lastTransitionTime"])
    if metadata.get("deletionTimestamp"):
        grace = timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
        return datetime.fromisoformat(metadata["deletionTimestamp"]) - grace
    return datetime.fromisoformat(metadata["creationTimestamp"])


def parse_indexes(text: str) -> set[int]:
    """Read `0,2-4` as {0, 2, 3, 4}."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def format_indexes(indexes: set[int]) -> str:
    """Write {0, 2, 3, 4} as `0,2-4`."""
    parts: list[list[int]] = []
    for index in sorted(indexes):
        if parts and parts[-1][-1] == index - 1:
            parts[-1][1:] = [index]
        else:
            parts.append([index])
    return ",".join(("," if part[-1] - part[0] == 1 else "-").join(map(str, part)) for part in parts)
