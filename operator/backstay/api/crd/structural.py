"""From JSON Schema as pydantic writes it to the structural schemas of a CRD.

What Kubernetes does not take is rewritten: `$ref` is written out, `null` as an alternative means optional, numbers as exclusive bounds become
inclusive ones, `additionalProperties: false` goes (pruning does that work). Defaults are told in the descriptions and never written into
objects: a manifest stays as its author wrote it.
(kubernetes.io: Extend the Kubernetes API with CustomResourceDefinitions, "Specifying a structural schema")
"""

from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from backstay.api.base import Model, format_duration
from backstay.api.crd.rules import alternatives_of, rules_of

Schema = dict[str, Any]

_KEPT: Final = (
    *("type", "format", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "enum", "required"),
    *("x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
)
_KEYED_BY_NAME: Final = frozenset({"Step", "Branch", "Parameter", "Output", "EnvVar"})
"""Models in lists in which each name stands once: Kubernetes refuses a second one, and merges by name."""
_STEP: Final = "Step"
_ASIDE: Final = frozenset({"Catch", "Compensate"})
"""Steps in these count as one level deeper: every typed list of steps in a step makes the schema of that level larger by as much again."""


def structural(model: type[Model], step_levels: int, models: Mapping[str, type[BaseModel]]) -> Schema:
    """Return the structural schema of a model in which `step_levels` lists of steps inside each other are typed.

    `models` holds every model by its name, for rules and defaults.
    """
    written = model.model_json_schema(by_alias=True)
    return _Writer(written.get("$defs", {}), models).object(model.__name__, written, step_levels, "", is_listed=False)


class _Writer:
    """Rewrites one JSON Schema, with its definitions."""

    def __init__(self, definitions: Mapping[str, Schema], models: Mapping[str, type[BaseModel]]) -> None:
        self._definitions = definitions
        self._models = models

    def object(self, name: str, schema: Schema, levels: int, description: str, *, is_listed: bool) -> Schema:
        """Return the schema of a model; `is_listed` says that it stands where rules in CEL would cost the API server too much."""
        levels = max(levels - 1, 0) if name in _ASIDE else levels
        fields = {field.alias or key: field for key, field in self._models[name].model_fields.items()}
        found: Schema = {"description": description or schema.get("description", ""), "type": "object"}
        if "required" in schema:
            found["required"] = schema["required"]
        found["properties"] = {
            key: self.value(below, levels, _told(below, fields[key]), is_listed=is_listed)
            for key, below in schema.get("properties", {}).items()
        }
        found |= alternatives_of(self._models[name]) if is_listed else rules_of(self._models[name])
        return found

    def value(self, schema: Schema, levels: int, description: str, *, is_listed: bool) -> Schema:
        """Return the schema of any value."""
        schema = _without_null(schema)
        if reference := schema.get("$ref"):
            name = reference.rpartition("/")[2]
            below = self._definitions[name]
            if "properties" in below:
                return self.object(name, below, levels, description, is_listed=is_listed)
            schema = below | {key: value for key, value in schema.items() if key != "$ref"}
        found: Schema = {"description": description} if description else {}
        found |= {key: schema[key] for key in _KEPT if key in schema}
        if "exclusiveMinimum" in schema:
            found["minimum"] = schema["exclusiveMinimum"] + 1
        if _is_integer_or_text(schema):
            found["x-kubernetes-int-or-string"] = True
        if "items" in schema:
            found |= self._list(schema["items"], levels, is_listed=is_listed)
        if isinstance(values := schema.get("additionalProperties"), dict):
            found["additionalProperties"] = self.value(values, levels, "", is_listed=True)
        return found

    def _list(self, items: Schema, levels: int, *, is_listed: bool) -> Schema:
        name = items.get("$ref", "").rpartition("/")[2]
        keys: Schema = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]} if name in _KEYED_BY_NAME else {}
        if name != _STEP:
            return keys | {"items": self.value(items, levels, "", is_listed=is_listed or name in ("EnvVar",))}
        if not levels:
            return keys | {"items": self._untyped_step()}
        step = self.object(name, self._definitions[name], levels - 1, "", is_listed=is_listed)
        return keys | {"items": step}

    def _untyped_step(self) -> Schema:
        name = self._definitions[_STEP]["properties"]["name"]
        return {
            "description": "A step like those further out. It is checked by the operator and by backstay lint; a schema cannot nest without end.",
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
    return alternatives[0] | {key: value for key, value in schema.items() if key not in ("anyOf", "title", "default")}


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
