"""Kinds that are built in: their own rules, subresources, and graceful deletion."""

from collections.abc import Iterator
from typing import Any

from tests.embedded.apiserver.exchanges.differences import CONTROLLERS, GO_VALUES, ZERO_VALUES
from tests.embedded.apiserver.exchanges.exchange import (
    CORE,
    JOBS,
    MERGE,
    NAMESPACE,
    POD_SPEC,
    PODS,
    STRATEGIC,
    TABLE,
    Exchange,
    delete,
    get,
    patch,
    post,
    put,
)


def builtin() -> Iterator[Exchange]:
    pod = POD_SPEC
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {"suspend": True, "template": {"spec": pod}}}
    maps = f"{CORE}/configmaps"
    yield post("create config map", maps, {"metadata": {"name": "cm", "labels": {"a": "1"}}, "data": {"k": "v"}})
    yield put("put config map without a version", f"{maps}/cm", {"metadata": {"name": "cm"}, "data": {"k": "w"}})
    yield post("config map with a number", maps, {"metadata": {"name": "x"}, "data": {"k": 1}})
    yield post("config map of another kind", maps, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}})
    yield get("config map selected by data", f"{maps}?fieldSelector=data.k%3Dv")
    yield get("table of config maps", f"{maps}?fieldSelector=metadata.name%3Dcm", accept=TABLE)
    yield post("create job", JOBS, job)
    image = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "x"}]}}}}
    yield patch("change a job's image", f"{JOBS}/job", image, STRATEGIC).blotted(GO_VALUES)
    yield patch("label a job", f"{JOBS}/job", {"metadata": {"labels": {"l": "1"}}}, STRATEGIC).part(CONTROLLERS, "spec", "metadata")
    yield patch("job's status and spec", f"{JOBS}/job/status", {"spec": {"suspend": False}, "status": {"active": 0}}, MERGE).part(
        CONTROLLERS, "spec", "metadata"
    )
    yield post(
        "job without containers",
        JOBS,
        {**job, "metadata": {"name": "x"}, "spec": {"template": {"spec": {"restartPolicy": "Never"}}}},
    )
    yield post("job of a bad type", JOBS, {**job, "metadata": {"name": "x"}, "spec": {**job["spec"], "parallelism": "two"}})
    yield get("jobs by an unknown field", f"{JOBS}?fieldSelector=spec.x%3D1")
    yield post(
        "pod in a class that is not there",
        PODS,
        {"metadata": {"name": "x"}, "spec": {**pod, "priorityClassName": "none"}},
    )
    yield post(
        "pod of an account that is not there",
        PODS,
        {"metadata": {"name": "x"}, "spec": {**pod, "serviceAccountName": "none"}},
    )
    yield post("create pod", PODS, {"metadata": {"name": "pod"}, "spec": {**pod, "schedulerName": "nobody"}})
    yield patch("move a pod's image", f"{PODS}/pod", {"spec": {"containers": [{"name": "main", "image": "other"}]}}, STRATEGIC)
    yield patch("add a pod's container", f"{PODS}/pod", {"spec": {"containers": [{"name": "x", "image": "y"}]}}, STRATEGIC)
    yield post("bind pod", f"{PODS}/pod/binding", {"metadata": {"name": "pod"}, "target": {"kind": "Node", "name": "n1"}})
    yield post("bind pod again", f"{PODS}/pod/binding", {"metadata": {"name": "pod"}, "target": {"kind": "Node", "name": "n2"}})
    yield get("bound pod", f"{PODS}/pod")
    yield get("log of another container", f"{PODS}/pod/log?container=other")
    yield delete("delete pod", f"{PODS}/pod")
    yield delete("delete pod sooner", f"{PODS}/pod?gracePeriodSeconds=5")
    yield delete("delete pod later", f"{PODS}/pod?gracePeriodSeconds=60")
    yield delete("delete pod now", f"{PODS}/pod?gracePeriodSeconds=0")
    yield get("pod is gone", f"{PODS}/pod")
    yield post("may I", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", _may_i())
    yield patch("patch a config map's data away", f"{maps}/cm", {"data": None}, STRATEGIC)
    yield put(
        "lease without a version",
        "/apis/coordination.k8s.io/v1/namespaces/talk/leases/made",
        {"metadata": {"name": "made"}, "spec": {}},
    )
    yield put("lease again", "/apis/coordination.k8s.io/v1/namespaces/talk/leases/made", {"metadata": {"name": "made"}, "spec": {}})
    yield post("create event", f"{CORE}/events", _event()).blotted(ZERO_VALUES)
    yield get("event of the other group", f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events/event").blotted(ZERO_VALUES)
    yield get("events of an object", f"{CORE}/events?fieldSelector=involvedObject.name%3Dcm,reason%3DTried", accept=TABLE)


def _may_i() -> dict[str, Any]:
    attributes = {"verb": "create", "group": "example.com", "resource": "widgets", "namespace": NAMESPACE}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}


def _event() -> dict[str, Any]:
    about = {"apiVersion": "v1", "kind": "ConfigMap", "name": "cm", "namespace": NAMESPACE}
    when = "2024-01-01T00:00:00Z"
    told = {"reason": "Tried", "message": "It was tried.", "type": "Normal", "count": 1, "firstTimestamp": when, "lastTimestamp": when}
    return {"metadata": {"name": "event"}, "involvedObject": about, "source": {"component": "test"}, **told}
