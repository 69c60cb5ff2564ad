"""What a pod refers to: ConfigMaps, Secrets, and fields of its own (the downward API)."""

import base64
import math
import os
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

import orjson

from backstay import errors
from backstay.local.apiserver.quantity import parse_quantity
from backstay.local.node.api import Api, Obj

POD_IP: Final = "127.0.0.1"
"""Every pod of this node shares the machine's network; nothing listens beyond loopback unless the pod's own command does."""


class ReferenceMissing(errors.BackstayError):
    """Something that the pod refers to is not there, yet: the container waits for it."""


class References:
    """Reads each ConfigMap and Secret that a pod names, once. Optional ones that are missing read as None."""

    def __init__(self, api: Api, pod: Obj) -> None:
        self._api, self._pod = api, pod
        self._read: dict[tuple[str, str], dict[str, bytes] | None] = {}

    @property
    def pod(self) -> Obj:
        return self._pod

    async def data(self, kind: str, name: str, *, optional: bool) -> dict[str, bytes] | None:
        """Return the entries of a `configmaps` or `secrets` object.

        Raises:
            ReferenceMissing: there is none, and it is not optional.
        """
        if (kind, name) not in self._read:
            self._read[kind, name] = await self._fetch(kind, name)
        found = self._read[kind, name]
        if found is None and not optional:
            raise ReferenceMissing(f'{kind.removesuffix("s")} "{name}" not found')
        return found

    async def key(self, kind: str, selector: Mapping[str, Any]) -> str | None:
        """Return one entry as text, for `configMapKeyRef` and `secretKeyRef`.

        Raises:
            ReferenceMissing: object or key is not there, and the reference is not optional.
        """
        optional = bool(selector.get("optional"))
        found = await self.data(kind, selector.get("name", ""), optional=optional)
        if found is not None and selector["key"] in found:
            return found[selector["key"]].decode(errors="replace")
        if optional:
            return None
        label = {"configmaps": "ConfigMap", "secrets": "Secret"}[kind]
        raise ReferenceMissing(
            f"couldn't find key {selector['key']} in {label} {self._pod['metadata']['namespace']}/{selector.get('name', '')}"
        )

    async def token(self, source: Mapping[str, Any]) -> bytes:
        """Ask for a token of the pod's service account, for a projected `serviceAccountToken`."""
        metadata, spec = self._pod["metadata"], self._pod["spec"]
        request: Obj = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [source["audience"]] if source.get("audience") else [],
                "expirationSeconds": source.get("expirationSeconds", 3600),
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]},
            },
        }
        account = spec.get("serviceAccountName") or "default"
        try:
            answer = await self._api.create(f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token", request)
        except errors.ApiError as fault:
            raise ReferenceMissing(f'failed to fetch token of service account "{account}": {fault.message}') from fault
        return str(answer["status"]["token"]).encode()

    async def _fetch(self, kind: str, name: str) -> dict[str, bytes] | None:
        try:
            found = await self._api.get(f"/api/v1/namespaces/{self._pod['metadata']['namespace']}/{kind}/{name}")
        except errors.NotFound:
            return None
        except errors.Forbidden as fault:
            raise ReferenceMissing(f'{kind.removesuffix("s")} "{name}" cannot be read: {fault.message}') from fault
        if kind == "secrets":
            return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
        binary = {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}
        return {key: value.encode() for key, value in (found.get("data") or {}).items()} | binary


def field_of(pod: Obj, path: str) -> str:
    """Return what a `fieldRef` names.

    Raises:
        ReferenceMissing: the downward API has no such field.
    """
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str((metadata.get(match[1]) or {}).get(match[2], ""))
    fields: dict[str, str] = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "metadata.labels": _lines(metadata.get("labels")),
        "metadata.annotations": _lines(metadata.get("annotations")),
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName") or "default",
        "status.hostIP": status.get("hostIP") or POD_IP,
        "status.hostIPs": status.get("hostIP") or POD_IP,
        "status.podIP": POD_IP,
        "status.podIPs": POD_IP,
    }
    if path not in fields:
        raise ReferenceMissing(f"unsupported fieldPath: {path}")
    return fields[path]


def _lines(entries: Mapping[str, str] | None) -> str:
    return "\n".join(f"{key}={orjson.dumps(value).decode()}" for key, value in sorted((entries or {}).items()))


def resource_of(pod: Obj, container: Obj, selector: Mapping[str, Any]) -> str:
    """Return what a `resourceFieldRef` names, in units of its divisor and rounded up; a limit that is not set is the machine's size, as the kubelet has it.

    Raises:
        ReferenceMissing: the resource is not one that the downward API knows, or names an unknown container.
    """
    name = selector.get("containerName") or container["name"]
    chosen = next((c for c in all_containers(pod) if c["name"] == name), None)
    side, _, resource = str(selector["resource"]).partition(".")
    if chosen is None or side not in ("limits", "requests") or not resource:
        raise ReferenceMissing(f'unsupported resourceFieldRef "{selector["resource"]}" of container "{name}"')
    resources = chosen.get("resources") or {}
    limit = (resources.get("limits") or {}).get(resource)
    if side == "limits":
        amount = parse_quantity(limit) if limit is not None else machine_size().get(resource, Fraction(0))
    else:
        amount = parse_quantity((resources.get("requests") or {}).get(resource, limit or 0))
    return str(math.ceil(amount / (parse_quantity(selector.get("divisor") or 1) or 1)))


def machine_size() -> dict[str, Fraction]:
    """Return the machine's cores and bytes of memory, under their resource names."""
    return {"cpu": Fraction(os.cpu_count() or 1), "memory": Fraction(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))}


def all_containers(pod: Obj) -> list[Obj]:
    """Return init containers, then containers."""
    return [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]
