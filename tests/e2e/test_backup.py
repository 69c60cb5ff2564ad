"""Backup and restore of runs, by the very commands of docs/install.md: what comes back, what goes on, what is done again."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.chart.helm import NAMESPACE
from tests.chart.operated import Release, released
from tests.cluster.control_plane import ControlPlane
from tests.scenarios.manifests import run_by_name, run_of, steps, workflow_of
from tests.support.api import Object
from tests.support.cluster import ROOT, Cluster, Place, condition, step_of
from tests.support.real_cluster import node, real_cluster
from tests.support.tools import helm, kubectl
from tests.support.trip import Trip
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

INSTALL = ROOT / "docs" / "install.md"
AGAIN = {"maxAttempts": 2, "interval": "10ms", "errors": ["Transient"]}


def commands(heading: str) -> str:
    """Return the commands that stand first under a heading of docs/install.md."""
    _, found, rest = INSTALL.read_text().partition(f"# {heading}\n")
    assert found, f"docs/install.md has no section {heading!r}"
    return rest.split("```sh\n", 1)[1].split("```", 1)[0]


def follow(heading: str, kubeconfig: Path, folder: Path, but: str = "") -> None:
    """Do what the page says, in a folder with the files of this checkout that it names; lines with `but` are left out."""
    script = "\n".join(line for line in commands(heading).splitlines() if not but or but not in line)
    tools = f"{kubectl().parent}:{helm().parent}:{os.environ['PATH']}"
    for name in ("crds", "charts"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    command = ["bash", "-euo", "pipefail", "-c", script]
    environment = {**os.environ, "PATH": tools, "KUBECONFIG": str(kubeconfig)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"


def keyed(trip: Trip, word: str, gate: str = "") -> Object:
    """A job of a trip that writes down under which key it asks."""
    made = trip.writes(word, gate)
    made["command"][-1] = f"echo $BACKSTAY_IDEMPOTENCY_KEY >> {trip.folder}/keys-{word}; {made['command'][-1]}"
    return made


def keys(trip: Trip, word: str) -> list[str]:
    """Return the keys under which a job has asked."""
    return (trip.folder / f"keys-{word}").read_text().split()


# ------------------------------------------------------------------------------------------- objects, into a new cluster


@dataclass(frozen=True)
class Restored:
    """The runs in the backup by name, and the new cluster, in which the operator has just been installed."""

    before: dict[str, Object]
    release: Release
    place: Place
    trip: Trip


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restored]:
    folder, files = tmp_path_factory.mktemp("old"), tmp_path_factory.mktemp("backup")
    with real_cluster(folder) as old:
        trip = Trip(old.place("trips"), tmp_path_factory.mktemp("books"))
        _live(trip)
        follow("Backup of the objects", old.kubeconfig, files)
    backup = yaml.safe_load((files / "runs.yaml").read_text())["items"]
    with released(tmp_path_factory.mktemp("new")) as release:
        place = release.cluster.remade(trip.place)
        follow("Restore of the objects", release.cluster.kubeconfig, files, but="helm install")
        yield Restored({run["metadata"]["name"]: run for run in backup}, release, place, Trip(place, trip.folder))


def _live(trip: Trip) -> None:
    """Have runs in all states that matter."""
    place = trip.place
    place.apply(workflow_of(steps(trip.step("one")), "saga"))
    wait_for(lambda: condition(place.workflow("saga"), "Ready") == "True", what="the workflow is not ready")
    place.apply(workflow_of(steps(trip.step("train"), trip.step("boat", gate="boat"), trip.step("bus")), "saga"))
    wait_for(lambda: place.workflow("saga")["status"]["revision"]["number"] == 2, what="there is no second revision")
    stop = {"name": "stop", "fail": {"error": "NoCar"}}
    flight = {**trip.step("flight"), "job": keyed(trip, "flight", "gate"), "retry": AGAIN}
    dinner = {**trip.step("dinner", gate="dinner"), "retry": AGAIN}
    ferry = {**trip.step("ferry"), "compensate": {"job": trip.writes("no-ferry", "ferry"), "retry": {**AGAIN, "maxAttempts": 5}}}
    place.apply(
        run_of("done", trip.step("opera")),
        run_of("failed", trip.step("museum"), stop),
        run_of("long", trip.step("hotel"), flight, trip.step("car")),
        run_of("unwanted", trip.step("zoo"), trip.step("taxi", gate="never")),
        run_of("leaving", ferry, {"name": "hold", "wait": {"duration": "1h"}}),
    )
    place.reached("leaving", "hold", "Waiting")
    place.kubectl("delete", "wfrun", "leaving", "--wait=false")
    for name in ("done", "failed"):
        place.ended(name)
    for name, path in (("long", "flight"), ("unwanted", "taxi")):
        place.until(name, lambda run, path=path: "jobUid" in next((s for s in run["status"].get("steps", ()) if s["path"] == path), {}))
    place.apply(run_of("young", trip.step("lunch"), dinner), run_by_name("pinned", "saga"))
    for word in ("dinner", "boat", "no-ferry"):
        trip.begun(word)


@pytest.fixture
def running(restored: Restored) -> Restored:
    """The new cluster with its operator installed and running."""
    if not restored.release.operators:
        restored.release.install(values={}, command="install --take-ownership")
        restored.release.operator().start()
    return restored


def history(place: Place, run: str) -> str:
    """Return what `backstay history` says, which fails unless the chain of hashes is unbroken."""
    command = [sys.executable, "-m", "backstay.cli.main", "history", run, "-n", place.name, "--kubeconfig", str(place.cluster.kubeconfig)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_run_comes_back_with_its_status_as_another_object(restored: Restored) -> None:
    for name, before in restored.before.items():
        after = restored.place.run(name)
        assert after["status"] == before["status"]
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        assert bool(after["spec"].get("suspend")) == (not before["status"].get("finishedAt"))


def test_what_has_ended_is_a_record_as_before_and_runs_no_more(running: Restored) -> None:
    for name in ("done", "failed"):
        assert running.place.run(name)["status"] == running.before[name]["status"]
        assert "unbroken" in history(running.place, name)
        assert running.place.jobs(name) == []
    assert running.trip.book.count("opera") == running.trip.book.count("museum") == running.trip.book.count("no-museum") == 1


def test_a_run_that_goes_on_repeats_nothing_that_was_done_and_begins_anew_what_was_under_way(running: Restored) -> None:
    """The Job under way did not come back, and the new one has another key: whoever it asks cannot know that it is the same attempt."""
    place, trip = running.place, running.trip
    place.reached("long", "flight", "Retrying")
    trip.open("gate")
    place.kubectl("patch", "wfrun", "long", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    run = place.ended("long")
    assert (run["status"]["phase"], step_of(run, "flight")["attempt"]) == ("Succeeded", 2)
    assert [trip.book.count(word) for word in ("hotel", "car", "no-hotel")] == [1, 1, 0]
    assert len(set(keys(trip, "flight"))) == 2


def test_a_job_younger_than_ten_seconds_begins_anew_although_its_run_is_suspended(running: Restored) -> None:
    running.trip.begun("dinner", times=2)
    running.trip.open("dinner")
    running.place.reached("young", "dinner", "Succeeded")
    running.place.kubectl("patch", "wfrun", "young", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    assert running.place.ended("young")["status"]["phase"] == "Succeeded"
    assert running.trip.book.count("lunch") == 1


def test_a_run_that_is_cancelled_after_it_came_back_is_undone(running: Restored) -> None:
    place, trip = running.place, running.trip
    place.reached("unwanted", "taxi", "Failed")  # it has no retry, and its Job did not come back
    assert "no-zoo" not in trip.book, "a suspended run is not undone"
    place.kubectl("patch", "wfrun", "unwanted", "--type=merge", "-p", '{"spec": {"cancel": {"reason": "restored"}}}')
    run = place.ended("unwanted")
    assert condition(run, "Compensated") == "True"
    assert [trip.book.count(word) for word in ("zoo", "no-zoo", "no-taxi")] == [1, 1, 1], "nobody knows whether the taxi came"


def test_a_run_that_was_being_deleted_is_undone_and_stays(running: Restored) -> None:
    running.trip.open("ferry")
    running.place.kubectl("patch", "wfrun", "leaving", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    run = running.place.ended("leaving")
    assert (run["status"]["phase"], condition(run, "Compensated")) == ("Cancelled", "True")
    assert "deletionTimestamp" not in run["metadata"]
    assert running.trip.book.count("no-ferry") == 1


def test_a_workflow_comes_back_with_its_revisions_for_old_runs_and_new_ones(running: Restored) -> None:
    place, trip = running.place, running.trip
    trip.open("boat")
    place.kubectl("patch", "wfrun", "pinned", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    assert place.ended("pinned")["status"]["revision"]["number"] == 2
    place.apply(run_by_name("new", "saga"))
    assert place.ended("new")["status"]["revision"] == running.before["pinned"]["status"]["revision"]
    assert trip.book.count("train") == 2, "one of the run that came back, one of the new run"


def test_a_run_that_is_created_without_its_status_is_a_new_run_and_does_everything_again(running: Restored) -> None:
    """Why the statuses are restored before the operator begins."""
    done = running.before["done"]
    elsewhere = Trip(running.release.cluster.place("naive"), running.trip.folder)
    made = elsewhere.place.create({**done, "metadata": {"name": "done"}})
    assert "status" not in made
    assert elsewhere.place.ended("done")["status"]["phase"] == "Succeeded"
    assert running.trip.book.count("opera") == 2


def test_once_it_is_installed_a_copy_of_a_run_is_no_restore(running: Restored) -> None:
    """The policies are there again: nobody but the operator writes a status."""
    status = {**running.place.run("done"), "status": {"phase": "Failed"}}
    assert "the operator alone writes it" in running.place.kubectl.refused("replace", "--subresource=status", "-f", "-", given=status)
    assert running.release.account.startswith(f"system:serviceaccount:{NAMESPACE}:")


# --------------------------------------------------------------------------------------------------- a snapshot of etcd


def test_a_snapshot_of_etcd_brings_runs_back_exactly_and_what_came_after_it_is_done_again_under_the_same_key(tmp_path: Path) -> None:
    """Objects keep their UIDs, so that Jobs get the names, and steps the keys, that they had."""
    with ExitStack() as machine, ControlPlane.start(tmp_path) as control_plane:
        node_up = machine.enter_context(ExitStack())
        node_up.enter_context(node(control_plane.kubeconfig, tmp_path))
        cluster = Cluster("real", control_plane.kubeconfig, tmp_path, tmp_path / "audit.log")
        machine.callback(cluster.api.close)
        machine.callback(cluster.operator.kill9)
        cluster.install()
        trip = Trip(cluster.place("snapshot"), tmp_path)
        flight = {**trip.step("flight", gate="flight"), "job": keyed(trip, "flight", "flight")}
        car = {**trip.step("car"), "job": keyed(trip, "car")}
        trip.place.apply(
            run_of("trip", trip.step("hotel"), flight, car),
            run_of("ended", trip.step("opera")),
            run_of("deleted", trip.step("zoo"), {"name": "hold", "wait": {"duration": "1h"}}),
        )
        trip.begun("flight")
        ended = trip.place.ended("ended")
        trip.place.reached("deleted", "hold", "Waiting")

        control_plane.kill("etcd")
        shutil.copytree(tmp_path / "etcd", tmp_path / "snapshot")
        control_plane.start_again("etcd")
        trip.open("flight")
        assert trip.place.ended("trip")["status"]["phase"] == "Succeeded"
        trip.place.kubectl("delete", "wfrun", "deleted")
        trip.place.apply(run_of("later", trip.step("bus")))
        trip.place.ended("later")
        assert (len(keys(trip, "flight")), len(keys(trip, "car")), trip.book.count("no-zoo")) == (1, 1, 1)

        cluster.operator.kill9()
        node_up.close()
        for component in ("scheduler", "controller-manager", "etcd"):
            control_plane.kill(component)
        shutil.rmtree(tmp_path / "etcd")
        shutil.copytree(tmp_path / "snapshot", tmp_path / "etcd")
        control_plane.start_again("etcd")
        control_plane.restart("apiserver")  # it remembers what came after
        for component in ("controller-manager", "scheduler"):
            control_plane.start_again(component)
        machine.enter_context(node(control_plane.kubeconfig, tmp_path))
        cluster.operator.start()

        run = trip.place.ended("trip")
        assert run["status"]["phase"] == "Succeeded"
        again = trip.place.run("ended")
        assert (again["metadata"]["uid"], again["status"]) == (ended["metadata"]["uid"], ended["status"])
        assert trip.book.count("hotel") == 1
        assert (len(keys(trip, "car")), len(set(keys(trip, "car")))) == (2, 1), "it is done again, and can be recognised"
        assert len(set(keys(trip, "flight"))) == 1
        assert not trip.place.has_run("later")
        assert step_of(trip.place.run("deleted"), "hold")["phase"] == "Waiting", "it is as it was, though it was undone since"
