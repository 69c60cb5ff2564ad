"""The most that an expression could take on the data at hand: an upper bound, worked out before it runs.

Once an expression runs nothing can stop it: the library has a budget of 10,000 turns of its loops, and none for memory or time, and 43 characters
such as `params.list.map(x, params.text + string(x))` take gigabytes on one megabyte of parameters. So, as the API server does for the rules of a
CRD (KEP-2876), the tree is walked with the sizes of the values instead of the values. Values that come from the data are looked at as
they are, so that the bound is close; what the expression builds is bounded by the sizes of its parts.

The figures per function were measured with cel-expr-python 0.1.3 on one core: 0.2 µs a node; a list that a loop collects is copied at each turn (2,000
elements take 64 MB, so that is about the longest list that `map` and `filter` may give); comparing takes 10 ns a byte, `size` and `charAt` 2, `in`
15 ns an element; searching takes 6 ns a byte and more for long needles; `matches` compiles its pattern at each turn, 1.2 µs for each state.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

from backstay.expressions import regex, syntax
from backstay.expressions.format import size_bytes

MAX_TURNS: Final = 9_999
"""The library's own budget for all loops of one evaluation."""
_MAX_LOOKED_AT: Final = 1_000_000
"""How many values the estimate itself may look at: about a quarter of a second."""
_MOST_PATTERNS: Final = 100
"""Regular expressions out of a list that are looked at one by one; more count as the largest that there can be."""
_LARGEST_BYTES: Final = 1_000_000_000
_LIST_SLOT_BYTES: Final = 32
_NODE_NS: Final = 200
_KEY_NS: Final = 500
_COPIED_NS: Final = 20
"""A map whose keys are put in order is copied (`ordered.py`)."""


class TooMuchData(Exception):
    """The data is so large that even the estimate would take too long. The message goes on after `EXPRESSION: `."""


class Known:
    """A value out of the data, which is one of several where it is an element of a list."""

    def __init__(self, values: tuple[Any, ...], sizes: dict[int, int]) -> None:
        self.values = values
        self._sizes = sizes
        """Bytes of the lists and maps of the data by identity, each counted once in an estimate."""

    @cached_property
    def size(self) -> int:
        return max(map(self._size_of, self.values), default=0)

    @cached_property
    def count(self) -> int:
        return max((len(value) for value in self.values if isinstance(value, (str, list, tuple, Mapping))), default=0)

    @cached_property
    def item(self) -> "Known":
        """What a loop over it sees: elements of a list, keys of a map."""
        return self.like(item for value in self.values if isinstance(value, (list, tuple, Mapping)) for item in value)

    def field(self, name: str) -> "Known":
        return self.like(value[name] for value in self.values if isinstance(value, Mapping) and name in value)

    @property
    def any_field(self) -> "Known":
        found: list[Any] = []
        for value in self.values:
            found.extend(value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ())
        return self.like(found)

    def like(self, values: Iterable[Any]) -> "Known":
        """Return other values of the same data."""
        return Known(tuple(values), self._sizes)

    def _size_of(self, value: Any) -> int:
        if not isinstance(value, (list, tuple, Mapping)):
            return size_bytes(value)
        if id(value) not in self._sizes:
            self._sizes[id(value)] = size_bytes(value)
        return self._sizes[id(value)]


@dataclass(frozen=True)
class Built:
    """A value that the expression makes: at most so many bytes, and so many elements or characters."""

    size: int = 16
    count: int = 0
    element: "Value | None" = None
    number: float = math.inf
    """Where it is a number: the largest that it may be."""

    @property
    def item(self) -> "Value":
        return self.element or Built(self.size, self.size, number=self.number)

    def field(self, _name: str) -> "Value":
        return self.any_field

    @property
    def any_field(self) -> "Value":
        return self.element or Built(self.size, self.size, number=self.number)


Value: TypeAlias = Known | Built
Scope: TypeAlias = Mapping[str, Value]

SCALAR: Final = Built()
NOTHING: Final = Built(0, 0, number=0)


