"""What a new cluster has: its namespaces with their service accounts and certificates, and the system's priority classes."""

from typing import Final

from backstay.local.apiserver.convert import key_of
from backstay.local.apiserver.creating import create_object, furnish
from backstay.local.apiserver.meta import fill_new
from backstay.local.apiserver.state import Cluster

_NAMESPACES: Final = ("default", "kube-system", "kube-public", "kube-node-lease")
_PRIORITIES: Final = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def bootstrap(cluster: Cluster) -> None:
    """Make what is missing; a cluster that has it all is left as it is."""
    for name in _NAMESPACES:
        resource = cluster.registry.find("", "v1", "namespaces")
        if resource is not None and cluster.namespace(name) is None:
            create_object(cluster, resource, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, dry_run=False)
        furnish(cluster, name)
    for name, value in _PRIORITIES.items():
        _add_priority_class(cluster, name, value)


def _add_priority_class(cluster: Cluster, name: str, value: int) -> None:
    """Store a class of the system as it is: its name and value are none that a user could give."""
    resource = cluster.registry.find("scheduling.k8s.io", "v1", "priorityclasses")
    if resource is None or cluster.store.get(key_of(resource, "", name)) is not None:
        return
    described = {"description": "Used for the system's own pods.", "preemptionPolicy": "PreemptLowerPriority"}
    obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, "value": value, **described}
    fill_new(resource, obj, cluster.clock())
    cluster.save(resource, obj)
