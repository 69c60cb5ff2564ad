"""From one status to the next with as little as possible on the wire: a JSON Patch (RFC 6902) of the fields that changed.

A JSON Patch, and not a merge patch, because a merge patch cannot say null, and outputs may hold it. The first operation
replaces resourceVersion by the one that the decision was made on: the API server answers 409 when it is not the newest.
"""

from collections.abc import Mapping
from typing import Any

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
        if name in before and before[name] == value:
            continue
        if name == "steps" and isinstance(before.get(name), list):
            patch.extend(_items("/status/steps", before[name], value))
        else:
            patch.append({"op": "add", "path": f"/status/{name}", "value": value})
    return patch


def _items(path: str, before: list[Any], after: list[Any]) -> Patch:
    """Steps are only ever changed or added at the end; anything else replaces the list."""
    if len(after) < len(before):
        return [{"op": "replace", "path": path, "value": after}]
    changed: Patch = [
        {"op": "replace", "path": f"{path}/{index}", "value": value}
        for index, (old, value) in enumerate(zip(before, after, strict=False))
        if old != value
    ]
    return changed + [{"op": "add", "path": f"{path}/-", "value": value} for value in after[len(before) :]]
