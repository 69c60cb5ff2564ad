"""CEL, the Common Expression Language, as it stands in `${ }`: compiled once, evaluated often, always within limits.

The library is Google's own C++ implementation with its extensions for strings, optional values, math, base64 and bindings.
Around it stand the limits of `limits.py`, JSON on both sides, and messages that say what to mend.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Any, Final, TypeAlias

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings

from backstay.errors import EvaluationError, InvalidExpression
from backstay.expressions import explain, limits, ordered, syntax
from backstay.expressions.format import Json, to_json
from backstay.expressions.functions import FUNCTIONS
from backstay.expressions.limits import MAX_COMPREHENSIONS, MAX_LENGTH
from backstay.expressions.words import shortened

__all__ = ["MAX_COMPREHENSIONS", "MAX_LENGTH", "Program", "compile_expression", "references"]

Needed: TypeAlias = "dict[str, Needed] | None"
"""The parts of the data that an expression refers to, by name; None is all of a value."""

RESERVED: Final = frozenset(
    """as break const continue else false for function if import in let loop namespace null package return true var void while
    bool bytes double dyn int list map string type uint""".split()  # noqa: SIM905
)
"""Names that no variable can have: words that CEL's grammar keeps, and types."""
NOT_AFTER_A_DOT: Final = frozenset(("false", "in", "null", "true"))
"""Names that no field can have without brackets."""

_CACHED_PROGRAMS: Final = 4096
_CACHED_ENVIRONMENTS: Final = 64
"""One for each set of variables: handlers may name their error as they like."""

_WITH_PATTERN: Final = frozenset(("matches", "regex.replace", "regex.extract", "regex.extractAll"))
"""Functions whose second operand is a regular expression."""
_MORE: Final = "name: backstay\nextensions: [{name: lists}, {name: sets}, {name: regex}]"
"""Libraries of the CEL library that have no class of their own in Python."""


class Program:
    """An expression that was compiled for a set of variables. Immutable; `compile_expression` caches it."""

    def __init__(self, source: str, variables: frozenset[str], compiled: cel.Expression, tree: syntax.Node) -> None:
        self.source: Final = source
        self.variables: Final = variables
        self._compiled = compiled
        self._tree = tree
        self._is_cheap = limits.is_cheap(tree)

    @cached_property
    def references(self) -> tuple[syntax.Chain, ...]:
        """What it refers to, as `references` gives it."""
        return tuple(dict.fromkeys(syntax.chains(self._tree)))

    @property
    def tree(self) -> syntax.Node:
        """Its syntax tree."""
        return self._tree

    @cached_property
    def result(self) -> str:
        """What it gives, as far as that can be told without data: `true or false`, `text`, `a list`, …; `any value` where it cannot."""
        return explain.type_in_words(self._compiled.return_type().name())

    @cached_property
    def _needed(self) -> "Needed":
        return _needed_by(self.references)

    def evaluate(self, data: Mapping[str, Any]) -> Json:
        """Return the value for `data`, which holds JSON by variable, as JSON.

        Raises EvaluationError, whose message names the path, what is there instead, and the mend.
        """
        if not self._is_cheap:
            self._check_cost(data)
        try:
            value = self._compiled.eval(data=_pruned(data, self._needed))
            kind = value.type().name()
            plain = None if kind.startswith("optional_type") else value.plain_value()
        except Exception as error:  # RuntimeError, TypeError, SystemError, MemoryError, …: all of them about the data
            raise EvaluationError(explain.evaluation(self._tree, data, self.source, str(error))) from None
        if kind == "ERROR":
            raise EvaluationError(explain.evaluation(self._tree, data, self.source, str(plain)))
        if kind.startswith("optional_type"):
            raise EvaluationError(f"{self.source}: {explain.OPTIONAL_RESULT}")
        try:
            result = to_json(plain)
            limits.check_size(result, "the result")
        except EvaluationError as error:
            raise EvaluationError(f"{shortened(self.source)}: {error}") from None
        return result

    def _check_cost(self, data: Mapping[str, Any]) -> None:
        try:
            limits.check_cost(self._tree, data)
        except EvaluationError as error:
            raise EvaluationError(f"{shortened(self.source)}: {error}") from None

    def __repr__(self) -> str:
        return f"Program({self.source!r})"


