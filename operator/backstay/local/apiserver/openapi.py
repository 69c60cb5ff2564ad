"""OpenAPI: an index of documents, one a group and version (v3), and one of everything (v2).

kubectl reads them for `explain`, to learn whether the server validates fields and does dry runs (it looks for the query parameters of
PATCH), and to merge lists in `apply`. Paths are as many as that takes, not all. Types of builtin kinds come from gotypes.txt and have no
descriptions; those of custom resources come from their schemas, descriptions and all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson

from backstay.local.apiserver.openapi_types import closure, component_name, custom_schema, kind_schema, list_schema
from backstay.local.apiserver.resources import Registry, Resource
from backstay.local.apiserver.shapes import go_name, go_structs

VERSION: Final = "v1.37.2"
"""The Kubernetes version that the embedded server speaks like."""

_JSON_PATCH: Final = "application/json-patch+json"
_MERGE_PATCH: Final = "application/merge-patch+json"
_STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
_APPLY_PATCH: Final = "application/apply-patch+yaml"
_WRITE_PARAMETERS: Final = ("dryRun", "fieldManager", "fieldValidation", "pretty")


def index(registry: Registry) -> dict[str, Any]:
    """Return `/openapi/v3`: the path of each document with the hash of its content, so that clients may keep it for ever."""
    return registry.remembered("openapi/index", lambda: {"paths": {path: _entry(registry, path) for path in _paths(registry)}})


def document(registry: Registry, path: str) -> dict[str, Any] | None:
    """Return `/openapi/v3/PATH` (`api/v1`, `apis/batch/v1`), or None where nothing is served there."""
    if path not in _paths(registry):
        return None
    return registry.remembered(("openapi", path), lambda: _document(registry, path))


def v2(registry: Registry) -> dict[str, Any]:
    """Return `/openapi/v2`: all definitions in one document, for clients that know no v3."""
    return registry.remembered("openapi/v2", lambda: _v2(registry))


def _paths(registry: Registry) -> list[str]:
    return list(dict.fromkeys(_path(resource) for resource in registry.all()))


def _path(resource: Resource) -> str:
    return f"apis/{resource.api_version}" if resource.group else f"api/{resource.version}"


def _entry(registry: Registry, path: str) -> dict[str, str]:
    content = orjson.dumps(document(registry, path), option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(content).hexdigest()[:64].upper()
    return {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}


def _document(registry: Registry, path: str) -> dict[str, Any]:
    resources = [resource for resource in registry.all() if _path(resource) == path]
    paths: dict[str, Any] = {}
    for resource in resources:
        paths |= dict(_operations(resource))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": paths,
        "components": {"schemas": _schemas(resources)},
    }


def _schemas(resources: list[Resource]) -> dict[str, Any]:
    schemas: dict[str, Any] = {}
    for resource in resources:
        struct = go_name(resource.group, resource.version, resource.kind)
        if resource.is_custom:
            schemas[component_name(resource)] = custom_schema(resource)
        elif struct in go_structs():
            schemas[component_name(resource)] = kind_schema(resource)
        else:
            schemas[component_name(resource)] = {"type": "object", "x-kubernetes-group-version-kind": [gvk(resource)]}
        if "list" in resource.verbs:
            schemas[f"{component_name(resource)}List"] = list_schema(resource)
    return dict(sorted((schemas | closure(schemas)).items()))


def gvk(resource: Resource) -> dict[str, str]:
    """Return group, version and kind as the extension `x-kubernetes-group-version-kind` has them."""
    return {"group": resource.group, "kind": resource.kind, "version": resource.version}


def _operations(resource: Resource) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the paths of a resource: the collection, the object, and the object's status."""
    scope = "namespaces/{namespace}/" if resource.namespaced else ""
    collection = f"/{_path(resource)}/{scope}{resource.plural}"
    if "list" not in resource.verbs:
        yield collection, {"post": _operation(resource, "create")}
        return
    if resource.namespaced:
        yield f"/{_path(resource)}/{resource.plural}", {"get": _operation(resource, "list")}
    yield (
        collection,
        {verb: _operation(resource, action) for verb, action in (("get", "list"), ("post", "create"), ("delete", "deletecollection"))},
    )
    verbs = (("get", "get"), ("put", "update"), ("patch", "patch"), ("delete", "delete"))
    yield f"{collection}/{{name}}", {verb: _operation(resource, action) for verb, action in verbs}
    if "status" in resource.subresources:
        yield f"{collection}/{{name}}/status", {verb: _operation(resource, action) for verb, action in verbs[:3]}


_ACTIONS: Final[Mapping[str, str]] = {"create": "post", "update": "put"}


def _operation(resource: Resource, action: str) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{component_name(resource)}{'List' if action == 'list' else ''}"}
    content = {"application/json": {"schema": reference}}
    operation: dict[str, Any] = {
        "responses": {"200": {"description": "OK", "content": content}},
        "x-kubernetes-action": _ACTIONS.get(action, action),
        "x-kubernetes-group-version-kind": gvk(resource),
    }
    if action in ("create", "update", "patch"):
        operation["parameters"] = [_parameter(name) for name in (*_WRITE_PARAMETERS, *(["force"] if action == "patch" else []))]
        operation["requestBody"] = {"required": True, "content": _patches(resource) if action == "patch" else content}
    return operation


def _parameter(name: str) -> dict[str, Any]:
    kind = "boolean" if name == "force" else "string"
    return {"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": True}}


def _patches(resource: Resource) -> dict[str, Any]:
    kinds = [_APPLY_PATCH, _JSON_PATCH, _MERGE_PATCH] + ([] if resource.is_custom else [_STRATEGIC_PATCH])
    return {kind: {"schema": {"type": "object"}} for kind in kinds}


def _v2(registry: Registry) -> dict[str, Any]:
    definitions = _map_strings(_schemas(registry.all()), lambda text: text.replace("#/components/schemas/", "#/definitions/"))
    return {"swagger": "2.0", "info": {"title": "Kubernetes", "version": VERSION}, "paths": {}, "definitions": definitions}


def _map_strings(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _map_strings(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_map_strings(item, change) for item in value]
    return change(value) if isinstance(value, str) else value
