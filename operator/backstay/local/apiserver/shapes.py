"""Shapes: how the parts of an object merge, for builtin kinds and for custom resources alike.

A shape answers, for one place in an object, what a patch may do there: does a list merge by keys, as a set, or is it replaced whole
(`list_type`); is a map replaced whole (`is_atomic`); what are the shapes below. Builtin kinds take it from gotypes.txt (made from the Go
types), custom resources from their schema's `x-kubernetes-list-type`, `-list-map-keys` and `-map-type`
(https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy). What neither knows is `UNTYPED`: maps merge, lists do not.

Example:
    shape_of(jobs).child("spec").child("template").child("spec").child("containers").keys  # ("name",)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from backstay.local.apiserver.resources import Resource

ListType = Literal["atomic", "set", "map"]


class Shape:
    """The shape of a place that nothing is known about; typed shapes override what they know."""

    __slots__ = ()
    is_atomic: bool = False
    """A map here is replaced whole."""
    is_open: bool = True
    """A map here may have fields that `knows` does not know."""
    list_type: ListType = "atomic"
    keys: tuple[str, ...] = ()
    """Fields that identify an item, where `list_type` is "map"."""
    patch_strategy: frozenset[str] = frozenset()
    """Strategic merge patch: any of merge, replace, retainKeys."""
    patch_key: str = ""
    """Strategic merge patch: the field that identifies an item of a merged list; empty for lists of scalars."""

    def child(self, _name: str) -> Shape:
        """Return the shape of a field of the map here."""
        return UNTYPED

    def knows(self, _name: str) -> bool:
        """Tell whether the schema declares the field, other than as an entry of a free map."""
        return False

    def item(self) -> Shape:
        """Return the shape of the items of the list here."""
        return UNTYPED

    def key_default(self, _key: str) -> Any:
        """Return what an item counts as having for a key field that it lacks, or None."""
        return None


UNTYPED: Final = Shape()


# ── builtin kinds ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class GoField:
    """A field of a Go struct: protobuf number (0: none), JSON name, type (`list:core/v1.Container`), and whether it is inlined."""

    number: int
    name: str
    type: str
    is_inline: bool
    flags: dict[str, str]


@dataclass(slots=True)
class GoStruct:
    """A Go struct with its fields in order; `is_atomic` where server-side apply takes it as one value."""

    name: str
    is_atomic: bool
    fields: list[GoField] = field(default_factory=list)


@cache
def go_structs() -> dict[str, GoStruct]:
    """Read gotypes.txt: struct name (`batch/v1.JobSpec`) → struct."""
    structs: dict[str, GoStruct] = {}
    struct = GoStruct("", False)
    for line in files(__package__).joinpath("gotypes.txt").read_text().splitlines():
        if line.startswith(" "):
            number, name, type_, *flags = line.split()
            pairs = (flag.split("=", 1) for flag in flags)
            struct.fields.append(GoField(0 if number == "-" else int(number), name, type_, name == "+", dict(pairs)))
        elif not line.startswith("#"):
            name, *flags = line.split()
            struct = structs[name] = GoStruct(name, bool(flags))
    return structs


def go_name(group: str, version: str, kind: str) -> str:
    """Return the name of a kind's struct in gotypes.txt, whether it is there or not."""
    return f"{group.partition('.')[0] or 'core'}/{version}.{kind}"


@cache
def go_fields(struct: str) -> dict[str, GoField]:
    """Return the JSON fields of a struct with those of inlined structs, by name; empty for a struct that is not known."""
    found: dict[str, GoField] = {}
    for each in go_structs()[struct].fields if struct in go_structs() else ():
        found |= go_fields(each.type.lstrip("*")) if each.is_inline else {each.name: each}
    return found


