"""What stands for container images on a node that has none: a map from image names to commands and folders of this machine.

A YAML or JSON file; the first pattern that matches an image is used, an exact name before any pattern:

    "shop/*":                          # shell wildcards, against the name as it stands in the pod
      path: ./shop                     # its entries appear in the container's working directory, as links; relative to this file
      command: [python3, stock.py]     # the image's ENTRYPOINT
      args: [serve]                    # its CMD, used where the container gives neither command nor args
      env: {MODE: local}               # its ENV
      workingDir: /app                 # its WORKDIR

An image that is not in the map does not matter as long as the container names its command.
"""

import fnmatch
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from backstay.errors import BackstayError

log = logging.getLogger(__name__)

_NAME: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?/)?"  # registry
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"  # path
    r"(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*:[0-9a-fA-F]{32,})?"  # tag, digest
)
"""The grammar of image references, https://github.com/distribution/reference."""

_FIELDS: Final = {"path", "command", "args", "env", "workingDir"}


class ImageError(BackstayError):
    """The image cannot be used: `reason` is the kubelet's (ErrImagePull, InvalidImageName, ...), the message says what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


@dataclass(frozen=True, slots=True)
class Image:
    """What an image would bring along."""

    path: Path | None = None
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    working_dir: str = ""


class ImageMap:
    """Answers what an image stands for. The file is read again when it changes, so that a waiting pod can be helped."""

    def __init__(self, file: Path | None = None, *, missing: Sequence[str] = ()) -> None:
        """Use the map in `file`; an image that matches a pattern of `missing` behaves as if no registry had it.

        Raises:
            ValueError: the file is no image map; the message says where.
        """
        self._file, self._missing = file, tuple(missing)
        self._read_at: int | None = None
        self._entries: dict[str, Image] = {}
        self._refresh(strict=True)

    def resolve(self, name: str, *, has_command: bool) -> Image:
        """Return what the image brings.

        Raises:
            ImageError: the name is malformed, the image counts as missing, or nobody knows what the container should execute.
        """
        if not _NAME.fullmatch(name):
            raise ImageError(
                "InvalidImageName",
                f'Failed to apply default image tag "{name}": couldn\'t parse image name "{name}": invalid reference format',
            )
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in self._missing):
            raise ImageError("ErrImagePull", f'failed to pull image "{name}": not found (this node treats it as missing)')
        self._refresh()
        image = self._entries.get(name) or next(
            (entry for pattern, entry in self._entries.items() if fnmatch.fnmatchcase(name, pattern)), None
        )
        if has_command or (image and (image.command or image.args)):
            return image or Image()
        where = f"add it to {self._file}" if self._file else "name it in an image map (--image-map)"
        raise ImageError(
            "ErrImagePull",
            f'failed to pull image "{name}": this node runs commands of its machine, not images, and knows no command for this one;'
            f" give the container a command, or {where}",
        )

    def _refresh(self, *, strict: bool = False) -> None:
        if self._file is None:
            return
        try:
            changed_at = self._file.stat().st_mtime_ns
            if changed_at == self._read_at:
                return
            self._entries, self._read_at = _parse(self._file), changed_at
        except (OSError, ValueError) as fault:
            if strict:
                raise ValueError(str(fault)) from fault
            log.warning("the image map stays as it was: %s", fault)


def _parse(file: Path) -> dict[str, Image]:
    try:
        document = yaml.safe_load(file.read_text()) or {}
    except yaml.YAMLError as fault:
        raise ValueError(f"{file}: neither YAML nor JSON: {fault}") from fault
    if not isinstance(document, dict):
        raise ValueError(f"{file}: expected a mapping from image patterns to entries, found {type(document).__name__}")
    return {str(pattern): _entry(file, str(pattern), entry or {}) for pattern, entry in document.items()}


def _entry(file: Path, pattern: str, entry: Any) -> Image:
    if not isinstance(entry, dict) or (unknown := set(entry) - _FIELDS):
        found = f"unknown field {sorted(unknown)[0]!r}" if isinstance(entry, dict) else f"found {type(entry).__name__}"
        raise ValueError(f'{file}: "{pattern}": {found}; an entry has the fields {", ".join(sorted(_FIELDS))}')
    for key in ("command", "args"):
        if not isinstance(entry.get(key, []), list):
            raise ValueError(f'{file}: "{pattern}".{key}: expected a list of words, found {entry[key]!r}')
    path = (file.parent / str(entry["path"])).resolve() if entry.get("path") else None
    if path is not None and not path.is_dir():
        raise ValueError(f'{file}: "{pattern}".path: {path} is no folder')
    return Image(
        path=path,
        command=tuple(map(str, entry.get("command", ()))),
        args=tuple(map(str, entry.get("args", ()))),
        env={str(key): str(value) for key, value in (entry.get("env") or {}).items()},
        working_dir=str(entry.get("workingDir", "")),
    )
