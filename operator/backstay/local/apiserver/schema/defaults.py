"""Nulls and defaults.

A null where the schema does not allow one means "not given": it goes, or makes room for the default. Then what is missing and has a
default gets it, also inside of objects that exist only by default. After apiextensions-apiserver's schema/defaulting (v1.37).
"""

from __future__ import annotations

import copy
from typing import Any

from backstay.local.apiserver.schema.node import MISSING, Node


def with_defaults(node: Node | None, value: Any) -> Any:
    """Return `value` without meaningless nulls and with its defaults; the same object where nothing changes."""
    if isinstance(value, dict):
        return _object(node, value)
    if isinstance(value, list):
        return _list(node, value)
    return value


def _object(node: Node | None, value: dict[str, Any]) -> dict[str, Any]:
    if node is None:
        return value
    changed: dict[str, Any] | None = None
    for name, item in value.items():
        if item is not None and not isinstance(item, dict | list):
            continue
        sub = node.child(name)
        filled = _filled(sub, item)
        if filled is item:
            continue
        changed = dict(value) if changed is None else changed
        if filled is MISSING:
            del changed[name]
        else:
            changed[name] = filled
    for name, sub in node.defaulted:
        if name not in value:
            changed = dict(value) if changed is None else changed
            changed[name] = with_defaults(sub, copy.deepcopy(sub.default))
    return value if changed is None else changed


def _list(node: Node | None, value: list[Any]) -> list[Any]:
    sub = node.items if node is not None else None
    if sub is None:
        return value
    filled = [item if (new := _filled(sub, item)) is MISSING else new for item in value]
    return value if all(new is old for new, old in zip(filled, value, strict=True)) else filled


def _filled(sub: Node | None, item: Any) -> Any:
    """Return a member's value, its default in place of a null, or MISSING for a null that means nothing."""
    if item is None and sub is not None and not sub.nullable:
        return with_defaults(sub, copy.deepcopy(sub.default)) if sub.default is not MISSING else MISSING
    return with_defaults(sub, item) if isinstance(item, dict | list) else item
