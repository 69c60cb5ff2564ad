"""The part of the image that is not ours: Debian 12's Python and what it needs to run, and nothing else.

No shell, no package manager, no setuid: as in the images that are called distroless.
"""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from image import bytecode, debian
from image.config import NAME, USER

PYTHON_VERSION = "3.11"
PACKAGES = (
    *("base-files", "ca-certificates", "media-types", "netbase", "tzdata"),
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"),
    *("libc6", "libgcc-s1", "gcc-12-base", "libstdc++6", "libcrypt1", "libssl3", "zlib1g", "libexpat1"),
    *("libbz2-1.0", "libffi8", "liblzma5", "libsqlite3-0", "libuuid1"),
)
"""gcc-12-base is there for its licence, to which that of the libraries of GCC refers."""

_WANTED = re.compile(
    r"""
    usr/bin/python3\.11 | (usr/)?lib(64)?/.+
    | etc/(debian_version | mime\.types | protocols | services)
    | usr/share/doc/[^/]+(/copyright)? | usr/share/common-licenses/.+ | usr/share/ca-certificates/mozilla/.+
    | usr/share/zoneinfo/.+
    """,
    re.VERBOSE,
)
_UNWANTED = re.compile(
    r"""
    (usr/)?lib/(python3/.+ | systemd/.+ | valgrind/.+ | mime/.+ | binfmt\.d/.+)
    | (usr/)?lib/[^/]+/(gconv | audit | perl)/.+                          # iconv's tables, tracing of the linker
    | usr/share/zoneinfo/(right | posix)/.+                               # time zones with leap seconds, and all of them once more
    | usr/lib/python3\.11/(test | ensurepip | idlelib | lib2to3 | pydoc_data)/.+
    | usr/lib/python3\.11/(sitecustomize\.py | EXTERNALLY-MANAGED)
    | usr/lib/python3\.11/lib-dynload/(_test | _ctypes_test | _xx | xx).+
    | usr/lib/python3\.11/lib-dynload/(_curses | _dbm | nis | ossaudiodev | readline).+   # their libraries are left out
    """,
    re.VERBOSE,
)

_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
_FILES = {
    "etc/passwd": f"root:x:0:0:root:/:/nonexistent\n{NAME}:x:{USER}:{USER}:{NAME}:/tmp:/nonexistent\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/nonexistent\n",
    "etc/group": f"root:x:0:\n{NAME}:x:{USER}:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n",
}
_LINKS = {
    "usr/bin/python": "python3.11",
    "usr/bin/python3": "python3.11",
    "etc/os-release": "../usr/lib/os-release",
    "etc/localtime": "../usr/share/zoneinfo/Etc/UTC",
    # Where OpenSSL looks.
    "usr/lib/ssl/certs": "/etc/ssl/certs",
    "usr/lib/ssl/cert.pem": f"/{_CERTIFICATES}",
}
_FOLDERS = ("dev", "proc", "run", "sys", "tmp", "var")


def make(root: Path, say: Callable[[str], None]) -> None:
    """Make the new folder `root` the root file system of an image for programs in Python; raises debian.PackagesMissing."""
    with tempfile.TemporaryDirectory() as scratch:
        for package in debian.fetch(PACKAGES, Path(scratch, "packages"), say):
            debian.unpack(package, root, is_wanted)
    debian.merge_usr(root)
    for folder in _FOLDERS:
        (root / folder).mkdir(exist_ok=True)
    _bundle_certificates(root)
    for path, content in _FILES.items():
        (root / path).write_text(content)
    for path, target in _LINKS.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to(target)
    say("compiling Python's own library")
    bytecode.compile_all(root, "usr/lib/python3.11")


def is_wanted(path: str) -> bool:
    """Tell whether a file of a package, as in usr/bin/env, gets into the image."""
    return _WANTED.fullmatch(path) is not None and _UNWANTED.fullmatch(path) is None


def _bundle_certificates(root: Path) -> None:
    """Write all authorities into one file, as the package does when it is installed, and keep no second copy."""
    folder = root / "usr/share/ca-certificates"
    authorities = sorted(folder.glob("mozilla/*.crt"), key=lambda file: file.name)
    bundle = root / _CERTIFICATES
    bundle.parent.mkdir(parents=True)
    bundle.write_bytes(b"".join(file.read_bytes() for file in authorities))
    for file in authorities:
        file.unlink()
    (folder / "mozilla").rmdir()
    folder.rmdir()
