"""ObjectMeta: what the server fills in, what clients may not touch, and what it must look like.

Sources: apiserver's pkg/registry/rest (create.go, update.go, meta.go) and apimachinery's pkg/api/validation/objectmeta.go.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from backstay.local.apiserver import fields, syntax
from backstay.local.apiserver.fields import FieldError

if TYPE_CHECKING:
    from backstay.local.apiserver.resources import Resource

ORPHAN: Final = "orphan"
FOREGROUND: Final = "foregroundDeletion"
ANNOTATIONS_LIMIT_BYTES: Final = 256 * 1024

_SYSTEM_FIELDS: Final = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation")
_WITHOUT_GENERATION: Final = frozenset(
    {
        *(("", plural) for plural in ("bindings", "configmaps", "endpoints", "events", "limitranges", "namespaces", "nodes")),
        *(
            ("", plural)
            for plural in ("persistentvolumeclaims", "persistentvolumes", "resourcequotas", "secrets", "serviceaccounts", "services")
        ),
        ("events.k8s.io", "events"),
        ("apps", "controllerrevisions"),
        ("coordination.k8s.io", "leases"),
        *(("rbac.authorization.k8s.io", plural) for plural in ("roles", "rolebindings", "clusterroles", "clusterrolebindings")),
        ("storage.k8s.io", "storageclasses"),
        ("certificates.k8s.io", "certificatesigningrequests"),
    }
)
"""Kinds that have no metadata.generation (their strategies in k8s.io/kubernetes/pkg/registry never set it)."""

_NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
"""Every namespace is labelled with its name."""
_GENERATED_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
_GENERATED_MAX_BASE: Final = 58


def _path_segment(name: str) -> list[str]:
    if name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{illegal}'" for illegal in "/%" if illegal in name]


_NAME_RULES: Final[Mapping[tuple[str, str], Callable[[str], list[str]]]] = {
    ("", "namespaces"): syntax.dns_label,
    ("", "services"): syntax.dns_1035_label,
    **{("rbac.authorization.k8s.io", each): _path_segment for each in ("roles", "rolebindings", "clusterroles", "clusterrolebindings")},
}


def timestamp(now: datetime) -> str:
    """Return a time as metav1.Time has it: RFC 3339, UTC, whole seconds."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: str) -> datetime:
    """Read a metav1.Time or MicroTime."""
    return datetime.fromisoformat(text)


def has_generation(resource: Resource) -> bool:
    """Tell whether the kind counts its generations."""
    return (resource.group, resource.plural) not in _WITHOUT_GENERATION


