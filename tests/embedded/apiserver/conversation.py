"""A long conversation with an API server, exchange by exchange, that the embedded and the real one must answer alike.

What the real one (Kubernetes 1.37.2) answered is recorded in answers.json; record it anew with

    python -m tests.embedded.apiserver.conversation

which needs Go, as the tests of the real control plane do. What differs by its nature (UIDs, times, versions, generated names) is blotted out
before the comparison, and with it what the embedded server leaves out on purpose: descriptions in tables, empty fields, and managedFields
of objects that nobody applied to.
"""

import asyncio
import base64
import io
import json
import re
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.embedded.apiserver.widgets import CRDS_PATH, definition, widget

ANSWERS = Path(__file__).with_name("answers.json")
NAMESPACE = "talk"
_CORE = f"/api/v1/namespaces/{NAMESPACE}"
_WIDGETS = f"/apis/example.com/v1/namespaces/{NAMESPACE}/widgets"
_JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
_CRON_JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/cronjobs"
_PODS = f"{_CORE}/pods"
_POD_SPEC = {"containers": [{"name": "main", "image": "busybox"}], "restartPolicy": "Never", "automountServiceAccountToken": False}
_MERGE, _JSON, _STRATEGIC = (f"application/{kind}+json" for kind in ("merge-patch", "json-patch", "strategic-merge-patch"))
_APPLY = "application/apply-patch+yaml"
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@dataclass(frozen=True)
class Exchange:
    """A request; `body` is JSON, or bytes that go out as they are."""

    name: str
    method: str
    path: str
    body: Any = None
    content_type: str = "application/json"
    accept: str = "application/json"
    only: tuple[str, ...] = ()
    """Parts of the answer that are compared where not all of it can be: the rest is a controller's doing, or Go's memory printed."""
    shows_managers: bool = False


def conversation() -> Iterator[Exchange]:
    """Yield the exchanges in order; each may rely on those before it."""
    yield from _namespaces_and_definitions()
    yield from _creates()
    yield from _reads()
    yield from _updates()
    yield from _statuses()
    yield from _patches()
    yield from _applies()
    yield from _builtins()
    yield from _tables()
    yield from _templates()
    yield from _refusals()
    yield from _deletes()


