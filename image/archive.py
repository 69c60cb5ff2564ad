"""A folder and a configuration as an image in a file, in the format of `docker save`: what docker, containerd and kind can load.

The same folder gives the same bytes on any machine: entries are sorted, owned by root, and dated with one moment.
"""

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO


@dataclass(frozen=True)
class Config:
    """What an image says about how it is run; the names are those of a Dockerfile."""

    user: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    folder: str = "/"
    ports: Sequence[int] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Image:
    """A root file system under its names."""

    tags: Sequence[str]
    """Whole names, as in docker.io/library/busybox:1.36."""
    root: Path
    config: Config


def write(target: Path, images: Sequence[Image], *, architecture: str, epoch: int) -> None:
    """Write `images` into the file `target`; folders that several of them share are in it once.

    `architecture` is Go's word (amd64, arm64), `epoch` the moment in seconds that every file is dated with.
    """
    entries: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch, tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        layers: dict[Path, str] = {}
        written: set[str] = set()
        for image in images:
            if image.root not in layers:
                layer = Path(scratch, f"{len(layers)}.tar")
                layers[image.root] = digest = _write_layer(layer, image.root, epoch)
                with layer.open("rb") as content:
                    _add(archive, f"{digest}.tar", content, layer.stat().st_size, epoch)
            digest = layers[image.root]
            described = json.dumps(_description(image.config, digest, architecture, epoch), sort_keys=True).encode()
            name = f"{hashlib.sha256(described).hexdigest()}.json"
            if name not in written:
                _add(archive, name, io.BytesIO(described), len(described), epoch)
                written.add(name)
            entries.append({"Config": name, "RepoTags": list(image.tags), "Layers": [f"{digest}.tar"]})
        manifest = json.dumps(entries).encode()
        _add(archive, "manifest.json", io.BytesIO(manifest), len(manifest), epoch)


def entries_of(root: Path) -> list[Path]:
    """Return everything below `root`, links included, in an order that is the same everywhere."""
    found = [Path(folder, name) for folder, folders, files in os.walk(root) for name in (*folders, *files)]
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def _description(config: Config, layer: str, architecture: str, epoch: int) -> dict[str, Any]:
    """Return the image's configuration, after the OCI image specification; what is empty is left out."""
    settings = {
        "User": config.user,
        "Env": [f"{name}={value}" for name, value in config.environment.items()],
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.command),
        "WorkingDir": config.folder,
        "ExposedPorts": {f"{port}/tcp": {} for port in config.ports},
        "Labels": dict(config.labels),
    }
    return {
        "architecture": architecture,
        "os": "linux",
        "created": datetime.fromtimestamp(epoch, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "config": {name: value for name, value in settings.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
    }


def _write_layer(target: Path, root: Path, epoch: int) -> str:
    """Write what is below `root` into the tar `target`; returns its SHA-256 in hexadecimal digits."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as layer:
        for path in entries_of(root):
            entry = layer.gettarinfo(path, path.relative_to(root).as_posix())
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = epoch
            if entry.islnk():  # a second name of a file: which of the two came first must not matter
                entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", path.stat().st_size
            if entry.isreg():
                with path.open("rb") as content:
                    layer.addfile(entry, content)
            else:
                layer.addfile(entry)
    with target.open("rb") as written:
        return hashlib.file_digest(written, "sha256").hexdigest()


def _add(archive: tarfile.TarFile, name: str, content: BinaryIO, size: int, epoch: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = size, epoch, 0o644
    archive.addfile(entry, content)
