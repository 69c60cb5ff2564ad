"""CustomResourceDefinitions: what is wrong with them, how they change, several versions, and what goes with them."""

from collections.abc import Iterator
from typing import Any

from tests.embedded.apiserver.exchanges.differences import CONTROLLERS, COST, DECODERS, GO_VALUES
from tests.embedded.apiserver.exchanges.exchange import (
    JSON_PATCH,
    NAMESPACE,
    TABLE,
    Body,
    Exchange,
    delete,
    get,
    gone,
    patch,
    post,
    put,
    there,
)
from tests.embedded.apiserver.widgets import CRDS_PATH

_OBJECT: Body = {"type": "object"}


def crd(plural: str, schema: Body | None = None, **spec: Any) -> Body:
    """Return a definition of one version; keyword arguments go over its spec."""
    version: Body = {"name": "v1", "served": True, "storage": True}
    if schema is not None:
        version["schema"] = {"openAPIV3Schema": schema}
    names = {"plural": plural, "kind": plural.removesuffix("s").capitalize()}
    whole = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version], **spec}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.com"},
        "spec": whole,
    }


def with_spec(**properties: Any) -> Body:
    """Return the schema of an object with these fields in its spec."""
    spec = {"type": "object"} | ({"properties": properties} if properties else {})
    return {"type": "object", "properties": {"spec": spec}}


def ruled(rule: str, **more: Any) -> Body:
    """Return a schema with one rule about a bounded string."""
    return with_spec(a={"type": "string", "maxLength": 10, "x-kubernetes-validations": [{"rule": rule, **more}]})


def faulty() -> dict[str, Body]:
    """Return definitions with something wrong, by what it is."""
    version = crd("faults", _OBJECT)["spec"]["versions"][0]
    return {
        "no schema": crd("faults"),
        "no type": crd("faults", {"properties": {}}),
        "an unknown type": crd("faults", {"type": "thing"}),
        "a field without a type": crd("faults", with_spec(a={"description": "?"})),
        "no such scope": crd("faults", _OBJECT, scope="Everywhere"),
        "no group": crd("faults", _OBJECT, group=""),
        "no versions": crd("faults", _OBJECT, versions=[]),
        "two stored versions": crd("faults", _OBJECT, versions=[version, {**version, "name": "v2"}]),
        "the same version twice": crd("faults", _OBJECT, versions=[version, version]),
        "a bad version": crd("faults", _OBJECT, versions=[{**version, "name": "V 1"}]),
        "a bad kind": crd("faults", _OBJECT, names={"plural": "faults", "kind": "bad kind"}),
        "a bad short name": crd("faults", _OBJECT, names={"plural": "faults", "kind": "Fault", "shortNames": ["F_"]}),
        "a bad default": crd("faults", with_spec(a={"type": "integer", "default": "one"})),
        "additional properties beside properties": crd(
            "faults", with_spec(a={"type": "object", "properties": {"b": _OBJECT}, "additionalProperties": _OBJECT})
        ),
        "closed objects": crd("faults", with_spec(a={"type": "object", "additionalProperties": False})),
        "unique items": crd("faults", with_spec(a={"type": "array", "uniqueItems": True, "items": {"type": "string"}})),
        "items without a type": crd("faults", with_spec(a={"type": "array"})),
        "a reference": crd("faults", with_spec(a={"$ref": "#/definitions/x"})),
        "a list of maps without keys": crd("faults", with_spec(a={"type": "array", "x-kubernetes-list-type": "map", "items": _OBJECT})),
        "a bad pattern": crd("faults", with_spec(a={"type": "string", "pattern": "("})),
        "metadata restricted": crd("faults", {"type": "object", "properties": {"metadata": {"type": "object", "required": ["labels"]}}}),
        "a bad column": crd(
            "faults",
            _OBJECT,
            versions=[{**version, "additionalPrinterColumns": [{"name": "A", "type": "strings", "jsonPath": "spec.a"}]}],
        ),
        "a bad selectable field": crd("faults", _OBJECT, versions=[{**version, "selectableFields": [{"jsonPath": ".spec.none"}]}]),
        "a rule that is no CEL": crd("faults", ruled("self ==")),
        "a rule that is no boolean": crd("faults", ruled("self + 'x'")),
        "a rule about an unknown field": crd("faults", ruled("self.b == 1")),
        "a rule with a bad reason": crd("faults", ruled("self != ''", reason="Because")),
        "a rule with a bad path": crd("faults", ruled("self != ''", fieldPath="nowhere")),
        "an empty rule": crd("faults", ruled("")),
        "a message over two lines": crd("faults", ruled("self != ''", message="a\nb")),
        "a bad scale path": crd(
            "faults",
            _OBJECT,
            versions=[{**version, "subresources": {"scale": {"specReplicasPath": "spec.x", "statusReplicasPath": ".status.x"}}}],
        ),
        "a bad conversion": crd("faults", _OBJECT, conversion={"strategy": "Magic"}),
        "a rule that costs too much": crd(
            "costs",
            with_spec(
                a={
                    "type": "array",
                    "items": {"type": "array", "items": {"type": "string"}},
                    "x-kubernetes-validations": [{"rule": "self.all(x, self.all(y, x.all(z, y.all(w, z == w))))"}],
                }
            ),
        ),
    }


