"""What a Pod's status means: why it failed, what keeps it from starting, what it left as output. Pure.

    failed because                                   fault
    evicted for more disk than its own limit         StorageExceeded
    kubelet or API evicted it, preempted             Evicted
    node gone, shut down, or the container lost      NodeLost
    no place on the node after all                   Unschedulable
    deleted before it ended, by whomever             PodDeleted
    out of memory                                    OOMKilled
    command not found, container cannot be made      InvalidJob
    pod's own activeDeadlineSeconds                  Timeout
    any container ended with a code but 0            ExitCode

    not started because                              stuck
    image cannot be pulled, or has no valid name     ImagePull
    a Secret or ConfigMap is missing, bad command    InvalidJob
    no node fits                                     Unschedulable

Sources: kubelet's container reasons (pkg/kubelet/images/types.go, kuberuntime), Pod conditions (KEP-3329), eviction and shutdown managers
(pkg/kubelet/eviction/helpers.go for their words).
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from backstay import names
from backstay.engine.model import Fault

Status = Mapping[str, Any]

_IMAGE: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_INVALID: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError", "PreStartHookError"}
)
_CRASHING: Final = "CrashLoopBackOff"
_NEVER_RAN: Final = frozenset({"StartError", "ContainerCannotRun"})
_LOST: Final = "ContainerStatusUnknown"
_DISRUPTIONS: Final = {
    "PreemptionByScheduler": "Evicted",
    "EvictionByEvictionAPI": "Evicted",
    "DeletionByTaintManager": "NodeLost",
    "DeletionByPodGC": "NodeLost",
    "TerminationByKubelet": "Evicted",
}
"""Reasons of the condition DisruptionTarget."""
_POD_REASONS: Final = {
    "Evicted": "Evicted",
    "Preempting": "Evicted",
    "NodeLost": "NodeLost",
    "NodeShutdown": "NodeLost",
    "Shutdown": "NodeLost",
    "Terminated": "NodeLost",
    "NodeAffinity": "Unschedulable",
    "NodePorts": "Unschedulable",
    "UnexpectedAdmissionError": "Unschedulable",
    "DeadlineExceeded": "Timeout",
}
_OWN_LIMIT: Final = re.compile(r"exceeds the limit|exceeds the total limit of containers|exceeded its local ephemeral storage limit")
"""The words of the kubelet's eviction manager for a pod that used more than it may: no fault of the node's."""
_CLOCKS: Final = timedelta(seconds=2)
"""Times are whole seconds, of two clocks: the node's and the API server's."""
_TEXT_LIMIT: Final = 400


# -------------------------------------------------------------------------------------------------------------- containers


def main_end(status: Status) -> Mapping[str, Any] | None:
    """Return how container `main` ended (`state.terminated`), or None while it has not."""
    for container in status.get("containerStatuses") or ():
        if container.get("name") == names.CONTAINER:
            return _ended(container)
    return None


def output(ended: Mapping[str, Any] | None) -> str | None:
    """Return what the container left in its output file: `""` for nothing, None where it did not run to an end of its own.

    Of a container that could not start or was lost, the message is not the container's but the runtime's.
    """
    if ended is None or ended.get("reason") in _NEVER_RAN or ended.get("reason") == _LOST:
        return None
    return str(ended.get("message") or "")


def has_begun(status: Status) -> bool:
    """Tell whether any container of the pod runs or has run, those that prepare it included."""
    return any(_begun(state) for _, state in _states(status))


def _begun(state: Mapping[str, Any]) -> bool:
    return "running" in state or "terminated" in state


def _states(status: Status) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (container's name, state) in the order in which containers start."""
    for group in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(group) or ():
            yield container.get("name", ""), container.get("state") or {}


def _images(status: Status) -> dict[str, str]:
    """Return the image of each container by its name: while it waits, as the pod names it."""
    groups = (status.get(group) or () for group in ("initContainerStatuses", "containerStatuses"))
    return {container.get("name", ""): str(container.get("image") or "") for group in groups for container in group}


def _ended(container: Mapping[str, Any]) -> Mapping[str, Any] | None:
    ended: Mapping[str, Any] | None = (container.get("state") or {}).get("terminated")
    return ended


# ------------------------------------------------------------------------------------------------------------------- stuck


def stuck(status: Status) -> Fault | None:
    """Return what keeps a pod from running to its end, or None where nothing does, as far as its status tells.

    A container beside `main` that cannot be made counts even while `main` runs, for the pod would never end. One that crashes again and
    again counts only while `main` waits for it.
    """
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            detail = condition.get("message") or condition.get("reason") or "the scheduler does not say why"
            return Fault("Unschedulable", "no node can take the pod", _short(detail))
    states = list(_states(status))
    main_begun = any(name == names.CONTAINER and _begun(state) for name, state in states)
    images = _images(status)
    for name, state in states:
        waiting = state.get("waiting") or {}
        reason = waiting.get("reason", "")
        if main_begun and reason == _CRASHING:
            continue
        if found := _waits_in_vain(name, reason, waiting.get("message", ""), images.get(name, "")):
            return found
    return None


def _waits_in_vain(name: str, reason: str, message: str, image: str) -> Fault | None:
    detail = _short(f"container {name}: {reason}: {message}" if message else f"container {name}: {reason}")
    if reason in _IMAGE:
        named = detail if not image or image in detail else _short(f"container {name}: image {image}: {reason}: {message}".rstrip(": "))
        return Fault("ImagePull", "the image cannot be pulled", named)
    if reason in _INVALID:
        return Fault("InvalidJob", "the container cannot be created", detail)
    if reason == _CRASHING:
        return Fault("InvalidJob", "a container that the pod needs keeps ending", detail)
    return None


