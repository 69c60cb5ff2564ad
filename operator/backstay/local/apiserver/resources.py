"""What the embedded API server serves: the `Registry` of all kinds.

It starts with the builtin kinds and grows with each CustomResourceDefinition that is established.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

from backstay.local.apiserver.builtin import builtin_resources
from backstay.local.apiserver.crds import resources_of
from backstay.local.apiserver.resource import VERBS, Resource, version_order

__all__ = ["VERBS", "Registry", "Resource", "version_order"]

_T = TypeVar("_T")


class Registry:
    """All that is served. Not thread-safe; one event loop owns it."""

    def __init__(self) -> None:
        self.revision = 0
        """Goes up with every change: what was worked out from the registry may be kept until then."""
        self._resources: dict[tuple[str, str, str], Resource] = {}
        self._crds: dict[str, list[Resource]] = {}
        self._worked_out: dict[Hashable, Any] = {}
        for resource in builtin_resources():
            self._add(resource)
        self._builtin = {(resource.group, resource.version) for resource in self.all()}

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """Return what is served at a path, or None."""
        return self._resources.get((group, version, plural))

    def is_builtin(self, group: str, version: str) -> bool:
        """Tell whether builtin kinds are served in a version of a group."""
        return (group, version) in self._builtin

    def by_kind(self, group: str, kind: str) -> Resource | None:
        """Return a kind in the version that clients prefer, or None."""
        found = [resource for resource in self._resources.values() if resource.group == group and resource.kind == kind]
        return min(found, key=lambda resource: version_order(resource.version), default=None)

    def all(self) -> list[Resource]:
        """Return everything served, in the order of discovery: builtin kinds first, versions from the most to the least stable."""
        return list(self._resources.values())

    def add_crd(self, crd: Mapping[str, Any]) -> None:
        """Serve a CustomResourceDefinition as stored: its versions marked `served`, once it is established, instead of what it was before."""
        name = crd["metadata"]["name"]
        made = resources_of(crd)
        before = self._crds.get(name, [])
        if made == before:
            return
        self.remove_crd(name)
        self._crds[name] = made
        for resource in made:
            self._add(resource)
        self._changed()

    def remove_crd(self, name: str) -> None:
        """Stop serving what the CustomResourceDefinition of that name (`plural.group`) defined."""
        for resource in self._crds.pop(name, []):
            del self._resources[resource.group, resource.version, resource.plural]
            self._changed()

    def remembered(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """Return what `make` returned for this key since the registry last changed, or make it now."""
        if key not in self._worked_out:
            self._worked_out[key] = make()
        made: _T = self._worked_out[key]
        return made

    def _changed(self) -> None:
        self.revision += 1
        self._worked_out.clear()

    def _add(self, resource: Resource) -> None:
        self._resources[resource.group, resource.version, resource.plural] = resource
