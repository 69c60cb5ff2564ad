"""CEL as the API server runs it in validation rules: one environment, expressions compiled once.

Everything is dynamically typed here, where the server knows the types of the schema: what it refuses when a CRD is applied (`1 ==
self.name`) fails here when the rule runs; members that a schema does not have are found by `expression.unknown_member`. Not here: the
server's libraries for URLs, IP addresses, CIDRs, quantities, semantic versions and authorisation; a CRD whose rules use them is refused
with the name of the function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, Final

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings

OLD: Final = "__oldSelf"
"""The variable that holds the old value as a list of none or one, from which rules with `optionalOldSelf` make their optional."""


class CelError(Exception):
    """An expression does not compile, or fails when it runs; the text is CEL's own."""


class Expression:
    """A compiled expression."""

    __slots__ = ("_compiled", "result_type")

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self.result_type: str = compiled.return_type().name()

    def run(self, data: Mapping[str, Any]) -> Any:
        """Return the value as plain Python, or raise CelError."""
        value = self._compiled.eval(data=data)
        if value.type() == cel.Type.ERROR:
            raise CelError(_as_cel_go(str(value.plain_value())))
        return value.plain_value()


@lru_cache(maxsize=4096)
def compile_expression(text: str) -> Expression:
    """Compile, or raise CelError with the compiler's report."""
    try:
        return Expression(_environment().compile(text))
    except RuntimeError as error:
        raise CelError(str(error).removeprefix("INVALID_ARGUMENT: ").removesuffix(" [INVALID_ARGUMENT]")) from None


def matches_re2(value: str, pattern: str) -> bool:
    """Search a pattern with RE2. Raises CelError where it is no valid pattern."""
    return bool(compile_expression("self.text.matches(self.pattern)").run({"self": {"text": value, "pattern": pattern}}))


_DETAIL: Final = re.compile(r"^(?:[A-Z_]+: )?(.*)$", re.DOTALL)
_NO_KEY: Final = re.compile(r'Key not found in map : "?([^"]*)"?')
_NO_OVERLOAD: Final = re.compile(r"No matching overloads found.*")
_INDEX: Final = re.compile(r"Index error: index=(-?\d+) size=\d+")


def _as_cel_go(text: str) -> str:
    """Word a runtime error as the server's CEL (cel-go) words it."""
    detail = _DETAIL.sub(r"\1", text)
    detail = _NO_KEY.sub(r"no such key: \1", detail)
    detail = _NO_OVERLOAD.sub("no such overload", detail)
    detail = _INDEX.sub(r"index out of bounds: \1", detail)
    return detail.replace("divide by zero", "division by zero")


@cache
def _environment() -> Any:
    kinds = cel.Type
    extensions = [
        ext_bindings.ExtBindings(),
        ext_encoders.ExtEncoders(),
        ext_math.ExtMath(),
        ext_optional.ExtOptional(),
        ext_strings.ExtStrings(),
    ]
    variables = {"self": kinds.DYN, "oldSelf": kinds.DYN, OLD: kinds.List(kinds.DYN)}
    return cel.NewEnv(variables=variables, extensions=extensions, functions=_library())


def _library() -> list[Any]:
    """The server's functions on lists, its `find` and `findAll`, and sets: pkg/cel/library of k8s.io/apiserver and cel-go's ext.Sets."""
    kinds = cel.Type
    many, text = kinds.List(kinds.DYN), kinds.STRING
    texts = kinds.List(text)
    return [
        _member("isSorted", kinds.BOOL, [many], lambda items: all(a <= b for a, b in pairwise(items))),
        _member("sum", kinds.DYN, [many], sum),
        _member("min", kinds.DYN, [many], min),
        _member("max", kinds.DYN, [many], max),
        _member("find", text, [text, text], _find),
        _several("findAll", [(texts, [text, text], _find_all), (texts, [text, text, kinds.INT], _find_all)]),
        _function("sets.contains", [many, many], lambda whole, part: all(item in whole for item in part)),
        _function("sets.equivalent", [many, many], lambda a, b: all(item in b for item in a) and all(item in a for item in b)),
        _function("sets.intersects", [many, many], lambda a, b: any(item in b for item in a)),
    ]


def _member(name: str, result: Any, parameters: list[Any], function: Callable[..., Any]) -> Any:
    return _several(name, [(result, parameters, function)])


def _several(name: str, overloads: list[tuple[Any, list[Any], Callable[..., Any]]]) -> Any:
    made = [
        cel.Overload(f"backstay_{name}_{number}", result, parameters, True, function)
        for number, (result, parameters, function) in enumerate(overloads)
    ]
    return cel.FunctionDecl(name, made)


def _function(name: str, parameters: list[Any], function: Callable[..., Any]) -> Any:
    return cel.FunctionDecl(name, [cel.Overload(f"backstay_{name}", cel.Type.BOOL, parameters, False, function)])


def _find(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return found.group(0) if found else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = [match.group(0) for match in re.finditer(pattern, text)]
    return found if limit < 0 else found[:limit]