def defining() -> Iterator[Exchange]:
    for name, body in faulty().items():
        yield _as_it_differs(name, post(f"define: {name}", CRDS_PATH, body))
    yield delete("what costs too much goes", f"{CRDS_PATH}/costs.example.com").otherwise(COST, 200)
    yield get("what costs too much has gone", f"{CRDS_PATH}/costs.example.com", until=gone)
    yield from _two_versions()
    yield from _changes()
    yield from _ends()


def _as_it_differs(name: str, exchange: Exchange) -> Exchange:
    if name in ("two stored versions", "the same version twice"):
        return exchange.blotted(GO_VALUES)
    if name == "a bad pattern":
        return exchange.part(DECODERS, "code", "reason")
    if name == "a rule that costs too much":
        return exchange.otherwise(COST, 201)
    return exchange.part(CONTROLLERS, "spec") if name == "closed objects" else exchange


def _two_versions() -> Iterator[Exchange]:
    first = {"name": "v1", "served": True, "storage": False, "schema": {"openAPIV3Schema": with_spec(a={"type": "string"})}}
    second = {
        "name": "v2",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": with_spec(a={"type": "string"}, b={"type": "string", "default": "b"})},
    }
    old = {"name": "v1beta1", "served": True, "storage": False, "deprecated": True, "schema": {"openAPIV3Schema": with_spec()}}
    yield post("define twins", CRDS_PATH, crd("twins", versions=[first, second, old])).part(CONTROLLERS, "spec")
    paths = {version: f"/apis/example.com/{version}/namespaces/{NAMESPACE}/twins" for version in ("v1", "v2", "v1beta1")}
    yield get("twins are served", paths["v2"], until=there)
    yield post("create an older twin", paths["v1"], twin("v1", "one", a="1", b="pruned"))
    yield get("read it as the newer", f"{paths['v2']}/one")
    yield post("create a newer twin", paths["v2"], twin("v2", "two", a="1", b="2"))
    yield get("read it as the older", f"{paths['v1']}/two")
    yield get("read it as deprecated", f"{paths['v1beta1']}/two")
    yield get("list them as the older", paths["v1"])
    yield patch("patch it as the older", f"{paths['v1']}/two", {"spec": {"a": "3"}})
    yield get("read what the newer has now", f"{paths['v2']}/two")


def twin(version: str, name: str, **spec: Any) -> Body:
    return {"apiVersion": f"example.com/{version}", "kind": "Twin", "metadata": {"name": name}, "spec": spec}


def _changes() -> Iterator[Exchange]:
    path = f"{CRDS_PATH}/twins.example.com"
    yield patch("definition: another scope", path, {"spec": {"scope": "Cluster"}})
    yield patch("definition: another kind", path, {"spec": {"names": {"kind": "Other"}}})
    yield patch("definition: another group", path, {"spec": {"group": "example.org"}})
    yield patch("definition: a short name", path, {"spec": {"names": {"shortNames": ["tw"]}}}).part(CONTROLLERS, "spec")
    yield patch("definition: a stored version goes away", path, [{"op": "remove", "path": "/spec/versions/1"}], JSON_PATCH).blotted(
        GO_VALUES
    )
    yield patch(
        "definition: a version is served no more", path, [{"op": "replace", "path": "/spec/versions/2/served", "value": False}], JSON_PATCH
    ).part(CONTROLLERS, "spec")
    unserved = f"/apis/example.com/v1beta1/namespaces/{NAMESPACE}/twins"
    yield get("a version that is served no more", unserved, until=gone)
    yield put("definition: by put without a version", path, crd("twins", _OBJECT))
    yield get("definition as a table", f"{path}?includeObject=None", accept=TABLE)
    yield get("definition's status", f"{path}/status").part(CONTROLLERS, "spec", "kind")


def _ends() -> Iterator[Exchange]:
    path = f"{CRDS_PATH}/twins.example.com"
    twins = f"/apis/example.com/v2/namespaces/{NAMESPACE}/twins"
    yield patch("hold a twin", f"{twins}/one", {"metadata": {"finalizers": ["example.com/hold"]}})
    yield delete("delete the definition", path).part(CONTROLLERS, "kind", "spec")
    yield get("its objects are being deleted", f"{twins}/one", until=lambda answer: "deletionTimestamp" in answer["body"]["metadata"])
    yield post("create while its definition goes", twins, twin("v2", "late"))
    yield patch("let the twin go", f"{twins}/one", {"metadata": {"finalizers": None}})
    yield get("the definition is gone", path, until=gone)
    yield get("its objects are not served", twins, until=gone)