def _namespaces_and_definitions() -> Iterator[Exchange]:
    yield Exchange("create namespace", "POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    yield Exchange("create namespace again", "POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    yield Exchange("namespace with a bad name", "POST", "/api/v1/namespaces", {"metadata": {"name": "No.Good"}})
    yield Exchange("create definition", "POST", CRDS_PATH, definition(), only=("spec",))
    yield Exchange("definition with another name", "POST", CRDS_PATH, definition() | {"metadata": {"name": "gadgets.example.com"}})
    yield Exchange("delete default namespace", "DELETE", "/api/v1/namespaces/default")


def _creates() -> Iterator[Exchange]:
    yield Exchange("create", "POST", _WIDGETS, widget("one", spec={"color": "red", "parts": [{"name": "a"}]}, status={"phase": "ignored"}))
    yield Exchange("create again", "POST", _WIDGETS, widget("one"))
    yield Exchange("create two", "POST", _WIDGETS, widget("two", metadata={"labels": {"side": "left"}}, spec={"color": "blue", "size": 7}))
    yield Exchange("create three", "POST", _WIDGETS, widget("three", metadata={"labels": {"side": "right"}}))
    yield Exchange("create dry", "POST", f"{_WIDGETS}?dryRun=All", widget("dry", spec={"size": 3}))
    yield Exchange("dry run left nothing", "GET", f"{_WIDGETS}/dry")
    yield Exchange("create without a name", "POST", _WIDGETS, widget(), only=("code", "reason"))
    yield Exchange("create with a bad name", "POST", _WIDGETS, widget("Bad_Name"))
    yield Exchange("create with a bad generateName", "POST", _WIDGETS, widget("", metadata={"generateName": "Bad_"}))
    yield Exchange("create in no namespace", "POST", _WIDGETS.replace(NAMESPACE, "nowhere"), widget("x"))
    yield Exchange("create with another namespace", "POST", _WIDGETS, widget("x", metadata={"namespace": "other"}))
    yield Exchange("create with a version", "POST", _WIDGETS, widget("x", metadata={"resourceVersion": "7"}))
    yield Exchange("create of another API version", "POST", _WIDGETS, widget("x") | {"apiVersion": "example.com/v2"})
    yield Exchange("create of another kind", "POST", _WIDGETS, widget("x") | {"kind": "Gadget"})
    yield Exchange("create with a bad label", "POST", _WIDGETS, widget("x", metadata={"labels": {"a/b/c": "not ok"}}))
    yield Exchange(
        "create with a bad owner",
        "POST",
        _WIDGETS,
        widget("x", metadata={"ownerReferences": [{"kind": "Widget", "name": "one"}]}),
        only=("code", "reason"),
    )
    yield Exchange("create with a bad finalizer", "POST", _WIDGETS, widget("x", metadata={"finalizers": ["no good"]}))
    yield Exchange("create with a bad value", "POST", _WIDGETS, widget("x", spec={"color": "pink"}))
    yield Exchange("create with a bad type", "POST", _WIDGETS, widget("x", spec={"size": "big"}))
    yield Exchange("unknown field is warned of", "POST", _WIDGETS, widget("warned", spec={"colour": "red"}))
    yield Exchange("unknown field is refused", "POST", f"{_WIDGETS}?fieldValidation=Strict", widget("x", spec={"colour": "red"}))
    yield Exchange("unknown field is ignored", "POST", f"{_WIDGETS}?fieldValidation=Ignore", widget("ignored", spec={"colour": "red"}))
    yield Exchange("repeated item", "POST", _WIDGETS, widget("x", spec={"tags": ["a", "a"]}))
    yield Exchange("a bad dryRun", "POST", f"{_WIDGETS}?dryRun=Some", widget("x"))
    yield Exchange("a bad fieldValidation", "POST", f"{_WIDGETS}?fieldValidation=Perhaps", widget("x"))
    yield Exchange("text for a body", "POST", _WIDGETS, b"hello", "text/plain")


def _reads() -> Iterator[Exchange]:
    yield Exchange("get", "GET", f"{_WIDGETS}/one")
    yield Exchange("get what is not there", "GET", f"{_WIDGETS}/nobody")
    yield Exchange("list", "GET", _WIDGETS)
    yield Exchange("list one by label", "GET", f"{_WIDGETS}?labelSelector=side%20in%20(left)")
    yield Exchange("list by a missing label", "GET", f"{_WIDGETS}?labelSelector=!side")
    yield Exchange("list by field", "GET", f"{_WIDGETS}?fieldSelector=spec.color%3Dblue")
    yield Exchange("list by name", "GET", f"{_WIDGETS}?fieldSelector=metadata.name%3Dtwo")
    yield Exchange("list by an unknown field", "GET", f"{_WIDGETS}?fieldSelector=spec.size%3D1")
    yield Exchange("a bad label selector", "GET", f"{_WIDGETS}?labelSelector=a%20b")
    yield Exchange("a bad field selector", "GET", f"{_WIDGETS}?fieldSelector=nonsense")
    yield Exchange("table", "GET", _WIDGETS, accept=_TABLE)
    yield Exchange("table of one", "GET", f"{_WIDGETS}/one?includeObject=None", accept=_TABLE)
    yield Exchange("metadata alone", "GET", f"{_WIDGETS}/one", accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
    yield Exchange("an unacceptable type", "GET", f"{_WIDGETS}/one", accept="text/html")
    yield Exchange("a match without a version", "GET", f"{_WIDGETS}?resourceVersionMatch=Exact")
    yield Exchange("a version from the future", "GET", f"{_WIDGETS}?resourceVersion=999999999")
    yield Exchange("a bad continue token", "GET", f"{_WIDGETS}?continue=nonsense")
    yield Exchange("initial events of a list", "GET", f"{_WIDGETS}?sendInitialEvents=true")
    yield Exchange("initial events without a match", "GET", f"{_WIDGETS}?watch=true&sendInitialEvents=true")


def _updates() -> Iterator[Exchange]:
    yield Exchange("put without a version", "PUT", f"{_WIDGETS}/two", widget("two", spec={"color": "blue"}))
    yield Exchange("put with a stale version", "PUT", f"{_WIDGETS}/two", widget("two", metadata={"resourceVersion": "1"}))
    yield Exchange("put under another name", "PUT", f"{_WIDGETS}/two", widget("three", metadata={"resourceVersion": "1"}))
    yield Exchange("put without a name", "PUT", f"{_WIDGETS}/two", widget("", metadata={"resourceVersion": "1"}))
    yield Exchange("put what is not there", "PUT", f"{_WIDGETS}/nobody", widget("nobody", metadata={"resourceVersion": "1"}))
    yield Exchange("put with another uid", "PUT", f"{_WIDGETS}/two", widget("two", metadata={"uid": "other", "resourceVersion": "1"}))
    yield Exchange("post to an object", "POST", f"{_WIDGETS}/two", widget("two"))


def _statuses() -> Iterator[Exchange]:
    condition = {"type": "Ready", "status": "True"}
    status = {"phase": "Done", "count": 2, "conditions": [condition]}
    yield Exchange(
        "status", "PATCH", f"{_WIDGETS}/one/status", {"status": status, "spec": {"size": 50}, "metadata": {"labels": {"x": "y"}}}, _MERGE
    )
    yield Exchange("status is not written elsewhere", "PATCH", f"{_WIDGETS}/one", {"status": {"phase": "Changed"}}, _MERGE)
    yield Exchange("bad status", "PATCH", f"{_WIDGETS}/one/status", {"status": {"count": "two"}}, _MERGE)
    yield Exchange(
        "stale status", "PATCH", f"{_WIDGETS}/one/status", {"metadata": {"resourceVersion": "1"}, "status": {"count": 3}}, _MERGE
    )
    yield Exchange("get status", "GET", f"{_WIDGETS}/one/status")
    yield Exchange("table with status", "GET", f"{_WIDGETS}/one", accept=_TABLE)


def _patches() -> Iterator[Exchange]:
    one = f"{_WIDGETS}/one"
    yield Exchange("merge patch", "PATCH", one, {"spec": {"size": 4, "labels": {"a": "1", "b": "2"}}}, _MERGE)
    yield Exchange("merge patch removes", "PATCH", one, {"spec": {"labels": {"a": None}}}, _MERGE)
    yield Exchange("merge patch that changes nothing", "PATCH", one, {"spec": {"size": 4}}, _MERGE)
    yield Exchange("merge patch of metadata alone", "PATCH", one, {"metadata": {"annotations": {"n": "1"}}}, _MERGE)
    yield Exchange("merge patch breaks a rule", "PATCH", one, {"spec": {"color": "green"}}, _MERGE)
    yield Exchange("merge patch of the name", "PATCH", one, {"metadata": {"name": "other"}}, _MERGE)
    yield Exchange("merge patch that is a list", "PATCH", one, [1], _MERGE)
    yield Exchange("merge patch that is no JSON", "PATCH", one, b"{", _MERGE)
    refused = Exchange(
        "merge patch of an unknown field", "PATCH", f"{one}?fieldValidation=Strict", {"spec": {"colour": "x"}}, _MERGE, only=("reason",)
    )
    yield refused
    yield Exchange(
        "json patch",
        "PATCH",
        one,
        [{"op": "add", "path": "/spec/tags", "value": ["x"]}, {"op": "add", "path": "/spec/tags/-", "value": "y"}],
        _JSON,
    )
    yield Exchange("json patch tests", "PATCH", one, [{"op": "test", "path": "/spec/size", "value": 5}], _JSON)
    yield Exchange("json patch of nothing", "PATCH", one, [{"op": "remove", "path": "/spec/nothing"}], _JSON)
    yield Exchange("json patch that is a map", "PATCH", one, {"op": "add"}, _JSON)
    yield Exchange("strategic patch of a custom resource", "PATCH", one, {"spec": {}}, _STRATEGIC)
    yield Exchange("patch of no type", "PATCH", one, {"spec": {}}, "application/json")
    yield Exchange("patch of what is not there", "PATCH", f"{_WIDGETS}/nobody", {"spec": {}}, _MERGE)
    yield Exchange("force without apply", "PATCH", f"{one}?force=true", {"spec": {}}, _MERGE)


def _applies() -> Iterator[Exchange]:
    path = f"{_WIDGETS}/applied"

    def apply(name: str, manager: str, spec: dict[str, Any], *, force: bool = False, labels: dict[str, str] | None = None) -> Exchange:
        body = widget("applied", spec=spec, metadata={"labels": labels} if labels else {})
        return Exchange(name, "PATCH", f"{path}?fieldManager={manager}&force={str(force).lower()}", body, _APPLY, shows_managers=True)

    first = {
        "color": "red",
        "parts": [{"name": "a", "size": 1}, {"name": "b"}],
        "tags": ["x", "y"],
        "labels": {"k": "1"},
        "link": {"to": "t", "by": "b"},
    }
    yield Exchange("apply without a manager", "PATCH", path, widget("applied"), _APPLY)
    yield apply("apply creates", "alice", first, labels={"from": "alice"})
    yield apply("apply again changes nothing", "alice", first, labels={"from": "alice"})
    yield apply("apply conflicts", "bob", {"color": "red", "parts": [{"name": "a", "size": 2}]})
    yield apply(
        "apply conflicts in several fields",
        "bob",
        {"size": 5, "parts": [{"name": "a", "size": 2}], "labels": {"k": "2"}, "link": {"to": "z"}},
    )
    yield apply("apply shares", "bob", {"color": "red", "parts": [{"name": "c"}], "tags": ["z"]})
    yield apply("apply by force", "bob", {"color": "red", "parts": [{"name": "a", "size": 2}, {"name": "c"}], "tags": ["z"]}, force=True)
    yield apply("apply gives up", "alice", {"color": "red", "parts": [{"name": "b"}], "tags": ["y"]})
    yield apply("apply of an undeclared field", "alice", {"colour": "red"})
    yield Exchange(
        "update of an applied field",
        "PATCH",
        f"{path}?fieldManager=carol",
        {"spec": {"parts": [{"name": "b", "size": 9}]}},
        _MERGE,
        shows_managers=True,
    )
    yield apply("apply conflicts with an update", "alice", {"color": "red", "parts": [{"name": "b", "size": 1}], "tags": ["y"]})
    yield Exchange(
        "apply with managed fields", "PATCH", f"{path}?fieldManager=a", widget("applied", metadata={"managedFields": []}), _APPLY
    )
    yield Exchange("apply of another kind", "PATCH", f"{path}?fieldManager=a", widget("applied") | {"kind": "Gadget"}, _APPLY)
    yield Exchange(
        "apply to a status",
        "PATCH",
        f"{path}/status?fieldManager=st",
        widget("applied", status={"phase": "P"}),
        _APPLY,
        shows_managers=True,
    )


def _builtins() -> Iterator[Exchange]:
    pod = _POD_SPEC
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {"suspend": True, "template": {"spec": pod}}}
    maps = f"{_CORE}/configmaps"
    yield Exchange("create config map", "POST", maps, {"metadata": {"name": "cm", "labels": {"a": "1"}}, "data": {"k": "v"}})
    yield Exchange("put config map without a version", "PUT", f"{maps}/cm", {"metadata": {"name": "cm"}, "data": {"k": "w"}})
    yield Exchange("config map with a number", "POST", maps, {"metadata": {"name": "x"}, "data": {"k": 1}})
    yield Exchange("config map of another kind", "POST", maps, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}})
    yield Exchange("config map selected by data", "GET", f"{maps}?fieldSelector=data.k%3Dv")
    yield Exchange("table of config maps", "GET", f"{maps}?fieldSelector=metadata.name%3Dcm", accept=_TABLE)
    yield Exchange("create job", "POST", _JOBS, job)
    image = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "x"}]}}}}
    yield Exchange("change a job's image", "PATCH", f"{_JOBS}/job", image, _STRATEGIC, only=("reason",))
    yield Exchange("label a job", "PATCH", f"{_JOBS}/job", {"metadata": {"labels": {"l": "1"}}}, _STRATEGIC, only=("spec", "metadata"))
    yield Exchange(
        "job's status and spec",
        "PATCH",
        f"{_JOBS}/job/status",
        {"spec": {"suspend": False}, "status": {"active": 0}},
        _MERGE,
        only=("spec",),
    )
    yield Exchange(
        "job without containers",
        "POST",
        _JOBS,
        {**job, "metadata": {"name": "x"}, "spec": {"template": {"spec": {"restartPolicy": "Never"}}}},
    )
    yield Exchange("job of a bad type", "POST", _JOBS, {**job, "metadata": {"name": "x"}, "spec": {**job["spec"], "parallelism": "two"}})
    yield Exchange("jobs by an unknown field", "GET", f"{_JOBS}?fieldSelector=spec.x%3D1")
    yield Exchange(
        "pod in a class that is not there",
        "POST",
        _PODS,
        {"metadata": {"name": "x"}, "spec": {**pod, "priorityClassName": "none"}},
    )
    yield Exchange(
        "pod of an account that is not there",
        "POST",
        _PODS,
        {"metadata": {"name": "x"}, "spec": {**pod, "serviceAccountName": "none"}},
    )
    yield Exchange("create pod", "POST", _PODS, {"metadata": {"name": "pod"}, "spec": {**pod, "schedulerName": "nobody"}})
    yield Exchange(
        "move a pod's image", "PATCH", f"{_PODS}/pod", {"spec": {"containers": [{"name": "main", "image": "other"}]}}, _STRATEGIC
    )
    yield Exchange(
        "add a pod's container",
        "PATCH",
        f"{_PODS}/pod",
        {"spec": {"containers": [{"name": "x", "image": "y"}]}},
        _STRATEGIC,
        only=("reason",),
    )
    yield Exchange("bind pod", "POST", f"{_PODS}/pod/binding", {"metadata": {"name": "pod"}, "target": {"kind": "Node", "name": "n1"}})
    yield Exchange(
        "bind pod again", "POST", f"{_PODS}/pod/binding", {"metadata": {"name": "pod"}, "target": {"kind": "Node", "name": "n2"}}
    )
    yield Exchange("bound pod", "GET", f"{_PODS}/pod", only=("spec",))
    yield Exchange("log of another container", "GET", f"{_PODS}/pod/log?container=other")
    yield Exchange("delete pod", "DELETE", f"{_PODS}/pod", only=("metadata", "kind"))
    yield Exchange("delete pod sooner", "DELETE", f"{_PODS}/pod?gracePeriodSeconds=5", only=("metadata", "kind"))
    yield Exchange("delete pod later", "DELETE", f"{_PODS}/pod?gracePeriodSeconds=60", only=("metadata", "kind"))
    yield Exchange("delete pod now", "DELETE", f"{_PODS}/pod?gracePeriodSeconds=0", only=("kind",))
    yield Exchange("pod is gone", "GET", f"{_PODS}/pod")
    yield Exchange("may I", "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", _may_i(), only=("kind", "spec"))
    yield Exchange("patch a config map's data away", "PATCH", f"{maps}/cm", {"data": None}, _STRATEGIC)
    yield Exchange(
        "lease without a version",
        "PUT",
        "/apis/coordination.k8s.io/v1/namespaces/talk/leases/made",
        {"metadata": {"name": "made"}, "spec": {}},
    )
    yield Exchange(
        "lease again", "PUT", "/apis/coordination.k8s.io/v1/namespaces/talk/leases/made", {"metadata": {"name": "made"}, "spec": {}}
    )
    yield Exchange("create event", "POST", f"{_CORE}/events", _event())
    yield Exchange("event of the other group", "GET", f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events/event")
    yield Exchange("events of an object", "GET", f"{_CORE}/events?fieldSelector=involvedObject.name%3Dcm,reason%3DTried", accept=_TABLE)


def _tables() -> Iterator[Exchange]:
    """Yield objects of many kinds, each shown as a table."""
    named = {"metadata": {"name": "shown"}}
    subjects = [
        {"kind": "ServiceAccount", "name": "default", "namespace": NAMESPACE},
        {"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"},
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "shown"}
    ports = [{"port": 80, "name": "http"}, {"port": 443, "name": "https"}]
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}"
    kinds: dict[str, dict[str, Any]] = {
        f"{_CORE}/secrets": {"stringData": {"a": "1"}},
        f"{_CORE}/services": {"spec": {"clusterIP": "None", "selector": {"a": "b"}, "ports": ports}},
        f"{_CORE}/serviceaccounts": {},
        f"{rbac}/roles": {"rules": []},
        f"{rbac}/rolebindings": {"roleRef": role, "subjects": subjects},
        "/apis/scheduling.k8s.io/v1/priorityclasses": {"value": 5, "description": "five"},
        f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases": {"spec": {"holderIdentity": "me"}},
        f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets": {
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}
        },
        f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies": {"spec": {"podSelector": {"matchLabels": {"a": "b"}}}},
        f"/apis/apps/v1/namespaces/{NAMESPACE}/controllerrevisions": {
            "data": {"x": 1},
            "revision": 4,
        },
        "/api/v1/nodes": {"metadata": {"name": "shown", "labels": {"node-role.kubernetes.io/worker": ""}}, "spec": {"unschedulable": True}},
        _PODS: {"metadata": {"name": "shown"}, "spec": _POD_SPEC | {"schedulerName": "nobody"}},
        _JOBS: {"spec": {"suspend": True, "completions": 2, "template": {"spec": _POD_SPEC}}},
        _CRON_JOBS: _cron_job("shown"),
    }
    for path, body in kinds.items():
        kind = path.rpartition("/")[2]
        yield Exchange(f"create for a table of {kind}", "POST", path, {**named, **body}, only=("kind",))
        if kind not in ("jobs", "nodes"):  # their controllers are at work already
            yield Exchange(f"table of {kind}", "GET", f"{path}/shown?includeObject=None", accept=_TABLE)
        else:
            yield Exchange(f"columns of {kind}", "GET", f"{path}/shown?includeObject=None", accept=_TABLE, only=("columnDefinitions",))
    for path in ("/api/v1/namespaces/default", f"{CRDS_PATH}/widgets.example.com"):
        yield Exchange(f"table of {path}", "GET", f"{path}?includeObject=None", accept=_TABLE)


