"""The columns of the builtin kinds, as `kubectl get` shows them (k8s.io/kubernetes, pkg/printers/internalversion/printers.go).

A printer is a row of column definitions and a function from an object and the time to the cells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from backstay.local.apiserver.meta import parse_timestamp

_NONE: Final = "<none>"
Object = Mapping[str, Any]
Cells = Callable[[Object, datetime], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Printer:
    """Column definitions (metav1.TableColumnDefinition) and the cells of an object."""

    columns: tuple[dict[str, Any], ...]
    cells: Cells


def human_duration(seconds: float) -> str:
    """Return a duration as people read it, `5m10s` or `3d4h` (apimachinery's duration.HumanDuration)."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 120:
        return f"{max(whole, 0)}s"
    minutes, hours = whole // 60, whole // 3600
    if minutes < 180:
        return _two(minutes, "m", whole % 60, "s") if minutes < 10 else f"{minutes}m"
    if hours < 48:
        return _two(hours, "h", minutes % 60, "m") if hours < 8 else f"{hours}h"
    days = hours // 24
    if days < 365 * 2:
        return _two(days, "d", hours % 24, "h") if days < 8 else f"{days}d"
    return _two(days // 365, "y", days % 365, "d") if days < 365 * 8 else f"{days // 365}y"


def _two(big: int, big_unit: str, small: int, small_unit: str) -> str:
    return f"{big}{big_unit}{small}{small_unit}" if small else f"{big}{big_unit}"


def since(text: str | None, now: datetime) -> str:
    """Return how long ago a timestamp was; `<unknown>` without one."""
    if not text:
        return "<unknown>"
    try:
        return human_duration((now - parse_timestamp(text)).total_seconds())
    except (ValueError, TypeError):
        return "<invalid>"


def column(name: str, type_: str = "string", *, wide: bool = False) -> dict[str, Any]:
    """Return a column definition; a wide one is shown with `-o wide` only."""
    definition = {"name": name, "type": type_, "format": "", "description": _DESCRIPTIONS.get(name, name), "priority": int(wide)}
    return definition | {"format": "name"} if name == "Name" else definition


_DESCRIPTIONS: Final = {
    "Name": "Name must be unique within a namespace.",
    "Age": "CreationTimestamp is a timestamp representing the server time when this object was created.",
    "Created At": "CreationTimestamp is a timestamp representing the server time when this object was created.",
}


def _name(obj: Object) -> str:
    return str(obj["metadata"].get("name", ""))


def _age(obj: Object, now: datetime) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now)


def _part(obj: Object, name: str) -> Mapping[str, Any]:
    part = obj.get(name)
    return part if isinstance(part, Mapping) else {}


# ── pods ────────────────────────────────────────────────────────────────────────────────────────


def _pod(pod: Object, now: datetime) -> Sequence[Any]:
    spec, status = _part(pod, "spec"), _part(pod, "status")
    reason, ready, restarts, restarted_at = _pod_state(pod)
    shown = f"{restarts} ({since(restarted_at, now)} ago)" if restarts and restarted_at else str(restarts)
    ips = status.get("podIPs") or [{}]
    gates = [gate["conditionType"] for gate in spec.get("readinessGates") or ()]
    held = [each["type"] for each in status.get("conditions") or () if each["status"] == "True"]
    return (
        _name(pod),
        f"{ready}/{_containers_to_be_ready(spec)}",
        reason,
        shown,
        _age(pod, now),
        ips[0].get("ip") or status.get("podIP") or _NONE,
        spec.get("nodeName") or _NONE,
        status.get("nominatedNodeName") or _NONE,
        f"{sum(gate in held for gate in gates)}/{len(gates)}" if gates else _NONE,
    )


def _is_sidecar(container: Mapping[str, Any]) -> bool:
    return container.get("restartPolicy") == "Always"


def _containers_to_be_ready(spec: Mapping[str, Any]) -> int:
    return len(spec.get("containers") or ()) + sum(_is_sidecar(each) for each in spec.get("initContainers") or ())


def _pod_state(pod: Object) -> tuple[str, int, int, str]:
    """Return the status word, the number of ready containers, the restarts, and when the last one was."""
    spec, status = _part(pod, "spec"), _part(pod, "status")
    phase = status.get("phase", "")
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    reason = status.get("reason") or phase
    if conditions.get("PodScheduled", {}).get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    init, ready = _init_reason(spec, status)
    statuses = status.get("initContainerStatuses" if init else "containerStatuses") or ()
    if init:
        reason = init
    else:
        reason, running = _container_reason(reason, statuses, conditions)
        ready += running
    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif phase not in ("Succeeded", "Failed"):
            reason = "Terminating"
    ended = [(each.get("lastState") or {}).get("terminated", {}).get("finishedAt", "") for each in statuses]
    return reason, ready, sum(each.get("restartCount", 0) for each in statuses), max(ended, default="")


def _init_reason(spec: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[str, int]:
    containers = {each["name"]: each for each in spec.get("initContainers") or ()}
    ready = 0
    for index, each in enumerate(status.get("initContainerStatuses") or ()):
        state = each.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and terminated.get("exitCode") == 0:
            continue
        if _is_sidecar(containers.get(each["name"], {})) and each.get("started"):
            ready += bool(each.get("ready"))
            continue
        if terminated is not None:
            return f"Init:{_ended_as(terminated)}", ready
        if waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}", ready
        return f"Init:{index}/{len(containers)}", ready
    return "", ready


def _ended_as(terminated: Mapping[str, Any]) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    return f"Signal:{terminated['signal']}" if terminated.get("signal") else f"ExitCode:{terminated.get('exitCode')}"


def _container_reason(reason: str, statuses: Sequence[Mapping[str, Any]], conditions: Mapping[str, Any]) -> tuple[str, int]:
    running, failed = 0, ""
    for each in reversed(statuses):
        state = each.get("state") or {}
        if (state.get("waiting") or {}).get("reason"):
            reason = state["waiting"]["reason"]
        elif state.get("terminated") is not None:
            reason = _ended_as(state["terminated"])
            failed = reason if state["terminated"].get("exitCode") else failed
        elif each.get("ready") and state.get("running") is not None:
            running += 1
    if reason == "Completed":
        if running and conditions.get("Ready", {}).get("status") == "True":
            reason = "Running"
        elif failed:
            reason = failed
        elif running:
            reason = "NotReady"
    return reason, running


# ── workloads ───────────────────────────────────────────────────────────────────────────────────


def _layout(template: Mapping[str, Any]) -> tuple[str, str]:
    containers = _part(_part(template, "template"), "spec").get("containers") or ()
    return ",".join(each.get("name", "") for each in containers), ",".join(each.get("image", "") for each in containers)


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """Return a metav1.LabelSelector as text (metav1.FormatLabelSelector)."""
    selector = selector or {}
    terms = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for each in selector.get("matchExpressions") or ():
        word = {"In": "in", "NotIn": "notin"}.get(each["operator"])
        key = each["key"]
        terms.append(
            f"{key} {word} ({','.join(each.get('values') or ())})" if word else ("!" if each["operator"] == "DoesNotExist" else "") + key
        )
    return ",".join(terms) or _NONE


def _job(job: Object, now: datetime) -> Sequence[Any]:
    spec, status = _part(job, "spec"), _part(job, "status")
    done, wanted, parallel = status.get("succeeded", 0), spec.get("completions"), spec.get("parallelism", 0)
    completions = f"{done}/{wanted}" if wanted is not None else f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"
    start, end = status.get("startTime"), status.get("completionTime")
    taken = since(start, parse_timestamp(end) if end else now) if start else ""
    return _name(job), _job_status(job), completions, taken, _age(job, now), *_layout(spec), selector_text(spec.get("selector"))


def _job_status(job: Object) -> str:
    held = {each["type"] for each in _part(job, "status").get("conditions") or () if each["status"] == "True"}
    ended = next((type_ for type_ in ("Complete", "Failed") if type_ in held), None)
    if ended is not None:
        return ended
    if job["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return next((type_ for type_ in ("Suspended", "FailureTarget", "SuccessCriteriaMet") if type_ in held), "Running")


def _cron_job(obj: Object, now: datetime) -> Sequence[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    last = status.get("lastScheduleTime")
    head = (_name(obj), spec.get("schedule", ""), spec.get("timeZone") or _NONE, "True" if spec.get("suspend") else "False")
    template = _part(_part(spec, "jobTemplate"), "spec")
    tail = (*_layout(template), selector_text(template.get("selector")))
    return *head, len(status.get("active") or ()), since(last, now) if last else _NONE, _age(obj, now), *tail


def _deployment(obj: Object, now: datetime) -> Sequence[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    counts = (status.get("updatedReplicas", 0), status.get("availableReplicas", 0))
    return _name(obj), ready, *counts, _age(obj, now), *_layout(spec), selector_text(spec.get("selector"))


def _replica_set(obj: Object, now: datetime) -> Sequence[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    counts = (spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0))
    return _name(obj), *counts, _age(obj, now), *_layout(spec), selector_text(spec.get("selector"))


def _stateful_set(obj: Object, now: datetime) -> Sequence[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    return _name(obj), f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}", _age(obj, now), *_layout(spec)


def _controller_revision(obj: Object, now: datetime) -> Sequence[Any]:
    owner = next((each for each in obj["metadata"].get("ownerReferences") or () if each.get("controller")), None)
    shown = _NONE
    if owner is not None:
        group = owner["apiVersion"].rpartition("/")[0]
        shown = f"{owner['kind'].lower()}{f'.{group}' if group else ''}/{owner['name']}"
    return _name(obj), shown, obj.get("revision", 0), _age(obj, now)


# ── the rest ────────────────────────────────────────────────────────────────────────────────────


def _node(obj: Object, now: datetime) -> Sequence[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    info = _part(status, "nodeInfo")
    ready = next((each["status"] for each in status.get("conditions") or () if each["type"] == "Ready"), None)
    words = ["Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"]
    words += ["SchedulingDisabled"] if spec.get("unschedulable") else []
    prefix = "node-role.kubernetes.io/"
    roles = sorted(key.removeprefix(prefix) for key in obj["metadata"].get("labels") or {} if key.startswith(prefix))
    kernel = info.get("kernelVersion") or "<unknown>"
    kernel += f" ({info['architecture']})" if info.get("architecture") else ""
    addresses = {each["type"]: each["address"] for each in reversed(status.get("addresses") or ())}
    head = (_name(obj), ",".join(words), ",".join(roles) or _NONE, _age(obj, now), info.get("kubeletVersion", ""))
    tail = (info.get("osImage") or "<unknown>", kernel, info.get("containerRuntimeVersion") or "<unknown>")
    return *head, addresses.get("InternalIP", _NONE), addresses.get("ExternalIP", _NONE), *tail


def _event(obj: Object, now: datetime) -> Sequence[Any]:
    about, source, series = _part(obj, "involvedObject"), _part(obj, "source"), obj.get("series")
    first = since(obj.get("firstTimestamp") or obj.get("eventTime"), now)
    last = since(obj["lastTimestamp"], now) if obj.get("lastTimestamp") else first
    count = obj.get("count") or 1
    if series:
        last, count = since(series.get("lastObservedTime"), now), series.get("count", count)
    target = about.get("kind", "").lower() + (f"/{about['name']}" if about.get("name") else "")
    component = source.get("component") or obj.get("reportingComponent", "")
    host = source.get("host") or obj.get("reportingInstance", "")
    head = (
        last,
        obj.get("type", ""),
        obj.get("reason", ""),
        target,
        about.get("fieldPath", ""),
        f"{component}, {host}" if host else component,
    )
    return *head, obj.get("message", "").strip(), first, count, _name(obj)


def _service(obj: Object, now: datetime) -> Sequence[Any]:
    spec = _part(obj, "spec")
    by_type = {"LoadBalancer": "<pending>", "ExternalName": spec.get("externalName", "")}
    external = ",".join(spec.get("externalIPs") or ()) or by_type.get(spec.get("type", ""), _NONE)
    ports = ",".join(_port(each) for each in spec.get("ports") or ()) or _NONE
    labels = ",".join(f"{key}={value}" for key, value in sorted((spec.get("selector") or {}).items())) or _NONE
    return _name(obj), spec.get("type", "ClusterIP"), spec.get("clusterIP") or _NONE, external, ports, _age(obj, now), labels


def _port(port: Mapping[str, Any]) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port['port']}{node_port}/{port.get('protocol', 'TCP')}"


def _binding(obj: Object, now: datetime) -> Sequence[Any]:
    role, subjects = _part(obj, "roleRef"), obj.get("subjects") or ()

    def named(kind: str) -> str:
        own = [each for each in subjects if each.get("kind") == kind]
        return ", ".join(f"{each.get('namespace', '')}/{each['name']}" if kind == "ServiceAccount" else each["name"] for each in own)

    return _name(obj), f"{role.get('kind')}/{role.get('name')}", _age(obj, now), named("User"), named("Group"), named("ServiceAccount")


def _budget(obj: Object, now: datetime) -> Sequence[Any]:
    spec = _part(obj, "spec")
    limits = (str(spec.get(name, "N/A")) for name in ("minAvailable", "maxUnavailable"))
    return _name(obj), *limits, _part(obj, "status").get("disruptionsAllowed", 0), _age(obj, now)


def _priority_class(obj: Object, now: datetime) -> Sequence[Any]:
    return _name(obj), obj.get("value", 0), bool(obj.get("globalDefault")), _age(obj, now), obj.get("preemptionPolicy", "")


def _definition(obj: Object, _now: datetime) -> Sequence[Any]:
    spec = _part(obj, "spec")
    served = sorted(each["name"] + ("(storage)" if each.get("storage") else "") for each in spec["versions"] if each.get("served"))
    names = spec["names"]
    conditions = _part(obj, "status").get("conditions") or ()
    established = any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
    made = obj["metadata"].get("creationTimestamp", "")
    return (
        _name(obj),
        spec["scope"],
        ",".join(served),
        made,
        spec["group"],
        names["kind"],
        ",".join(names.get("shortNames") or ()),
        established,
    )


def _created_at(obj: Object, _now: datetime) -> Sequence[Any]:
    return _name(obj), obj["metadata"].get("creationTimestamp", "")


def _with_age(*parts: Callable[[Object], Any]) -> Cells:
    """Return a printer of name, some parts, and age."""

    def cells(obj: Object, now: datetime) -> Sequence[Any]:
        return _name(obj), *(part(obj) for part in parts), _age(obj, now)

    return cells


def _phase(obj: Object) -> str:
    return str(_part(obj, "status").get("phase", ""))


def _data_size(obj: Object) -> int:
    return len(obj.get("data") or ()) + len(obj.get("binaryData") or ())


def _claim(obj: Object, now: datetime) -> Sequence[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    modes = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "")
    capacity = _part(status, "capacity").get("storage", "") if spec.get("volumeName") else ""
    access = ",".join(modes.get(mode, mode) for mode in status.get("accessModes") or ()) if spec.get("volumeName") else ""
    classes = (spec.get("storageClassName", ""), spec.get("volumeAttributesClassName") or "<unset>")
    return _name(obj), phase, spec.get("volumeName", ""), capacity, access, *classes, _age(obj, now), spec.get("volumeMode") or "<unset>"


def _printer(cells: Cells, columns: str) -> Printer:
    """Make a printer from columns as text: comma-separated, `!` before wide ones, then `#`, `?` or `@` before integers, booleans and dates."""
    marks = {"#": "integer", "?": "boolean", "@": "date"}
    names = [name.strip() for name in columns.split(",")]
    made = (column(name.lstrip("!#?@"), marks.get(name.lstrip("!")[0], "string"), wide=name.startswith("!")) for name in names)
    return Printer(tuple(made), cells)


_LAYOUT: Final = "!Containers, !Images, !Selector"
_BINDING_COLUMNS: Final = "Name, Role, Age, !Users, !Groups, !ServiceAccounts"
DEFAULT: Final = Printer((column("Name"), column("Created At", "date")), _created_at)
"""For kinds that have no printer: name and time of creation."""

PRINTERS: Final[Mapping[tuple[str, str], Printer]] = {
    ("", "pods"): _printer(_pod, "Name, Ready, Status, Restarts, Age, !IP, !Node, !Nominated Node, !Readiness Gates"),
    ("", "nodes"): _printer(
        _node, "Name, Status, Roles, Age, Version, !Internal-IP, !External-IP, !OS-Image, !Kernel-Version, !Container-Runtime"
    ),
    ("", "events"): _printer(_event, "Last Seen, Type, Reason, Object, !Subobject, !Source, Message, !First Seen, !Count, !Name"),
    ("", "namespaces"): _printer(_with_age(_phase), "Name, Status, Age"),
    ("", "configmaps"): _printer(_with_age(_data_size), "Name, Data, Age"),
    ("", "secrets"): _printer(_with_age(lambda obj: obj.get("type", "Opaque"), _data_size), "Name, Type, Data, Age"),
    ("", "serviceaccounts"): _printer(_with_age(), "Name, Age"),
    ("", "services"): _printer(_service, "Name, Type, Cluster-IP, External-IP, Port(s), Age, !Selector"),
    ("", "persistentvolumeclaims"): _printer(
        _claim, "Name, Status, Volume, Capacity, Access Modes, StorageClass, VolumeAttributesClass, Age, !VolumeMode"
    ),
    ("apiextensions.k8s.io", "customresourcedefinitions"): _printer(
        _definition, "Name, Scope, Versions, @Created At, !Group, !Kind, !ShortNames, !?Established"
    ),
    ("batch", "jobs"): _printer(_job, f"Name, Status, Completions, Duration, Age, {_LAYOUT}"),
    ("batch", "cronjobs"): _printer(_cron_job, f"Name, Schedule, Timezone, ?Suspend, #Active, Last Schedule, Age, {_LAYOUT}"),
    ("apps", "deployments"): _printer(_deployment, f"Name, Ready, #Up-to-date, #Available, Age, {_LAYOUT}"),
    ("apps", "replicasets"): _printer(_replica_set, f"Name, #Desired, #Current, #Ready, Age, {_LAYOUT}"),
    ("apps", "statefulsets"): _printer(_stateful_set, "Name, Ready, Age, !Containers, !Images"),
    ("apps", "controllerrevisions"): _printer(_controller_revision, "Name, Controller, Revision, Age"),
    ("coordination.k8s.io", "leases"): _printer(_with_age(lambda obj: _part(obj, "spec").get("holderIdentity") or ""), "Name, Holder, Age"),
    ("networking.k8s.io", "networkpolicies"): _printer(
        _with_age(lambda obj: selector_text(_part(obj, "spec").get("podSelector"))), "Name, Pod-Selector, Age"
    ),
    ("policy", "poddisruptionbudgets"): _printer(_budget, "Name, Min Available, Max Unavailable, #Allowed Disruptions, Age"),
    ("rbac.authorization.k8s.io", "rolebindings"): _printer(_binding, _BINDING_COLUMNS),
    ("rbac.authorization.k8s.io", "clusterrolebindings"): _printer(_binding, _BINDING_COLUMNS),
    ("scheduling.k8s.io", "priorityclasses"): _printer(_priority_class, "Name, #Value, ?Global-Default, Age, PreemptionPolicy"),
}
