"""Both clusters that the node runs pods for: the embedded one, and a real control plane."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.embedded.node.harness import Cluster, Daemon, Namespace, embedded_command, load, node_command, running

IMAGES = """
"shop/tool:1":
  path: {folder}
  command: [sh, tool.sh]
  args: [usual]
  env: {{MODE: mapped}}
"""

CLUSTERS = [
    pytest.param("embedded", marks=pytest.mark.embedded),
    pytest.param("real", marks=pytest.mark.e2e),
]


@pytest.fixture(scope="session")
def image_map(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    (folder / "tool").mkdir()
    (folder / "tool" / "tool.sh").write_text('echo "$MODE $1"\n')
    (folder / "images.yaml").write_text(IMAGES.format(folder="tool"))
    return folder / "images.yaml"


@pytest.fixture(scope="session", params=CLUSTERS)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, image_map: Path) -> Iterator[Cluster]:
    data = tmp_path_factory.mktemp(request.param)
    if request.param == "real":
        kubeconfig = request.getfixturevalue("real_control_plane").kubeconfig
        command = node_command(kubeconfig, "tests", data, "--image-map", str(image_map))
    else:
        kubeconfig = data / "kubeconfig"
        command = embedded_command(data, kubeconfig, image_map)
    with running(Daemon(command, data / "log")) as daemon:
        yield Cluster(kubeconfig, daemon, "tests", image_map)


@pytest.fixture
async def ns(cluster: Cluster) -> AsyncIterator[Namespace]:
    """A namespace of the test's own. Nothing that a test left running survives it."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    async with load(cluster.kubeconfig) as api:
        await api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        namespace = Namespace(api, name, cluster)
        await namespace.until_ready()
        try:
            yield namespace
        finally:
            await namespace.clear()


@pytest.fixture(scope="module")
def second_node_daemon(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A node that tests of a module share, to be killed and started again. Its Node object goes with it: other tests count nodes."""
    folder = tmp_path_factory.mktemp("second")
    with running(Daemon(node_command(cluster.kubeconfig, "second", folder / "node"), folder / "log")) as daemon:
        yield daemon
    asyncio.run(remove_node(cluster, "second"))


async def remove_node(cluster: Cluster, name: str) -> None:
    async with load(cluster.kubeconfig) as api:
        await api.delete(f"/api/v1/nodes/{name}")


@pytest.fixture
def second_node(second_node_daemon: Daemon) -> Daemon:
    """The second node, running; pods come to it by its name, `second`."""
    if not second_node_daemon.is_running:
        second_node_daemon.start()
    return second_node_daemon
