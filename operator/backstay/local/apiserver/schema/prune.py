"""Unknown fields: leave them out, and tell which they were.

What the schema does not name is dropped, unless `x-kubernetes-preserve-unknown-fields` keeps it; apiVersion, kind and metadata of an
object, at the root or embedded, are never touched. Paths are those of the server's warnings: `spec.steps[0].foo`.
"""

from __future__ import annotations

from typing import Any, Final

from backstay.local.apiserver.schema.node import Node

META: Final = frozenset({"apiVersion", "kind", "metadata"})


def pruned(node: Node | None, value: Any, unknown: list[str] | None = None, path: str = "") -> Any:
    """Return `value` without what the schema does not know; the same object where nothing had to go.

    The paths of what went are added to `unknown`. A node of None knows nothing: all members of an object go.
    """
    if isinstance(value, dict):
        return _pruned_object(node, value, unknown, path)
    if isinstance(value, list):
        return _pruned_list(node, value, unknown, path)
    return value


def _pruned_object(node: Node | None, value: dict[str, Any], unknown: list[str] | None, path: str) -> dict[str, Any]:
    changed: dict[str, Any] | None = None
    for name, item in value.items():
        if node is not None and node.embedded and name in META:
            continue
        sub = node.child(name) if node is not None else None
        if sub is None:
            if node is not None and node.preserve:
                continue
            changed = dict(value) if changed is None else changed
            del changed[name]
            if unknown is not None:
                unknown.append(_joined(path, name))
            continue
        kept = pruned(sub, item, unknown, _joined(path, name)) if isinstance(item, dict | list) else item
        if kept is not item:
            changed = dict(value) if changed is None else changed
            changed[name] = kept
    return value if changed is None else changed


def _pruned_list(node: Node | None, value: list[Any], unknown: list[str] | None, path: str) -> list[Any]:
    if node is not None and node.items is None and node.preserve:
        return value
    sub = node.items if node is not None else None
    kept = [pruned(sub, item, unknown, f"{path}[{index}]") for index, item in enumerate(value)]
    return value if all(new is old for new, old in zip(kept, value, strict=True)) else kept


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