class Estimate:
    """Adds up what a tree could take: `nanoseconds` and `memory_bytes` (an evaluation gives nothing back until it ends)."""

    def __init__(self) -> None:
        self.nanoseconds = 0.0
        self.memory_bytes = 0.0
        self._looked_at = 0

    def value(self, node: syntax.Node, scope: Scope) -> Value:
        """Return the bound of a node's value and add what it takes to make it. Raises TooMuchData."""
        self.nanoseconds += _NODE_NS
        match node:
            case syntax.Constant(value):
                return Known((value.decode("latin-1") if isinstance(value, bytes) else value,), {})
            case syntax.Identifier(name):
                return scope.get(name, NOTHING)
            case syntax.Select(operand, field):
                return self._seen(self.value(operand, scope).field(field))
            case syntax.ListOf(elements):
                return self._collection([self.value(element, scope) for element in elements])
            case syntax.MapOf(entries):
                return self._collection([self.value(part, scope) for entry in entries for part in entry])
            case syntax.Call():
                return self._call(node, [self.value(operand, scope) for operand in node.operands])
            case syntax.Comprehension():
                return self._loop(node, scope) if node.is_loop else self._binding(node, scope)

    def _call(self, node: syntax.Call, operands: list[Value]) -> Value:
        if node.function in ("_[_]", "_[?_]", "_?._"):
            return self._seen(_indexed(operands[0], node.arguments[-1]))
        if node.function in _PASSING:
            return self._seen(_either(operands))
        bill = _BILLS.get(node.function, _other)(operands)
        self.nanoseconds += bill.nanoseconds
        self.memory_bytes += bill.memory_bytes
        return _built(bill.result)

    def _collection(self, parts: list[Value]) -> Value:
        self.memory_bytes += _LIST_SLOT_BYTES * (len(parts) + 1)
        return _built(Built(sum(part.size for part in parts) + 2, len(parts), self._seen(_either(parts)) if parts else None))

    def _binding(self, node: syntax.Comprehension, scope: Scope) -> Value:
        return self.value(node.result, {**scope, node.accumulator: self.value(node.start, scope)})

    def _loop(self, node: syntax.Comprehension, scope: Scope) -> Value:
        """Multiply what one turn takes by the turns. A list that a loop collects is copied at each turn: half the square of its length."""
        iterated = self.value(node.iterated, scope)
        turns = iterated.count
        if turns > MAX_TURNS:
            raise TooMuchData(
                f"a loop (all, exists, map, filter) may take {MAX_TURNS:,} turns in all, and a list here has {turns:,} elements; use a shorter list"
            )
        is_collecting = isinstance(node.start, syntax.ListOf)
        if is_collecting and not (isinstance(iterated, Known) and not any(isinstance(value, Mapping) for value in iterated.values)):
            self.nanoseconds += _KEY_NS * turns + _COPIED_NS * iterated.size
        one = Estimate()
        one._looked_at = self._looked_at
        inside = {**scope, node.variable: one._seen(iterated.item), node.accumulator: NOTHING if is_collecting else SCALAR}
        one.value(node.condition, inside)
        gained = one.value(node.step, inside)
        self._looked_at = one._looked_at
        self.nanoseconds += turns * one.nanoseconds
        self.memory_bytes += turns * one.memory_bytes
        if not is_collecting:
            return SCALAR
        self.memory_bytes += _LIST_SLOT_BYTES * turns * turns / 2
        return _built(Built(turns * gained.size, turns * gained.count, gained.item))

    def _seen(self, value: Value) -> Value:
        """Count what the estimate itself looks at."""
        if isinstance(value, Known):
            self._looked_at += len(value.values)
            if self._looked_at > _MAX_LOOKED_AT:
                raise TooMuchData("there is too much data for it; use smaller values, or work it out in a job")
        return value


def estimate(tree: syntax.Node, data: Mapping[str, Any]) -> Estimate:
    """Return the most that an expression could take on `data`. Raises TooMuchData."""
    total = Estimate()
    sizes: dict[int, int] = {}
    total.value(tree, {name: Known((value,), sizes) for name, value in data.items()})
    return total


def _built(value: Value) -> Value:
    """Refuse what is absurdly large at once: bounds that multiply each other grow beyond what can be calculated with."""
    if isinstance(value, Built) and value.size > _LARGEST_BYTES:
        raise TooMuchData(f"it could build a value of more than {_LARGEST_BYTES / 1e9:.0f} GB; use smaller values, or work it out in a job")
    return value


def _indexed(container: Value, index: syntax.Node) -> Value:
    if isinstance(index, syntax.Constant) and isinstance(index.value, str):
        return container.field(index.value)
    return container.any_field


def _either(values: list[Value]) -> Value:
    """Return a bound for a value that is one of these."""
    if not values:
        return NOTHING
    known = [value for value in values if isinstance(value, Known)]
    if len(known) == len(values):
        return max(known, key=lambda value: len(value.values)).like(item for value in known for item in value.values)
    if len(values) == 1:
        return values[0]
    items = [value.item for value in values if value.count]
    element = Built(max(item.size for item in items), max(item.count for item in items)) if items else None
    return Built(max(value.size for value in values), max(value.count for value in values), element)


