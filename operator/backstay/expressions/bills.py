"""What each function takes, and how large what it gives may be, from the sizes of its operands.

The figures per function were measured with cel-expr-python 0.1.3 on one core: 0.2 µs a node; a list that a loop collects is copied at each turn (2,000
elements take 64 MB, so that is about the longest list that `map` and `filter` may give); comparing takes 10 ns a byte, `size` and `charAt` 2, `in`
15 ns an element; searching takes 6 ns a byte and more for long needles; `matches` compiles its pattern at each turn, 1.2 µs for each state.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from backstay.expressions import regex
from backstay.expressions.sizes import LARGEST_BYTES, SCALAR, Built, Known, TooMuchData, Value

LIST_SLOT_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Bill:
    """What a call gives, and what it takes besides its operands."""

    result: Value
    nanoseconds: float = 0
    memory_bytes: float = 0


PASSING = frozenset(
    {"_?_:_", "dyn", "optional.of", "optional.ofNonZeroValue", "optional.none", "or", "orValue", "value", "@not_strictly_false"}
)
"""Functions that give one of their operands."""


def _text(size: float) -> Built:
    return Built(int(size) + 2, int(size))


def _add(values: list[Value]) -> Bill:
    left, right = values
    number = _number(left) + _number(right)
    if (
        all(isinstance(value, Known) and not any(isinstance(item, (str, list, tuple)) for item in value.values) for value in values)
        or SCALAR in values
    ):
        return Bill(Built(number=number))
    items = [value.item for value in values if value.count]
    element = Built(max(item.size for item in items), max(item.count for item in items)) if items else None
    is_text = all(isinstance(value, Known) and all(isinstance(item, str) for item in value.values) for value in values)
    slots = 0 if is_text else LIST_SLOT_BYTES * (left.count + right.count)
    size = left.size + right.size
    return Bill(Built(size, left.count + right.count, element, number), size, size + slots)


def _compare(values: list[Value]) -> Bill:
    return Bill(SCALAR, 10 * min(value.size for value in values))


def _contained(values: list[Value]) -> Bill:
    return Bill(SCALAR, 15 * values[-1].count + 10 * values[0].size)


def _search_ns(text: Value, part: Value) -> float:
    return text.size * (6 + part.size / 100)


def _search(values: list[Value]) -> Bill:
    return Bill(SCALAR, _search_ns(values[0], values[1]))


def _linear(values: list[Value]) -> Bill:
    size = sum(value.size for value in values)
    return Bill(_text(size), 5 * size, 2 * size)


def _size(values: list[Value]) -> Bill:
    return Bill(Built(number=values[0].count), 2 * values[0].size)


def _number(value: Value) -> float:
    """Return the largest number that a value may be."""
    if isinstance(value, Built):
        return value.number
    return max((item for item in value.values if isinstance(item, (int, float))), default=0)


def _minus(values: list[Value]) -> Bill:
    is_positive = len(values) > 1 and isinstance(values[1], Known) and all(isinstance(item, int) and item >= 0 for item in values[1].values)
    return Bill(Built(number=_number(values[0]) if is_positive else math.inf))


def _range(values: list[Value]) -> Bill:
    """As many elements as its operand says: a number out of the data, or the size of something."""
    count = _number(values[0])
    if count > LARGEST_BYTES:
        raise TooMuchData("lists.range() was given a number that nothing bounds; give it one from the data, or the size of a list")
    count = max(int(count), 0)
    return Bill(Built(16 * count, count, SCALAR), 200 * count, 2 * LIST_SLOT_BYTES * count)


def _is_scalar(value: Value) -> bool:
    return isinstance(value, Known) and not any(isinstance(item, (list, tuple, Mapping)) for item in value.values)


def _sort(values: list[Value]) -> Bill:
    items = values[0]
    compared = items.count * max(math.log2(items.count + 1), 1)
    return Bill(items, compared * (50 + 10 * items.item.size), LIST_SLOT_BYTES * 2 * items.count)


def _distinct(values: list[Value]) -> Bill:
    """Texts and numbers are looked up; maps and lists are compared with all that come before."""
    items = values[0]
    pairs = 0 if _is_scalar(items.item) else items.count * items.count / 2
    return Bill(items, 500 * items.count + pairs * (20 + 25 * items.item.size), LIST_SLOT_BYTES * 2 * items.count)


def _copied(values: list[Value]) -> Bill:
    return Bill(values[0], 20 * values[0].count + 5 * values[0].size, LIST_SLOT_BYTES * values[0].count + values[0].size)


def _flatten(values: list[Value]) -> Bill:
    size = values[0].size
    return Bill(Built(size, size, Built(size, size)), 40 * size, 16 * size)


def _one(values: list[Value]) -> Bill:
    return Bill(values[0].item)


def _all_pairs(values: list[Value]) -> Bill:
    left, right = values
    return Bill(SCALAR, 2 * left.count * right.count * (60 + 12 * (left.item.size + right.item.size)))


def _sum(values: list[Value]) -> Bill:
    return Bill(SCALAR, 300 * values[0].count)


def _encode(values: list[Value]) -> Bill:
    size = 6 * values[0].size
    return Bill(_text(size), 50 * size, 4 * size)


def _decode(values: list[Value]) -> Bill:
    size = values[0].size
    return Bill(Built(4 * size, size, Built(4 * size, size)), 200 * size, 64 * size)


def _compiled_ns(pattern: Value) -> tuple[float, int]:
    """Return what compiling a regular expression takes, and how many states it has."""
    known = [regex.states(item) for item in pattern.values if isinstance(item, str)] if isinstance(pattern, Known) else [regex.MOST_STATES]
    states = max(known, default=1)
    return regex.COMPILE_NS * states, states


def _regex_replace(values: list[Value]) -> Bill:
    """Every character may be a match, and `\\1` in what replaces it may be as long as the whole text."""
    text, pattern, new = values[:3]
    compiling, states = _compiled_ns(pattern)
    size = text.size + (text.size + 1) * int(1.5 * new.size + 1)
    return Bill(_text(size), compiling + text.size * (400 + states / 10) + 3 * size, 2 * size)


def _regex_extract(values: list[Value]) -> Bill:
    text, pattern = values[:2]
    compiling, states = _compiled_ns(pattern)
    return Bill(Built(4 * text.size, text.size, _text(text.size)), compiling + text.size * (500 + states / 10), 64 * text.size)


def _measure(values: list[Value]) -> Bill:
    return Bill(SCALAR, 2 * sum(value.size for value in values))


def _nothing(_values: list[Value]) -> Bill:
    return Bill(SCALAR)


def _replace(values: list[Value]) -> Bill:
    text, old, new = values[:3]
    shortest = min((len(item) for item in old.values if isinstance(item, str)), default=0) if isinstance(old, Known) else 0
    times = text.size // shortest if shortest else text.size + 1
    size = text.size + times * new.size
    return Bill(_text(size), _search_ns(text, old) + 3 * size, 2 * size)


def _split(values: list[Value]) -> Bill:
    text, separator = values[:2]
    return Bill(Built(text.size * 4, text.size, _text(text.size)), _search_ns(text, separator) + 60 * text.size, 64 * text.size)


def _join(values: list[Value]) -> Bill:
    size = values[0].size + values[0].count * sum(value.size for value in values[1:])
    return Bill(_text(size), 3 * size, 2 * size)


def _format(values: list[Value]) -> Bill:
    pattern = values[0]
    size = pattern.size * 8 + 2 * sum(value.size for value in values[1:])
    if isinstance(pattern, Known):
        size += max((str(item).count("%.") for item in pattern.values), default=0) * 1100
    else:
        size *= 1100
    return Bill(_text(size), 10 * size + 1000, 2 * size)


def _matches(values: list[Value]) -> Bill:
    text, pattern = values
    compiling, states = _compiled_ns(pattern)
    return Bill(SCALAR, compiling + text.size * (10 + states / 10), 0)


def _quote(values: list[Value]) -> Bill:
    return _linear([_text(6 * values[0].size)])


def other(values: list[Value]) -> Bill:
    """Return a bill for a function that is not in the table: linear in all that it is given."""
    size = sum(value.size for value in values)
    return Bill(Built(4 * size + 64, 4 * size), 20 * size, 8 * size + 64)


BILLS: dict[str, Callable[[list[Value]], Bill]] = {
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
"""By function of the syntax tree."""
