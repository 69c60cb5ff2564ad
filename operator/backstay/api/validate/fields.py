"""The fields that a place in a manifest may have, read from the models: for did-you-mean, and for telling where a misplaced field belongs."""

from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from backstay.api.base import Model


@cache
def fields_of(model: type[Model]) -> dict[str, Any]:
    """Return the fields of a model by the name that manifests use, each with its type."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def model_at(root: type[Model], location: tuple[str | int, ...]) -> type[Model] | None:
    """Return the model that a place in a manifest is read with, or None where that place is no model."""
    found: Any = root
    for name in location:
        inner = _inner(found)
        if isinstance(inner, type) and issubclass(inner, Model):
            found = fields_of(inner).get(str(name))
        elif get_origin(inner) in (tuple, list, dict):
            found = get_args(inner)[-1 if get_origin(inner) is dict else 0]
        else:
            return None
    inner = _inner(found)
    return inner if isinstance(inner, type) and issubclass(inner, Model) else None


def owner_of(model: type[Model], name: str) -> str | None:
    """Return the field of a model that takes what has a field `name`: `image` belongs into `job`."""
    for field, annotation in fields_of(model).items():
        inner = _inner(annotation)
        if isinstance(inner, type) and issubclass(inner, Model) and name in fields_of(inner):
            return field
    return None


def _inner(annotation: Any) -> Any:
    """Take `Annotated` and `| None` off a type."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Union, UnionType):
            parts = [part for part in get_args(annotation) if part is not type(None)]
            if len(parts) != 1:
                return annotation
            annotation = parts[0]
        else:
            return annotation
