"""What the schema of a custom resource refuses, changes and fills in: Gauges, which use all of it; rules in CEL; the scale subresource."""

from collections.abc import Iterator
from typing import Any

from tests.embedded.apiserver.exchanges.differences import CONTROLLERS, EMBEDDED_METADATA, NUMBERS
from tests.embedded.apiserver.exchanges.exchange import JSON_PATCH, NAMESPACE, WIDGETS, Body, Exchange, get, patch, post, put, there
from tests.embedded.apiserver.widgets import CRDS_PATH

GAUGES = f"/apis/example.com/v1/namespaces/{NAMESPACE}/gauges"
_STRING: Body = {"type": "string"}
_INTEGER: Body = {"type": "integer"}
_SPEC: Body = {
    "type": "object",
    "required": ["low", "high"],
    "properties": {
        "low": {**_INTEGER, "minimum": 0},
        "high": {**_INTEGER, "maximum": 100, "exclusiveMaximum": True},
        "step": {**_INTEGER, "multipleOf": 5, "default": 5},
        "ratio": {"type": "number", "minimum": 0.5},
        "unit": {**_STRING, "pattern": "^[a-z]+$", "minLength": 2, "maxLength": 5},
        "mode": {**_STRING, "enum": ["Auto", "Manual"], "default": "Auto"},
        "since": {**_STRING, "format": "date-time"},
        "every": {**_STRING, "format": "duration"},
        "address": {**_STRING, "format": "ipv4"},
        "id": {**_STRING, "format": "uuid"},
        "blob": {**_STRING, "format": "byte"},
        "port": {"x-kubernetes-int-or-string": True},
        "maybe": {**_STRING, "nullable": True, "default": "some"},
        "never": {**_STRING, "default": "filled"},
        "fixed": _STRING,
        "names": {"type": "array", "minItems": 1, "maxItems": 3, "items": {**_STRING, "maxLength": 3}},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "maxItems": 10, "items": {**_STRING, "maxLength": 20}},
        "counts": {"type": "object", "minProperties": 1, "maxProperties": 2, "additionalProperties": _INTEGER},
        "either": {
            "type": "object",
            "properties": {"a": _STRING, "b": _STRING, "c": _STRING},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
            "not": {"required": ["c"]},
        },
        "any": {"x-kubernetes-preserve-unknown-fields": True},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"known": _INTEGER}},
        "template": {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
        "points": {
            "type": "array",
            "maxItems": 5,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["x", "y"],
            "items": {
                "type": "object",
                "required": ["x"],
                "properties": {"x": _INTEGER, "y": {**_INTEGER, "default": 0}, "note": {**_STRING, "maxLength": 9}},
                "x-kubernetes-validations": [{"rule": "self.x != self.y", "message": "no point on the diagonal", "fieldPath": ".x"}],
            },
        },
        "replicas": _INTEGER,
        "selector": _STRING,
    },
    "x-kubernetes-validations": [
        {"rule": "self.low <= self.high", "message": "low is above high", "fieldPath": ".low", "reason": "FieldValueForbidden"},
        {
            "rule": "(self.high - self.low) % self.step == 0",
            "messageExpression": "self.low > 5 ? 'no whole number of steps' : 'steps of ' + self.unit",
        },
        {"rule": "!has(self.tags) || self.tags.all(tag, tag.startsWith('t'))"},
        {
            "rule": "!has(oldSelf.fixed) || (has(self.fixed) && self.fixed == oldSelf.fixed)",
            "message": "fixed stays",
            "reason": "FieldValueInvalid",
        },
        {"rule": "!has(self.names) || self.names[0] != 'no'", "message": "not that name"},
        {"rule": "!has(self.counts) || self.counts['must'] > 0"},
    ],
}
_SCHEMA: Body = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": _SPEC,
        "status": {"type": "object", "properties": {"replicas": _INTEGER, "selector": _STRING}},
    },
    "x-kubernetes-validations": [{"rule": "self.metadata.name != 'forbidden'", "message": "not by that name"}],
}
SCALE = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}


def gauges() -> Body:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _SCHEMA},
        "subresources": {"status": {}, "scale": SCALE},
    }
    names = {"plural": "gauges", "kind": "Gauge"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gauges.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }


def gauge(name: str, **spec: Any) -> Body:
    return {"apiVersion": "example.com/v1", "kind": "Gauge", "metadata": {"name": name}, "spec": {"low": 0, "high": 10, **spec}}