def fill_new(resource: Resource, obj: dict[str, Any], now: datetime) -> None:
    """Give a new object its UID, creation time and generation, and a name where it has only `generateName`."""
    metadata = obj["metadata"]
    for name in _SYSTEM_FIELDS:
        metadata.pop(name, None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = timestamp(now)
    if has_generation(resource):
        metadata["generation"] = 1
    if metadata.get("generateName") and not metadata.get("name"):
        metadata["name"] = _generate_name(metadata["generateName"])


def _generate_name(prefix: str) -> str:
    """Return the prefix (cut to 58 characters) and five random characters, as apiserver's SimpleNameGenerator does."""
    return prefix[:_GENERATED_MAX_BASE] + "".join(secrets.choice(_GENERATED_ALPHABET) for _ in range(5))


def _masked(prefix: str) -> str:
    """Return a `generateName` as the server checks it: its trailing dash counts as a letter."""
    return prefix[:-2] + "a" if len(prefix) > 1 and prefix.endswith("-") else prefix


def restore_system_fields(new: dict[str, Any], old: Mapping[str, Any]) -> None:
    """Put back what an update may not change or may leave out (rest.BeforeUpdate)."""
    fresh, known = new["metadata"], old["metadata"]
    for name in ("generation", "creationTimestamp"):
        _set_or_drop(fresh, name, known.get(name))
    fresh.setdefault("uid", known.get("uid"))
    if "deletionTimestamp" in known:
        fresh["deletionTimestamp"] = known["deletionTimestamp"]
    if "deletionGracePeriodSeconds" in known:
        fresh.setdefault("deletionGracePeriodSeconds", known["deletionGracePeriodSeconds"])
    fresh.pop("selfLink", None)


def _set_or_drop(target: dict[str, Any], name: str, value: Any) -> None:
    if value is None:
        target.pop(name, None)
    else:
        target[name] = value


def tidy(obj: dict[str, Any]) -> list[str]:
    """Drop empty values that the typed server would not keep, and repeated owners; return the warnings."""
    metadata = obj["metadata"]
    for name in [name for name, value in metadata.items() if value is None or value in ("", {}, [])]:
        if name != "managedFields":
            del metadata[name]
    owners = metadata.get("ownerReferences")
    if not owners:
        return []
    unique = [owner for index, owner in enumerate(owners) if owner not in owners[:index]]
    if len(unique) == len(owners):
        return []
    metadata["ownerReferences"] = unique
    repeated = ", ".join(owner.get("uid", "") for index, owner in enumerate(owners) if owner in owners[:index])
    return [
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, "
        f"and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {repeated}"
    ]


# ── rules ───────────────────────────────────────────────────────────────────────────────────────


def new_errors(resource: Resource, obj: Mapping[str, Any]) -> list[FieldError]:
    """Check the metadata of an object that is to be created; its name has been generated where it must."""
    metadata = obj["metadata"]
    rule = _NAME_RULES.get((resource.group, resource.plural), syntax.dns_subdomain)
    errors: list[FieldError] = []
    if (resource.group, resource.plural) == ("", "namespaces") and metadata.get("name"):
        errors += syntax.check_labels({_NAMESPACE_LABEL: metadata["name"]}, "metadata.labels")
    if prefix := metadata.get("generateName"):
        errors += [fields.invalid("metadata.generateName", prefix, complaint) for complaint in rule(_masked(prefix))]
    if not metadata.get("name"):
        errors.append(fields.required("metadata.name", "name or generateName is required"))
    else:
        errors += [fields.invalid("metadata.name", metadata["name"], _of_name(complaint)) for complaint in rule(metadata["name"])]
    if resource.namespaced:
        namespace = metadata.get("namespace", "")
        errors += [fields.invalid("metadata.namespace", namespace, complaint) for complaint in syntax.dns_label(namespace)]
    return errors + _common_errors(metadata) + _finalizer_errors(metadata.get("finalizers") or ())


def _of_name(complaint: str) -> str:
    """Return a complaint as it is worded for an object's own name, whose length is counted by another validator."""
    return complaint.replace(" bytes", " characters") if complaint.startswith("must be no more than") else complaint


def update_errors(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[FieldError]:
    """Check the metadata of an object that is to replace `old`."""
    fresh, known = new["metadata"], old["metadata"]
    errors: list[FieldError] = []
    if "deletionTimestamp" in known:
        added = sorted(set(fresh.get("finalizers") or ()) - set(known.get("finalizers") or ()))
        if added:
            listed = ", ".join(fields.go_quote(each) for each in added)
            detail = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}"
            errors.append(fields.forbidden("metadata.finalizers", detail))
    fixed = ("name", "namespace", "uid", "deletionTimestamp", "deletionGracePeriodSeconds")
    errors += [fields.immutable(f"metadata.{name}", fresh.get(name)) for name in fixed if fresh.get(name) != known.get(name)]
    return errors + _common_errors(fresh) + _finalizer_errors(fresh.get("finalizers") or ())


def _common_errors(metadata: Mapping[str, Any]) -> list[FieldError]:
    annotations = metadata.get("annotations") or {}
    errors = syntax.check_labels(metadata.get("labels") or {}, "metadata.labels")
    for key in annotations:
        errors += [fields.invalid("metadata.annotations", key, complaint) for complaint in syntax.qualified_name(key.lower())]
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > ANNOTATIONS_LIMIT_BYTES:
        errors.append(fields.too_long("metadata.annotations", ANNOTATIONS_LIMIT_BYTES))
    return errors + _owner_errors(metadata.get("ownerReferences") or ())


def _owner_errors(owners: Sequence[Mapping[str, Any]]) -> list[FieldError]:
    errors: list[FieldError] = []
    controllers: list[str] = []
    for index, owner in enumerate(owners):
        path = f"metadata.ownerReferences[{index}]"
        errors += [
            fields.required(f"{path}.{name}", "must not be empty") for name in ("apiVersion", "kind", "name", "uid") if not owner.get(name)
        ]
        if owner.get("apiVersion", "").count("/") > 1:
            errors.append(fields.invalid(f"{path}.apiVersion", owner["apiVersion"], "must be <group>/<version> or <version>"))
        if (owner.get("apiVersion"), owner.get("kind")) == ("v1", "Event"):
            errors.append(fields.invalid(path, dict(owner), "/v1, Kind=Event is disallowed from being an owner"))
        if owner.get("controller"):
            controllers.append(f"{owner.get('kind')}/{owner.get('name')}")
    if len(controllers) > 1:
        detail = f'Only one reference can have Controller set to true. Found "true" in references for {controllers[0]} and {controllers[1]}'
        shown = fields.Verbatim(f"[{','.join(_shown(owner) for owner in owners)}]")
        errors.append(fields.invalid("metadata.ownerReferences", shown, detail))
    return errors


def _shown(owner: Mapping[str, Any]) -> str:
    """Return an owner reference as Go prints it: its fields in the order of the struct."""
    names = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")
    return "{" + ",".join(f'"{name}":{fields.go_json(owner[name])}' for name in names if name in owner) + "}"


def _finalizer_errors(finalizers: Sequence[str]) -> list[FieldError]:
    path = "metadata.finalizers"
    errors = [fields.invalid(path, finalizer, complaint) for finalizer in finalizers for complaint in syntax.qualified_name(finalizer)]
    if ORPHAN in finalizers and FOREGROUND in finalizers:
        errors.append(fields.invalid(path, list(finalizers), f"finalizer {FOREGROUND} and {ORPHAN} cannot be both set"))
    return errors
