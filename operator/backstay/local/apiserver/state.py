"""The state of the cluster as the verbs see it: store, registry and clock, and the two ways an object changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from backstay.local.apiserver.convert import key_of, to_served, to_storage
from backstay.local.apiserver.resources import Registry, Resource
from backstay.local.apiserver.schema import with_defaults
from backstay.local.apiserver.status import StatusError, not_found
from backstay.local.apiserver.store import Key, Store, Stored, TooLarge

CRDS: Final = ("apiextensions.k8s.io", "customresourcedefinitions")
NAMESPACES: Final = ("", "namespaces")
PODS: Final = ("", "pods")


def utc_now() -> datetime:
    """Return the time, aware."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Cluster:
    """What every verb works on. One event loop owns it; no method awaits, so each request's change is atomic."""

    store: Store
    registry: Registry
    clock: Callable[[], datetime] = utc_now
    authority: str = ""
    """The certificate, as PEM, that clients trust the server by."""
    _by_collection: dict[tuple[str, str], Resource] = field(default_factory=dict)
    _revision: int = -1

    def find(self, resource: Resource, namespace: str, name: str) -> Stored:
        """Return an object. Raises 404."""
        stored = self.store.get(key_of(resource, namespace, name))
        if stored is None:
            raise not_found(resource.group, resource.plural, name)
        return stored

    def namespace(self, name: str) -> Stored | None:
        """Return a namespace, or None."""
        return self.store.get(Key(*NAMESPACES, "", name))

    def served(self, resource: Resource, stored: Stored) -> dict[str, Any]:
        """Return a fresh copy of an object in the resource's version, that may be changed."""
        return to_served(resource, stored.copy())

    def save(self, resource: Resource, obj: dict[str, Any]) -> Stored:
        """Write an object that is ready; the cluster keeps `obj`. Raises StatusError for one that etcd would not take."""
        metadata = obj["metadata"]
        if resource.is_custom and (kept := self.registry.find(resource.group, resource.storage_version, resource.plural)) not in (
            None,
            resource,
        ):
            obj = with_defaults(kept.node, obj)
        obj = {"apiVersion": obj.get("apiVersion"), "kind": obj.get("kind"), **obj}  # first, so that lists can leave them out cheaply
        key = key_of(resource, metadata.get("namespace", ""), metadata["name"])
        try:
            stored = self.store.put(key, to_storage(resource, obj))
        except TooLarge as error:
            raise StatusError(500, "", "etcdserver: request is too large") from error
        if (key.group, key.plural) == CRDS:
            self.registry.add_crd(stored.object)
        return stored

    def remove(self, stored: Stored) -> Stored:
        """Remove an object for good and return it as it was last."""
        gone = self.store.delete(stored.key)
        if (stored.key.group, stored.key.plural) == CRDS:
            self.registry.remove_crd(stored.key.name)
        return gone

    def resource_of(self, group: str, plural: str) -> Resource | None:
        """Return a resource of a stored collection in some served version, or None where nothing serves it any more."""
        if self._revision != self.registry.revision:
            self._by_collection = {(each.group, each.plural): each for each in reversed(self.registry.all())}
            self._revision = self.registry.revision
        return self._by_collection.get((group, plural))
