"""The scale subresource of custom resources: an autoscaling/v1 Scale, made from the fields that the definition names.

After apiextensions-apiserver's pkg/registry/customresource (etcd.go: ScaleREST; validator.go): a definition says where the wanted and the seen
number of replicas stand, and, if it likes, the selector of what is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from backstay.local.apiserver.creating import Written, check_name
from backstay.local.apiserver.gotext import go_text
from backstay.local.apiserver.patches import APPLY_PATCH, accepted_types, patched
from backstay.local.apiserver.resources import Resource
from backstay.local.apiserver.state import Cluster
from backstay.local.apiserver.status import StatusError, bad_request, conflict, internal, unsupported_media_type
from backstay.local.apiserver.store import Stored
from backstay.local.apiserver.targets import Target, WriteOptions
from backstay.local.apiserver.updating import replace_object

_SHOWN: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Scale of an object. Raises 500 while the object does not say how many replicas it wants."""
    paths = resource.scale or {}
    wanted = _at(obj, paths["specReplicasPath"])
    if wanted is None:
        raise internal(f'the spec replicas field "{paths["specReplicasPath"]}" does not exist')
    status: dict[str, Any] = {"replicas": _at(obj, paths["statusReplicasPath"]) or 0}
    if selector := _at(obj, paths.get("labelSelectorPath") or ""):
        status["selector"] = selector
    metadata = {name: obj["metadata"][name] for name in _SHOWN if name in obj["metadata"]}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": {"replicas": wanted}, "status": status}


def update_scale(cluster: Cluster, target: Target, scale: Mapping[str, Any], options: WriteOptions) -> Written:
    """Replace the Scale of an object: its wanted number of replicas is all that changes. Raises 400, 404, 409 and 422."""
    current = cluster.find(target.resource, target.namespace, target.name)
    return _write(cluster, target, current, scale, options)


def patch_scale(cluster: Cluster, target: Target, patch_type: str, body: bytes, options: WriteOptions) -> Written:
    """Patch the Scale of an object; server-side apply of a Scale is not there. Raises 415, and what `update_scale` raises."""
    if patch_type == APPLY_PATCH:
        raise unsupported_media_type([each for each in accepted_types(target.resource) if each != APPLY_PATCH])
    current = cluster.find(target.resource, target.namespace, target.name)
    scale = patched(target.resource, scale_of(target.resource, cluster.served(target.resource, current)), patch_type, body)
    return _write(cluster, target, current, scale, options)


def _write(cluster: Cluster, target: Target, current: Stored, scale: Mapping[str, Any], options: WriteOptions) -> Written:
    resource = target.resource
    check_name(target, scale)
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request(f"json: cannot unmarshal {go_text(replicas)} into Go struct field ScaleSpec.spec.replicas of type int32")
    if (version := scale["metadata"].get("resourceVersion")) and version != str(current.version):
        raise conflict(resource.group, resource.plural, target.name)
    obj = cluster.served(resource, current)
    _set(obj, (resource.scale or {})["specReplicasPath"], replicas)
    written = replace_object(cluster, replace(target, subresource=""), current, obj, options)
    return Written(scale_of(resource, written.stored.object if written.stored else written.obj), None, False, written.warnings)


def _at(obj: Mapping[str, Any], path: str) -> Any:
    value: Any = obj
    for name in path.lstrip(".").split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _set(obj: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.lstrip(".").split(".")
    for name in parents:
        obj = obj.setdefault(name, {})
    obj[last] = value


def requested(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a Scale from a request body. Raises 400 for something else."""
    if body.get("kind", "Scale") != "Scale" or not isinstance(body.get("metadata"), dict):
        raise StatusError(400, "BadRequest", "the object provided is unrecognized (must be of type Scale)")
    return body
