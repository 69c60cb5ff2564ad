"""Steps that wait for a person: what people can do about them, through the spec and from the command line, and what else may happen meanwhile."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from backstay.cli.main import app
from tests.scenarios.fixtures import journal_kinds
from tests.scenarios.manifests import run_by_name, run_of, shell, step
from tests.support.api import Object
from tests.support.cluster import EXAMPLES, Cluster, Place, condition, condition_of, documents, phase_of, step_of
from tests.support.waiting import wait_for

PAUSING = {"onExhausted": "Pause", "retry": {"maxAttempts": 1}}
BROKEN = step("pay", job=shell("exit 1"), **PAUSING)


@pytest.fixture(scope="module")
def till(cluster: Cluster) -> Iterator[Place]:
    """One namespace for all that pauses, with the workflow of examples/pausing."""
    if not cluster.operator.is_running:
        cluster.operator.start()
    place = cluster.place("pausing")
    place.apply(*(document for document in documents(EXAMPLES / "pausing" / "charge.yaml") if document["kind"] == "Workflow"))
    yield place


def charging(place: Place, name: str) -> None:
    """A run of the example, whose step has paused."""
    place.apply({**run_by_name(name, "charging"), "spec": {"workflow": {"name": "charging"}, "parameters": {"card": "old"}}})
    place.reached(name, "charge", "Paused")


def ask(place: Place, name: str, **request: Any) -> None:
    """Add a request to the run's spec."""
    before = place.run(name)["spec"].get("requests", [])
    spec = {"requests": [*before, {"id": f"r{len(before) + 1}", "step": "charge", **request}]}
    place.kubectl("patch", "wfrun", name, "--type=merge", "-p", json.dumps({"spec": spec}))


def backstay(place: Place, *arguments: str, code: int = 0) -> str:
    where = ["--kubeconfig", str(place.cluster.kubeconfig), "-n", place.name]
    result = CliRunner().invoke(app, [*arguments, *where], catch_exceptions=False)
    assert result.exit_code == code, result.stdout + result.stderr
    return " ".join((result.stdout + result.stderr).split())


def test_a_paused_step_is_seen_by_kubectl_by_why_and_by_an_event(till: Place) -> None:
    charging(till, "seen")
    run = till.run("seen")
    assert (run["status"]["status"], condition_of(run, "Stalled")["reason"], condition(run, "Reconciling")) == (
        "Stalled",
        "StepPaused",
        "False",
    )
    words = "charge: paused after 1 attempt (CardDeclined: it has expired): a person must retry, edit, skip or give up"
    assert condition_of(run, "Stalled")["message"] == words
    assert "Stalled" in till.kubectl("get", "wfrun", "seen")
    told = backstay(till, "why", "seen")
    assert f"`backstay retry seen charge -n {till.name}` tries it again" in told
    assert "`backstay skip seen charge" in told and "`backstay give-up seen charge" in told
    assert "⚠" in backstay(till, "tree", "seen") or "Paused" in backstay(till, "tree", "seen")
    wait_for(lambda: any(event["reason"] == "StepPaused" for event in till.events("seen")), what="no Event tells of it")
    assert backstay(till, "cancel-step", "seen", "charge") == "charge: cancelled"
    till.ended("seen")


def test_a_person_retries_with_an_edit_through_the_spec(till: Place) -> None:
    charging(till, "edited")
    ask(till, "edited", action="Retry", edit={"env": [{"name": "CARD", "value": "new"}]}, reason="she has a new card")
    run = till.ended("edited")
    assert (run["status"]["outputs"], run["status"]["answers"]) == ({"payment": "with-new"}, {"r1": "Done"})
    assert step_of(run, "charge")["edits"] == [{"env": [{"name": "CARD", "value": "new"}]}]
    entry = next(entry for entry in run["status"]["journal"]["entries"] if entry["kind"] == "StepResumed")
    assert (entry["actor"], entry["reason"]) == ("user", "request r1: she has a new card")
    assert condition(run, "Stalled") != "True"


def test_a_person_retries_with_an_edit_from_the_command_line(till: Place) -> None:
    charging(till, "typed")
    refused = backstay(till, "retry", "typed", "charge", "--edit", '{"image": 7}', code=1)
    assert 'Refused: edit: image: expected text, found the number 7; write it in quotes: "7"' in refused
    assert (
        backstay(till, "retry", "typed", "charge", "--edit", "{env: [{name: CARD, value: newer}]}")
        == "charge: tried again, edited as you say"
    )
    assert till.ended("typed")["status"]["outputs"] == {"payment": "with-newer"}


