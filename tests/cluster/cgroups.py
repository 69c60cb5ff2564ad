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


def hierarchies() -> list[tuple[str, Path]]:
    """Return each hierarchy of this machine with controllers: what it is mounted with (`memory`, `cpu,cpuacct`), and where; one for version 2."""
    if is_unified():
        return [("", ROOT)]
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    names = [line.split(":", 2)[1] for line in lines]
    return [(name, ROOT / name.removeprefix("name=")) for name in names if name and (ROOT / name.removeprefix("name=")).is_dir()]


def join(group: str) -> None:
    """Put this process into `group` (as in `<cluster>/<node>`) in every hierarchy, making it where it is not there."""
    for _, top in hierarchies():
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
    for _, top in hierarchies():
        while left := _remove(top / BRANCH / group):
            if time.monotonic() > deadline:
                raise GroupsLeft(f"{left} is still in use {_LIMIT_SECONDS} s after its processes were killed; see its cgroup.procs")
            time.sleep(_POLL_SECONDS)
        for parent in (top / BRANCH / group).parents[:2]:  # the cluster's and ours: each stays while something else is in it
            with contextlib.suppress(OSError):
                parent.rmdir()


def sweep() -> None:
    """Remove what clusters left that were killed with their starter; groups with processes stay."""
    for _, top in hierarchies():
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
