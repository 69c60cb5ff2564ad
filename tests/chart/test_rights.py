"""The operator works with the rights that the chart gives it: it runs as the chart's service account, and the API server refuses it nothing."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.chart.helm import CHART, NAMESPACE, Manifest, run_helm
from tests.cluster.control_plane import ControlPlane
from tests.support.cluster import EXAMPLES, Cluster, Object, Place, condition
from tests.support.operator_process import OperatorProcess
from tests.support.real_cluster import node
from tests.support.waiting import wait_for

pytestmark = pytest.mark.e2e

_NOWHERE = {"nodeSelector": {"example.com/nowhere": "true"}}
"""The chart's own pod waits for a node for ever: the operator runs as a process of the test, where it can be looked at."""

_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": [f"system:serviceaccounts:{NAMESPACE}"]}, {"level": "None"}],
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane with a node, and a record of all that the service accounts of the chart's namespace ask for."""
    folder = tmp_path_factory.mktemp("rights")
    policy, audit = folder / "policy.json", folder / "audit.log"
    policy.write_text(json.dumps(_AUDIT))
    arguments = ["--audit-policy-file", str(policy), "--audit-log-path", str(audit), "--audit-log-mode", "blocking-strict"]
    with ControlPlane.start(folder, api_arguments=arguments) as control_plane, node(control_plane.kubeconfig, folder):
        running = Cluster("real", control_plane.kubeconfig, folder, audit)
        running.kubectl("create", "namespace", NAMESPACE)
        yield running
        running.api.close()


@pytest.fixture
def operator_of(cluster: Cluster) -> Iterator[object]:
    """Return a function that installs the chart and starts the operator as the release's service account."""
    started: list[OperatorProcess] = []

    def start(release: str, values: Manifest, *arguments: str) -> OperatorProcess:
        where = ("--kubeconfig", cluster.kubeconfig, "--namespace", NAMESPACE)
        installed = run_helm("install", release, CHART, *where, values={**_NOWHERE, "fullnameOverride": release, **values})
        assert installed.returncode == 0, installed.stderr
        kubeconfig = yaml.safe_load(cluster.kubeconfig.read_text())
        kubeconfig["users"][0]["user"]["token"] = cluster.kubectl("create", "token", release, "--namespace", NAMESPACE).strip()
        own = cluster.folder / f"{release}.kubeconfig"
        own.touch(mode=0o600)
        own.write_text(yaml.safe_dump(kubeconfig))
        folder = cluster.folder / release
        folder.mkdir()
        ports = ("--metrics-port", "0", "--health-port", "0")
        operator = OperatorProcess(own, folder, *ports, *arguments, environment={"BACKSTAY_SWEEP_SECONDS": "1"})
        operator.start()
        started.append(operator)
        return operator

    yield start
    for each in started:
        each.kill9()


def _asked(audit: Path, release: str) -> list[tuple[str, str, int]]:
    """Return verb, resource and answer of each request of a release's service account."""
    found = []
    for line in audit.read_text().splitlines():
        event = json.loads(line)
        if event["user"]["username"] == f"system:serviceaccount:{NAMESPACE}:{release}":
            about = event.get("objectRef") or {"resource": event["requestURI"]}
            resource = "/".join(filter(None, (about.get("resource"), about.get("subresource"))))
            found.append((event["verb"], resource, event.get("responseStatus", {}).get("code", 0)))
    return found


def _refused(audit: Path, release: str) -> list[tuple[str, str, int]]:
    return [each for each in _asked(audit, release) if each[2] in (401, 403)]


def _holding(name: str) -> Object:
    """A run that waits with something to undo."""
    undo = {"job": {"image": "busybox:1.36", "command": ["echo", "undone"]}}
    steps = [
        {"name": "do", "job": {"image": "busybox:1.36", "command": ["echo", "done"]}, "compensate": undo},
        {"name": "hold", "wait": {"duration": "1h"}},
    ]
    meta = {"name": name}
    return {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": meta,
        "spec": {"workflow": {"inline": {"steps": steps}}},
    }


def _live_through_everything(place: Place) -> None:
    """A success, a timeout, a failure that is undone, a deletion that is undone, and a run whose time to live ends."""
    for example in ("hello.yaml", "steps/compensate.yaml", "steps/timeout.yaml"):
        place.apply(EXAMPLES / example)
    assert condition(place.ended("hello"), "Succeeded") == "True"
    assert condition(place.ended("timeout"), "Succeeded") == "True"
    assert condition(place.ended("compensate"), "Compensated") == "True"
    place.apply(_holding("deleted"))
    place.reached("deleted", "hold", "Waiting")
    place.kubectl("delete", "wfrun", "deleted", "--wait=false")
    place.gone("deleted")
    place.kubectl("patch", "wfrun", "hello", "--type=merge", "-p", '{"spec": {"ttl": {"succeeded": "1s"}}}')
    place.gone("hello")


def test_an_operator_of_all_namespaces_is_refused_nothing(cluster: Cluster, operator_of) -> None:
    operator_of("wide", {})
    _live_through_everything(cluster.place("all"))
    used = {(verb, resource) for verb, resource, _ in _asked(cluster.audit_log, "wide")}
    assert {("create", "jobs"), ("delete", "jobs"), ("delete", "workflowruns"), ("create", "controllerrevisions")} <= used
    wait_for(lambda: ("create", "events") in {(verb, name) for verb, name, _ in _asked(cluster.audit_log, "wide")}, what="no Event")
    assert _refused(cluster.audit_log, "wide") == []


def test_an_operator_of_one_namespace_is_refused_nothing_and_leaves_the_others_alone(cluster: Cluster, operator_of) -> None:
    place, other = cluster.place("one"), cluster.place("other")
    values = {"watchNamespaces": [place.name], "crds": {"enabled": False}, "userRoles": {"enabled": False}}
    other.apply(_holding("of-others"))
    operator_of("narrow", values, "--namespace", place.name)
    _live_through_everything(place)
    assert "status" not in other.run("of-others")
    assert _refused(cluster.audit_log, "narrow") == []
