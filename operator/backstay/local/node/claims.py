"""PersistentVolumeClaims as folders of this machine: each gets one of its own, which goes with it.

    claim pending   on a control plane with volumes: a PersistentVolume that is this claim's (hostPath); its own controllers bind the two
                    on the embedded one, which has none: the claim itself is marked as bound
    claim gone      its folder, and its volume, are removed

It is what a storage class with a provisioner does in a cluster: for laptops and tests. Claims that name a volume are left alone.
"""

import asyncio
import logging
import shutil
from pathlib import Path
from typing import Final

from backstay import errors
from backstay.local.node.api import TRANSIENT, Api, Obj, Reflector

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0
FOLDER_MODE: Final = 0o777
"""Containers run as users of their own; nothing but this folder is shared."""
_VOLUMES: Final = "persistentvolumes"
_CLAIMS: Final = "/api/v1/persistentvolumeclaims"
_MANAGED: Final = {"app.kubernetes.io/managed-by": "backstay-local"}


def folder_of(claims: Path, namespace: str, name: str) -> Path:
    """Return where a claim's files are, below the folder of all claims."""
    return claims / namespace / name


class Claims:
    """Provides for the claims of a cluster below `folder`. `node` is the only one that sees the folder; None where all do."""

    def __init__(self, api: Api, folder: Path, node: str | None = None) -> None:
        self._api, self._folder, self._node = api, folder, node
        self._has_volumes = False
        self._reflector = Reflector(api, _CLAIMS)
        self._reflector.listen(self._on_claim)
        self._news: asyncio.Queue[tuple[str, Obj]] = asyncio.Queue()

    async def run(self) -> None:
        """Provide until cancelled."""
        self._has_volumes = await self._serves_volumes()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reflector.run())
            group.create_task(self._work())

    async def _serves_volumes(self) -> bool:
        while True:
            try:
                await self._api.get(f"/api/v1/{_VOLUMES}", limit="1")
            except errors.NotFound:
                return False
            except TRANSIENT:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return True

    def _on_claim(self, kind: str, claim: Obj) -> None:
        self._news.put_nowait((kind, claim))

    async def _work(self) -> None:
        """One after the other: a claim that is made anew under its old name must not lose its folder to the end of the first."""
        while True:
            kind, claim = await self._news.get()
            try:
                if kind == "DELETED":
                    await self._remove(claim)
                elif (claim.get("status") or {}).get("phase", "Pending") == "Pending" and not claim["spec"].get("volumeName"):
                    await self._provide(claim)
            except errors.ApiError as fault:
                log.warning("claim %s/%s cannot be provided for: %s", claim["metadata"]["namespace"], claim["metadata"]["name"], fault)

    async def _provide(self, claim: Obj) -> None:
        metadata = claim["metadata"]
        folder = folder_of(self._folder, metadata["namespace"], metadata["name"])
        await asyncio.to_thread(_make, folder)
        while self._reflector.cache.get(metadata["uid"]) is not None:
            try:
                if self._has_volumes:
                    await self._api.create(f"/api/v1/{_VOLUMES}", self._volume(claim, folder))
                else:
                    await self._api.patch(f"{_path(claim)}/status", {"status": _bound(claim)})
                return
            except (errors.AlreadyExists, errors.NotFound):
                return
            except TRANSIENT:
                await asyncio.sleep(RETRY_SECONDS)

    def _volume(self, claim: Obj, folder: Path) -> Obj:
        spec, metadata = claim["spec"], claim["metadata"]
        reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **{key: metadata[key] for key in ("namespace", "name", "uid")}}
        volume: Obj = {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(folder)},
            "claimRef": reference,
        }
        if spec.get("storageClassName"):
            volume["storageClassName"] = spec["storageClassName"]
        if self._node is not None:
            here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [self._node]}
            volume["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": _volume_name(claim), "labels": _MANAGED},
            "spec": volume,
        }

    async def _remove(self, claim: Obj) -> None:
        metadata = claim["metadata"]
        await asyncio.to_thread(shutil.rmtree, folder_of(self._folder, metadata["namespace"], metadata["name"]), ignore_errors=True)
        while self._has_volumes:
            try:
                await self._api.delete(f"/api/v1/{_VOLUMES}/{_volume_name(claim)}")
                return
            except errors.NotFound:
                return
            except TRANSIENT:
                await asyncio.sleep(RETRY_SECONDS)


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(FOLDER_MODE)


def _path(claim: Obj) -> str:
    return f"/api/v1/namespaces/{claim['metadata']['namespace']}/persistentvolumeclaims/{claim['metadata']['name']}"


def _volume_name(claim: Obj) -> str:
    return f"pvc-{claim['metadata']['uid']}"


def _bound(claim: Obj) -> Obj:
    spec = claim["spec"]
    return {"phase": "Bound", "accessModes": spec.get("accessModes") or [], "capacity": (spec.get("resources") or {}).get("requests") or {}}
