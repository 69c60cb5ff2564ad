"""create: from a decoded body to a stored object (apiserver's endpoints/handlers/create.go and registry/rest/create.go)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from backstay.local.apiserver import crds, lookups, meta
from backstay.local.apiserver.admission import decode_check, prepare_create
from backstay.local.apiserver.convert import key_of
from backstay.local.apiserver.fields import go_quote
from backstay.local.apiserver.fields import invalid as invalid_value
from backstay.local.apiserver.resources import Resource
from backstay.local.apiserver.state import CRDS, NAMESPACES, Cluster
from backstay.local.apiserver.status import StatusError, already_exists, bad_request, forbidden, invalid, telling
from backstay.local.apiserver.store import Key, Stored
from backstay.local.apiserver.targets import Target, WriteOptions

_GENERATED_NAME_ATTEMPTS: Final = 8
_ABOUT_CERTIFICATE: Final = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or "
    "kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
)
_STATUS_ON_CREATE: Final = frozenset({("", "nodes")})
"""Kinds that may be created with a status (registry/core/node/strategy.go)."""


@dataclass(slots=True)
class Written:
    """What a write came to: the object in the version asked for, its stored form (None for a dry run), and warnings for the client."""

    obj: dict[str, Any]
    stored: Stored | None = None
    created: bool = False
    warnings: list[str] = field(default_factory=list)


def create(cluster: Cluster, target: Target, obj: dict[str, Any], options: WriteOptions, raw: bytes) -> Written:
    """Create the object of a request body. `raw` is the body as it came, b"" for one that was no JSON or YAML."""
    resource = target.resource
    check_kind(resource, obj)
    warnings = decode_check(resource, obj, options.field_validation, raw)
    with telling(warnings):
        check_namespace(target, obj)
        if obj["metadata"].get("resourceVersion"):
            raise StatusError(500, "", "resourceVersion should not be set on objects to be created")
        obj["metadata"].pop("managedFields", None)
        written = create_object(cluster, resource, obj, dry_run=options.dry_run)
    written.warnings = warnings + written.warnings
    return written


def create_object(cluster: Cluster, resource: Resource, obj: dict[str, Any], *, dry_run: bool) -> Written:
    """Create an object that was decoded and belongs where it goes; names are generated anew while they are taken."""
    generates = bool(obj["metadata"].get("generateName")) and not obj["metadata"].get("name")
    warnings = meta.tidy(obj)
    _refuse_while_definition_ends(cluster, resource, obj)
    lookups.admit_new(cluster, resource, obj)
    for attempt in range(1, _GENERATED_NAME_ATTEMPTS + 1):
        prepared = _prepared(cluster, resource, {**obj, "metadata": dict(obj["metadata"])})
        taken = cluster.store.get(key_of(resource, prepared["metadata"].get("namespace", ""), prepared["metadata"]["name"]))
        if taken is None:
            break
        if not generates or attempt == _GENERATED_NAME_ATTEMPTS:
            being_deleted = "deletionTimestamp" in taken.object["metadata"]
            raise already_exists(resource.group, resource.plural, taken.key.name, being_deleted=being_deleted, generated=generates)
    stored = None if dry_run else cluster.save(resource, prepared)
    if stored is not None and (resource.group, resource.plural) == NAMESPACES:
        furnish(cluster, stored.key.name)
    return Written(prepared, stored, True, warnings)


def _prepared(cluster: Cluster, resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
    now = cluster.clock()
    meta.fill_new(resource, obj, now)
    if "status" in resource.subresources and (resource.group, resource.plural) not in _STATUS_ON_CREATE:
        obj.pop("status", None)
    prepared = prepare_create(resource, obj, now, meta.new_errors(resource, obj))
    if (resource.group, resource.plural) == CRDS:
        prepared = crds.with_status(prepared, other_definitions(cluster, prepared), now)
    return prepared


def other_definitions(cluster: Cluster, crd: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Return the stored CustomResourceDefinitions but for one."""
    own = crd["metadata"]["name"]
    return [stored.object for stored in cluster.store.select(*CRDS) if stored.key.name != own]


