"""From one status to the next with as little as possible on the wire: a JSON Patch (RFC 6902) of the fields that changed.

A JSON Patch, and not a merge patch, because a merge patch cannot say null, and outputs may hold it. The first operation
replaces resourceVersion by the one that the decision was made on: the API server answers 409 when it is not the newest.
"""

from collections.abc import Mapping
from typing import Any

from backstay.engine.codec import alike

Patch = list[dict[str, Any]]


def status_patch(run: Mapping[str, Any], status: Mapping[str, Any]) -> Patch:
    """Return the patch that turns a run's status into `status`; lists of steps and entries are patched item by item."""
    before = run.get("status")
    patch: Patch = [{"op": "replace", "path": "/metadata/resourceVersion", "value": run["metadata"]["resourceVersion"]}]
    if before is None:
        return [*patch, {"op": "add", "path": "/status", "value": dict(status)}]
    for name in before:
        if name not in status:
            patch.append({"op": "remove", "path": f"/status/{name}"})
    for name, value in status.items():
        if name in before and alike(before[name], value):
            continue
        if name == "steps" and isinstance(before.get(name), list):
            patch.extend(_items("/status/steps", before[name], value))
        elif name == "journal" and isinstance(before.get(name), Mapping):
            patch.extend(_journal("/status/journal", before[name], value))
        else:
            patch.append({"op": "add", "path": f"/status/{name}", "value": value})
    return patch


def _items(path: str, before: list[Any], after: list[Any]) -> Patch:
    """Steps are mostly changed or added at the end; where many are not what they were, the list is replaced."""
    changed: Patch = [
        {"op": "replace", "path": f"{path}/{index}", "value": value}
        for index, (old, value) in enumerate(zip(before, after, strict=False))
        if not alike(old, value)
    ]
    if len(after) < len(before) or 2 * len(changed) > len(before):
        return [{"op": "replace", "path": path, "value": after}]
    return changed + _added(path, after[len(before) :])


def _journal(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Patch:
    """Entries are added at the end; when older ones leave, or anything else has changed, all is replaced."""
    old, new = before.get("entries"), after.get("entries")
    grown = isinstance(old, list) and isinstance(new, list) and len(old) <= len(new) and all(map(alike, old, new))
    others = {key: value for key, value in before.items() if key not in ("entries", "head")}
    if not grown or others != {key: value for key, value in after.items() if key not in ("entries", "head")} or "head" not in after:
        return [{"op": "add", "path": path, "value": after}]
    return [{"op": "add", "path": f"{path}/head", "value": after["head"]}, *_added(f"{path}/entries", (new or [])[len(old or []) :])]


def _added(path: str, values: list[Any]) -> Patch:
    return [{"op": "add", "path": f"{path}/-", "value": value} for value in values]
