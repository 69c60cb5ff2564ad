"""Schemas of OpenAPI documents: builtin kinds from gotypes.txt, custom resources from their own schema."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from backstay.local.apiserver.resource import Resource
from backstay.local.apiserver.shapes import GoField, go_fields, go_name, go_structs

_REFERENCE: Final = "#/components/schemas/"
_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1"
_LEAVES: Final[Mapping[str, dict[str, Any]]] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int": {"type": "integer", "format": "int64"},
    "bytes": {"type": "string", "format": "byte"},
    "any": {},
    "Raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}
_NAMED_LEAVES: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "Time": (f"{_META}.Time", {"type": "string", "format": "date-time"}),
    "MicroTime": (f"{_META}.MicroTime", {"type": "string", "format": "date-time"}),
    "Quantity": ("io.k8s.apimachinery.pkg.api.resource.Quantity", {"oneOf": [{"type": "string"}, {"type": "number"}]}),
    "IntOrString": (
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    ),
}
_API_VERSION: Final = "APIVersion defines the versioned schema of this representation of an object."
_KIND: Final = "Kind is a string value representing the REST resource this object represents."
_METADATA: Final = "Standard object's metadata."


def component_name(resource: Resource) -> str:
    """Return the name of a kind's schema: `io.k8s.api.batch.v1.Job`, `dev.backstay.v1alpha1.WorkflowRun`."""
    if resource.is_custom:
        return f"{'.'.join(reversed(resource.group.split('.')))}.{resource.version}.{resource.kind}"
    return _struct_name(go_name(resource.group, resource.version, resource.kind))


def _struct_name(struct: str) -> str:
    package, _, name = struct.partition(".")
    group, _, version = package.partition("/")
    prefix = {"meta": "io.k8s.apimachinery.pkg.apis.meta", "apiextensions": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions"}
    return f"{prefix.get(group, f'io.k8s.api.{group}')}.{version}.{name}"


def _with_type(resource: Resource, schema: dict[str, Any]) -> dict[str, Any]:
    """Add what every object has, and what kind it is."""
    schema["properties"] = {
        "apiVersion": {"description": _API_VERSION, "type": "string"},
        "kind": {"description": _KIND, "type": "string"},
        **schema.get("properties", {}),
    }
    schema["x-kubernetes-group-version-kind"] = [{"group": resource.group, "kind": resource.kind, "version": resource.version}]
    return schema


def kind_schema(resource: Resource) -> dict[str, Any]:
    """Return the schema of a builtin kind."""
    schema = _struct_schema(go_name(resource.group, resource.version, resource.kind))
    schema["description"] = f"{resource.kind} is a builtin kind of Kubernetes; its fields are explained in the Kubernetes API reference."
    return _with_type(resource, schema)


def custom_schema(resource: Resource) -> dict[str, Any]:
    """Return the schema of a custom resource, completed by the parts that every object has."""
    schema: dict[str, Any] = copy.deepcopy(dict(resource.schema or {}))
    schema.setdefault("properties", {})["metadata"] = _described(_reference(f"{_META}.ObjectMeta"), _METADATA)
    return _with_type(resource, schema)


def list_schema(resource: Resource) -> dict[str, Any]:
    """Return the schema of a list of a kind."""
    reference = _reference(component_name(resource))
    schema = {
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": _described(_reference(f"{_META}.ListMeta"), "Standard list metadata."),
            "items": {"type": "array", "items": reference},
        },
    }
    kind = {"group": resource.group, "kind": resource.list_kind, "version": resource.version}
    return {**schema, "x-kubernetes-group-version-kind": [kind]}


def closure(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schemas of all types that the given ones refer to, directly or through others."""
    structs = {_struct_name(struct): struct for struct in go_structs()}
    leaves = dict(_NAMED_LEAVES.values())
    found: dict[str, Any] = {}
    open_names = _references(schemas)
    while open_names:
        name = open_names.pop()
        if name in found or name in schemas:
            continue
        found[name] = leaves[name] if name in leaves else _struct_schema(structs[name])
        open_names |= _references(found[name])
    return found


def _references(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        own = value.get("$ref")
        below = set[str]().union(*(_references(item) for item in value.values()))
        return below | {own.removeprefix(_REFERENCE)} if isinstance(own, str) else below
    if isinstance(value, list):
        return set[str]().union(*(_references(item) for item in value))
    return set()


def _struct_schema(struct: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: _field_schema(field) for name, field in go_fields(struct).items()}}


def _field_schema(field: GoField) -> dict[str, Any]:
    schema = dict(_type_schema(field.type))
    strategy, _, key = field.flags.get("patch", "").partition(":")
    list_type, _, keys = field.flags.get("list", "").partition(":")
    if strategy:
        schema["x-kubernetes-patch-strategy"] = strategy
    if key:
        schema["x-kubernetes-patch-merge-key"] = key
    if list_type:
        schema["x-kubernetes-list-type"] = list_type
    if keys:
        schema["x-kubernetes-list-map-keys"] = keys.split(",")
    return schema


def _type_schema(type_: str) -> dict[str, Any]:
    type_ = type_.lstrip("*")
    if type_.startswith("list:"):
        return {"type": "array", "items": _type_schema(type_.removeprefix("list:"))}
    if type_.startswith("map:"):
        return {"type": "object", "additionalProperties": _type_schema(type_.removeprefix("map:"))}
    if type_ in _LEAVES:
        return _LEAVES[type_]
    if type_ in _NAMED_LEAVES:
        return {"allOf": [_reference(_NAMED_LEAVES[type_][0])]}
    return {"allOf": [_reference(_struct_name(type_))]} if type_ in go_structs() else {}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"{_REFERENCE}{name}"}


def _described(schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"description": text, "allOf": [schema]}
