"""CustomResourceDefinitions: from the object to what is served, its defaults, and its status.

The status is what the server's naming and establishing controllers (apiextensions-apiserver v1.37) arrive at, in one step instead of two.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from backstay.local.apiserver.fields import go_quote
from backstay.local.apiserver.resource import VERBS, Resource, version_order

_NAME_FIELDS: Final = ("plural", "singular", "kind", "listKind")
_CONFLICT_REASONS: Final = {
    "plural": "PluralConflict",
    "singular": "SingularConflict",
    "kind": "KindConflict",
    "listKind": "ListKindConflict",
}


def resources_of(crd: Mapping[str, Any]) -> list[Resource]:
    """Return a Resource for each served version of an established CustomResourceDefinition, or nothing where it is not established."""
    if not is_established(crd):
        return []
    spec = crd["spec"]
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    return [_resource(crd, version, storage) for version in spec["versions"] if version.get("served")]


def _resource(crd: Mapping[str, Any], version: Mapping[str, Any], storage: str) -> Resource:
    spec, names = crd["spec"], crd["status"]["acceptedNames"]
    subresources = version.get("subresources") or {}
    return Resource(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"],
        singular=names.get("singular") or names["kind"].lower(),
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=frozenset(name for name in ("status", "scale") if subresources.get(name) is not None),
        schema=version["schema"]["openAPIV3Schema"],
        columns=tuple(version.get("additionalPrinterColumns") or ()),
        selectable_fields=tuple(field["jsonPath"] for field in version.get("selectableFields") or ()),
        storage_version=storage,
        verbs=VERBS,
        list_kind=names.get("listKind") or f"{names['kind']}List",
        scale=subresources.get("scale"),
        deprecation=_deprecation(spec, version),
    )


def _deprecation(spec: Mapping[str, Any], version: Mapping[str, Any]) -> str:
    if not version.get("deprecated"):
        return ""
    group, kind = spec["group"], spec["names"]["kind"]
    others = [each["name"] for each in spec["versions"] if each.get("served") and not each.get("deprecated")]
    better = min(others, key=version_order, default="")
    newer = f"; use {group}/{better} {kind}" if better and version_order(better) < version_order(version["name"]) else ""
    return str(version.get("deprecationWarning") or f"{group}/{version['name']} {kind} is deprecated{newer}")


def is_established(crd: Mapping[str, Any]) -> bool:
    """Tell whether the condition Established is True."""
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)


def with_defaults(crd: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy with the server's defaults: singular and list kind from the kind, no conversion."""
    made = copy.deepcopy(dict(crd))
    spec = made.get("spec")
    if not isinstance(spec, dict):
        return made
    names = spec.setdefault("names", {})
    if isinstance(names, dict) and isinstance(names.get("kind"), str) and names["kind"]:
        names["singular"] = names.get("singular") or names["kind"].lower()
        names["listKind"] = names.get("listKind") or f"{names['kind']}List"
    if spec.get("conversion") is None:
        spec["conversion"] = {"strategy": "None"}
    return made


def with_status(crd: Mapping[str, Any], others: Iterable[Mapping[str, Any]], now: datetime) -> dict[str, Any]:
    """Return a copy with acceptedNames, conditions and storedVersions, in view of the other CustomResourceDefinitions of the group.

    A name that another one holds is not accepted: NamesAccepted is False with the reason, and a definition that was never established
    stays so.
    """
    made = copy.deepcopy(dict(crd))
    status = made.setdefault("status", {})
    spec_names, accepted = made["spec"]["names"], status.get("acceptedNames") or {}
    taken = _taken(made, others)
    accepted, conflict = _negotiate(spec_names, accepted, taken)
    reason, message = conflict or ("NoConflicts", "no conflicts found")
    was_established = is_established(made)
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    _set(conditions, "NamesAccepted", conflict is None, reason, message, now)
    if was_established or conflict is None:
        _set(conditions, "Established", True, "InitialNamesAccepted", "the initial names have been accepted", now)
    else:
        _set(conditions, "Established", False, "NotAccepted", "not all names are accepted", now)
    storage = next(version["name"] for version in made["spec"]["versions"] if version.get("storage"))
    stored = status.get("storedVersions") or []
    status.update(
        conditions=list(conditions.values()),
        acceptedNames=accepted,
        storedVersions=stored if storage in stored else [*stored, storage],
    )
    return made


def _taken(crd: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """Return the names that other definitions of the same group hold: of resources (plural, singular, short) and of kinds."""
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        if other["metadata"]["name"] == crd["metadata"]["name"] or other["spec"]["group"] != crd["spec"]["group"]:
            continue
        names = (other.get("status") or {}).get("acceptedNames") or {}
        resources |= {names.get("plural", ""), names.get("singular", ""), *(names.get("shortNames") or ())}
        kinds |= {names.get("kind", ""), names.get("listKind", "")}
    return {"plural": resources, "singular": resources, "shortNames": resources, "kind": kinds, "listKind": kinds}


def _negotiate(
    wanted: Mapping[str, Any], accepted: Mapping[str, Any], taken: Mapping[str, set[str]]
) -> tuple[dict[str, Any], tuple[str, str] | None]:
    """Return the names that can be accepted, and reason and message of the last conflict, if there is one."""
    names = dict(accepted)
    conflict: tuple[str, str] | None = None
    for field in ("plural", "singular", "shortNames", "kind", "listKind"):
        if field == "shortNames":
            clashes = [name for name in wanted.get(field) or () if name in taken[field] and name not in (accepted.get(field) or ())]
        else:
            clashes = [wanted[field]] if wanted[field] in taken[field] and wanted[field] != accepted.get(field) else []
        if clashes:
            texts = [f"{go_quote(name)} is already in use" for name in clashes]
            conflict = (_CONFLICT_REASONS.get(field, "ShortNamesConflict"), texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
        elif wanted.get(field):
            names[field] = copy.deepcopy(wanted[field])
        else:
            names.pop(field, None)
    if wanted.get("categories"):
        names["categories"] = list(wanted["categories"])
    else:
        names.pop("categories", None)
    names.setdefault("plural", "")
    names.setdefault("kind", "")
    return names, conflict


def _set(conditions: dict[str, Any], kind: str, value: bool, reason: str, message: str, now: datetime) -> None:
    """Set a condition; its transition time moves only when its value does."""
    status = "True" if value else "False"
    before = conditions.get(kind)
    same = before is not None and before["status"] == status
    since = before["lastTransitionTime"] if same and before is not None else now.strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions[kind] = {"lastTransitionTime": since, "message": message, "reason": reason, "status": status, "type": kind}
