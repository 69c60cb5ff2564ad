"""Server-side apply: who manages which field, conflicts, and giving fields up (KEP-555; apimachinery's util/managedfields).

As apimachinery's `skipNonApplied` manager does at its lowest setting, an object has no `managedFields` until somebody applies to it; then
what was there belongs to `before-first-apply`, and from then on every write is recorded. Objects that nobody applies to, which are nearly
all that an operator writes, cost nothing. What `kubectl apply` set client-side, and is still as it set it, belongs to its own manager, which
kubectl looks for when it moves on to server-side apply.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import orjson

from backstay.local.apiserver.fields import go_quote as quote
from backstay.local.apiserver.fieldsets import (
    Path,
    Paths,
    ShapeError,
    compare,
    decode,
    encode,
    field_set,
    in_order,
    merge,
    path_text,
    remove,
    subtract,
    undeclared,
)
from backstay.local.apiserver.fieldsets import with_named_parents as named
from backstay.local.apiserver.shapes import Shape
from backstay.local.apiserver.status import Cause, StatusError, apply_conflict, bad_request

BEFORE_FIRST_APPLY: Final = "before-first-apply"
CLIENT_SIDE: Final = "kubectl-client-side-apply"
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
OLD_UPDATERS: Final = "ancient-changes"
MAX_UPDATERS: Final = 10
_STRIPPED: Final[Paths] = {
    ("f:apiVersion",),
    ("f:kind",),
    ("f:metadata",),
    *(
        ("f:metadata", f"f:{name}")
        for name in ("name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion")
    ),
}
"""Fields that nobody manages."""


class ManagerKey(NamedTuple):
    """What tells managers apart. `api_version` is empty for appliers, which keep their entry when they change version."""

    name: str
    operation: str
    subresource: str
    api_version: str

    def __str__(self) -> str:
        text = quote(self.name) + (f" with subresource {quote(self.subresource)}" if self.subresource else "")
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


@dataclass(frozen=True, slots=True)
class Managed:
    """What a manager manages: its fields, at which API version, since when (RFC 3339)."""

    paths: Paths
    api_version: str
    time: str


Managers = dict[ManagerKey, Managed]


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, through which endpoint, and when: manager name, API version, subresource, RFC 3339 time."""

    name: str
    api_version: str
    subresource: str
    time: str

    def key(self, operation: str) -> ManagerKey:
        """Return the writer's entry key for an `Apply` or `Update`."""
        return ManagerKey(self.name or "unknown", operation, self.subresource, "" if operation == "Apply" else self.api_version)


def read_managers(obj: Mapping[str, Any]) -> Managers:
    """Decode `metadata.managedFields`; entries that cannot be read count as none."""
    managers: Managers = {}
    for entry in obj.get("metadata", {}).get("managedFields") or ():
        operation, version = entry.get("operation"), entry.get("apiVersion", "")
        if operation not in ("Apply", "Update") or entry.get("fieldsType") != "FieldsV1":
            return {}
        key = ManagerKey(entry.get("manager", ""), operation, entry.get("subresource", ""), "" if operation == "Apply" else version)
        managers[key] = Managed(decode(entry.get("fieldsV1") or {}), version, entry.get("time", ""))
    return managers


def write_managers(obj: dict[str, Any], managers: Managers) -> None:
    """Put the managers into `metadata.managedFields`, appliers first; none removes the field."""
    entries = [_entry(key, managed) for key, managed in managers.items() if managed.paths]
    entries.sort(key=lambda entry: (entry["operation"], entry.get("time", ""), entry["manager"], entry.get("subresource", "")))
    if entries:
        obj["metadata"]["managedFields"] = entries
    else:
        obj["metadata"].pop("managedFields", None)


def _entry(key: ManagerKey, managed: Managed) -> dict[str, Any]:
    entry = {
        "manager": key.name,
        "operation": key.operation,
        "apiVersion": managed.api_version,
        "time": managed.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": encode(managed.paths),
    }
    return entry | {"subresource": key.subresource} if key.subresource else entry


# ── ordinary writes ─────────────────────────────────────────────────────────────────────────────


