"""The control plane in trouble: gone for a while, forgetful, overloaded, of another time. Runs go on as if nothing had been, and nothing is done twice."""

import http
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path

import pytest
import yaml

from tests.cluster.control_plane import ControlPlane
from tests.cluster.processes import free_ports
from tests.scenarios.manifests import run_by_name, run_of, shell, steps, workflow_of
from tests.support.api import Object
from tests.support.cluster import QUICK, Cluster, Place, condition, step_of
from tests.support.control_plane_fixture import in_ci
from tests.support.faketime import FaketimeMissing, environment_off_by, library
from tests.support.metrics import metrics_of, total
from tests.support.operator_process import OperatorProcess
from tests.support.real_cluster import audit_arguments, cluster_on
from tests.support.trip import FAST, Trip
from tests.support.waiting import wait_for

pytestmark = pytest.mark.e2e

RECOVERY_SECONDS = 30
"""How soon runs must go on once the server is back (DESIGN, promise 3)."""


@dataclass(frozen=True)
class Site:
    """A control plane whose parts can be killed, with a node, and operators as a test wants them."""

    control_plane: ControlPlane
    cluster: Cluster
    kubeconfig: Path
    """Speaks as a service account, as an operator in a pod does: nothing of it is beyond authorization, limits, or a server that starts anew."""

    @contextmanager
    def operator(self, *arguments: str, environment: dict[str, str] | None = None) -> Iterator["Watched"]:
        """An operator whose metrics can be read."""
        (port,) = free_ports(1)
        folder = self.cluster.folder / f"operator-{port}"
        folder.mkdir()
        ports = ("--metrics-port", str(port), "--health-port", "0")
        process = OperatorProcess(self.kubeconfig, folder, *ports, *arguments, environment=QUICK | (environment or {}))
        process.start()
        try:
            yield Watched(process, port)
        finally:
            process.kill9()

    def revive(self, component: str) -> None:
        """Start a component again, and with it those that end when they cannot renew their lease for ten seconds, and that kubelet then restarts."""
        self.control_plane.start_again(component)
        for other in ("controller-manager", "scheduler"):
            self.control_plane.restart(other)


@dataclass(frozen=True)
class Watched:
    """An operator and its metrics."""

    process: OperatorProcess
    port: int

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        return total(metrics_of(self.port), name, **labels)

    @property
    def log(self) -> str:
        return self.process.log.read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("cluster")
    with ControlPlane.start(folder, api_arguments=audit_arguments(folder)) as control_plane, cluster_on(control_plane, folder) as cluster:
        cluster.operator.kill9()
        yield Site(control_plane, cluster, _account(cluster, folder))


ACCOUNT = "backstay-operator"


def _account(cluster: Cluster, folder: Path) -> Path:
    """Make a service account that may do everything; return its kubeconfig."""
    cluster.kubectl("create", "serviceaccount", ACCOUNT, "--namespace", "default")
    cluster.kubectl("create", "clusterrolebinding", ACCOUNT, "--clusterrole=cluster-admin", f"--serviceaccount=default:{ACCOUNT}")
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"]["token"] = cluster.kubectl("create", "token", ACCOUNT, "--namespace", "default").strip()
    own = folder / "operator.kubeconfig"
    own.touch(mode=0o600)
    own.write_text(yaml.safe_dump(config))
    return own


@pytest.fixture
def place(site: Site, request: pytest.FixtureRequest) -> Place:
    return site.cluster.place(request.node.name.removeprefix("test_"))


# ------------------------------------------------------------------------------------------------------------------ gone

OUTAGE_SECONDS = 5


@pytest.mark.parametrize("component", ["apiserver", "etcd"])
def test_an_outage_in_the_middle_of_runs_changes_none_of_them(site: Site, place: Place, tmp_path: Path, component: str) -> None:
    """One run waits for a step, another one is being undone, a timer falls due meanwhile; the operator survives, and recovers in good time."""
    trip = Trip(place, tmp_path)
    no = {"name": "stop", "fail": {"error": "NoCar"}}
    with site.operator() as operator:
        place.apply(
            run_of("goes-on", trip.step("hotel"), trip.step("flight", gate="gate"), trip.step("car")),
            run_of("is-undone", trip.step("museum"), trip.step("dinner", undo_gate="gate"), no),
            run_of("waits", {"name": "pause", "wait": {"duration": "3s"}}, {"name": "after", "set": {"x": 1}}),
        )
        trip.begun("flight")
        trip.begun("no-dinner")
        place.reached("waits", "pause", "Waiting")
        site.control_plane.kill(component)
        began, asked = time.monotonic(), operator.metric("backstay_api_requests_total")
        trip.open("gate")
        wait_for(lambda: time.monotonic() - began > OUTAGE_SECONDS, OUTAGE_SECONDS + 5)  # the fault that is injected: a time without it
        in_vain = operator.metric("backstay_api_requests_total") - asked
        site.revive(component)
        back = time.monotonic()
        place.apply(run_of("new", {"name": "only", "set": {"x": 1}}))
        ended = {name: place.ended(name, RECOVERY_SECONDS) for name in ("new", "waits", "goes-on", "is-undone")}
        print(f"{component}: all have ended {time.monotonic() - back:.1f} s after it was back; {in_vain:.0f} requests in vain")
        assert {name: run["status"]["phase"] for name, run in ended.items()} == {
            "new": "Succeeded",
            "waits": "Succeeded",
            "goes-on": "Succeeded",
            "is-undone": "Failed",
        }
        assert condition(ended["is-undone"], "Compensated") == "True"
        assert [word for word in trip.book if word in ("hotel", "flight", "car")] == ["hotel", "flight", "car"]
        assert [word for word in trip.book if word not in ("hotel", "flight", "car")] == ["museum", "dinner", "no-dinner", "no-museum"]
        assert operator.process.is_running
        assert in_vain < 20 * OUTAGE_SECONDS, "the operator asks again and again without a pause"


