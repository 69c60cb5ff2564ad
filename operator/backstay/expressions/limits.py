"""What an expression may cost. Enforced before it runs, because once it runs nothing can stop it."""

from collections.abc import Mapping
from typing import Any, Final

from backstay.errors import EvaluationError, InvalidExpression
from backstay.expressions import cost, syntax
from backstay.expressions.format import MAX_RESULT_BYTES, Json, size_bytes
from backstay.expressions.sizes import TooMuchData

MAX_LENGTH: Final = 1024
"""Characters of one expression, without its `${ }`."""
MAX_COMPREHENSIONS: Final = 2
"""Loops in one expression: all, exists, exists_one, map, filter."""
MAX_MEMORY_BYTES: Final = 64_000_000
MAX_NANOSECONDS: Final = 500_000_000

_CHEAP_FUNCTIONS: Final = frozenset(
    {
        "_==_",
        "_!=_",
        "_<_",
        "_<=_",
        "_>_",
        "_>=_",
        "_&&_",
        "_||_",
        "!_",
        "_?_:_",
        "_-_",
        "_*_",
        "_/_",
        "_%_",
        "-_",
        "@in",
        "_[_]",
        "_[?_]",
        "_?._",
    }
    | {"size", "startsWith", "endsWith", "int", "uint", "double", "bool", "string", "timestamp", "duration", "dyn", "type"}
    | {"hasValue", "or", "orValue", "value", "optional.of", "optional.none", "lowerAscii", "upperAscii", "trim"}
    | {"first", "last", "math.sqrt", "math.isNaN", "math.isInf", "math.isFinite", "math.bitAnd", "math.bitOr", "math.bitXor", "math.bitNot"}
    | {"math.bitShiftLeft", "math.bitShiftRight"}
    | {"math.abs", "math.ceil", "math.floor", "math.greatest", "math.least", "math.round", "math.sign", "math.trunc"}
)


def check_source(source: str) -> None:
    """Raise InvalidExpression where the text is too long, or no text that CEL can read."""
    if len(source) > MAX_LENGTH:
        raise InvalidExpression(
            f"the expression has {len(source)} characters and may have {MAX_LENGTH}; work part of it out in a set step before"
        )
    if not source.strip():
        raise InvalidExpression("the expression is empty; write what it should be, as in ${ params.name }")
    try:
        source.encode()
    except UnicodeEncodeError as error:
        raise InvalidExpression(f"position {error.start + 1}: {source[error.start]!r} is half of a character; remove it") from None


def check_tree(tree: syntax.Node) -> None:
    """Raise InvalidExpression where there are more loops than may be."""
    loops = sum(isinstance(node, syntax.Comprehension) and node.is_loop for node in syntax.walk(tree))
    if loops > MAX_COMPREHENSIONS:
        raise InvalidExpression(
            f"the expression loops {loops} times (all, exists, map, filter) and may do so {MAX_COMPREHENSIONS} times; "
            "work part of it out in a set step before"
        )


def check_size(result: Json, description: str) -> None:
    """Raise EvaluationError where a result, which the message calls by `description`, is longer than MAX_RESULT_BYTES as JSON."""
    size = size_bytes(result) if isinstance(result, (str, list, dict)) else 0
    if size > MAX_RESULT_BYTES:
        raise EvaluationError(
            f"{description} has about {size:,} bytes as JSON and may have {MAX_RESULT_BYTES:,}; pass large data by reference"
        )


def is_cheap(tree: syntax.Node) -> bool:
    """Tell whether an expression neither loops nor builds anything longer than its input, so that its cost need not be worked out."""
    return all(_is_cheap(node) for node in syntax.walk(tree))


def check_constant_cost(tree: syntax.Node) -> None:
    """Raise InvalidExpression where an expression takes too much whatever the data."""
    try:
        check_cost(tree, {})
    except EvaluationError as error:
        raise InvalidExpression(str(error)) from None


def check_cost(tree: syntax.Node, data: Mapping[str, Any]) -> None:
    """Raise EvaluationError where an expression could take too much memory or time on `data`."""
    try:
        estimate = cost.estimate(tree, data)
    except TooMuchData as error:
        raise EvaluationError(str(error)) from None
    if estimate.memory_bytes > MAX_MEMORY_BYTES:
        raise EvaluationError(
            f"on this data it could take {_rounded(estimate.memory_bytes / 1e6)} MB of memory, and may take {MAX_MEMORY_BYTES / 1e6:.0f} MB; "
            "use smaller values or lists, or work it out in a job"
        )
    if estimate.nanoseconds > MAX_NANOSECONDS:
        raise EvaluationError(
            f"on this data it could take {_rounded(estimate.nanoseconds / 1e9)} s, and may take {MAX_NANOSECONDS / 1e9:.1f} s; "
            "use smaller values or lists, or work it out in a job"
        )


def _is_cheap(node: syntax.Node) -> bool:
    match node:
        case syntax.Comprehension():
            return False
        case syntax.Call("_+_", operands):
            return any(isinstance(operand, syntax.Constant) and isinstance(operand.value, (int, float)) for operand in operands)
        case syntax.Call(function):
            return function in _CHEAP_FUNCTIONS
    return True


def _rounded(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"