def test_a_person_skips_with_outputs(till: Place) -> None:
    charging(till, "skipped")
    refused = backstay(till, "skip", "skipped", "charge", "--outputs", '{"payment": 7}', code=1)
    assert "Refused: the outputs are not as charge declares them" in refused
    ask(till, "skipped", action="Skip", outputs={"payment": "by-hand"})
    changed = json.dumps({"spec": {"requests": [{"id": "r1", "step": "charge", "action": "Skip", "outputs": {"payment": "twice"}}]}})
    assert "requests are only ever added" in till.kubectl.refused("patch", "wfrun", "skipped", "--type=merge", "-p", changed)
    run = till.ended("skipped")
    assert (phase_of(run, "charge"), run["status"]["outputs"]) == ("Skipped", {"payment": "by-hand"})


def test_a_person_gives_up(till: Place) -> None:
    charging(till, "given-up")
    told = json.loads(backstay(till, "give-up", "given-up", "charge", "--reason", "she is gone", "-o", "json"))
    assert (told["answer"], told["request"]["action"], told["request"]["reason"]) == ("Done", "GiveUp", "she is gone")
    run = till.ended("given-up")
    assert (run["status"]["phase"], run["status"]["error"]["type"]) == ("Failed", "CardDeclined")


def test_an_operator_that_restarts_leaves_a_paused_step_as_it_is_and_hears_what_was_asked_meanwhile(till: Place) -> None:
    charging(till, "survives")
    till.cluster.operator.kill9()
    ask(till, "survives", action="Retry", edit={"env": [{"name": "CARD", "value": "patient"}]})
    till.cluster.operator.start()
    run = till.ended("survives")
    assert run["status"]["outputs"] == {"payment": "with-patient"}
    assert journal_kinds(run).count("StepPaused") == journal_kinds(run).count("StepResumed") == 1


def test_a_suspended_run_hears_a_person_and_tries_again_when_it_goes_on(till: Place) -> None:
    charging(till, "held")
    till.kubectl("patch", "wfrun", "held", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    ask(till, "held", action="Retry", edit={"env": [{"name": "CARD", "value": "late"}]})
    till.reached("held", "charge", "Retrying")
    till.kubectl("patch", "wfrun", "held", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    assert till.ended("held")["status"]["outputs"] == {"payment": "with-late"}


def test_a_cancelled_and_a_deleted_run_stop_a_paused_step_at_once(till: Place) -> None:
    for name in ("cancelled", "deleted"):
        charging(till, name)
    till.kubectl("patch", "wfrun", "cancelled", "--type=merge", "-p", '{"spec": {"cancel": {}}}')
    till.kubectl("delete", "wfrun", "deleted", "--timeout=30s")
    run = till.ended("cancelled")
    assert (run["status"]["phase"], phase_of(run, "charge")) == ("Cancelled", "Cancelled")


STRUCTURES: dict[str, tuple[Object, str]] = {
    "for-each": ({"name": "s", "forEach": {"in": [1, 2], "steps": [BROKEN]}}, "s[1]/pay"),
    "dag": ({"name": "s", "dag": {"steps": [BROKEN, step("next", dependsOn=["pay"], set={"x": 1})]}}, "s/pay"),
    "parallel": (
        {"name": "s", "parallel": {"branches": [{"name": "l", "steps": [BROKEN]}, {"name": "r", "steps": [step(set={"y": 1})]}]}},
        "s/l/pay",
    ),
    "handler": ({"name": "s", "fail": {"error": "Oh"}, "catch": [{"steps": [BROKEN]}]}, "s:catch0/pay"),
}


def test_inside_structures_only_the_step_waits_and_all_goes_on_once_a_person_has_said_so(till: Place) -> None:
    for name, (structure, _) in STRUCTURES.items():
        till.apply(run_of(name, structure))
    for name, (_, path) in STRUCTURES.items():
        till.reached(name, path, "Paused")
    till.reached("for-each", "s[0]/pay", "Paused")
    for name, (_, path) in STRUCTURES.items():
        assert backstay(till, "skip", name, path) == f"{path}: skipped; the run goes on after it"
    assert backstay(till, "skip", "for-each", "s[0]/pay") == "s[0]/pay: skipped; the run goes on after it"
    assert {name: till.ended(name)["status"]["phase"] for name in STRUCTURES} == dict.fromkeys(STRUCTURES, "Succeeded")
