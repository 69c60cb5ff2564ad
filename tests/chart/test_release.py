"""The chart at work where only restricted pods are admitted: the operator's pod, the Jobs of runs, `helm test`."""

import copy

import pytest

from tests.chart.helm import NAMESPACE, of_kind, rendered
from tests.chart.operated import Release
from tests.scenarios.manifests import run_of, shell, step
from tests.support.cluster import EXAMPLES, Place, condition, documents
from tests.support.waiting import wait_for

pytestmark = pytest.mark.e2e

ENFORCE = "pod-security.kubernetes.io/enforce=restricted"


@pytest.fixture(scope="module")
def restricted(release: Release) -> Place:
    place = release.cluster.place("restricted")
    place.kubectl("label", "namespace", place.name, ENFORCE)
    return place


# ------------------------------------------------------------------------------------------------------------ restricted


def test_the_pods_of_the_chart_are_admitted_where_only_restricted_ones_are(restricted: Place) -> None:
    everything = rendered({"networkPolicy": {"enabled": True}, "image": {"pullPolicy": "Never"}})
    template = of_kind(everything, "Deployment")[0]["spec"]["template"]
    operator = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator"}, "spec": template["spec"]}
    pods = [operator, *copy.deepcopy(of_kind(everything, "Pod"))]
    assert len(pods) == 2
    for pod in pods:
        pod["metadata"] = {"name": pod["metadata"]["name"]}
        pod["spec"] = {**pod["spec"], "serviceAccountName": "default"}
        restricted.kubectl("create", "--dry-run=server", "-f", "-", given=pod)
    root = copy.deepcopy(operator)
    root["spec"]["securityContext"] = {}
    told = restricted.kubectl.refused("create", "--dry-run=server", "-f", "-", given=root)
    assert "violates PodSecurity" in told, "the admission does look"


def test_the_jobs_of_runs_are_admitted_where_only_restricted_pods_are(restricted: Place) -> None:
    for example in ("hello.yaml", "steps/compensate.yaml", "steps/parallel.yaml"):
        restricted.apply(EXAMPLES / example)
    beside = {"initContainers": [{"name": "before", "image": "busybox:1.36", "command": ["true"]}]}
    restricted.apply(run_of("with-a-template", step(job=shell(template={"spec": beside}))))
    assert condition(restricted.ended("hello"), "Succeeded") == "True"
    assert condition(restricted.ended("with-a-template"), "Succeeded") == "True"
    assert condition(restricted.ended("compensate"), "Compensated") == "True"
    for document in documents(EXAMPLES / "steps" / "parallel.yaml"):
        if document["kind"] == "WorkflowRun":
            assert condition(restricted.ended(document["metadata"]["name"]), "Succeeded") == "True"


def test_a_template_that_asks_for_more_is_told_why_it_has_no_pod(restricted: Place) -> None:
    root = {"spec": {"securityContext": {"runAsUser": 0}}}
    restricted.apply(run_of("as-root", step(job=shell(template=root, startTimeout="2s"), retry={"maxAttempts": 1})))
    assert "violates PodSecurity" in str(restricted.ended("as-root")["status"]["error"])


# -------------------------------------------------------------------------------------------------------------- helm test


def _left_behind(release: Release) -> str:
    kinds = "pods,serviceaccounts,roles,rolebindings"
    return release.cluster.kubectl("get", kinds, "--namespace", NAMESPACE, "-l", "app.kubernetes.io/component=test", "-o", "name")


def test_helm_test_runs_a_hello_workflow_and_leaves_nothing(release: Release) -> None:
    told = release.helm("test", "--logs", "--timeout", "60s")
    assert "Phase:          Succeeded" in told
    assert "the run has succeeded" in told
    assert "the installation works" in told
    wait_for(lambda: _left_behind(release) == "", what=lambda: _left_behind(release))
    assert release.cluster.kubectl("get", "wfrun", "--namespace", NAMESPACE, "-o", "name") == ""


def test_helm_test_fails_and_says_why_while_no_operator_works(release: Release) -> None:
    with release.stopped():
        manifests = rendered()
        (pod,) = copy.deepcopy(of_kind(manifests, "Pod"))
        pod["spec"]["containers"][0]["args"][-1] = "--timeout=1s"
        for each in [*(one for one in manifests if one["metadata"]["name"] == "backstay-test" and one["kind"] != "Pod"), pod]:
            release.cluster.kubectl("create", "-f", "-", given=each)
        kubectl = release.cluster.kubectl
        kubectl("wait", "pod/backstay-test", "--namespace", NAMESPACE, "--for=jsonpath={.status.phase}=Failed", "--timeout=40s")
        logs = kubectl("logs", "backstay-test", "--namespace", NAMESPACE)
        (state,) = kubectl.json("get", "pod", "backstay-test", "--namespace", NAMESPACE)["status"]["containerStatuses"]
    assert "is the operator running, and does it look after this namespace?" in logs
    assert state["state"]["terminated"]["exitCode"] == 4
    kubectl("delete", "pod,sa,role,rolebinding", "backstay-test", "--namespace", NAMESPACE)
