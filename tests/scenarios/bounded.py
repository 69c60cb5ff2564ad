"""A run that is too large for its status: the older entries of its journal, and steps that it does not show, stand in WorkflowJournals."""

import copy
import json
from typing import Any

from backstay.engine import bounds, journal
from backstay.engine.codec import entry_from_json
from tests.scenarios.manifests import run_with, shell
from tests.scenarios.verifying import verified
from tests.support.api import Object
from tests.support.cluster import Place
from tests.support.waiting import wait_for

TEXT = "what went wrong, in many words; " * 125


def large(name: str) -> Object:
    """A dag of 300 steps, of which a hundred leave 4 KB each, and a Job at its end."""
    failing = {
        "fail": {"error": "Odd", "message": "${params.text}"},
        "catch": [{"errors": ["Odd"], "steps": [{"name": "note", "set": {"odd": True}}]}],
    }
    plain = [{"name": f"s{number}", "set": {"x": number}} for number in range(197)]
    odd = [{"name": f"f{number}", **failing} for number in range(100)]
    last = [
        {"name": "hold", "dependsOn": ["f99", "s196"], "wait": {"duration": "2s"}},
        {"name": "end", "dependsOn": ["hold"], "job": shell("echo '{\"v\": 1}' > $BACKSTAY_OUTPUT")},
    ]
    declared = [{"name": "text", "schema": {"type": "string"}}]
    inline = {"parameters": declared, "dag": {"steps": [*plain, *odd, *last]}}
    return run_with({"workflow": {"inline": inline}, "parameters": {"text": TEXT}}, name)


def journals(place: Place, run: Object) -> list[Object]:
    """Return a run's WorkflowJournals in order."""
    found = place.cluster.api.list("workflowjournals", place.name, labelSelector=f"backstay.dev/run={run['metadata']['uid']}")
    return sorted(found, key=lambda one: int(one["spec"]["first"]))


def size(run: Object) -> int:
    return len(json.dumps(run["status"], separators=(",", ":"), ensure_ascii=False).encode())


def test_a_run_that_is_too_large_for_its_status_goes_through_and_all_of_it_can_be_read(place: Place) -> None:
    place.apply(large("large"))
    place.reached("large", "hold", "Waiting")
    place.kubectl("patch", "wfrun", "large", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    place.cluster.operator.kill9()
    assert place.run("large")["status"]["stepsOmitted"] > 50
    place.cluster.operator.start()
    place.kubectl("patch", "wfrun", "large", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    run = place.ended("large")
    assert run["status"]["phase"] == "Succeeded"
    assert size(run) < 700_000
    _assert_all_is_there(run, journals(place, run))
    _assert_people_see_it(place, run)
    _assert_it_is_proven_and_what_is_changed_is_named(place, run)
    _assert_it_goes_with_the_run(place, run)


def _assert_all_is_there(run: Object, parts: list[Object]) -> None:
    archived: list[Any] = [entry for part in parts for entry in part["spec"]["entries"]]
    assert [entry["sequence"] for entry in archived] == list(range(1, len(archived) + 1))
    assert run["status"]["journal"]["archived"] == len(archived)
    state = journal.verify(run["status"], journal.fold(map(entry_from_json, archived)))
    assert len(state.steps) == 1 + 299 + 100
    assert state.steps["f0"].error is not None
    assert state.steps["f0"].error.detail == TEXT
    assert state.sequence >= bounds.WORTH_ENTRIES * len(parts)


def _assert_people_see_it(place: Place, run: Object) -> None:
    header, *rows = place.kubectl("get", "wfjournal", "--field-selector", "spec.run.name=large").splitlines()
    assert header.split() == ["NAME", "RUN", "FIRST", "LAST", "ENTRIES", "AGE"]
    parts = journals(place, run)
    assert [row.split()[1:5] for row in rows] == [
        ["large", *(str(part["spec"][field]) for field in ("first", "last", "count"))] for part in parts
    ]
    name = parts[0]["metadata"]["name"]
    refused = place.kubectl.refused("patch", "wfjournal", name, "--type=merge", "-p", '{"spec": {"head": "forged"}}')
    assert "a WorkflowJournal is written once and never changed" in refused


def _assert_it_is_proven_and_what_is_changed_is_named(place: Place, run: Object) -> None:
    """A WorkflowJournal cannot be changed; somebody with all rights can delete it, and make another one in its place."""
    assert verified(place, "large").findings == []
    part = journals(place, run)[-1]
    name, first = part["metadata"]["name"], part["spec"]["first"]
    place.kubectl("delete", "wfjournal", name)
    assert verified(place, "large").findings == [("Missing", first, f"WorkflowJournal {name}")]
    meta = {key: part["metadata"][key] for key in ("name", "namespace", "labels", "ownerReferences")}
    forged = {**part, "metadata": meta, "spec": copy.deepcopy(part["spec"])}
    forged["spec"]["entries"][3]["reason"] = "because"
    place.create(forged)
    assert verified(place, "large").findings == [("Edited", first + 3, f"WorkflowJournal {name}")]
    place.kubectl("delete", "wfjournal", name)
    place.create({**part, "metadata": meta})
    assert verified(place, "large").findings == []


def _assert_it_goes_with_the_run(place: Place, run: Object) -> None:
    place.kubectl("delete", "wfrun", "large", "--timeout=30s")
    wait_for(lambda: not journals(place, run), what="the run's journals stay")
