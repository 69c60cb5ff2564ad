"""What a node is made of and comes from Debian: containerd, runc, network plugins, and the tools that set up networks."""

import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = {
    "containerd": "/usr/bin/containerd",
    "runc": "/usr/sbin/runc",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "iproute2": "/usr/sbin/ip",
    "iptables": "/usr/sbin/iptables",
    "nftables": "/usr/sbin/nft",
    "util-linux": "/usr/bin/unshare",
}
"""Debian's package, and the file that shows that it is installed."""

_LIMIT_SECONDS = 600


class PackagesMissing(RuntimeError):
    """Programs that nodes are made of are missing; the message says which, and what to do."""


def missing() -> list[str]:
    """Return the packages that are not installed."""
    return [name for name, file in PACKAGES.items() if not Path(file).exists()]


def install_packages() -> None:
    """Install what is missing with apt-get, as root; raises PackagesMissing where that cannot be done."""
    wanted = missing()
    if os.geteuid() != 0:
        raise PackagesMissing("nodes with real containers need root, for namespaces, mounts and control groups; run this as root")
    if not wanted:
        return
    if shutil.which("apt-get") is None:
        raise PackagesMissing(
            f"nodes with real containers need {', '.join(wanted)}, as Debian 12 has them; install them, there is no apt-get here"
        )
    for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", *wanted]):
        _apt(command, wanted)
    if left := missing():
        raise PackagesMissing(f"apt-get installed {', '.join(left)}, and {', '.join(PACKAGES[name] for name in left)} is not there")


def _apt(command: list[str], wanted: list[str]) -> None:
    # A container runtime that the package starts as a service is none of our business: nodes start their own.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_SECONDS, env=environment, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip()[-1000:]
        raise PackagesMissing(f"`{' '.join(command)}` ended with code {done.returncode}, and {', '.join(wanted)} are needed: {words}")
