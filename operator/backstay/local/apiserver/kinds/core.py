"""The small kinds of the core and its neighbours: Namespace, ConfigMap, Secret, ServiceAccount, Service, PersistentVolumeClaim, Lease,
PriorityClass, ControllerRevision.

Left out: Services get no cluster address, and their ports are not judged.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

from backstay.local.apiserver.fields import FieldError, forbidden, immutable, invalid, required, too_long
from backstay.local.apiserver.syntax import config_key, qualified_name

NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
_MAX_DATA_BYTES: Final = 1024 * 1024
_IMMUTABLE: Final = "field is immutable when `immutable` is set"
_HIGHEST_PRIORITY: Final = 1_000_000_000
_MANDATORY: Final = "data is mandatory"
_NO_OBJECT: Final = "data must be a valid JSON object"


def generate_namespace(namespace: dict[str, Any]) -> None:
    """Give a new namespace its finalizer and its phase."""
    finalizers = namespace.setdefault("spec", {}).setdefault("finalizers", [])
    if "kubernetes" not in finalizers:
        finalizers.append("kubernetes")
    namespace["status"] = {"phase": "Active"}


def label_namespace(namespace: dict[str, Any]) -> None:
    """Keep the label that holds a namespace's name."""
    metadata = namespace["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), NAMESPACE_LABEL: metadata["name"]}


def check_namespace(namespace: Mapping[str, Any]) -> list[FieldError]:
    """Judge the finalizers of a namespace's spec."""
    finalizers = (namespace.get("spec") or {}).get("finalizers") or ()
    return [invalid("spec.finalizers", name, words) for name in finalizers for words in qualified_name(name)]


def check_config_map(config_map: Mapping[str, Any]) -> list[FieldError]:
    """Judge keys and size (1 MiB) of a ConfigMap."""
    data, binary = config_map.get("data") or {}, config_map.get("binaryData") or {}
    errors = _check_keys(data, "data")
    errors += [invalid(f"data[{key}]", key, "duplicate of key present in binaryData") for key in data if key in binary]
    errors += _check_keys(binary, "binaryData") + _check_base64(binary, "binaryData")
    size = sum(len(value.encode()) for value in data.values()) + sum(_decoded_size(value) for value in binary.values())
    return [*errors, too_long("[]", _MAX_DATA_BYTES)] if size > _MAX_DATA_BYTES else errors


def check_config_map_update(config_map: Mapping[str, Any], old: Mapping[str, Any]) -> list[FieldError]:
    """Judge a changed ConfigMap; an immutable one stays what it is."""
    return _check_immutable(config_map, old, ("data", "binaryData")) + check_config_map(config_map)


def default_secret(secret: dict[str, Any]) -> None:
    """Fold stringData into data, and name the type."""
    texts = secret.pop("stringData", None)
    if texts:
        coded = {key: base64.b64encode(value.encode()).decode() for key, value in texts.items()}
        secret["data"] = {**(secret.get("data") or {}), **coded}
    if not secret.get("type"):
        secret["type"] = "Opaque"


_SECRET_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def check_secret(secret: Mapping[str, Any]) -> list[FieldError]:
    """Judge keys, size (1 MiB) and the keys that a type asks for."""
    data = secret.get("data") or {}
    errors = _check_keys(data, "data") + _check_base64(data, "data")
    if sum(_decoded_size(value) for value in data.values()) > _MAX_DATA_BYTES:
        errors.append(too_long("data", _MAX_DATA_BYTES))
    kind = secret.get("type") or ""
    errors += [required(f"data[{key}]") for key in _SECRET_KEYS.get(kind, ()) if key not in data]
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & data.keys():
        errors += [required("data[username]"), required("data[password]")]
    return errors


def check_secret_update(secret: Mapping[str, Any], old: Mapping[str, Any]) -> list[FieldError]:
    """Judge a changed Secret: its type never changes, an immutable one stays what it is."""
    errors = [immutable("type", secret.get("type"))] if secret.get("type") != old.get("type") else []
    return errors + _check_immutable(secret, old, ("data",)) + check_secret(secret)


def _check_keys(data: Iterable[str], field: str) -> list[FieldError]:
    return [invalid(f"{field}[{key}]", key, words) for key in data for words in config_key(key)]


def _check_base64(data: Mapping[str, str], field: str) -> list[FieldError]:
    return [invalid(f"{field}[{key}]", "<value omitted>", "must be base64") for key, value in data.items() if _decoded_size(value) < 0]


def _decoded_size(value: str) -> int:
    try:
        return len(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError):
        return -1


def _check_immutable(new: Mapping[str, Any], old: Mapping[str, Any], names: Iterable[str]) -> list[FieldError]:
    if not old.get("immutable"):
        return []
    errors = [] if new.get("immutable") else [forbidden("immutable", _IMMUTABLE)]
    return errors + [forbidden(name, _IMMUTABLE) for name in names if new.get(name) != old.get(name)]


def default_service(service: dict[str, Any]) -> None:
    """Fill in type, affinity, and what ports lack."""
    spec = service.setdefault("spec", {})
    for name, value in (("sessionAffinity", "None"), ("type", "ClusterIP"), ("internalTrafficPolicy", "Cluster")):
        spec[name] = spec.get(name) or value
    for port in spec.get("ports") or ():
        port["protocol"] = port.get("protocol") or "TCP"
        port["targetPort"] = port.get("targetPort") or port.get("port")


def generate_service(service: dict[str, Any]) -> None:
    """A new service has no load balancer yet."""
    service["status"] = {"loadBalancer": {}}


def default_claim(claim: dict[str, Any]) -> None:
    """A claim is of mode Filesystem."""
    spec = claim.setdefault("spec", {})
    spec["volumeMode"] = spec.get("volumeMode") or "Filesystem"


def generate_claim(claim: dict[str, Any]) -> None:
    """A new claim is pending."""
    claim["status"] = {"phase": "Pending"}


def check_lease(lease: Mapping[str, Any]) -> list[FieldError]:
    """Judge duration and transitions of a Lease."""
    spec = lease.get("spec") or {}
    errors: list[FieldError] = []
    duration, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if duration is not None and duration <= 0:
        errors.append(invalid("spec.leaseDurationSeconds", duration, "must be greater than 0"))
    if transitions is not None and transitions < 0:
        errors.append(invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0"))
    return errors


def default_priority_class(priority_class: dict[str, Any]) -> None:
    """Preempt lower priorities unless told otherwise."""
    priority_class["preemptionPolicy"] = priority_class.get("preemptionPolicy") or "PreemptLowerPriority"


def check_priority_class(priority_class: Mapping[str, Any]) -> list[FieldError]:
    """Judge the value of a PriorityClass."""
    if (priority_class.get("value") or 0) <= _HIGHEST_PRIORITY:
        return []
    return [forbidden("value", f"maximum allowed value of a user defined priority is {_HIGHEST_PRIORITY}")]


def check_priority_class_update(priority_class: Mapping[str, Any], old: Mapping[str, Any]) -> list[FieldError]:
    """Value and preemption policy never change."""
    errors = check_priority_class(priority_class)
    if priority_class.get("value") != old.get("value"):
        errors.append(forbidden("value", "may not be changed in an update."))
    if priority_class.get("preemptionPolicy") != old.get("preemptionPolicy"):
        errors.append(immutable("preemptionPolicy", priority_class.get("preemptionPolicy")))
    return errors


def check_revision(revision: Mapping[str, Any]) -> list[FieldError]:
    """Judge a ControllerRevision: its data is an object."""
    errors = _check_revision_number(revision)
    if revision.get("data") is None:
        errors.append(required("data", _MANDATORY))
    elif not isinstance(revision["data"], dict):
        errors.append(required("data", _NO_OBJECT))
    return errors


def check_revision_update(revision: Mapping[str, Any], old: Mapping[str, Any]) -> list[FieldError]:
    """The data of a ControllerRevision never changes; that is what it is for."""
    errors = _check_revision_number(revision)
    if revision.get("data") != old.get("data"):
        errors.append(immutable("data", revision.get("data")))
    return errors


def _check_revision_number(revision: Mapping[str, Any]) -> list[FieldError]:
    number = revision.get("revision") or 0
    return [invalid("revision", number, "must be greater than or equal to 0")] if number < 0 else []