class GoShape(Shape):
    """The shape of a Go type as gotypes.txt has it: a struct, `list:T` or `map:T`."""

    __slots__ = ("_children", "_type", "is_atomic", "is_open", "keys", "list_type", "patch_key", "patch_strategy")

    def __init__(self, type_: str, flags: Mapping[str, str] = {}) -> None:
        self._type = type_.lstrip("*")
        self._children: dict[str, Shape] = {}
        structs = go_structs()
        self.is_atomic = flags.get("map") == "atomic" or (self._type in structs and structs[self._type].is_atomic)
        self.is_open = self._type not in structs
        kind, _, keys = flags.get("list", "atomic").partition(":")
        self.list_type = "set" if kind == "set" else "map" if kind == "map" else "atomic"
        self.keys = tuple(keys.split(",")) if keys else ()
        strategy, _, self.patch_key = flags.get("patch", "").partition(":")
        self.patch_strategy = frozenset(strategy.split(",")) if strategy else frozenset()

    def child(self, name: str) -> Shape:
        found = self._children.get(name)
        if found is None:
            found = self._children[name] = self._make_child(name)
        return found

    def _make_child(self, name: str) -> Shape:
        if self._type.startswith("map:"):
            return GoShape(self._type.removeprefix("map:"))
        known = go_fields(self._type).get(name)
        return GoShape(known.type, known.flags) if known else UNTYPED

    def knows(self, name: str) -> bool:
        fields = go_fields(self._type)
        return name in fields or (name in ("apiVersion", "kind") and "metadata" in fields)

    def item(self) -> Shape:
        found = self._children.get("")
        if found is None:
            item = self._type.removeprefix("list:")
            found = self._children[""] = GoShape(item) if item != self._type else UNTYPED
        return found

    def key_default(self, key: str) -> Any:
        return "TCP" if key == "protocol" else None  # the only default of a key field in the kinds served (kube-openapi)


OBJECT_META: Final = GoShape("meta/v1.ObjectMeta")


# ── custom resources ────────────────────────────────────────────────────────────────────────────


class SchemaShape(Shape):
    """The shape of a structural schema of a CustomResourceDefinition."""

    __slots__ = ("_children", "_is_resource", "_schema", "is_atomic", "is_open", "keys", "list_type")

    def __init__(self, schema: Mapping[str, Any], *, is_resource: bool = False) -> None:
        self._schema = schema
        self._is_resource = is_resource or bool(schema.get("x-kubernetes-embedded-resource"))
        self._children: dict[str, Shape] = {}
        self.is_atomic = schema.get("x-kubernetes-map-type") == "atomic"
        self.is_open = bool(schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("additionalProperties"))
        self.list_type = schema.get("x-kubernetes-list-type", "atomic")
        self.keys = tuple(schema.get("x-kubernetes-list-map-keys", ()))

    def child(self, name: str) -> Shape:
        found = self._children.get(name)
        if found is None:
            found = self._children[name] = self._make_child(name)
        return found

    def _make_child(self, name: str) -> Shape:
        if self._is_resource and name == "metadata":
            return OBJECT_META
        schema = self._schema.get("properties", {}).get(name, self._schema.get("additionalProperties"))
        return SchemaShape(schema) if isinstance(schema, Mapping) else UNTYPED

    def knows(self, name: str) -> bool:
        return name in self._schema.get("properties", {}) or (self._is_resource and name in ("apiVersion", "kind", "metadata"))

    def item(self) -> Shape:
        found = self._children.get("")
        if found is None:
            schema = self._schema.get("items")
            found = self._children[""] = SchemaShape(schema) if isinstance(schema, Mapping) else UNTYPED
        return found

    def key_default(self, key: str) -> Any:
        return self._schema.get("items", {}).get("properties", {}).get(key, {}).get("default")


_cache: dict[tuple[str, str, str], tuple[Mapping[str, Any] | None, Shape]] = {}


def shape_of(resource: Resource) -> Shape:
    """Return the shape of a resource's objects; kept until its schema changes."""
    key = (resource.group, resource.version, resource.kind)
    known = _cache.get(key)
    if known is None or known[0] is not resource.schema:
        known = _cache[key] = (resource.schema, _make_shape(resource))
    return known[1]


def _make_shape(resource: Resource) -> Shape:
    if resource.schema is not None:
        return SchemaShape(resource.schema, is_resource=True)
    return GoShape(go_name(resource.group, resource.version, resource.kind))