def _cron_job(name: str) -> dict[str, Any]:
    containers = [
        {"name": "main", "image": "x:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "args": ["run"]},
        {"name": "side", "image": "y:1", "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]},
    ]
    template = {"spec": {"template": {"spec": {**_POD_SPEC, "containers": containers}}}}
    spec = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": template}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": spec}


def _templates() -> Iterator[Exchange]:
    """Yield patches deep inside a builtin kind, where lists merge by key."""
    path = f"{_CRON_JOBS}/shown"

    def inner(pod: dict[str, Any]) -> dict[str, Any]:
        return {"spec": {"jobTemplate": {"spec": {"template": {"spec": pod}}}}}

    def strategic(name: str, pod: dict[str, Any]) -> Exchange:
        return Exchange(name, "PATCH", path, inner(pod), _STRATEGIC, only=("spec", "message"))

    env = [{"name": "A", "$patch": "delete"}, {"name": "B", "value": "9"}, {"name": "C", "value": "3"}]
    main = {"name": "main", "env": env, "args": None}
    yield strategic("strategic patch of a container", {"containers": [main]})
    yield strategic(
        "strategic patch with an order",
        {"$setElementOrder/containers": [{"name": "side"}, {"name": "main"}], "containers": [{"name": "side", "tty": True}]},
    )
    yield strategic(
        "strategic patch that adds", {"containers": [{"name": "third", "image": "z"}], "volumes": [{"name": "v", "emptyDir": {}}]}
    )
    yield strategic(
        "strategic patch that changes a volume's kind", {"volumes": [{"name": "v", "emptyDir": None, "secret": {"secretName": "shown"}}]}
    )
    yield strategic("strategic patch that deletes", {"containers": [{"name": "third", "$patch": "delete"}]})
    yield strategic("strategic patch of tolerations", {"tolerations": [{"key": "a", "operator": "Exists"}]})
    yield strategic("strategic patch of tolerations again", {"tolerations": [{"key": "b", "operator": "Exists"}]})
    yield strategic("strategic patch without a key", {"containers": [{"image": "z"}]})
    yield strategic("strategic patch that replaces", {"containers": [{"$patch": "replace"}, {"name": "only", "image": "z"}]})
    yield strategic("strategic patch with a bad directive", {"$patch": "twist"})
    yield Exchange(
        "merge patch of a template", "PATCH", path, inner({"containers": [{"name": "new", "image": "q"}]}), _MERGE, only=("spec",)
    )
    applied = f"{_CRON_JOBS}/applied?fieldManager="
    yield Exchange("apply a cron job", "PATCH", f"{applied}alice", _cron_job("applied"), _APPLY, shows_managers=True)
    other = _cron_job("applied")
    side = other["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][1]
    other["spec"] = {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "side", "ports": [{"containerPort": 81}]}]}}}}}
    yield Exchange("share a cron job", "PATCH", f"{applied}bob", other, _APPLY, shows_managers=True)
    other["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"] = [side | {"image": "y:2"}]
    yield Exchange("conflict over a cron job", "PATCH", f"{applied}bob", other, _APPLY)
    twice = b'{"metadata": {"name": "twice"}, "data": {"a": "1", "a": "2"}, "other": 1}'
    yield Exchange("a field given twice is warned of", "POST", f"{_CORE}/configmaps", twice)
    yield Exchange("a field given twice is refused", "POST", f"{_CORE}/configmaps?fieldValidation=Strict", twice)


