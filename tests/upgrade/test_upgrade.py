"""From the release before to this one and back, under runs in every state; and a release that goes and comes again."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chart.helm import CHART, NAMESPACE
from tests.chart.operated import QUICK, Release, released
from tests.chart.story import obstruct
from tests.scenarios.manifests import run_of, shell, step
from tests.support.cluster import Place, condition, step_of
from tests.support.operator_process import OperatorProcess
from tests.support.waiting import wait_for
from tests.upgrade.live import Live
from tests.upgrade.releases import Kept, newest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

KEPT = newest()


class Upgrading:
    """A release, and the operators of both versions as processes with its service account."""

    def __init__(self, release: Release, kept: Kept, folder: Path) -> None:
        self.release, self._folder = release, folder
        self._old = kept.unpack(folder)

    def operator(self, *, old: bool) -> OperatorProcess:
        """Return an operator of the release before, or of this checkout, to be started."""
        environment = {**QUICK, "BACKSTAY_LEASE_NAMESPACE": NAMESPACE, **({"PYTHONPATH": str(self._old)} if old else {})}
        folder = self._folder / f"operator-{len(self.release.operators)}"
        folder.mkdir()
        ports = ("--metrics-port", "0", "--health-port", "0")
        made = OperatorProcess(self.release.kubeconfig(), folder, *ports, environment=environment)
        self.release.operators.append(made)
        return made

    def live(self, purpose: str) -> Live:
        """Return a namespace for runs."""
        folder = self._folder / purpose
        folder.mkdir()
        return Live(self.release.cluster.place(purpose), folder)


@pytest.fixture(scope="module")
def upgrading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgrading]:
    folder = tmp_path_factory.mktemp("upgrade")
    with released(folder) as release:
        yield Upgrading(release, KEPT, folder)


def test_an_upgrade_and_the_way_back_lose_no_run_and_repeat_nothing(upgrading: Upgrading) -> None:
    release, forth, back = upgrading.release, upgrading.live("forth"), upgrading.live("back")
    release.install(KEPT.chart)
    old = upgrading.operator(old=True)
    old.start()
    assert f"backstay {KEPT.version} looks after" in old.log.read_text()
    forth.begin()
    finished = forth.place.run("finished")

    release.install(command="upgrade")
    assert old.stop() == 0
    forth.meanwhile()
    new = upgrading.operator(old=False)
    new.start()
    forth.finish()
    forth.check()
    assert step_of(forth.place.run("by-name"), "first"), "it kept the revision that it began with"
    assert forth.place.run("finished")["status"] == finished["status"], "what has ended is history"

    back.begin()
    held = _held(upgrading)
    release.helm("rollback", "1")
    assert new.stop() == 0
    back.meanwhile()
    old_again = upgrading.operator(old=True)
    old_again.start()
    back.finish()
    back.check()

    wait_for(lambda: "StatusTampered" in str(held.events("held")), what=lambda: held.events("held"))
    release.install(command="upgrade")
    old_again.stop()
    upgrading.operator(old=False).start()
    held.kubectl("delete", "quota", "none")
    assert condition(held.ended("held"), "Succeeded") == "True", "what the release before did not know it has left alone"


def _held(upgrading: Upgrading) -> Place:
    """A run in a state that the release before did not have: it waits for a quota."""
    place = upgrading.release.cluster.place("held")
    obstruct(place, **{"count/jobs.batch": "0"})
    place.apply(run_of("held", step(job=shell())))
    place.until("held", lambda run: "heldSince" in str(run.get("status", {}).get("steps")))
    return place


def test_uninstalling_leaves_the_runs_says_so_and_a_new_release_goes_on_with_them(upgrading: Upgrading) -> None:
    release, place = upgrading.release, upgrading.release.cluster.place("kept")
    release.end()
    release.install(command="upgrade --install")
    notes = release.helm("get notes")
    operator = upgrading.operator(old=False)
    operator.start()
    undo = {"job": {"image": "busybox:1.36", "command": ["true"]}}
    do = step("do", job=undo["job"], compensate=undo)
    place.apply(run_of("stays", do, step("hold", wait={"duration": "1s"})), run_of("goes", do, step("hold", wait={"duration": "1h"})))
    place.reached("goes", "hold", "Waiting")
    place.kubectl("patch", "wfrun", "stays", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    place.until("stays", lambda run: condition(run, "Suspended") == "True")

    told = release.helm("uninstall")
    operator.stop()
    assert "kept due to the resource policy" in told
    assert "[CustomResourceDefinition] workflowruns.backstay.dev" in told
    assert release.cluster.kubectl("get", "validatingadmissionpolicies", "-o", "name") == ""

    place.kubectl("delete", "wfrun", "goes", "--wait=false")
    assert place.has_run("goes"), "its finalizer waits for an operator"
    _let_go(release, notes, place.name)
    place.gone("goes")

    release.install()
    upgrading.operator(old=False).start()
    place.kubectl("patch", "wfrun", "stays", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    assert condition(place.ended("stays"), "Succeeded") == "True"


def _let_go(release: Release, notes: str, namespace: str) -> None:
    """Do what the notes of the release say about a run that waits for an operator that is no longer there."""
    (line,) = [line.strip() for line in notes.splitlines() if "kubectl patch" in line]
    program, *arguments = shlex.split(line.replace("NAMESPACE", namespace).replace("NAME", "goes"))
    assert program == "kubectl"
    # The API server goes by an admission policy for a moment after it was deleted.
    wait_for(lambda: release.cluster.kubectl.succeeds(*arguments), what="the finalizer cannot be taken off")


def test_the_release_before_is_kept_with_its_chart_and_is_older_than_this_one() -> None:
    assert KEPT.chart.name == f"backstay-{KEPT.version}.tgz"
    assert KEPT.wheel.name.startswith(f"backstay-{KEPT.version}-")
    assert f"version: {KEPT.version}\n" not in (CHART / "Chart.yaml").read_text(), "raise the version after a release"