# ----------------------------------------------------------------------------------------------------------- what each function takes


@dataclass(frozen=True, slots=True)
class _Bill:
    result: Value
    nanoseconds: float = 0
    memory_bytes: float = 0


_PASSING = frozenset(
    {"_?_:_", "dyn", "optional.of", "optional.ofNonZeroValue", "optional.none", "or", "orValue", "value", "@not_strictly_false"}
)


def _text(size: float) -> Built:
    return Built(int(size) + 2, int(size))


def _add(values: list[Value]) -> _Bill:
    left, right = values
    if (
        all(isinstance(value, Known) and not any(isinstance(item, (str, list, tuple)) for item in value.values) for value in values)
        or SCALAR in values
    ):
        return _Bill(SCALAR)
    items = [value.item for value in values if value.count]
    element = Built(max(item.size for item in items), max(item.count for item in items)) if items else None
    is_text = all(isinstance(value, Known) and all(isinstance(item, str) for item in value.values) for value in values)
    slots = 0 if is_text else _LIST_SLOT_BYTES * (left.count + right.count)
    size = left.size + right.size
    return _Bill(Built(size, left.count + right.count, element), size, size + slots)


def _compare(values: list[Value]) -> _Bill:
    return _Bill(SCALAR, 10 * min(value.size for value in values))


def _contained(values: list[Value]) -> _Bill:
    return _Bill(SCALAR, 15 * values[-1].count + 10 * values[0].size)


def _search_ns(text: Value, part: Value) -> float:
    return text.size * (6 + part.size / 100)


def _search(values: list[Value]) -> _Bill:
    return _Bill(SCALAR, _search_ns(values[0], values[1]))


def _linear(values: list[Value]) -> _Bill:
    size = sum(value.size for value in values)
    return _Bill(_text(size), 5 * size, 2 * size)


def _size(values: list[Value]) -> _Bill:
    return _Bill(Built(number=values[0].count), 2 * values[0].size)


def _number(value: Value) -> float:
    """Return the largest number that a value may be."""
    if isinstance(value, Built):
        return value.number
    return max((item for item in value.values if isinstance(item, (int, float))), default=0)


def _minus(values: list[Value]) -> _Bill:
    is_positive = len(values) > 1 and isinstance(values[1], Known) and all(isinstance(item, int) and item >= 0 for item in values[1].values)
    return _Bill(Built(number=_number(values[0]) if is_positive else math.inf))


def _range(values: list[Value]) -> _Bill:
    """As many elements as its operand says: a number out of the data, or the size of something."""
    count = _number(values[0])
    if count > _LARGEST_BYTES:
        raise TooMuchData("lists.range() was given a number that nothing bounds; give it one from the data, or the size of a list")
    count = max(int(count), 0)
    return _Bill(Built(16 * count, count, SCALAR), 200 * count, 2 * _LIST_SLOT_BYTES * count)


def _is_scalar(value: Value) -> bool:
    return isinstance(value, Known) and not any(isinstance(item, (list, tuple, Mapping)) for item in value.values)


def _sort(values: list[Value]) -> _Bill:
    items = values[0]
    compared = items.count * max(math.log2(items.count + 1), 1)
    return _Bill(items, compared * (50 + 10 * items.item.size), _LIST_SLOT_BYTES * 2 * items.count)


def _distinct(values: list[Value]) -> _Bill:
    """Texts and numbers are looked up; maps and lists are compared with all that come before."""
    items = values[0]
    pairs = 0 if _is_scalar(items.item) else items.count * items.count / 2
    return _Bill(items, 500 * items.count + pairs * (20 + 25 * items.item.size), _LIST_SLOT_BYTES * 2 * items.count)


def _copied(values: list[Value]) -> _Bill:
    return _Bill(values[0], 20 * values[0].count + 5 * values[0].size, _LIST_SLOT_BYTES * values[0].count + values[0].size)


def _flatten(values: list[Value]) -> _Bill:
    size = values[0].size
    return _Bill(Built(size, size, Built(size, size)), 40 * size, 16 * size)


def _one(values: list[Value]) -> _Bill:
    return _Bill(values[0].item)


def _all_pairs(values: list[Value]) -> _Bill:
    left, right = values
    return _Bill(SCALAR, 2 * left.count * right.count * (60 + 12 * (left.item.size + right.item.size)))


def _sum(values: list[Value]) -> _Bill:
    return _Bill(SCALAR, 300 * values[0].count)


def _encode(values: list[Value]) -> _Bill:
    size = 6 * values[0].size
    return _Bill(_text(size), 50 * size, 4 * size)


