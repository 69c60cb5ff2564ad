"""The images that tests run in containers, made without a registry and kept in the user's cache as files for `ctr images import`.

    python -m tests.cluster.images [operator] [shop] [busybox]      make them if they are not there, and print their paths and sizes

A file's name has a hash of all that goes into it and stands in this checkout. Python with Debian's libraries and the dependencies are kept
apart, so that after a change of our code an image takes seconds. Debian's packages are those of the day they were fetched: `--fresh` makes
everything anew.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from image import archive, base, bytecode, config, debian, rootfs, wheels
from tests.image.dockerfile import stages
from tests.support.cache import CacheBusy, cache_folder, made_once

OPERATOR_TAG = "docker.io/library/backstay:dev"
SHOP_TAGS = tuple(f"docker.io/shop/{name}:1" for name in ("stock", "pay", "mail", "pack", "carrier"))
BUSYBOX_TAG = "docker.io/library/busybox:1.36"
PAUSE_TAG = "backstay.local/pause:1"
SHOP = "examples/order"

_LIMIT_SECONDS = 900
_TRIES = 3
_KEPT = 3
_PERHAPS_READ_SECONDS = 1200
"""Somebody who asked for an image so lately may be reading it still."""
_BASE = ("image/base.py", "image/bytecode.py", "image/config.py", "image/debian.py")
_DEPENDENCIES = (*_BASE, "image/elf.py", "image/wheels.py", "requirements.lock")
_TOOLS = ("image/wheels.py", "requirements-dev.lock")
_PACKING = ("image/archive.py", "image/rootfs.py", "tests/cluster/images.py", "tests/image/dockerfile.py")

Say = Callable[[str], None]


class SourcesRestless(RuntimeError):
    """Files were changed faster than an image could be made of them."""


class _SourcesChanged(Exception):
    """What was made is not what its name says."""


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def operator_image(say: Say = _tell) -> Path:
    """Return the file with backstay:dev, the operator's image of this checkout as the Dockerfile makes it."""

    def make(target: Path, root: Path) -> None:
        _copy(dependencies_root(say), root)
        wheels.install_backstay(root, _root("tools", _TOOLS, lambda folder: wheels.install_build_tools(folder, say)), say)
        rootfs.finish(root)
        _pack(target, [archive.Image([OPERATOR_TAG], root, config.operator())])

    return _image("operator", (*config.INPUTS, *_PACKING), make)


def shop_image(say: Say = _tell) -> Path:
    """Return the file with the five images of examples/order, which are one: what its Dockerfile says, on the Python of the operator's image."""
    stage = stages(config.SOURCE / SHOP / "Dockerfile")[-1]

    def make(target: Path, root: Path) -> None:
        _copy(python_root(say), root)
        for copy in stage.copies:
            folder = root / copy.target.strip("/")
            folder.mkdir(parents=True, exist_ok=True)
            for source in copy.sources:
                shutil.copy(config.SOURCE / SHOP / source, folder)
        rootfs.finish(root)
        settings = dataclasses.replace(stage.config, environment={**config.PYTHON, **stage.config.environment})
        _pack(target, [archive.Image(SHOP_TAGS, root, settings)])

    programs = [f"{SHOP}/{source}" for copy in stage.copies for source in copy.sources]
    return _image("shop", (*_BASE, *_PACKING, f"{SHOP}/Dockerfile", *programs), make)


