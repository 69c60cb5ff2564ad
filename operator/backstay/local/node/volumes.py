"""Volumes as folders of this machine.

    emptyDir                                    a new folder, gone with the pod; medium and size limit do not matter
    configMap, secret, downwardAPI, projected   files, written once when the pod starts: later changes do not reach it
    hostPath                                    the path itself
    persistentVolumeClaim                       the folder of the claim (claims.py), once it is there; the same for all pods

A pod with any other kind waits, and its status says so.
"""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Final

from backstay.local.node.api import Obj
from backstay.local.node.claims import folder_of
from backstay.local.node.references import ReferenceMissing, References, field_of, resource_of

DEFAULT_MODE: Final = 0o644


class Volumes:
    """Makes the folders of one pod's volumes below `folder`; claims are kept below `claims`."""

    def __init__(self, references: References, folder: Path, claims: Path) -> None:
        self._references, self._folder, self._claims = references, folder, claims

    async def prepare(self) -> dict[str, Path]:
        """Return the folder, or for a hostPath perhaps file, of each volume by its name.

        Raises:
            ReferenceMissing: something that a volume shows is not there, yet; or the kind of volume is not known here.
        """
        return {str(volume["name"]): await self._prepare(volume) for volume in self._references.pod["spec"].get("volumes") or ()}

    async def _prepare(self, volume: Obj) -> Path:
        kind = next((key for key in volume if key != "name"), "emptyDir")
        source: Obj = volume.get(kind) or {}
        if kind == "hostPath":
            return _host_path(source)
        if kind == "persistentVolumeClaim":
            return self._claim(str(source["claimName"]))
        folder = self._folder / str(volume["name"])
        folder.mkdir(parents=True, exist_ok=True)
        if kind == "emptyDir":
            return folder
        sources = source.get("sources") or () if kind == "projected" else [{kind: source}]
        for part in sources:
            for name, (data, mode) in (await self._files(part, volume["name"])).items():
                _write(folder, name, data, mode if mode is not None else source.get("defaultMode") or DEFAULT_MODE)
        return folder

    def _claim(self, name: str) -> Path:
        folder = folder_of(self._claims, str(self._references.pod["metadata"]["namespace"]), name)
        if not folder.is_dir():
            raise ReferenceMissing(f'persistentvolumeclaim "{name}" not found')
        return folder

    async def _files(self, part: Obj, volume: str) -> dict[str, tuple[bytes, int | None]]:
        """Return the files of one source: content and mode by relative path."""
        kind, source = next(iter(part.items()))
        if kind in ("configMap", "secret"):
            return await self._entries(kind, source)
        if kind == "downwardAPI":
            return {item["path"]: (self._downward(item), item.get("mode")) for item in source.get("items") or ()}
        if kind == "serviceAccountToken":
            return {source["path"]: (await self._references.token(source), 0o600)}
        raise ReferenceMissing(
            f'volume "{volume}": this node has no volumes of the kind {kind}; it has emptyDir, configMap, secret, projected, hostPath'
        )

    async def _entries(self, kind: str, source: Obj) -> dict[str, tuple[bytes, int | None]]:
        optional = bool(source.get("optional"))
        name = source.get("secretName") or source.get("name") or ""
        data = await self._references.data(f"{kind.lower()}s", name, optional=optional) or {}
        items: list[dict[str, Any]] | None = source.get("items")
        if items is None:
            return {key: (value, None) for key, value in data.items()}
        missing = [item["key"] for item in items if item["key"] not in data]
        if missing and not optional:
            raise ReferenceMissing(f'{kind.lower()} "{name}": references non-existent config key: {missing[0]}')
        return {item["path"]: (data[item["key"]], item.get("mode")) for item in items if item["key"] in data}

    def _downward(self, item: Obj) -> bytes:
        if selector := item.get("fieldRef"):
            return field_of(self._references.pod, selector["fieldPath"]).encode()
        return resource_of(self._references.pod, {"name": ""}, item["resourceFieldRef"]).encode()


def _host_path(source: Obj) -> Path:
    path, kind = Path(source["path"]), source.get("type") or ""
    if kind == "DirectoryOrCreate":
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch(mode=0o644)
    checks: dict[str, Callable[[], bool]] = {"Directory": path.is_dir, "File": path.is_file, "Socket": path.is_socket}
    if kind in checks and not checks[kind]():
        raise ReferenceMissing(f'hostPath type check failed: {path} is not of type "{kind}"')
    return path


def _write(folder: Path, name: str, data: bytes, mode: int) -> None:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts:
        raise ReferenceMissing(f'"{name}" is no path inside the volume')
    target = folder / parts
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    target.chmod(mode)
