"""What a definition with a scale subresource asks of its objects: numbers of replicas that are numbers (apiextensions-apiserver's validator.go)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from backstay.local.apiserver.fields import FieldError, invalid
from backstay.local.apiserver.gotext import go_text
from backstay.local.apiserver.resource import Resource

_MAX_REPLICAS: Final = 2**31 - 1
_GO_TYPES: Final = {str: "string", bool: "bool", int: "int64", float: "float64", list: "[]interface {}", dict: "map[string]interface {}"}


def scale_errors(resource: Resource, obj: Mapping[str, Any], *, is_status: bool) -> list[FieldError]:
    """Judge the fields that a Scale is made from: the status's when the status is written, else the spec's."""
    if resource.scale is None:
        return []
    path = resource.scale["statusReplicasPath" if is_status else "specReplicasPath"]
    value = _found(obj, path, int)
    if isinstance(value, str):
        return [invalid(path, 0, value)]
    if value is not None and value < 0:
        return [invalid(path, value, "should be a non-negative integer")]
    if value is not None and value > _MAX_REPLICAS:
        return [invalid(path, value, f"should be less than or equal to {_MAX_REPLICAS}")]
    return []


def _found(obj: Mapping[str, Any], path: str, wanted: type) -> Any:
    """Return what stands at a path, None for nothing, or, as text, what Go's accessor says of a value that cannot be there."""
    value: Any = obj
    names = path.lstrip(".").split(".")
    for index, name in enumerate(names):
        if not isinstance(value, dict):
            where = "." + ".".join(names)
            return f"{where} accessor error: {go_text(value)} is of the type {_GO_TYPES.get(type(value), 'nil')}, expected map[string]interface{{}}"
        if name not in value:
            return None
        value = value[name]
        if index == len(names) - 1 and type(value) is not wanted:
            where = "." + ".".join(names)
            return (
                f"{where} accessor error: {go_text(value)} is of the type {_GO_TYPES.get(type(value), 'nil')}, expected {_GO_TYPES[wanted]}"
            )
    return value
