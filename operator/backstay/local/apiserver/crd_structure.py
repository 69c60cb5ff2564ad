"""Is this schema structural? It must say the type of everything outside of anyOf, oneOf, allOf and not, and those may only judge values.

Reference: "Specifying a structural schema" in Kubernetes' page on CustomResourceDefinitions; the wording follows apiextensions-apiserver
(v1.37).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from backstay.local.apiserver.fields import FieldError, forbidden, invalid, required
from backstay.local.apiserver.schema.cel_env import CelError, matches_re2

_META: Final = frozenset({"metadata", "kind", "apiVersion"})
_NOT_NESTED: Final = {
    "type": "must be empty to be structural",
    "additionalProperties": "must be undefined to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}
_INT_OR_STRING: Final = [{"type": "integer"}, {"type": "string"}]

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the schema we are, and what that forbids."""

    path: str
    level: str = "field"
    defaults_forbidden: str = ""
    within_metadata: bool = False
    uncorrelated: str = ""
    """The path of the list above whose items cannot be told to be the same before and after an update."""

    def below(self, step: str, **changes: Any) -> Place:
        return replace(self, path=f"{self.path}.{step}", **{"level": "field", **changes})


def children(schema: Schema, place: Place) -> Iterator[tuple[Schema, Place]]:
    """Yield the schemas below: of additional members, of members, of items."""
    additional, items = schema.get("additionalProperties"), schema.get("items")
    if isinstance(additional, Mapping):
        reason = "inside additionalProperties applying to object metadata" if place.within_metadata else place.defaults_forbidden
        yield additional, place.below("additionalProperties", defaults_forbidden=reason)
    for name, sub in (schema.get("properties") or {}).items():
        is_meta = name in _META and (place.level == "root" or bool(schema.get("x-kubernetes-embedded-resource")))
        reason = f"in top-level {name}" if is_meta and place.level == "root" else place.defaults_forbidden
        yield sub, place.below(f"properties[{name}]", within_metadata=place.within_metadata or is_meta, defaults_forbidden=reason)
    if isinstance(items, Mapping):
        is_map = schema.get("x-kubernetes-list-type") == "map"
        yield items, place.below("items", uncorrelated=place.uncorrelated or ("" if is_map else place.path))


def alternatives(schema: Schema, place: Place) -> Iterator[tuple[Schema, Place]]:
    """Yield the schemas that only judge values: those of allOf, oneOf, anyOf and not."""
    for name in ("allOf", "oneOf", "anyOf"):
        for index, sub in enumerate(schema.get(name) or ()):
            yield sub, place.below(f"{name}[{index}]")
    if isinstance(schema.get("not"), Mapping):
        yield schema["not"], place.below("not")


def check_structure(schema: Schema, place: Place) -> list[FieldError]:
    """Return what keeps the schema of a whole object from being structural, in the order of the messages."""
    errors = [*_structure(schema, place), *_completeness(schema, schema, place.path, place.path)]
    return sorted(errors, key=lambda error: error.text)


def _structure(schema: Schema, place: Place) -> Iterator[FieldError]:
    kind, path = schema.get("type") or "", place.path
    items = schema.get("items")
    if kind == "array" and items is None:
        yield required(f"{path}.items", "must be specified")
    if isinstance(items, Mapping):
        yield from _structure(items, place.below("items", level="item"))
    for name, sub in (schema.get("properties") or {}).items():
        yield from _structure(sub, place.below(f"properties[{name}]"))
    additional = schema.get("additionalProperties")
    if additional is not None and place.level == "root":
        yield forbidden(f"{path}.additionalProperties", "must not be used at the root")
    if isinstance(additional, Mapping):
        yield from _structure(additional, place.below("additionalProperties"))
    yield from _types(schema, place)
    yield from _value_checks(schema, path)


def _types(schema: Schema, place: Place) -> Iterator[FieldError]:
    kind, path = schema.get("type") or "", place.path
    embedded, preserve = schema.get("x-kubernetes-embedded-resource"), schema.get("x-kubernetes-preserve-unknown-fields")
    int_or_string = schema.get("x-kubernetes-int-or-string")
    if int_or_string and preserve:
        yield invalid(f"{path}.x-kubernetes-preserve-unknown-fields", True, "must be false if x-kubernetes-int-or-string is true")
    if int_or_string and embedded:
        yield invalid(f"{path}.x-kubernetes-embedded-resource", True, "must be false if x-kubernetes-int-or-string is true")
    if embedded and kind != "object":
        words = "must be object if x-kubernetes-embedded-resource is true"
        yield invalid(f"{path}.type", kind, words) if kind else required(f"{path}.type", words)
    elif not kind and not int_or_string and not preserve and not schema.get("$ref"):
        words = {"root": "at the root", "item": "for specified array items", "field": "for specified object fields"}[place.level]
        yield required(f"{path}.type", f"must not be empty {words}")
    if embedded and schema.get("additionalProperties") is not None:
        yield forbidden(f"{path}.additionalProperties", "must not be used if x-kubernetes-embedded-resource is set")
    if place.level == "root" and kind and kind != "object":
        yield invalid(f"{path}.type", kind, "must be object at the root")
    if place.level == "root" or embedded:
        yield from _metadata(schema, place)
    if embedded and not preserve and not schema.get("properties"):
        words = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        yield required(f"{path}.properties", words)


