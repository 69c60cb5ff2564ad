"""Strategic merge patch: lists of builtin kinds merge by their keys, with directives for the rest.

Rules of apimachinery's pkg/util/strategicpatch: `$patch: replace|delete|merge`, `$retainKeys`, `$deleteFromPrimitiveList/FIELD`,
`$setElementOrder/FIELD`. Which lists merge, and by which key, comes from the kind's shape (`patchStrategy`, `patchMergeKey` of the Go types).
"""

from typing import Any, Final

from backstay.local.apiserver.gotext import go_text
from backstay.local.apiserver.shapes import Shape
from backstay.local.apiserver.status import StatusError, bad_request

_PATCH: Final = "$patch"
_RETAIN: Final = "$retainKeys"
_DELETE_FROM: Final = "$deleteFromPrimitiveList/"
_ORDER: Final = "$setElementOrder/"


def merge_map(original: dict[str, Any], patch: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """Return `original` with the patch merged in. Raises 400 and 500, as the real server does, for directives and items that make no sense."""
    directive = patch.get(_PATCH)
    if directive == "replace":
        return {name: _plain(value) for name, value in patch.items() if name != _PATCH and value is not None}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise StatusError(500, "", f"unknown patch type: {go_text(directive)} in map: {go_text(patch)}")
    merged = _retained(original, patch)
    for name, value in patch.items():
        if name in (_PATCH, _RETAIN) or name.startswith(_ORDER):
            continue
        if name.startswith(_DELETE_FROM):
            field = name.removeprefix(_DELETE_FROM)
            merged[field] = [item for item in merged.get(field) or () if item not in value]
        elif value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged_value(merged.get(name), value, shape.child(name))
    for name in [name for name in patch if name.startswith(_ORDER)]:
        _reorder(merged, original, name.removeprefix(_ORDER), patch, shape)
    return merged


def _retained(original: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    keys = patch.get(_RETAIN)
    if keys is None:
        return dict(original)
    if not isinstance(keys, list):
        raise bad_request(f"invalid retainKeys: {keys}: it must be a list of field names")
    return {name: value for name, value in original.items() if name in keys}


def _merged_value(old: Any, new: Any, shape: Shape) -> Any:
    if isinstance(new, dict):
        replaces = shape.patch_strategy and "merge" not in shape.patch_strategy and "replace" in shape.patch_strategy
        if replaces or not isinstance(old, dict):
            return merge_map({}, new, shape)
        return merge_map(old, new, shape)
    if isinstance(new, list) and "merge" in shape.patch_strategy:
        return _merge_list(old if isinstance(old, list) else [], new, shape)
    return _plain(new)


def _plain(value: Any) -> Any:
    """Return a value without directives and without nulls in maps, for places where there is nothing to merge with."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items() if inner is not None and not name.startswith("$")}
    if isinstance(value, list):
        return [_plain(item) for item in value if not (isinstance(item, dict) and item.get(_PATCH) == "delete")]
    return value


def _merge_list(original: list[Any], patch: list[Any], shape: Shape) -> list[Any]:
    key = shape.patch_key
    if not key:
        new = [item for index, item in enumerate(patch) if item not in original and item not in patch[:index]]
        return _ordered(original + new, patch, original, key)
    if any(isinstance(item, dict) and item.get(_PATCH) == "replace" and key not in item for item in patch):
        return [_plain(item) for item in patch if item.get(_PATCH) != "replace" or key in item]
    merged = list(original)
    for item in patch:
        _merge_item(merged, item, key, shape)
    return _ordered(merged, patch, original, key)


def _merge_item(merged: list[Any], item: Any, key: str, shape: Shape) -> None:
    if not isinstance(item, dict) or key not in item:
        raise StatusError(500, "", f"map: {go_text(item)} does not contain declared merge key: {key}")
    at = next((index for index, old in enumerate(merged) if isinstance(old, dict) and old.get(key) == item[key]), None)
    directive = item.get(_PATCH)
    if directive == "delete":
        if at is not None:
            del merged[at]
    elif at is None:
        merged.append(merge_map({}, {name: value for name, value in item.items() if name != _PATCH}, shape.item()))
    elif directive == "replace":
        merged[at] = _plain(item)
    else:
        merged[at] = merge_map(merged[at], item, shape.item())


def _reorder(merged: dict[str, Any], original: dict[str, Any], field: str, patch: dict[str, Any], shape: Shape) -> None:
    items = merged.get(field)
    if isinstance(items, list):
        merged[field] = _ordered(items, patch[_ORDER + field], original.get(field) or [], shape.child(field).patch_key)


def _ordered(items: list[Any], wanted: list[Any], original: list[Any], key: str) -> list[Any]:
    """Order items as the patch names them; those that it does not name come where they came before, else after (normalizeElementOrder)."""
    places = [_identity(item, key) for item in wanted]
    before = [_identity(item, key) for item in original]
    left = sorted((item for item in items if _identity(item, key) in places), key=lambda item: places.index(_identity(item, key)))
    right = [item for item in items if _identity(item, key) not in places]
    ordered: list[Any] = []
    while left and right:
        named, other = _identity(left[0], key), _identity(right[0], key)
        other_first = named in before and other in before and before.index(other) < before.index(named)
        ordered.append((right if other_first else left).pop(0))
    return ordered + left + right


def _identity(item: Any, key: str) -> Any:
    return item.get(key) if key and isinstance(item, dict) else item