WRONG: dict[str, Body] = {
    "too low": {"low": -1},
    "too high": {"high": 100},
    "not a multiple": {"step": 7},
    "a ratio too small": {"ratio": 0.25},
    "a float for an integer": {"low": 0.5},
    "a whole float for an integer": {"low": 5.0},
    "a number for a string": {"unit": 5},
    "a pattern": {"unit": "KM"},
    "too short": {"unit": "k"},
    "too long": {"unit": "kilometres"},
    "an enum": {"mode": "Off"},
    "a time": {"since": "yesterday"},
    "a duration": {"every": "often"},
    "an address": {"address": "::1"},
    "a uuid": {"id": "one"},
    "base64": {"blob": "?"},
    "neither int nor string": {"port": 1.5},
    "a boolean for int or string": {"port": True},
    "null for what is not nullable": {"low": None},
    "too few items": {"names": []},
    "too many items": {"names": ["a", "b", "c", "d"]},
    "items too long": {"names": ["abcd", "b", "cdef"]},
    "an item of a wrong type": {"names": ["a", 1]},
    "a repeated item": {"tags": ["t", "t"]},
    "no properties": {"counts": {}},
    "too many properties": {"counts": {"a": 1, "b": 2, "c": 3}},
    "a property of a wrong type": {"counts": {"must": "one"}},
    "neither of one": {"either": {}},
    "both of one": {"either": {"a": "1", "b": "2"}},
    "one that must not be": {"either": {"a": "1", "c": "2"}},
    "a known field of an open object": {"open": {"known": "x"}},
    "an embedded object without a kind": {"template": {"metadata": {"name": "x"}}},
    "an embedded object with a bad name": {"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "No.Good_"}}},
    "a point without x": {"points": [{"y": 1}]},
    "a repeated point": {"points": [{"x": 1}, {"x": 1, "y": 0}]},
    "a point on the diagonal": {"points": [{"x": 1}, {"x": 2, "y": 2}]},
    "a rule": {"low": 20},
    "a rule with a path and a message made": {"high": 7},
    "two rules": {"low": 17},
    "a rule without a message": {"tags": ["a"]},
    "a rule that fails": {"counts": {"other": 1}},
    "several at once": {"unit": "KM", "mode": "Off", "names": [], "step": 7},
    "a schema and a rule": {"unit": "KM", "low": 20},
    "a missing field and a rule": {"mode": "Off", "low": 20},
    "a list for an object": {"either": []},
    "a string for a list": {"names": "a"},
}


def validating() -> Iterator[Exchange]:
    yield post("define gauges", CRDS_PATH, gauges()).part(CONTROLLERS, "spec")
    yield get("gauges are served", GAUGES, until=there)
    for name, spec in WRONG.items():
        exchange = post(f"gauge: {name}", GAUGES, gauge("x", **spec))
        yield exchange.part(NUMBERS, "code", "reason") if name == "a whole float for an integer" else exchange
    yield post("gauge: no spec", GAUGES, {"apiVersion": "example.com/v1", "kind": "Gauge", "metadata": {"name": "x"}})
    yield post("gauge: a list for a spec", GAUGES, {**gauge("x"), "spec": []})
    yield post("gauge: missing fields", GAUGES, {**gauge("x"), "spec": {}})
    yield post("gauge: a rule about the name", GAUGES, gauge("forbidden"))
    bad_name = gauge("Bad_Name", unit="KM")
    yield post("gauge: bad metadata and a bad schema", GAUGES, bad_name)
    bad_label = gauge("x", low=20) | {"metadata": {"name": "x", "labels": {"a": "not ok"}}}
    yield post("gauge: bad metadata and a broken rule", GAUGES, bad_label)
    yield from _kept_and_filled()
    yield from _changed()
    yield from _scaled()


def _kept_and_filled() -> Iterator[Exchange]:
    whole = gauge("whole", unit="km", port="http", maybe=None, never=None, any=[1, {"a": None}], open={"known": 1, "more": {"x": None}})
    whole["spec"]["points"] = [{"x": 1}, {"x": 2, "z": 3}]
    whole["spec"]["template"] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "nonsense": 1}, "spec": {"any": 1}}
    whole["extra"] = 1
    yield post("gauge: kept, filled in and pruned", GAUGES, whole).part(EMBEDDED_METADATA, "metadata", "kind")
    yield post(
        "gauge: unknown fields are counted up", f"{GAUGES}?fieldValidation=Strict", {**whole, "metadata": {"name": "x", "made": 1}}
    ).part(EMBEDDED_METADATA, "code", "reason")
    yield post("gauge: the least", GAUGES, gauge("least"))
    yield post("gauge: large numbers", GAUGES, gauge("large", any={"i": 2**53 + 1, "f": 1e300, "e": 1.0, "n": -0.0}))


def _changed() -> Iterator[Exchange]:
    path = f"{GAUGES}/least"
    yield patch("gauge: set what stays", path, {"spec": {"fixed": "a"}})
    yield patch("gauge: change what stays", path, {"spec": {"fixed": "b"}})
    yield patch("gauge: remove what stays", path, {"spec": {"fixed": None}})
    yield patch("gauge: break a rule", path, {"spec": {"low": 50}})
    yield patch("gauge: take a default away", path, {"spec": {"mode": None}})
    yield patch("gauge: a status of a wrong type", f"{path}/status", {"status": {"replicas": "two"}})
    yield patch("gauge: a status", f"{path}/status", {"status": {"replicas": 2, "selector": "a=b"}})
    yield patch("gauge: spec goes away", path, [{"op": "remove", "path": "/spec"}], JSON_PATCH)
    yield patch("gauge: the wrong type by a patch", path, [{"op": "replace", "path": "/spec/unit", "value": 5}], JSON_PATCH)


def _scaled() -> Iterator[Exchange]:
    path = f"{GAUGES}/least/scale"
    yield get("scale before there are replicas", path)
    yield patch("set replicas", f"{GAUGES}/least", {"spec": {"replicas": 1}})
    yield get("scale", path)
    yield patch("scale up", path, {"spec": {"replicas": 3}})
    yield get("it is scaled up", f"{GAUGES}/least")
    yield patch("scale below zero", path, {"spec": {"replicas": -1}})
    yield get("scale of nobody", f"{GAUGES}/nobody/scale")
    yield put(
        "scale by put", path, {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "least"}, "spec": {"replicas": 4}}
    )
    yield get("scale of what has none", f"{WIDGETS}/one/scale")
