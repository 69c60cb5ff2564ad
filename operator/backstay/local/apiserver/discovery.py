"""Discovery: which groups, versions and resources are served.

Both ways are here: a document a group and version (`/api`, `/apis`, `/apis/batch/v1`), and aggregated discovery v2 (KEP-3352), which
kubectl and client-go prefer: everything in two answers.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from backstay.local.apiserver.resources import Registry, Resource, version_order

AGGREGATED_MEDIA_TYPE: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""What a client accepts, and is answered with, where it wants aggregated discovery."""

_STATUS_VERBS: Final = ("get", "patch", "update")
# subresource → group, version and kind of what is sent or returned (None: those of the resource), verbs
_SUBRESOURCES: Final[Mapping[tuple[str, str], tuple[tuple[str, str, str] | None, tuple[str, ...]]]] = {
    ("pods", "binding"): (("", "v1", "Binding"), ("create",)),
    ("pods", "eviction"): (("policy", "v1", "Eviction"), ("create",)),
    ("pods", "log"): (None, ("get",)),
    ("namespaces", "finalize"): (None, ("update",)),
}
_CUSTOM_VERBS: Final = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
"""In the order in which the real server lists them."""
_SCALE: Final = (("autoscaling", "v1", "Scale"), _STATUS_VERBS)


def api_versions(host: str) -> dict[str, Any]:
    """Return `/api`: the versions of the core group; `host` is the server's address and port."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}],
    }


def api_groups(registry: Registry) -> dict[str, Any]:
    """Return `/apis`: all groups but the core group."""
    return registry.remembered(
        "discovery/groups",
        lambda: {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(registry, name) for name in _groups(registry) if name]},
    )


def api_group(registry: Registry, name: str) -> dict[str, Any] | None:
    """Return `/apis/NAME`, or None for a group that is not served."""
    if not name or name not in _groups(registry):
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(registry, name)}


def resource_list(registry: Registry, group: str, version: str) -> dict[str, Any] | None:
    """Return `/apis/GROUP/VERSION`, or `/api/v1` for the core group "", or None where nothing is served there."""
    return registry.remembered(("discovery", group, version), lambda: _resource_list(registry, group, version))


def aggregated(registry: Registry, legacy: bool) -> dict[str, Any]:
    """Return aggregated discovery of `/api` (`legacy`) or of `/apis`."""
    return registry.remembered(("discovery/aggregated", legacy), lambda: _aggregated(registry, legacy))


def _groups(registry: Registry) -> dict[str, list[str]]:
    """Return the versions of each group, the preferred one first, in the order in which they were registered."""
    groups: dict[str, list[str]] = {}
    for resource in registry.all():
        versions = groups.setdefault(resource.group, [])
        if resource.version not in versions:
            versions.append(resource.version)
    return {group: sorted(versions, key=version_order) for group, versions in groups.items()}


def _group(registry: Registry, name: str) -> dict[str, Any]:
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in _groups(registry)[name]]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _of(registry: Registry, group: str, version: str) -> list[Resource]:
    found = [resource for resource in registry.all() if resource.group == group and resource.version == version]
    return sorted(found, key=lambda resource: resource.plural)


def _resource_list(registry: Registry, group: str, version: str) -> dict[str, Any] | None:
    resources = _of(registry, group, version)
    if not resources:
        return None
    entries: list[dict[str, Any]] = []
    for resource in resources:
        entries.append(_entry(resource))
        entries += [_subresource_entry(resource, name) for name in sorted(resource.subresources)]
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries}


def _entry(resource: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": _verbs(resource),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if "list" in resource.verbs:
        entry["storageVersionHash"] = _storage_version_hash(resource)
    return entry


def _verbs(resource: Resource) -> list[str]:
    return list(_CUSTOM_VERBS if resource.is_custom else resource.verbs)


def _storage_version_hash(resource: Resource) -> str:
    """Return what tells clients that objects are stored in another version from now on (apiserver's discovery.StorageVersionHash)."""
    stored = f"{resource.group}/{resource.storage_version or resource.version}/{resource.kind}"
    return base64.b64encode(hashlib.sha256(stored.encode()).digest()[:8]).decode()


def _subresource_entry(resource: Resource, name: str) -> dict[str, Any]:
    foreign, verbs = _subresource(resource, name)
    entry: dict[str, Any] = {"name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced}
    if foreign is not None:
        entry |= {"group": foreign[0], "version": foreign[1]} if foreign[0] else {}
    return {**entry, "kind": foreign[2] if foreign is not None else resource.kind, "verbs": list(verbs)}


def _subresource(resource: Resource, name: str) -> tuple[tuple[str, str, str] | None, tuple[str, ...]]:
    if name == "scale":
        return _SCALE
    return _SUBRESOURCES.get((resource.plural, name), (None, _STATUS_VERBS))


def _aggregated(registry: Registry, legacy: bool) -> dict[str, Any]:
    items = [
        {
            "metadata": {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None},
            "versions": _versions(registry, group, versions),
        }
        for group, versions in _groups(registry).items()
        if (group == "") == legacy
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _versions(registry: Registry, group: str, versions: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "version": version,
            "resources": [_aggregated_entry(resource) for resource in _of(registry, group, version)],
            "freshness": "Current",
        }
        for version in versions
    ]


def _aggregated_entry(resource: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": _response_kind(resource, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": _verbs(resource),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [_aggregated_subresource(resource, name) for name in sorted(resource.subresources)]
    return entry


def _aggregated_subresource(resource: Resource, name: str) -> dict[str, Any]:
    foreign, verbs = _subresource(resource, name)
    response_kind = dict(zip(("group", "version", "kind"), foreign, strict=True)) if foreign else _response_kind(resource, resource.kind)
    return {"subresource": name, "responseKind": response_kind, "verbs": list(verbs)}


def _response_kind(resource: Resource, kind: str) -> dict[str, str]:
    """Return a kind as aggregated discovery tells it: builtin kinds leave out what the entry around them says already."""
    group, version = (resource.group, resource.version) if resource.is_custom else ("", "")
    return {"group": group, "version": version, "kind": kind}
