"""The most that an expression could take on the data at hand: an upper bound, worked out before it runs.

Once an expression runs nothing can stop it: the library has a budget of 10,000 turns of its loops, and none for memory or time, and 43 characters
such as `params.list.map(x, params.text + string(x))` take gigabytes on one megabyte of parameters. So, as the API server does for the rules of a
CRD (KEP-2876), the tree is walked with the sizes of the values instead of the values. Values that come from the data are looked at as
they are, so that the bound is close; what the expression builds is bounded by the sizes of its parts.
"""

from collections.abc import Mapping
from typing import Any, Final

from backstay.expressions import syntax
from backstay.expressions.bills import BILLS, LIST_SLOT_BYTES, PASSING, other
from backstay.expressions.sizes import NOTHING, SCALAR, Built, Known, Scope, TooMuchData, Value, bounded, either

MAX_TURNS: Final = 9_999
"""The library's own budget for all loops of one evaluation."""
_MAX_LOOKED_AT: Final = 1_000_000
"""How many values the estimate itself may look at: about a quarter of a second."""
_NODE_NS: Final = 200
_KEY_NS: Final = 500
_COPIED_NS: Final = 20
"""A map whose keys are put in order is copied (`ordered.py`)."""


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
        if node.function in PASSING:
            return self._seen(either(operands))
        bill = BILLS.get(node.function, other)(operands)
        self.nanoseconds += bill.nanoseconds
        self.memory_bytes += bill.memory_bytes
        return bounded(bill.result)

    def _collection(self, parts: list[Value]) -> Value:
        self.memory_bytes += LIST_SLOT_BYTES * (len(parts) + 1)
        return bounded(Built(sum(part.size for part in parts) + 2, len(parts), self._seen(either(parts)) if parts else None))

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
        self.memory_bytes += LIST_SLOT_BYTES * turns * turns / 2
        return bounded(Built(turns * gained.size, turns * gained.count, gained.item))

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


def _indexed(container: Value, index: syntax.Node) -> Value:
    if isinstance(index, syntax.Constant) and isinstance(index.value, str):
        return container.field(index.value)
    return container.any_field
