"""How a request is sent and answered, whatever it is about: who asks, in which format, how much, by which method."""

from collections.abc import Iterator

from tests.embedded.apiserver.exchanges.differences import ANONYMOUS, BUILD, DEPTH, MANAGERS, PROTOBUF, UTF8
from tests.embedded.apiserver.exchanges.exchange import (
    APPLY,
    CORE,
    MAPS,
    NAMESPACE,
    PODS,
    TABLE,
    WIDGETS,
    Exchange,
    delete,
    get,
    patch,
    post,
    put,
)
from tests.embedded.apiserver.widgets import widget

_PROTOBUF = "application/vnd.kubernetes.protobuf"
_YAML = b"""apiVersion: example.com/v1
kind: Widget
metadata: {name: yaml, annotations: {day: "2024-01-01"}}
spec:
  color: red
  labels: {number: "1", when: 2024-01-01, yes: "yes"}
"""


def protocols() -> Iterator[Exchange]:
    yield from _who()
    yield from _formats()
    yield from _bodies()
    yield from _methods()
    yield from _sizes()


def _who() -> Iterator[Exchange]:
    yield get("without a token", WIDGETS, token="").otherwise(ANONYMOUS, 401)
    yield get("with a wrong token", WIDGETS, token="wrong")
    yield post("write without a token", WIDGETS, widget("x"), token="").otherwise(ANONYMOUS, 401)
    yield get("the version without a token", "/version", token="").part(BUILD)
    yield get("health without a token", "/healthz", token="")
    yield get("readiness without a token", "/readyz", token="")
    yield get("discovery without a token", "/apis", token="").otherwise(ANONYMOUS, 401)
    yield get("metrics without a token", "/metrics", token="").otherwise(ANONYMOUS, 401)


def _formats() -> Iterator[Exchange]:
    one = f"{WIDGETS}/one"
    yield get("as YAML", f"{WIDGETS}/applied", accept="application/yaml")
    yield get("as anything", one, accept="*/*")
    yield get("as any application", one, accept="application/*")
    yield get("as HTML or anything", one, accept="text/html, */*;q=0.1")
    yield get("as protobuf", one, accept=_PROTOBUF).part(PROTOBUF)
    yield get("as protobuf or JSON", one, accept=f"{_PROTOBUF},application/json")
    yield get("as a table of another group", one, accept="application/json;as=Table;v=v1;g=example.com")
    yield get("as a table of an old version", one, accept="application/json;as=Table;v=v1beta1;g=meta.k8s.io")
    yield get("as a table or an object", one, accept=f"{TABLE},application/json")
    yield get("as nothing known, or an object", one, accept="application/json;as=Nothing;v=v1;g=meta.k8s.io,application/json")
    yield get("as nothing known", one, accept="application/json;as=Nothing;v=v1;g=meta.k8s.io")
    yield get("a table with whole objects", f"{one}?includeObject=Object", accept=TABLE)
    yield get("a table with metadata", f"{one}?includeObject=Metadata", accept=TABLE)
    yield get("a table with something else", f"{one}?includeObject=Some", accept=TABLE)
    yield get("a refusal as a table", f"{WIDGETS}/nobody", accept=TABLE)
    yield get("a refusal in an unknown format", f"{WIDGETS}/nobody", accept="text/html")
    yield get("pretty", f"{one}?pretty=true")


def _bodies() -> Iterator[Exchange]:
    yield post("YAML", WIDGETS, _YAML, "application/yaml")
    yield post("JSON with a charset", f"{WIDGETS}?dryRun=All", widget("x"), "application/json; charset=utf-8")
    yield post("an empty body", WIDGETS, b"")
    yield post("half of a body", WIDGETS, b'{"apiVersion": "example.com/v1", "kind": ')
    yield post("no JSON", WIDGETS, b"hello")
    yield post("a list for a body", WIDGETS, b"[]")
    yield post("null for a body", WIDGETS, b"null")
    yield post("a number for a body", WIDGETS, b"5")
    yield post("no kind", WIDGETS, {"apiVersion": "example.com/v1", "metadata": {"name": "x"}})
    yield post("no API version", WIDGETS, {"kind": "Widget", "metadata": {"name": "x"}})
    yield post("a config map in half a body", MAPS, b'{"apiVersion": "v1", ')
    yield post("a config map that is a list", MAPS, b"[]")
    yield post("a config map of an unknown format", MAPS, b"hello", "application/xml")
    yield post("a config map in an empty body", MAPS, b"")
    yield post("metadata that is a string", WIDGETS, {**widget(), "metadata": "x"})
    yield post("labels that are a list", WIDGETS, widget("x", metadata={"labels": []}))
    yield post("a label that is a number", WIDGETS, widget("x", metadata={"labels": {"a": 1}}))
    yield post("a name that is a number", WIDGETS, widget("", metadata={"name": 5}))
    yield post("an unknown field in metadata", f"{WIDGETS}?fieldValidation=Strict", widget("x", metadata={"nonsense": 1}))
    yield post("a field twice", f"{WIDGETS}?fieldValidation=Strict", _TWICE)
    yield post("a field twice is warned of", WIDGETS, _TWICE)
    yield post("a field twice is ignored", f"{WIDGETS}?fieldValidation=Ignore", _TWICE.replace(b"twice-widget", b"twice-ignored"))
    yield post("YAML that is none", WIDGETS, b"a: [", "application/yaml")
    yield post(
        "text that is not UTF-8", WIDGETS, b'{"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "\xff"}}'
    ).otherwise(UTF8, 400)
    yield put("PUT of half a body", f"{WIDGETS}/one", b"{")
    yield put("PUT of another namespace", f"{WIDGETS}/one", widget("one", metadata={"namespace": "other"}))
    yield patch("an apply that is no YAML", f"{WIDGETS}/x?fieldManager=a", b"a: [", APPLY)
    yield patch("an apply that is a list", f"{WIDGETS}/x?fieldManager=a", b"[]", APPLY)
    yield patch("an apply that is empty", f"{WIDGETS}/x?fieldManager=a", b"", APPLY)
    yield patch("an apply of YAML", f"{WIDGETS}/yaml?fieldManager=a&force=true", _YAML, APPLY).part(MANAGERS, "spec")


