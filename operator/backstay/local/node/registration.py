"""The Node object: registered, kept Ready, renewed by a Lease (https://kubernetes.io/docs/concepts/architecture/nodes/)."""

import asyncio
import logging
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from backstay import __version__, errors
from backstay.local.node.api import TRANSIENT, Api, Obj
from backstay.local.node.references import POD_IP, machine_size
from backstay.local.node.state import timestamp

log = logging.getLogger(__name__)

LEASE_SECONDS: Final = 40
RENEW_SECONDS: Final = 10.0
STATUS_EVERY: Final = 6
"""Renewals of the lease between two writes of the status."""
NOT_READY: Final = frozenset({"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"})
LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "AMD64": "amd64"}


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What the node tells about itself. `capacity` adds to or replaces what was found on the machine, as quantities."""

    name: str
    port: int
    max_pods: int = 110
    capacity: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def manifest(self) -> Obj:
        """Return the Node as it is created."""
        os_name, arch = platform.system().lower(), _ARCHITECTURES.get(platform.machine(), platform.machine())
        labels = {
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": os_name,
            "kubernetes.io/arch": arch,
            "backstay.dev/node": "local",
            **self.labels,
        }
        return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name, "labels": labels}, "status": self.status(ready=True)}

    def status(self, *, ready: bool) -> Obj:
        """Return the whole status at this moment."""
        size = machine_size()
        found = {
            "cpu": str(size["cpu"]),
            "memory": f"{int(size['memory']) // 1024}Ki",
            "pods": str(self.max_pods),
            "ephemeral-storage": "100Gi",
        }
        capacity = found | dict(self.capacity)
        return {
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": [{"type": "InternalIP", "address": POD_IP}, {"type": "Hostname", "address": self.name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
            "nodeInfo": self._node_info(),
            "conditions": self._conditions(ready),
        }

    def _conditions(self, ready: bool) -> list[Obj]:
        now = timestamp(datetime.now(UTC))
        fine = {"status": "False", "lastHeartbeatTime": now}
        why = ("KubeletReady", "runs pods as local processes") if ready else ("KubeletNotReady", "node is shutting down")
        return [
            {"type": "MemoryPressure", "reason": "KubeletHasSufficientMemory", "message": "not measured", **fine},
            {"type": "DiskPressure", "reason": "KubeletHasNoDiskPressure", "message": "not measured", **fine},
            {"type": "PIDPressure", "reason": "KubeletHasSufficientPID", "message": "not measured", **fine},
            {"type": "Ready", "status": str(ready), "lastHeartbeatTime": now, "reason": why[0], "message": why[1]},
        ]

    def _node_info(self) -> Obj:
        system = os.uname()
        return {
            "machineID": "",
            "systemUUID": "",
            "bootID": "",
            "kernelVersion": system.release,
            "osImage": platform.platform(terse=True),
            "containerRuntimeVersion": f"backstay-processes://{__version__}",
            "kubeletVersion": f"v{__version__}-backstay",
            "kubeProxyVersion": "",
            "operatingSystem": platform.system().lower(),
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        }


class Registration:
    """Keeps one Node registered and alive."""

    def __init__(self, api: Api, info: NodeInfo) -> None:
        self._api, self._info = api, info
        self._path = f"/api/v1/nodes/{info.name}"
        self._transitions: dict[str, tuple[str, str]] = {}
        self._leaving = False

    async def register(self) -> None:
        """Create the node or take it over, and make it Ready; tries until the server answers.

        Raises:
            ApiError: the server refuses for good (401, 403, 422).
        """
        pause = 0.1
        while True:
            try:
                await self._create()
                await self._write_status()
                await self._remove_taints()
                await self._renew_lease()
                return
            except (*TRANSIENT, errors.Conflict, errors.NotFound) as fault:
                log.info("cannot register node %s yet: %s", self._info.name, fault)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)

    async def keep_alive(self) -> None:
        """Renew the lease and, now and then, the status; for ever. After a beat that failed the node may have been given up: it tells at once."""
        beats = 0
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            beats += 1
            try:
                await self._renew_lease()
                if beats >= STATUS_EVERY:
                    await self._write_status()
                    await self._remove_taints()
                    beats = 0
            except errors.NotFound:
                await self.register()
            except errors.ApiError as fault:
                beats = STATUS_EVERY
                log.warning("heartbeat of node %s: %s", self._info.name, fault)

    async def leave(self) -> None:
        """Tell that the node goes: nothing new is placed on it. The Node object stays for its return."""
        self._leaving = True
        try:
            await self._write_status()
        except errors.ApiError as fault:
            log.info("node %s could not say good-bye: %s", self._info.name, fault)

    async def _create(self) -> None:
        try:
            await self._api.create("/api/v1/nodes", self._info.manifest())
        except errors.AlreadyExists:
            await self._api.patch(self._path, {"metadata": {"labels": self._info.manifest()["metadata"]["labels"]}})

    async def _write_status(self) -> None:
        status = self._info.status(ready=not self._leaving)
        for condition in status["conditions"]:
            known = self._transitions.get(condition["type"])
            if known is None or known[0] != condition["status"]:
                known = self._transitions[condition["type"]] = (condition["status"], condition["lastHeartbeatTime"])
            condition["lastTransitionTime"] = known[1]
        await self._api.patch(f"{self._path}/status", {"status": status})

    async def _remove_taints(self) -> None:
        """Take back that the node is not ready: the API server taints new nodes, and not every cluster has a controller that ends it."""
        node = await self._api.get(self._path)
        taints = node["spec"].get("taints") or [] if node.get("spec") else []
        kept = [taint for taint in taints if taint["key"] not in NOT_READY]
        if len(kept) < len(taints):
            await self._api.patch(self._path, {"spec": {"taints": kept or None}})

    async def _renew_lease(self) -> None:
        renewed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": self._info.name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": renewed}
        try:
            await self._api.patch(f"{LEASES}/{self._info.name}", {"spec": spec})
        except errors.NotFound:
            await self._create_lease(spec)

    async def _create_lease(self, spec: Obj) -> None:
        metadata = {"name": self._info.name, "namespace": "kube-node-lease"}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        try:
            await self._api.create(LEASES, lease)
        except errors.NotFound:
            await self._api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-node-lease"}})
            await self._api.create(LEASES, lease)