# -------------------------------------------------------------------------------------------------------------- forgetful


AGAIN = {"maxAttempts": 2, "interval": "10ms", "errors": ["*"]}


def test_an_operator_that_falls_behind_what_the_server_remembers_misses_nothing_and_repeats_nothing(
    site: Site, place: Place, tmp_path: Path
) -> None:
    """It sleeps while the server starts anew and etcd forgets the time before: each watch that it would go on with is answered with 410 Gone."""
    trip = Trip(place, tmp_path)
    with site.operator() as operator:
        place.apply(
            run_of("goes-on", trip.step("hotel"), trip.step("flight", gate="gate"), trip.step("car")),
            run_of("loses-its-job", trip.step("museum"), {**trip.step("dinner", gate="never"), "retry": AGAIN}),
            run_of("is-deleted", trip.step("opera"), trip.step("taxi", gate="never")),
        )
        for word in ("flight", "dinner", "taxi"):
            trip.begun(word)
        before = {resource: operator.metric("backstay_informer_lists", resource=resource) for resource in ("jobs", "pods")}
        operator.process.send(signal.SIGSTOP)
        site.control_plane.restart("apiserver")  # what happens from now on does not even wait in the operator's sockets
        trip.open("gate")
        wait_for(lambda: "flight" in trip.book)
        place.kubectl("delete", "wfrun", "is-deleted", "--wait=false")
        (job,) = (job for job in place.jobs("loses-its-job") if job["metadata"]["annotations"]["backstay.dev/path"] == "dinner")
        place.kubectl("delete", "job", job["metadata"]["name"])
        site.control_plane.kill("apiserver")
        site.control_plane.forget_history()
        site.revive("apiserver")
        place.apply(run_of("new", {"name": "only", "set": {"x": 1}}))
        operator.process.send(signal.SIGCONT)
        place.ended("new", RECOVERY_SECONDS)
        place.gone("is-deleted", RECOVERY_SECONDS)
        assert place.ended("goes-on", RECOVERY_SECONDS)["status"]["phase"] == "Succeeded"
        trip.begun("dinner", times=2)  # its second attempt
        assert step_of(place.run("loses-its-job"), "dinner")["attempt"] == 2
        for resource, lists in before.items():
            assert operator.metric("backstay_informer_lists", resource=resource) > lists, f"{resource}: no watch was answered with 410"
        assert operator.process.is_running
        assert sorted(set(trip.book)) == ["car", "flight", "hotel", "museum", "no-opera", "no-taxi", "opera"], (
            "nobody knows whether the taxi came"
        )
        # Each attempt is one Job. Not each is one pod: after such a restart the Job controller of 1.32 has been seen to run a Job's pod
        # again that was complete, from what it remembered. Idempotency keys are for that.
        jobs = (write for write in place.cluster.writes(place.name) if (write.resource, write.verb, write.code) == ("jobs", "create", 201))
        made = [write.name for write in jobs if write.name]  # what has no name is the question whether the namespace goes: it makes nothing
        assert len(made) == len(set(made)) == 10, made


# ------------------------------------------------------------------------------------------------------------- overloaded

SLUGGISH = "sluggish"
RUNS = 20


def priority_level() -> Object:
    """A priority level without a seat of its own: it serves one request at a time, when it has none, and turns away all others."""
    limited = {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0, "limitResponse": {"type": "Reject"}}
    return _flow_control("PriorityLevelConfiguration", {"type": "Limited", "limited": limited})


def flow_schema() -> Object:
    """Send all that the operator asks for to that priority level."""
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    subject = {"kind": "ServiceAccount", "serviceAccount": {"name": ACCOUNT, "namespace": "default"}}
    rule = {"subjects": [subject], "resourceRules": [everything]}
    return _flow_control("FlowSchema", {"priorityLevelConfiguration": {"name": SLUGGISH}, "matchingPrecedence": 50, "rules": [rule]})