def _may_i() -> dict[str, Any]:
    attributes = {"verb": "create", "group": "example.com", "resource": "widgets", "namespace": NAMESPACE}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}


def _event() -> dict[str, Any]:
    about = {"apiVersion": "v1", "kind": "ConfigMap", "name": "cm", "namespace": NAMESPACE}
    when = "2024-01-01T00:00:00Z"
    told = {"reason": "Tried", "message": "It was tried.", "type": "Normal", "count": 1, "firstTimestamp": when, "lastTimestamp": when}
    return {"metadata": {"name": "event"}, "involvedObject": about, "source": {"component": "test"}, **told}


def _refusals() -> Iterator[Exchange]:
    yield Exchange("no such group", "GET", "/apis/nothing.example.com/v1/things")
    yield Exchange("no such resource", "GET", "/apis/example.com/v1/namespaces/talk/gadgets")
    yield Exchange("no such path", "GET", "/nothing")
    yield Exchange("no such method", "PUT", _WIDGETS, widget("x"))
    yield Exchange("too large a body", "POST", _WIDGETS, widget("x", spec={"anything": {"a": "x" * (3 << 20)}}))
    yield Exchange("too large an object", "POST", _WIDGETS, widget("x", spec={"anything": {"a": "x" * 1_800_000}}))
    yield Exchange(
        "too long an annotation", "POST", _WIDGETS, widget("x", metadata={"annotations": {"a": "x" * 300_000}}), only=("code", "reason")
    )
    yield Exchange("a bad limit", "GET", f"{_WIDGETS}?limit=ten")


