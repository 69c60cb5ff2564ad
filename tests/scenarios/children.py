"""Workflows that run other workflows: both ways of caller and child, whatever happens to either of them or to the operator."""

from pathlib import Path

import pytest

from backstay.names import ANNOTATION_CALLERS, LABEL_PARENT
from tests.scenarios.fixtures import journal_kinds, undone
from tests.scenarios.manifests import run_by_name, run_of, steps, workflow_of
from tests.support.api import Object
from tests.support.cluster import Place, condition, condition_of, phase_of, step_of
from tests.support.trip import Trip
from tests.support.waiting import wait_for


@pytest.fixture
def trip(place: Place, tmp_path: Path) -> Trip:
    return Trip(place, tmp_path)


def call(name: str = "tour", **action: object) -> Object:
    """A step that runs the workflow `tour`."""
    return {"name": name, "workflow": {"name": "tour", **action}}


def children(place: Place, of: str) -> list[Object]:
    """The child runs of a run, in the order in which they were made."""
    uid = place.run(of)["metadata"]["uid"]
    found = place.cluster.api.list("workflowruns", place.name, labelSelector=f"{LABEL_PARENT}={uid}")
    return sorted(found, key=lambda run: run["metadata"]["creationTimestamp"])


def child(place: Place, of: str) -> str:
    """Wait for the child of a run; return its name."""
    return str(wait_for(lambda: children(place, of), what=f"{of} has no child")[0]["metadata"]["name"])


def test_what_a_child_did_is_undone_at_its_place_among_the_other_steps(trip: Trip) -> None:
    no = {"name": "stop", "fail": {"error": "NoCar"}}
    trip.place.apply(
        workflow_of(steps(trip.step("museum"), trip.step("ship")), "tour"),
        run_of("trip", trip.step("hotel"), call(), trip.step("flight"), no),
    )
    run = trip.place.ended("trip")
    assert trip.book == ["hotel", "museum", "ship", "flight", "no-flight", "no-ship", "no-museum", "no-hotel"]
    assert (run["status"]["phase"], undone(run)) == ("Failed", ["flight", "tour", "hotel"])
    below = trip.place.run(child(trip.place, "trip"))
    assert (below["status"]["phase"], condition(below, "Compensated"), condition(below, "Complete")) == ("Compensated", "True", "True")
    assert condition(below, "Succeeded") == "False"
    assert "NoCar" in next(entry["reason"] for entry in below["status"]["journal"]["entries"] if entry["kind"] == "CompensationRequested")
    wait_for(lambda: not trip.place.run(below["metadata"]["name"])["metadata"].get("finalizers"))


def test_the_error_of_a_child_is_caught_by_its_type_in_the_caller(place: Place) -> None:
    sunk = {"name": "sail", "fail": {"error": "Sunk", "message": "by an ${params.by}"}}
    note = {"name": "note", "set": {"why": "${sad.detail}", "where": "${sad.step}"}}
    caught = {**call(params={"by": "iceberg"}), "catch": [{"errors": ["Sunk"], "as": "sad", "steps": [note]}]}
    place.apply(workflow_of(steps(sunk, parameters=[{"name": "by"}]), "tour"), run_of("trip", caught))
    run = place.ended("trip")
    assert (run["status"]["phase"], phase_of(run, "tour")) == ("Succeeded", "Caught")
    assert run["status"]["vars"] == {"why": f"by an iceberg (run {child(place, 'trip')})", "where": "tour:child/sail"}


