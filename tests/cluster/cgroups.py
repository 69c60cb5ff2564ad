"""Control groups of a cluster's nodes: a branch of their own in every hierarchy, removed with everything that grew in it.

Both versions (cgroups(7)): with version 1 each controller has a hierarchy; with version 2 there is one, whose inner groups hold no processes.
"""

import contextlib
import os
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
BRANCH = "backstay"

_LIMIT_SECONDS = 20
_POLL_SECONDS = 0.05


class GroupsLeft(RuntimeError):
    """Control groups cannot be removed, as processes are still in them."""


def is_unified() -> bool:
    """Tell whether this machine has version 2 alone."""
    return (ROOT / "cgroup.controllers").exists()


def names() -> list[str]:
    """Return what the hierarchies of version 1 are mounted with (`memory`, `cpu,cpuacct`, `name=systemd`); none where there is only version 2."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return [name for _, name, _ in (line.split(":", 2) for line in lines) if name]


def folder_of(name: str) -> Path:
    """Return where the hierarchy of version 1 with this name is."""
    return ROOT / name.removeprefix("name=")


def hierarchies() -> list[Path]:
    """Return the top of each hierarchy of this machine with controllers; there is one for version 2."""
    return [ROOT] if is_unified() else [folder_of(name) for name in names() if folder_of(name).is_dir()]


def join(group: str) -> None:
    """Put this process into `group` (as in `<cluster>/<node>`) in every hierarchy, making it where it is not there."""
    for top in hierarchies():
        branch = top
        for part in (BRANCH, *group.split("/")):
            if is_unified():
                _delegate(branch)
            branch = branch / part
            branch.mkdir(exist_ok=True)
            _inherit_cpuset(branch)
        (branch / "cgroup.procs").write_text(str(os.getpid()))


def make_room() -> None:
    """Version 2: move this process out of the root of its cgroup namespace, which becomes an inner group with all controllers."""
    inside = ROOT / "init"
    inside.mkdir(exist_ok=True)
    (inside / "cgroup.procs").write_text("0")
    _delegate(ROOT)


def remove(group: str) -> None:
    """Remove `group` and all below it in every hierarchy, once its processes are gone; raises GroupsLeft."""
    deadline = time.monotonic() + _LIMIT_SECONDS
    for top in hierarchies():
        while left := _remove(top / BRANCH / group):
            if time.monotonic() > deadline:
                raise GroupsLeft(f"{left} is still in use {_LIMIT_SECONDS} s after its processes were killed; see its cgroup.procs")
            time.sleep(_POLL_SECONDS)
        for parent in (top / BRANCH / group).parents[:2]:  # the cluster's and ours: each stays while something else is in it
            with contextlib.suppress(OSError):
                parent.rmdir()


def sweep() -> None:
    """Remove what clusters left that were killed with their starter; groups with processes stay."""
    for top in hierarchies():
        for cluster in (top / BRANCH).glob("*"):
            _remove(cluster)
        _remove(top / BRANCH)


def _remove(group: Path) -> Path | None:
    """Remove a group and those in it, the deepest first; return one that is still in use, if any."""
    if not group.exists():
        return None
    for folder, _, _ in os.walk(group, topdown=False):
        try:
            Path(folder).rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return Path(folder)
    return None


def _delegate(group: Path) -> None:
    controllers = (group / "cgroup.controllers").read_text().split()
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))


def _inherit_cpuset(group: Path) -> None:
    """Version 1: a new group has no processors and no memory to run on."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = group / name
        if file.exists() and not file.read_text().strip():
            file.write_text((group.parent / name).read_text())
