"""Values against a schema: types, bounds, patterns, enums, formats, and the alternatives of anyOf, oneOf, allOf and not.

The checks and their order are kube-openapi's `validate.SchemaValidator`, the wording that of apiextensions-apiserver (v1.37), which turns
some of its errors into others (`Too many`, `Unsupported value`). An update is not held to what it does not change: a part that equals its
old value is skipped ("ratcheting", KEP-4008), which also makes the check of a status patch cheap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from backstay.local.apiserver.fields import (
    FieldError,
    go_float,
    go_json,
    go_quote,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
    type_invalid,
)
from backstay.local.apiserver.schema.node import Node, unchanged

ABSENT: Final = object()
_INT32: Final = (-(2**31), 2**31 - 1)
_INT64: Final = (-(2**63), 2**63 - 1)

_Errors = list[FieldError]


def check_value(node: Node, value: Any, *, old: Any = ABSENT, prefix: str = "") -> list[FieldError]:
    """Return everything in `value` that the schema does not allow.

    `old` is the value before an update, ABSENT for a new one. `prefix` is where the value stands in its object (`status`); as in the
    server, it leads the path but not the name within the message.
    """
    errors: _Errors = []
    _check(node, value, "", old, errors)
    return [replace(error, field=_under(prefix, error.field)) for error in errors] if prefix else errors


def _under(prefix: str, field: str) -> str:
    return prefix if field in ("", "<nil>") else f"{prefix}.{field}"


def _check(node: Node, value: Any, path: str, old: Any, errors: _Errors) -> None:
    if old is not ABSENT and unchanged(value, old):
        return
    if type(value) in node.expected:
        if node.is_plain:
            return
    elif node.types or node.format:
        _check_type(node, value, path, errors)
    if value is None:
        _check_enum(node, value, path, errors)
        return
    if node.any_of or node.one_of or node.all_of or node.none_of is not None:
        _check_alternatives(node, value, path, errors)
    if isinstance(value, str):
        _check_string(node, value, path, errors)
    elif isinstance(value, list):
        _check_list(node, value, path, old, errors)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(node, value, path, errors)
    if node.enum:
        _check_enum(node, value, path, errors)
    if isinstance(value, dict):
        _check_object(node, value, path, old, errors)


def _kind(value: Any) -> tuple[str, str]:
    """Return the JSON type of a value and the format of its kind of number."""
    if isinstance(value, bool):
        return "boolean", ""
    if isinstance(value, str):
        return "string", ""
    if isinstance(value, int):
        return "integer", "int64"
    if isinstance(value, float):
        return "number", "float64"
    return ("array", "") if isinstance(value, list) else ("object", "")


def _check_type(node: Node, value: Any, path: str, errors: _Errors) -> None:
    wanted = ",".join(node.types)
    if value is None:
        if node.types and not node.nullable:
            errors.append(_of_type(path, wanted, "null"))
        return
    kind, number_format = _kind(value)
    fits = (
        kind in node.types
        or (kind == "number" and "integer" in node.types and value.is_integer())
        or (kind == "integer" and "number" in node.types)
    )
    textual = isinstance(value, str | list)
    if not textual and node.format and not fits and number_format != node.format:
        errors.append(_of_type(path, node.format, number_format))
    elif textual and node.format and not ("number" in node.types or "integer" in node.types):
        return  # a format is judged by itself, and only for strings
    elif not fits:
        errors.append(_of_type(path, wanted, kind))


def _of_type(path: str, wanted: str, found: str) -> FieldError:
    return type_invalid(path, found, f"{path} in body must be of type {wanted}: {go_quote(found)}")


def _check_string(node: Node, value: str, path: str, errors: _Errors) -> None:
    if node.max_length is not None and len(value) > node.max_length:
        errors.append(too_long(path, node.max_length))
    elif node.min_length is not None and len(value) < node.min_length:
        errors.append(invalid(path, value, f"{path} in body should be at least {node.min_length} chars long"))
    elif node.pattern is not None and not node.pattern.found_in(value):
        errors.append(invalid(path, value, f"{path} in body should match '{node.pattern.text}'"))
    if node.accepts is not None and not node.accepts(value):
        errors.append(type_invalid(path, value, f"{path} in body must be of type {node.format}: {go_quote(value)}"))


def _check_number(node: Node, value: int | float, path: str, errors: _Errors) -> None:
    _check_range(node, value, path, errors)
    whole = isinstance(value, int)
    if node.multiple_of is not None and value % node.multiple_of:
        errors.append(invalid(path, value, f"{path} in body should be a multiple of {_bound(node.multiple_of, whole)}"))
    low, high = node.minimum, node.maximum
    if low is not None and (value < low or (node.exclusive_minimum and value == low)):
        words = "greater than" if node.exclusive_minimum else "greater than or equal to"
        errors.append(invalid(path, value, f"{path} in body should be {words} {_bound(low, whole)}"))
    if high is not None and (value > high or (node.exclusive_maximum and value == high)):
        words = "less than" if node.exclusive_maximum else "less than or equal to"
        errors.append(invalid(path, value, f"{path} in body should be {words} {_bound(high, whole)}"))


def _check_range(node: Node, value: int | float, path: str, errors: _Errors) -> None:
    if node.types != ("integer",):
        return
    low, high = _INT32 if node.format == "int32" else _INT64
    if not low <= value <= high or value != int(value):
        shown = f"with format {node.format}" if node.format else "(default format)"
        errors.append(invalid("", "", f"Checked value must be of type integer {shown} in {path}"))


def _bound(bound: float, whole: bool) -> str:
    return str(int(bound)) if whole else go_float(float(bound))


def _check_enum(node: Node, value: Any, path: str, errors: _Errors) -> None:
    if not node.enum or any(value == allowed and isinstance(value, bool) == isinstance(allowed, bool) for allowed in node.enum):
        return
    names = [allowed if isinstance(allowed, str) else go_json(allowed) for allowed in node.enum]
    errors.append(not_supported(path, value, names))


def _check_list(node: Node, value: list[Any], path: str, old: Any, errors: _Errors) -> None:
    if node.items is not None:
        earlier = _old_items(node, old)
        for index, item in enumerate(value):
            _check(node.items, item, f"{path}[{index}]", earlier(item), errors)
    size = len(value)
    if node.min_items is not None and size < node.min_items:
        errors.append(invalid(path, size, f"{path} in body should have at least {node.min_items} items"))
    if node.max_items is not None and size > node.max_items:
        errors.append(too_many(path, size, node.max_items))


def _old_items(node: Node, old: Any) -> Callable[[Any], Any]:
    """Return a look-up of an item's former self; only lists of type map tell which one that was."""
    if node.list_type != "map" or not isinstance(old, list):
        return lambda _: ABSENT
    known = {_key(node, item): item for item in old if isinstance(item, dict)}
    return lambda item: known.get(_key(node, item), ABSENT) if isinstance(item, dict) else ABSENT