def record_update(live: Mapping[str, Any], new: dict[str, Any], shape: Shape, writer: Writer, ignored: tuple[Path, ...]) -> None:
    """Record in `new` what an ordinary write (PUT, PATCH) took over, where the live object is managed at all.

    `new` may bring its own managedFields, to edit or (with an empty list) to clear them; a subresource's are never believed.
    """
    given = new["metadata"].pop("managedFields", None)
    if not live.get("metadata", {}).get("managedFields"):
        return
    if given in ([], [{}]) and not writer.subresource:
        return
    managers = read_managers({"metadata": {"managedFields": given}}) if given and not writer.subresource else {}
    managers = managers or read_managers(live)
    before = {"metadata": {}} | {key: value for key, value in live.items() if key != "metadata"}
    before["metadata"] = {key: value for key, value in live["metadata"].items() if key != "managedFields"}
    _update(before, new, shape, managers, writer, ignored)
    write_managers(new, _capped(managers))


def _update(before: Any, after: Any, shape: Shape, managers: Managers, writer: Writer, ignored: tuple[Path, ...]) -> None:
    change = compare(before, after, shape).without(ignored)
    _take(managers, None, change.modified | change.added, change.removed)
    mine = (change.modified | change.added) - _STRIPPED
    if mine:
        key = writer.key("Update")
        previous = managers[key].paths if key in managers else set()
        managers[key] = Managed(previous | mine, writer.api_version, writer.time)


def _take(managers: Managers, but: ManagerKey | None, taken: Paths, removed: Paths) -> None:
    for key, managed in list(managers.items()):
        if key != but:
            managers[key] = replace(managed, paths=managed.paths - taken - removed)
    for key in [key for key, managed in managers.items() if not managed.paths]:
        del managers[key]


def _capped(managers: Managers) -> Managers:
    updaters = sorted((key for key in managers if key.operation == "Update"), key=lambda key: (managers[key].time, key))
    for key in updaters[: max(0, len(updaters) - MAX_UPDATERS)]:
        managed = managers.pop(key)
        bucket = ManagerKey(OLD_UPDATERS, "Update", "", key.api_version)
        old = managers[bucket].paths if bucket in managers else set()
        managers[bucket] = replace(managed, paths=old | managed.paths)
    return managers


# ── apply ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Kind:
    """What apply has to know of a kind and an endpoint.

    `ignored` are prefixes that the endpoint resets, `defaulted` returns a configuration with the kind's defaults, and `subject` names the
    object in messages ("ns/name; batch/v1, Kind=Job").
    """

    shape: Shape
    ignored: tuple[Path, ...]
    defaulted: Callable[[dict[str, Any]], Mapping[str, Any]]
    subject: str


def apply(live: Mapping[str, Any], config: dict[str, Any], kind: Kind, writer: Writer, *, force: bool) -> dict[str, Any]:
    """Return `live` with the applied configuration merged in, fields given up removed, and managedFields kept.

    `live` is {} (with or without metadata) for an object that does not exist yet. Raises 400 for managedFields in the configuration, 409
    for fields of others without `force`, and 500, as the real server does, for fields that the schema does not declare.
    """
    if config.get("metadata", {}).get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    try:
        if problems := undeclared(config, kind.shape):
            raise ShapeError(problems)
        return _apply(live, config, kind, writer, force)
    except ShapeError as error:
        raise StatusError(500, "", f"failed to create typed patch object ({kind.subject}): {error}") from error


def _apply(live: Mapping[str, Any], config: dict[str, Any], kind: Kind, writer: Writer, force: bool) -> dict[str, Any]:
    current = {**live, "metadata": {key: value for key, value in live.get("metadata", {}).items() if key != "managedFields"}}
    managers = read_managers(live) or _before_first_apply(current, kind, writer)
    key = writer.key("Apply")
    before = managers.get(key)
    last = before.paths if before else set()
    mine = subtract(field_set(config, kind.shape), kind.ignored)
    managers[key] = Managed(mine, writer.api_version, writer.time)
    merged = _give_up(merge(current, config, kind.shape), kind.shape, managers, last)
    change = compare(current, merged, kind.shape).without(kind.ignored)
    changed = change.modified | change.added
    if not force:
        _refuse_conflicts(managers, key, changed, current, kind, writer)
    _take(managers, key, changed, change.removed)
    if key in managers:
        time = before.time if before and merged == current and last == mine - _STRIPPED else writer.time
        managers[key] = Managed(mine - _STRIPPED, writer.api_version, time)
    _keep_last_applied(merged, config, writer)
    write_managers(merged, managers)
    return merged


