"""Troubles that need a kubelet, and what a user then sees: memory, images, eviction, nodes that are drained, cut off or lost.

What a control plane shows without one is in tests/e2e; docs/troubleshooting.md has a row for each.
"""

import time
from collections.abc import Iterator

import pytest

from tests.cluster.deploy import NAMESPACE
from tests.cluster.node import Node
from tests.scenarios.manifests import run_of, shell, step
from tests.support.api import Object
from tests.support.cluster import Place, condition, phase_of, step_of
from tests.support.container_cluster import Containers
from tests.support.kubectl import Kubectl
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.containers, pytest.mark.timeout(240)]

GIVEN_UP_SECONDS = 120
"""Time for a lost node to be noticed, given up and cleared away: 12 s and 5 s with this cluster's settings, and the collector of pods every 20 s."""


@pytest.fixture
def nodes(cluster: Containers) -> Iterator[list[Node]]:
    """The two nodes; afterwards both have power, cable and room again."""
    yield cluster.real.nodes
    kubectl = Kubectl(cluster.kubeconfig)
    for node in cluster.real.nodes:
        node.plug_in()
        if not node.has_power:
            node.power_on()
    cluster.real.wait_until_ready()
    for node in cluster.real.nodes:
        kubectl("uncordon", node.name)


def keep_off(cluster: Containers, node: Node) -> None:
    """Let no new pod come to a node."""
    Kubectl(cluster.kubeconfig)("cordon", node.name)


def let_on(cluster: Containers, node: Node) -> None:
    Kubectl(cluster.kubeconfig)("uncordon", node.name)


