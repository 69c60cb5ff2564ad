"""A real node without Docker: containerd, kube-proxy and a kubelet in namespaces of their own. It can lose its power and get it back."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml

from tests.cluster import cgroups
from tests.cluster.images import PAUSE_TAG
from tests.cluster.network import PODS, Hub, Namespace, node_address, pod_range
from tests.cluster.node_main import CONTAINERD_SOCKET, HOME, UP
from tests.cluster.processes import end_child, spawn, tail
from tests.support.bound import spawn_bound

ROOT = Path(__file__).parents[2]

_LIMIT_SECONDS = 120
_UP_LIMIT_SECONDS = 60
_POLL_SECONDS = 0.05


class NodeError(RuntimeError):
    """A node cannot be started, or an image cannot be loaded; the message ends with what its programs logged."""


class Node:
    """One node of a cluster. `name` is what Kubernetes calls it."""

    def __init__(self, hub: Hub, number: int, folder: Path, binary: Path, kubeconfigs: dict[str, str], *, bound: bool) -> None:
        """Join a node to the network and write its settings; `kubeconfigs` are the texts for `kubelet` and `proxy`."""
        self.name = f"node-{number}"
        self.folder = folder
        self._bound = bound
        self.group = f"{hub.namespace.pid}/{self.name}"
        self._process: subprocess.Popen[bytes] | None = None
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._network = Namespace.opened(folder, self.name, bound=bound)
        hub.join(self._network, number)
        self._write_settings(binary, number, kubeconfigs)

    def power_on(self) -> None:
        """Start the node's programs; Kubernetes sees it some seconds later. What was on its disk is there again."""
        (self.folder / UP).unlink(missing_ok=True)
        command = [*self._network.enter, sys.executable, "-m", "tests.cluster.node_main", str(self._settings)]
        start = spawn_bound if self._bound else _spawn_free
        self._process = start(command, self.log)

    def power_off(self) -> None:
        """End all that runs on the node at once, containers included, as a power cut would."""
        if self._process is not None:
            end_child(self._process)
            self._process = None
            cgroups.remove(self.group)

    @property
    def has_power(self) -> bool:
        return self._process is not None

    @property
    def log(self) -> Path:
        return self.folder / "node.log"

    @property
    def pid(self) -> int:
        """The process with which the node's power goes."""
        assert self._process is not None, f"{self.name} is off"
        return self._process.pid

    @property
    def pids(self) -> list[int]:
        """The processes without which nothing of the node is left."""
        return [self._network.pid, *([self.pid] if self._process else [])]

    def load(self, image: Path) -> None:
        """Import the images in a tar; raises NodeError."""
        import_image(self.folder, self.pid, image)

    def run(self, *command: str) -> str:
        """Run a command in the node's namespaces and return what it prints; raises NodeError."""
        return _run_on(self.folder, self.pid, *command)

    def cut_off(self) -> None:
        """Take the node's cable out: it goes on, and nobody can reach it."""
        self._network.ip("link set eth0 down")

    def plug_in(self) -> None:
        """Put the cable back."""
        self._network.ip("link set eth0 up", "route replace default via 10.89.0.1")

    def close(self) -> None:
        """End the node and let go of its network."""
        self.power_off()
        self._network.close()

    @property
    def _settings(self) -> Path:
        return self.folder / "settings.json"

    def _write_settings(self, binary: Path, number: int, kubeconfigs: dict[str, str]) -> None:
        for name, text in kubeconfigs.items():
            file = self.folder / f"{name}.kubeconfig"
            file.touch(mode=0o600)
            file.write_text(text)
        (self.folder / "cni").mkdir()
        (self.folder / "cni" / "10-pods.conflist").write_text(json.dumps(_pod_network(number)))
        (self.folder / "containerd.toml").write_text(_CONTAINERD)
        (self.folder / "kubelet.yaml").write_text(yaml.safe_dump(_KUBELET))
        settings = {
            "folder": str(self.folder),
            "group": self.group,
            "containerd": ["containerd", "--config", str(HOME / "containerd.toml")],
            "proxy": _proxy(binary, self.name),
            "kubelet": _kubelet(binary, self.name, node_address(number)),
        }
        self._settings.write_text(json.dumps(settings, indent=2))