def _flow_control(kind: str, spec: Object) -> Object:
    return {"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": kind, "metadata": {"name": SLUGGISH}, "spec": spec}


@contextmanager
def turned_away(site: Site) -> Iterator[None]:
    """Have the operator's requests turned away when there are several at once."""
    for manifest in (priority_level(), flow_schema()):
        site.cluster.kubectl("apply", "-f", "-", given=manifest)
    try:
        yield
    finally:
        site.cluster.kubectl("delete", "flowschema,prioritylevelconfiguration", SLUGGISH)


def pauses(site: Site, place: Place) -> list[float]:
    """Return how many seconds passed, by the server's record, from each first write of a run that was answered with 429 until it was tried again.

    Only until it has begun: from then on news of its Jobs may have it tried sooner.
    """
    writes: dict[str, list[tuple[datetime, int]]] = {}
    for event in map(json.loads, site.cluster.audit_log.read_text().splitlines()):
        about = event.get("objectRef") or {}
        if (about.get("namespace"), about.get("resource"), about.get("subresource")) == (place.name, "workflowruns", "status"):
            moment = datetime.fromisoformat(event["requestReceivedTimestamp"])
            writes.setdefault(about["name"], []).append((moment, event["responseStatus"]["code"]))
    found: list[float] = []
    for tries in writes.values():
        vain = [moment for moment, _ in takewhile(lambda each: each[1] == http.HTTPStatus.TOO_MANY_REQUESTS, tries)]
        found += [(after - before).total_seconds() for before, (after, _) in zip(vain, tries[1:], strict=False)]
    return found


def test_an_operator_that_is_turned_away_with_429_waits_as_told_and_its_runs_end(site: Site, place: Place) -> None:
    with site.operator() as operator:
        operator.process.send(signal.SIGSTOP)
        with turned_away(site):
            steps_of_each = [{"name": name, "job": shell("true", **FAST)} for name in ("a", "b")]
            place.apply(*(run_of(f"run-{number}", *steps_of_each) for number in range(RUNS)))
            operator.process.send(signal.SIGCONT)  # it hears of all of them at once
            for number in range(RUNS):
                assert place.ended(f"run-{number}")["status"]["phase"] == "Succeeded"
        waited = pauses(site, place)
        print(f"{len(waited)} first writes were turned away; they were tried again after {min(waited):.2f} to {max(waited):.2f} s")
        assert min(waited) > 0.99, "the operator does not wait a second, as it is told"
        assert max(waited) < RECOVERY_SECONDS
        assert operator.process.is_running
        assert len(place.jobs()) == RUNS * len(steps_of_each)


# ------------------------------------------------------------------------------------------------------ several namespaces


def saying(word: str) -> Object:
    """A workflow of the same name everywhere, which says something else in each namespace."""
    tell = shell(f"""echo '{{"word": "{word}"}}' > $BACKSTAY_OUTPUT""")
    undo = {"job": shell("true")}
    hold = {"name": "hold", "wait": {"duration": "1s"}}
    spec = steps(
        {"name": "tell", "job": tell, "compensate": undo}, hold, outputs=[{"name": "word", "value": "${ steps.tell.outputs.word }"}]
    )
    return workflow_of(spec, "say")


def test_runs_of_the_same_names_in_several_namespaces_have_nothing_to_do_with_each_other(site: Site) -> None:
    """Two operators, one for two of the namespaces, one for a third; later one for all of them."""
    red, green, blue, grey = places = [site.cluster.place(colour) for colour in ("red", "green", "blue", "grey")]
    with site.operator("--namespace", red.name, "--namespace", green.name), site.operator("--namespace", blue.name):
        for place in places:
            place.apply(saying(place.name), *(run_by_name(f"run-{number}", "say") for number in range(3)))
        for place in (red, green, blue):
            _has_said_its_own(place)
        assert [grey.run(f"run-{number}").get("status") for number in range(3)] == [None] * 3
        assert (grey.jobs(), grey.workflow("say").get("status")) == ([], None)
    with site.operator():
        _has_said_its_own(grey)
        red.apply(run_of("held", {"name": "only", "job": shell("while true; do sleep 0.1; done", **FAST)}))
        _impersonate(red.reached("held", "only"), red, grey)
        grey.apply(run_by_name("another", "say"))
        grey.ended("another")  # there was time to believe the forged Job
        assert step_of(red.run("held"), "only")["phase"] == "Running", "a Job of another namespace was taken for the run's own"
        red.kubectl("delete", "wfrun", "held", "--wait=false")
        red.gone("held")
        assert grey.jobs("held"), "a Job of another namespace was deleted with the run"