def test_a_caller_that_is_cancelled_waits_until_its_child_is_undone_and_then_undoes_itself(trip: Trip) -> None:
    trip.place.apply(
        workflow_of(steps(trip.step("museum", undo_gate="rain"), trip.step("ship", "never")), "tour"),
        run_of("trip", trip.step("hotel"), call()),
    )
    trip.begun("ship")
    trip.place.kubectl("patch", "wfrun", "trip", "--type=merge", "-p", '{"spec": {"cancel": {"reason": "bad weather"}}}')
    trip.begun("no-museum")
    run = trip.place.run("trip")
    assert (run["status"]["phase"], phase_of(run, "tour")) == ("Stopping", "Stopping")
    trip.open("rain")
    assert trip.place.ended("trip")["status"]["phase"] == "Cancelled"
    assert trip.book == ["hotel", "museum", "no-ship", "no-museum", "no-hotel"], "the ship was cut off: it may have been booked"
    below = trip.place.run(child(trip.place, "trip"))
    assert "bad weather" in below["status"]["error"]["detail"]


def test_a_caller_that_is_deleted_in_whatever_way_undoes_its_children_first(trip: Trip) -> None:
    """One child has succeeded, and one runs. The garbage collector deletes both at once in the foreground, and leaves both in orphan."""
    ways = ("background", "foreground", "orphan")
    for way in ways:
        quick = workflow_of(steps(trip.step(f"{way}-museum")), f"quick-{way}")
        slow = workflow_of(steps(trip.step(f"{way}-ship"), trip.step(f"{way}-never", "never")), f"slow-{way}")
        calls = [{"name": name, "workflow": {"name": f"{name}-{way}"}} for name in ("quick", "slow")]
        trip.place.apply(quick, slow, run_of(way, trip.step(f"{way}-hotel"), *calls))
    for way in ways:
        trip.begun(f"{way}-never")
        trip.place.kubectl("delete", "wfrun", way, f"--cascade={way}", "--wait=false")
    for way in ways:
        trip.place.gone(way, 90)
        own = [word for word in trip.book if way in word]
        places = ("hotel", "museum", "ship")
        cut_off = f"no-{way}-never"
        assert own == [*(f"{way}-{place}" for place in places), cut_off, *(f"no-{way}-{place}" for place in reversed(places))], way

    def left() -> set[str]:
        runs = trip.place.cluster.api.list("workflowruns", trip.place.name)
        return {run["metadata"]["annotations"]["backstay.dev/run-name"] for run in runs}

    wait_for(lambda: left() <= {"orphan"}, 60, what=lambda: f"there are children of {left()}")


def test_a_child_that_is_deleted_by_hand_undoes_itself_and_its_caller_is_told(trip: Trip) -> None:
    trip.place.apply(
        workflow_of(steps(trip.step("museum"), trip.step("ship", "never")), "tour"),
        run_of("trip", trip.step("hotel"), call()),
    )
    trip.begun("ship")
    name = child(trip.place, "trip")
    trip.place.kubectl("delete", "wfrun", name, "--timeout=30s")
    run = trip.place.ended("trip")
    assert (run["status"]["phase"], run["status"]["error"]["type"]) == ("Failed", "Cancelled")
    assert f"deleted before it had ended (run {name})" in run["status"]["error"]["detail"]
    assert trip.book == ["hotel", "museum", "no-ship", "no-museum", "no-hotel"], "the ship was cut off: it may have been booked"


def test_an_operator_that_is_killed_when_a_child_ends_leaves_no_caller_waiting(trip: Trip) -> None:
    operator = trip.place.cluster.operator
    trip.place.apply(
        workflow_of(steps(trip.step("ship", "fog"), outputs=[{"name": "port", "value": "Delft"}]), "tour"),
        run_of("trip", call(), outputs=[{"name": "port", "value": "${steps.tour.outputs.port}"}]),
    )
    trip.begun("ship")
    name = child(trip.place, "trip")
    trip.open("fog")
    wait_for(lambda: trip.place.run(name)["status"].get("finishedAt"), poll_seconds=0.001)
    operator.kill9()
    operator.start()
    assert trip.place.ended("trip")["status"]["outputs"] == {"port": "Delft"}
    assert len(children(trip.place, "trip")) == 1
    assert trip.book == ["ship"]