_TWICE = b'{"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "twice-widget"}, "spec": {"size": 1, "size": 2}}'


def _methods() -> Iterator[Exchange]:
    yield get("no such group", "/apis/nothing.example.com/v1/things")
    yield get("no such version", f"/apis/example.com/v9/namespaces/{NAMESPACE}/widgets")
    yield get("no such resource", f"/apis/example.com/v1/namespaces/{NAMESPACE}/gadgets")
    yield get("no such subresource", f"{WIDGETS}/one/nothing")
    yield get("no such path", "/nothing")
    yield put("PUT to a list", WIDGETS, widget("x"))
    yield patch("PATCH to a list", WIDGETS, {"spec": {}})
    yield put("PUT config maps", MAPS, {"metadata": {"name": "x"}})
    yield post("POST to a config map", f"{MAPS}/x", {"metadata": {"name": "x"}})
    yield post("POST to all namespaces", "/api/v1/configmaps", {"metadata": {"name": "x"}})
    yield post("POST widgets to all namespaces", "/apis/example.com/v1/widgets", widget("x"))
    yield delete("DELETE in all namespaces", "/api/v1/configmaps?labelSelector=nobody")
    yield delete("DELETE a status", f"{WIDGETS}/one/status")
    yield post("POST a status", f"{WIDGETS}/one/status", widget("one"))
    yield get("GET a review", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
    yield get("GET a binding", f"{PODS}/x/binding")
    yield Exchange("a method that is none", "OPTIONS", WIDGETS)
    yield Exchange("HEAD of an object", "HEAD", f"{WIDGETS}/one")
    yield get("a widget without its namespace", "/apis/example.com/v1/widgets/one")
    yield get("a cluster's thing in a namespace", f"{CORE}/nodes")
    yield get("a path with a slash at its end", f"{WIDGETS}/?fieldSelector=metadata.name%3Dthree")


def _sizes() -> Iterator[Exchange]:
    yield post("too large a body", WIDGETS, widget("x", spec={"anything": {"a": "x" * (3 << 20)}}))
    yield post("too large an object", WIDGETS, widget("x", spec={"anything": {"a": "x" * 1_800_000}}))
    yield post("too long an annotation", WIDGETS, widget("x", metadata={"annotations": {"a": "x" * 300_000}}))
    yield post("too long a name", WIDGETS, widget("x" * 254))
    yield post("too long a namespace", "/api/v1/namespaces", {"metadata": {"name": "x" * 64}})
    yield post("too long a label", MAPS, {"metadata": {"name": "x", "labels": {"x" * 254 + "/a": "", "a": "x" * 64, "x" * 64: ""}}})
    yield post("too long a name of a config map", MAPS, {"metadata": {"name": "x" * 254}})
    yield post("too large a config map", MAPS, {"metadata": {"name": "x"}, "data": {"a": "x" * (1 << 20), "b": "b"}})
    deep = b'{"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "x"}, "spec": {"anything": '
    yield post("too deep a body", WIDGETS, deep + b'{"a":' * 20_000 + b"1" + b"}" * 20_000 + b"}}")
    yield post("too deep a body of YAML", WIDGETS, b"a: " + b"[" * 20_000 + b"]" * 20_000, "application/yaml").part(DEPTH, "code", "reason")
    yield patch("too deep an apply", f"{WIDGETS}/x?fieldManager=a", b"a: " + b"[" * 20_000 + b"]" * 20_000, APPLY).part(
        DEPTH, "code", "reason"
    )
