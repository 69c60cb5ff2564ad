"""Walks an expression with types instead of values, and complains of what cannot succeed.

A complaint is certain where its place is reached whatever the data: then the expression fails at every run. Behind `&&`, `||` and `?`, and inside a
loop, a place need not be reached, and a complaint says only that it fails whenever it is.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Final

from backstay.errors import InvalidExpression
from backstay.expressions import explain, syntax
from backstay.expressions.cel import Program, compile_expression
from backstay.expressions.template import find_expressions, whole_expression
from backstay.expressions.types import overloads
from backstay.expressions.types.model import (
    ANY,
    BOOL,
    DOUBLE,
    INT,
    LIST,
    MAP,
    NOTHING,
    NULL,
    NUMBERS,
    OPTIONAL,
    STRING,
    WORDS,
    Type,
    as_json,
    as_stored,
    join,
    list_of,
    map_of,
    of_value,
    optional_of,
    scalar,
)
from backstay.expressions.words import closest, path_of, quoted, suggestion, there_are

_MOST_COMBINATIONS: Final = 64
_MOST_ROUNDS: Final = 4
_INDEXES: Final = ("_[_]", "_[?_]", "_?._")

_ARITHMETIC: Final = frozenset(("_+_", "_-_", "_*_", "_/_", "_%_"))

Scope = Mapping[str, Type]


@dataclass(frozen=True, slots=True)
class Complaint:
    """What cannot succeed, in words; `is_certain` where it is reached whatever the data."""

    message: str
    is_certain: bool


def infer(program: Program, scope: Scope) -> tuple[Type, list[Complaint]]:
    """Return what an expression gives, as JSON, for variables of these types, and what in it cannot succeed."""
    walk = _Walk()
    found = as_json(walk.type_of(program.tree, scope, True))
    return found, list(dict.fromkeys(walk.complaints))


def infer_template(value: Any, scope_of: Callable[[tuple[syntax.Chain, ...]], Scope], variables: tuple[str, ...]) -> Type:
    """Return the type of a JSON value whose strings may hold expressions, once it is in a status; what does not compile may be anything.

    `scope_of` gives the types of the variables, as far as what an expression refers to needs them.
    """
    if isinstance(value, str):
        return _type_of_text(value, scope_of, variables)
    if isinstance(value, Mapping):
        return map_of({str(name): infer_template(below, scope_of, variables) for name, below in value.items()})
    if isinstance(value, (list, tuple)):
        return list_of(join(*(infer_template(below, scope_of, variables) for below in value)))
    return of_value(value)


def _type_of_text(text: str, scope_of: Callable[[tuple[syntax.Chain, ...]], Scope], variables: tuple[str, ...]) -> Type:
    try:
        source = whole_expression(text) if "${" in text else None
        if source is None:
            list(find_expressions(text))
            return scalar(STRING)
        program = compile_expression(source, variables)
        return as_stored(infer(program, scope_of(program.references))[0])
    except InvalidExpression:
        return ANY


class _Walk:
    """One look at one expression."""

    def __init__(self) -> None:
        self.complaints: list[Complaint] = []

    def type_of(self, node: syntax.Node, scope: Scope, certain: bool) -> Type:
        match node:
            case syntax.Constant(value):
                return scalar(DOUBLE) if isinstance(value, float) else of_value(value)
            case syntax.Identifier(name):
                return scope.get(name, ANY)
            case syntax.Select(operand, field, is_test):
                container = self.type_of(operand, scope, certain)
                return scalar(BOOL) if is_test else self._field(container, field, operand, certain)
            case syntax.ListOf(elements):
                return list_of(join(*(_unwrapped(self.type_of(element, scope, certain)) for element in elements)))
            case syntax.MapOf():
                return self._map(node, scope, certain)
            case syntax.Comprehension():
                return self._loop(node, scope, certain) if node.is_loop else self._binding(node, scope, certain)
            case syntax.Call():
                return self._call(node, scope, certain)

    def _complain(self, message: str, certain: bool) -> Type:
        """Note what cannot succeed. What it would give may be anything, so that nothing more is said of it."""
        self.complaints.append(Complaint(message, certain))
        return ANY

    # ------------------------------------------------------------------------------------------------- maps and fields

    def _map(self, node: syntax.MapOf, scope: Scope, certain: bool) -> Type:
        keys = [self.type_of(key, scope, certain) for key, _ in node.entries]
        values = [_unwrapped(self.type_of(value, scope, certain)) for _, value in node.entries]
        if node.message:
            return ANY
        names = [key.value if isinstance(key, syntax.Constant) else None for key, _ in node.entries]
        if all(isinstance(name, str) for name in names):
            return map_of({str(name): value for name, value in zip(names, values, strict=True)})
        if all(key.is_never(*(WORDS.keys() - {STRING})) for key in keys):
            return map_of({}, join(*values))
        return scalar(MAP)

    def _field(self, container: Type, name: str, operand: syntax.Node, certain: bool) -> Type:
        if not container.is_known:
            return container
        found: list[Type] = []
        if container.may_be(OPTIONAL):
            inside = container.inner or ANY
            field = inside.fields.get(name) if inside.fields is not None else ANY
            found.append(optional_of(field or NOTHING))
        if container.may_be(MAP):
            fields = container.fields
            field = fields.get(name) if fields is not None else ANY
            if field is not None:
                found.append(field)
                if fields is not None and fields.is_declared and name not in fields.known and (meant := closest(name, fields.known)):
                    where = f"{_path(operand)}: " if _path(operand) else ""
                    known = there_are(fields.known).replace("there is:", "it knows").replace("there are:", "it knows")
                    self._complain(f'{where}the schema says nothing of {quoted(name)}; {known}; did you mean "{meant}"?', False)
        if found:
            return join(*found)
        return self._complain(_no_field(container, name, operand), certain)

    def _index(self, node: syntax.Call, operands: list[Type], certain: bool) -> Type:
        container = operands[0]
        key = node.arguments[-1]
        name = key.value if isinstance(key, syntax.Constant) and isinstance(key.value, str) else None
        is_asking = node.function != "_[_]"
        if name is not None and container.is_never(*(WORDS.keys() - {MAP})):
            if is_asking:
                field = container.fields.get(name) if container.fields is not None else ANY
                return optional_of(field or NOTHING)
            return self._field(container, name, node.operands[0], certain)
        if node.function == "_?._":
            return optional_of(ANY)
        if not self._is_possible(node, operands, certain):
            return ANY
        if not container.is_known:
            return optional_of(ANY) if is_asking else container
        inside = container.inner if container.may_be(OPTIONAL) else container
        found = join(*_elements(inside or ANY))
        return optional_of(found) if is_asking or container.may_be(OPTIONAL) else found

    # ------------------------------------------------------------------------------------------------------------- calls

    def _call(self, node: syntax.Call, scope: Scope, certain: bool) -> Type:
        if node.function == "_?_:_":
            return self._choice(node, scope, certain)
        always = certain and node.function not in ("_&&_", "_||_")
        operands = [self.type_of(operand, scope, always) for operand in node.operands]
        if node.function in _INDEXES:
            return self._index(node, operands, certain)
        if node.function in ("_&&_", "_||_"):
            self._check_logic(node, operands)
            return scalar(BOOL)
        if refine := _REFINED.get(node.function):
            found = refine(operands)
            if found is not None:
                return found
        if not self._is_possible(node, operands, certain):
            return ANY
        if node.function in ("_==_", "_!=_", "@in"):
            self._check_comparison(node, operands)
        return _sum(operands) if node.function == "sum" else _result(node, operands)

    def _choice(self, node: syntax.Call, scope: Scope, certain: bool) -> Type:
        condition, yes, no = node.arguments
        found = self.type_of(condition, scope, certain)
        if found.is_never(BOOL):
            self._complain(f"what stands before ? is {_named(condition, found)}, neither true nor false", certain)
        return join(self.type_of(yes, scope, False), self.type_of(no, scope, False))

    def _check_logic(self, node: syntax.Call, operands: list[Type]) -> None:
        for operand, found in zip(node.operands, operands, strict=True):
            if found.is_never(BOOL):
                symbol = explain.operator(node.function)
                self._complain(f"{symbol} works on true and false only, and one side of it is {_named(operand, found)}", False)

    def _check_comparison(self, node: syntax.Call, operands: list[Type]) -> None:
        left, right = operands
        if node.function == "@in":
            if not (right.is_never(*(WORDS.keys() - {LIST})) and right.item is not None and _never_equal(left, right.item)):
                return
            words = f"in looks for {_named(node.operands[0], left)} in a list of {right.item}, and never finds it"
        elif _never_equal(left, right):
            is_same = node.function == "_==_"
            symbol, always = ("==", "false") if is_same else ("!=", "true")
            words = f"{symbol} compares {_named(node.operands[0], left)} with {_named(node.operands[1], right)}, which is always {always}"
        else:
            return
        other = right.item or NOTHING if node.function == "@in" else right
        self._complain(words + explain.conversion("", [*_words(left), *_words(other)]), False)

    def _is_possible(self, node: syntax.Call, operands: list[Type], certain: bool) -> bool:
        answers = list(_answers(node, operands))
        name = explain.operator(node.function)
        if any(answer.is_possible for answer in answers):
            if node.function in _ARITHMETIC and not all(answer.is_possible for answer in answers):
                self._check_numbers(node, name, operands)
            return True
        parts = [_named(operand, found) for operand, found in zip(node.operands, operands, strict=True)]
        joined = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
        mend = "" if name == "[ ]" else explain.conversion(name, [word for found in operands for word in _words(found)])
        self._complain(f"{name} does not work on {joined}{mend}", certain)
        return False

    def _check_numbers(self, node: syntax.Call, name: str, operands: list[Type]) -> None:
        """Warn of arithmetic that fails for some numbers: one that is allowed to be 12 or 12.5 is a whole number in one run, a decimal one in another."""
        if all(found.is_known and found.kinds <= NUMBERS for found in operands):
            either = [_path(operand) for operand, found in zip(node.operands, operands, strict=True) if len(found.kinds) > 1]
            mend = " and ".join(f"double({path})" for path in either if path)
            words = f"{name} works on two whole or two decimal numbers, and {either[0] or 'one side'} may be either"
            self._complain(f"{words}; write {mend}" if mend else f"{words}; convert it with double(…)", False)

    # ------------------------------------------------------------------------------------------------------------- loops

    def _binding(self, node: syntax.Comprehension, scope: Scope, certain: bool) -> Type:
        return self.type_of(node.result, {**scope, node.accumulator: self.type_of(node.start, scope, certain)}, certain)

    def _loop(self, node: syntax.Comprehension, scope: Scope, certain: bool) -> Type:
        iterated = self.type_of(node.iterated, scope, certain)
        if iterated.is_never(LIST, MAP):
            return self._complain(
                f"all, exists, filter and map go through a list or a map, and not {_named(node.iterated, iterated)}", certain
            )
        inside = {**scope, node.variable: _turned(iterated)}
        gathered = self.type_of(node.start, scope, certain)
        said = len(self.complaints)
        for _ in range(_MOST_ROUNDS):
            del self.complaints[said:]
            self.type_of(node.condition, {**inside, node.accumulator: gathered}, False)
            after = join(gathered, self.type_of(node.step, {**inside, node.accumulator: gathered}, False))
            if after == gathered:
                break
            gathered = after
        else:
            gathered = ANY
        return self.type_of(node.result, {**scope, node.accumulator: gathered}, certain)


# ------------------------------------------------------------------------------------------------------------------------ functions


def _same_list(operands: list[Type]) -> Type | None:
    return operands[0] if operands[0].is_never(*(WORDS.keys() - {LIST})) else None


def _one_element(operands: list[Type]) -> Type | None:
    return optional_of(operands[0].item or ANY) if operands[0].is_never(*(WORDS.keys() - {LIST})) else None


def _added(operands: list[Type]) -> Type | None:
    is_lists = all(found.is_never(*(WORDS.keys() - {LIST})) for found in operands)
    return list_of(join(*(found.item or ANY for found in operands))) if is_lists else None


def _sum(operands: list[Type]) -> Type:
    """A list that is empty has the sum 0, and decimal numbers may add up to a whole one."""
    item = operands[0].item
    return scalar(INT) if item is not None and item.is_never(*(WORDS.keys() - {INT})) else scalar(INT, DOUBLE)


def _of_optional(operands: list[Type]) -> Type | None:
    """`orValue`, `or` and `value`: what the optional value holds, or else the other."""
    return operands[0].inner if operands[0].is_never(*(WORDS.keys() - {OPTIONAL})) else None


def _or_value(operands: list[Type]) -> Type | None:
    inner = _of_optional(operands)
    return None if inner is None else join(inner, operands[1])


def _or(operands: list[Type]) -> Type | None:
    inner, other = _of_optional(operands), _of_optional(operands[1:])
    return None if inner is None or other is None else optional_of(join(inner, other))


_REFINED: Final[dict[str, Callable[[list[Type]], Type | None]]] = {
    "_+_": _added,
    "slice": _same_list,
    "sort": _same_list,
    "distinct": _same_list,
    "reverse": _same_list,
    "@sortByAssociatedKeys": _same_list,
    "first": _one_element,
    "last": _one_element,
    "value": _of_optional,
    "orValue": _or_value,
    "or": _or,
    "dyn": lambda operands: operands[0],
    "optional.of": lambda operands: optional_of(operands[0]),
    "optional.ofNonZeroValue": lambda operands: optional_of(operands[0]),
    "optional.none": lambda _: optional_of(NOTHING),
    "@not_strictly_false": lambda _: scalar(BOOL),
}
"""Functions whose result follows from what their operands hold; None where it does not for these."""


def _answers(node: syntax.Call, operands: list[Type]) -> Iterator[overloads.Answer]:
    """Yield what the function does with each combination of the kinds that its operands may be of."""
    options = [sorted(found.kinds) if found.is_known else [overloads.ANYTHING] for found in operands]
    if any(not found.is_any and not found.kinds for found in operands):
        yield overloads.Answer(True, NOTHING)
    elif prod(map(len, options)) > _MOST_COMBINATIONS:
        yield overloads.UNKNOWN
    else:
        for kinds in product(*options):
            yield overloads.ask(node.function, kinds, node.target is not None)


def _result(node: syntax.Call, operands: list[Type]) -> Type:
    return join(*(answer.result for answer in _answers(node, operands) if answer.is_possible))


def _elements(container: Type) -> Iterator[Type]:
    """Yield the types of what an index may give."""
    if container.is_any:
        yield ANY
    if LIST in container.kinds:
        yield container.item or ANY
    if MAP in container.kinds:
        yield container.fields.everything if container.fields is not None else ANY


def _turned(iterated: Type) -> Type:
    """What a loop's variable is: an element of a list, a key of a map."""
    if not iterated.is_known:
        return iterated
    of_list = iterated.item or ANY if LIST in iterated.kinds else NOTHING
    of_map = (scalar(STRING) if iterated.fields is not None else ANY) if MAP in iterated.kinds else NOTHING
    return join(of_list, of_map)