def _deletes() -> Iterator[Exchange]:
    held = widget("held", metadata={"finalizers": ["example.com/hold"]})
    yield Exchange("delete with another uid", "DELETE", f"{_WIDGETS}/two", {"preconditions": {"uid": "other"}})
    yield Exchange("delete by an unknown policy", "DELETE", f"{_WIDGETS}/two", {"propagationPolicy": "Sideways"})
    yield Exchange("delete dry", "DELETE", f"{_WIDGETS}/two?dryRun=All")
    yield Exchange("delete", "DELETE", f"{_WIDGETS}/two")
    yield Exchange("delete again", "DELETE", f"{_WIDGETS}/two")
    yield Exchange("create held", "POST", _WIDGETS, held)
    yield Exchange("delete held", "DELETE", f"{_WIDGETS}/held")
    yield Exchange("delete held again", "DELETE", f"{_WIDGETS}/held")
    yield Exchange("create while it is deleted", "POST", _WIDGETS, held)
    yield Exchange(
        "no new finalizers now", "PATCH", f"{_WIDGETS}/held", {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}, _MERGE
    )
    yield Exchange("let it go", "PATCH", f"{_WIDGETS}/held", {"metadata": {"finalizers": None}}, _MERGE)
    yield Exchange("held is gone", "GET", f"{_WIDGETS}/held")
    yield Exchange(
        "delete in the foreground", "DELETE", f"{_WIDGETS}/applied", {"propagationPolicy": "Foreground"}, only=("kind", "status")
    )
    yield Exchange("delete and orphan", "DELETE", f"{_WIDGETS}/one?propagationPolicy=Orphan", only=("kind", "status"))
    yield Exchange("delete config map", "DELETE", f"{_CORE}/configmaps/cm")
    yield Exchange("delete those on the right", "DELETE", f"{_WIDGETS}?labelSelector=side%3Dright")
    yield Exchange("hold the namespace", "POST", _WIDGETS, widget("holder", metadata={"finalizers": ["example.com/hold"]}))
    yield Exchange("delete namespace", "DELETE", f"/api/v1/namespaces/{NAMESPACE}", only=("kind", "spec"))
    yield Exchange("create in a namespace that ends", "POST", _WIDGETS, widget("late"))
    yield Exchange("let the namespace go", "PATCH", f"{_WIDGETS}/holder", {"metadata": {"finalizers": []}}, _MERGE, only=("kind",))


