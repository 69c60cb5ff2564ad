"""Is this schema one that a CustomResourceDefinition may have? Structural, and without what the server forbids.

The wording follows apiextensions-apiserver (v1.37). Left out: the estimate of what a rule may cost; a real server refuses expensive rules
on lists and strings without bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from backstay.local.apiserver.crd_expressions import check_expressions, check_rule_fields
from backstay.local.apiserver.crd_structure import Place, Schema, alternatives, check_structure, children
from backstay.local.apiserver.fields import FieldError, forbidden, invalid, not_supported, required
from backstay.local.apiserver.schema import check_rules, check_unique, check_value, compile_schema, pruned

_TYPES: Final = ("array", "boolean", "integer", "number", "object", "string")
_FORBIDDEN: Final = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_ROOT_WITH_STATUS: Final = (
    "Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems "
    "MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations"
)
_NOT_AT_ROOT_WITH_STATUS: Final = frozenset(
    {"additionalProperties", "allOf", "anyOf", "oneOf", "not", "enum", "default", "nullable", "maxProperties", "minProperties"}
)


def check_schema(schema: Schema, path: str, *, has_status: bool) -> list[FieldError]:
    """Return what is wrong with an `openAPIV3Schema` that stands at `path`; `has_status` if the version has a status subresource."""
    errors = _check_root(schema, path) if has_status else []
    if schema.get("nullable"):
        errors.append(forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    root = Place(path, "root")
    structural = check_structure(schema, root)
    errors += structural
    if not structural:
        errors += _check_defaults(schema, path)
    openapi = list(_openapi(schema, root))
    errors += openapi
    if not errors:
        errors += check_expressions(compile_schema(schema, root=True), schema, root)
    return errors


def _check_root(schema: Schema, path: str) -> list[FieldError]:
    if schema.get("type") not in (None, "object"):
        return [
            invalid(
                f"{path}.type",
                schema["type"],
                'only "object" is allowed as the type at the root of the schema if the status subresource is enabled',
            )
        ]
    if _NOT_AT_ROOT_WITH_STATUS & {key for key, value in schema.items() if value}:
        words = f"only [{_ROOT_WITH_STATUS}] fields are allowed at the root of the schema if the status subresource is enabled"
        return [invalid(path, dict(schema), words)]
    return []


def _check_defaults(schema: Schema, path: str) -> Iterator[FieldError]:
    if schema.get("default") is not None:
        default, node, at = schema["default"], compile_schema(schema), f"{path}.default"
        if pruned(node, default) != default:
            yield invalid(at, default, "must not have unknown fields")
        yield from check_value(node, default, prefix=at) or [*check_unique(node, default, at), *check_rules(node, default, None, at)]
    if isinstance(schema.get("items"), Mapping):
        yield from _check_defaults(schema["items"], f"{path}.items")
    for name, sub in (schema.get("properties") or {}).items():
        yield from _check_defaults(sub, f"{path}.properties[{name}]")


def _openapi(schema: Schema, place: Place) -> Iterator[FieldError]:
    path = place.path
    yield from _keywords(schema, place)
    if schema.get("uniqueItems"):
        yield forbidden(f"{path}.uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic")
    additional = schema.get("additionalProperties")
    if additional is not None and schema.get("properties") and additional is not True:
        yield forbidden(f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive")
    for sub, below in (*children(schema, place), *alternatives(schema, place)):
        yield from _openapi(sub, below)
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        yield invalid(f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined")
    yield from _lists_and_maps(schema, path)
    for index, rule in enumerate(schema.get("x-kubernetes-validations") or ()):
        yield from check_rule_fields(rule, f"{path}.x-kubernetes-validations[{index}]")


def _keywords(schema: Schema, place: Place) -> Iterator[FieldError]:
    path, kind = place.path, schema.get("type") or ""
    if kind == "null":
        yield forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative")
    elif kind and kind not in _TYPES:
        yield not_supported(f"{path}.type", kind, _TYPES)
    if schema.get("default") is not None and place.defaults_forbidden:
        yield forbidden(f"{path}.default", f"must not be set {place.defaults_forbidden}")
    for name in _FORBIDDEN:
        if schema.get(name) not in (None, {}, ""):
            yield forbidden(f"{path}.{name}", f"{name} is not supported")
    if isinstance(schema.get("items"), list):
        yield forbidden(f"{path}.items", "items must be a schema object and not an array")
    if place.within_metadata and schema.get("x-kubernetes-embedded-resource"):
        yield forbidden(f"{path}.x-kubernetes-embedded-resource", "must not be used inside of resource meta")


def _lists_and_maps(schema: Schema, path: str) -> Iterator[FieldError]:
    kind, map_type, list_type = schema.get("type") or "", schema.get("x-kubernetes-map-type"), schema.get("x-kubernetes-list-type")
    for name, value, wanted in (("map", map_type, "object"), ("list", list_type, "array")):
        if value is not None and kind != wanted:
            words = f"must be {wanted} if x-kubernetes-{name}-type is specified"
            yield invalid(f"{path}.type", kind, words) if kind else required(f"{path}.type", words)
    if map_type not in (None, "atomic", "granular"):
        yield not_supported(f"{path}.x-kubernetes-map-type", map_type, ("atomic", "granular"))
    if list_type not in (None, "atomic", "set", "map"):
        yield not_supported(f"{path}.x-kubernetes-list-type", list_type, ("atomic", "set", "map"))
    keys = schema.get("x-kubernetes-list-map-keys") or []
    if keys and list_type is None:
        yield required(f"{path}.x-kubernetes-list-type", "must be map if x-kubernetes-list-map-keys is non-empty")
    elif keys and list_type != "map":
        yield invalid(f"{path}.x-kubernetes-list-type", list_type, "must be map if x-kubernetes-list-map-keys is non-empty")
    items = schema.get("items")
    if list_type in ("set", "map") and isinstance(items, Mapping) and items.get("nullable"):
        yield forbidden(f"{path}.items.nullable", f"cannot be nullable when x-kubernetes-list-type is {list_type}")
    if list_type == "map":
        yield from _map_keys(items, keys, path)
    if (
        list_type == "set"
        and isinstance(items, Mapping)
        and items.get("type") == "object"
        and items.get("x-kubernetes-map-type") != "atomic"
    ):
        yield invalid(f"{path}.items.x-kubernetes-map-type", None, "must be atomic as item of a list with x-kubernetes-list-type=set")


def _map_keys(items: Any, keys: list[str], path: str) -> Iterator[FieldError]:
    at = f"{path}.x-kubernetes-list-map-keys"
    if not keys:
        yield required(at, "must not be empty if x-kubernetes-list-type is map")
    if not isinstance(items, Mapping):
        yield required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map")
        return
    if items.get("type") != "object":
        yield invalid(f"{path}.items.type", items.get("type") or "", "must be object if parent array's x-kubernetes-list-type is map")
        return
    for index, key in enumerate(keys):
        known = (items.get("properties") or {}).get(key)
        if key in keys[:index]:
            yield invalid(at, keys, "must not contain duplicate entries")
        if known is None:
            yield invalid(at, keys, "entries must all be names of item properties")
            continue
        below = f"{path}.items.properties[{key}]"
        if known.get("type") in ("array", "object"):
            yield invalid(f"{below}.type", items["type"], "must be a scalar type if parent array's x-kubernetes-list-type is map")
        if key not in (items.get("required") or ()) and known.get("default") is None:
            words = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            yield required(f"{below}.default", words)
        if known.get("nullable"):
            yield forbidden(f"{below}.nullable", "this property is in x-kubernetes-list-map-keys, so it cannot be nullable")