def bound_to_leave(first: Node, script: str = "sleep 1000 & wait") -> Object:
    """A step whose container does `script` on one node, ends well on any other, and says on which."""
    env = [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
    template = {"spec": {"terminationGracePeriodSeconds": 2, "containers": [{"name": "main", "env": env}]}}
    text = f'trap "exit 143" TERM; if [ $NODE = {first.name} ]; then {script}; fi; echo "{{\\"node\\": \\"$NODE\\"}}" > $BACKSTAY_OUTPUT'
    return step("work", job=shell(text, template=template))


def runs_on(cluster: Containers, place: Place, run: str, node: Node) -> Object:
    """Wait until the pod of a run's only Job runs on a node, and return the pod."""

    def look() -> Object | None:
        return next(
            (pod for pod in pods(place) if pod["spec"].get("nodeName") == node.name and pod["status"].get("phase") == "Running"), None
        )

    return wait_for(look, 60, what=lambda: f"no pod of {run} runs on {node.name}: {place.kubectl('get', 'pods', '-o', 'wide')}")


def begin_on(cluster: Containers, place: Place, node: Node, other: Node) -> None:
    """Start a run whose pod runs on `node` and may then go to the other."""
    keep_off(cluster, other)
    place.apply(run_of("moved", bound_to_leave(node)))
    runs_on(cluster, place, "moved", node)
    let_on(cluster, other)


def ended_elsewhere(place: Place, node: Node) -> Object:
    """Wait until the run has ended on `node`, with its first attempt; return the run."""
    run = place.ended("moved", GIVEN_UP_SECONDS)
    assert run["status"]["phase"] == "Succeeded", run["status"].get("error")
    work = step_of(run, "work")
    assert work["outputs"] == {"node": node.name}
    assert work.get("attempts", 1) == 1
    return run


# ----------------------------------------------------------------------------------------------------------- containers


def test_a_container_that_takes_more_memory_than_it_may_fails_with_what_it_was_allowed(place: Place) -> None:
    greedy = shell("tail /dev/zero", resources={"limits": {"memory": "16Mi"}, "requests": {"memory": "16Mi"}})
    place.apply(run_of("greedy", step("work", job=greedy)))
    error = place.ended("greedy")["status"]["error"]
    assert error["type"] == "OOMKilled"
    assert "16Mi" in error["detail"]


def test_an_image_that_cannot_be_pulled_is_told_at_once_and_ends_the_step_after_its_start_timeout(place: Place) -> None:
    place.apply(run_of("absent", step("work", job={"image": "missing/image:1", "startTimeout": "12s"})))
    waiting = place.until("absent", lambda run: "ImagePull" in (step_of(run, "work").get("message", "") if phase_of(run, "work") else ""))
    assert condition(waiting, "Complete") != "True"
    assert "missing/image:1" in step_of(waiting, "work")["message"]
    error = place.ended("absent")["status"]["error"]
    assert error["type"] == "ImagePull"
    assert "missing/image:1" in error["detail"]


def test_a_pod_that_fills_its_disk_fails_with_what_it_was_allowed_and_is_not_run_again(place: Place) -> None:
    volume = {"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}
    main = {"name": "main", "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}
    template = {"spec": {"terminationGracePeriodSeconds": 2, "volumes": [volume], "containers": [main]}}
    job = shell("dd if=/dev/zero of=/scratch/full bs=1M count=8; trap 'exit 1' TERM; sleep 1000 & wait", template=template)
    place.apply(run_of("full", step("work", job=job)))
    error = place.ended("full")["status"]["error"]
    assert error["type"] == "StorageExceeded"
    assert '"scratch"' in error["detail"]
    assert "1Mi" in error["detail"]
    assert len(pods(place)) == 1


def test_a_pod_deleted_by_hand_is_run_again_without_using_up_an_attempt(cluster: Containers, place: Place, nodes: list[Node]) -> None:
    first, other = nodes
    begin_on(cluster, place, first, other)
    keep_off(cluster, first)
    pod = runs_on(cluster, place, "moved", first)["metadata"]["name"]
    place.kubectl("delete", "pod", pod, "--wait=false")
    ended_elsewhere(place, other)


# ---------------------------------------------------------------------------------------------------------------- nodes


def test_a_drained_node_moves_its_steps_to_another_and_no_attempt_is_used_up(cluster: Containers, place: Place, nodes: list[Node]) -> None:
    first, other = nodes
    begin_on(cluster, place, first, other)
    drain = ("drain", first.name, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=50s")
    Kubectl(cluster.kubeconfig)(*drain)
    ended_elsewhere(place, other)


def test_a_node_that_loses_its_power_costs_time_and_no_attempt(cluster: Containers, place: Place, nodes: list[Node]) -> None:
    first, other = nodes
    operator_on(cluster, other, first)
    begin_on(cluster, place, first, other)
    first.power_off()
    # Kubernetes cannot know whether the pod still runs. Whoever knows that the machine is off says so: a cloud does, or a person.
    wait_for(lambda: not_ready(cluster, first), 60, what="the node is not seen to be gone")
    Kubectl(cluster.kubeconfig)("delete", "node", first.name)
    ended_elsewhere(place, other)


def test_a_node_that_is_cut_off_and_comes_back_runs_nothing_twice_at_once(cluster: Containers, place: Place, nodes: list[Node]) -> None:
    first, other = nodes
    operator_on(cluster, other, first)
    begin_on(cluster, place, first, other)
    first.cut_off()
    wait_for(lambda: being_deleted(place), 60, what="its pods are not given up")
    assert len(pods(place)) == 1, "a second pod was started while the first may still run"
    keep_off(cluster, first)
    first.plug_in()
    ended_elsewhere(place, other)


def test_the_operator_is_taken_over_by_another_node_when_its_own_is_lost(cluster: Containers, place: Place, nodes: list[Node]) -> None:
    first, other = nodes
    operator_on(cluster, first, other)
    keep_off(cluster, first)
    place.apply(run_of("long", step("a", job=shell("sleep 20")), step("b", job=shell())))
    place.reached("long", "a")
    began = time.monotonic()
    first.power_off()
    assert place.ended("long", GIVEN_UP_SECONDS)["status"]["phase"] == "Succeeded"
    print(f"the run ended {time.monotonic() - began:.0f} s after the operator's node was lost")


def pods(place: Place) -> list[Object]:
    return place.cluster.api.list("pods", place.name)


def operator_on(cluster: Containers, node: Node, other: Node) -> None:
    """Let the operator's pod run on a node."""
    if [pod["spec"].get("nodeName") for pod in cluster.operator.pods()] == [node.name]:
        return
    keep_off(cluster, other)
    kubectl = Kubectl(cluster.kubeconfig, NAMESPACE)
    kubectl("delete", "pods", "--all", "--wait=true", "--timeout=50s")
    kubectl("rollout", "status", "deployment", "backstay", "--timeout=60s")
    let_on(cluster, other)


def not_ready(cluster: Containers, node: Node) -> bool:
    found = cluster.api.get("nodes", None, node.name)
    return found is not None and condition(found, "Ready") == "Unknown"


def being_deleted(place: Place) -> bool:
    return any("deletionTimestamp" in pod["metadata"] for pod in pods(place))
