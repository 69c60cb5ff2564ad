"""Manifests of what Backstay creates: pure builders.

A Job's pod is restricted (Pod Security Standards, level restricted), one attempt is one pod at a time, and a disruption by the infrastructure is
rerun without using up the attempt (DESIGN §3, §4). `job.template` is a pod template that ours is merged over: what it says explicitly about
security holds, everything else stays ours, and our labels, variables and output file always win.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from backstay import errors, names
from backstay.engine.model import CreateJob, CreateRun
from backstay.engine.workspaces import VOLUME_PREFIX

Object = dict[str, Any]

NON_ROOT_USER: Final = 65532
"""`nonroot` of the distroless images."""
_OUR_VARIABLES: Final = "BACKSTAY_"
_POD_SECURITY: Final[Mapping[str, Any]] = {
    "runAsNonRoot": True,
    "runAsUser": NON_ROOT_USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CLAIM_SECURITY: Final[Mapping[str, Any]] = {"fsGroup": NON_ROOT_USER, "fsGroupChangePolicy": "OnRootMismatch"}
"""A new volume belongs to root: this lets the container, which is not root, write to it."""
_CONTAINER_SECURITY: Final[Mapping[str, Any]] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@dataclass(frozen=True, slots=True)
class RunRef:
    """Which run something is made for. `service_account` is empty for the namespace's default, `job_labels` are the user's."""

    uid: str
    name: str
    namespace: str
    service_account: str = ""
    workflow_name: str = ""
    job_labels: Mapping[str, str] = field(default_factory=dict)


def job(run: RunRef, effect: CreateJob) -> Object:
    """Return the Job of one attempt. Raises InvalidDefinition where the template is no pod template."""
    template = _pod_template(run, effect)
    spec: Object = {
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]},
        "template": template,
    }
    if effect.timeout_seconds is not None:
        spec["activeDeadlineSeconds"] = max(1, math.ceil(effect.timeout_seconds))
    metadata: Object = {
        "name": effect.name,
        "namespace": run.namespace,
        "labels": {**run.job_labels, **_labels(run)},
        "annotations": _annotations(run, effect),
    }
    if effect.owned:
        metadata["ownerReferences"] = [owner_reference(run)]
    else:
        metadata["annotations"][names.ANNOTATION_UNOWNED] = "true"
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


_HANDED_DOWN: Final = ("serviceAccountName", "jobLabels", "priority", "ttl")
"""What a child run has from its caller's spec."""


def child_run(run: RunRef, caller: Mapping[str, Any], effect: CreateRun, callers: Sequence[str]) -> Object:
    """Return the child run of one attempt. `caller` is the run that it is made for, `callers` what the runs run that it is a child of."""
    annotations = {
        names.ANNOTATION_RUN_NAME: run.name,
        names.ANNOTATION_PATH: effect.path,
        names.ANNOTATION_ATTEMPT: str(effect.attempt),
        names.ANNOTATION_CALLERS: " > ".join(callers),
        names.ANNOTATION_ROOT: (caller["metadata"].get("annotations") or {}).get(names.ANNOTATION_ROOT, run.uid),
    }
    if effect.inputs.get("detached"):
        annotations[names.ANNOTATION_DETACHED] = "undo" if effect.inputs["detached"] == "undo" else "true"
    if started_by := (caller["metadata"].get("annotations") or {}).get(names.ANNOTATION_STARTED_BY):
        annotations[names.ANNOTATION_STARTED_BY] = started_by
    workflow = str(effect.inputs["workflow"]["name"])
    metadata: Object = {
        "name": effect.name,
        "namespace": run.namespace,
        "labels": {
            names.LABEL_MANAGED_BY: names.MANAGER,
            names.LABEL_PARENT: run.uid,
            names.LABEL_WORKFLOW: names.label_value(workflow),
        },
        "annotations": annotations,
    }
    if effect.owned:
        metadata["ownerReferences"] = [owner_reference(run)]
    given = caller.get("spec") or {}
    spec = {key: copy.deepcopy(given[key]) for key in _HANDED_DOWN if given.get(key) is not None}
    spec |= {"workflow": effect.inputs["workflow"], "parameters": effect.inputs["parameters"]}
    return {"apiVersion": names.API_VERSION, "kind": names.RUN, "metadata": metadata, "spec": spec}


