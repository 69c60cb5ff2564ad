"""The real control plane with the pod runner attached as its node: the same Cluster as the embedded one."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.control_plane import ControlPlane
from tests.cluster.processes import end_child, tail
from tests.support.bound import spawn_bound
from tests.support.cluster import IMAGES, MISSING_IMAGES, Cluster
from tests.support.waiting import wait_for

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "verbs": ["get", "list", "watch"]},
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata"},
    ],
}
_LOG_MB = 100_000
"""Never a second file: at 100 MB, which is the default, the log would go on in another one."""
_NODE_LIMIT_SECONDS = 30


def audit_arguments(folder: Path) -> list[str]:
    """Return flags that make the API server record every write in `folder`/audit.log before it answers."""
    policy = folder / "audit-policy.json"
    policy.write_text(json.dumps(AUDIT_POLICY))
    log = ["--audit-log-path", str(folder / "audit.log"), "--audit-log-mode", "blocking-strict", "--audit-log-maxsize", str(_LOG_MB)]
    return ["--audit-policy-file", str(policy), *log]


@contextmanager
def real_cluster(folder: Path) -> Iterator[Cluster]:
    """Start a control plane and its node in `folder`, install Backstay, and end everything afterwards."""
    with ControlPlane.start(folder, api_arguments=audit_arguments(folder)) as control_plane, cluster_on(control_plane, folder) as cluster:
        yield cluster


@contextmanager
def cluster_on(control_plane: ControlPlane, folder: Path) -> Iterator[Cluster]:
    """Give a control plane, which writes its audit log to `folder`, a node and Backstay; end these two afterwards."""
    with node(control_plane.kubeconfig, folder):
        cluster = Cluster("real", control_plane.kubeconfig, folder, folder / "audit.log")
        try:
            cluster.install()
            yield cluster
        finally:
            cluster.operator.kill9()
            cluster.api.close()


@contextmanager
def node(kubeconfig: Path, folder: Path, images: Path = IMAGES) -> Iterator[None]:
    """Attach a node that runs pods as processes of this machine, and end it with all of them. `images` says what stands for which image."""
    log = folder / "node.log"
    options = ["--kubeconfig", kubeconfig, "--name", "local", "--data", folder / "node", "--image-map", images]
    process = spawn_bound(
        [sys.executable, "-m", "backstay.local.node", *map(str, options), "--missing-images", MISSING_IMAGES, "--cpu", "64"], log
    )
    try:

        def ready() -> bool:
            assert process.poll() is None, f"the node ended with code {process.returncode}; it says\n{tail(log)}"
            return "is ready" in log.read_text(errors="replace")

        wait_for(ready, _NODE_LIMIT_SECONDS, what=lambda: f"the node is not ready; it says\n{tail(log)}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(_NODE_LIMIT_SECONDS)
        finally:
            end_child(process)