# ----------------------------------------------------------------------------------------------------------------- failure


def fault(manifest: Mapping[str, Any]) -> Fault:
    """Return why a failed pod failed. What happened to the pod as a whole explains the ends of its containers, so it comes first."""
    status = manifest.get("status") or {}
    return _of_the_pod(status) or _deleted(manifest) or _of_the_containers(manifest) or _unexplained(manifest)


def exit_code(found: Fault | None, ended: Mapping[str, Any] | None) -> int | None:
    """Return the exit code of container `main` where it is why the pod failed; None where something else says more, or it went well."""
    code = (ended or {}).get("exitCode")
    return int(code) if found is not None and found.type == "ExitCode" and code else None


def lost(manifest: Mapping[str, Any]) -> Fault | None:
    """Return why a pod is being taken away, or was, so that its Job will run another without counting it; None where it is not."""
    disruption = _disruption(manifest.get("status") or {})
    if not disruption:
        return None
    reason = disruption.get("reason", "")
    return Fault(_DISRUPTIONS.get(reason, "Evicted"), f"the pod was stopped: {reason}", _short(disruption.get("message") or reason))


def _deleted(manifest: Mapping[str, Any]) -> Fault | None:
    """A pod that was deleted before any of its containers had ended by itself: by a person, or by something that says no more than that.

    When it was asked for is the time of deletion without the grace period, also once the kubelet has cut that short (k8s.io/apiserver,
    registry/rest, BeforeDelete).
    """
    metadata = manifest["metadata"]
    if "deletionTimestamp" not in metadata:
        return None
    asked = datetime.fromisoformat(metadata["deletionTimestamp"]) - timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
    ends = [state["terminated"].get("finishedAt") for _, state in _states(manifest.get("status") or {}) if _is_bad_end(state)]
    if any(end and datetime.fromisoformat(end) < asked - _CLOCKS for end in ends):
        return None
    return Fault("PodDeleted", "the pod was deleted", f"pod {metadata.get('name', '')} was deleted before it had ended")


def _is_bad_end(state: Mapping[str, Any]) -> bool:
    return "terminated" in state and state["terminated"].get("exitCode") != 0


def _of_the_pod(status: Status) -> Fault | None:
    reason = str(status.get("reason") or "")
    detail = str(status.get("message") or "")
    disruption = _disruption(status)
    kind = _POD_REASONS.get(reason) or ("Unschedulable" if reason.startswith(("OutOf", "Outof")) else "")
    kind = kind or _DISRUPTIONS.get(disruption.get("reason", ""), "")
    if not kind:
        return None
    words = reason or disruption.get("reason", "")
    if reason == "Evicted" and not disruption and _OWN_LIMIT.search(detail):
        return Fault("StorageExceeded", "out of disk", _short(detail.strip()))
    return Fault(kind, f"the pod was stopped: {words}", _short(detail or disruption.get("message", "")))


def _disruption(status: Status) -> Mapping[str, Any]:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return dict(condition)
    return {}


def _of_the_containers(manifest: Mapping[str, Any]) -> Fault | None:
    bad = [(name, state["terminated"]) for name, state in _states(manifest.get("status") or {}) if _is_bad_end(state)]
    if not bad:
        return None
    name, end = next(((name, end) for name, end in bad if name == names.CONTAINER), bad[0])
    return _of_a_container(name, end, manifest)


def _of_a_container(name: str, end: Mapping[str, Any], manifest: Mapping[str, Any]) -> Fault:
    reason, message = end.get("reason", ""), str(end.get("message") or "")
    where = "" if name == names.CONTAINER else f"container {name}: "
    if reason in _NEVER_RAN:
        return Fault("InvalidJob", "the container could not start", _short(f"{where}{message or reason}"))
    if reason == _LOST:
        return Fault("NodeLost", "the container was lost", _short(f"{where}{message or reason}"))
    code = f"{where}exit code {end.get('exitCode')}"
    if reason == "OOMKilled":
        limit = _memory_limit(name, manifest)
        more = f"its limit of {limit}" if limit else "the node has; it has no limit of its own"
        return Fault("OOMKilled", "out of memory", f"{code}: the container used more memory than {more}")
    return Fault("ExitCode", code, code + _last_words(message))


def _memory_limit(name: str, manifest: Mapping[str, Any]) -> str:
    spec = manifest.get("spec") or {}
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        if container.get("name") == name:
            return str(((container.get("resources") or {}).get("limits") or {}).get("memory") or "")
    return ""


def _last_words(message: str) -> str:
    """Return the end of an output that is no JSON: programs write there why they gave up. JSON is for the engine to read."""
    try:
        json.loads(message)
    except ValueError:
        return f"; it left: {_short(message.strip(), end=True)}" if message.strip() else ""
    return ""


def _unexplained(manifest: Mapping[str, Any]) -> Fault:
    metadata = manifest["metadata"]
    name = f"kubectl describe pod -n {metadata.get('namespace', '')} {metadata.get('name', '')}"
    return Fault("ExitCode", "the pod failed", f"its status does not say why; `{name}` may show more")


def _short(text: str, *, end: bool = False) -> str:
    """Return text that fits into a status and an Event: its beginning, or its end."""
    if len(text) <= _TEXT_LIMIT:
        return text
    return f"… {text[-_TEXT_LIMIT:]}" if end else f"{text[:_TEXT_LIMIT]} …"
