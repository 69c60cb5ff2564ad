"""delete: grace periods, finalizers, propagation and preconditions (registry/rest/delete.go, registry/generic/registry/store.go).

Pods are deleted gracefully: they get a deletionTimestamp and stay until their node deletes them with grace 0, or at once where no node has
them or they have ended. Everything else goes at once unless finalizers hold it. Foreground and orphan propagation are finalizers, which the
garbage collector (gc.py) takes off; namespaces and CustomResourceDefinitions are emptied first (terminating.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

from backstay.local.apiserver.convert import to_served
from backstay.local.apiserver.meta import FOREGROUND, ORPHAN, parse_timestamp, timestamp
from backstay.local.apiserver.resources import Resource
from backstay.local.apiserver.state import CRDS, NAMESPACES, PODS, Cluster
from backstay.local.apiserver.status import conflict, success
from backstay.local.apiserver.store import Stored
from backstay.local.apiserver.targets import DeleteOptions

CRD_CLEANUP: Final = "customresourcecleanup.apiextensions.k8s.io"
_DEFAULT_GRACE_SECONDS: Final = 30
_RETURNS_OBJECT: Final = frozenset(
    {NAMESPACES, PODS, *(("", plural) for plural in ("persistentvolumeclaims", "resourcequotas", "serviceaccounts", "services"))}
)
"""Kinds whose deletion answers with the object; the others answer with a Status (ReturnDeletedObject)."""


def delete(cluster: Cluster, resource: Resource, stored: Stored, options: DeleteOptions) -> dict[str, Any]:
    """Delete an object, or mark it for deletion, and return what the client is answered: the object, or a Status when it is gone.

    Raises 409 when a precondition does not hold.
    """
    _check_preconditions(resource, stored, options)
    kind = (resource.group, resource.plural)
    if kind == NAMESPACES:
        return _delete_namespace(cluster, resource, stored, options)
    obj = cluster.served(resource, stored)
    if kind == PODS and (waiting := _is_waiting(obj, options)):
        return _answer(resource, waiting)
    before = obj["metadata"].get("deletionTimestamp")
    grace = _set_grace(cluster, obj, options) if kind == PODS else 0
    obj["metadata"]["finalizers"] = _finalizers(obj["metadata"].get("finalizers") or [], options.propagation)
    if kind == CRDS and not before:
        obj["metadata"]["finalizers"] = list(dict.fromkeys([*obj["metadata"]["finalizers"], CRD_CLEANUP]))
    if not obj["metadata"]["finalizers"]:
        del obj["metadata"]["finalizers"]
        if not grace:
            return _remove(cluster, resource, stored, obj, options)
    elif kind != PODS:
        _mark(cluster, obj)
    return _keep(cluster, resource, stored, obj, options)


def is_finished(resource: Resource, new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Tell whether the last finalizer of an object under deletion has gone, so that the object goes too."""
    if "deletionTimestamp" not in old["metadata"] or old["metadata"].get("deletionGracePeriodSeconds"):
        return False
    if (resource.group, resource.plural) == NAMESPACES and (new.get("spec") or {}).get("finalizers"):
        return False
    return not new["metadata"].get("finalizers")


def _check_preconditions(resource: Resource, stored: Stored, options: DeleteOptions) -> None:
    metadata = stored.object["metadata"]
    checks = (
        (options.uid, metadata["uid"], "UID", "The object might have been deleted and then recreated"),
        (options.resource_version, str(stored.version), "ResourceVersion", "The object might have been modified"),
    )
    for wanted, found, what, why in checks:
        if wanted is not None and wanted != found:
            text = f"the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). {why}"
            raise conflict(resource.group, resource.kind, stored.key.name, text)


# ── grace ───────────────────────────────────────────────────────────────────────────────────────


def _is_waiting(pod: dict[str, Any], options: DeleteOptions) -> dict[str, Any] | None:
    """Return the pod where it is already being deleted and the request does not shorten its grace."""
    period = pod["metadata"].get("deletionGracePeriodSeconds")
    if "deletionTimestamp" not in pod["metadata"] or not period:
        return None
    return pod if options.grace_period_seconds is None or options.grace_period_seconds >= period else None


