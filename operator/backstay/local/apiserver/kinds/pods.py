"""Pods: defaults, generated status, and what may change after creation.

Left out: pod-level resources, gated pods' node affinity, ephemeral containers, host ports of the host network.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any, Final

from backstay.local.apiserver.fields import FieldError, forbidden, invalid
from backstay.local.apiserver.kinds.pod_rules import check_pod_spec
from backstay.local.apiserver.quantity import parse_quantity
from backstay.local.apiserver.syntax import in_range

_INT32_MAX: Final = 2**31 - 1
_UPDATABLE: Final = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_MOUNTED: Final = ("secret", "configMap", "downwardAPI", "projected")
_MODE_0644: Final = 420
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_DEFAULTS: Final = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def default_pod(pod: dict[str, Any]) -> None:
    """Fill in the defaults of a Pod; changes it."""
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    for container in _containers(spec):
        limits = container["resources"].get("limits")
        if limits:
            container["resources"]["requests"] = {**limits, **(container["resources"].get("requests") or {})}
    spec.setdefault("enableServiceLinks", True)


def generate_pod(pod: dict[str, Any]) -> None:
    """Add what admission plugins add to a new Pod, and its first status."""
    spec = pod["spec"]
    spec["tolerations"] = [*(spec.get("tolerations") or ()), *_missing_tolerations(spec)]
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    spec.setdefault("priority", 0)
    pod["status"] = {"phase": "Pending", "qosClass": quality_of_service(spec)}


def _missing_tolerations(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what the admission plugin DefaultTolerationSeconds adds: five minutes for a node that is lost."""
    known = {toleration.get("key") for toleration in spec.get("tolerations") or () if toleration.get("effect") in (None, "", "NoExecute")}
    return [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
        if key not in known and None not in known
    ]


def default_pod_spec(spec: dict[str, Any]) -> None:
    """Fill in the defaults that templates get as well; changes `spec`."""
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for name, value in (("dnsPolicy", "ClusterFirst"), ("restartPolicy", "Always"), ("schedulerName", "default-scheduler")):
        if not spec.get(name):
            spec[name] = value
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    if spec.get("terminationGracePeriodSeconds") is None:
        spec["terminationGracePeriodSeconds"] = 30
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name) is False:  # Go leaves out a false that cannot be absent
            del spec[name]
    for container in _containers(spec):
        _default_container(container)
    for volume in spec.get("volumes") or ():
        _default_volume(volume)


def _containers(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def _default_container(container: dict[str, Any]) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = "Always" if _is_latest(container.get("image") or "") else "IfNotPresent"
    if not container.get("terminationMessagePath"):
        container["terminationMessagePath"] = "/dev/termination-log"
    if not container.get("terminationMessagePolicy"):
        container["terminationMessagePolicy"] = "File"
    if container.get("resources") is None:
        container["resources"] = {}
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")
    for probe in (container[name] for name in _PROBES if container.get(name) is not None):
        for name, value in _PROBE_DEFAULTS.items():
            probe[name] = probe.get(name) or value
        if probe.get("httpGet") is not None:
            probe["httpGet"] = {"path": "/", "scheme": "HTTP", **probe["httpGet"]}


def _is_latest(image: str) -> bool:
    """Tell whether an image reference means the tag `latest`: named so, or without tag and digest."""
    if "@" in image:
        return False
    tag = re.search(r":([\w][\w.-]*)$", image.rpartition("/")[2])
    return tag is None or tag[1] == "latest"


def _default_volume(volume: dict[str, Any]) -> None:
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}
    for source in (volume[name] for name in _MOUNTED if volume.get(name) is not None):
        if source.get("defaultMode") is None:
            source["defaultMode"] = _MODE_0644
        _default_references(source)
        for part in source.get("sources") or ():
            _default_references(part.get("downwardAPI") or {})
            if part.get("serviceAccountToken") is not None:
                part["serviceAccountToken"].setdefault("expirationSeconds", 3600)
    host_path = volume.get("hostPath")
    if host_path is not None and host_path.get("type") is None:
        host_path["type"] = ""


