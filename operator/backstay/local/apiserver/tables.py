"""Tables: what `kubectl get` shows, made at the server (`Accept: application/json;as=Table;v=v1;g=meta.k8s.io`).

Custom resources show the `additionalPrinterColumns` of their definition, builtin kinds the columns of printers.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from backstay.local.apiserver.gotext import go_text
from backstay.local.apiserver.jsonpath import JSONPathError, find
from backstay.local.apiserver.printers import DEFAULT, PRINTERS, Printer, column, since
from backstay.local.apiserver.resources import Resource

_META: Final = "meta.k8s.io"
_POD_CONDITIONS: Final = {
    "Succeeded": {"type": "Completed", "status": "True", "reason": "Succeeded", "message": "The pod has completed successfully."},
    "Failed": {"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."},
}


def table(
    resource: Resource,
    objects: Iterable[Mapping[str, Any]],
    metadata: Mapping[str, Any],
    now: datetime,
    *,
    include_object: str = "",
    headers: bool = True,
    version: str = "v1",
) -> dict[str, Any]:
    """Return a metav1.Table of objects.

    `metadata` is the list's (resourceVersion, continue) or of the one object its resourceVersion; `include_object` is None, Metadata
    (the default) or Object; later tables of one watch come without `headers`.
    """
    printer = printer_of(resource)
    made: dict[str, Any] = {"kind": "Table", "apiVersion": f"{_META}/{version}", "metadata": dict(metadata)}
    made["columnDefinitions"] = list(printer.columns) if headers else None
    made["rows"] = [_row(printer, obj, now, include_object, version) for obj in objects]
    return made


def _row(printer: Printer, obj: Mapping[str, Any], now: datetime, include_object: str, version: str) -> dict[str, Any]:
    row: dict[str, Any] = {"cells": list(printer.cells(obj, now))}
    phase = (obj.get("status") or {}).get("phase") if obj.get("kind") == "Pod" else None
    if phase in _POD_CONDITIONS:
        row["conditions"] = [_POD_CONDITIONS[phase]]
    if include_object == "Object":
        row["object"] = obj
    else:
        row["object"] = None if include_object == "None" else partial(obj, version)
    return row


def partial(obj: Mapping[str, Any], version: str = "v1") -> dict[str, Any]:
    """Return an object's metadata alone, as PartialObjectMetadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": f"{_META}/{version}", "metadata": obj["metadata"]}


def partial_list(objects: Iterable[Mapping[str, Any]], metadata: Mapping[str, Any], version: str = "v1") -> dict[str, Any]:
    """Return objects as a PartialObjectMetadataList."""
    items = [partial(obj, version) for obj in objects] or None
    return {"kind": "PartialObjectMetadataList", "apiVersion": f"{_META}/{version}", "metadata": dict(metadata), "items": items}


def printer_of(resource: Resource) -> Printer:
    """Return the columns of a resource and how to fill them."""
    if not resource.is_custom:
        group = "" if resource.group == "events.k8s.io" else resource.group
        return PRINTERS.get((group, resource.plural), DEFAULT)
    columns = resource.columns or ({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},)

    def cells(obj: Mapping[str, Any], now: datetime) -> list[Any]:
        return [obj["metadata"].get("name", ""), *(_cell(each, obj, now) for each in columns)]

    return Printer((column("Name"), *(_definition(each) for each in columns)), cells)


def _definition(given: Mapping[str, Any]) -> dict[str, Any]:
    description = given.get("description") or f"Custom resource definition column (in JSONPath format): {given['jsonPath']}"
    shown = {"name": given["name"], "type": given["type"], "format": given.get("format", "")}
    return {**shown, "description": description, "priority": given.get("priority", 0)}


def _cell(given: Mapping[str, Any], obj: Mapping[str, Any], now: datetime) -> Any:
    try:
        found = find(given["jsonPath"], obj)
    except JSONPathError:
        return None
    if not found:
        return None
    value = found[0]
    if given["type"] == "string":
        return go_text(value)
    return _typed_cell(given["type"], value, now)


def _typed_cell(type_: str, value: Any, now: datetime) -> Any:
    match type_:
        case "integer" if isinstance(value, int | float) and not isinstance(value, bool):
            return int(value)
        case "number" if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        case "boolean" if isinstance(value, bool):
            return value
        case "date" if isinstance(value, str):
            return since(value, now)
    return None
