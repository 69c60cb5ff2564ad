"""Request bodies as the API server reads them: JSON, and YAML's JSON subset. What cannot be read is told in the words of Go's libraries.

Bodies are refused above a depth that everything behind can take: libyaml's composer recurses on the C stack and would end the process, and
orjson writes nothing deeper than 254 levels. kube-apiserver's own limit is 10,000.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

import orjson
import yaml

MAX_DEPTH: Final = 250

_KEYS: Final = {True: "true", False: "false", None: "null"}
# what orjson says → what encoding/json says
_GO_CONTEXTS: Final = (
    ("',' or '}'", "after object key:value pair"),
    ("',' or ']'", "after array element"),
    ("expected ':'", "after object key"),
    ("after document", "after top-level value"),
    ("object key", "looking for beginning of object key string"),
    ("", "looking for beginning of value"),
)


class DocumentError(ValueError):
    """A body that cannot be read; the message is what kube-apiserver says."""


class _Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """A safe loader to which `2024-01-01` is a string, as it is to sigs.k8s.io/yaml."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_json(body: bytes) -> Any:
    """Return the value of a JSON body. Raises DocumentError."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise DocumentError(_as_go_says(body, error)) from error
    # Counting is cheap, and most bodies have fewer brackets in all than may be open at once.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise DocumentError("invalid character '{' exceeded max depth")
    return value


def load_yaml(body: bytes) -> Any:
    """Return the one document of a YAML body; keys are strings, as in JSON. Raises DocumentError."""
    try:
        _check_depth(body)
        return _with_text_keys(cast("Any", yaml.load(body, Loader=_Loader)))  # noqa: S506 (derived from the safe loader)
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark.line if error.problem_mark else 0) + isinstance(error, yaml.scanner.ScannerError)
        raise DocumentError(f"yaml: line {line}: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise DocumentError(f"yaml: {error}") from error


def _check_depth(body: bytes) -> None:
    """Look at the events alone, which costs no stack."""
    depth = 0
    for event in yaml.parse(body, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"exceeded max depth of {MAX_DEPTH}")


def _with_text_keys(value: Any) -> Any:
    """Return a value whose maps have keys as JSON has them: YAML reads `yes: 1` as true, `5: 1` as a number."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else _text_of(key): _with_text_keys(inner) for key, inner in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list) else value


def _text_of(key: Any) -> str:
    return _KEYS[key] if key is None or isinstance(key, bool) else str(key)


def _depth(value: Any) -> int:
    """Return how many maps and lists are open at once, as far as the limit and one more."""
    level, depth = _containers([value]), 0
    while level and depth <= MAX_DEPTH:
        level = [inner for each in level for inner in _containers(each.values() if isinstance(each, dict) else each)]
        depth += 1
    return depth


def _containers(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, dict | list)]


def _as_go_says(body: bytes, error: orjson.JSONDecodeError) -> str:
    if "depth limit" in error.msg:
        return "invalid character '{' exceeded max depth"
    text = body.decode(errors="replace")
    if error.pos >= len(text.rstrip()):
        return "unexpected end of JSON input"
    context = next(said for found, said in _GO_CONTEXTS if found in error.msg)
    character = text[error.pos]
    shown = {"'": r"'\''", '"': "'\"'"}.get(character, f"'{character}'" if character.isprintable() else repr(character))
    return f"invalid character {shown} {context}"