def import_image(folder: Path, pid: int, image: Path) -> None:
    """Import the images in a tar on the node in `folder`, whose power is process `pid`; raises NodeError."""
    _run_on(folder, pid, "ctr", "--namespace", "k8s.io", "images", "import", str(image))


def tails(folder: Path) -> str:
    """Return the ends of the logs of the node in `folder`, for an error."""
    return "\n".join(f"  {name} of {folder.name}:\n{tail(folder / f'{name}.log')}" for name in ("node", "containerd", "kubelet", "proxy"))


def _run_on(folder: Path, pid: int, *command: str) -> str:
    done = subprocess.run([*_enter(folder, pid), *command], capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False)
    if done.returncode:
        raise NodeError(f"{' '.join(command)} ended with code {done.returncode} on {folder.name}: {done.stderr.strip()}")
    return done.stdout


def _enter(folder: Path, pid: int) -> list[str]:
    """Return what a command in the node's namespaces begins with, once it can run containers: seconds after the power came."""
    deadline = time.monotonic() + _UP_LIMIT_SECONDS
    while not (folder / UP).exists():
        if not Path(f"/proc/{pid}").exists() or time.monotonic() > deadline:
            raise NodeError(f"{folder.name} did not come up within {_UP_LIMIT_SECONDS} s\n{tails(folder)}")
        time.sleep(_POLL_SECONDS)
    # The process that was started waits for the first process of the node, its only child.
    first = Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()
    return ["nsenter", "--target", first, "--mount", "--net", "--pid"]


def _spawn_free(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    return spawn(command, log, bound=False)


def _kubelet(binary: Path, name: str, address: str) -> list[str]:
    return [
        *(str(binary), "kubelet"),
        *("--config", str(HOME / "kubelet.yaml")),
        *("--kubeconfig", str(HOME / "kubelet.kubeconfig")),
        *("--hostname-override", name),
        *("--node-ip", address),
        *("--root-dir", str(HOME / "kubelet")),
    ]


def _proxy(binary: Path, name: str) -> list[str]:
    """Return the arguments of kube-proxy; the machine's limits on connections are left as they are."""
    return [
        *(str(binary), "proxy"),
        *("--kubeconfig", str(HOME / "proxy.kubeconfig")),
        *("--hostname-override", name),
        *("--proxy-mode", "nftables"),
        *("--cluster-cidr", PODS),
        *("--conntrack-max-per-core", "0"),
        *("--conntrack-tcp-timeout-established", "0s"),
        *("--conntrack-tcp-timeout-close-wait", "0s"),
    ]


def _pod_network(number: int) -> dict[str, object]:
    """Each pod has a link of its own to its node, which routes: what kube-proxy sets up then holds for pods of the same node, too."""
    addresses = {
        "type": "host-local",
        "dataDir": str(HOME / "addresses"),
        "ranges": [[{"subnet": pod_range(number)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "ptp", "ipam": addresses}]}


_KUBELET = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
    "authorization": {"mode": "AlwaysAllow"},
    "cgroupDriver": "cgroupfs",
    "cgroupsPerQOS": False,
    "enforceNodeAllocatable": [],
    "failSwapOn": False,
    "failCgroupV1": False,
    "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
    "podLogsDir": "/var/log/pods",
    "volumePluginDir": str(HOME / "volume-plugins"),
    # Nothing answers there: names of services are for clusters with a DNS server.
    "clusterDNS": ["10.96.0.10"],
    "clusterDomain": "cluster.local",
    "resolvConf": str(HOME / "resolv.conf"),
    # The disk belongs to the machine: its being full is not the node's business. Nodes are seen, and seen to be gone, within seconds.
    "evictionHard": {},
    "imageGCHighThresholdPercent": 100,
    "nodeStatusUpdateFrequency": "4s",
    "nodeLeaseDurationSeconds": 8,
    "registryPullQPS": 0,
    "serializeImagePulls": False,
    "maxPods": 200,
    "kubeAPIQPS": 100,
    "kubeAPIBurst": 200,
}

_CONTAINERD = f"""
version = 2
root = "{HOME}/containerd"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_TAG}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{HOME}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""
