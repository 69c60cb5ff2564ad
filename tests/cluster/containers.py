"""A real cluster with real containers on one machine: control plane, nodes, pods, services. No Docker.

with ContainerCluster.start(folder, nodes=2) as cluster:
    cluster.load(busybox_image())
    subprocess.run(["kubectl", "--kubeconfig", cluster.kubeconfig, "get", "nodes"])
"""

import json
import secrets
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster import cgroups
from tests.cluster.build import build
from tests.cluster.components import Site
from tests.cluster.control_plane import ControlPlane, User
from tests.cluster.images import busybox_image
from tests.cluster.network import HUB, MAX_NODES, Hub
from tests.cluster.node import Node, NodeError, import_image, tails
from tests.cluster.packages import install_packages
from tests.cluster.processes import end_others, runs
from tests.support.api import Api
from tests.support.cluster import condition

_READY_LIMIT_SECONDS = 90
_POLL_SECONDS = 0.1
_STATE = "cluster.json"


class ContainerCluster:
    """A running cluster. Its `nodes` can be switched off; `hub` is the middle of its network, where the control plane is."""

    def __init__(self, hub: Hub) -> None:
        """Begin with the network: use `start`."""
        self.hub = hub
        self.nodes: list[Node] = []
        self._control_plane: ControlPlane | None = None

    @classmethod
    def start(cls, folder: Path, *, nodes: int = 2, api_arguments: Sequence[str] = (), bound: bool = True) -> Self:
        """Start a fresh cluster in `folder` and return when its nodes are ready.

        A `bound` one ends with the calling process. Raises what ControlPlane.start raises, PackagesMissing, NetworkError and NodeError.
        """
        assert 0 < nodes <= MAX_NODES, f"{nodes} nodes are asked for; 1 to {MAX_NODES} have room"
        install_packages()
        binary, pause = build(), busybox_image()
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        cgroups.sweep()
        cluster = cls(Hub.opened(folder, bound=bound))
        try:
            cluster._bring_up(folder, nodes, api_arguments, binary, bound=bound)
            cluster.load(pause)
            cluster.wait_until_ready()
        except BaseException:
            cluster.stop()
            raise
        return cluster

    def _bring_up(self, folder: Path, nodes: int, api_arguments: Sequence[str], binary: Path, *, bound: bool) -> None:
        numbers = range(1, nodes + 1)
        kubelets = [User(f"system:node:node-{number}", secrets.token_urlsafe(32), "system:nodes") for number in numbers]
        proxy = User("system:kube-proxy", secrets.token_urlsafe(32), "system:node-proxiers")
        site = Site(enter=self.hub.namespace.enter, address=self.hub.address, for_nodes=HUB)
        place = folder / "control-plane"
        self._control_plane = ControlPlane.start(place, api_arguments=api_arguments, bound=bound, site=site, users=[*kubelets, proxy])
        for number, kubelet in zip(numbers, kubelets, strict=True):
            texts = {"kubelet": self.control_plane.kubeconfig_for(kubelet), "proxy": self.control_plane.kubeconfig_for(proxy)}
            self.nodes.append(Node(self.hub, number, folder / f"node-{number}", binary, texts, bound=bound))
            self.nodes[-1].power_on()

    @property
    def control_plane(self) -> ControlPlane:
        """The control plane, which runs."""
        assert self._control_plane is not None, "the cluster is not up"
        return self._control_plane

    @property
    def kubeconfig(self) -> Path:
        """Speaks as an administrator from this machine."""
        return self.control_plane.kubeconfig

    def load(self, image: Path) -> None:
        """Import the images in a tar on all nodes at the same time, as they would be pulled from a registry."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(lambda node: node.load(image), self.nodes))

    def wait_until_ready(self) -> None:
        """Return when every node is Ready; raises NodeError."""
        api = Api(self.kubeconfig)
        try:
            deadline = time.monotonic() + _READY_LIMIT_SECONDS
            while waiting := [node for node in self.nodes if not _is_ready(api, node)]:
                if time.monotonic() > deadline:
                    raise NodeError(f"{waiting[0].name} is not ready after {_READY_LIMIT_SECONDS} s\n{tails(waiting[0].folder)}")
                time.sleep(_POLL_SECONDS)
        finally:
            api.close()

    @property
    def pids(self) -> list[int]:
        """The processes without which nothing of the cluster is left, in the order in which they were started."""
        return [self.hub.namespace.pid, *self.control_plane.pids.values(), *(pid for node in self.nodes for pid in node.pids)]

    def stop(self) -> None:
        """End everything and wait until it is gone; may be called again."""
        for node in self.nodes:
            node.close()
        self.nodes.clear()
        if self._control_plane is not None:
            self._control_plane.stop()
        self.hub.namespace.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def up(folder: Path, nodes: int) -> str:
    """Start a cluster that outlives this process, unless one runs in `folder`; return how to use it."""
    if runs_in(folder):
        started = "runs already"
    else:
        down(folder)
        cluster = ContainerCluster.start(folder, nodes=nodes, bound=False)
        nodes_now = [{"folder": str(node.folder), "pid": node.pid, "group": node.group} for node in cluster.nodes]
        state = {"pids": cluster.pids, "nodes": nodes_now}
        (folder / _STATE).write_text(json.dumps(state, indent=2))
        started = "is ready"
    return f"the cluster {started}\nexport KUBECONFIG={kubeconfig_in(folder)}"


def down(folder: Path) -> str:
    """End the cluster in `folder`, if there is one, and wait until its processes, mounts, links and control groups are gone."""
    if not (folder / _STATE).exists():
        return "no cluster is running"
    state = json.loads((folder / _STATE).read_text())
    end_others(reversed(state["pids"]), mark=str(folder.resolve()))
    for node in state["nodes"]:
        cgroups.remove(node["group"])
    shutil.rmtree(folder)
    return "the cluster is gone"


def runs_in(folder: Path) -> bool:
    """Tell whether a cluster that was brought up in `folder` is there with all its parts."""
    file = folder / _STATE
    return file.exists() and all(runs(pid, str(folder.resolve())) for pid in json.loads(file.read_text())["pids"])


def kubeconfig_in(folder: Path) -> Path:
    """Return the kubeconfig of the cluster in `folder`."""
    return folder.resolve() / "control-plane" / "kubeconfig"


def load_into(folder: Path, image: Path) -> None:
    """Import the images in a tar on the nodes of the cluster that runs in `folder`; raises NodeError."""
    for node in json.loads((folder / _STATE).read_text())["nodes"]:
        import_image(Path(node["folder"]), node["pid"], image)


def _is_ready(api: Api, node: Node) -> bool:
    found = api.get("nodes", None, node.name)
    return found is not None and condition(found, "Ready") == "True"
