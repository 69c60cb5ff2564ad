"""A custom resource to try things on: Widgets of example.com, with a status subresource, lists of every type, columns and selectable fields."""

from typing import Any

CRD = "customresourcedefinitions"
CRDS_PATH = f"/apis/apiextensions.k8s.io/v1/{CRD}"
API_VERSION = "example.com/v1"
WIDGETS_PATH = "/apis/example.com/v1/namespaces/{namespace}/widgets"

_STRING = {"type": "string"}
_PART = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": _STRING, "size": {"type": "integer", "minimum": 0}, "note": {**_STRING, "default": "none"}},
}
_SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "x-kubernetes-validations": [{"rule": "!has(oldSelf.color) || self.color == oldSelf.color", "message": "color is immutable"}],
            "properties": {
                "color": {**_STRING, "enum": ["red", "green", "blue"]},
                "size": {"type": "integer", "default": 1, "maximum": 100},
                "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": _PART},
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": _STRING},
                "steps": {"type": "array", "items": {"type": "object", "properties": {"name": _STRING}}},
                "labels": {"type": "object", "additionalProperties": _STRING},
                "link": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"to": _STRING, "by": _STRING}},
                "anything": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        "status": {
            "type": "object",
            "properties": {
                "phase": _STRING,
                "count": {"type": "integer"},
                "since": {**_STRING, "format": "date-time"},
                "conditions": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["type"],
                    "items": {"type": "object", "required": ["type", "status"], "properties": {"type": _STRING, "status": _STRING}},
                },
            },
        },
    },
}
_COLUMNS = [
    {"name": "Color", "type": "string", "jsonPath": ".spec.color"},
    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "Since", "type": "date", "jsonPath": ".status.since"},
    {"name": "Parts", "type": "string", "jsonPath": ".spec.parts[*].name", "priority": 1, "description": "names of the parts"},
]


def definition(**spec: Any) -> dict[str, Any]:
    """Return the CustomResourceDefinition; keyword arguments go over its spec."""
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _SCHEMA},
        "subresources": {"status": {}},
        "additionalPrinterColumns": _COLUMNS,
        "selectableFields": [{"jsonPath": ".spec.color"}],
    }
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"], "categories": ["things"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version], **spec},
    }


def widget(name: str = "", **parts: Any) -> dict[str, Any]:
    """Return a Widget; keyword arguments are its top-level fields, `metadata` is merged with the name."""
    metadata = ({"name": name} if name else {}) | parts.pop("metadata", {})
    return {"apiVersion": API_VERSION, "kind": "Widget", "metadata": metadata, **parts}