def _default_references(source: Mapping[str, Any]) -> None:
    for item in source.get("items") or ():
        if item.get("fieldRef") is not None:
            item["fieldRef"].setdefault("apiVersion", "v1")


def quality_of_service(spec: Mapping[str, Any]) -> str:
    """Return the QoS class: Guaranteed where every container's requests equal its limits (CPU and memory), BestEffort where none has any."""
    requests = [container.get("resources", {}).get("requests") or {} for container in _containers(spec)]
    limits = [container.get("resources", {}).get("limits") or {} for container in _containers(spec)]
    if not any(_compute(some) for some in (*requests, *limits)):
        return "BestEffort"
    fixed = all(
        _compute(limit).keys() == {"cpu", "memory"} and _compute(limit) == _compute(request)
        for request, limit in zip(requests, limits, strict=True)
    )
    return "Guaranteed" if fixed else "Burstable"


def _compute(resources: Mapping[str, Any]) -> dict[str, Any]:
    return {name: amount for name in ("cpu", "memory") if name in resources and (amount := parse_quantity(resources[name]))}


def check_pod(pod: Mapping[str, Any]) -> list[FieldError]:
    """Judge a Pod that is created."""
    errors = check_pod_spec(pod.get("spec") or {}, "spec")
    if (pod.get("spec") or {}).get("ephemeralContainers"):
        errors.append(forbidden("spec.ephemeralContainers", "cannot be set on create"))
    return errors


def check_pod_update(pod: Mapping[str, Any], old: Mapping[str, Any]) -> list[FieldError]:
    """Judge a changed Pod: nothing of its spec may change but images, deadlines that come nearer, and added tolerations."""
    spec, before = pod["spec"], old["spec"]
    errors = check_pod_spec(spec, "spec")
    for name in ("containers", "initContainers"):
        if len(spec.get(name) or ()) != len(before.get(name) or ()):
            return [*errors, forbidden(f"spec.{name}", "pod updates may not add or remove containers")]
    errors += _check_deadline(spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"))
    kept = [toleration for toleration in before.get("tolerations") or () if toleration in (spec.get("tolerations") or ())]
    if kept != (before.get("tolerations") or []):
        errors.append(forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"))
    if _comparable(spec, before) != before:
        errors.append(
            forbidden(
                "spec", f"pod updates may not change fields other than {_UPDATABLE}\n{_difference(_comparable(spec, before), before)}"
            )
        )
    return errors


def _check_deadline(deadline: int | None, before: int | None) -> list[FieldError]:
    field = "spec.activeDeadlineSeconds"
    if deadline is None:
        return [invalid(field, None, "must not update from a positive integer to nil value")] if before is not None else []
    if not 0 <= deadline <= _INT32_MAX:
        return [invalid(field, deadline, in_range(0, _INT32_MAX))]
    return [invalid(field, deadline, "must be less than or equal to previous value")] if before is not None and deadline > before else []


def _comparable(spec: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the new spec with everything that may change set back."""
    made = copy.deepcopy(dict(spec))
    for name in ("containers", "initContainers"):
        for container, earlier in zip(made.get(name) or (), before.get(name) or (), strict=True):
            container["image"] = earlier["image"]
    for name in ("activeDeadlineSeconds", "tolerations", "schedulingGates"):
        made.pop(name, None)
        if name in before:
            made[name] = before[name]
    return made


def _difference(new: Mapping[str, Any], old: Mapping[str, Any]) -> str:
    """Name the members that differ; the server shows Go's own dump of both."""
    return "\n".join(f"  {name}: {old.get(name)!r} -> {new.get(name)!r}" for name in sorted({*new, *old}) if new.get(name) != old.get(name))