def _decode(values: list[Value]) -> _Bill:
    size = values[0].size
    return _Bill(Built(4 * size, size, Built(4 * size, size)), 200 * size, 64 * size)


def _compiled_ns(pattern: Value) -> tuple[float, int]:
    """Return what compiling a regular expression takes, and how many states it has."""
    known = [regex.states(item) for item in pattern.values if isinstance(item, str)] if isinstance(pattern, Known) else [regex.MOST_STATES]
    states = max(known, default=1)
    return regex.COMPILE_NS * states, states


def _regex_replace(values: list[Value]) -> _Bill:
    """Every character may be a match, and `\\1` in what replaces it may be as long as the whole text."""
    text, pattern, new = values[:3]
    compiling, states = _compiled_ns(pattern)
    size = text.size + (text.size + 1) * int(1.5 * new.size + 1)
    return _Bill(_text(size), compiling + text.size * (400 + states / 10) + 3 * size, 2 * size)


def _regex_extract(values: list[Value]) -> _Bill:
    text, pattern = values[:2]
    compiling, states = _compiled_ns(pattern)
    return _Bill(Built(4 * text.size, text.size, _text(text.size)), compiling + text.size * (500 + states / 10), 64 * text.size)


def _measure(values: list[Value]) -> _Bill:
    return _Bill(SCALAR, 2 * sum(value.size for value in values))


def _nothing(_values: list[Value]) -> _Bill:
    return _Bill(SCALAR)


def _replace(values: list[Value]) -> _Bill:
    text, old, new = values[:3]
    shortest = min((len(item) for item in old.values if isinstance(item, str)), default=0) if isinstance(old, Known) else 0
    times = text.size // shortest if shortest else text.size + 1
    size = text.size + times * new.size
    return _Bill(_text(size), _search_ns(text, old) + 3 * size, 2 * size)


def _split(values: list[Value]) -> _Bill:
    text, separator = values[:2]
    return _Bill(Built(text.size * 4, text.size, _text(text.size)), _search_ns(text, separator) + 60 * text.size, 64 * text.size)


def _join(values: list[Value]) -> _Bill:
    size = values[0].size + values[0].count * sum(value.size for value in values[1:])
    return _Bill(_text(size), 3 * size, 2 * size)


def _format(values: list[Value]) -> _Bill:
    pattern = values[0]
    size = pattern.size * 8 + 2 * sum(value.size for value in values[1:])
    if isinstance(pattern, Known):
        size += max((str(item).count("%.") for item in pattern.values), default=0) * 1100
    else:
        size *= 1100
    return _Bill(_text(size), 10 * size + 1000, 2 * size)


def _matches(values: list[Value]) -> _Bill:
    text, pattern = values
    compiling, states = _compiled_ns(pattern)
    return _Bill(SCALAR, compiling + text.size * (10 + states / 10), 0)


def _quote(values: list[Value]) -> _Bill:
    return _linear([_text(6 * values[0].size)])


def _other(values: list[Value]) -> _Bill:
    size = sum(value.size for value in values)
    return _Bill(Built(4 * size + 64, 4 * size), 20 * size, 8 * size + 64)


_BILLS: dict[str, Callable[[list[Value]], _Bill]] = {
    "_+_": _add,
    **dict.fromkeys(("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "startsWith", "endsWith"), _compare),
    **dict.fromkeys(("_&&_", "_||_", "!_", "_*_", "_/_", "_%_", "-_", "hasValue", "type"), _nothing),
    **dict.fromkeys(("int", "uint", "double", "bool", "timestamp", "duration"), _measure),
    **dict.fromkeys(("contains", "indexOf", "lastIndexOf"), _search),
    **dict.fromkeys(
        ("string", "bytes", "lowerAscii", "upperAscii", "trim", "substring", "charAt", "base64.encode", "base64.decode"), _linear
    ),
    "strings.quote": _quote,
    "size": _size,
    "_-_": _minus,
    "lists.range": _range,
    "sort": _sort,
    "@sortByAssociatedKeys": _sort,
    "distinct": _distinct,
    **dict.fromkeys(("slice", "reverse"), _copied),
    "flatten": _flatten,
    **dict.fromkeys(("first", "last"), _one),
    **dict.fromkeys(("sets.contains", "sets.equivalent", "sets.intersects"), _all_pairs),
    "sum": _sum,
    "json.encode": _encode,
    "json.decode": _decode,
    "regex.replace": _regex_replace,
    **dict.fromkeys(("regex.extract", "regex.extractAll"), _regex_extract),
    "@in": _contained,
    "replace": _replace,
    "split": _split,
    "join": _join,
    "format": _format,
    "matches": _matches,
}
