"""What has to be emptied before it can go: namespaces, and CustomResourceDefinitions with their objects.

After k8s.io/kubernetes' pkg/controller/namespace (deletes the content, waits for finalizers, tells in conditions what is left, then takes the
finalizer `kubernetes` off the spec) and apiextensions-apiserver's pkg/controller/finalizer.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from backstay.local.apiserver.deleting import CRD_CLEANUP, delete
from backstay.local.apiserver.meta import timestamp
from backstay.local.apiserver.resources import Resource
from backstay.local.apiserver.state import CRDS, NAMESPACES, Cluster
from backstay.local.apiserver.store import Change, Key, Stored
from backstay.local.apiserver.targets import DeleteOptions
from backstay.local.apiserver.worker import Worker

_SPEC_FINALIZER: Final = "kubernetes"


class Terminator:
    """Empties namespaces and definitions that are being deleted. `run` for ever."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._worker: Worker[Key] = Worker("terminating", self._process)
        for group, plural in (NAMESPACES, CRDS):
            self._worker.add_all(stored.key for stored in cluster.store.select(group, plural) if _is_ending(stored))
        cluster.store.listeners.append(self._on_change)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._worker.run()

    def _on_change(self, change: Change) -> None:
        key = change.stored.key
        if (key.group, key.plural) in (NAMESPACES, CRDS):
            if change.type != "DELETED" and _is_ending(change.stored):
                self._worker.add(key)
            return
        if key.namespace:
            namespace = self._cluster.namespace(key.namespace)
            if namespace is not None and _is_ending(namespace):
                self._worker.add(namespace.key)
        if change.type == "DELETED" and "." in key.group:
            definition = self._cluster.store.get(Key(*CRDS, "", f"{key.plural}.{key.group}"))
            if definition is not None and _is_ending(definition):
                self._worker.add(definition.key)

    def _process(self, key: Key) -> None:
        stored = self._cluster.store.get(key)
        if stored is None or not _is_ending(stored):
            return
        if (key.group, key.plural) == NAMESPACES:
            self._empty_namespace(stored)
        else:
            self._empty_definition(stored)

    # ── namespaces ──

    def _empty_namespace(self, namespace: Stored) -> None:
        name = namespace.key.name
        for resource, items in self._content(name):
            for stored in items:
                if not _is_ending(stored):
                    delete(self._cluster, resource, stored, DeleteOptions(propagation="Background"))
        left = self._content(name)
        obj = namespace.copy()
        if left:
            self._tell(obj, left)
            return
        spec = obj.setdefault("spec", {})
        spec["finalizers"] = [each for each in spec.get("finalizers") or () if each != _SPEC_FINALIZER]
        if not spec["finalizers"] and not obj["metadata"].get("finalizers"):
            self._cluster.remove(namespace)
        elif spec["finalizers"] != (namespace.object.get("spec") or {}).get("finalizers"):
            self._save(NAMESPACES, obj)

    def _content(self, namespace: str) -> list[tuple[Resource, list[Stored]]]:
        found = []
        for group, plural in self._cluster.store.resources():
            resource = self._cluster.resource_of(group, plural)
            items = self._cluster.store.select(group, plural, namespace)
            if resource is not None and items:
                found.append((resource, items))
        return found

    def _tell(self, namespace: dict[str, Any], left: list[tuple[Resource, list[Stored]]]) -> None:
        counts = [f"{resource.group_resource} has {len(items)} resource instances" for resource, items in left]
        finalizers = Counter(each for _, items in left for stored in items for each in stored.object["metadata"].get("finalizers") or ())
        held = [f"{finalizer} in {count} resource instances" for finalizer, count in sorted(finalizers.items())]
        told = {
            "NamespaceDeletionDiscoveryFailure": ("False", "ResourcesDiscovered", "All resources successfully discovered"),
            "NamespaceDeletionGroupVersionParsingFailure": ("False", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
            "NamespaceDeletionContentFailure": (
                "False",
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
            "NamespaceContentRemaining": ("True", "SomeResourcesRemain", f"Some resources are remaining: {', '.join(counts)}"),
            "NamespaceFinalizersRemaining": ("False", "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        }
        if held:
            told["NamespaceFinalizersRemaining"] = (
                "True",
                "SomeFinalizersRemain",
                f"Some content in the namespace has finalizers remaining: {', '.join(held)}",
            )
        status = namespace.setdefault("status", {})
        known = {each["type"]: each for each in status.get("conditions") or ()}
        conditions = [self._condition(known.get(type_), type_, *facts) for type_, facts in told.items()]
        if conditions != status.get("conditions"):
            status["conditions"] = conditions
            self._save(NAMESPACES, namespace)

    def _condition(self, known: dict[str, Any] | None, type_: str, state: str, reason: str, message: str) -> dict[str, Any]:
        now = timestamp(self._cluster.clock())
        since = known["lastTransitionTime"] if known and known["status"] == state else now
        return {"type": type_, "status": state, "reason": reason, "message": message, "lastTransitionTime": since}

    # ── definitions ──

    def _empty_definition(self, definition: Stored) -> None:
        if CRD_CLEANUP not in (definition.object["metadata"].get("finalizers") or ()):
            return
        spec = definition.object["spec"]
        collection = (spec["group"], spec["names"]["plural"])
        resource = self._cluster.resource_of(*collection)
        for stored in self._cluster.store.select(*collection):
            if resource is None:
                self._cluster.remove(stored)
            elif not _is_ending(stored):
                delete(self._cluster, resource, stored, DeleteOptions(propagation="Background"))
        if self._cluster.store.count(*collection):
            return
        obj = definition.copy()
        obj["metadata"]["finalizers"] = [each for each in obj["metadata"]["finalizers"] if each != CRD_CLEANUP]
        if obj["metadata"]["finalizers"]:
            self._save(CRDS, obj)
        else:
            self._cluster.remove(definition)

    def _save(self, kind: tuple[str, str], obj: dict[str, Any]) -> None:
        resource = self._cluster.resource_of(*kind)
        if resource is not None:
            self._cluster.save(resource, obj)


def _is_ending(stored: Stored) -> bool:
    return "deletionTimestamp" in stored.object["metadata"]
