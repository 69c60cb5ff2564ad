"""JSON Schema for parameters (draft 2020-12, jsonschema-rs), within limits: nothing is fetched, and no schema can make a check hang.

A schema is a user's text that runs in the operator. `$ref` may point into the schema itself and never in a circle, because a circle of `anyOf`
takes exponential time; regular expressions run in linear time; and how much work a schema is for a value is bounded before it begins.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import jsonschema_rs

from backstay.errors import Problem
from backstay.expressions.words import field_path, quoted, shortened, suggestion

MAX_SUBSCHEMAS: Final = 1000
"""With every `$ref` written out."""
_MAX_DEPTH: Final = 64
_MAX_WORK: Final = 50_000_000
"""Parts of the schema times parts of the value: about half a second."""
_MAX_EXPLAINED: Final = 20_000
"""The same, for finding all mistakes in a value and not just that there is one: each alternative of an anyOf tells its own."""
_SHOWN_MISTAKES: Final = 10
_SHOWN_CHARACTERS: Final = 200
_CACHED: Final = 1024

TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")
FORMATS: Final = tuple(
    """date date-time time duration email idn-email hostname idn-hostname ipv4 ipv6 uri uri-reference uri-template iri iri-reference uuid
    json-pointer relative-json-pointer regex""".split()  # noqa: SIM905
)
_FORMATS_KNOWN: Final = "there are date, date-time, duration, email, hostname, ipv4, ipv6, uri, uuid and others of JSON Schema"
_REFUSED: Final = ("$dynamicRef", "$recursiveRef", "$id", "$anchor", "$dynamicAnchor")
_SCHEMA_VALUED: Final = frozenset(
    """additionalItems additionalProperties contains contentSchema else if items not propertyNames then
    unevaluatedItems unevaluatedProperties""".split()  # noqa: SIM905
)
_LISTS_OF_SCHEMAS: Final = frozenset(("allOf", "anyOf", "oneOf", "prefixItems", "items"))
_MAPS_OF_SCHEMAS: Final = frozenset(("properties", "patternProperties", "dependentSchemas"))
_DEFINITIONS: Final = ("$defs", "definitions")


class InvalidSchema(Exception):
    """A schema that is refused; `path` is where in it, as in `properties.amount.type`."""

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        self.message = message
        super().__init__(f"{path}: {message}" if path else message)


class Schema:
    """A schema that was found to be sound."""

    def __init__(self, validator: jsonschema_rs.Draft202012Validator, parts: int) -> None:
        self._validator = validator
        self._parts = parts

    def mistakes(self, value: Any, path: str) -> Iterator[Problem]:
        """Yield what is wrong with a value, at most ten mistakes; paths begin with `path`."""
        work = self._parts * _count(value)
        if work > _MAX_WORK:
            yield Problem(path, "the value is too large for a schema as complex as this one; make one of them smaller")
        elif work > _MAX_EXPLAINED:
            if not self._validator.is_valid(value):
                yield Problem(path, "the value does not satisfy its schema; it is too large to say where")
        else:
            for error in islice(self._validator.iter_errors(value), _SHOWN_MISTAKES):
                yield Problem(_place(path, error.instance_path), _in_words(error, value))


def compile_schema(schema: Mapping[str, Any]) -> Schema:
    """Return a checked schema. Raises InvalidSchema with the place and the mend."""
    return _compile(json.dumps(schema))


@lru_cache(_CACHED)
def _compile(text: str) -> Schema:
    schema = json.loads(text)
    parts = _Expansion(schema).count()
    try:
        validator = jsonschema_rs.Draft202012Validator(
            schema,
            offline=True,
            validate_formats=True,
            ignore_unknown_formats=False,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=1 << 20),
        )
        return Schema(validator, parts)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise _invalid(error, schema) from None


def _invalid(error: Exception, schema: Any) -> InvalidSchema:
    message = getattr(error, "message", "") or str(error)
    location = list(getattr(error, "instance_path", ()))
    value = _value_at(schema, location)
    last = location[-1] if location else ""
    if last == "type" or (len(location) > 1 and location[-2] == "type"):
        known = f"; there are: {', '.join(TYPES)}{suggestion(str(value), TYPES)}"
        return InvalidSchema(_place("", location), f"{quoted(value)} is no type of JSON Schema{known}")
    if last == "format":
        return InvalidSchema(
            _place("", location), f"{quoted(value)} is no format that is known here; {_FORMATS_KNOWN}{suggestion(str(value), FORMATS)}"
        )
    if '"regex"' in message:
        return InvalidSchema(
            _place("", location),
            f"{quoted(value)} is no regular expression, or too large a one; look-around and back-references cannot be used",
        )
    return InvalidSchema(_place("", location), shortened(message.split("\n")[0]))


# ------------------------------------------------------------------------------------------------------------------------------ size


class _Expansion:
    """Counts the parts of a schema as if every `$ref` were written out."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._depth = 0
        self._counts: dict[str, int] = {}
        self._open: list[str] = []

    def count(self) -> int:
        """Return how many there are. Raises InvalidSchema where they are too many, point outside, or go round in a circle."""
        total = self._subschema(self._root, "")
        for name in _DEFINITIONS:
            definitions = self._root.get(name, {}) if isinstance(self._root, Mapping) else {}
            for key, below in definitions.items() if isinstance(definitions, Mapping) else ():
                self._subschema(below, field_path(name, key))
        return total

    def _subschema(self, schema: Any, path: str) -> int:
        if not isinstance(schema, Mapping):
            return 1
        for name in _REFUSED:
            if name in schema:
                raise InvalidSchema(path, f"{name} cannot be used in a parameter's schema; write the schema out, or use $ref with $defs")
        if self._depth > _MAX_DEPTH:
            raise InvalidSchema(path, f"the schema nests deeper than {_MAX_DEPTH} levels with every $ref written out; make it flatter")
        self._depth += 1
        total = 1 + sum(self._subschema(below, place) for below, place in _below(schema, path))
        if isinstance(reference := schema.get("$ref"), str):
            total += self._referred(reference, field_path(path, "$ref"))
        self._depth -= 1
        if total > MAX_SUBSCHEMAS:
            raise InvalidSchema(path, f"the schema has more than {MAX_SUBSCHEMAS:,} parts with every $ref written out; make it simpler")
        return total

    def _referred(self, reference: str, path: str) -> int:
        if reference in self._counts:
            return self._counts[reference]
        if not reference.startswith("#/"):
            message = "points outside the schema, and nothing is fetched" if reference != "#" else "goes round in a circle"
            raise InvalidSchema(path, f"{quoted(reference)} {message}; use #/$defs/NAME")
        if reference in self._open:
            raise InvalidSchema(path, f"{quoted(reference)} goes round in a circle; write out as many levels as are needed")
        self._open.append(reference)
        self._counts[reference] = self._subschema(_pointed(self._root, reference, path), reference[2:].replace("/", "."))
        self._open.pop()
        return self._counts[reference]


