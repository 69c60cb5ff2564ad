"""The catalogue of failures (docs/failures.md), held against a cluster: all its scenarios go on at the same time, then each is looked at."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from backstay.engine.codec import entry_from_json
from tests.scenarios.catalogue.all import SCENARIOS
from tests.scenarios.catalogue.rows import Deed, Scenario
from tests.scenarios.fixtures import undone
from tests.support.api import Object, Refused
from tests.support.cluster import Cluster, Place, condition, condition_of, phase_of, step_of
from tests.support.odd_server import odd_server
from tests.support.shown import wrong
from tests.support.waiting import wait_for

_LIMIT_SECONDS = 100
_POLL_SECONDS = 0.1


@dataclass
class Happened:
    """What has happened to a run so far: what was last seen of it, and what was done to it."""

    scenario: Scenario
    run: Object = field(default_factory=dict)
    deeds: int = 0
    seen: list[str] = field(default_factory=list)
    """What a user read when each deed was done."""
    is_over: bool = False
    refused: str = ""
    """Why the API server does not take it."""


@pytest.fixture(scope="module")
def failures(cluster: Cluster) -> Iterator[Mapping[str, Happened]]:
    """All scenarios, played to their ends in one namespace."""
    if not cluster.operator.is_running:
        cluster.operator.start()
    place = cluster.place("failures")
    found = {name: Happened(scenario) for name, scenario in SCENARIOS.items()}
    with odd_server() as server:
        _apply(place, server, found)
        deadline = time.monotonic() + _LIMIT_SECONDS
        while not all(happened.is_over for happened in found.values()) and time.monotonic() < deadline:
            runs = {run["metadata"]["name"]: run for run in place.cluster.api.list("workflowruns", place.name)}
            for name, happened in found.items():
                if not happened.is_over:
                    _go_on(place, name, happened, runs.get(name))
            time.sleep(_POLL_SECONDS)  # a pause between two looks; nothing counts on its length
    yield found


@pytest.fixture(scope="module")
def failures_place(cluster: Cluster) -> Place:
    """Where they were played."""
    namespaces = (item["metadata"]["name"] for item in cluster.api.list("namespaces", None))
    return Place(cluster, next(name for name in namespaces if name.startswith("failures-")))


def _apply(place: Place, server: str, found: Mapping[str, Happened]) -> None:
    """Apply all at once; each run has the name of its row."""
    for name, happened in found.items():
        try:
            for manifest in (*happened.scenario.also, happened.scenario.manifest(name, server)):
                place.create(manifest)
        except Refused as refusal:
            happened.refused, happened.is_over = str(refusal), True


def _go_on(place: Place, name: str, happened: Happened, run: Object | None) -> None:
    """Look at a run, and do to it what is due."""
    if run is None:
        happened.is_over = True
        return
    happened.run = run
    deeds = happened.scenario.deeds
    if happened.deeds < len(deeds) and _is_due(deeds[happened.deeds], run):
        deed = deeds[happened.deeds]
        words = _read(deed, run)
        if _do(place, name, run, deed):
            happened.seen.append(words)
            happened.deeds += 1
    elif condition(run, "Complete") == "True" and not happened.scenario.goes:
        happened.is_over = True


def _is_due(deed: Deed, run: Object) -> bool:
    path, _, phase = deed.when.partition(" ")
    if phase:
        return phase_of(run, path) == phase
    return condition(run, deed.when) == "True"


def _read(deed: Deed, run: Object) -> str:
    """What a user reads at this moment: the condition, or what the step says."""
    path, _, phase = deed.when.partition(" ")
    if phase:
        return str(step_of(run, path).get("message", ""))
    return str((condition_of(run, deed.when) or {}).get("message", ""))


def _do(place: Place, name: str, run: Object, deed: Deed) -> bool:
    """Do it; returns whether it could be done already."""
    api = place.cluster.api
    if deed.ask is not None:
        requests = [*(run["spec"].get("requests") or ()), deed.ask]
        api.patch("workflowruns", place.name, name, {"spec": {"requests": requests}})
    elif deed.delete:
        what, _, path = deed.delete.partition(" ")
        kind = {"run": "workflowruns", "job": "jobs", "child": "workflowruns"}[what]
        of = name if what == "run" else step_of(run, path).get(what, "")
        if api.get(kind, place.name, of) is None:
            return False
        place.kubectl("delete", kind if what == "job" else "wfrun", of, "--wait=false")
    else:
        api.patch("workflowruns", place.name, name, dict(deed.what))
    return True


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_failure_goes_as_the_catalogue_says(failures: Mapping[str, Happened], failures_place: Place, name: str) -> None:
    happened, expected = failures[name], SCENARIOS[name]
    status = happened.run.get("status") or {}
    assert not happened.refused, happened.refused
    assert happened.is_over, f"it goes on: {_shown(status)}"
    assert happened.deeds == len(expected.deeds), f"the moment for {expected.deeds[happened.deeds]} never came: {_shown(status)}"
    for deed, words in zip(expected.deeds, happened.seen, strict=True):
        assert [part for part in deed.seen if part not in words] == [], words
    if not expected.goes:
        _check_end(expected, status)
        _check_steps(expected, happened.run)
        _check_story(expected, happened.run)
    for reason, part in expected.events.items():
        wait_for(lambda reason=reason, part=part: _is_told(failures_place, name, reason, part), what=lambda: _told(failures_place, name))


def _check_end(expected: Scenario, status: Object) -> None:
    error = status.get("error") or {}
    assert (status["phase"], error.get("type", "")) == (expected.phase, expected.error), _shown(status)
    assert [part for part in expected.says if part not in error.get("detail", "")] == [], error
    assert expected.outputs is None or status.get("outputs") == expected.outputs
    for kind, part in expected.conditions.items():
        found = next((item for item in status["conditions"] if item["type"] == kind), None)
        assert found is not None, f"no condition {kind}"
        assert part in f"{found['status']} {found['reason']}: {found['message']}", found


def _check_steps(expected: Scenario, run: Object) -> None:
    assert {path: phase_of(run, path) for path in expected.ends} == dict(expected.ends)
    assert {path: step_of(run, path).get("attempt") for path in expected.attempts} == dict(expected.attempts)


def _check_story(expected: Scenario, run: Object) -> None:
    if expected.undone is not None:
        assert undone(run) == list(expected.undone)
    assert list(wrong(expected.journal, map(entry_from_json, run["status"]["journal"]["entries"]))) == []


def _is_told(place: Place, name: str, reason: str, part: str) -> bool:
    return any(event["reason"] == reason and part in event["message"] for event in place.events(name))


def _told(place: Place, name: str) -> str:
    return "; ".join(f"{event['reason']}: {event['message']}" for event in place.events(name))


def _shown(status: Object) -> str:
    steps = [f"{step['path']} {step['phase']}" for step in status.get("steps", ())]
    return f"{status.get('phase')} {status.get('status')} {status.get('error')}, steps {steps}"
