"""The cluster with real containers and the operator as a pod: the same Cluster as the others."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.cluster.containers import ContainerCluster
from tests.cluster.deploy import Deployment
from tests.cluster.images import operator_image, shop_image
from tests.cluster.processes import end_child
from tests.support.bound import spawn_bound
from tests.support.cluster import QUICK, Cluster
from tests.support.operator_pod import OperatorPod
from tests.support.real_cluster import audit_arguments
from tests.support.shop import served


class Containers(Cluster):
    """A Cluster whose steps are containers: they find the example's shop at an address of this machine."""

    def __init__(self, real: ContainerCluster, folder: Path, shops: ExitStack) -> None:
        super().__init__("containers", real.kubeconfig, folder, folder / "audit.log")
        self.real = real
        self.operator = OperatorPod(real)
        self._shops = shops

    def shop_address(self, database: Path) -> str:
        return self._shops.enter_context(served(database, self.real.hub.machine)).address


@contextmanager
def container_cluster(folder: Path) -> Iterator[Containers]:
    """Start a cluster of two nodes, install the chart in it, and end everything afterwards."""
    images = [operator_image(), shop_image()]
    with ContainerCluster.start(folder / "cluster", api_arguments=audit_arguments(folder)) as real, ExitStack() as shops:
        for image in images:
            real.load(image)
        Deployment(real.kubeconfig, say=print).install(*quick_options())
        shops.enter_context(provided(real.kubeconfig, folder))
        cluster = Containers(real, folder, shops)
        try:
            yield cluster
        finally:
            cluster.api.close()


@contextmanager
def provided(kubeconfig: Path, folder: Path) -> Iterator[None]:
    """Give each claim a folder of this machine, which all nodes see, until the block ends."""
    process = spawn_bound(
        [sys.executable, "-m", "tests.cluster.claims_main", str(kubeconfig), str(folder / "claims")], folder / "claims.log"
    )
    try:
        yield
    finally:
        process.terminate()
        end_child(process)


def quick_options() -> list[str]:
    """Return helm's options that make the operator as quick to give up as it is in other tests."""
    settings = [(f"extraEnv[{number}]", name, value) for number, (name, value) in enumerate(QUICK.items())]
    return [part for place, name, value in settings for part in ("--set", f"{place}.name={name}", "--set-string", f"{place}.value={value}")]
