"""From a JSON Schema to a type. Only what a schema says for certain is used; what it says beyond makes the values fewer, never others.

Values are as the API server keeps them, which knows no difference between 3.0 and 3: a whole number within 64 bits is an integer, however it was
written (k8s.io/apimachinery, util/json; `engine/codec.canonical`). So `integer` gives whole numbers only, and `number` either kind.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from backstay.expressions.types.model import (
    ANY,
    BOOL,
    INT,
    MAP,
    NULL,
    NUMBER,
    STRING,
    Fields,
    Type,
    bounded,
    join,
    list_of,
    meet,
    of_value,
    scalar,
)

_MAX_DEPTH: Final = 16
_SCALARS: Final = {
    "boolean": scalar(BOOL),
    "integer": scalar(INT),
    "null": scalar(NULL),
    "number": NUMBER,
    "string": scalar(STRING),
}


def type_of_schema(schema: Any) -> Type:
    """Return the type of the values that satisfy a schema."""
    return bounded(_type_of(schema, schema, 0))


def _type_of(schema: Any, root: Any, depth: int) -> Type:
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return ANY
    found = ANY
    for part in _parts(schema, root, depth):
        found = meet(found, part)
    return found if found.kinds else ANY


def _parts(schema: Mapping[str, Any], root: Any, depth: int) -> Iterator[Type]:
    """Yield a type for each of the keywords that say something about kinds: a value is of all of them."""
    names = schema.get("type")
    if isinstance(names, str):
        names = [names]
    if isinstance(names, list) and names:
        yield join(*(_named(str(name), schema, root, depth) for name in names))
    if isinstance(options := schema.get("enum"), list) and options:
        yield join(*map(_literal, options))
    if "const" in schema:
        yield _literal(schema["const"])
    for keyword in ("anyOf", "oneOf"):
        if isinstance(options := schema.get(keyword), list) and options:
            yield join(*(_type_of(option, root, depth + 1) for option in options))
    if isinstance(options := schema.get("allOf"), list):
        yield from (_type_of(option, root, depth + 1) for option in options)
    if isinstance(reference := schema.get("$ref"), str):
        yield _type_of(_pointed(root, reference), root, depth + 1)


def _named(name: str, schema: Mapping[str, Any], root: Any, depth: int) -> Type:
    if name == "array":
        has_places = "prefixItems" in schema or isinstance(schema.get("items"), list)
        return list_of(ANY if has_places else _type_of(schema.get("items"), root, depth + 1))
    if name == "object":
        return _object(schema, root, depth)
    return _SCALARS.get(name, ANY)


def _object(schema: Mapping[str, Any], root: Any, depth: int) -> Type:
    properties = schema.get("properties")
    known = {str(name): _type_of(below, root, depth + 1) for name, below in properties.items()} if isinstance(properties, Mapping) else {}
    others = schema.get("additionalProperties", True)
    rest = None if others is False else _type_of(others, root, depth + 1)
    patterns = schema.get("patternProperties")
    if isinstance(patterns, Mapping) and patterns:
        rest = ANY
    return Type(frozenset((MAP,)), fields=Fields(known, rest, is_declared=True))


def _literal(value: Any) -> Type:
    return ANY if isinstance(value, (list, Mapping)) else of_value(value)


def _pointed(root: Any, reference: str) -> Any:
    if not reference.startswith("#/"):
        return True
    found = root
    for part in reference[2:].split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or name not in found:
            return True
        found = found[name]
    return found
