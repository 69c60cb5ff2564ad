"""A type: which kinds of values there may be, and for lists and maps what is in them. A type is always a bound from above.

`ANY` may be everything, `NOTHING` is what no value has (a variable that nothing sets, the element of an empty list).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

MAX_DEPTH: Final = 8
"""Deeper inside a value anything may be: a bound that grows with each turn of a loop has to end somewhere."""
MAX_FIELDS: Final = 500

INT, UINT, DOUBLE, STRING, BYTES = "int", "uint", "double", "string", "bytes"
BOOL, NULL, TIMESTAMP, DURATION, TYPE = "bool", "null", "timestamp", "duration", "type"
LIST, MAP, OPTIONAL = "list", "map", "optional"

WORDS: Final = {
    INT: "a whole number",
    UINT: "an unsigned number",
    DOUBLE: "a decimal number",
    STRING: "text",
    BYTES: "bytes",
    BOOL: "true or false",
    NULL: "null",
    TIMESTAMP: "a timestamp",
    DURATION: "a duration",
    TYPE: "a type",
    LIST: "a list",
    MAP: "a map",
    OPTIONAL: "an optional value",
}
NUMBERS: Final = frozenset((INT, UINT, DOUBLE))


@dataclass(frozen=True, slots=True)
class Fields:
    """What a map holds: fields by name, each of which may be missing, and what the others are; None: there are no others."""

    known: Mapping[str, "Type"] = field(default_factory=dict)
    rest: "Type | None" = None
    is_declared: bool = False
    """Whether a schema names the fields: then one that is not among them, and nearly so, is a slip."""

    def get(self, name: str) -> "Type | None":
        """Return the type of a field, None where it cannot be there."""
        return self.known.get(name, self.rest)

    @property
    def everything(self) -> "Type":
        """The type of a field whose name is not known."""
        return join(*self.known.values(), self.rest or NOTHING)


@dataclass(frozen=True, slots=True)
class Type:
    """The kinds of values that there may be; `item` is what a list holds, `fields` a map, `inner` an optional value."""

    kinds: frozenset[str] = frozenset()
    item: "Type | None" = None
    fields: Fields | None = None
    inner: "Type | None" = None
    is_any: bool = False

    def may_be(self, *kinds: str) -> bool:
        """Tell whether a value may be of one of these kinds."""
        return self.is_any or bool(self.kinds.intersection(kinds))

    def is_never(self, *kinds: str) -> bool:
        """Tell for certain that there is a value, and that it is of none of these kinds."""
        return self.is_known and not self.may_be(*kinds)

    @property
    def is_known(self) -> bool:
        """Whether something is known of it."""
        return not self.is_any and bool(self.kinds)

    def only(self, kind: str) -> "Type":
        """Return the part of it that is of one kind."""
        return self if self.is_any else replace(self, kinds=self.kinds & {kind})

    def __str__(self) -> str:
        """Say it in words, as in `text or null`."""
        if self.is_any:
            return "any value"
        if not self.kinds:
            return "nothing"
        words = [WORDS[kind] for kind in WORDS if kind in self.kinds]
        if {INT, DOUBLE} <= self.kinds:
            words = ["a number", *(word for word in words if word not in (WORDS[INT], WORDS[DOUBLE], WORDS[UINT]))]
        return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


ANY: Final = Type(is_any=True)
NOTHING: Final = Type()


def scalar(*kinds: str) -> Type:
    """Return the type of values that are of one of these kinds, and neither lists nor maps."""
    return Type(frozenset(kinds))


def list_of(item: Type) -> Type:
    """Return the type of a list."""
    return Type(frozenset((LIST,)), item=item)


def map_of(known: Mapping[str, Type] | None = None, rest: Type | None = None) -> Type:
    """Return the type of a map with these fields, and others that are `rest`; none where that is None."""
    return Type(frozenset((MAP,)), fields=Fields(known or {}, rest))


def optional_of(inner: Type) -> Type:
    """Return the type of an optional value."""
    return Type(frozenset((OPTIONAL,)), inner=inner)


NUMBER: Final = scalar(INT, DOUBLE)
"""A number of JSON: which of the two it is depends on how it was written."""


def of_value(value: Any, depth: int = 0) -> Type:
    """Return the type of a JSON value as the API server keeps it: 3.0 is 3."""
    match value:
        case None:
            return scalar(NULL)
        case bool():
            return scalar(BOOL)
        case int():
            return scalar(INT)
        case float():
            return scalar(INT if value.is_integer() else DOUBLE)
        case str():
            return scalar(STRING)
        case bytes():
            return scalar(BYTES)
        case _ if depth >= MAX_DEPTH:
            return ANY
        case list() | tuple():
            return list_of(join(*(of_value(item, depth + 1) for item in value)))
        case Mapping():
            return bounded(map_of({str(key): of_value(item, depth + 1) for key, item in value.items()}))
    return ANY


# ---------------------------------------------------------------------------------------------------------------------------- join


def join(*types: Type) -> Type:
    """Return the smallest type that all of these are."""
    found = NOTHING
    for other in types:
        found = _joined(found, other)
    return bounded(found)


def _joined(one: Type, other: Type) -> Type:
    if one.is_any or other.is_any:
        return ANY
    if one == other or not other.kinds:
        return one
    if not one.kinds:
        return other
    return Type(
        one.kinds | other.kinds,
        _both(one.item, other.item),
        _both_fields(one.fields, other.fields),
        _both(one.inner, other.inner),
    )


def _both(one: Type | None, other: Type | None) -> Type | None:
    return one if other is None else other if one is None else _joined(one, other)


def _both_fields(one: Fields | None, other: Fields | None) -> Fields | None:
    if one is None or other is None:
        return one or other
    names = dict.fromkeys((*one.known, *other.known))
    known = {name: _joined(one.get(name) or NOTHING, other.get(name) or NOTHING) for name in names}
    return Fields(known, _both(one.rest, other.rest), one.is_declared and other.is_declared)


def bounded(found: Type, depth: int = 0) -> Type:
    """Cut a type off where it nests too deeply or has too many fields: there, anything may be."""
    if found.is_any or not (found.item or found.fields or found.inner):
        return found
    if depth >= MAX_DEPTH:
        return ANY
    fields = found.fields
    if fields is not None and len(fields.known) > MAX_FIELDS:
        fields = Fields({}, ANY)
    if fields is not None:
        known = {name: bounded(below, depth + 1) for name, below in fields.known.items()}
        fields = replace(fields, known=known, rest=None if fields.rest is None else bounded(fields.rest, depth + 1))
    return replace(
        found,
        item=None if found.item is None else bounded(found.item, depth + 1),
        fields=fields,
        inner=None if found.inner is None else bounded(found.inner, depth + 1),
    )


def meet(one: Type, other: Type) -> Type:
    """Return a type for values that are of both types; of what is inside lists and maps, what one of them says is enough."""
    if one.is_any or other.is_any:
        return other if one.is_any else one
    kinds = one.kinds & other.kinds
    item = other.item if one.item is None else one.item if other.item is None else meet(one.item, other.item)
    return Type(kinds, item if LIST in kinds else None, _more(one.fields, other.fields) if MAP in kinds else None)


def _more(one: Fields | None, other: Fields | None) -> Fields | None:
    if one is None or other is None:
        return one or other
    return one if len(one.known) >= len(other.known) else other


# ---------------------------------------------------------------------------------------------------------------------------- JSON

_JSON_KINDS: Final = {TIMESTAMP: STRING, DURATION: STRING, BYTES: STRING, UINT: INT}


def as_json(found: Type) -> Type:
    """Return what a value becomes when it leaves an expression: moments, durations and bytes become text (`format.to_json`)."""
    if found.is_any:
        return found
    kinds = {_JSON_KINDS.get(kind, kind) for kind in found.kinds} - {TYPE, OPTIONAL}
    fields = found.fields
    if fields is not None:
        known = {name: as_json(below) for name, below in fields.known.items()}
        fields = replace(fields, known=known, rest=None if fields.rest is None else as_json(fields.rest))
    return Type(frozenset(kinds), None if found.item is None else as_json(found.item), fields)


def as_stored(found: Type) -> Type:
    """Return what a value of JSON becomes in a status: a decimal number that happens to be whole is a whole number there."""
    if found.is_any:
        return found
    fields = found.fields
    if fields is not None:
        known = {name: as_stored(below) for name, below in fields.known.items()}
        fields = replace(fields, known=known, rest=None if fields.rest is None else as_stored(fields.rest))
    kinds = found.kinds | {INT} if DOUBLE in found.kinds else found.kinds
    return Type(kinds, None if found.item is None else as_stored(found.item), fields)
