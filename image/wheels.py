"""What the operator needs from Python's package index, installed by hash and made slim, and Backstay's own wheel."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from configparser import ConfigParser
from pathlib import Path

from image import bytecode, elf
from image.base import PYTHON_VERSION
from image.config import EPOCH, SOURCE

FOLDER = f"usr/local/lib/python{PYTHON_VERSION}/dist-packages"
"""Where Debian's Python looks for what Debian has not packaged."""

BUILD_TOOLS = ("hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers")
"""What builds the wheel; requirements-dev.lock pins them. None of them gets into the image."""

DROPPED = {
    "bin": "commands of the dependencies, which start with the path of the Python that installed them",
    "kubernetes/aio": "the whole client once more, for asyncio: 42 MB that nothing imports",
    "cel_expr_python/ext/ext_proto.*": "CEL on protocol buffers, which workflows do not have",
    "**/tests": "tests of the dependencies",
    "**/*.pyi": "types for people who write code",
    "**/*.pyx": "sources of what is compiled",
    "**/*.pxd": "sources of what is compiled",
    "**/*.pxi": "sources of what is compiled",
    "*.dist-info/RECORD": "checksums of how it was before",
    "*.dist-info/INSTALLER": "pip, which is not there",
    "*.dist-info/REQUESTED": "whether pip was told the name",
    "*.dist-info/sboms": "lists of what went into compiled code, next to the licences that stay",
}
"""What of the installed packages does not get into the image, as patterns below their folder, and what that is."""

SOURCELESS = ("kubernetes/client/api", "kubernetes/client/models")
"""Generated code, 32 MB of which two thirds are docstrings: bytecode without docstrings is all of it that is kept."""

LIMIT_SECONDS = 600


class CannotInstall(RuntimeError):
    """A Python package cannot be had or built; the message says why and what to do."""


def install_dependencies(root: Path, say: Callable[[str], None]) -> None:
    """Install what requirements.lock pins into the root file system `root`; raises CannotInstall."""
    target = root / FOLDER
    say("installing the dependencies by hash, from requirements.lock")
    _pip_install(target, ["--require-hashes", "-r", str(SOURCE / "requirements.lock")])
    for pattern in DROPPED:
        _drop(target, pattern)
    cut = sum(elf.strip(library) for library in sorted(target.rglob("*.so")))
    say(f"  cut {cut / 1e6:.0f} MB of debugging information off compiled code; compiling the rest")
    for folder in SOURCELESS:
        bytecode.compile_and_drop_sources(root, f"{FOLDER}/{folder}")
    bytecode.compile_all(root, FOLDER)


def install_build_tools(folder: Path, say: Callable[[str], None]) -> None:
    """Install what builds the wheel into the new `folder`; raises CannotInstall."""
    say("installing what builds the wheel by hash, from requirements-dev.lock")
    with tempfile.TemporaryDirectory() as scratch:
        requirements = Path(scratch, "tools.txt")
        requirements.write_text(pinned((SOURCE / "requirements-dev.lock").read_text(), BUILD_TOOLS))
        _pip_install(folder, ["--require-hashes", "-r", str(requirements)])


def install_backstay(root: Path, tools: Path, say: Callable[[str], None]) -> None:
    """Build the wheel of this checkout with `tools` alone, and install it with its commands into the root file system `root`.

    Raises CannotInstall.
    """
    say("building and installing Backstay's wheel")
    target = root / FOLDER
    environment = os.environ | {"PYTHONPATH": str(tools), "SOURCE_DATE_EPOCH": str(EPOCH)}
    with tempfile.TemporaryDirectory() as scratch:
        _run("hatchling", ["build", "--target", "wheel", "--directory", scratch], environment)
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as content:  # of Python alone, so that unpacking is installing
            content.extractall(target)
    (described,) = target.glob("backstay-*.dist-info")
    (described / "RECORD").unlink()
    _write_commands(described / "entry_points.txt", root / "usr/local/bin")
    bytecode.compile_all(root, f"{FOLDER}/backstay")


def pinned(lock: str, names: Sequence[str]) -> str:
    """Return the lines of a lock file with hashes that pin `names`; raises CannotInstall when one is missing."""
    pins = {found.group(1): found.group() for found in re.finditer(r"^(\S+?)==.*(\n[ \t].*)*", lock, re.MULTILINE)}
    if missing := [name for name in names if name not in pins]:
        raise CannotInstall(f"requirements-dev.lock pins no {', '.join(missing)}; renew it with `make lock`")
    return "\n".join(pins[name] for name in names) + "\n"


def _pip_install(target: Path, what: Sequence[str]) -> None:
    """Install for the Python of the image, whatever Python runs this, and only what is built already."""
    machine = os.uname().machine
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(36, 4, -1)]  # Debian 12 has glibc 2.36
    platforms += [f"{name}_{machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1")]
    tags = ["--python-version", PYTHON_VERSION, "--implementation", "cp", "--abi", "cp311", "--abi", "abi3", "--abi", "none"]
    tags += [word for platform in platforms for word in ("--platform", platform)]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-compile", "--only-binary", ":all:"]
    _run("pip", ["install", *quiet, *tags, "--target", str(target), *what], dict(os.environ))


def _drop(folder: Path, pattern: str) -> None:
    found = sorted(folder.glob(pattern))
    if not found:
        raise CannotInstall(f"DROPPED in image/wheels.py names {pattern}, and no package has that any more: remove it there")
    for path in found:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _write_commands(declared: Path, folder: Path) -> None:
    """Write the commands that an entry_points.txt declares, for the Python of the image."""
    entries = ConfigParser()
    entries.read(declared)
    folder.mkdir(parents=True, exist_ok=True)
    for name, place in entries["console_scripts"].items():
        module, function = place.split(":")
        command = folder / name
        command.write_text(f"#!/usr/bin/python{PYTHON_VERSION}\nimport sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n")
        command.chmod(0o755)


def _run(module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run a module with this Python in the checkout, whose folder `operator` must not get in the way of the standard library's module."""
    command = [sys.executable, "-P", "-m", module, *arguments]
    try:
        result = subprocess.run(command, cwd=SOURCE, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise CannotInstall(f"{module} did not end within {LIMIT_SECONDS} s; {_WHAT_TO_DO}") from None
    if result.returncode != 0:
        told = (result.stdout + result.stderr).strip()[-2000:]
        raise CannotInstall(f"{module} ended with code {result.returncode}: {told}\n{_WHAT_TO_DO}")


_WHAT_TO_DO = (
    "The image is made with pip, of packages that requirements.lock and requirements-dev.lock pin: both must be reachable for this Python "
    f"({sys.executable} -m pip download must work)"
)