def _unwrapped(found: Type) -> Type:
    """`[?x]` and `{?a: x}` hold what the optional value holds; the syntax tree does not tell them from `[x]`."""
    return join(found, found.inner or ANY) if found.may_be(OPTIONAL) and not found.is_any else found


def _never_equal(left: Type, right: Type) -> bool:
    """Tell whether values of two types are never equal. Null is left out: testing for it is never a mistake."""
    if not (left.is_known and right.is_known) or NULL in left.kinds | right.kinds:
        return False
    return not {_group(kind) for kind in left.kinds} & {_group(kind) for kind in right.kinds}


def _group(kind: str) -> str:
    return "number" if kind in NUMBERS else kind


# ---------------------------------------------------------------------------------------------------------------------------- words


def _no_field(container: Type, name: str, operand: syntax.Node) -> str:
    path = _path(operand)
    if container.may_be(MAP) and container.fields is not None:
        known = container.fields.known
        where = f"{path_of((path, name))}: " if path else ""
        return f"{where}there is no {quoted(name)}; {there_are(known)}{suggestion(name, known)}"
    if path:
        return f"{path_of((path, name))}: {path} is {container}, which has no {quoted(name)}"
    return f".{name} stands on {container}, which has no {quoted(name)}"


def _named(node: syntax.Node, found: Type) -> str:
    """Say what an operand is, and by which name it goes."""
    path = _path(node)
    return f"{found} ({path})" if path else str(found)


def _path(node: syntax.Node) -> str:
    """Return an operand as it is written, where it is a name or a chain of names."""
    match node:
        case syntax.Identifier(name):
            return name if not name.startswith(("@", "#", "__")) else ""
        case syntax.Select(operand, field, False):
            return path_of((_path(operand), field)) if _path(operand) else ""
        case syntax.Call("_[_]", (operand, syntax.Constant(value)), None) if _path(operand):
            return path_of((_path(operand), value)) if isinstance(value, str) else f"{_path(operand)}[{value}]"
    return ""


def _words(found: Type) -> list[str]:
    return [WORDS[kind] for kind in sorted(found.kinds)]