def _below(schema: Mapping[str, Any], path: str) -> Iterator[tuple[Any, str]]:
    for name, value in schema.items():
        place = field_path(path, name)
        if name in _MAPS_OF_SCHEMAS and isinstance(value, Mapping):
            yield from ((below, field_path(place, str(key))) for key, below in value.items())
        elif name in _LISTS_OF_SCHEMAS and isinstance(value, list):
            yield from ((below, f"{place}[{index}]") for index, below in enumerate(value))
        elif name in _SCHEMA_VALUED:
            yield value, place
        elif name in ("enum", "required") and isinstance(value, list):
            yield from ((None, place) for _ in value)


def _pointed(root: Any, reference: str, path: str) -> Any:
    found = root
    for part in reference[2:].split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdecimal() and int(name[:9]) < len(found):
            found = found[int(name)]
        else:
            raise InvalidSchema(path, f"{quoted(reference)} points to nothing in the schema; put it under $defs")
    return found


def _count(value: Any) -> int:
    count, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        count += 1
        if isinstance(item, Mapping):
            waiting.extend(item.values())
        elif isinstance(item, (list, tuple)):
            waiting.extend(item)
        elif isinstance(item, str):
            count += len(item) // 64
    return count


# ----------------------------------------------------------------------------------------------------------------------------- words


def _in_words(error: jsonschema_rs.ValidationError, root: Any) -> str:
    message, kind = _cut(error.message), error.kind
    value = _value_at(root, error.instance_path)
    match kind.name:
        case "required":
            return message.replace("is a required property", "is missing; add it")
        case "additionalProperties":
            names = ", ".join(map(quoted, getattr(kind, "unexpected", [])[:_SHOWN_MISTAKES]))
            return f"the schema knows no {names}; remove it"
        case "type" if isinstance(value, str) and _reads_as_number(value) and {"number", "integer"} & set(_listed(kind.value)):
            return f"{message}; write {value} without quotes"
        case "pattern":
            return f"{quoted(value)} does not match {quoted(kind.value)}"
        case "format":
            return f"{quoted(value)} is not of the format {kind.value}"
        case "anyOf" | "oneOf":
            return f"{quoted(value)} fits {'none' if kind.name == 'anyOf' else 'none, or more than one,'} of the alternatives that its schema gives"
    return message


def _cut(message: str) -> str:
    """Keep both ends of a message: the value that it begins with may be long, and what is wrong with it comes last."""
    return message if len(message) <= _SHOWN_CHARACTERS else f"{message[:60]} … {message[-100:]}"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _reads_as_number(text: str) -> bool:
    return len(text) < 32 and text.lstrip("-").replace(".", "", 1).isdecimal()


def _value_at(value: Any, location: Any) -> Any:
    for part in location:
        if isinstance(value, (Mapping, list)):
            value = value[part]
    return value


def _place(path: str, location: Any) -> str:
    for part in location:
        path = f"{path}[{part}]" if isinstance(part, int) else field_path(path, str(part))
    return path
