"""Every manifest in examples/ ends as its first lines say."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.fixtures import Market
from tests.support.cluster import EXAMPLES, Cluster, Place, documents

_ENDS = re.compile(r"^# Ends (Succeeded|Failed|Cancelled)(?: with (.+))?$", re.MULTILINE)

ALONE = sorted([EXAMPLES / "hello.yaml", *(EXAMPLES / "steps").glob("*.yaml")])
RUNS = sorted((EXAMPLES / "order" / "runs").glob("*.yaml"))


@dataclass(frozen=True)
class End:
    """How a run ends: its phase, and the outputs of one that succeeds or the error type of one that does not."""

    phase: str
    outputs: Any = None
    error: str | None = None


def promised(example: Path) -> End:
    """Read how an example ends, by its own words: `# Ends Succeeded with {"a": 1}`, `# Ends Failed with CardDeclined`."""
    phase, rest = _ENDS.findall(example.read_text())[0]
    return End(phase, json.loads(rest), None) if rest.startswith("{") else End(phase, None, rest or None)


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
