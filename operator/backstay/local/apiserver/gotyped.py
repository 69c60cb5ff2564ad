"""Builtin kinds as the server decodes them: unknown fields go, values must have the Go type.

Names and types come from gotypes.txt (see shapes.py). What a Go decoder refuses is said in its words, `json: cannot unmarshal string into
Go struct field JobSpec.spec.parallelism of type int32`; the table does not tell 32 from 64 bits, so the few 64-bit fields are named here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final

from backstay.local.apiserver.quantity import parse_quantity
from backstay.local.apiserver.schema import Node
from backstay.local.apiserver.shapes import go_fields, go_name, go_structs

_INT64: Final = frozenset(
    {
        "activeDeadlineSeconds",
        "deletionGracePeriodSeconds",
        "expirationSeconds",
        "fsGroup",
        "generation",
        "observedGeneration",
        "revision",
        "runAsGroup",
        "runAsUser",
        "terminationGracePeriodSeconds",
        "tolerationSeconds",
    }
)
_RFC3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})")
_LAYOUTS: Final = {"Time": "2006-01-02T15:04:05Z07:00", "MicroTime": "2006-01-02T15:04:05.000000Z07:00"}


@cache
def node_of(type_: str) -> Node:
    """Return a schema that knows the fields of a Go type, for pruning; the graph of nodes may be cyclic."""
    type_ = type_.lstrip("*")
    node = Node(nullable=type_ in ("Raw", "any"))
    if type_.startswith("list:"):
        node.items = node_of(type_.removeprefix("list:"))
    elif type_.startswith("map:"):
        node.additional = node_of(type_.removeprefix("map:"))
    elif type_ in go_structs():
        node.properties = _LazyFields(type_)
    else:
        node.preserve = True
    return node


class _LazyFields(dict[str, Node]):
    """The members of a struct, each made when first asked for: types may contain themselves."""

    def __init__(self, struct: str) -> None:
        super().__init__()
        self._struct = struct

    def get(self, name: str, default: Any = None) -> Any:
        if name not in self and (known := go_fields(self._struct).get(name)) is not None:
            self[name] = node_of(known.type)
        return super().get(name, default)


OBJECT_META: Final = "meta/v1.ObjectMeta"


@cache
def node_of_kind(group: str, version: str, kind: str) -> Node | None:
    """Return the schema of a builtin kind's objects, or None for a kind that the table does not have."""
    name = go_name(group, version, kind)
    if name not in go_structs():
        return None
    fields = _LazyFields(name)
    fields.update(apiVersion=Node(), kind=Node())
    return Node(properties=fields)


def decode_error(group: str, version: str, kind: str, obj: Mapping[str, Any]) -> str:
    """Return what a Go decoder says of the first value that has the wrong type, or ""."""
    name = go_name(group, version, kind)
    return _struct_error(name, obj, "") if name in go_structs() else ""


def meta_error(metadata: Any) -> str:
    """Return what a Go decoder says of an object's metadata, or ""."""
    if metadata is None:
        return ""
    if not isinstance(metadata, Mapping):
        return f"json: cannot unmarshal {_json_kind(metadata, '')} into Go value of type v1.ObjectMeta"
    return _error(OBJECT_META, metadata, "metadata", "")


def _struct_error(struct: str, value: Mapping[str, Any], path: str) -> str:
    fields = go_fields(struct)
    for name, item in value.items():
        known = fields.get(name)
        if known is not None and item is not None:
            below = f"{path}.{name}" if path else name
            error = _error(known.type, item, f"{struct.partition('.')[2]}.{below}", below)
            if error:
                return error
    return ""


def _error(type_: str, value: Any, place: str, path: str) -> str:
    type_ = type_.lstrip("*")
    if type_ in go_structs():
        return _struct_error(type_, value, path) if isinstance(value, dict) else _mismatch(type_, value, place, path)
    if type_.startswith("list:"):
        inner = type_.removeprefix("list:")
        if not isinstance(value, list):
            return _mismatch(type_, value, place, path)
        return next((error for item in value if item is not None and (error := _error(inner, item, place, path))), "")
    if type_.startswith("map:"):
        inner = type_.removeprefix("map:")
        if not isinstance(value, dict):
            return _mismatch(type_, value, place, path)
        return next((error for item in value.values() if item is not None and (error := _error(inner, item, place, path))), "")
    return _leaf_error(type_, value, place, path)


def _leaf_error(type_: str, value: Any, place: str, path: str) -> str:
    if type_ == "Quantity":
        return _quantity_error(value, place, path)
    if type_ in _LAYOUTS:
        return _time_error(type_, value, place, path)
    fits = {
        "string": isinstance(value, str),
        "bytes": isinstance(value, str),
        "bool": isinstance(value, bool),
        "int": isinstance(value, int) and not isinstance(value, bool),
        "IntOrString": isinstance(value, int | str) and not isinstance(value, bool),
    }
    return "" if fits.get(type_, True) else _mismatch(type_, value, place, path)


def _quantity_error(value: Any, place: str, path: str) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return _mismatch("Quantity", value, place, path)
    try:
        parse_quantity(value)
    except ValueError as error:
        return str(error)
    return ""


def _time_error(type_: str, value: Any, place: str, path: str) -> str:
    if not isinstance(value, str):
        return _mismatch(type_, value, place, path)
    if _RFC3339.fullmatch(value):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            return f'parsing time "{value}": out of range'
        return ""
    return f'parsing time "{value}" as "{_LAYOUTS[type_]}": cannot parse "{value}" as "2006"'


def _mismatch(type_: str, value: Any, place: str, path: str) -> str:
    return f"json: cannot unmarshal {_json_kind(value, type_)} into Go struct field {place} of type {_go_type(type_, path)}"


def _json_kind(value: Any, type_: str) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return f"number {value}" if type_ == "int" else "number"
    return "array" if isinstance(value, list) else "object"


_LEAVES: Final = {
    "bytes": "[]uint8",
    "IntOrString": "intstr.IntOrString",
    "Quantity": "resource.Quantity",
    "Time": "v1.Time",
    "MicroTime": "v1.MicroTime",
}


def _go_type(type_: str, path: str) -> str:
    if type_.startswith("list:"):
        return f"[]{_go_type(type_.removeprefix('list:').lstrip('*'), path)}"
    if type_.startswith("map:"):
        return f"map[string]{_go_type(type_.removeprefix('map:').lstrip('*'), path)}"
    if type_ == "int":
        return "int64" if path.rpartition(".")[2] in _INT64 else "int32"
    if "/" in type_:
        return type_.rpartition("/")[2]
    return _LEAVES.get(type_, type_)
