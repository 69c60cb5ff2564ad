"""Loops over maps in the order of their keys. CEL leaves the order open, and the library's differs from process to process: what a loop collects
would depend on which operator looked.

The compiled expression is rewritten in the form in which the library stores it (see `syntax.py`): what a collecting loop goes through becomes
`type(x) == map ? @keys(x) : x`, where `@keys` gives the keys in order.
"""

from collections.abc import Iterator
from typing import Any, Final

from cel_expr_python import cel

from backstay.expressions import syntax

KEYS: Final = "@keys"
FUNCTION: Final = cel.FunctionDecl(
    KEYS,
    [
        cel.Overload(
            "backstay_keys", cel.Type.List(cel.Type.DYN), [cel.Type.Map(cel.Type.DYN, cel.Type.DYN)], False, lambda found: in_order(found)
        )
    ],
)

_SELECT, _CALL, _LIST, _STRUCT, _LOOP = 5, 6, 7, 8, 9
"""Fields of cel.expr.Expr (cel-spec, proto/cel/expr/syntax.proto)."""
_PARTS: Final = {_SELECT: (1,), _CALL: (1, 3), _LIST: (1,), _LOOP: (2, 4, 5, 6, 7)}
"""By kind of expression: the fields of its message that are expressions."""
_BOUND: Final = "@looped"


def in_order(found: dict[Any, Any]) -> list[Any]:
    """Return the keys of a map in order: by code point, as they are text; others by kind first."""
    return sorted(found, key=lambda key: (type(key).__name__, key))


def needs_order(tree: syntax.Node) -> bool:
    """Tell whether a loop of an expression collects what it finds in something that may be a map."""
    return any(isinstance(node, syntax.Comprehension) and _collects_from_map(node) for node in syntax.walk(tree))


def _collects_from_map(node: syntax.Comprehension) -> bool:
    match node.iterated:
        case syntax.ListOf():
            return False
        case syntax.MapOf(entries):  # keys that are no text do not survive the way through Python: 1 and true are the same there
            may_be_map = all(isinstance(key, syntax.Constant) and isinstance(key.value, str) for key, _ in entries)
        case syntax.Comprehension() as inner:
            may_be_map = not inner.is_loop
        case _:
            may_be_map = True
    return may_be_map and node.is_loop and isinstance(node.start, syntax.ListOf)


def rewritten(serialized: bytes) -> bytes:
    """Return a stored expression with its collecting loops in order."""
    outer = {number: value for number, value, _ in _fields(serialized)}
    field = 4 if outer[1].decode().endswith("CheckedExpr") else 2
    message = b"".join(_message(number, _expression(value)) if number == field else raw for number, value, raw in _fields(outer[2]))
    return _message(1, outer[1]) + _message(2, message)


def _expression(data: bytes) -> bytes:
    return b"".join(_message(number, _kind(number, value)) if number in (*_PARTS, _STRUCT) else raw for number, value, raw in _fields(data))


def _kind(kind: int, data: bytes) -> bytes:
    written = b""
    collects = kind == _LOOP and _collects_from_map(_as_loop(data))
    for number, value, raw in _fields(data):
        if kind == _STRUCT and number == 2:
            written += _message(
                2, b"".join(_message(n, _expression(v)) if n in (3, 4) and isinstance(v, bytes) else r for n, v, r in _fields(value))
            )
        elif number in _PARTS.get(kind, ()):
            inner = _expression(value)
            written += _message(number, _with_keys(inner) if collects and number == 2 else inner)
        else:
            written += raw
    return written


def _as_loop(data: bytes) -> syntax.Comprehension:
    found = syntax.parse_expression(_message(_LOOP, data))
    assert isinstance(found, syntax.Comprehension)
    return found


def _with_keys(iterated: bytes) -> bytes:
    """Give what a loop goes through a name, so that it is worked out once, and take its keys where it is a map."""
    name = _identifier(_BOUND)
    chosen = _call("_?_:_", _call("_==_", _call("type", name), _identifier("map")), _call(KEYS, name), name)
    nothing, false = _message(_LIST, b""), _message(3, _number(2 << 3) + _number(0))
    parts = ((1, b"#unused"), (2, nothing), (3, _BOUND.encode()), (4, iterated), (5, false), (6, name), (7, chosen))
    return _message(_LOOP, b"".join(_message(number, part) for number, part in parts))


# ------------------------------------------------------------------------------------------- the wire format (protobuf.dev/encoding)


def _fields(data: bytes) -> Iterator[tuple[int, Any, bytes]]:
    """Yield the fields of a message: number, value, and the bytes of the whole field."""
    for number, value, start, end in syntax.fields(data):
        yield number, value, data[start:end]


def _number(value: int) -> bytes:
    written = b""
    while value > 0x7F:
        written += bytes([value & 0x7F | 0x80])
        value >>= 7
    return written + bytes([value])


def _message(number: int, data: bytes) -> bytes:
    return _number(number << 3 | 2) + _number(len(data)) + data


def _identifier(name: str) -> bytes:
    return _message(4, _message(1, name.encode()))


def _call(function: str, *arguments: bytes) -> bytes:
    return _message(_CALL, _message(2, function.encode()) + b"".join(_message(3, argument) for argument in arguments))
