"""From JSON Schema as pydantic writes it to the structural schemas of a CRD.

What Kubernetes does not take is rewritten: `$ref` is written out, `null` as an alternative means optional, numbers as exclusive bounds become
inclusive ones, `additionalProperties: false` goes (pruning does that work). Defaults are told in the descriptions and never written into
objects: a manifest stays as its author wrote it.
(kubernetes.io: Extend the Kubernetes API with CustomResourceDefinitions, "Specifying a structural schema")
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from backstay.api.base import ANY_JSON, Model, format_duration
from backstay.api.crd.rules import rules_of

Schema = dict[str, Any]

_KEPT: Final = (
    *("type", "format", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "enum", "required"),
    *("x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
)
_KEYED_BY_NAME: Final = frozenset({"Step", "Branch", "Parameter", "Output", "EnvVar", "Workspace", "Template", "Participant"})
"""Models in lists in which each name stands once: Kubernetes refuses a second one, and merges by name."""
_STEP: Final = "Step"
_UNDO: Final = "Compensate"
_PHASE: Final = "PhaseAction"
"""What a participant of a transaction does: six of them for each, with three actions to choose from, would double the schema."""
_DEEP: Final = frozenset({_STEP})
"""Models whose lists of steps are typed further in. With those of every structure a CRD would take 1.5 MB, as much as etcd takes."""
_UNTYPED: Final = frozenset({"Template", "Catch", "Boundary"})
"""Models whose lists of steps are never typed: every typed list makes the schema larger by as much as that of a step."""
_CHECKED_LATER: Final = "It is checked by the operator and by backstay lint; a schema cannot nest without end."


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the schema the writer is."""

    levels: int
    """How many lists of steps further in are to be typed."""
    entered: int = 0
    """How many lists of steps are around."""
    is_costly: bool = False
    """Whether so many of it may be there that rules in CEL would exceed the API server's budget."""
    owner: str = ""
    """The model that it is in."""

    @property
    def is_typed(self) -> bool:
        """Whether a list of steps here is typed."""
        return self.levels > 0 and (not self.entered or self.owner in _DEEP)

    def inside_model(self, name: str) -> "Place":
        """The body of a workflow that is a dag is typed one level less."""
        if name in _UNTYPED:
            return replace(self, owner=name, levels=0, is_costly=True)
        if name == _UNDO:
            return replace(self, owner=name, levels=max(self.levels - 1, 0))
        return replace(self, owner=name, levels=min(self.levels, 1) if name == "Dag" and not self.entered else self.levels)

    def inside_steps(self) -> "Place":
        return Place(self.levels - 1, self.entered + 1, self.is_costly or self.entered > 0)


def structural(model: type[Model], step_levels: int, models: Mapping[str, type[BaseModel]]) -> Schema:
    """Return the structural schema of a model in which `step_levels` lists of steps inside each other are typed.

    `models` holds every model by its name, for rules and defaults.
    """
    written = model.model_json_schema(by_alias=True)
    return _Writer(written.get("$defs", {}), models).object(model.__name__, written, Place(step_levels), "")


class _Writer:
    """Rewrites one JSON Schema, with its definitions."""

    def __init__(self, definitions: Mapping[str, Schema], models: Mapping[str, type[BaseModel]]) -> None:
        self._definitions = definitions
        self._models = models

    def object(self, name: str, schema: Schema, place: Place, description: str) -> Schema:
        """Return the schema of a model."""
        place = place.inside_model(name)
        if name == _PHASE or (name == _UNDO and place.entered > 1):
            return {"description": f"{description} {_CHECKED_LATER}", "type": "object", "x-kubernetes-preserve-unknown-fields": True}
        fields = {field.alias or key: field for key, field in self._models[name].model_fields.items()}
        found: Schema = {"description": description or schema.get("description", ""), "type": "object"}
        if "required" in schema:
            found["required"] = schema["required"]
        found["properties"] = {
            key: self.value(below, place, _told(below, fields[key])) for key, below in schema.get("properties", {}).items()
        }
        return found if place.is_costly else found | rules_of(self._models[name])

    def value(self, schema: Schema, place: Place, description: str) -> Schema:
        """Return the schema of any value."""
        schema = _without_null(schema)
        if "x-backstay-untyped" in schema:
            place = replace(place, levels=0, is_costly=True)
        if reference := schema.get("$ref"):
            name = reference.rpartition("/")[2]
            below = self._definitions[name]
            if "properties" in below:
                return self.object(name, below, place, description)
            schema = below | {key: value for key, value in schema.items() if key != "$ref"}
        found: Schema = {"description": description} if description else {}
        found |= {key: schema[key] for key in _KEPT if key in schema}
        if "exclusiveMinimum" in schema:
            found["minimum"] = schema["exclusiveMinimum"] + 1
        if _is_integer_or_text(schema):
            found["x-kubernetes-int-or-string"] = True
        if "items" in schema:
            found |= self._list(schema["items"], place)
        if isinstance(values := schema.get("additionalProperties"), dict):
            found |= self._map(values, place)
        return found

    def _map(self, values: Schema, place: Place) -> Schema:
        """Rules in CEL cannot see a map of values of any kind, not even with has(): it is written as an object of which nothing is known."""
        below = self.value(values, place, "")
        return below if below == ANY_JSON else {"additionalProperties": below}

    def _list(self, items: Schema, place: Place) -> Schema:
        name = items.get("$ref", "").rpartition("/")[2]
        keys: Schema = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]} if name in _KEYED_BY_NAME else {}
        if name != _STEP:
            inner = replace(place, is_costly=True) if place.entered else place
            return keys | {"items": self.value(items, inner, "")}
        if not place.is_typed:
            return keys | {"items": self._untyped_step()}
        return keys | {"items": self.object(name, self._definitions[name], place.inside_steps(), "")}

    def _untyped_step(self) -> Schema:
        name = self._definitions[_STEP]["properties"]["name"]
        return {
            "description": f"A step like those further out. {_CHECKED_LATER}",
            "type": "object",
            "required": ["name"],
            "properties": {"name": {key: name[key] for key in ("description", *_KEPT) if key in name}},
            "x-kubernetes-preserve-unknown-fields": True,
        }


def _without_null(schema: Schema) -> Schema:
    """Take the alternative `null` off: an optional field is one that is left out."""
    alternatives = [item for item in schema.get("anyOf", ()) if item != {"type": "null"}]
    if len(alternatives) != 1:
        return schema
    only: Schema = alternatives[0]
    return only | {key: value for key, value in schema.items() if key not in ("anyOf", "title", "default")}


def _is_integer_or_text(schema: Schema) -> bool:
    return {item.get("type") for item in schema.get("anyOf", ())} == {"integer", "string"}


def _told(schema: Schema, field: FieldInfo) -> str:
    """Return a field's description, with its default where it has one worth telling and does not tell it itself."""
    description = str(schema.get("description") or field.description or "")
    default = field.get_default(call_default_factory=True, validated_data={})
    if field.is_required() or default in (None, (), {}, "", -1) or isinstance(default, BaseModel) or "default" in description.lower():
        return description
    return f"{description} Default: {_written(default)}."


def _written(default: Any) -> str:
    match default:
        case timedelta():
            return format_duration(default)
        case Enum():
            return str(default.value)
        case bool():
            return str(default).lower()
        case tuple():
            return f"[{', '.join(map(str, default))}]"
        case float():
            return f"{default:g}"
    return str(default)
