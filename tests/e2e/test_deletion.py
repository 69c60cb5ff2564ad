"""Deleting what runs: a run under each propagation policy, and the namespace that it is in. What was done is undone, or it is told what was not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.scenarios.manifests import run_by_name, run_of, shell, steps, workflow_of
from tests.support.api import Object
from tests.support.cluster import Cluster, condition
from tests.support.real_cluster import audit_arguments, cluster_on
from tests.support.trip import FAST, ONCE, Trip
from tests.support.waiting import wait_for

pytestmark = pytest.mark.e2e

PROPAGATION = ("background", "foreground", "orphan")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    with ControlPlane.start(folder, api_arguments=audit_arguments(folder)) as control_plane, cluster_on(control_plane, folder) as running:
        # The garbage collector looks for new kinds when it starts, and then only every half minute: foreground deletion waits for it.
        control_plane.restart("controller-manager")
        yield running


@pytest.fixture
def trip(cluster: Cluster, request: pytest.FixtureRequest, tmp_path: Path) -> Trip:
    if not cluster.operator.is_running:
        cluster.operator.start()
    return Trip(cluster.place(request.node.name.removeprefix("test_")), tmp_path)


def delete(trip: Trip, name: str, propagation: str) -> None:
    trip.place.kubectl("delete", "wfrun", name, f"--cascade={propagation}", "--wait=false")


def jobs_left(trip: Trip, propagation: str, *orphans: str) -> None:
    """Wait until no Jobs are left; where they were to be orphaned, until just those are which the run had when it was deleted."""
    kept = sorted(orphans) if propagation == "orphan" else []

    def left() -> list[str]:
        return sorted(job["metadata"]["annotations"]["backstay.dev/path"] for job in trip.place.jobs())

    wait_for(lambda: left() == kept, what=lambda: f"there are Jobs of {left()}")


@pytest.mark.parametrize("propagation", PROPAGATION)
def test_a_run_that_is_deleted_while_a_step_runs_is_undone_before_it_goes(trip: Trip, propagation: str) -> None:
    pay = {"name": "pay", "job": trip.writes("pay", "never"), "compensate": {"job": trip.writes("no-pay")}}
    trip.place.apply(run_of("trip", trip.step("hotel"), trip.step("flight"), pay))
    trip.begun("pay")
    delete(trip, "trip", propagation)
    trip.place.gone("trip")
    assert trip.book == ["hotel", "flight", "no-pay", "no-flight", "no-hotel"], "nobody knows whether it was paid"
    jobs_left(trip, propagation, "hotel", "flight")


@pytest.mark.parametrize("propagation", PROPAGATION)
def test_a_run_that_is_deleted_while_it_is_undone_is_undone_to_the_end(trip: Trip, propagation: str) -> None:
    """Foreground deletion takes away the Job that is undoing a step: that is nobody's failure, and it is done again."""
    no = {"name": "stop", "fail": {"error": "NoCar"}}
    trip.place.apply(run_of("trip", trip.step("hotel"), trip.step("flight", undo_gate="gate"), no))
    trip.begun("no-flight")
    delete(trip, "trip", propagation)
    wait_for(lambda: trip.place.run("trip")["metadata"].get("deletionTimestamp"))
    if propagation == "foreground":
        trip.begun("no-flight", times=2)
    trip.open("gate")
    trip.place.gone("trip")
    assert trip.book == ["hotel", "flight", "no-flight", "no-hotel"]
    jobs_left(trip, propagation, "hotel", "flight", "flight:compensate")


# ------------------------------------------------------------------------------------------------- the namespace is deleted


def delete_namespace(trip: Trip) -> None:
    """Delete the namespace; it must be gone before the limit, which is far less than any limit of the runs in it."""
    trip.place.cluster.kubectl("delete", "namespace", trip.place.name, "--timeout=60s")


def told(trip: Trip, run: str) -> str:
    """Return what is said of a run whose namespace is gone: by an Event about the namespace, and in the operator's log."""

    def look() -> list[Object]:
        return [event for event in trip.place.cluster.api.list("events", "default") if about(event) == (trip.place.name, run)]

    def about(event: Object) -> tuple[str, str]:
        words = event["message"].partition(":")[0]
        return event["involvedObject"]["name"], words.removeprefix(f"run {trip.place.name}/")

    (event,) = wait_for(look, what=lambda: trip.place.cluster.operator.log.read_text()[-2000:])
    assert (event["involvedObject"]["kind"], event["type"], event["reason"]) == ("Namespace", "Warning", "CompensationAbandoned")
    words = event["message"].partition(": ")[2]
    assert f"{trip.place.name}/{run}: the compensation is given up: {words}" in trip.place.cluster.operator.log.read_text()
    return words