def _metadata(schema: Schema, place: Place) -> Iterator[FieldError]:
    """An object's own fields are what they are: strings, and metadata of which a schema may only restrict the names."""
    properties, path = schema.get("properties") or {}, place.path
    for name in ("kind", "apiVersion"):
        if name in properties and properties[name].get("type") != "string":
            yield invalid(f"{path}.properties[{name}].type", properties[name].get("type") or "", "must be string")
    metadata = properties.get("metadata")
    if metadata is None:
        return
    if metadata.get("type") != "object":
        yield invalid(f"{path}.properties[metadata].type", metadata.get("type") or "", "must be object")
    rest = {key for key, value in metadata.items() if value and key not in ("type", "description", "properties")}
    names = set(metadata.get("properties") or {})
    if place.level == "root" and (rest or names - {"name", "generateName"}):
        words = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield forbidden(f"{path}.properties[metadata]", words)


def _value_checks(schema: Schema, path: str) -> Iterator[FieldError]:
    if schema.get("anyOf") != _INT_OR_STRING:
        for index, sub in enumerate(schema.get("anyOf") or ()):
            yield from _nested(sub, f"{path}.anyOf[{index}]")
    for index, sub in enumerate(schema.get("allOf") or ()):
        is_int_or_string = index == 0 and sub.get("anyOf") == _INT_OR_STRING
        yield from _nested({**sub, "anyOf": []} if is_int_or_string else sub, f"{path}.allOf[{index}]")
    for index, sub in enumerate(schema.get("oneOf") or ()):
        yield from _nested(sub, f"{path}.oneOf[{index}]")
    if isinstance(schema.get("not"), Mapping):
        yield from _nested(schema["not"], f"{path}.not")
    if schema.get("pattern"):
        try:
            matches_re2("", schema["pattern"])
        except CelError as error:
            yield invalid(f"{path}.pattern", schema["pattern"], f"must be a valid regular expression, but isn't: {error}")


def _nested(schema: Schema, path: str) -> Iterator[FieldError]:
    """Within value checks nothing may be said that belongs to the structure."""
    yield from _value_checks(schema, path)
    if isinstance(schema.get("items"), Mapping):
        yield from _nested(schema["items"], f"{path}.items")
    for name, sub in (schema.get("properties") or {}).items():
        yield from _nested(sub, f"{path}.properties[{name}]")
    for name, words in _NOT_NESTED.items():
        if schema.get(name) not in (None, "", False, []):
            yield forbidden(f"{path}.{name}", words)
    if "metadata" in (schema.get("properties") or {}):
        yield forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context")


def _completeness(checks: Schema, structure: Schema | None, path: str, at: str) -> Iterator[FieldError]:
    """What value checks speak of must be in the structure."""
    nested = [(sub, f"{at}.{name}[{index}]") for name in ("allOf", "anyOf", "oneOf") for index, sub in enumerate(checks.get(name) or ())]
    if isinstance(checks.get("not"), Mapping):
        nested.append((checks["not"], f"{at}.not"))
    for sub, place in nested:
        if structure is None:
            yield required(path, f"because it is defined in {place}")
            continue
        yield from _completeness(sub, structure, path, place)
        yield from _named(sub, structure, path, place)


def _named(checks: Schema, structure: Schema, path: str, at: str) -> Iterator[FieldError]:
    pairs = [
        (sub, (structure.get("properties") or {}).get(name), f"properties[{name}]")
        for name, sub in (checks.get("properties") or {}).items()
    ]
    if isinstance(checks.get("items"), Mapping):
        pairs.append((checks["items"], structure.get("items"), "items"))
    for sub, known, step in pairs:
        if known is None:
            yield required(f"{path}.{step}", f"because it is defined in {at}.{step}")
        else:
            yield from _completeness(sub, known, f"{path}.{step}", f"{at}.{step}")
            yield from _named(sub, known, f"{path}.{step}", f"{at}.{step}")
