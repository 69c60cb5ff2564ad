"""The table of builtin kinds with rules of their own; a kind that is not here is stored as it comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from backstay.local.apiserver.fields import FieldError
from backstay.local.apiserver.kinds import core, cron_jobs, job_status, jobs, pods, policies, workloads

_Object = dict[str, Any]
_View = Mapping[str, Any]


def _nothing(_: _Object) -> None:
    return


def _empty_status(obj: _Object) -> None:
    obj["status"] = {}


def _no_errors(_: _View) -> list[FieldError]:
    return []


def _no_update_errors(_: _View, __: _View) -> list[FieldError]:
    return []


@dataclass(frozen=True, slots=True)
class Kind:
    """What is done to a kind. The first two change the object in place, the checks judge it afterwards.

    `default` fills in what a writer left out, on every write; who wrote the object counts as having written that. `generate` adds, on
    creation only, what is the server's own: the first status, generated labels and selectors, what admission plugins add.
    """

    default: Callable[[_Object], None] = _nothing
    generate: Callable[[_Object], None] = _nothing
    check_create: Callable[[_View], list[FieldError]] = _no_errors
    check_update: Callable[[_View, _View], list[FieldError]] = _no_update_errors
    check_status: Callable[[_View, _View], list[FieldError]] = _no_update_errors


def _always(check: Callable[[_View], list[FieldError]]) -> Callable[[_View, _View], list[FieldError]]:
    return lambda new, _: check(new)


_BINDING: Final = Kind(default=policies.default_binding, check_update=policies.check_binding_update)
_REPLICAS: Final = Kind(workloads.default_workload, workloads.generate_replicas, workloads.check_workload, workloads.check_workload_update)
_KINDS: Final[Mapping[tuple[str, str], Kind]] = {
    ("", "Pod"): Kind(pods.default_pod, pods.generate_pod, pods.check_pod, pods.check_pod_update),
    ("batch", "Job"): Kind(jobs.default_job, jobs.generate_job, jobs.check_job, jobs.check_job_update, job_status.check_job_status),
    ("batch", "CronJob"): Kind(cron_jobs.default_cron_job, _empty_status, cron_jobs.check_cron_job, _always(cron_jobs.check_cron_job)),
    ("", "Namespace"): Kind(core.label_namespace, core.generate_namespace, core.check_namespace, _always(core.check_namespace)),
    ("", "ConfigMap"): Kind(check_create=core.check_config_map, check_update=core.check_config_map_update),
    ("", "Secret"): Kind(default=core.default_secret, check_create=core.check_secret, check_update=core.check_secret_update),
    ("", "Service"): Kind(core.default_service, core.generate_service),
    ("", "PersistentVolumeClaim"): Kind(core.default_claim, core.generate_claim),
    ("", "LimitRange"): Kind(default=policies.default_limit_range),
    ("coordination.k8s.io", "Lease"): Kind(check_create=core.check_lease, check_update=_always(core.check_lease)),
    ("scheduling.k8s.io", "PriorityClass"): Kind(
        default=core.default_priority_class, check_create=core.check_priority_class, check_update=core.check_priority_class_update
    ),
    ("rbac.authorization.k8s.io", "RoleBinding"): _BINDING,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _BINDING,
    ("networking.k8s.io", "NetworkPolicy"): Kind(default=policies.default_network_policy),
    ("policy", "PodDisruptionBudget"): Kind(generate=policies.generate_budget),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): Kind(policies.default_admission_policy, _empty_status),
    ("apps", "ControllerRevision"): Kind(check_create=core.check_revision, check_update=core.check_revision_update),
    ("apps", "Deployment"): Kind(workloads.default_deployment, _empty_status, workloads.check_workload, workloads.check_workload_update),
    ("apps", "ReplicaSet"): _REPLICAS,
    ("apps", "StatefulSet"): Kind(
        workloads.default_stateful_set, workloads.generate_replicas, workloads.check_workload, workloads.check_workload_update
    ),
}
_PLAIN: Final = Kind()


def kind_of(group: str, kind: str) -> Kind:
    """Return what is done to a builtin kind; nothing, for those without rules of their own."""
    return _KINDS.get((group, kind), _PLAIN)
