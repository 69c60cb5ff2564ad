"""Every manifest in examples/ ends as its first lines say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.fixtures import Market
from tests.support.cluster import EXAMPLES, Cluster, Place, documents
from tests.support.shown import End, promised

ALONE = sorted(
    [
        EXAMPLES / "hello.yaml",
        *(manifest for part in ("steps", "failures", "transactions") for manifest in (EXAMPLES / part).glob("*.yaml")),
    ]
)
RUNS = sorted((EXAMPLES / "order" / "runs").glob("*.yaml"))


@pytest.fixture(scope="module")
def exhibition(cluster: Cluster) -> Iterator[Place]:
    """One namespace in which all examples that need nothing else run at the same time."""
    if not cluster.operator.is_running:
        cluster.operator.start()
    place = cluster.place("examples")
    place.apply(*ALONE)
    yield place


@pytest.mark.parametrize("example", ALONE, ids=lambda path: path.stem)
def test_an_example_ends_as_it_says(exhibition: Place, example: Path) -> None:
    (name,) = (document["metadata"]["name"] for document in documents(example) if document["kind"] == "WorkflowRun")
    status = exhibition.ended(name)["status"]
    assert End(status["phase"], status.get("outputs"), status.get("error", {}).get("type")) == promised(example), status.get("error")


@pytest.mark.parametrize("example", RUNS, ids=lambda path: path.stem)
def test_an_order_ends_as_it_says(market: Market, example: Path) -> None:
    status = market.place.ended(market.start(example.stem))["status"]
    assert status["phase"] == promised(example).phase
    assert status.get("error", {}).get("type") == promised(example).error
