"""Where objects are stored, and how they look in the version that a client asks for.

Objects are kept under group and plural in their storage version. Custom resources convert by their apiVersion alone (strategy None), and what
the version asked for does not know is pruned, what it fills in is filled in. Events are one set of objects behind two groups, as in the real
server: core/v1 is stored, events.k8s.io/v1 renames fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from backstay.local.apiserver.resources import Resource
from backstay.local.apiserver.schema import pruned, with_defaults
from backstay.local.apiserver.store import Key, Stored

_EVENTS_GROUP: Final = "events.k8s.io"
_FROM_CORE: Final[Mapping[str, str]] = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_TO_CORE: Final = {new: old for old, new in _FROM_CORE.items()}


def collection_of(resource: Resource) -> tuple[str, str]:
    """Return the group and plural under which a resource's objects are stored."""
    return ("" if resource.group == _EVENTS_GROUP else resource.group, resource.plural)


def key_of(resource: Resource, namespace: str, name: str) -> Key:
    """Return where an object of a resource is stored."""
    return Key(*collection_of(resource), namespace, name)


def to_storage(resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
    """Return an object in its storage version; changes `obj`."""
    if resource.group == _EVENTS_GROUP:
        return _renamed(obj, _TO_CORE) | {"apiVersion": "v1", "kind": "Event"}
    version = resource.storage_version or resource.version
    obj["apiVersion"] = f"{resource.group}/{version}" if resource.group else version
    return obj


def is_served_as_stored(resource: Resource, stored: Stored) -> bool:
    """Tell whether the stored bytes are already what a client of this version wants."""
    return bool(stored.object.get("apiVersion") == resource.api_version)


def to_served(resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
    """Return an object in the resource's version; a shallow copy where it has to change."""
    if obj.get("apiVersion") == resource.api_version:
        return obj
    if resource.is_custom:
        return {**with_defaults(resource.node, pruned(resource.node, obj)), "apiVersion": resource.api_version}
    if resource.group == _EVENTS_GROUP:
        obj = _renamed(obj, _FROM_CORE)
    return {**obj, "apiVersion": resource.api_version}


def _renamed(obj: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in obj.items()}
