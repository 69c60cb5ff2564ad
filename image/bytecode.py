"""Bytecode, made ahead: on a read-only file system nobody could write it at run time, and without it every start would compile anew."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

_LIMIT_SECONDS = 300


class CannotRun(RuntimeError):
    """The image's Python did not do what it was told; the message says what it did."""


def compile_all(root: Path, folder: str) -> None:
    """Compile everything below `folder` (as in usr/lib/python3.11) of the root file system `root` with its own Python.

    The bytecode is valid by decree (PEP 552, unchecked hash) and not by the date of its source, which a tool that copies files may change.
    """
    _compile(root, folder, [])


def compile_and_drop_sources(root: Path, folder: str) -> None:
    """Compile everything below `folder` without docstrings, put the bytecode where the sources are, and remove those."""
    _compile(root, folder, ["-b", "-o", "2"])
    for source in (root / folder).rglob("*.py"):
        source.unlink()


def _compile(root: Path, folder: str, options: Sequence[str]) -> None:
    where = ["-s", str(root), "-p", "/", str(root / folder)]
    run(root, ["-m", "compileall", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash", *options, *where])


def run(root: Path, arguments: Sequence[str]) -> str:
    """Run the Python of the root file system `root` on this machine and return what it prints; needs no rights. Raises CannotRun."""
    (loader,) = root.glob("usr/lib/*/ld-linux-*.so.*")
    libraries = os.pathsep.join(str(folder) for folder in (loader.parent, root / "usr/lib"))
    python = [str(loader), "--library-path", libraries, str(root / "usr/bin/python3.11")]
    # No bytecode of what it imports by itself: that would depend on the date of the source. No random hashes: the same bytes every time.
    environment = {"PYTHONHOME": str(root / "usr"), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
    try:
        result = subprocess.run(
            [*python, "-S", *arguments], env=environment, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise CannotRun(f"the Python of {root} did not end within {_LIMIT_SECONDS} s; it was told: {' '.join(arguments)}") from None
    if result.returncode != 0:
        told = (result.stdout + result.stderr).strip()[-2000:]
        raise CannotRun(f"the Python of {root} ended with code {result.returncode}; it was told: {' '.join(arguments)}; it said: {told}")
    return result.stdout
