"""The embedded cluster as a process of its own: the same Cluster as the real one."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.processes import end_child, tail
from tests.support.bound import spawn_bound
from tests.support.cluster import IMAGES, MISSING_IMAGES, Cluster
from tests.support.waiting import wait_for

_LIMIT_SECONDS = 60


@contextmanager
def embedded_cluster(folder: Path) -> Iterator[Cluster]:
    """Start an embedded cluster with its data in `folder`, install Backstay, and end everything afterwards."""
    kubeconfig, audit_log = folder / "kubeconfig", folder / "audit.log"
    with _process(folder, "--kubeconfig", str(kubeconfig), "--audit-log", str(audit_log)):
        cluster = Cluster("embedded", kubeconfig, folder, audit_log)
        try:
            cluster.install()
            yield cluster
        finally:
            cluster.operator.kill9()
            cluster.api.close()


@contextmanager
def _process(folder: Path, *options: str) -> Iterator[None]:
    log = folder / "cluster.log"
    command = [sys.executable, "-m", "backstay.local.cluster", "--data", str(folder / "data"), *options]
    process = spawn_bound([*command, "--image-map", IMAGES, "--missing-images", MISSING_IMAGES, "--cpu", "64"], log)

    def ready() -> bool:
        assert process.poll() is None, f"the cluster ended with code {process.returncode}; it says\n{tail(log)}"
        return "the cluster is ready" in log.read_text(errors="replace")

    try:
        wait_for(ready, _LIMIT_SECONDS, what=lambda: f"the cluster is not ready; it says\n{tail(log)}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(_LIMIT_SECONDS)
        finally:
            end_child(process)
