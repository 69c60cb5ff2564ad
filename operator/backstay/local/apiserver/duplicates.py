"""Fields that occur twice in one object of a request body: JSON readers keep the last one silently, the server tells."""

from __future__ import annotations

import json
from typing import Any

import yaml


class _Pairs(dict[str, Any]):
    """An object that remembers which of its keys came more than once."""

    repeated: tuple[str, ...] = ()


def duplicate_fields(raw: bytes) -> list[str]:
    """Return `duplicate field "spec.x"` for each repetition in a JSON body, or the YAML reader's words with the line for a YAML body.

    A body that is neither is left to whoever parses it for its content.
    """
    if not raw:
        return []
    try:
        found: list[str] = []
        _walk(json.loads(raw, object_pairs_hook=_pairs), "", found)
        return found
    except ValueError:
        return _in_yaml(raw)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = _Pairs(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        made.repeated = tuple(name for name in made if names.count(name) > 1)
    return made


def _walk(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, _Pairs):
        found += [f'duplicate field "{path}.{name}"' if path else f'duplicate field "{name}"' for name in value.repeated]
        for name, item in value.items():
            if isinstance(item, dict | list):
                _walk(item, f"{path}.{name}" if path else name, found)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict | list):
                _walk(item, f"{path}[{index}]", found)


def _in_yaml(raw: bytes) -> list[str]:
    try:
        document = yaml.compose(raw, Loader=yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError):
        return []
    lines: list[str] = []
    _walk_yaml(document, lines)
    return ["yaml: unmarshal errors:\n" + "\n".join(lines)] if lines else []


def _walk_yaml(node: yaml.Node | None, lines: list[str]) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    lines.append(f'  line {key.start_mark.line + 1}: key "{key.value}" already set in map')
                seen.add(key.value)
            _walk_yaml(value, lines)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _walk_yaml(item, lines)
