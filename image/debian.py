"""Debian packages, fetched with apt-get and unpacked without being installed: nothing of theirs is run."""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

RELEASE = "12"
OS_RELEASE = Path("/etc/os-release")
LIMIT_SECONDS = 300
"""For one call of apt-get."""

_MERGED = ("bin", "lib", "lib64", "sbin")
"""Debian 12 has these folders below /usr, and links to them in /."""


class PackagesMissing(RuntimeError):
    """Debian's packages cannot be had; the message says why and what to do."""


class WrongMachine(PackagesMissing):
    """This machine's packages are not those that images are made of."""


def check_machine() -> None:
    """Raise WrongMachine unless this is Debian 12: of another's packages another image would come."""
    told = OS_RELEASE.read_text() if OS_RELEASE.exists() else ""
    found = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    if (found.get("ID"), found.get("VERSION_ID", "").strip('"')) != ("debian", RELEASE):
        name = found.get("PRETTY_NAME", sys.platform).strip('"')
        raise WrongMachine(f"images are made of the packages of Debian {RELEASE}, and this is {name}; build them with `docker build .`")


def architecture() -> str:
    """Return what Debian calls this machine's architecture, which is also Go's word for amd64 and arm64; raises PackagesMissing."""
    return _run(["dpkg", "--print-architecture"]).strip()


def fetch(packages: Sequence[str], folder: Path, say: Callable[[str], None]) -> list[Path]:
    """Download `packages` into the new `folder`, checked by apt-get as if they were installed, and return their files in that order.

    Where this machine's package lists are missing or too old, newer ones are read into a folder of their own, so that this needs no rights
    and changes nothing. Raises PackagesMissing.
    """
    check_machine()
    folder.mkdir(parents=True)
    say(f"fetching {len(packages)} packages of Debian: {' '.join(packages)}")
    # As root, apt-get would fetch as its own user, who has no rights in this folder.
    command = ["apt-get", "-o", "APT::Sandbox::User=root", "--quiet=2"]
    try:
        _run([*command, "download", *packages], folder)
    except PackagesMissing:
        say("  these package lists do not have them: reading newer ones")
        with tempfile.TemporaryDirectory() as state:
            Path(state, "lists", "partial").mkdir(parents=True)
            Path(state, "cache", "archives", "partial").mkdir(parents=True)
            command += ["-o", f"Dir::State::lists={state}/lists", "-o", f"Dir::Cache={state}/cache"]
            _run([*command, "update"], folder)
            _run([*command, "download", *packages], folder)
    return [_file_of(package, folder) for package in packages]


def _file_of(package: str, folder: Path) -> Path:
    found = list(folder.glob(f"{package}_*.deb"))
    if len(found) != 1:
        raise PackagesMissing(f"apt-get downloaded {len(found)} files for {package} into {folder}; one was expected")
    return found[0]


def unpack(package: Path, root: Path, wanted: Callable[[str], bool]) -> None:
    """Unpack the files of a .deb whose path (as in usr/bin/env) is `wanted` below `root`, with the merged /usr of Debian 12.

    What the package says about itself goes to var/lib/dpkg/status.d, where scanners for known weaknesses look for it.
    """
    with tarfile.open(fileobj=BytesIO(_run_bytes(["dpkg-deb", "--fsys-tarfile", str(package)]))) as files:
        for member in files:
            path = member.name.removeprefix("./").rstrip("/")
            if path and not member.isdir() and wanted(path):
                _write(files, member, root, _merged(path))
    control = _run(["dpkg-deb", "--field", str(package)])
    status = root / "var/lib/dpkg/status.d" / package.name.split("_")[0]
    status.parent.mkdir(parents=True, exist_ok=True)
    status.write_text(control)


def merge_usr(root: Path) -> None:
    """Make the links of the merged /usr in `root`: /bin is /usr/bin, and so on, where there is something."""
    for name in _MERGED:
        if (root / "usr" / name).is_dir():
            (root / name).symlink_to(f"usr/{name}")


def _merged(path: str) -> str:
    return f"usr/{path}" if path.split("/")[0] in _MERGED else path


def _write(files: tarfile.TarFile, member: tarfile.TarInfo, root: Path, path: str) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        shutil.copy2(root / _merged(member.linkname.removeprefix("./")), target)
    elif content := files.extractfile(member):
        target.write_bytes(content.read())
        target.chmod(member.mode & 0o755)  # no setuid, and nobody writes but the owner
    else:
        raise PackagesMissing(f"{path} is no file and no link; a package with devices or pipes is not for an image")


def _run(command: Sequence[str], folder: Path | None = None) -> str:
    return _run_bytes(command, folder).decode()


def _run_bytes(command: Sequence[str], folder: Path | None = None) -> bytes:
    """Return what a command of Debian's prints; raises PackagesMissing where there is none, or it fails, or takes too long."""
    began = time.monotonic()
    try:
        result = subprocess.run(
            command, cwd=folder, env=os.environ | {"LC_ALL": "C"}, capture_output=True, timeout=LIMIT_SECONDS, check=False
        )
    except FileNotFoundError:
        raise PackagesMissing(
            f"there is no {command[0]} on the PATH: install Debian's apt and dpkg, or build with `docker build .`"
        ) from None
    except subprocess.TimeoutExpired:
        raise PackagesMissing(f"{' '.join(command)} did not end within {LIMIT_SECONDS} s; {_WHAT_TO_DO}") from None
    if result.returncode != 0:
        told = (result.stderr + result.stdout).decode(errors="replace").strip()[-1000:]
        spent = time.monotonic() - began
        raise PackagesMissing(f"{' '.join(command)} ended with code {result.returncode} after {spent:.0f} s: {told}\n{_WHAT_TO_DO}")
    return result.stdout


_WHAT_TO_DO = (
    "The packages come from the archives of Debian 12 that this machine's apt is set up for: make them reachable "
    "(`apt-get update` must work), or build the image elsewhere with `docker build .`"
)