def _has_said_its_own(place: Place) -> None:
    for number in range(3):
        assert place.ended(f"run-{number}")["status"]["outputs"] == {"word": place.name}
    assert len([job for job in place.jobs() if job["metadata"]["annotations"]["backstay.dev/path"] == "tell"]) == 3


def _impersonate(run: Object, theirs: Place, ours: Place) -> None:
    """Make a Job elsewhere that has the name and the labels of a run's own, and wait until it has succeeded."""
    name = step_of(run, "only")["job"]
    wait_for(lambda: theirs.jobs("held"), what="its Job is not there: it is created after the step has become Running")
    (job,) = (job for job in theirs.jobs("held") if job["metadata"]["name"] == name)
    meta = {"name": name, "labels": {"backstay.dev/run": run["metadata"]["uid"]}, "annotations": job["metadata"]["annotations"]}
    pod = {"metadata": {"labels": meta["labels"]}, "spec": {"restartPolicy": "Never", "containers": [{"name": "main", **shell("true")}]}}
    manifest = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": pod}}
    ours.kubectl("apply", "-f", "-", given=manifest)
    ours.kubectl("wait", "--for=condition=Complete", f"job/{name}", "--timeout=30s")


# --------------------------------------------------------------------------------------------------------- of another time

SKEW = timedelta(minutes=5)


@pytest.fixture
def clock() -> Callable[[str], dict[str, str]]:
    """Return a function that gives the environment of a process whose clock is off."""
    try:
        library()
    except FaketimeMissing as error:
        pytest.fail(str(error)) if in_ci() else pytest.skip(str(error))
    return environment_off_by


def test_an_operator_whose_clock_is_five_minutes_off_ends_nothing_early_and_nothing_late(
    site: Site, clock: Callable[[str], dict[str, str]]
) -> None:
    """Two operators with a namespace each: the clock of one is ahead of the API server's, that of the other behind."""
    ahead, behind = site.cluster.place("ahead"), site.cluster.place("behind")
    quickly = {"BACKSTAY_SWEEP_SECONDS": "0.5"}
    with (
        site.operator("--namespace", ahead.name, environment=clock("+5m") | quickly) as early,
        site.operator("--namespace", behind.name, environment=clock("-5m") | quickly) as late,
    ):
        for place in (ahead, behind):
            place.apply(*_with_limits())
        for place, operator, off, words in ((ahead, early, SKEW, "ahead of"), (behind, late, -SKEW, "behind")):
            _keeps_time(place, off)
            wait_for(lambda operator=operator, words=words: f"300 s {words} the API server's" in operator.log, what=operator.log)
            assert abs(operator.metric("backstay_clock_skew_seconds") - off.total_seconds()) < 5


def _with_limits() -> list[Object]:
    """Whatever compares one time with another."""
    job = {"job": {**shell("sleep 1", **FAST), "startTimeout": "20s"}, "attemptTimeout": "20s", "timeout": "30s"}
    return [
        workflow_of(steps({"name": "a", "set": {"x": 1}}), "kept"),
        run_of("timer", {"name": "pause", "wait": {"duration": "2s"}}),
        run_of("limited", {"name": "job", **job}, timeout="40s"),
        run_of("too-slow", {"name": "job", "job": shell("sleep 60", **FAST), "timeout": "2s"}),
        run_of("kept-a-while", {"name": "a", "set": {"x": 1}}, ttl={"succeeded": "20s"}),
        run_of("short-lived", {"name": "a", "set": {"x": 1}}, ttl={"succeeded": "1s"}),
    ]


def _keeps_time(place: Place, off: timedelta) -> None:
    limited, slow, timer = (place.ended(name) for name in ("limited", "too-slow", "timer"))
    began, ended = (datetime.fromisoformat(timer["status"][moment]) for moment in ("startedAt", "finishedAt"))
    made = datetime.fromisoformat(timer["metadata"]["creationTimestamp"])
    assert abs(began - made - off) < timedelta(seconds=20), f"the operator's clock was not off: {began} and {made}"
    assert timedelta(seconds=2) <= ended - began < timedelta(seconds=10)
    assert datetime.now(UTC) - made < timedelta(seconds=60), "by the test's own clock, too, nothing has waited for minutes"
    assert limited["status"]["phase"] == "Succeeded"
    told = [entry["reason"] for entry in limited["status"]["journal"]["entries"] if entry["kind"] in ("JobSeen", "JobHeld")]
    assert told == [], "a Job was said to wait although it did not"
    assert slow["status"]["error"]["type"] == "Timeout"
    place.gone("short-lived")
    assert place.has_run("kept-a-while"), "a run was deleted before its time"
    assert place.workflow("kept")["status"]["revision"]["number"] == 1
    assert place.cluster.api.list("controllerrevisions", place.name), "a revision was taken for an old one"
