"""The root file system of the operator's image, made in a folder: what the Dockerfile copies, and what tests run.

    python -m image.rootfs FOLDER                          make it in FOLDER, which must not exist
    python -m image.rootfs FOLDER --archive backstay.tar   and write it with its configuration as `docker load` reads it

Debian's packages are those of this machine's apt today; everything from Python's index is pinned by hash. Of the same packages come the
same bytes. Needs Debian 12 or the Dockerfile, Python 3.11 with pip, and no rights.
"""

import argparse
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from image import archive, base, bytecode, config, debian, wheels

LARGEST = 250_000_000
"""Bytes of all files: no image is made that has more."""

PARTS = ("dependencies", "backstay")
"""In the order in which they are made: Python and all that is not ours, which seldom changes, and Backstay on top of it."""

Say = Callable[[str], None]


class TooLarge(RuntimeError):
    """The root file system has grown above its limit."""


def make(root: Path, say: Say, parts: Sequence[str] = PARTS, epoch: int = config.EPOCH) -> None:
    """Make the new folder `root` the operator's root file system, or one of its parts.

    Raises debian.PackagesMissing, wheels.CannotInstall, bytecode.CannotRun and TooLarge; each message says what to do.
    """
    if "dependencies" in parts:
        base.make(root, say)
        wheels.install_dependencies(root, say)
    if "backstay" in parts:
        with tempfile.TemporaryDirectory() as scratch:
            tools = Path(scratch, "tools")
            wheels.install_build_tools(tools, say)
            wheels.install_backstay(root, tools, say)
    finish(root, epoch)


def finish(root: Path, epoch: int = config.EPOCH) -> None:
    """Give everything below `root` one date and plain rights: nobody but the owner writes, but for /tmp. Raises TooLarge."""
    for path in reversed([root, *archive.entries_of(root)]):  # a folder after what is in it
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(0o755 if path.is_dir() or mode & stat.S_IXUSR else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    (root / "tmp").chmod(0o1777)
    if size(root) > LARGEST:
        raise TooLarge(f"{root} has {size(root) / 1e6:.0f} MB, which is more than {LARGEST / 1e6:.0f}; see DROPPED in image/wheels.py")


def size(folder: Path) -> int:
    """Return the bytes of all files below `folder`; what has two names counts twice, as it does in a layer."""
    return sum(path.stat().st_size for path in archive.entries_of(folder) if path.is_file() and not path.is_symlink())


def main() -> None:
    """Make what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m image.rootfs", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to make it")
    parser.add_argument("--part", choices=PARTS, help="make only this part; backstay goes into the FOLDER with the dependencies")
    parser.add_argument("--archive", type=Path, metavar="FILE", help="write the image to this file, too")
    parser.add_argument("--tag", default="docker.io/library/backstay:dev", help="the image's name in the archive (default: %(default)s)")
    chosen = parser.parse_args()
    if chosen.part != "backstay" and chosen.folder.exists():
        parser.error(f"{chosen.folder} is there already; name a new folder")
    if chosen.part == "backstay" and not (chosen.folder / wheels.FOLDER).is_dir():
        parser.error(f"{chosen.folder} has no dependencies; make them first, with --part dependencies")
    began = time.monotonic()
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", config.EPOCH))

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", file=sys.stderr, flush=True)  # noqa: T201  this is a program

    try:
        make(chosen.folder.absolute(), say, [chosen.part] if chosen.part else PARTS, epoch)
        if chosen.archive:
            image = archive.Image([chosen.tag], chosen.folder, config.operator())
            archive.write(chosen.archive, [image], architecture=debian.architecture(), epoch=epoch)
    except (debian.PackagesMissing, wheels.CannotInstall, bytecode.CannotRun, TooLarge) as error:
        sys.exit(f"error: {error}")
    say(f"done: {size(chosen.folder) / 1e6:.1f} MB in {len(archive.entries_of(chosen.folder))} entries")


if __name__ == "__main__":
    main()
