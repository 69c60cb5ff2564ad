"""An image's file taken apart, and its programs run as a container would run them, without containers."""

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LIMIT_SECONDS = 60
_READ_ONLY = """
set -e
mount --bind "$1" "$1"
mount --bind /dev "$1/dev"
mount -t proc proc "$1/proc"
mount -t tmpfs -o mode=1777 tmp "$1/tmp"
mount -o remount,bind,ro "$1"
exec "$2" --userspec="$3" "$1" "${@:4}"
"""


@dataclass(frozen=True)
class Unpacked:
    """One image: its root file system in a folder, what it says about itself, and the entries of its layer."""

    root: Path
    tags: tuple[str, ...]
    settings: dict[str, Any]
    """`config` of the OCI image specification: User, Env, Entrypoint and so on."""
    entries: tuple[tarfile.TarInfo, ...]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a program in this image starts with."""
        return dict(variable.split("=", 1) for variable in self.settings["Env"])

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in the image as its user, with the root file system read-only and an empty /tmp; needs to be root."""
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", _READ_ONLY, "bash"]
        chroot, user = shutil.which("chroot") or "/usr/sbin/chroot", self.settings.get("User", "0:0")
        # bash finds mount by a path of its own: the image's PATH stands in the environment.
        environment = self.environment | {"PATH": f"{self.environment['PATH']}:{os.environ['PATH']}"}
        command = [*unshare, str(self.root), chroot, user, *command]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False)

    def start(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run what a container of the image runs when it is given these arguments."""
        return self.run([*self.settings.get("Entrypoint", ()), *arguments])


def can_run() -> bool:
    """Tell whether `run` works here."""
    return os.name == "posix" and os.geteuid() == 0 and shutil.which("unshare") is not None


def unpack(file: Path, folder: Path) -> list[Unpacked]:
    """Take the images in `file` apart into the new folder `folder`; images with one layer share its folder."""
    roots: dict[str, tuple[Path, tuple[tarfile.TarInfo, ...]]] = {}
    images = []
    with tarfile.open(file) as archive:
        for described in json.loads(_read(archive, "manifest.json")):
            (layer,) = described["Layers"]
            if layer not in roots:
                root = folder / layer.removesuffix(".tar")
                with tarfile.open(fileobj=archive.extractfile(layer)) as entries:
                    entries.extractall(root, filter="fully_trusted")
                    roots[layer] = root, tuple(entries.getmembers())
            root, members = roots[layer]
            images.append(Unpacked(root, tuple(described["RepoTags"]), json.loads(_read(archive, described["Config"]))["config"], members))
    return images


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    content = archive.extractfile(name)
    assert content is not None, f"{name} is no file"
    return content.read()