def owner_reference(run: RunRef) -> Object:
    """Return the reference that makes an object the run's own: deleted with it, and before it in foreground deletion."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.RUN,
        "name": run.name,
        "uid": run.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _labels(run: RunRef) -> dict[str, str]:
    labels = {names.LABEL_MANAGED_BY: names.MANAGER, names.LABEL_RUN: run.uid}
    return labels | ({names.LABEL_WORKFLOW: names.label_value(run.workflow_name)} if run.workflow_name else {})


def _annotations(run: RunRef, effect: CreateJob) -> dict[str, str]:
    return {
        names.ANNOTATION_RUN_NAME: run.name,
        names.ANNOTATION_PATH: effect.path,
        names.ANNOTATION_ATTEMPT: str(effect.attempt),
    }


# -------------------------------------------------------------------------------------------------------------------- pod


def _pod_template(run: RunRef, effect: CreateJob) -> Object:
    template = copy.deepcopy(_object(effect.inputs.get("template"), "job.template"))
    metadata = _object(template.get("metadata"), "job.template.metadata")
    metadata["labels"] = {**_object(metadata.get("labels"), "job.template.metadata.labels"), **run.job_labels, **_labels(run)}
    metadata["annotations"] = {**_object(metadata.get("annotations"), "job.template.metadata.annotations"), **_annotations(run, effect)}
    spec = _object(template.get("spec"), "job.template.spec")
    return {**template, "metadata": metadata, "spec": _pod_spec(spec, run, effect)}


def _pod_spec(spec: Object, run: RunRef, effect: CreateJob) -> Object:
    containers = _containers(spec, "containers")
    own = next((container for container in containers if container.get("name") == names.CONTAINER), {})
    others = [container for container in containers if container is not own]
    pod = {"automountServiceAccountToken": False, "enableServiceLinks": False, **spec, "restartPolicy": "Never"}
    pod["securityContext"] = _pod_security(_object(spec.get("securityContext"), "job.template.spec.securityContext"))
    pod["containers"] = [_main_container(own, run, effect), *map(_restricted, others)]
    if "initContainers" in spec:
        pod["initContainers"] = [_restricted(container) for container in _containers(spec, "initContainers")]
    if mounts := effect.inputs.get("workspaces"):
        pod["volumes"] = _volumes(spec, mounts)
        if effect.inputs.get("claims"):
            pod["securityContext"] = _merged(_CLAIM_SECURITY, pod["securityContext"])
    if account := effect.inputs.get("serviceAccountName") or spec.get("serviceAccountName") or run.service_account:
        pod["serviceAccountName"] = account
    return pod


def _main_container(base: Object, run: RunRef, effect: CreateJob) -> Object:
    given = {key: effect.inputs[key] for key in ("command", "args", "workingDir", "resources", "imagePullPolicy") if effect.inputs.get(key)}
    return _restricted(base) | {
        "name": names.CONTAINER,
        "image": effect.inputs.get("image", ""),
        **given,
        "env": _variables(base, run, effect),
        **_sources(base, effect),
        **_mounts(base, effect),
        "terminationMessagePath": names.OUTPUT_FILE,
        "terminationMessagePolicy": "File",
    }


def _variables(base: Object, run: RunRef, effect: CreateJob) -> list[Object]:
    """Ours stand first, so that the others can refer to them as $(BACKSTAY_RUN); an action's replace a template's of the same name."""
    ours = {
        names.ENV_OUTPUT: names.OUTPUT_FILE,
        names.ENV_RUN: run.name,
        names.ENV_STEP: effect.path,
        names.ENV_ATTEMPT: str(effect.attempt),
        names.ENV_IDEMPOTENCY_KEY: names.idempotency_key(run.uid, effect.path),
        **_of_transaction(effect),
        **_of_compensation(effect),
    }
    theirs = {
        variable.get("name", ""): variable
        for variable in (
            *_objects(base.get("env"), "job.template.spec.containers[main].env"),
            *_objects(effect.inputs.get("env"), "job.env"),
        )
    }
    kept = [variable for name, variable in theirs.items() if not str(name).startswith(_OUR_VARIABLES)]
    return [{"name": name, "value": value} for name, value in ours.items()] + kept


def _of_compensation(effect: CreateJob) -> dict[str, str]:
    told = effect.inputs.get("compensates") or {}
    names_of = {"outcome": names.ENV_COMPENSATES_OUTCOME, "key": names.ENV_COMPENSATES_KEY}
    return {names_of[name]: value for name, value in told.items()}


def _of_transaction(effect: CreateJob) -> dict[str, str]:
    told = effect.inputs.get("transaction") or {}
    names_of = {"transaction": names.ENV_TRANSACTION, "prepared": names.ENV_PREPARED}
    return {names_of[name]: value for name, value in told.items()}


# ------------------------------------------------------------------------------------------------------------- workspaces


def claim(run: RunRef, wanted: Mapping[str, Any]) -> Object:
    """Return the PersistentVolumeClaim of a run for a workspace. It goes with the run, and does not hold up the run's deletion: what undoes the
    run may still need it."""
    owner = {**owner_reference(run), "controller": False, "blockOwnerDeletion": False}
    metadata = {
        "name": wanted["name"],
        "namespace": run.namespace,
        "labels": {names.LABEL_MANAGED_BY: names.MANAGER, names.LABEL_MADE_BY: run.uid},
        "annotations": {names.ANNOTATION_RUN_NAME: run.name, names.ANNOTATION_WORKSPACE: wanted["workspace"]},
        "ownerReferences": [owner],
    }
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": dict(wanted["spec"])}


def _volumes(spec: Object, mounts: Sequence[Mapping[str, Any]]) -> list[Object]:
    ours = {f"{VOLUME_PREFIX}{mount['name']}": mount["volume"] for mount in mounts}
    given = [volume for volume in _objects(spec.get("volumes"), "job.template.spec.volumes") if volume.get("name") not in ours]
    return [*given, *({"name": name, **volume} for name, volume in ours.items())]


def _mounts(base: Object, effect: CreateJob) -> Object:
    """Return the mounts of the container: those of the template, and the workspaces, which win where both are at the same path."""
    ours = [
        {"name": f"{VOLUME_PREFIX}{mount['name']}", **{key: mount[key] for key in ("mountPath", "subPath", "readOnly") if key in mount}}
        for mount in effect.inputs.get("workspaces") or ()
    ]
    taken = {mount["mountPath"] for mount in ours}
    given = _objects(base.get("volumeMounts"), "job.template.spec.containers[main].volumeMounts")
    return {"volumeMounts": [*(mount for mount in given if mount.get("mountPath") not in taken), *ours]} if ours else {}


def _sources(base: Object, effect: CreateJob) -> Object:
    given = _objects(base.get("envFrom"), "job.template.spec.containers[main].envFrom")
    ours = _objects(effect.inputs.get("envFrom"), "job.envFrom")
    return {"envFrom": [*given, *ours]} if ours else {}


# --------------------------------------------------------------------------------------------------------------- security


def _pod_security(given: Object) -> Object:
    ours = dict(_POD_SECURITY)
    if given.get("runAsUser") == 0:
        del ours["runAsNonRoot"]  # who asks for root by number has said so; both together could never start
    return _merged(ours, given)


def _restricted(container: Object) -> Object:
    """Return a container with our restrictions where it states none of its own."""
    given = _object(container.get("securityContext"), f"securityContext of container {container.get('name')!r}")
    ours = dict(_CONTAINER_SECURITY)
    added = _object(given.get("capabilities"), f"capabilities of container {container.get('name')!r}").get("add") or ()
    if given.get("privileged") or any(str(capability).removeprefix("CAP_") == "SYS_ADMIN" for capability in added):
        del ours["allowPrivilegeEscalation"]  # the API server refuses these together with `false`
    return container | {"securityContext": _merged(ours, given)}


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Object:
    """Merge objects to any depth; lists and plain values of `over` replace those of `base`."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


# ------------------------------------------------------------------------------------------------------------------ shape


def _object(value: Any, path: str) -> Object:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise errors.InvalidDefinition([errors.Problem(path, f"is {type(value).__name__}; write an object, as in a pod template")])
    return dict(value)


def _objects(value: Any, path: str) -> list[Object]:
    if value is None:
        return []
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise errors.InvalidDefinition([errors.Problem(path, f"is {type(value).__name__}; write a list, as in a pod template")])
    return [_object(item, f"{path}[{index}]") for index, item in enumerate(value)]


def _containers(spec: Object, key: str) -> list[Object]:
    return _objects(spec.get(key), f"job.template.spec.{key}")
