"""Objects within objects: `x-kubernetes-embedded-resource` asks for apiVersion and kind, and checks the metadata's types."""

from __future__ import annotations

import re
from typing import Any, Final

from backstay.local.apiserver.fields import FieldError, invalid, required
from backstay.local.apiserver.schema.node import Node

_LABEL_1035: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_NOT_A_LABEL: Final = (
    "may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)


def check_embedded(node: Node, value: Any, path: str = "") -> list[FieldError]:
    """Return what is wrong with the embedded objects below `node`; the object at the root is judged elsewhere."""
    errors: list[FieldError] = []
    _walk(node, value, path, errors, at_root=not path)
    return errors


def _walk(node: Node, value: Any, path: str, errors: list[FieldError], *, at_root: bool = False) -> None:
    if isinstance(value, list):
        if node.items is not None and node.items.has_embedded:
            for index, item in enumerate(value):
                _walk(node.items, item, f"{path}[{index}]", errors)
        return
    if not isinstance(value, dict):
        return
    if node.embedded and not at_root:
        _check(value, path, errors)
    for name, sub in node.properties.items():
        if sub.has_embedded and name in value:
            _walk(sub, value[name], f"{path}.{name}" if path else name, errors)
    if node.additional is not None and node.additional.has_embedded:
        for name, item in value.items():
            _walk(node.additional, item, f"{path}[{name}]", errors)


def _check(value: dict[str, Any], path: str, errors: list[FieldError]) -> None:
    for name in ("apiVersion", "kind"):
        if name not in value:
            errors.append(required(f"{path}.{name}"))
        elif not isinstance(value[name], str):
            errors.append(invalid(f"{path}.{name}", value[name], "must be a string"))
        elif not value[name]:
            errors.append(invalid(f"{path}.{name}", "", "must not be empty"))
    version, kind = value.get("apiVersion"), value.get("kind")
    if isinstance(version, str) and version.count("/") > 1:
        errors.append(invalid(f"{path}.apiVersion", version, f"unexpected GroupVersion string: {version}"))
    if isinstance(kind, str) and kind and not _LABEL_1035.fullmatch(kind.lower()):
        errors.append(invalid(f"{path}.kind", kind, _NOT_A_LABEL))
    if "metadata" in value and not isinstance(value["metadata"], dict):
        errors.append(invalid(f"{path}.metadata", value["metadata"], "must be an object"))
