"""Both clusters that the node runs pods for: the embedded one, and a real control plane."""

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
    pytest.param("mixed", marks=pytest.mark.e2e),
]


@pytest.fixture(scope="session")
def image_map(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    (folder / "tool").mkdir()
    (folder / "tool" / "tool.sh").write_text('echo "$MODE $1"\n')
    (folder / "images.yaml").write_text(IMAGES.format(folder="tool"))
    return folder / "images.yaml"


@pytest.fixture(scope="session")
def real_control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    from tests.cluster.control_plane import ControlPlane

    with ControlPlane.start(tmp_path_factory.mktemp("control-plane")) as control_plane:
        yield control_plane.kubeconfig


@pytest.fixture(scope="session", params=CLUSTERS)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, image_map: Path) -> Iterator[Cluster]:
    data = tmp_path_factory.mktemp(request.param)
    if request.param == "mixed":
        kubeconfig = Path("/tmp/nodework/cp/kubeconfig")
        command = node_command(kubeconfig, "tests", data, "--image-map", str(image_map))
    elif request.param == "real":
        kubeconfig = request.getfixturevalue("real_control_plane")
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


@pytest.fixture
def second_node(cluster: Cluster, tmp_path: Path) -> Iterator[Daemon]:
    """A node of the test's own, to be killed and started again; pods come to it by name, `second`."""
    with running(Daemon(node_command(cluster.kubeconfig, "second", tmp_path / "node"), tmp_path / "log")) as daemon:
        yield daemon


@pytest.fixture(autouse=True)
async def no_second_node(cluster: Cluster, request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Take the second node's object away after a test that had one, so that tests find a cluster of one node."""
    yield
    if "second_node" in request.fixturenames:
        async with load(cluster.kubeconfig) as api:
            await api.delete("/api/v1/nodes/second")