def compile_expression(source: str, variables: Collection[str]) -> Program:
    """Return the program for an expression, written without its `${ }`, that may use `variables`.

    Raises InvalidExpression, whose message holds the position (from 1) and the mend.
    """
    return _compile(source, frozenset(variables))


def references(source: str) -> list[syntax.Chain]:
    """Return what an expression refers to, each once, in order: ("steps", "charge", "outputs", "payment"), ("params", "orderId").

    Names count as far as they are constant: `steps["a-b"].outputs` is followed, `params.list[params.n]` is ("params", "list") and ("params", "n").
    Variables that a macro binds are left out. Raises InvalidExpression where it does not parse; unknown variables are no error here.
    """
    return list(_references(source))


def picked(sources: Iterable[str], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of the data that these expressions refer to: for evaluating them later, elsewhere."""
    chains = dict.fromkeys(chain for source in sources for chain in references(source))
    found: dict[str, Any] = _pruned(data, _needed_by(chains))
    return found


def _needed_by(chains: Collection[syntax.Chain]) -> Needed:
    needed: dict[str, Needed] = {}
    for chain in sorted(chains, key=len, reverse=True):
        place = needed
        for name in chain[:-1]:
            place = place.setdefault(name, {})  # type: ignore[assignment]
        place[chain[-1]] = None
    return needed


def _pruned(data: Any, needed: Needed) -> Any:
    """Return the parts of the data that are needed: the library converts all of a variable at each evaluation, and `steps` may hold 700 KB."""
    if needed is None or not isinstance(data, Mapping):
        return data
    return {name: _pruned(data[name], below) for name, below in needed.items() if name in data}


@lru_cache(_CACHED_PROGRAMS)
def _references(source: str) -> tuple[syntax.Chain, ...]:
    return tuple(dict.fromkeys(syntax.chains(_parse(source, frozenset(), is_checked=False)[1])))


@lru_cache(_CACHED_PROGRAMS)
def _compile(source: str, variables: frozenset[str]) -> Program:
    compiled, tree = _parse(source, variables, is_checked=True)
    if compiled.return_type().name().startswith("optional_type"):
        raise InvalidExpression(explain.OPTIONAL_RESULT)
    limits.check_tree(tree)
    limits.check_constant_cost(tree)
    _check_patterns(tree)
    if ordered.needs_order(tree):
        compiled = _environment(variables).deserialize(ordered.rewritten(compiled.serialize()))
    return Program(source, variables, compiled, tree)


def _parse(source: str, variables: frozenset[str], *, is_checked: bool) -> tuple[cel.Expression, syntax.Node]:
    limits.check_source(source)
    try:
        compiled = _environment(variables).compile(source, disable_check=not is_checked)
        return compiled, syntax.parse_serialized(compiled.serialize())
    except (RuntimeError, ValueError) as error:
        raise InvalidExpression(explain.compilation(source, variables, str(error))) from None


def _check_patterns(tree: syntax.Node) -> None:
    """Try the regular expressions that are written out, so that a wrong one is told before any run meets it."""
    for node in syntax.walk(tree):
        match node:
            case syntax.Call(function) if function in _WITH_PATTERN and isinstance(pattern := node.operands[1], syntax.Constant):
                tried = _environment(frozenset({"pattern"})).compile("''.matches(pattern)").eval(data={"pattern": pattern.value})
                if tried.type().name() == "ERROR":
                    raise InvalidExpression(explain.engine_says(str(tried.plain_value())))


@lru_cache(_CACHED_ENVIRONMENTS)
def _environment(variables: frozenset[str]) -> cel.Env:
    return new_environment(dict.fromkeys(sorted(variables), cel.Type.DYN))


def new_environment(variables: Mapping[str, cel.Type]) -> cel.Env:
    """Return an environment with every function that workflows may use, for variables of these types."""
    extensions = [
        ext_strings.ExtStrings(),
        ext_optional.ExtOptional(),
        ext_math.ExtMath(),
        ext_encoders.ExtEncoders(),
        ext_bindings.ExtBindings(),
    ]
    return cel.NewEnv(
        config=cel.NewEnvConfigFromYaml(_MORE), variables=dict(variables), extensions=extensions, functions=[*FUNCTIONS, ordered.FUNCTION]
    )