def busybox_image(say: Say = _tell) -> Path:
    """Return the file with busybox:1.36 (every applet, as root, as the one that is published) and the pause image of pod sandboxes."""

    def make(target: Path, root: Path) -> None:
        (package,) = debian.fetch(["busybox-static"], target.with_name("packages"), say)
        debian.unpack(package, root, lambda path: path == "bin/busybox" or path.endswith("/copyright"))
        debian.merge_usr(root)
        _link_applets(root / "usr/bin/busybox")
        for folder in ("dev", "etc", "proc", "root", "sys", "tmp", "var"):
            (root / folder).mkdir(exist_ok=True)
        (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/tmp:/bin/false\n")
        (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
        rootfs.finish(root)
        path = {"PATH": "/usr/bin:/bin"}
        pause = archive.Config(user="65535:65535", environment=path, entrypoint=["/bin/sleep", "infinity"])
        busybox = archive.Config(environment=path, command=["sh"])
        _pack(target, [archive.Image([BUSYBOX_TAG], root, busybox), archive.Image([PAUSE_TAG], root, pause)])

    return _image("busybox", (*_PACKING, "image/debian.py"), make)


def python_root(say: Say = _tell) -> Path:
    """Return the folder with the part of the images that is not ours. Read only: it is the cache's."""
    return _root("python", _BASE, lambda root: base.make(root, say))


def dependencies_root(say: Say = _tell) -> Path:
    """Return the folder with the operator's image without Backstay. Read only: it is the cache's."""

    def make(root: Path) -> None:
        _copy(python_root(say), root)
        wheels.install_dependencies(root, say)

    return _root("dependencies", _DEPENDENCIES, make)


# --------------------------------------------------------------------------------------------------------------- the cache


def _root(name: str, inputs: Sequence[str], make: Callable[[Path], None]) -> Path:
    target = cache_folder("images", f"{name}-{_digest(inputs)}")
    return _used(made_once(target, make, limit_seconds=_LIMIT_SECONDS))


def _image(name: str, inputs: Sequence[str], make: Callable[[Path, Path], None]) -> Path:
    """Return the image's file after `make(file, root)`, with a new folder `root` of its own, has written it if it was not there."""
    for _ in range(_TRIES):
        digest = _digest(inputs)

        def make_of_these(unfinished: Path, digest: str = digest) -> None:
            make(unfinished, unfinished.with_name("root"))
            if _digest(inputs) != digest:
                raise _SourcesChanged

        with contextlib.suppress(_SourcesChanged):
            return _used(made_once(cache_folder("images", f"{name}-{digest}.tar"), make_of_these, limit_seconds=_LIMIT_SECONDS))
    raise SourcesRestless(f"what the image {name} is made of changed while it was being made, {_TRIES} times; try again when it is at rest")


def _used(target: Path) -> Path:
    """Note that `target` is in use, and forget older ones of its kind: each change of our code makes another image of 180 MB."""
    os.utime(target)
    kind = target.name.partition("-")[0]
    newest_first = sorted(target.parent.glob(f"{kind}-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for other in newest_first[_KEPT:]:
        if time.time() - other.stat().st_mtime > _PERHAPS_READ_SECONDS:
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    return target


def _digest(inputs: Sequence[str]) -> str:
    told = hashlib.sha256(debian.architecture().encode())
    for file in sorted({file for name in inputs for file in _files(config.SOURCE / name)}):
        told.update(f"\0{file.relative_to(config.SOURCE)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return told.hexdigest()[:16]


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for inner in path.rglob("*"):
        if inner.is_file() and "__pycache__" not in inner.parts:
            yield inner


# --------------------------------------------------------------------------------------------------------------- the parts


def _copy(root: Path, target: Path) -> None:
    shutil.copytree(root, target, symlinks=True)


def _link_applets(busybox: Path) -> None:
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, timeout=30, check=True).stdout.split()
    for applet in applets:
        if applet != busybox.name:
            busybox.with_name(applet).symlink_to(busybox.name)


def _pack(target: Path, images: Sequence[archive.Image]) -> None:
    archive.write(target, images, architecture=debian.architecture(), epoch=config.EPOCH)


MAKERS = {"operator": operator_image, "shop": shop_image, "busybox": busybox_image}


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the images that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.images", description="Make the images for tests in containers.")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"{', '.join(MAKERS)}, or all (the default)", default=["all"])
    parser.add_argument("--fresh", action="store_true", help="forget what is in the cache, so that Debian's newest packages are fetched")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.images) - {*MAKERS, "all"}:
        parser.error(f"there is no image {', '.join(sorted(unknown))}; there are {', '.join(MAKERS)} and all")
    if chosen.fresh:
        shutil.rmtree(cache_folder("images"), ignore_errors=True)
    try:
        for name in MAKERS if "all" in chosen.images else chosen.images:
            path = MAKERS[name]()
            print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    except (debian.PackagesMissing, wheels.CannotInstall, bytecode.CannotRun, rootfs.TooLarge, SourcesRestless, CacheBusy) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
