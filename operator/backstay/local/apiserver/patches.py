"""Patches by content type: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch. Server-side apply is in apply.py.

Failures are worded as apiserver's pkg/endpoints/handlers/patch.go words them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import jsonpatch
import jsonpointer

from backstay.local.apiserver import strategic
from backstay.local.apiserver.documents import DocumentError, load_json
from backstay.local.apiserver.shapes import shape_of
from backstay.local.apiserver.status import bad_request, too_large, unprocessable, unsupported_media_type

if TYPE_CHECKING:
    from backstay.local.apiserver.resources import Resource

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"

_MAX_OPERATIONS: Final = 10_000


def accepted_types(resource: Resource) -> tuple[str, ...]:
    """Return the patch types of a resource; custom resources have no strategic merge."""
    if resource.is_custom:
        return (JSON_PATCH, MERGE_PATCH, APPLY_PATCH)
    return (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)


def check_type(resource: Resource, content_type: str) -> str:
    """Return the patch type without its parameters. Raises 415 for one that the resource does not take."""
    patch_type = content_type.partition(";")[0].strip()
    accepted = accepted_types(resource)
    if patch_type not in accepted:
        raise unsupported_media_type(accepted)
    return patch_type


def patched(resource: Resource, current: dict[str, Any], patch_type: str, body: bytes) -> dict[str, Any]:
    """Return the object with the patch applied; `current` may be changed. Raises 400 for a bad patch, 422 for one that does not fit."""
    patch = _decode(body, patch_type)
    if patch_type == JSON_PATCH:
        result = _json_patched(current, patch)
    elif patch_type == MERGE_PATCH:
        result = merge_patched(current, patch)
    else:
        result = strategic.merge_map(current, patch, shape_of(resource))
    if not isinstance(result, dict) or not isinstance(result.get("metadata", {}), dict):
        raise unprocessable()
    result.setdefault("metadata", {})
    return result


def _decode(body: bytes, patch_type: str) -> Any:
    try:
        patch = load_json(body)
    except DocumentError as error:
        raise bad_request("invalid JSON patch") from error
    if patch_type == JSON_PATCH:
        if not isinstance(patch, list):
            raise bad_request(
                f"error decoding patch: json: cannot unmarshal {json_kind(patch)} into Go value of type []handlers.jsonPatchOp"
            )
        if len(patch) > _MAX_OPERATIONS:
            raise too_large(f"The allowed maximum operations in a JSON patch is {_MAX_OPERATIONS}, got {len(patch)}")
    elif not isinstance(patch, dict):
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {json_kind(patch)} into Go value of type map[string]interface {{}}"
        )
    return patch


def json_kind(value: Any) -> str:
    """Return what Go calls the type of a JSON value."""
    names = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}
    return names.get(type(value), "null")


def _json_patched(current: dict[str, Any], operations: list[Any]) -> Any:
    if not all(isinstance(operation, dict) for operation in operations):
        raise bad_request("error decoding patch: json: cannot unmarshal into Go value of type handlers.jsonPatchOp")
    result: Any = current
    try:
        for operation in operations:
            result = jsonpatch.JsonPatch([_as_go_does(result, operation)]).apply(result, in_place=True)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, KeyError, TypeError, IndexError) as error:
        raise unprocessable() from error
    return result


def _as_go_does(target: Any, operation: dict[str, Any]) -> dict[str, Any]:
    """Return an operation as evanphx/json-patch v4 carries it out: `replace` of a member that is not there adds it."""
    if operation.get("op") != "replace":
        return operation
    parent, name = jsonpointer.JsonPointer(operation["path"]).to_last(target)
    return operation | {"op": "add"} if isinstance(parent, dict) and name is not None and name not in parent else operation


def merge_patched(target: Any, patch: Any) -> Any:
    """RFC 7386: null removes, maps merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patched(merged.get(name), value)
    return merged