def _key(node: Node, item: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(item.get(key)) for key in node.list_keys)


def _check_object(node: Node, value: dict[str, Any], path: str, old: Any, errors: _Errors) -> None:
    size = len(value)
    if node.min_properties is not None and size < node.min_properties:
        errors.append(invalid(path, size, f"{path} in body should have at least {node.min_properties} properties"))
    if node.max_properties is not None and size > node.max_properties:
        errors.append(too_many(path, size, node.max_properties))
    earlier = old if isinstance(old, dict) else {}
    for name, item in value.items():
        sub = node.child(name)
        if sub is not None:
            _check(sub, item, f"{path}.{name}" if path else name, earlier.get(name, ABSENT), errors)
    for name in node.required:
        if name not in value:
            errors.append(required(f"{path}.{name}" if path else name))


def _check_alternatives(node: Node, value: Any, path: str, errors: _Errors) -> None:
    if node.any_of:
        tried = [_errors_of(sub, value, path) for sub in node.any_of]
        if all(tried):
            errors.append(invalid("", "", f"{go_quote(path)} must validate at least one schema (anyOf)"))
            errors += _most_telling(node.any_of, tried, value)
    if node.one_of:
        _check_one_of(node.one_of, value, path, errors)
    if node.all_of:
        tried = [_errors_of(sub, value, path) for sub in node.all_of]
        for found in tried:
            errors += found
        if any(tried):
            none = ". None validated" if all(tried) else ""
            errors.append(invalid("", "", f"{go_quote(path)} must validate all the schemas (allOf){none}"))
    if node.none_of is not None and not _errors_of(node.none_of, value, path):
        errors.append(invalid("", "", f"{go_quote(path)} must not validate the schema (not)"))


def _check_one_of(alternatives: tuple[Node, ...], value: Any, path: str, errors: _Errors) -> None:
    tried = [_errors_of(sub, value, path) for sub in alternatives]
    valid = sum(1 for found in tried if not found)
    if valid == 1:
        return
    found = f"Found {valid} valid alternatives" if valid else "Found none valid"
    errors.append(invalid("", "", f"{go_quote(path)} must validate one and only one schema (oneOf). {found}"))
    if not valid:
        errors += _most_telling(alternatives, tried, value)


def _errors_of(node: Node, value: Any, path: str) -> _Errors:
    errors: _Errors = []
    _check(node, value, path, ABSENT, errors)
    return errors


def _most_telling(alternatives: tuple[Node, ...], tried: list[_Errors], value: Any) -> _Errors:
    """Return the errors of the alternative that says most about the value: the first with the most members looked at."""
    weights = [_weight(node, value) for node in alternatives]
    return tried[weights.index(max(weights))]


def _weight(node: Node, value: Any) -> int:
    if not isinstance(value, dict):
        return 1
    return 1 + sum(_weight(sub, item) for name, item in value.items() if (sub := node.properties.get(name)) is not None)
