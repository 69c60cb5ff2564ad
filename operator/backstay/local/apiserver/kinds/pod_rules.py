"""Rules of pod specs, for Pods and for templates.

Left out: affinity, topology spread, DNS configuration, host aliases, devices, resource claims, probes' and lifecycle handlers' contents,
the details of volume sources other than "exactly one". A mistake there passes here and is refused by a real server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from backstay.local.apiserver.fields import FieldError, duplicate, forbidden, go_quote, invalid, not_found, not_supported, required
from backstay.local.apiserver.quantity import parse_quantity
from backstay.local.apiserver.syntax import (
    check_labels,
    config_key,
    dns_label,
    dns_subdomain,
    environment_name,
    in_range,
    port_name,
    qualified_name,
)

_INT32_MAX: Final = 2**31 - 1
_COMPUTE: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
_NO_INIT: Final = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
_SOURCES: Final = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def check_pod_spec(spec: Mapping[str, Any], field: str) -> list[FieldError]:
    """Judge a pod spec that has its defaults; `field` is where it stands (`spec.template.spec`)."""
    volumes, errors = _check_volumes(spec.get("volumes") or [], f"{field}.volumes")
    errors += _check_containers(spec, volumes, field)
    errors += _one_of(spec, "restartPolicy", ("Always", "OnFailure", "Never"), field)
    errors += _one_of(spec, "dnsPolicy", ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"), field)
    errors += check_labels(spec.get("nodeSelector"), f"{field}.nodeSelector")
    errors += _check_security(spec.get("securityContext") or {}, f"{field}.securityContext", ("runAsUser", "runAsGroup", "fsGroup"))
    for name, syntax in (
        ("serviceAccountName", dns_subdomain),
        ("nodeName", dns_subdomain),
        ("priorityClassName", dns_subdomain),
        ("hostname", dns_label),
        ("subdomain", dns_label),
    ):
        if spec.get(name):
            errors += [invalid(f"{field}.{name}", spec[name], words) for words in syntax(spec[name])]
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= _INT32_MAX:
        errors.append(invalid(f"{field}.activeDeadlineSeconds", deadline, in_range(1, _INT32_MAX)))
    for index, toleration in enumerate(spec.get("tolerations") or ()):
        errors += _check_toleration(toleration, f"{field}.tolerations[{index}]")
    return errors


def _check_containers(spec: Mapping[str, Any], volumes: frozenset[str], field: str) -> list[FieldError]:
    containers = spec.get("containers") or []
    if not containers:
        return [required(f"{field}.containers")]
    errors: list[FieldError] = []
    names: set[str] = set()
    for index, container in enumerate(containers):
        place = f"{field}.containers[{index}]"
        errors += _check_container(container, volumes, place)
        errors += _unique(container.get("name"), names, place)
    for index, container in enumerate(spec.get("initContainers") or ()):
        place = f"{field}.initContainers[{index}]"
        errors += _check_container(container, volumes, place)
        errors += _unique(container.get("name"), names, place)
        if container.get("restartPolicy") != "Always":
            words = "may not be set for init containers without restartPolicy=Always"
            errors += [forbidden(f"{place}.{name}", words) for name in _NO_INIT if container.get(name) is not None]
    return errors


def _unique(name: str | None, names: set[str], place: str) -> list[FieldError]:
    if name and name in names:
        return [duplicate(f"{place}.name", name)]
    names.add(name or "")
    return []


def _check_container(container: Mapping[str, Any], volumes: frozenset[str], field: str) -> list[FieldError]:
    errors = _check_name(container.get("name"), f"{field}.name")
    if not container.get("image"):
        errors.append(required(f"{field}.image"))
    errors += _one_of(container, "terminationMessagePolicy", ("File", "FallbackToLogsOnError"), field)
    errors += _check_ports(container.get("ports") or (), f"{field}.ports")
    for index, variable in enumerate(container.get("env") or ()):
        errors += _check_variable(variable, f"{field}.env[{index}]")
    errors += _check_environment_sources(container.get("envFrom") or (), f"{field}.envFrom")
    errors += _check_mounts(container.get("volumeMounts") or (), volumes, f"{field}.volumeMounts")
    errors += _one_of(container, "imagePullPolicy", ("Always", "IfNotPresent", "Never"), field)
    errors += check_resources(container.get("resources") or {}, f"{field}.resources")
    security = container.get("securityContext") or {}
    errors += _check_security(security, f"{field}.securityContext", ("runAsUser", "runAsGroup"))
    if security.get("allowPrivilegeEscalation") is False and security.get("privileged"):
        words = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        errors.append(invalid(f"{field}.securityContext", dict(security), words))
    return errors


def _check_name(name: str | None, field: str) -> list[FieldError]:
    return [invalid(field, name, words) for words in dns_label(name)] if name else [required(field)]


def _one_of(value: Mapping[str, Any], name: str, supported: Iterable[str], field: str) -> list[FieldError]:
    found = value.get(name)
    if not found:
        return [required(f"{field}.{name}")]
    return [] if found in supported else [not_supported(f"{field}.{name}", found, supported)]


def _check_ports(ports: Iterable[Mapping[str, Any]], field: str) -> list[FieldError]:
    errors: list[FieldError] = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        place = f"{field}[{index}]"
        if port.get("name"):
            problems = port_name(port["name"])
            errors += [invalid(f"{place}.name", port["name"], words) for words in problems]
            errors += _unique(port["name"], names, place) if not problems else []
        if not port.get("containerPort"):
            errors.append(required(f"{place}.containerPort"))
        for name in ("containerPort", "hostPort"):
            if port.get(name) and not 1 <= port[name] <= 65535:
                errors.append(invalid(f"{place}.{name}", port[name], in_range(1, 65535)))
        errors += _one_of(port, "protocol", ("SCTP", "TCP", "UDP"), place)
    return errors


def _check_variable(variable: Mapping[str, Any], field: str) -> list[FieldError]:
    name = variable.get("name")
    errors = [invalid(f"{field}.name", name, words) for words in environment_name(name)] if name else [required(f"{field}.name")]
    source = variable.get("valueFrom")
    if source is None:
        return errors
    place, given = f"{field}.valueFrom", [each for each in _SOURCES if source.get(each) is not None]
    if not given:
        words = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        errors.append(invalid(place, "", words))
    elif variable.get("value"):
        errors.append(invalid(place, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        errors.append(invalid(place, "", "may not have more than one field specified at a time"))
    for each in ("configMapKeyRef", "secretKeyRef"):
        if source.get(each) is not None:
            errors += _check_key_reference(source[each], f"{place}.{each}")
    if source.get("fieldRef") is not None and not source["fieldRef"].get("fieldPath"):
        errors.append(required(f"{place}.fieldRef.fieldPath"))
    return errors


def _check_key_reference(reference: Mapping[str, Any], field: str) -> list[FieldError]:
    errors = [] if reference.get("name") else [required(f"{field}.name")]
    if not reference.get("key"):
        return [*errors, required(f"{field}.key")]
    return errors + [invalid(f"{field}.key", reference["key"], words) for words in config_key(reference["key"])]


def _check_environment_sources(sources: Iterable[Mapping[str, Any]], field: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, source in enumerate(sources):
        given = [name for name in ("configMapRef", "secretRef") if source.get(name) is not None]
        if not given:
            errors.append(invalid(field, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            errors.append(invalid(field, "", "may not have more than one field specified at a time"))
        errors += [required(f"{field}[{index}].{name}.name") for name in given if not source[name].get("name")]
    return errors


def _check_mounts(mounts: Iterable[Mapping[str, Any]], volumes: frozenset[str], field: str) -> list[FieldError]:
    errors: list[FieldError] = []
    paths: set[str] = set()
    for index, mount in enumerate(mounts):
        place, name, path = f"{field}[{index}]", mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errors.append(required(f"{place}.name"))
        if name not in volumes:
            errors.append(not_found(f"{place}.name", name))
        if not path:
            errors.append(required(f"{place}.mountPath"))
        if path in paths:
            errors.append(invalid(f"{place}.mountPath", path, "must be unique"))
        paths.add(path)
    return errors


def _check_volumes(volumes: list[Mapping[str, Any]], field: str) -> tuple[frozenset[str], list[FieldError]]:
    errors: list[FieldError] = []
    names: set[str] = set()
    for index, volume in enumerate(volumes):
        place, name = f"{field}[{index}]", volume.get("name") or ""
        sources = [source for source in volume if source != "name"]
        found = [forbidden(f"{place}.{source}", "may not specify more than 1 volume type") for source in sources[1:]]
        if not sources:
            found.append(required(place, "must specify a volume type"))
        found += _check_name(name, f"{place}.name")
        if name in names:
            found.append(duplicate(f"{place}.name", name))
        if not found:
            names.add(name)
        errors += found
    return frozenset(names), errors


def check_resources(resources: Mapping[str, Any], field: str) -> list[FieldError]:
    """Judge requests and limits: names, no negative amounts, no request above its limit."""
    errors: list[FieldError] = []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for group, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            place = f"{field}.{group}[{name}]"
            errors += _check_resource_name(name, place)
            if parse_quantity(amount) < 0:
                errors.append(invalid(place, str(amount), "must be greater than or equal to 0"))
    for name, amount in requests.items():
        if name in limits and parse_quantity(amount) > parse_quantity(limits[name]):
            errors.append(invalid(f"{field}.requests", str(amount), f"must be less than or equal to {name} limit of {limits[name]}"))
    return errors


def _check_resource_name(name: str, field: str) -> list[FieldError]:
    problems = qualified_name(name)
    if not problems and "/" not in name and name not in _COMPUTE and not name.startswith("hugepages-"):
        problems = ["must be a standard resource type or fully qualified", "must be a standard resource for containers"]
    return [invalid(field, name, words) for words in problems]


def _check_security(context: Mapping[str, Any], field: str, identities: Iterable[str]) -> list[FieldError]:
    errors = [
        invalid(f"{field}.{name}", context[name], in_range(0, _INT32_MAX))
        for name in identities
        if context.get(name) is not None and not 0 <= context[name] <= _INT32_MAX
    ]
    profile = context.get("seccompProfile")
    if profile is not None:
        kinds = ("Localhost", "RuntimeDefault", "Unconfined")
        errors += _one_of(profile, "type", kinds, f"{field}.seccompProfile")
    return errors


def _check_toleration(toleration: Mapping[str, Any], field: str) -> list[FieldError]:
    errors: list[FieldError] = []
    operator, key = toleration.get("operator") or "Equal", toleration.get("key") or ""
    if key:
        errors += [invalid(f"{field}.key", key, words) for words in qualified_name(key)]
    elif operator != "Exists":
        errors.append(
            invalid(
                f"{field}.operator", operator, 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            )
        )
    if operator == "Exists" and toleration.get("value"):
        errors.append(invalid(f"{field}.operator", operator, "value must be empty when `operator` is 'Exists'"))
    if operator not in ("Equal", "Exists", "Lt", "Gt"):
        errors.append(not_supported(f"{field}.operator", operator, ("Equal", "Exists", "Lt", "Gt")))
    if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
        errors.append(
            invalid(f"{field}.effect", toleration.get("effect") or "", "effect must be 'NoExecute' when `tolerationSeconds` is set")
        )
    return errors


def quoted(names: Iterable[str]) -> str:
    """Return names as Go prints a list of them: `["a" "b"]`."""
    return f"[{' '.join(go_quote(name) for name in names)}]"
