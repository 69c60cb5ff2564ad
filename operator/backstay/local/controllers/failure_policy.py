"""podFailurePolicy: what a failed pod means for its Job (KEP-3329; pkg/controller/job/pod_failure_policy.go). Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from backstay.local.node.api import Obj


@dataclass(frozen=True, slots=True)
class Judgement:
    """`counts` tells whether the failure counts against backoffLimit; `fails_job` is the message when it fails the whole Job."""

    counts: bool = True
    fails_job: str = ""


def judge(policy: Obj | None, pod: Obj) -> Judgement:
    """Return what the first matching rule says of a failed pod; without one it simply counts."""
    for index, rule in enumerate((policy or {}).get("rules") or ()):
        matched = _match(rule, pod)
        if not matched:
            continue
        if rule["action"] == "Ignore":
            return Judgement(counts=False)
        if rule["action"] == "FailJob":
            return Judgement(fails_job=f"{matched} matching FailJob rule at index {index}")
        return Judgement()
    return Judgement()


def _match(rule: Obj, pod: Obj) -> str:
    """Return what of the pod matches the rule, in the real controller's words; empty when nothing does."""
    where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    if rule.get("onExitCodes"):
        status = _failed_container(pod.get("status") or {}, rule["onExitCodes"])
        code = status["state"]["terminated"]["exitCode"] if status else None
        return f"Container {status['name']} for pod {where} failed with exit code {code}" if status else ""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if any(
            condition["type"] == wanted["type"] and condition["status"] == wanted.get("status", "True")
            for wanted in rule.get("onPodConditions") or ()
        ):
            return f"Pod {where} has condition {condition['type']}"
    return ""


def _failed_container(status: Obj, requirement: Obj) -> Obj | None:
    statuses: Iterable[Obj] = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    for container in statuses:
        end = (container.get("state") or {}).get("terminated")
        if end is None or end["exitCode"] == 0 or requirement.get("containerName") not in (None, container["name"]):
            continue
        if (end["exitCode"] in requirement["values"]) == (requirement["operator"] == "In"):
            return container
    return None
