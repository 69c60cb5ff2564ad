"""Processes whose clock is off, by libfaketime: installed, or fetched from Debian once and kept in the user's cache."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.cache import CacheBusy, cache_folder, made_once

_NAME = "libfaketime.so.1"
_LIMIT_SECONDS = 120


class FaketimeMissing(RuntimeError):
    """libfaketime is not installed and cannot be fetched; the message says why."""


def environment_off_by(offset: str) -> dict[str, str]:
    """Return the environment that sets a process's clock off, as `+5m` does: the time of day, not the clocks that measure how long something takes.

    Raises FaketimeMissing.
    """
    return {
        "LD_PRELOAD": str(library()),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
        "NO_FAKE_STAT": "1",
    }


def library() -> Path:
    """Return the library. Raises FaketimeMissing."""
    installed = sorted(Path("/usr/lib").glob(f"*/faketime/{_NAME}"))
    if installed:
        return installed[0]
    try:
        return made_once(cache_folder("faketime", _NAME), _fetch, limit_seconds=_LIMIT_SECONDS)
    except (subprocess.SubprocessError, OSError, CacheBusy) as error:
        raise FaketimeMissing(
            f"libfaketime is not there and cannot be fetched ({error}); install it: apt-get install libfaketime"
        ) from error


def _fetch(unfinished: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise OSError("this is no Debian: there is no apt-get")
    with tempfile.TemporaryDirectory() as folder:
        download = ["apt-get", "download", "libfaketime"]
        if subprocess.run(download, cwd=folder, check=False, capture_output=True, timeout=_LIMIT_SECONDS).returncode:
            for command in (["apt-get", "update"], download):  # where nobody has asked Debian yet what it has; that takes root
                subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=_LIMIT_SECONDS)
        (package,) = Path(folder).glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", str(package), folder], check=True, capture_output=True, timeout=_LIMIT_SECONDS)
        (found,) = Path(folder).glob(f"usr/lib/*/faketime/{_NAME}")
        shutil.copy(found, unfinished)
