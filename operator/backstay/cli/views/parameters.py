"""Parameters as they are typed: `-p amount=12.5` takes the type that the workflow's schema says, `-p 'lines:=[1, 2]'` is JSON as it stands."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from backstay.cli.failures import Usage
from backstay.expressions.words import quoted

Json = Any
_NAMES: Final = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a JSON list",
    "object": "a JSON object",
    "null": "null",
}


def typed_parameters(given: Iterable[str], schemas: Mapping[str, Mapping[str, Any]]) -> dict[str, Json]:
    """Read `name=text` and `name:=json`. `schemas` are those of the workflow's parameters by name. Raises Usage with the mend."""
    found: dict[str, Json] = {}
    for item in given:
        name, value = _one(item, schemas)
        if name in found:
            raise Usage(f"-p {name} is given twice", "give each parameter once; a list is written as -p 'name:=[1, 2]'")
        found[name] = value
    return found


def schemas_of(workflow_spec: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the schemas of a workflow's parameters by name."""
    parameters = workflow_spec.get("parameters")
    found = {}
    for item in parameters if isinstance(parameters, list) else ():
        if isinstance(item, Mapping):
            schema = item.get("schema")
            found[str(item.get("name"))] = schema if isinstance(schema, Mapping) else {}
    return found


def _one(item: str, schemas: Mapping[str, Mapping[str, Any]]) -> tuple[str, Json]:
    name, separator, text = item.partition("=")
    if not separator:
        raise Usage(f"-p {item}: there is no = in it", "write -p name=value")
    if name.endswith(":"):
        name = name[:-1].strip()
        return _named(name, item), _json(name, text)
    name = _named(name.strip(), item)
    return name, _converted(name, text, schemas.get(name, {}))


def _named(name: str, item: str) -> str:
    if not name:
        raise Usage(f"-p {item}: it has no name", "write -p name=value")
    return name


def _json(name: str, text: str) -> Json:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        raise Usage(f"-p {name}:={text}: the value is no JSON ({error})", f"write text as -p {name}=…, without the colon") from None


def _no_constant(word: str) -> Json:
    raise ValueError(f"{word} is none")


def _converted(name: str, text: str, schema: Mapping[str, Any]) -> Json:
    """Convert where the schema wants no text. A schema that says nothing of the type takes text, and is checked as any other afterwards."""
    types = _types(schema)
    if not types or "string" in types:
        return text
    for kind in types:
        value = _as(kind, text)
        if value is not _NOTHING:
            return value
    wanted = " or ".join(_NAMES.get(kind, kind) for kind in types)
    raise Usage(f"parameter {name}: expected {wanted}, found {quoted(text)}", f"write -p {name}=…, or JSON as -p '{name}:=…'")


def _types(schema: Mapping[str, Any]) -> Sequence[str]:
    kind = schema.get("type")
    if isinstance(kind, str):
        return (kind,)
    return tuple(map(str, kind)) if isinstance(kind, list) else ()


_NOTHING: Final = object()


def _as(kind: str, text: str) -> Json:
    """Return text as a value of a JSON type, or _NOTHING where it is none."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return _NOTHING
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "integer" and is_number:
        return int(value) if math.isfinite(value) and value == int(value) else _NOTHING
    fits = {
        "number": is_number,
        "boolean": isinstance(value, bool),
        "array": isinstance(value, list),
        "object": isinstance(value, dict),
        "null": value is None,
    }
    return value if fits.get(kind) else _NOTHING