REFUSES = "the namespace is being deleted and refuses new Jobs"


def test_a_namespace_that_is_deleted_goes_and_it_is_told_what_was_not_undone(trip: Trip) -> None:
    """Runs in a namespace of the same name that is made later are other runs: they are undone as ever."""
    no = {"name": "stop", "fail": {"error": "NoCar"}}
    trip.place.apply(
        run_of("is-undone", trip.step("hotel"), trip.step("flight", undo_gate="never"), no),
        run_of("goes-on", trip.step("museum"), {"name": "pay", "job": trip.writes("pay", "never")}),
    )
    trip.begun("no-flight")
    trip.begun("pay")
    delete_namespace(trip)
    assert told(trip, "is-undone") == f"{REFUSES}; not undone: flight, hotel"
    assert told(trip, "goes-on") == f"{REFUSES}; not undone: museum"
    assert sorted(trip.book) == ["flight", "hotel", "museum"]

    anew = Trip(trip.place.cluster.remade(trip.place), trip.folder)
    anew.place.apply(run_of("goes-on", trip.step("ship"), {"name": "hold", "wait": {"duration": "1h"}}))
    anew.place.reached("goes-on", "hold", "Waiting")
    delete(anew, "goes-on", "background")
    anew.place.gone("goes-on")
    assert anew.book[3:] == ["ship", "no-ship"]


def test_no_run_holds_a_namespace_whatever_its_compensation_waits_for(trip: Trip) -> None:
    """None of these would create a Job soon, whose refusal could tell that the namespace goes."""
    no = {"name": "stop", "fail": {"error": "NoCar"}}
    fails = shell("exit 1", **FAST)
    slowly = {"maxAttempts": 9, "interval": "1h"}
    first = {"name": "rest", "wait": {"duration": "1h"}}
    undo = {
        "stalled": {"job": fails, "retry": ONCE},
        "tries-later": {"job": fails, "retry": slowly},
        "rests-first": {"steps": [first, {"name": "cancel", "job": fails}]},
    }
    trip.place.apply(*(run_of(name, {"name": "hotel", "set": {"room": 1}, "compensate": how}, no) for name, how in undo.items()))
    trip.place.until("stalled", lambda run: condition(run, "Stalled") == "True")
    trip.place.reached("tries-later", "hotel:compensate", "Retrying")
    trip.place.reached("rests-first", "hotel:compensate/rest", "Waiting")
    trip.place.kubectl("delete", "wfrun", "stalled", "--wait=false")  # before the namespace: nothing tells the operator of that
    trip.place.reached("stalled", "hotel:compensate", "Paused")
    delete_namespace(trip)
    assert {told(trip, name) for name in undo} == {f"{REFUSES}; not undone: hotel"}


def test_a_namespace_goes_even_if_the_operator_comes_back_to_find_the_definition_of_its_runs_gone(trip: Trip) -> None:
    operator = trip.place.cluster.operator
    saga = workflow_of(steps(trip.step("hotel"), trip.step("pay"), {"name": "hold", "wait": {"duration": "1h"}}), "saga")
    trip.place.apply(saga, run_by_name("trip", "saga"))
    trip.place.reached("trip", "hold", "Waiting")
    operator.kill9()
    trip.place.cluster.kubectl("delete", "namespace", trip.place.name, "--wait=false")
    wait_for(lambda: not trip.place.cluster.api.list("controllerrevisions", trip.place.name), what="the revision is still there")
    operator.start()
    delete_namespace(trip)
    assert told(trip, "trip").startswith("the namespace is being deleted, and the workflow's revision with it")


def test_a_namespace_goes_with_runs_that_wait_for_child_runs_and_with_children_that_are_kept_for_them(trip: Trip) -> None:
    quick, slow = workflow_of(steps(trip.step("museum")), "quick"), workflow_of(steps(trip.step("ship", "never")), "slow")
    calls = [{"name": name, "workflow": {"name": name}} for name in ("quick", "slow")]
    trip.place.apply(quick, slow, run_of("trip", *calls))
    trip.begun("ship")
    kept = [run for run in trip.place.cluster.api.list("workflowruns", trip.place.name) if run["status"].get("phase") == "Succeeded"]
    assert [run["metadata"]["finalizers"] for run in kept] == [["backstay.dev/compensation"]]
    delete_namespace(trip)
    assert told(trip, "trip") == f"{REFUSES}; not undone: quick"
