"""Builds the control plane for tests with Go and keeps it in the user's cache: minutes the first time, nothing afterwards.

    python -m tests.cluster.build                               build it if it is not there, and print its path
    BACKSTAY_KUBERNETES=oldest python -m tests.cluster.build    the same for the oldest release that Backstay supports

Which release all of tests/ runs on is said in one way: `BACKSTAY_KUBERNETES` in the environment, `newest` (the default) or `oldest`. A
release is a Go module that pins every version, so the same checkout builds the same binary anywhere: gomodule/ and gomodule-oldest/. Both
compile the same main.go; only the newest has the components of a node besides (node.go). The cache is keyed by the version of Kubernetes
and by a hash of all that goes into the build, so both are kept side by side.
"""

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.cache import CacheBusy, cache_folder, made_once

RELEASE_VARIABLE = "BACKSTAY_KUBERNETES"
MODULES = {"newest": Path(__file__).parent / "gomodule", "oldest": Path(__file__).parent / "gomodule-oldest"}

_LIMIT_SECONDS = 1800
_SAY_EVERY_SECONDS = 15
_VERSION_PACKAGE = "k8s.io/component-base/version"


class BuildError(RuntimeError):
    """The control plane cannot be built; the message says why and what to do."""


class GoMissing(BuildError):
    """There is no Go to build with."""


def release() -> str:
    """Return which release is asked for: `newest` unless the environment says `oldest`; raises BuildError for any other word."""
    asked = os.environ.get(RELEASE_VARIABLE) or "newest"
    if asked not in MODULES:
        raise BuildError(
            f"{RELEASE_VARIABLE} is {asked!r}, which is no release of Kubernetes to test on; write one of: {', '.join(MODULES)}"
        )
    return asked


def kubernetes_version() -> str:
    """Return the version that the go.mod of the release asked for requires, as in `v1.37.2`; raises BuildError."""
    pinned = MODULES[release()] / "go.mod"
    found = re.search(r"^\s+k8s\.io/kubernetes (v\S+)$", pinned.read_text(), re.MULTILINE)
    if found is None:
        raise BuildError(f"{pinned} requires no k8s.io/kubernetes; it pins the control plane's version, put it back")
    return found.group(1)


def minor_version() -> int:
    """Return the minor version of the release asked for, 37 for `v1.37.2`: what tells one release's behaviour from another's."""
    return int(kubernetes_version().split(".")[1])


def binary_path() -> Path:
    """Return where the binary of this checkout is, or will be, in the cache; raises BuildError."""
    version = kubernetes_version()
    module = MODULES[release()]
    inputs = [path.read_bytes() for path in (module / "go.mod", module / "go.sum", *sorted(module.glob("*.go")))]
    told = " ".join([*_build_flags(version), sys.platform, platform.machine()]).encode()
    digest = hashlib.sha256(b"\0".join([*inputs, told])).hexdigest()
    return cache_folder("cluster", f"{version}-{digest[:12]}", "cluster")


def can_be_had() -> bool:
    """Tell whether the binary is there already or there is a Go to build it with."""
    return shutil.which("go") is not None or binary_path().exists()


def build(say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)) -> Path:
    """Return the binary's path, after building it if it is not there; `say` is told the progress line by line.

    Raises GoMissing without Go, BuildError when Go fails, and CacheBusy when another build goes on for longer than the limit.
    """

    def make(unfinished: Path) -> None:
        _build_with_go(unfinished, say)

    return made_once(binary_path(), make, limit_seconds=_LIMIT_SECONDS)


def _build_flags(version: str) -> list[str]:
    major, minor = version.removeprefix("v").split(".")[:2]
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    linked = " ".join(f"-X {_VERSION_PACKAGE}.{name}={value}" for name, value in stamps.items())
    return ["-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", f"-s -w {linked}"]


def _build_with_go(unfinished: Path, say: Callable[[str], None]) -> None:
    go = shutil.which("go")
    if go is None:
        raise GoMissing(
            "the control plane for tests is built with Go, and there is no go on the PATH; "
            "install Go 1.26 or newer (https://go.dev/doc/install), or run the tests that need no control plane: make test"
        )
    version = kubernetes_version()
    say(f"building Kubernetes {version} and etcd into one binary: about 5 minutes on two free cores the first time, kept afterwards")
    log = unfinished.with_name("build.log")
    with log.open("w") as output:
        process = subprocess.Popen(
            [go, "build", "-v", *_build_flags(version), "-o", str(unfinished), "."],
            cwd=MODULES[release()],
            env=os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = time.monotonic()
    try:
        _watch(process, log, started, say)
    finally:
        _end(process)
    if process.returncode != 0:
        raise BuildError(_failure(process.returncode, log))
    say(f"built in {time.monotonic() - started:.0f} s")


def _watch(process: subprocess.Popen[bytes], log: Path, started: float, say: Callable[[str], None]) -> None:
    while True:
        try:
            process.wait(timeout=_SAY_EVERY_SECONDS)
            return
        except subprocess.TimeoutExpired:
            spent = time.monotonic() - started
        if spent > _LIMIT_SECONDS:
            raise BuildError(f"go build did not end within {_LIMIT_SECONDS} s; try again with less load, Go goes on where it stopped")
        say(f"  {spent:.0f} s, {len(log.read_text().splitlines())} packages compiled or fetched")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of go and its compilers, if it was stopped half-way."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def _failure(code: int, log: Path) -> str:
    tail = "\n".join(log.read_text().splitlines()[-20:])
    return (
        f"go build ended with code {code}; its last lines:\n{tail}\n"
        f"The build needs Go 1.26 or newer and the Go modules named in tests/cluster/{MODULES[release()].name}/go.sum, from a module proxy or Go's own cache."
    )


if __name__ == "__main__":
    try:
        print(build())
    except (BuildError, CacheBusy) as error:
        sys.exit(f"error: {error}")
