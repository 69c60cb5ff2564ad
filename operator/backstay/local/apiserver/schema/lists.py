"""Uniqueness: items of a list of type set, keys of a list of type map (`x-kubernetes-list-type`)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from backstay.local.apiserver.fields import FieldError, duplicate, go_json, invalid
from backstay.local.apiserver.schema.node import Node


def check_unique(node: Node, value: Any, path: str = "") -> list[FieldError]:
    """Return a `Duplicate value` for the first repetition of each item or key, and `must be an object` for what can have no keys."""
    errors: list[FieldError] = []
    if node.has_unique_lists:
        _walk(node, value, path, errors)
    return errors


def _walk(node: Node, value: Any, path: str, errors: list[FieldError]) -> None:
    if isinstance(value, list):
        if node.list_type == "set":
            repeated = _second_occurrences([_identity(item) for item in value])
            errors += [duplicate(f"{path}[{index}]", value[index]) for index in repeated]
        elif node.list_type == "map":
            errors += _repeated_keys(node, value, path)
        if node.items is not None and node.items.has_unique_lists:
            for index, item in enumerate(value):
                _walk(node.items, item, f"{path}[{index}]", errors)
    elif isinstance(value, dict):
        if node.additional is not None and node.additional.has_unique_lists:
            for name, item in value.items():
                _walk(node.additional, item, f"{path}[{name}]", errors)
        for name, item in value.items():
            sub = node.properties.get(name)
            if sub is not None and sub.has_unique_lists:
                _walk(sub, item, f"{path}.{name}" if path else name, errors)


def _repeated_keys(node: Node, value: list[Any], path: str) -> list[FieldError]:
    for index, item in enumerate(value):
        if item is not None and not isinstance(item, dict):
            return [invalid(f"{path}[{index}]", item, "must be an object for an array of list-type map")]
    keys = [tuple(_identity(item[key]) if key in item else None for key in node.list_keys) if item is not None else () for item in value]
    return [
        duplicate(f"{path}[{index}]", {key: value[index][key] for key in node.list_keys if key in (value[index] or {})})
        for index in _second_occurrences(keys)
    ]


def _identity(item: Any) -> tuple[type, Any]:
    """Return what tells one value from another, with 1, 1.0 and true told apart."""
    return (type(item), go_json(item) if isinstance(item, dict | list) else item)


def _second_occurrences(identities: list[Any]) -> list[int]:
    """Return the index of the second occurrence of each identity that occurs more than once."""
    if len(set(identities)) == len(identities):
        return []
    times: Counter[Any] = Counter()
    found = []
    for index, identity in enumerate(identities):
        times[identity] += 1
        if times[identity] == 2:
            found.append(index)
    return found