def _set_grace(cluster: Cluster, pod: dict[str, Any], options: DeleteOptions) -> int:
    """Give a pod its deletionTimestamp, or bring it forward, and return the grace that is left in seconds."""
    metadata, now = pod["metadata"], cluster.clock()
    if "deletionTimestamp" in metadata:
        period = metadata.get("deletionGracePeriodSeconds") or 0
        if not period:
            return 0
        grace = options.grace_period_seconds or 0
        end = parse_timestamp(metadata["deletionTimestamp"]) - timedelta(seconds=period - grace)
        if end < now:
            end, grace = now, 1 if grace else 0
    else:
        grace = _grace_of(pod, options)
        end = now + timedelta(seconds=grace)
        metadata["generation"] = metadata.get("generation", 0) + 1
    metadata["deletionTimestamp"], metadata["deletionGracePeriodSeconds"] = timestamp(end), grace
    return grace


def _grace_of(pod: Mapping[str, Any], options: DeleteOptions) -> int:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    grace = options.grace_period_seconds
    if grace is None:
        grace = spec.get("terminationGracePeriodSeconds", _DEFAULT_GRACE_SECONDS)
    return int(grace) if grace >= 0 else 1


def _mark(cluster: Cluster, obj: dict[str, Any]) -> None:
    """Mark an object that only finalizers hold."""
    metadata, now = obj["metadata"], cluster.clock()
    if "deletionTimestamp" not in metadata:
        metadata["deletionTimestamp"] = timestamp(now)
        if "generation" in metadata:
            metadata["generation"] += 1
    metadata["deletionGracePeriodSeconds"] = 0


def _finalizers(finalizers: list[str], propagation: str | None) -> list[str]:
    orphans = propagation == "Orphan" or (propagation is None and ORPHAN in finalizers)
    waits = propagation == "Foreground" or (propagation is None and FOREGROUND in finalizers)
    others = [each for each in finalizers if each not in (ORPHAN, FOREGROUND)]
    return others + ([ORPHAN] if orphans else []) + ([FOREGROUND] if waits else [])


# ── outcomes ────────────────────────────────────────────────────────────────────────────────────


def _keep(cluster: Cluster, resource: Resource, stored: Stored, obj: dict[str, Any], options: DeleteOptions) -> dict[str, Any]:
    if options.dry_run or obj == to_served(resource, stored.object):
        return obj
    return to_served(resource, cluster.save(resource, obj).object)


def _remove(cluster: Cluster, resource: Resource, stored: Stored, obj: dict[str, Any], options: DeleteOptions) -> dict[str, Any]:
    if options.dry_run:
        return _answer(resource, obj)
    if obj["metadata"].get("deletionTimestamp") and obj != to_served(resource, stored.object):
        stored = cluster.save(resource, obj)  # watchers of pods learn that it is being deleted before it is gone
    return _answer(resource, to_served(resource, cluster.remove(stored).object))


def _answer(resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
    if (resource.group, resource.plural) in _RETURNS_OBJECT:
        return obj
    details = {"name": obj["metadata"]["name"], "group": resource.group, "kind": resource.plural, "uid": obj["metadata"]["uid"]}
    return success({key: value for key, value in details.items() if value})


def _delete_namespace(cluster: Cluster, resource: Resource, stored: Stored, options: DeleteOptions) -> dict[str, Any]:
    obj = cluster.served(resource, stored)
    metadata = obj["metadata"]
    if "deletionTimestamp" not in metadata:
        _mark(cluster, obj)
        metadata.pop("deletionGracePeriodSeconds")
        obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
        if finalizers := _finalizers(metadata.get("finalizers") or [], options.propagation):
            metadata["finalizers"] = finalizers
        return _keep(cluster, resource, stored, obj, options)
    if (obj.get("spec") or {}).get("finalizers") or metadata.get("finalizers"):
        return obj
    return _remove(cluster, resource, stored, obj, options)


def delete_each(cluster: Cluster, resource: Resource, items: Iterable[Stored], options: DeleteOptions) -> None:
    """Delete objects one by one (deletecollection); one that went in the meantime is fine."""
    for stored in items:
        current = cluster.store.get(stored.key)
        if current is not None:
            delete(cluster, resource, current, options)
