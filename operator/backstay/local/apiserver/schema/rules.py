"""Run the CEL rules of a schema over an object.

A rule that uses oldSelf runs only where there is an old value to compare with (or where it says optionalOldSelf); old and new items of a
list are told to be the same one only in lists of type map. A rule that broke already, on a value that is not changed now, is not held
against an update ("ratcheting", KEP-4008): subtrees that equal their old value are entered only for their transition rules.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from backstay.local.apiserver.fields import FORBIDDEN, REQUIRED, FieldError, duplicate, forbidden, invalid, required, without_value
from backstay.local.apiserver.schema.cel_env import CelError
from backstay.local.apiserver.schema.expression import Rule
from backstay.local.apiserver.schema.node import Node, unchanged

_ABSENT: Final = object()
_DUPLICATE: Final = "FieldValueDuplicate"


def check_rules(node: Node, value: Any, old: Any = None, path: str = "") -> list[FieldError]:
    """Return what the rules at and below a node have against `value`; `old` is the value before an update, or None."""
    errors: list[FieldError] = []
    if node.has_rules:
        _walk(node, value, _ABSENT if old is None else old, path, errors)
    return errors


def _walk(node: Node, value: Any, old: Any, path: str, errors: list[FieldError]) -> None:
    if value is None:
        return
    same = old is not _ABSENT and unchanged(value, old)
    if same and not node.has_transitions:
        return
    for rule in node.rules:
        if same and not rule.uses_old:
            continue
        if rule.uses_old and old is _ABSENT and not rule.optional_old:
            continue
        error = _judge(rule, node, value, old, path)
        if error is not None:
            errors.append(error)
    for nested in node.all_of:
        if nested.has_rules:
            _walk(nested, value, old, path, errors)
    if isinstance(value, dict):
        _walk_members(node, value, old if isinstance(old, dict) else {}, path, errors)
    elif isinstance(value, list) and node.items is not None and node.items.has_rules:
        _walk_items(node, node.items, value, old if isinstance(old, list) else [], path, errors)


def _walk_members(node: Node, value: dict[str, Any], old: dict[str, Any], path: str, errors: list[FieldError]) -> None:
    for name, item in value.items():
        sub = node.properties.get(name)
        if sub is not None and sub.has_rules:
            _walk(sub, item, _present(old.get(name)), f"{path}.{name}" if path else name, errors)
    if node.additional is not None and node.additional.has_rules:
        for name, item in value.items():
            _walk(node.additional, item, _present(old.get(name)), f"{path}[{name}]", errors)


def _walk_items(node: Node, sub: Node, value: list[Any], old: list[Any], path: str, errors: list[FieldError]) -> None:
    known = {item_key(node, item): item for item in old} if node.list_type == "map" else {}
    for index, item in enumerate(value):
        _walk(sub, item, known.get(item_key(node, item), _ABSENT) if known else _ABSENT, f"{path}[{index}]", errors)


def item_key(node: Node, item: Any) -> tuple[Any, ...] | None:
    """Return the values of an item's keys in a list of type map, or None for what is no object."""
    return tuple(str(item.get(key)) for key in node.list_keys) if isinstance(item, dict) else None


def _present(value: Any) -> Any:
    return _ABSENT if value is None else value


def _judge(rule: Rule, node: Node, value: Any, old: Any, path: str) -> FieldError | None:
    kind = node.types[0] if len(node.types) == 1 else ""
    if rule.program is None:
        return invalid(path, kind, f"rule compile error: {rule.error}")
    seen = _as_cel(node, value, rule)
    before = () if old is _ABSENT or not rule.uses_old else (_as_cel(node, old, rule),)
    try:
        if rule.holds(seen, before):
            return None
    except CelError as error:
        return invalid(path, kind, _could_not_run(rule, str(error)))
    place = path + rule.path if path else rule.path.removeprefix(".")
    return _broken(rule, kind, place, value, rule.says(seen, before))


def _could_not_run(rule: Rule, error: str) -> str:
    if error.startswith("no such overload"):
        return f"'{error}': call arguments did not match a supported operator, function or macro signature for rule: {rule.shown}"
    return f"{error} evaluating rule: {rule.shown}"


def _broken(rule: Rule, kind: str, path: str, value: Any, detail: str) -> FieldError:
    if rule.reason == FORBIDDEN:
        return forbidden(path, detail)
    if rule.reason == REQUIRED:
        return required(path, detail)
    compound = kind in ("object", "array")
    if rule.reason == _DUPLICATE:
        return duplicate(path, value) if not compound else FieldError(_DUPLICATE, path, without_value(path, "").value, "")
    return without_value(path, detail) if compound else invalid(path, value, detail)


def _as_cel(node: Node, value: Any, rule: Rule) -> Any:
    """Return the value as a rule sees it, less what it does not look at: handing that to CEL would cost more than the rule."""
    if isinstance(value, dict) and rule.members is not None and (node.properties or node.embedded):
        return _looked_at(node, value, rule.members, rule.tested)
    return _cast(node, value) if node.needs_casts else value


def _looked_at(node: Node, value: dict[str, Any], members: frozenset[str], tested: frozenset[str]) -> dict[str, Any]:
    """Return the members that a rule names; of those that it only asks `has()` for, that they are there."""
    seen: dict[str, Any] = {}
    for name, item in value.items():
        spelt = node.escaped.get(name, name)
        if spelt in members:
            seen[spelt] = True if spelt in tested else _cast_child(node, name, item)
    return seen


def _cast(node: Node, value: Any) -> Any:
    if not node.needs_casts:
        return value
    if isinstance(value, dict):
        return {node.escaped.get(name, name): _cast_child(node, name, item) for name, item in value.items()}
    if isinstance(value, list):
        return [_cast(node.items, item) for item in value] if node.items is not None else value
    if node.types == ("number",) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if node.format == "byte" and isinstance(value, str):
        return base64.b64decode(value)
    return value


def _cast_child(node: Node, name: str, value: Any) -> Any:
    sub = node.child(name)
    return _cast(sub, value) if sub is not None else value
