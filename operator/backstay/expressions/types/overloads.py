"""What a function or operator does with operands of given kinds. The CEL library itself is asked, so that the answer cannot be wrong.

Where its type checker takes the kinds, it says what the result is. Where it does not, the call is tried on a sample of each kind, as values
whose kind the checker cannot see: those from the data. It dispatches on kinds alone, so that one sample speaks for all values of its kind.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from cel_expr_python import cel

from backstay.expressions.cel import new_environment
from backstay.expressions.types import model
from backstay.expressions.types.model import ANY, Type, list_of, map_of, optional_of, scalar

ANYTHING: Final = "any"
"""Stands for an operand whose kind is not known."""
_CACHED: Final = 4096
_NAMES: Final = tuple("abcdefgh")

_DECLARED: Final[Mapping[str, cel.Type]] = {
    ANYTHING: cel.Type.DYN,
    model.INT: cel.Type.INT,
    model.UINT: cel.Type.UINT,
    model.DOUBLE: cel.Type.DOUBLE,
    model.STRING: cel.Type.STRING,
    model.BYTES: cel.Type.BYTES,
    model.BOOL: cel.Type.BOOL,
    model.NULL: cel.Type.NULL,
    model.TIMESTAMP: cel.Type.TIMESTAMP,
    model.DURATION: cel.Type.DURATION,
    model.TYPE: cel.Type.Type(cel.Type.DYN),
    model.LIST: cel.Type.List(cel.Type.DYN),
    model.MAP: cel.Type.Map(cel.Type.DYN, cel.Type.DYN),
    model.OPTIONAL: cel.Type.AbstractType("optional_type", [cel.Type.DYN]),
}
_SAMPLES: Final[Mapping[str, Any]] = {
    model.INT: 1,
    model.DOUBLE: 1.0,
    model.STRING: "a",
    model.BYTES: b"a",
    model.BOOL: True,
    model.NULL: None,
    model.TIMESTAMP: datetime(2027, 1, 31, tzinfo=UTC),
    model.DURATION: timedelta(seconds=1),
    model.LIST: [],
    model.MAP: {},
}
_RESULTS: Final = {
    "int": scalar(model.INT),
    "uint": scalar(model.UINT),
    "double": scalar(model.DOUBLE),
    "string": scalar(model.STRING),
    "bytes": scalar(model.BYTES),
    "bool": scalar(model.BOOL),
    "null_type": scalar(model.NULL),
    "timestamp": scalar(model.TIMESTAMP),
    "google.protobuf.timestamp": scalar(model.TIMESTAMP),
    "duration": scalar(model.DURATION),
    "google.protobuf.duration": scalar(model.DURATION),
    "type": scalar(model.TYPE),
    "list": list_of(ANY),
    "map": map_of({}, ANY),
    "optional_type": optional_of(ANY),
}
_NO_SUCH: Final = re.compile(r"No matching overloads|Invalid container type|expected integer type|does not support")
_SYMBOLS: Final = re.compile(r"_(\+|-|\*|/|%|==|!=|<|<=|>|>=)_")


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether there is such a function for these kinds, and what it gives."""

    is_possible: bool
    result: Type = ANY


UNKNOWN: Final = Answer(True)
IMPOSSIBLE: Final = Answer(False)


@lru_cache(_CACHED)
def ask(function: str, kinds: tuple[str, ...], has_target: bool) -> Answer:
    """Return what a function or operator of CEL's syntax tree does with operands of these kinds; the target of a method comes first."""
    source = _written(function, _NAMES[: len(kinds)], has_target)
    if source is None or len(kinds) > len(_NAMES):
        return UNKNOWN
    names = _NAMES[: len(kinds)]
    declared = {name: _DECLARED[kind] for name, kind in zip(names, kinds, strict=True)}
    try:
        return Answer(True, _named(_environment(tuple(declared.items())).compile(source).return_type().name()))
    except (RuntimeError, ValueError):
        return _try(source, names, kinds)


def _try(source: str, names: tuple[str, ...], kinds: tuple[str, ...]) -> Answer:
    """Evaluate the call on samples. An operand of no known kind, or of one that has no sample, says nothing."""
    if any(kind not in _SAMPLES for kind in kinds):
        return UNKNOWN
    environment = _environment(tuple((name, cel.Type.DYN) for name in names))
    data = {name: _SAMPLES[kind] for name, kind in zip(names, kinds, strict=True)}
    try:
        value = environment.compile(source).eval(data=data)
        if value.type().name() == "ERROR":
            raise RuntimeError(str(value.plain_value()))
    except (RuntimeError, ValueError, TypeError) as error:
        return IMPOSSIBLE if _NO_SUCH.search(str(error)) else UNKNOWN
    return Answer(True, _named(value.type().name()))


def _named(name: str) -> Type:
    """Read a type as the library writes it: `INT`, `LIST<STRING>`, `optional_type<DYN>`."""
    base, _, inside = name.removesuffix(">").partition("<")
    if inside and base.lower() == "list":
        return list_of(_named(inside))
    if inside and base == "optional_type":
        return optional_of(_named(inside))
    return _RESULTS.get(re.split(r"[(<]", base)[0].lower(), ANY)


def _written(function: str, names: tuple[str, ...], has_target: bool) -> str | None:
    """Write a call of the syntax tree as source; None where the tree has it from a macro."""
    if (symbol := _SYMBOLS.fullmatch(function)) and len(names) == 2:
        return f"{names[0]} {symbol[1]} {names[1]}"
    if function in ("!_", "-_") and len(names) == 1:
        return f"{function[0]}({names[0]})"
    if function == "@in":
        return f"{names[0]} in {names[1]}"
    if function in ("_[_]", "_[?_]"):
        return f"{names[0]}[{'?' * (function == '_[?_]')}{names[1]}]"
    if not re.fullmatch(r"[A-Za-z][\w.]*", function, re.ASCII):
        return None
    return f"{names[0]}.{function}({', '.join(names[1:])})" if has_target else f"{function}({', '.join(names)})"


def _environment(variables: tuple[tuple[str, cel.Type], ...]) -> cel.Env:
    key = tuple((name, kind.name()) for name, kind in variables)
    if key not in _environments:
        if len(_environments) >= _CACHED:
            _environments.clear()
        _environments[key] = new_environment(dict(variables))
    return _environments[key]


_environments: Final[dict[tuple[tuple[str, str], ...], cel.Env]] = {}