COUNTDOWN = steps(
    {
        "name": "again",
        "if": "${ params.n > 1 }",
        "workflow": {"name": "countdown", "params": {"n": "${ params.n - 1 }"}},
    },
    {"name": "done", "set": {"total": "${ params.n * (params.n > 1 ? steps.again.outputs.total : 1) }"}},
    parameters=[{"name": "n", "schema": {"type": "integer"}}],
    outputs=[{"name": "total", "value": "${ vars.total }"}],
)


def test_a_workflow_may_call_itself_until_the_limit_which_names_the_chain(place: Place) -> None:
    forever = {"name": "again", "workflow": {"name": "forever"}}
    place.apply(workflow_of(COUNTDOWN, "countdown"), workflow_of(steps(forever), "forever"))
    five = {**run_by_name("five", "countdown"), "spec": {"workflow": {"name": "countdown"}, "parameters": {"n": 5}}}
    place.apply(five, run_by_name("endless", "forever"))
    assert place.ended("five")["status"]["outputs"] == {"total": 120}
    error = place.ended("endless")["status"]["error"]
    assert error["type"] == "LimitExceeded"
    assert error["step"].count(":child/") == 16
    assert "forever > forever" in error["detail"]
    assert "max_child_depth" in error["detail"]


def test_a_child_that_nobody_waits_for_outlives_its_caller(place: Place) -> None:
    place.apply(workflow_of(steps({"name": "rest", "wait": {"duration": "1h"}}), "tour"), run_of("trip", call(wait=False)))
    run = place.ended("trip")
    name = step_of(run, "tour")["outputs"]["run"]
    place.kubectl("delete", "wfrun", "trip", "--timeout=30s")
    below = place.reached(name, "rest", "Waiting")
    assert "ownerReferences" not in below["metadata"]
    assert below["metadata"]["annotations"][ANNOTATION_CALLERS] == "inline"


def test_a_run_that_has_succeeded_is_undone_with_its_child_on_request(trip: Trip) -> None:
    trip.place.apply(workflow_of(steps(trip.step("museum")), "tour"), run_of("trip", trip.step("hotel"), call()))
    assert trip.place.ended("trip")["status"]["phase"] == "Succeeded"
    trip.place.kubectl("patch", "wfrun", "trip", "--type=merge", "-p", '{"spec": {"compensate": {"reason": "sent back"}}}')
    run = trip.place.until("trip", lambda run: run["status"]["phase"] == "Compensated")
    assert trip.book == ["hotel", "museum", "no-museum", "no-hotel"]
    assert (condition(run, "Succeeded"), condition(run, "Complete"), condition(run, "Compensated")) == ("False", "True", "True")
    assert "CompensationRequested" in journal_kinds(run)
    refused = trip.place.kubectl.refused("patch", "wfrun", "trip", "--type=merge", "-p", '{"spec": {"compensate": null}}')
    assert "cannot be taken back" in refused


def test_a_child_that_cannot_be_undone_stalls_its_caller_which_names_it(place: Place) -> None:
    stubborn = {
        "name": "visa",
        "set": {"x": 1},
        "compensate": {"job": {"image": "busybox:1.36", "command": ["false"]}, "retry": {"maxAttempts": 1}},
    }
    place.apply(workflow_of(steps(stubborn), "tour"), run_of("trip", call(), {"name": "stop", "fail": {"error": "NoCar"}}))
    run = place.until("trip", lambda run: condition(run, "Stalled") == "True")
    name = child(place, "trip")
    told = condition_of(run, "Stalled")["message"]  # type: ignore[index]
    assert told.startswith(f"tour:compensate: child run {name} needs a person: visa:compensate failed after 1 attempt")
    place.kubectl("annotate", "wfrun", name, "backstay.dev/release-finalizer=true")
    place.until("trip", lambda run: "could not be undone wholly" in (condition_of(run, "Stalled") or {}).get("message", ""))
    place.kubectl("annotate", "wfrun", "trip", "backstay.dev/release-finalizer=true")
    assert place.ended("trip")["status"]["phase"] == "Failed"
