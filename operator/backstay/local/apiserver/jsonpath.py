"""JSONPath as CustomResourceDefinitions use it, for printer columns and selectable fields.

The subset of https://kubernetes.io/docs/reference/kubectl/jsonpath/ that `additionalPrinterColumns` may hold: fields, `['quoted']` fields,
indexes, slices, `[*]`, and filters of the form `[?(@.type=="Ready")]` with ==, !=, <, <=, >, >= or mere existence.

Example:
    find('.status.conditions[?(@.type=="Ready")].status', obj)  # ["True"]
"""

import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final

_Step = Callable[[Any], Iterator[Any]]

_TOKEN: Final = re.compile(
    r"""
    \.?\[\s*(?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\s*\]
    | \.?\[\s*\?\s*\(\s*(?P<filter>.*?)\s*\)\s*\]
    | \.?\[\s*(?P<index>-?\d+)\s*\]
    | \.?\[\s*(?P<all>\*)\s*\]
    | \.?\[\s*(?P<slice>-?\d*:-?\d*)\s*\]
    | \.(?P<star>\*)
    | \.(?P<field>(?:[^.\[\]\\]|\\.)+)
    """,
    re.VERBOSE,
)
_FILTER: Final = re.compile(r"@(?P<path>[^=!<>\s]*)\s*(?:(?P<operator>==|!=|<=|>=|<|>)\s*(?P<value>.+))?")
_OPERATORS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class JSONPathError(ValueError):
    """A path that cannot be read; the message shows where."""


def find(path: str, value: Any) -> list[Any]:
    """Return everything that the path leads to, missing parts giving nothing. Raises JSONPathError."""
    found: Iterable[Any] = [value]
    for step in compile_path(path):
        found = [inner for each in found for inner in step(each)]
    return list(found)


@cache
def compile_path(path: str) -> tuple[_Step, ...]:
    """Return the steps of a path. Raises JSONPathError."""
    text = path if path.startswith((".", "[")) else f".{path}"
    steps: list[_Step] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise JSONPathError(f"JSON path {path!r} cannot be read from {text[at:]!r} on")
        steps.append(_step(match))
        at = match.end()
    return tuple(steps)


def _step(match: re.Match[str]) -> _Step:
    if (quoted := match["quoted"]) is not None:
        return _field(re.sub(r"\\(.)", r"\1", quoted[1:-1]))
    if (name := match["field"]) is not None:
        return _field(re.sub(r"\\(.)", r"\1", name))
    if match["filter"] is not None:
        return _filter(match["filter"])
    if match["index"] is not None:
        return _index(int(match["index"]))
    if match["slice"] is not None:
        low, _, high = match["slice"].partition(":")
        return _slice(slice(int(low) if low else None, int(high) if high else None))
    return _everything


def _field(name: str) -> _Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, Mapping) and name in value:
            yield value[name]

    return step


def _index(index: int) -> _Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _slice(part: slice) -> _Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from value[part]

    return step


def _everything(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _filter(text: str) -> _Step:
    match = _FILTER.fullmatch(text)
    if match is None:
        raise JSONPathError(f"filter {text!r} is not of the form @.field==value")
    path = match["path"] or "."
    inner = compile_path(path) if path != "." else ()
    compare = _OPERATORS[match["operator"]] if match["operator"] else None
    wanted = _literal(match["value"]) if match["value"] else None

    def keeps(item: Any) -> bool:
        found: Iterable[Any] = [item]
        for step in inner:
            found = [each for value in found for each in step(value)]
        results = list(found)
        if compare is None:
            return bool(results)
        try:
            return bool(results) and bool(compare(results[0], wanted))
        except TypeError:
            return False

    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from (item for item in value if keeps(item))

    return step


def _literal(text: str) -> Any:
    text = text.strip()
    if text[:1] in "'\"":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    try:
        return json.loads(text)
    except ValueError:
        return text
