"""Admission that needs other objects: the namespace of a new object, the service account and priority class of a new pod.

The real server's plugins NamespaceLifecycle, ServiceAccount and Priority, with their words. What they mount or enforce beyond that (token
volumes, quotas, pod security) is left out: pods here are processes on the user's own machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from backstay.local.apiserver.resources import Resource
from backstay.local.apiserver.state import NAMESPACES, PODS, Cluster
from backstay.local.apiserver.status import Cause, forbidden, not_found
from backstay.local.apiserver.store import Key

IMMORTAL: Final = frozenset({"default", "kube-system", "kube-public"})
_DEFAULT_ACCOUNT: Final = "default"
_MAX_PRIORITY: Final = "PreemptLowerPriority"


def admit_new(cluster: Cluster, resource: Resource, obj: dict[str, Any]) -> None:
    """Check, and for pods complete, an object that is to be created. Raises 404 and 403."""
    if resource.namespaced:
        _check_namespace(cluster, resource, obj)
    if (resource.group, resource.plural) == PODS:
        _give_account(cluster, obj)
        _give_priority(cluster, obj)


def _shown_name(obj: Mapping[str, Any]) -> str:
    metadata = obj["metadata"]
    return str(metadata.get("name") or metadata.get("generateName", ""))


def _check_namespace(cluster: Cluster, resource: Resource, obj: Mapping[str, Any]) -> None:
    name = obj["metadata"].get("namespace", "")
    namespace = cluster.namespace(name)
    if namespace is None:
        raise not_found(*NAMESPACES, name)
    if "deletionTimestamp" not in namespace.object["metadata"]:
        return
    cause = Cause("NamespaceTerminating", f"namespace {name} is being terminated", "metadata.namespace")
    why = f"unable to create new content in namespace {name} because it is being terminated"
    raise forbidden(resource.group, resource.plural, _shown_name(obj), why, [cause])


def _give_account(cluster: Cluster, pod: dict[str, Any]) -> None:
    spec = pod.get("spec")
    if not isinstance(spec, dict):
        return
    namespace = pod["metadata"].get("namespace", "")
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or _DEFAULT_ACCOUNT
    if not isinstance(name, str):
        return
    if cluster.store.get(Key("", "serviceaccounts", namespace, name)) is None:
        why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise forbidden(*PODS, _shown_name(pod), why)
    spec["serviceAccountName"] = spec["serviceAccount"] = name


def _give_priority(cluster: Cluster, pod: dict[str, Any]) -> None:
    spec = pod.get("spec")
    if not isinstance(spec, dict):
        return
    name = spec.get("priorityClassName")
    if not name or not isinstance(name, str):
        default = next(
            (each.object for each in cluster.store.select("scheduling.k8s.io", "priorityclasses") if each.object.get("globalDefault")), None
        )
        found: Mapping[str, Any] = default or {}
    else:
        stored = cluster.store.get(Key("scheduling.k8s.io", "priorityclasses", "", name))
        if stored is None:
            raise forbidden(*PODS, _shown_name(pod), f"no PriorityClass with name {name} was found")
        found = stored.object
    spec["priority"] = found.get("value", 0)
    spec["preemptionPolicy"] = found.get("preemptionPolicy", _MAX_PRIORITY)
    if found:
        spec["priorityClassName"] = found["metadata"]["name"]
