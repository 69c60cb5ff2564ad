"""Deployments, ReplicaSets and StatefulSets: defaults and the rules that bind selector and template. Nothing here runs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from backstay.local.apiserver.fields import FieldError, immutable, invalid, not_supported, required
from backstay.local.apiserver.kinds.pod_rules import check_pod_spec
from backstay.local.apiserver.kinds.pods import default_pod_spec
from backstay.local.apiserver.syntax import check_labels

_ROLLING: Final = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}


def default_workload(workload: dict[str, Any]) -> None:
    """Fill in one replica and the defaults of the pod template; changes `workload`."""
    spec = workload.setdefault("spec", {})
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    default_pod_spec(template.setdefault("spec", {}))


def generate_replicas(workload: dict[str, Any]) -> None:
    """A new workload has no replicas yet."""
    workload["status"] = {"replicas": 0} if workload.get("kind") == "ReplicaSet" else {"availableReplicas": 0, "replicas": 0}


def default_deployment(deployment: dict[str, Any]) -> None:
    """Fill in the rolling update of a Deployment besides."""
    default_workload(deployment)
    spec = deployment["spec"]
    strategy = spec.get("strategy") or {}
    spec["strategy"] = strategy if strategy.get("type") == "Recreate" else {**_ROLLING, **strategy}
    for name, value in (("revisionHistoryLimit", 10), ("progressDeadlineSeconds", 600)):
        if spec.get(name) is None:
            spec[name] = value


def default_stateful_set(stateful_set: dict[str, Any]) -> None:
    """Fill in how a StatefulSet brings up, renews and leaves its pods and claims."""
    default_workload(stateful_set)
    spec = stateful_set["spec"]
    spec["podManagementPolicy"] = spec.get("podManagementPolicy") or "OrderedReady"
    if spec.get("revisionHistoryLimit") is None:
        spec["revisionHistoryLimit"] = 10
    strategy = spec.get("updateStrategy") or {"type": "RollingUpdate"}
    if strategy.get("type") == "RollingUpdate":
        strategy["rollingUpdate"] = {"partition": 0, "maxUnavailable": 1, **(strategy.get("rollingUpdate") or {})}
    spec["updateStrategy"] = strategy
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    spec["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Retain", "whenScaled": "Retain", **retention}


def check_workload(workload: Mapping[str, Any]) -> list[FieldError]:
    """Judge replicas, selector, labels and pod template."""
    spec = workload["spec"]
    template = spec["template"]
    labels = (template.get("metadata") or {}).get("labels") or {}
    errors: list[FieldError] = []
    if spec["replicas"] < 0:
        errors.append(invalid("spec.replicas", spec["replicas"], "must be greater than or equal to 0"))
    selector = spec.get("selector")
    if not selector:
        errors.append(required("spec.selector"))
    elif any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        errors.append(invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`"))
    errors += check_labels(labels, "spec.template.labels") + check_pod_spec(template["spec"], "spec.template.spec")
    if template["spec"]["restartPolicy"] != "Always":
        errors.append(not_supported("spec.template.spec.restartPolicy", template["spec"]["restartPolicy"], ("Always",)))
    return errors


def check_workload_update(workload: Mapping[str, Any], old: Mapping[str, Any]) -> list[FieldError]:
    """The selector never changes."""
    errors = check_workload(workload)
    if workload["spec"].get("selector") != old["spec"].get("selector"):
        errors.append(immutable("spec.selector", workload["spec"].get("selector")))
    return errors
