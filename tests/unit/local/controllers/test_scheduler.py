"""Where a pod goes, and what it is told where it cannot go anywhere."""

from fractions import Fraction
from typing import Any

import pytest

from backstay.local.controllers.scheduler import Requests, choose, requests_of
from backstay.local.node.api import Obj

TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


def node(name: str = "n", *, ready: bool = True, labels: Obj | None = None, pods: str = "110", cpu: str = "2", **spec: Any) -> Obj:
    status = {"conditions": [{"type": "Ready", "status": str(ready)}], "allocatable": {"cpu": cpu, "memory": "1Gi", "pods": pods}}
    return {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}}, "spec": spec, "status": status}


def pod(requests: Obj | None = None, **spec: Any) -> Obj:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "resources": {"requests": requests or {}}}], **spec}}


def affinity(operator: str, *values: str) -> Obj:
    term = {"matchExpressions": [{"key": "disk", "operator": operator, **({"values": list(values)} if values else {})}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


@pytest.mark.parametrize(
    ("spec", "labels", "fits"),
    [
        ({}, {}, True),
        ({"nodeSelector": {"disk": "ssd"}}, {"disk": "ssd"}, True),
        ({"nodeSelector": {"disk": "ssd"}}, {"disk": "hdd"}, False),
        ({"nodeSelector": {"disk": "ssd"}}, {}, False),
        ({"affinity": affinity("In", "ssd", "nvme")}, {"disk": "nvme"}, True),
        ({"affinity": affinity("In", "ssd")}, {}, False),
        ({"affinity": affinity("NotIn", "ssd")}, {}, True),
        ({"affinity": affinity("NotIn", "ssd")}, {"disk": "ssd"}, False),
        ({"affinity": affinity("Exists")}, {"disk": "any"}, True),
        ({"affinity": affinity("DoesNotExist")}, {"disk": "any"}, False),
        ({"affinity": affinity("Gt", "3")}, {"disk": "4"}, True),
        ({"affinity": affinity("Lt", "3")}, {"disk": "4"}, False),
        ({"affinity": affinity("Gt", "3")}, {"disk": "big"}, False),
    ],
)
def test_a_pod_goes_only_to_a_node_that_it_selects(spec: Obj, labels: Obj, fits: bool) -> None:
    chosen, why_not = choose(pod(**spec), [node(labels=labels)], {})
    assert (chosen == "n") == fits
    assert fits or why_not == "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        (None, False),
        ({"key": "gpu", "operator": "Exists"}, True),
        ({"key": "gpu", "value": "yes", "effect": "NoSchedule"}, True),
        ({"key": "gpu", "value": "no"}, False),
        ({"operator": "Exists"}, True),
        ({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}, False),
    ],
)
def test_a_taint_has_to_be_tolerated(toleration: Obj | None, fits: bool) -> None:
    chosen, why_not = choose(pod(tolerations=[toleration] if toleration else []), [node(taints=[TAINT])], {})
    assert (chosen == "n") == fits
    assert fits or why_not == "0/1 nodes are available: 1 node(s) had untolerated taint(s) {gpu: yes}."


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ([], "no nodes available to schedule pods"),
        ([node(ready=False)], "0/1 nodes are available: 1 node(s) were not ready."),
        ([node(unschedulable=True)], "0/1 nodes are available: 1 node(s) were unschedulable."),
        ([node(cpu="1")], "0/1 nodes are available: 1 Insufficient cpu."),
        ([node("a", cpu="1"), node("b", ready=False)], "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were not ready."),
        ([node("a", cpu="1"), node("b", cpu="1")], "0/2 nodes are available: 2 Insufficient cpu."),
    ],
)
def test_where_no_node_fits_the_reasons_are_counted(nodes: list[Obj], told: str) -> None:
    assert choose(pod({"cpu": "1500m"}), nodes, {}) == (None, told)


def test_what_others_take_is_not_there_to_be_given() -> None:
    used: dict[str, Requests] = {"n": {"cpu": Fraction(1), "pods": Fraction(1)}}
    assert choose(pod({"cpu": "1"}), [node()], used)[0] == "n"
    assert choose(pod({"cpu": "1001m"}), [node()], used) == (None, "0/1 nodes are available: 1 Insufficient cpu.")
    assert choose(pod(), [node(pods="1")], used) == (None, "0/1 nodes are available: 1 Too many pods.")
    assert choose(pod({"example.com/gpu": "1"}), [node()], {}) == (None, "0/1 nodes are available: 1 Insufficient example.com/gpu.")


def test_of_the_nodes_that_fit_the_emptiest_is_taken() -> None:
    used: dict[str, Requests] = {"a": {"pods": Fraction(3)}, "b": {"pods": Fraction(1)}}
    assert choose(pod(), [node("a"), node("b")], used)[0] == "b"


def test_a_pod_asks_for_the_sum_of_its_containers_or_for_its_largest_init_container() -> None:
    manifest = pod({"cpu": "1"})
    manifest["spec"]["containers"].append({"name": "more", "resources": {"limits": {"cpu": "500m", "memory": "1Mi"}}})
    manifest["spec"]["initContainers"] = [{"name": "init", "resources": {"requests": {"cpu": "1", "memory": "2Mi"}}}]
    assert requests_of(manifest) == {"pods": 1, "cpu": Fraction(3, 2), "memory": 2 * 2**20}