# ── talking ─────────────────────────────────────────────────────────────────────────────────────


async def talk(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    """Hold the conversation and return the normalised answers by the exchange's name."""
    answers: dict[str, Any] = {}
    for exchange in conversation():
        answers[exchange.name] = await _ask(session, url, exchange)
        if exchange.name in ("create namespace", "create definition"):
            await _until_served(session, url)
    return answers


async def _ask(session: aiohttp.ClientSession, url: str, exchange: Exchange) -> dict[str, Any]:
    data = (
        None
        if exchange.body is None
        else io.BytesIO(exchange.body if isinstance(exchange.body, bytes) else json.dumps(exchange.body).encode())
    )
    headers = {"Accept": exchange.accept}
    if data is not None:
        headers["Content-Type"] = exchange.content_type
    async with session.request(exchange.method, url + exchange.path, data=data, headers=headers) as response:
        text = await response.text()
        warnings = response.headers.getall("Warning", [])
    try:
        body = normalised(json.loads(text), shows_managers=exchange.shows_managers)
    except ValueError:
        body = "<text>"
    if exchange.only:
        body = {name: body.get(name) for name in exchange.only}
    return {"status": response.status, "body": body, **({"warnings": warnings} if warnings else {})}


async def _until_served(session: aiohttp.ClientSession, url: str) -> None:
    """The real server takes a moment until a namespace has its service account and a definition is served."""
    account = f"{url}{_CORE}/serviceaccounts/default"
    for _ in range(200):
        async with session.get(account) as first, session.get(url + _WIDGETS) as second:
            if first.status == 200 and (second.status == 200 or not await _is_defined(session, url)):
                return
        await asyncio.sleep(0.05)
    raise AssertionError("after 10 s the namespace has no service account, or the definition is not served")


async def _is_defined(session: aiohttp.ClientSession, url: str) -> bool:
    async with session.get(f"{url}{CRDS_PATH}/widgets.example.com") as response:
        return response.status == 200


_BLOTTED = {"uid", "creationTimestamp", "resourceVersion", "deletionTimestamp", "lastTransitionTime", "lastProbeTime", "time", "continue"}
_DROPPED = {"remainingItemCount", "description"}
_PATTERNS = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uid>"),
    (re.compile(r"x{100,}"), "<long>"),
    (re.compile(r"(?<=Bad_)\w{5}"), "<generated>"),
    (re.compile(r"current: \d+"), "current: <number>"),
    (re.compile(r"(?<=continue key is not valid: ).*"), "<why>"),
)
_AGE = re.compile(r"\d+[smhd](\d+[smhd])?|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def normalised(value: Any, key: str = "", *, shows_managers: bool = False) -> Any:
    """Return an answer with what differs from run to run blotted out, without empty fields and without repetitions in lists of causes."""
    if isinstance(value, dict):
        kept = {name: inner for name, inner in value.items() if name not in _DROPPED and inner not in (None, "")}
        if not shows_managers:
            kept.pop("managedFields", None)
        return {name: _blotted(name, inner, shows_managers) for name, inner in kept.items()}
    if isinstance(value, list):
        items = [normalised(item, shows_managers=shows_managers) for item in value]
        if key == "causes":
            return [item for index, item in enumerate(items) if item not in items[:index]]
        return ["<age>" if key == "cells" and isinstance(item, str) and _AGE.fullmatch(item) else item for item in items]
    if isinstance(value, str):
        for pattern, shown in _PATTERNS:
            value = pattern.sub(shown, value)
    return value


def _blotted(name: str, value: Any, shows_managers: bool) -> Any:
    if name in _BLOTTED and isinstance(value, str):
        return "<blotted>"
    return normalised(value, name, shows_managers=shows_managers)


async def recorded_from_the_real_server(folder: Path) -> dict[str, Any]:
    """Return what a real control plane, started in `folder`, answers."""
    from tests.cluster.control_plane import ControlPlane

    with ControlPlane.start(folder) as real:
        cluster = yaml.safe_load(real.kubeconfig.read_text())["clusters"][0]["cluster"]
        trust = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        headers = {"Authorization": f"Bearer {real.token}"}
        async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(ssl=trust)) as session:
            return await talk(session, real.server)


def main() -> None:
    """Write answers.json anew."""
    with tempfile.TemporaryDirectory() as folder:
        answers = asyncio.run(recorded_from_the_real_server(Path(folder)))
    ANSWERS.write_text(json.dumps(answers, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
