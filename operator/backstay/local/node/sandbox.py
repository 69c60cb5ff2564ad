"""Where a container runs: a folder that stands for its root, in which its mounts, image and termination message are laid out.

A plain process sees this machine's files, so nothing can appear at `/config` for it. Instead everything lies at the same path below the
container's root folder, which is its working directory and `$BACKSTAY_ROOT`:

    $BACKSTAY_ROOT/config/app.yaml           what is mounted at /config; in a real container, without the variable, it is /config/app.yaml
    $BACKSTAY_ROOT/dev/termination-log       the termination message

So that most commands need not know this, a word of the command, an argument or a variable's value that is a mount path, the working directory
or the termination message path, or lies below one of them, is rewritten to the path here. `$BACKSTAY_OUTPUT` is right that way.
"""

import errno
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from backstay.local.node.api import Obj
from backstay.local.node.environment import argv_of, base_environment, expand, variables_of
from backstay.local.node.images import Image
from backstay.local.node.logs import tail_text
from backstay.local.node.process import Command
from backstay.local.node.references import ReferenceMissing, References

TERMINATION_PATH: Final = "/dev/termination-log"
TERMINATION_BYTES: Final = 4096
FALLBACK_BYTES: Final = 2048
FALLBACK_LINES: Final = 80
HOSTNAME_MAX: Final = 63


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The paths of one run of a container: `folder/NAME.N.root`, its output `NAME.N.log`, the record of its end `NAME.N.exit`."""

    container: Obj
    folder: Path
    restarts: int

    @property
    def root(self) -> Path:
        return self._path("root")

    @property
    def log(self) -> Path:
        return self._path("log")

    @property
    def exit_file(self) -> Path:
        return self._path("exit")

    @classmethod
    def newest(cls, container: Obj, folder: Path) -> Self | None:
        """Return the newest run of a container that was begun; None before the first."""
        runs = [int(path.name.split(".")[1]) for path in folder.glob(f"{container['name']}.*.log")]
        return cls(container, folder, max(runs)) if runs else None

    def _path(self, part: str) -> Path:
        return self.folder / f"{self.container['name']}.{self.restarts}.{part}"

    @property
    def _termination_file(self) -> Path:
        return self.root / (self.container.get("terminationMessagePath") or TERMINATION_PATH).lstrip("/")

    async def prepare(self, image: Image, volumes: dict[str, Path], references: References) -> Command:
        """Lay everything out and return what to execute.

        Raises:
            ReferenceMissing: a variable or mount refers to something that is not there.
        """
        working_dir = self.container.get("workingDir") or image.working_dir
        rewrite = self._rewrite(working_dir)
        variables = await variables_of(self.container, references, rewrite)
        cwd = self._make_root(working_dir)
        if image.path is not None:
            _link_entries(image.path, cwd)
        self._mount(volumes, variables)
        self._make_termination_file()
        spec, metadata = references.pod["spec"], references.pod["metadata"]
        hostname = (spec.get("hostname") or metadata["name"])[:HOSTNAME_MAX]
        return Command(
            argv=argv_of(self.container, image, variables, rewrite),
            env=base_environment(image, self.root, hostname) | variables,
            cwd=cwd,
            log=self.log,
            exit_file=self.exit_file,
        )

    def termination_message(self, exit_code: int) -> str:
        """Return what the container left: the end of its message file, or of its log if it failed and asked for that.

        The limits are the kubelet's: 4,096 bytes of the file, 80 lines or 2,048 bytes of the log.
        """
        try:
            message = _last_bytes(self._termination_file, TERMINATION_BYTES).decode(errors="replace")
        except FileNotFoundError:
            message = ""
        except OSError as fault:
            message = f"Error on reading termination log {self._termination_file}: {fault.strerror}"
        if not message and exit_code and self.container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            return tail_text(self.log, lines=FALLBACK_LINES, limit_bytes=FALLBACK_BYTES)
        return message

    def discard(self) -> None:
        """Remove the root folder; log and exit record stay."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _make_root(self, working_dir: str) -> Path:
        """Make a new root folder; returns the working directory in it."""
        try:
            self.root.mkdir(parents=True)
        except FileExistsError:  # from an attempt that found something missing
            shutil.rmtree(self.root)
            self.root.mkdir()
        (self.root / "tmp").mkdir()
        cwd = self.root / working_dir.lstrip("/")
        cwd.mkdir(parents=True, exist_ok=True)
        return cwd

    def _make_termination_file(self) -> None:
        try:
            self._termination_file.touch()
        except FileNotFoundError:
            self._termination_file.parent.mkdir(parents=True)
            self._termination_file.touch()

    def _rewrite(self, working_dir: str) -> Callable[[str], str]:
        own = [mount["mountPath"].rstrip("/") for mount in self.container.get("volumeMounts") or ()]
        own += [self.container.get("terminationMessagePath") or TERMINATION_PATH, working_dir.rstrip("/")]
        paths = tuple(path for path in own if path)
        below = tuple(f"{path}/" for path in paths)

        def rewrite(text: str) -> str:
            return f"{self.root}{text}" if text in paths or text.startswith(below) else text

        return rewrite

    def _mount(self, volumes: dict[str, Path], variables: dict[str, str]) -> None:
        for mount in sorted(self.container.get("volumeMounts") or (), key=lambda mount: len(mount["mountPath"])):
            if mount["name"] not in volumes:
                raise ReferenceMissing(f'mount "{mount["mountPath"]}": the pod has no volume "{mount["name"]}"')
            source = volumes[mount["name"]]
            inside = expand(mount["subPathExpr"], variables) if mount.get("subPathExpr") else mount.get("subPath", "")
            if inside:
                source = _inside(source, inside)
            self._link(mount["mountPath"], source)

    def _link(self, mount_path: str, source: Path) -> None:
        target = self.root / mount_path.strip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.parent.resolve().is_relative_to(self.root.resolve()):  # what lies in a volume is not ours to replace
            if target.is_symlink():
                target.unlink()
            elif target.is_dir():
                shutil.rmtree(target)
        try:
            target.symlink_to(source)
        except FileExistsError as fault:
            raise ReferenceMissing(f'mount "{mount_path}" would hide a part of the volume that it lies in; mount it elsewhere') from fault


def _last_bytes(path: Path, count: int) -> bytes:
    """Read the end of a file that a container wrote. It may be anything by now: a link or a pipe must not be followed or waited for."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        file.seek(max(0, found.st_size - count))
        return file.read(count)


def _inside(volume: Path, sub_path: str) -> Path:
    if ".." in Path(sub_path).parts or Path(sub_path).is_absolute():
        raise ReferenceMissing(f'subPath "{sub_path}" leaves its volume')
    source = volume / sub_path
    if not source.exists():
        source.mkdir(parents=True)
    return source


def _link_entries(image: Path, folder: Path) -> None:
    for entry in image.iterdir():
        (folder / entry.name).symlink_to(entry)
