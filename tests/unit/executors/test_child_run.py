"""Child runs as manifests, and what a caller is told of one."""

from typing import Any

import pytest

from backstay import names
from backstay.engine.model import CreateRun, Fault, Phase
from backstay.executors import child_run
from backstay.kube import manifests
from backstay.kube.manifests import RunRef

RUN = RunRef("uid-1", "order-7f2", "shop")
INPUTS = {"workflow": {"name": "ship", "revision": 3}, "parameters": {"n": 1}}
CALLER: dict[str, Any] = {
    "metadata": {"name": "order-7f2", "namespace": "shop", "uid": "uid-1", "annotations": {names.ANNOTATION_STARTED_BY: "ada"}},
    "spec": {
        "serviceAccountName": "shop",
        "jobLabels": {"team": "a"},
        "priority": 5,
        "ttl": {"failed": "1d"},
        "suspend": True,
        "timeout": "1h",
    },
}


def made(**changes: Any) -> dict[str, Any]:
    effect = CreateRun("order-7f2-ship-1", "ship", 2, **{"inputs": INPUTS, **changes})
    return manifests.child_run(RUN, CALLER, effect, ("order",))


def test_a_child_run_has_what_its_caller_hands_down_and_nothing_else() -> None:
    spec = {key: CALLER["spec"][key] for key in ("serviceAccountName", "jobLabels", "priority", "ttl")}
    assert made()["spec"] == {**spec, **INPUTS}


def test_a_child_run_says_whose_it_is_and_who_started_its_caller() -> None:
    meta = made()["metadata"]
    assert meta["labels"][names.LABEL_PARENT] == "uid-1"
    assert meta["ownerReferences"][0]["uid"] == "uid-1"
    assert meta["annotations"] == {
        names.ANNOTATION_RUN_NAME: "order-7f2",
        names.ANNOTATION_PATH: "ship",
        names.ANNOTATION_ATTEMPT: "2",
        names.ANNOTATION_CALLERS: "order",
        names.ANNOTATION_STARTED_BY: "ada",
        names.ANNOTATION_ROOT: "uid-1",
    }


def test_a_child_run_that_nobody_waits_for_belongs_to_nobody() -> None:
    run = made(inputs={**INPUTS, "detached": True}, owned=False)
    assert "ownerReferences" not in run["metadata"]
    assert run["spec"]["workflow"] == INPUTS["workflow"]
    assert "detached" not in run["spec"]
    assert child_run.is_detached(run)


def test_the_callers_of_a_child_run_are_read_as_they_were_written() -> None:
    run = manifests.child_run(RUN, CALLER, CreateRun("x", "a", 1, INPUTS), ("order", "ship/box"))
    assert child_run.callers(run) == ("order", "ship/box")
    assert child_run.callers(CALLER) == ()


@pytest.mark.parametrize(
    ("label", "owner", "ours"),
    [("uid-1", "uid-1", True), ("uid-1", None, True), ("uid-1", "uid-2", False), ("uid-2", "uid-2", False), (None, None, False)],
)
def test_a_run_is_a_child_by_its_label_and_its_controller(label: str | None, owner: str | None, ours: bool) -> None:
    owners = [{"uid": owner, "controller": True}] if owner else []
    meta = {"labels": {names.LABEL_PARENT: label} if label else {}, "ownerReferences": owners}
    assert child_run.belongs({"metadata": meta}, "uid-1") is ours


def seen(status: dict[str, Any] | None, spec: dict[str, Any] | None = None, **meta: Any) -> Any:
    return child_run.fact({"metadata": {"name": "c", "uid": "u", **meta}, "spec": spec or {}, "status": status})


def test_a_caller_is_told_of_outputs_and_errors_once_its_child_has_ended() -> None:
    going = seen({"phase": "Running", "outputs": {"x": 1}})
    assert (going.phase, going.is_finished, going.outputs) == (Phase.RUNNING, False, None)
    done = seen({"phase": "Succeeded", "finishedAt": "2026-11-23T09:00:00Z", "outputs": {"x": 1}})
    assert (done.is_finished, done.outputs) == (True, {"x": 1})
    failed = seen({"phase": "Failed", "finishedAt": "2026-11-23T09:00:00Z", "error": {"type": "Sunk", "step": "a"}})
    assert failed.error == Fault("Sunk", step="a")


def test_a_caller_is_told_what_its_child_was_asked_for() -> None:
    assert seen(None, {"cancel": {}}).cancelling
    assert seen(None, deletionTimestamp="2026-11-23T09:00:00Z").cancelling
    assert seen(None, {"compensate": {"reason": "x"}}).undoing
    assert (seen(None).cancelling, seen(None).undoing) == (False, False)


def test_a_caller_is_told_why_its_child_needs_a_person_while_it_goes() -> None:
    stalled = [{"type": "Stalled", "status": "True", "message": "mend it"}]
    assert seen({"phase": "Compensating", "conditions": stalled}).stalled == "mend it"
    assert seen({"phase": "Failed", "finishedAt": "2026-11-23T09:00:00Z", "conditions": stalled}).stalled == ""


def test_a_status_that_makes_no_sense_tells_nothing() -> None:
    fact = seen({"phase": "Dancing", "finishedAt": "2026-11-23T09:00:00Z", "outputs": {"x": 1}})
    assert (fact.phase, fact.is_finished, fact.outputs) == (None, False, None)
