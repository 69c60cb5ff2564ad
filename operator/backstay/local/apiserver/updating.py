"""update and patch: from what a client sends to the next version of an object.

After apiserver's endpoints/handlers/{update,patch}.go, registry/rest/update.go and registry/generic/registry/store.go: the object is read,
changed and written within one turn of the event loop, so nothing comes between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from backstay.local.apiserver import apply as serverside
from backstay.local.apiserver import crds, meta
from backstay.local.apiserver.admission import decode_check, defaulted, prepare_update, unknown_fields
from backstay.local.apiserver.convert import key_of
from backstay.local.apiserver.creating import Written, check_kind, check_name, check_namespace, create_object, other_definitions
from backstay.local.apiserver.deleting import is_finished
from backstay.local.apiserver.documents import DocumentError, load_json, load_yaml
from backstay.local.apiserver.fields import invalid as invalid_value
from backstay.local.apiserver.fieldsets import Path
from backstay.local.apiserver.patches import APPLY_PATCH, JSON_PATCH, json_kind, patched
from backstay.local.apiserver.resources import Resource
from backstay.local.apiserver.shapes import shape_of
from backstay.local.apiserver.state import CRDS, NAMESPACES, PODS, Cluster
from backstay.local.apiserver.status import bad_request, conflict, invalid, not_found, telling
from backstay.local.apiserver.store import Stored
from backstay.local.apiserver.targets import Target, WriteOptions, version_number

_CREATE_ON_UPDATE: Final = frozenset(
    {
        ("", "events"),
        ("events.k8s.io", "events"),
        ("", "services"),
        ("", "endpoints"),
        ("", "limitranges"),
        ("coordination.k8s.io", "leases"),
        *(("rbac.authorization.k8s.io", plural) for plural in ("roles", "rolebindings", "clusterroles", "clusterrolebindings")),
    }
)
"""Kinds that PUT creates (AllowCreateOnUpdate)."""

_CONDITIONAL: Final = frozenset(
    {
        CRDS,
        ("coordination.k8s.io", "leases"),
        ("policy", "poddisruptionbudgets"),
        ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
    }
)
"""Builtin kinds that PUT updates only with a resourceVersion (AllowUnconditionalUpdate is false); custom resources are all so."""


def update(cluster: Cluster, target: Target, obj: dict[str, Any], options: WriteOptions, raw: bytes) -> Written:
    """Replace an object (PUT), or its status or finalizers through a subresource."""
    resource = target.resource
    check_kind(resource, obj)
    warnings = decode_check(resource, obj, options.field_validation, raw)
    with telling(warnings):
        check_namespace(target, obj)
        check_name(target, obj)
        written = _put(cluster, target, obj, options)
    written.warnings = warnings + written.warnings
    return written


def _put(cluster: Cluster, target: Target, obj: dict[str, Any], options: WriteOptions) -> Written:
    resource = target.resource
    current = cluster.store.get(key_of(resource, target.namespace, target.name))
    if current is not None:
        return replace_object(cluster, target, current, obj, options)
    if (resource.group, resource.plural) not in _CREATE_ON_UPDATE or target.subresource:
        raise not_found(resource.group, resource.plural, target.name)
    for name in ("resourceVersion", "managedFields"):
        obj["metadata"].pop(name, None)
    return create_object(cluster, resource, obj, dry_run=options.dry_run)


def patch(cluster: Cluster, target: Target, patch_type: str, body: bytes, options: WriteOptions) -> Written:
    """Apply a patch of any type; server-side apply creates what does not exist."""
    if patch_type == APPLY_PATCH:
        return _apply(cluster, target, body, options)
    resource = target.resource
    current = cluster.find(resource, target.namespace, target.name)
    obj = patched(resource, cluster.served(resource, current), patch_type, body)
    warnings = _check_patched(resource, obj, options, b"" if patch_type == JSON_PATCH else body)
    with telling(warnings):
        check_kind(resource, obj)
        check_namespace(target, obj)
        check_name(target, obj)
        written = replace_object(cluster, target, current, obj, options)
    written.warnings = warnings + written.warnings
    return written


def _check_patched(resource: Resource, obj: dict[str, Any], options: WriteOptions, raw: bytes) -> list[str]:
    if options.field_validation == "Strict" and (unknown := unknown_fields(resource, obj, raw)):
        error = invalid_value("patch", orjson.dumps(obj).decode(), f"strict decoding error: {', '.join(unknown)}")
        raise invalid("", "", "", [error])
    return decode_check(resource, obj, options.field_validation, raw)


def _apply(cluster: Cluster, target: Target, body: bytes, options: WriteOptions) -> Written:
    resource = target.resource
    config = _configuration(body)
    _check_configuration(resource, config)
    subject = (
        f"{config['metadata'].get('namespace') or ''}/{config['metadata'].get('name') or ''}; {resource.api_version}, Kind={resource.kind}"
    )
    check_namespace(target, config)
    current = cluster.store.get(key_of(resource, target.namespace, target.name))
    if current is None and target.subresource:
        raise not_found(resource.group, resource.plural, target.name)
    live = cluster.served(resource, current) if current else {}
    merged = _applied(cluster, target, live, config, options, subject)
    check_name(target, merged)
    warnings = decode_check(resource, merged, options.field_validation, body if _is_json(body) else b"")
    with telling(warnings):
        if current is None:
            _refuse_foreign_uid(resource, target, merged)
            merged["metadata"].pop("resourceVersion", None)
            written = create_object(cluster, resource, merged, dry_run=options.dry_run)
        else:
            written = replace_object(cluster, target, current, merged, options, is_apply=True)
    written.warnings = warnings + written.warnings
    return written


def _configuration(body: bytes) -> dict[str, Any]:
    try:
        config = load_json(body) if _is_json(body) else load_yaml(body)
    except DocumentError as error:
        raise bad_request(f"error encoding patch: {error}") from error
    if config is None:
        return {}
    if not isinstance(config, dict):
        why = f"json: cannot unmarshal {json_kind(config)} into Go value of type map[string]interface {{}}"
        raise bad_request(f"error decoding patch: error unmarshaling JSON: while decoding JSON: {why}")
    return config


def _is_json(body: bytes) -> bool:
    return body.lstrip()[:1] == b"{"


def _check_configuration(resource: Resource, config: dict[str, Any]) -> None:
    group, _, version = (config.get("apiVersion") or "").rpartition("/")
    if config.get("kind") != resource.kind or (group, version) != (resource.group, resource.version):
        raise bad_request(f"invalid object type: {group}/{version}, Kind={config.get('kind') or ''}")
    if config.get("metadata") is None:
        config["metadata"] = {}
    if not isinstance(config["metadata"], dict):
        raise bad_request("error decoding patch: metadata must be an object")


def _applied(
    cluster: Cluster, target: Target, live: dict[str, Any], config: dict[str, Any], options: WriteOptions, subject: str
) -> dict[str, Any]:
    resource = target.resource
    writer = serverside.Writer(options.manager, resource.api_version, target.subresource, meta.timestamp(cluster.clock()))
    ignored = _ignored(resource, config, target.subresource)
    kind = serverside.Kind(shape_of(resource), ignored, lambda applied: defaulted(resource, applied), subject)
    return serverside.apply(live, config, kind, writer, force=options.force)


def _refuse_foreign_uid(resource: Resource, target: Target, obj: Mapping[str, Any]) -> None:
    if uid := obj["metadata"].get("uid"):
        why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise conflict(resource.group, resource.plural, target.name, why)


# ── replacing ───────────────────────────────────────────────────────────────────────────────────


def replace_object(
    cluster: Cluster, target: Target, current: Stored, new: dict[str, Any], options: WriteOptions, *, is_apply: bool = False
) -> Written:
    """Write the next version of an object that is there, whoever worked it out. Changes `new`.

    Raises 409 for a stale resourceVersion or another UID, 422 for what the kind's rules refuse.
    """
    resource, subresource = target.resource, target.subresource
    old = cluster.served(resource, current)
    _check_preconditions(resource, current, old, new)
    new = _isolated(resource, new, old, subresource)
    meta.restore_system_fields(new, old)
    warnings = meta.tidy(new)
    if not is_apply:
        writer = serverside.Writer(options.manager, resource.api_version, subresource, meta.timestamp(cluster.clock()))
        serverside.record_update(old, new, shape_of(resource), writer, _ignored(resource, new, subresource))
    prepared = _prepared(cluster, resource, new, old, subresource)
    return _write(cluster, resource, current, prepared, old, options.dry_run, warnings)


def _check_preconditions(resource: Resource, current: Stored, old: Mapping[str, Any], new: dict[str, Any]) -> None:
    metadata = new["metadata"]
    uid, version = metadata.get("uid"), metadata.get("resourceVersion")
    if uid and uid != old["metadata"]["uid"]:
        place = "/".join(part for part in ("/registry", *current.key) if part)
        failed = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
        why = f"StorageError: invalid object, Code: 4, Key: {place}, ResourceVersion: 0, AdditionalErrorMsg: {failed}"
        raise conflict(resource.group, resource.plural, current.key.name, why)
    if not version:
        if resource.is_custom or (resource.group, resource.plural) in _CONDITIONAL:
            error = invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(resource.group, resource.plural, current.key.name, [error])
        metadata["resourceVersion"] = str(current.version)
    elif version_number(version) != current.version:
        raise conflict(resource.group, resource.plural, current.key.name)


def _isolated(resource: Resource, new: dict[str, Any], old: dict[str, Any], subresource: str) -> dict[str, Any]:
    """Keep what this endpoint may not write: the status on the main one, everything else on `status` and `finalize`."""
    if subresource == "status":
        if resource.is_custom:
            metadata = {**old["metadata"], "managedFields": new["metadata"].get("managedFields")}
            return _with(old | {"metadata": metadata}, "status", new.get("status"))
        kept = {**old, "metadata": new["metadata"]}
        if (resource.group, resource.plural) == PODS:
            kept["metadata"] = _with(kept["metadata"], "ownerReferences", old["metadata"].get("ownerReferences"))
        return _with(kept, "status", new.get("status"))
    if subresource == "finalize":
        spec = _with(old.get("spec") or {}, "finalizers", (new.get("spec") or {}).get("finalizers") or [])
        return {**old, "spec": spec}
    if (resource.group, resource.plural) == NAMESPACES:
        new["spec"] = _with(new.get("spec") or {}, "finalizers", (old.get("spec") or {}).get("finalizers"))
    return _with(new, "status", old.get("status")) if "status" in resource.subresources else new


def _with(obj: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    rest = {key: each for key, each in obj.items() if key != name}
    return rest if value is None else {**rest, name: value}


def _ignored(resource: Resource, obj: Mapping[str, Any], subresource: str) -> tuple[Path, ...]:
    """Return the fields that nobody comes to manage through this endpoint, because it resets them."""
    if subresource == "status":
        return tuple((f"f:{name}",) for name in obj if name != "status")
    return (("f:status",),) if "status" in resource.subresources else ()


def _prepared(cluster: Cluster, resource: Resource, new: dict[str, Any], old: dict[str, Any], subresource: str) -> dict[str, Any]:
    in_metadata = meta.update_errors(new, old)
    if subresource == "finalize":
        prepared = new
        if in_metadata:
            raise invalid(resource.group, resource.kind, old["metadata"]["name"], in_metadata)
    else:
        prepared = prepare_update(resource, new, old, subresource or None, in_metadata)
    if not subresource and meta.has_generation(resource) and _spec_of(resource, prepared) != _spec_of(resource, old):
        prepared["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
    if (resource.group, resource.plural) == CRDS and not subresource:
        prepared = crds.with_status(prepared, other_definitions(cluster, prepared), cluster.clock())
    return prepared


def _spec_of(resource: Resource, obj: Mapping[str, Any]) -> Any:
    """Return what `metadata.generation` counts the changes of."""
    if not resource.is_custom:
        return obj.get("spec")
    left_out = ("metadata", "status") if "status" in resource.subresources else ("metadata",)
    return {name: value for name, value in obj.items() if name not in left_out}


def _write(
    cluster: Cluster, resource: Resource, current: Stored, new: dict[str, Any], old: dict[str, Any], dry_run: bool, warnings: list[str]
) -> Written:
    if is_finished(resource, new, old):
        if not dry_run:
            cluster.remove(current)
        return Written(new, None, False, warnings)
    new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
    if new == old:  # what changes nothing is no new version and no event (etcd3's GuaranteedUpdate)
        return Written(old, current, False, warnings)
    stored = None if dry_run else cluster.save(resource, new)
    return Written(new, stored, False, warnings)
