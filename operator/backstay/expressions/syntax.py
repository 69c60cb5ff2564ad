"""The syntax tree of an expression, read from the form in which the CEL library stores a parsed expression.

The library shows its tree only as serialised `cel.expr.ParsedExpr` or `CheckedExpr` messages (cel-spec, proto/cel/expr/syntax.proto and
checked.proto). The few fields that matter are decoded here by their numbers, so that what an expression refers to, and what it could cost,
is taken from the parser itself and never guessed from the text.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal: None, bool, int, float, str or bytes."""

    value: Any


@dataclass(frozen=True, slots=True)
class Identifier:
    """A variable, or one that a macro binds."""

    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`, or `has(operand.field)` where `is_test` is true."""

    operand: "Node"
    field: str
    is_test: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A function or operator, such as `_+_` or `size`; `target` is what stands before the dot of a method."""

    function: str
    arguments: tuple["Node", ...]
    target: "Node | None" = None

    @property
    def operands(self) -> tuple["Node", ...]:
        """Target and arguments, in the order in which they are written."""
        return self.arguments if self.target is None else (self.target, *self.arguments)


@dataclass(frozen=True, slots=True)
class ListOf:
    """`[a, b]`."""

    elements: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class MapOf:
    """`{a: b}`; `message` names the type in `google.protobuf.Duration{seconds: 1}`."""

    entries: tuple[tuple["Node", "Node"], ...]
    message: str = ""


@dataclass(frozen=True, slots=True)
class Comprehension:
    """What `all`, `exists`, `exists_one`, `map`, `filter`, `cel.bind` and `optMap` expand to."""

    variable: str
    iterated: "Node"
    accumulator: str
    start: "Node"
    condition: "Node"
    step: "Node"
    result: "Node"

    @property
    def is_loop(self) -> bool:
        """False for `cel.bind` and `optMap`, which give a value a name by iterating over nothing."""
        return self.iterated != ListOf(())


Node: TypeAlias = Constant | Identifier | Select | Call | ListOf | MapOf | Comprehension

Chain: TypeAlias = tuple[str, ...]
"""Names from a variable downwards: `steps["a-b"].outputs` is ("steps", "a-b", "outputs")."""

_INDEXES = ("_[_]", "_[?_]", "_?._")


def parse_serialized(data: bytes) -> Node:
    """Return the tree in a serialised ParsedExpr or CheckedExpr, as `Expression.serialize()` gives it."""
    wrapper = _fields(data)
    kind = wrapper[1][0].decode().rpartition(".")[2]
    message = _fields(wrapper[2][0])
    return _node(message[4 if kind == "CheckedExpr" else 2][0])


def parse_expression(data: bytes) -> Node:
    """Return the tree of a serialised Expr."""
    return _node(data)


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all nodes below it."""
    yield node
    for child in children(node):
        yield from walk(child)


def chains(node: Node, bound: frozenset[str] = frozenset()) -> Iterator[Chain]:
    """Yield what an expression refers to, as long as names are constant; variables bound by macros are left out."""
    chain, rest = _chain(node)
    if chain:
        if chain[0] not in bound:
            yield chain
    elif isinstance(node, Comprehension):
        yield from chains(node.iterated, bound)
        yield from chains(node.start, bound)
        inside = bound | {node.variable, node.accumulator}
        for part in (node.condition, node.step, node.result):
            yield from chains(part, inside)
    else:
        rest = children(node)
    for child in rest:
        yield from chains(child, bound)


def _chain(node: Node) -> tuple[Chain, tuple[Node, ...]]:
    """Return the chain that ends at this node, or () where it is none, and the parts beside it that are expressions of their own."""
    match node:
        case Identifier(name):
            return (name,), ()
        case Select(operand, field):
            chain, rest = _chain(operand)
            return (*chain, field) if chain and not rest else chain, rest
        case Call(function, (operand, index), None) if function in _INDEXES:
            chain, rest = _chain(operand)
            if chain and not rest and isinstance(index, Constant) and isinstance(index.value, str):
                return (*chain, index.value), ()
            return chain, (*rest, index)
    return (), ()


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes right below a node."""
    match node:
        case Select(operand, _):
            return (operand,)
        case Call():
            return node.operands
        case ListOf(elements):
            return elements
        case MapOf(entries):
            return tuple(part for entry in entries for part in entry)
        case Comprehension():
            return (node.iterated, node.start, node.condition, node.step, node.result)
    return ()


# ------------------------------------------------------------------------------------------- the wire format (protobuf.dev/encoding)


def _node(data: bytes) -> Node:
    fields = _fields(data)
    for number, build in _BUILDERS.items():
        if number in fields:
            return build(_fields(fields[number][0]))
    return Constant(None)


def _constant(fields: dict[int, list[Any]]) -> Constant:
    for number, read in _CONSTANTS.items():
        if number in fields:
            return Constant(read(fields[number][0]))
    return Constant(None)


def _select(fields: dict[int, list[Any]]) -> Select:
    return Select(_node(fields[1][0]), _text(fields, 2), bool(fields.get(3, [0])[0]))


def _call(fields: dict[int, list[Any]]) -> Call:
    target = _node(fields[1][0]) if 1 in fields else None
    return Call(_text(fields, 2), tuple(map(_node, fields.get(3, []))), target)


def _map(fields: dict[int, list[Any]]) -> MapOf:
    entries = []
    for entry in map(_fields, fields.get(2, [])):
        key = _node(entry[3][0]) if 3 in entry else Constant(_text(entry, 2))
        entries.append((key, _node(entry[4][0])))
    return MapOf(tuple(entries), _text(fields, 1))


def _comprehension(fields: dict[int, list[Any]]) -> Comprehension:
    iterated, start, condition, step, result = (_node(fields[number][0]) for number in (2, 4, 5, 6, 7))
    return Comprehension(_text(fields, 1), iterated, _text(fields, 3), start, condition, step, result)


_BUILDERS: dict[int, Callable[[dict[int, list[Any]]], Node]] = {
    3: _constant,
    4: lambda fields: Identifier(_text(fields, 1)),
    5: _select,
    6: _call,
    7: lambda fields: ListOf(tuple(map(_node, fields.get(1, [])))),
    8: _map,
    9: _comprehension,
}
_CONSTANTS: dict[int, Any] = {
    1: lambda _: None,
    2: bool,
    3: lambda number: number - (1 << 64) if number >> 63 else number,
    4: int,
    5: float,
    6: lambda data: data.decode(),
    7: bytes,
}


def _text(fields: dict[int, list[Any]], number: int) -> str:
    return str(fields[number][0].decode()) if number in fields else ""


def _fields(data: bytes) -> dict[int, list[Any]]:
    """Split a message into its fields: number → values, as int for varints, bytes for what has a length, float for fixed 64 bits."""
    found: dict[int, list[Any]] = {}
    for number, value, _, _ in fields(data):
        found.setdefault(number, []).append(value)
    return found


def fields(data: bytes) -> Iterator[tuple[int, Any, int, int]]:
    """Yield the fields of a message in order: number, value, and where in the message the field begins and ends."""
    position = 0
    value: Any
    while position < len(data):
        start = position
        key, position = _varint(data, position)
        match key & 7:
            case 0:
                value, position = _varint(data, position)
            case 2:
                length, position = _varint(data, position)
                value, position = data[position : position + length], position + length
            case 1:
                value, position = struct.unpack_from("<d", data, position)[0], position + 8
            case wire_type:
                raise ValueError(f"wire type {wire_type} is not used by cel.expr messages")
        yield key >> 3, value, start, position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
