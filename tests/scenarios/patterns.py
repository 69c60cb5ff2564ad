"""The workflow patterns of examples/patterns: each ends as it says, and its journal shows the order of events that it says."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.engine.codec import entry_from_json
from tests.support.api import Object
from tests.support.cluster import EXAMPLES, Cluster, Place, phase_of
from tests.support.shown import Deed, End, deeds, promised, shown, wrong

PATTERNS = sorted((EXAMPLES / "patterns").glob("*.yaml"))


@pytest.fixture(scope="module")
def gallery(cluster: Cluster) -> Iterator[Place]:
    """One namespace in which all patterns run at the same time, with what is done to them from outside."""
    if not cluster.operator.is_running:
        cluster.operator.start()
    place = cluster.place("patterns")
    place.apply(*PATTERNS)
    for pattern in PATTERNS:
        for deed in deeds(pattern):
            meddle(place, name_of(pattern), deed)
    yield place


def name_of(pattern: Path) -> str:
    """Return the name of a pattern's run: that of its file without the number."""
    return pattern.stem[3:]


def meddle(place: Place, name: str, deed: Deed) -> None:
    """Do what a manifest says is done from outside, as soon as the step has begun, and wait until it has been heard."""
    run = place.until(name, lambda run: phase_of(run, deed.step) != "")
    if deed.kind == "cancel":
        change(place, name, {"cancel": deed.what})
        return
    change(place, name, {"requests": [*run["spec"].get("requests", ()), deed.what]})
    place.until(name, lambda run: deed.what["id"] in run["status"].get("answers", {}))


def change(place: Place, name: str, spec: Object) -> None:
    """Merge something into a run's spec, as a user does with kubectl."""
    place.kubectl("patch", "workflowrun", name, "--type=merge", "-p", json.dumps({"spec": spec}))


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda path: path.stem)
def test_a_pattern_ends_as_it_says_and_its_journal_shows_its_order(gallery: Place, pattern: Path) -> None:
    status = gallery.ended(name_of(pattern))["status"]
    assert End(status["phase"], status.get("outputs"), status.get("error", {}).get("type")) == promised(pattern), status.get("error")
    assert list(wrong(shown(pattern), map(entry_from_json, status["journal"]["entries"]))) == []