def furnish(cluster: Cluster, namespace: str) -> None:
    """Give a namespace its service account `default` and the certificate to trust the server by, as the controller manager does."""
    for plural, made in (("serviceaccounts", _default_account()), ("configmaps", _root_certificate(cluster))):
        resource = cluster.registry.find("", "v1", plural)
        if resource is not None and cluster.store.get(key_of(resource, namespace, made["metadata"]["name"])) is None:
            made["metadata"]["namespace"] = namespace
            cluster.save(resource, _prepared(cluster, resource, made))


def _default_account() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}


def _root_certificate(cluster: Cluster) -> dict[str, Any]:
    metadata = {"name": "kube-root-ca.crt", "annotations": {"kubernetes.io/description": _ABOUT_CERTIFICATE}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": cluster.authority}}


def _refuse_while_definition_ends(cluster: Cluster, resource: Resource, obj: Mapping[str, Any]) -> None:
    if not resource.is_custom:
        return
    definition = cluster.store.get(key_of_definition(resource))
    if definition is not None and "deletionTimestamp" in definition.object["metadata"]:
        why = "create not allowed while custom resource definition is terminating"
        raise forbidden(resource.group, resource.plural, obj["metadata"].get("name", ""), why)


def key_of_definition(resource: Resource) -> Key:
    """Return where the CustomResourceDefinition of a custom resource is stored."""
    return Key(*CRDS, "", resource.group_resource)


# ── what a body must agree with ─────────────────────────────────────────────────────────────────


def check_kind(resource: Resource, obj: dict[str, Any]) -> None:
    """Check apiVersion and kind of a body against the URL, and fill them in for builtin kinds; metadata becomes a map. Raises 400 and 422."""
    if resource.is_custom:
        api_version, kind = obj.get("apiVersion") or "", obj.get("kind") or ""
    else:
        api_version, kind = obj.get("apiVersion") or resource.api_version, obj.get("kind") or resource.kind
    if api_version != resource.api_version:
        raise bad_request(f"the API version in the data ({api_version}) does not match the expected API version ({resource.api_version})")
    if kind != resource.kind:
        raise _wrong_kind(resource, obj, kind)
    obj["apiVersion"], obj["kind"] = api_version, kind
    if obj.get("metadata") is None:
        obj["metadata"] = {}


def _wrong_kind(resource: Resource, obj: Mapping[str, Any], kind: Any) -> StatusError:
    if resource.is_custom:
        metadata = obj.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else ""
        return invalid(resource.group, str(kind), str(name or ""), [invalid_value("kind", kind, f"must be {resource.kind}")])
    conversion = (
        f"converting ({resource.version}.{kind}) to ({resource.group.partition('.')[0] or 'core'}.{resource.kind}): unknown conversion"
    )
    return bad_request(f"{kind} in version {go_quote(resource.version)} cannot be handled as a {resource.kind}: {conversion}")


def check_namespace(target: Target, obj: dict[str, Any]) -> None:
    """Give an object the namespace of its URL. Raises 400 when it names another."""
    metadata = obj["metadata"]
    if not target.resource.namespaced:
        metadata.pop("namespace", None)
        return
    if metadata.get("namespace") not in (None, "", target.namespace):
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    metadata["namespace"] = target.namespace


def check_name(target: Target, obj: Mapping[str, Any]) -> None:
    """Check an object's name against its URL. Raises 400."""
    name = obj["metadata"].get("name")
    if not name:
        raise bad_request(f"the name of the object ({target.name} based on URL) was undeterminable: name must be provided")
    if name != target.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({target.name})")


def refuse_immortal(target: Target) -> None:
    """Raise 403 for the namespaces that may not be deleted."""
    if (target.resource.group, target.resource.plural) == NAMESPACES and target.name in lookups.IMMORTAL:
        raise forbidden(*NAMESPACES, target.name, "this namespace may not be deleted")
