"""What runs on a node: `python -m tests.cluster.node_main SETTINGS.json`, started by `tests.cluster.node` as root in the node's network.

It puts itself into control groups and namespaces of its own (mounts, processes, control groups), and as process 1 of the node it makes the
mounts, starts containerd, kube-proxy and the kubelet, and reaps what ends. When it is killed, the kernel ends every process of the node and
takes its mounts away: there is nothing to clean up but the folder and the control groups.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.cluster import cgroups

CONTAINERD_SOCKET = Path("/run/containerd/containerd.sock")
HOME = Path("/run/node")
"""Where the node sees its folder."""
UP = "up"
"""A file in the folder: containers can be run."""

_LIMIT_SECONDS = 30
_POLL_SECONDS = 0.05

Settings = dict[str, Any]


def main() -> None:
    """Enter the namespaces, then be the node."""
    file = Path(sys.argv[1])
    settings = json.loads(file.read_text())
    if "--inside" in sys.argv:
        be_the_node(settings)
        return
    cgroups.join(settings["group"])
    own = ["--mount", "--pid", "--cgroup", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    os.execvp("unshare", ["unshare", *own, sys.executable, "-m", "tests.cluster.node_main", str(file), "--inside"])


def be_the_node(settings: Settings) -> None:
    """Mount, start, and reap for as long as the node lives."""
    make_mounts(Path(settings["folder"]))
    # Its logs are below its home: the folder under its own name may be hidden by a mount by now.
    containerd = _start("containerd", settings["containerd"])
    _wait_for(CONTAINERD_SOCKET, containerd)
    (HOME / UP).touch()
    others = [(name, _start(name, settings[name])) for name in ("proxy", "kubelet")]
    _reap({program.pid: name for name, program in [("containerd", containerd), *others]}, settings)


def _reap(names: dict[int, str], settings: Settings) -> None:
    """Wait for whatever ends; start the node's own programs again, as an init system does: a kubelet gives up on a containerd that still recovers."""
    while True:
        pid, status = os.wait()
        if name := names.pop(pid, None):
            print(f"{name} ended with status {status} and is started again", flush=True)
            time.sleep(_POLL_SECONDS)
            names[_start(name, settings[name]).pid] = name


def make_mounts(folder: Path) -> None:
    """Give the node its own /run, /var/log, control groups and system files; its folder is at HOME."""
    folder_fd = os.open(folder, os.O_PATH)
    _mount("-t", "tmpfs", "-o", "mode=755", "node", "/run")
    HOME.mkdir()
    _mount("--bind", f"/proc/self/fd/{folder_fd}", str(HOME), pass_fds=[folder_fd])
    os.close(folder_fd)
    _mount("-t", "tmpfs", "node", "/var/log")
    _mount("-t", "sysfs", "-o", "ro", "sysfs", "/sys")
    _mount_cgroups()
    # No name resolves: what was not loaded cannot be pulled, and that shows at once.
    (HOME / "resolv.conf").write_text("")
    if Path("/etc/resolv.conf").exists():
        _mount("--bind", str(HOME / "resolv.conf"), "/etc/resolv.conf")


def _mount_cgroups() -> None:
    if not Path("/sys/fs/cgroup").exists():
        raise SystemExit("this kernel has no control groups")
    hierarchies = cgroups.names()
    if not hierarchies:
        _mount("-t", "cgroup2", "cgroup", "/sys/fs/cgroup")
        cgroups.make_room()
        return
    _mount("-t", "tmpfs", "-o", "mode=755", "cgroup", "/sys/fs/cgroup")
    for name in hierarchies:
        folder = cgroups.folder_of(name)
        folder.mkdir()
        _mount("-t", "cgroup", "-o", name if not name.startswith("name=") else f"none,{name}", "cgroup", str(folder))
        for alone in name.split(",") if "," in name else ():
            (cgroups.ROOT / alone).symlink_to(name)


def _mount(*arguments: str, pass_fds: list[int] | None = None) -> None:
    subprocess.run(["mount", *arguments], check=True, timeout=_LIMIT_SECONDS, pass_fds=pass_fds or ())


def _start(name: str, command: list[str]) -> subprocess.Popen[bytes]:
    with (HOME / f"{name}.log").open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


def _wait_for(socket: Path, program: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _LIMIT_SECONDS
    while not socket.exists():
        if program.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"containerd did not come up; {HOME / 'containerd.log'} says why")
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    main()