def _before_first_apply(live: dict[str, Any], kind: Kind, writer: Writer) -> Managers:
    """Return who manages an object that nobody has applied to: kubectl what it applied client-side, and nobody in particular the rest."""
    if not live["metadata"].get("uid"):
        return {}
    everything = field_set(live, kind.shape) - _STRIPPED
    client_side = _last_applied_fields(live, kind, writer.api_version) & everything
    sets = {CLIENT_SIDE: client_side, BEFORE_FIRST_APPLY: everything - client_side}
    since = live["metadata"].get("creationTimestamp", writer.time)
    entries = {
        ManagerKey(name, "Update", "", writer.api_version): Managed(paths, writer.api_version, since) for name, paths in sets.items()
    }
    return {key: managed for key, managed in entries.items() if managed.paths}


def _give_up(merged: dict[str, Any], shape: Shape, managers: Managers, last: Paths) -> dict[str, Any]:
    """Remove what the applier applied last time, not now, and nobody else manages (structured-merge-diff: prune)."""
    if not last:
        return merged
    owned: Paths = set().union(*(managed.paths for managed in managers.values()))
    everything = named(field_set(merged, shape), shape)
    pruned = remove(merged, shape, named(last, shape))
    left = named(field_set(pruned, shape), shape) if isinstance(pruned, dict) else set()
    pruned = remove(merged, shape, everything - (left | named(owned, shape)))
    left = named(field_set(pruned, shape), shape) if isinstance(pruned, dict) else set()
    result: dict[str, Any] = remove(merged, shape, (everything - left) & named(last, shape))
    return result


def _refuse_conflicts(managers: Managers, mine: ManagerKey, changed: Paths, live: dict[str, Any], kind: Kind, writer: Writer) -> None:
    conflicts = [
        (key, path) for key, managed in sorted(managers.items()) if key != mine for path in sorted(managed.paths & changed, key=in_order)
    ]
    if conflicts and writer.name == "kubectl":
        allowed = _last_applied_fields(live, kind, writer.api_version)
        conflicts = [(key, path) for key, path in conflicts if path not in allowed]
    if not conflicts:
        return
    causes = [Cause("FieldManagerConflict", f"conflict with {key}", path_text(path)) for key, path in conflicts]
    if len(conflicts) == 1:
        raise apply_conflict(f"Apply failed with 1 conflict: conflict with {conflicts[0][0]}: {path_text(conflicts[0][1])}", causes)
    lines: list[str] = []
    for key in dict.fromkeys(key for key, _ in conflicts):
        lines += [f"conflicts with {key}:", *(f"- {path_text(path)}" for other, path in conflicts if other == key)]
    raise apply_conflict(f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines), causes)


def _last_applied_fields(live: Mapping[str, Any], kind: Kind, api_version: str) -> Paths:
    """Fields that `kubectl apply` set client-side and that are still as it set them: server-side kubectl may take those over."""
    text = live.get("metadata", {}).get("annotations", {}).get(LAST_APPLIED)
    if not text:
        return set()
    try:
        applied = kind.defaulted(orjson.loads(text))
        if applied.get("apiVersion") != api_version:
            return set()
        change = compare(applied, live, kind.shape)
        same = field_set(applied, kind.shape) - change.modified - change.added - change.removed - _STRIPPED
        return same | {("f:metadata", "f:annotations", f"f:{LAST_APPLIED}")}
    except (orjson.JSONDecodeError, AttributeError, TypeError, ShapeError):
        return set()


def _keep_last_applied(merged: dict[str, Any], config: Mapping[str, Any], writer: Writer) -> None:
    annotations = merged["metadata"].get("annotations") or {}
    if writer.name != "kubectl" or not annotations.get(LAST_APPLIED):
        return
    applied = {**config, "metadata": {**config.get("metadata", {})}}
    applied["metadata"]["annotations"] = {k: v for k, v in (applied["metadata"].get("annotations") or {}).items() if k != LAST_APPLIED}
    merged["metadata"]["annotations"] = {**annotations, LAST_APPLIED: orjson.dumps(applied).decode() + "\n"}
