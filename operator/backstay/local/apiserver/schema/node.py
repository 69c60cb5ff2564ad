"""A structural schema, compiled: plain attributes instead of dictionary look-ups, patterns and rules ready to run.

Compile once a CRD version (`Resource.node` keeps it); the tree never changes afterwards. Where a subtree cannot matter to a pass (no
default below, no rule below, nothing to prune), a flag says so and the pass stops there: that is what keeps the check of a large status
cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from backstay.local.apiserver.schema.expression import Rule, compile_rules, escaped_name
from backstay.local.apiserver.schema.formats import CHECKS, plain, supported_format
from backstay.local.apiserver.schema.patterns import Pattern

MISSING: Final = object()
"""Stands for "no value", where None is one."""


@dataclass(slots=True)
class Node:
    """One place of a schema; nested ones within anyOf, oneOf, allOf and not are Nodes as well, with only value checks set."""

    types: tuple[str, ...] = ()
    format: str = ""
    accepts: Callable[[str], bool] | None = None
    """What the format accepts, for strings."""
    nullable: bool = False
    properties: dict[str, Node] = field(default_factory=dict)
    additional: Node | None = None
    items: Node | None = None
    required: tuple[str, ...] = ()
    preserve: bool = False
    embedded: bool = False
    default: Any = MISSING
    list_type: str = ""
    list_keys: tuple[str, ...] = ()
    enum: tuple[Any, ...] = ()
    pattern: Pattern | None = None
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False
    multiple_of: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_items: int | None = None
    max_items: int | None = None
    min_properties: int | None = None
    max_properties: int | None = None
    all_of: tuple[Node, ...] = ()
    any_of: tuple[Node, ...] = ()
    one_of: tuple[Node, ...] = ()
    none_of: Node | None = None
    rules: tuple[Rule, ...] = ()
    # Worked out once, for speed: Python types that are right as they are, whether that is all there is to check, members with a default,
    # and members that CEL spells otherwise.
    expected: tuple[type, ...] = ()
    is_plain: bool = False
    has_cel_type: bool = False
    """Whether rules can see it: CEL knows no type for what only preserves unknown fields, nor for lists and maps of such."""
    defaulted: tuple[tuple[str, Node], ...] = ()
    escaped: dict[str, str] = field(default_factory=dict)
    # What is in this node or below it.
    has_defaults: bool = False
    has_rules: bool = False
    has_transitions: bool = False
    has_unique_lists: bool = False
    has_embedded: bool = False
    needs_casts: bool = False
    """Values look different to CEL than in JSON: floats, times, durations, bytes, names that CEL cannot write."""

    def child(self, name: str) -> Node | None:
        """Return the schema of the member `name` of an object, or None where the schema does not know it."""
        return self.properties.get(name, self.additional)

    def children(self) -> list[Node]:
        """Return the schemas of members and items, without those in value checks."""
        below = list(self.properties.values())
        return below + [node for node in (self.additional, self.items) if node is not None]


def compile_schema(schema: Mapping[str, Any], *, root: bool = False) -> Node:
    """Compile an OpenAPI v3 schema as CRDs have it.

    `root` marks the schema of a whole object: its apiVersion, kind and metadata are then known without being listed.
    The schema must have passed `crd_schema.check_schema`; nothing is checked here again.
    """
    return _compile(schema, root=root)


def _compile(schema: Mapping[str, Any], *, root: bool = False) -> Node:
    node = Node(
        types=_types(schema),
        format=supported_format(schema),
        nullable=bool(schema.get("nullable")),
        properties={name: _compile(sub) for name, sub in (schema.get("properties") or {}).items()},
        additional=_additional(schema),
        items=_compile(schema["items"]) if isinstance(schema.get("items"), Mapping) else None,
        required=tuple(schema.get("required") or ()),
        preserve=bool(schema.get("x-kubernetes-preserve-unknown-fields")),
        embedded=root or bool(schema.get("x-kubernetes-embedded-resource")),
        default=schema["default"] if schema.get("default") is not None else MISSING,
        list_type=schema.get("x-kubernetes-list-type") or "",
        list_keys=tuple(schema.get("x-kubernetes-list-map-keys") or ()),
        all_of=_several(schema, "allOf"),
        any_of=_several(schema, "anyOf"),
        one_of=_several(schema, "oneOf"),
        none_of=_compile(schema["not"]) if isinstance(schema.get("not"), Mapping) else None,
    )
    _set_bounds(node, schema)
    _set_flags(node)
    node.rules = compile_rules(schema.get("x-kubernetes-validations") or (), node)
    _set_rule_flags(node)
    return node


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    if schema.get("x-kubernetes-int-or-string"):
        return ("integer", "string")
    return (schema["type"],) if schema.get("type") else ()


def _additional(schema: Mapping[str, Any]) -> Node | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        return _compile(additional)
    return Node() if additional is True else None


def _several(schema: Mapping[str, Any], key: str) -> tuple[Node, ...]:
    return tuple(_compile(sub) for sub in schema.get(key) or ())


def _set_bounds(node: Node, schema: Mapping[str, Any]) -> None:
    node.accepts = CHECKS.get(plain(node.format))
    node.enum = tuple(schema.get("enum") or ())
    node.pattern = Pattern(schema["pattern"]) if schema.get("pattern") else None
    node.minimum, node.maximum = schema.get("minimum"), schema.get("maximum")
    node.exclusive_minimum = bool(schema.get("exclusiveMinimum"))
    node.exclusive_maximum = bool(schema.get("exclusiveMaximum"))
    node.multiple_of = schema.get("multipleOf")
    node.min_length, node.max_length = schema.get("minLength"), schema.get("maxLength")
    node.min_items, node.max_items = schema.get("minItems"), schema.get("maxItems")
    node.min_properties, node.max_properties = schema.get("minProperties"), schema.get("maxProperties")


_CAST_FORMATS: Final = frozenset({"byte", "date", "datetime", "duration"})


_PYTHON: Final = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,), "object": (dict,)}


def _set_flags(node: Node) -> None:
    below = node.children()
    node.expected = tuple(type_ for name in node.types for type_ in _PYTHON.get(name, ()))
    node.has_cel_type = _has_cel_type(node)
    node.is_plain = not below and _says_nothing_but_its_type(node)
    node.defaulted = tuple((name, sub) for name, sub in node.properties.items() if sub.default is not MISSING)
    node.escaped = {name: escaped_name(name) for name in node.properties if escaped_name(name) != name}
    node.has_defaults = node.default is not MISSING or any(sub.has_defaults for sub in below)
    node.has_unique_lists = node.list_type in ("set", "map") or any(sub.has_unique_lists for sub in below)
    node.has_embedded = node.embedded or any(sub.has_embedded for sub in below)
    node.needs_casts = (
        node.types == ("number",) or plain(node.format) in _CAST_FORMATS or any(sub.needs_casts for sub in below) or bool(node.escaped)
    )


def _has_cel_type(node: Node) -> bool:
    if "array" in node.types:
        return node.items is not None and node.items.has_cel_type
    if "object" in node.types and node.additional is not None and not node.properties:
        return node.additional.has_cel_type or node.additional == Node()
    return bool(node.types)


def _says_nothing_but_its_type(node: Node) -> bool:
    bounds = (
        node.minimum,
        node.maximum,
        node.multiple_of,
        node.min_length,
        node.max_length,
        node.min_items,
        node.max_items,
        node.min_properties,
        node.max_properties,
        node.pattern,
        node.accepts,
        node.none_of,
    )
    lists = (node.enum, node.required, node.all_of, node.any_of, node.one_of)
    ranged = "integer" in node.types  # a number that is no int64 is refused
    return not ranged and all(bound is None for bound in bounds) and not any(lists)


def _set_rule_flags(node: Node) -> None:
    below = [*node.children(), *node.all_of]
    node.has_rules = bool(node.rules) or any(sub.has_rules for sub in below)
    node.has_transitions = any(rule.uses_old for rule in node.rules) or any(sub.has_transitions for sub in below)


def unchanged(value: Any, old: Any) -> bool:
    """Tell whether a value equals the old one, with True and 1, and 1 and 1.0, told apart."""
    return value is old or (value == old and _same_types(value, old))


def _same_types(value: Any, old: Any) -> bool:
    if isinstance(value, dict):
        return all(item is old[name] or _same_types(item, old[name]) for name, item in value.items())
    if isinstance(value, list):
        return all(item is other or _same_types(item, other) for item, other in zip(value, old, strict=True))
    return type(value) is type(old)
