"""The builtin kinds that the embedded cluster serves, as a table.

Names, short names, categories and subresources are those of Kubernetes 1.37. A kind is here because Backstay, its users' manifests, its
chart or kubectl need it; storing it does not mean that a controller acts on it (Deployments, for one, are kept and nothing runs).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from backstay.local.apiserver.resource import VERBS, Resource

_CLUSTER: Final = "cluster"
_CREATE: Final = "create"

# plural, kind, short names, categories, subresources, flags
_Row = tuple[str, str, str, str, str, str]
_TABLE: Final[dict[str, tuple[_Row, ...]]] = {
    "v1": (
        ("configmaps", "ConfigMap", "cm", "", "", ""),
        ("endpoints", "Endpoints", "ep", "", "", ""),
        ("events", "Event", "ev", "", "", ""),
        ("limitranges", "LimitRange", "limits", "", "", ""),
        ("namespaces", "Namespace", "ns", "", "finalize status", _CLUSTER),
        ("nodes", "Node", "no", "", "status", _CLUSTER),
        ("persistentvolumeclaims", "PersistentVolumeClaim", "pvc", "", "status", ""),
        ("pods", "Pod", "po", "all", "binding eviction log status", ""),
        ("resourcequotas", "ResourceQuota", "quota", "", "status", ""),
        ("secrets", "Secret", "", "", "", ""),
        ("serviceaccounts", "ServiceAccount", "sa", "", "", ""),
        ("services", "Service", "svc", "all", "status", ""),
    ),
    "admissionregistration.k8s.io/v1": (
        ("validatingadmissionpolicies", "ValidatingAdmissionPolicy", "", "api-extensions", "status", _CLUSTER),
        ("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", "", "api-extensions", "", _CLUSTER),
    ),
    "apiextensions.k8s.io/v1": (
        ("customresourcedefinitions", "CustomResourceDefinition", "crd crds", "api-extensions", "status", _CLUSTER),
    ),
    "apps/v1": (
        ("controllerrevisions", "ControllerRevision", "", "", "", ""),
        ("deployments", "Deployment", "deploy", "all", "status", ""),
        ("replicasets", "ReplicaSet", "rs", "all", "status", ""),
        ("statefulsets", "StatefulSet", "sts", "all", "status", ""),
    ),
    "authentication.k8s.io/v1": (
        ("selfsubjectreviews", "SelfSubjectReview", "", "", "", f"{_CLUSTER} {_CREATE}"),
        ("tokenreviews", "TokenReview", "", "", "", f"{_CLUSTER} {_CREATE}"),
    ),
    "authorization.k8s.io/v1": (
        ("localsubjectaccessreviews", "LocalSubjectAccessReview", "", "", "", _CREATE),
        ("selfsubjectaccessreviews", "SelfSubjectAccessReview", "", "", "", f"{_CLUSTER} {_CREATE}"),
        ("selfsubjectrulesreviews", "SelfSubjectRulesReview", "", "", "", f"{_CLUSTER} {_CREATE}"),
        ("subjectaccessreviews", "SubjectAccessReview", "", "", "", f"{_CLUSTER} {_CREATE}"),
    ),
    "batch/v1": (
        ("cronjobs", "CronJob", "cj", "all", "status", ""),
        ("jobs", "Job", "", "all", "status", ""),
    ),
    "coordination.k8s.io/v1": (("leases", "Lease", "", "", "", ""),),
    "discovery.k8s.io/v1": (("endpointslices", "EndpointSlice", "", "", "", ""),),
    "events.k8s.io/v1": (("events", "Event", "ev", "", "", ""),),
    "networking.k8s.io/v1": (("networkpolicies", "NetworkPolicy", "netpol", "", "", ""),),
    "policy/v1": (("poddisruptionbudgets", "PodDisruptionBudget", "pdb", "", "status", ""),),
    "rbac.authorization.k8s.io/v1": (
        ("clusterrolebindings", "ClusterRoleBinding", "", "", "", _CLUSTER),
        ("clusterroles", "ClusterRole", "", "", "", _CLUSTER),
        ("rolebindings", "RoleBinding", "", "", "", ""),
        ("roles", "Role", "", "", "", ""),
    ),
    "scheduling.k8s.io/v1": (("priorityclasses", "PriorityClass", "pc", "", "", _CLUSTER),),
}


def builtin_resources() -> Iterator[Resource]:
    """Yield the builtin kinds in the order of discovery."""
    for api_version, rows in _TABLE.items():
        group, _, version = api_version.rpartition("/")
        for plural, kind, short, categories, subresources, flags in rows:
            yield Resource(
                group=group,
                version=version,
                plural=plural,
                kind=kind,
                singular=kind.lower(),
                namespaced=_CLUSTER not in flags.split(),
                short_names=tuple(short.split()),
                categories=tuple(categories.split()),
                subresources=frozenset(subresources.split()),
                storage_version=version,
                verbs=_verbs(plural, flags),
                list_kind=f"{kind}List",
            )


def _verbs(plural: str, flags: str) -> tuple[str, ...]:
    if _CREATE in flags.split():
        return ("create",)
    if plural == "namespaces":
        return tuple(verb for verb in VERBS if verb != "deletecollection")
    return VERBS
