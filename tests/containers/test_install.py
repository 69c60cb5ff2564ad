"""The chart with its operator as a pod: what a cluster's administrator does with it, from the first install to the last."""

import json
from collections.abc import Iterator

import pytest

from tests.cluster.deploy import NAMESPACE, RELEASE, Deployment
from tests.scenarios.manifests import run_of, shell, step
from tests.support.cluster import Place
from tests.support.container_cluster import Containers, quick_options
from tests.support.kubectl import Kubectl
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]


@pytest.fixture
def deployment(cluster: Containers) -> Iterator[Deployment]:
    """The steps of `make cluster` on this cluster; afterwards the chart is installed as it was."""
    steps = Deployment(cluster.kubeconfig, print)
    yield steps
    steps.install(*quick_options())


@pytest.fixture
def kubectl(cluster: Containers) -> Kubectl:
    return Kubectl(cluster.kubeconfig, NAMESPACE)


def test_the_operator_runs_as_nobody_on_a_file_system_that_it_cannot_change(cluster: Containers, kubectl: Kubectl) -> None:
    labels = kubectl.json("get", "namespace", NAMESPACE)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    (pod,) = cluster.operator.pods()
    (status,) = pod["status"]["containerStatuses"]
    assert status["ready"]
    node = next(node for node in cluster.real.nodes if node.name == pod["spec"]["nodeName"])
    pid = _pid(node.run("ctr", "--namespace", "k8s.io", "tasks", "list"), status["containerID"].removeprefix("containerd://"))
    told = dict(line.split(":", 1) for line in node.run("cat", f"/proc/{pid}/status").splitlines())
    assert told["Uid"].split() == ["65532"] * 4
    assert int(told["CapEff"], 16) == 0
    assert told["NoNewPrivs"].strip() == "1"
    assert told["Seccomp"].strip() == "2"
    (root,) = [line.split() for line in node.run("cat", f"/proc/{pid}/mountinfo").splitlines() if line.split()[4] == "/"]
    assert "ro" in root[5].split(",")


def _pid(tasks: str, container: str) -> str:
    return next(line.split()[1] for line in tasks.splitlines() if line.startswith(container))


def test_what_make_cluster_does_works_the_hello_workflow_and_both_orders(deployment: Deployment) -> None:
    assert "Succeeded" in deployment.check()
    deployment.sell()


def test_its_metrics_can_be_read_through_the_service(kubectl: Kubectl) -> None:
    found = kubectl("get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/services/{RELEASE}-metrics:metrics/proxy/metrics")
    assert "\nbackstay_" in found


def test_an_upgrade_with_live_runs_loses_none(place: Place, deployment: Deployment) -> None:
    place.apply(*(run_of(f"live-{number}", step("a", job=shell("sleep 6")), step("b", job=shell())) for number in range(4)))
    place.reached("live-3", "a")
    deployment.install(*quick_options(), "--set", "podAnnotations.changed=yes")
    for number in range(4):
        assert place.ended(f"live-{number}")["status"]["phase"] == "Succeeded"
    assert len(place.jobs()) == 8


def test_an_uninstall_leaves_workflows_and_runs_and_the_next_install_goes_on_with_them(
    place: Place, cluster: Containers, deployment: Deployment
) -> None:
    place.apply(run_of("left", step("a", wait={"duration": "5s"}), step("b", job=shell())))
    place.reached("left", "a", "Waiting")
    said = deployment.uninstall()
    assert "customresourcedefinitions" in said.lower().replace(" ", "") or "workflowruns.backstay.dev" in said
    wait_for(lambda: not cluster.operator.pods(), 60, what="the operator's pod is still there")
    assert json.loads(place.kubectl("get", "wfrun", "left", "-o", "json"))["status"]["phase"] == "Running"
    deployment.install(*quick_options())
    assert place.ended("left")["status"]["phase"] == "Succeeded"
