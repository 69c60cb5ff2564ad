"""Subresources of pods that are deeds: binding, eviction, log."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import aiohttp

from backstay.local.apiserver.deleting import delete
from backstay.local.apiserver.meta import timestamp
from backstay.local.apiserver.state import PODS, Cluster
from backstay.local.apiserver.status import StatusError, bad_request, conflict, internal
from backstay.local.apiserver.store import Key, Stored
from backstay.local.apiserver.targets import DeleteOptions, Target

if TYPE_CHECKING:
    from multidict import MultiMapping

LOG_OPTIONS: Final = ("follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes")
_CREATED: Final = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
_CONNECT_SECONDS: Final = 5.0
_ERROR_BYTES: Final = 2048


def bind(cluster: Cluster, target: Target, binding: Mapping[str, Any], *, dry_run: bool) -> dict[str, Any]:
    """Put a pod on a node, as a scheduler asks (registry/core/pod/storage: BindingREST). Raises 400, 404 and 409."""
    pod = cluster.find(target.resource, target.namespace, target.name)
    node = binding.get("target") or {}
    if node.get("kind", "Node") not in ("", "Node") or not node.get("name"):
        raise bad_request("binding.target.kind must be Node and binding.target.name the name of a node")
    obj = pod.copy()
    metadata, spec = obj["metadata"], obj["spec"]
    if "deletionTimestamp" in metadata:
        raise conflict("", "pods/binding", target.name, f"pod {target.name} is being deleted, cannot be assigned to a host")
    if spec.get("nodeName"):
        raise conflict("", "pods/binding", target.name, f'pod {target.name} is already assigned to node "{spec["nodeName"]}"')
    spec["nodeName"] = node["name"]
    if annotations := (binding.get("metadata") or {}).get("annotations"):
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **annotations}
    status = obj.setdefault("status", {})
    others = [each for each in status.get("conditions") or () if each["type"] != "PodScheduled"]
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": timestamp(cluster.clock())}
    status["conditions"] = [*others, scheduled]
    if not dry_run:
        cluster.save(target.resource, obj)
    return dict(_CREATED)


def evict(cluster: Cluster, target: Target, options: DeleteOptions) -> dict[str, Any]:
    """Delete a pod on behalf of a drain; disruption budgets are stored here, not enforced."""
    delete(cluster, target.resource, cluster.find(target.resource, target.namespace, target.name), options)
    return dict(_CREATED)


# ── logs ────────────────────────────────────────────────────────────────────────────────────────


def log_url(cluster: Cluster, target: Target, query: MultiMapping[str]) -> str | None:
    """Return where a node serves a container's log; None while the pod has no node. Raises 400 for a container that is not there."""
    pod = cluster.find(target.resource, target.namespace, target.name)
    container = _container(pod, query.get("container", ""))
    node_name = pod.object["spec"].get("nodeName")
    if not node_name:
        return None
    options = {name: query.get(name, "") for name in LOG_OPTIONS if query.get(name, "")}
    path = f"/containerLogs/{target.namespace}/{target.name}/{container}"
    return f"https://{_node_address(cluster, node_name)}{path}" + (f"?{urlencode(options)}" if options else "")


def _container(pod: Stored, wanted: str) -> str:
    spec, name = pod.object["spec"], pod.key.name
    names = {part: [each["name"] for each in spec.get(part) or ()] for part in ("containers", "initContainers")}
    if wanted:
        if wanted not in (*names["containers"], *names["initContainers"]):
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(names["containers"]) == 1:
        return str(names["containers"][0])
    choice = " ".join(names["containers"])
    more = f" or one of the init containers: [{' '.join(names['initContainers'])}]" if names["initContainers"] else ""
    raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{choice}]{more}")


def _node_address(cluster: Cluster, name: str) -> str:
    node = cluster.store.get(Key("", "nodes", "", name))
    if node is None:
        raise internal(f'the node of the pod does not exist: nodes "{name}" not found')
    status = node.object.get("status") or {}
    addresses = {each.get("type"): each.get("address") for each in reversed(status.get("addresses") or ())}
    host = next((addresses[each] for each in ("InternalIP", "Hostname", "ExternalIP") if addresses.get(each)), None)
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
    if not host or not port:
        raise internal(f"node {name} tells no address or no kubelet port in its status, so its logs cannot be read")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class LogProxy:
    """Reads logs from nodes, showing them the cluster's client certificate. As in the real server, the node's own is not verified."""

    def __init__(self, client_cert: str, client_key: str) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._context.load_cert_chain(client_cert, client_key)
        self._session: aiohttp.ClientSession | None = None

    async def open(self, url: str) -> aiohttp.ClientResponse:
        """Return a node's answer, to be read as a stream. Raises StatusError for one that is no success."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(ssl=self._context))
        try:
            response = await self._session.get(url)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise StatusError(500, "InternalError", f"Get {url!r}: {error}") from error
        if 200 <= response.status <= 206:
            return response
        text = (await response.content.read(_ERROR_BYTES)).decode(errors="replace").strip()
        response.release()
        raise _node_error(response.status, text)

    async def close(self) -> None:
        """Close the connections to nodes."""
        if self._session is not None:
            await self._session.close()


def _node_error(status: int, text: str) -> StatusError:
    if status == 400:
        return bad_request(text)
    if status == 404:
        return StatusError(404, "NotFound", f"the server could not find the requested resource ({text})", {"kind": PODS[1]})
    return internal(text) if status == 500 else StatusError(status, "", text)
