"""Rules of CustomResourceDefinitions as objects: names, versions, columns, subresources; their schemas are judged in crd_schema.

What all versions have in common the server reports at the top of the spec (`spec.validation`, `spec.additionalPrinterColumns`), where old
versions of the API had it, and so do we. Left out: conversion webhooks (refused: the embedded cluster has none).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from backstay.local.apiserver.crd_expressions import check_selectable
from backstay.local.apiserver.crd_schema import check_schema
from backstay.local.apiserver.crds import is_established
from backstay.local.apiserver.fields import FieldError, immutable, invalid, not_supported, required
from backstay.local.apiserver.schema import compile_schema
from backstay.local.apiserver.syntax import dns_1035_label, dns_subdomain

_COLUMN_TYPES: Final = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS: Final = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_APPROVED: Final = "api-approved.kubernetes.io"
_MIXED_CASE: Final = "may have mixed case, but should otherwise match: "


def check_crd(crd: Mapping[str, Any]) -> list[FieldError]:
    """Judge a definition that is created and has its defaults (`crds.with_defaults`)."""
    return [*_check_own_name(crd), *_check_spec(crd, is_new=True), *_check_approval(crd)]


def _check_own_name(crd: Mapping[str, Any]) -> list[FieldError]:
    spec, name = crd.get("spec") or {}, crd["metadata"].get("name", "")
    if name == f"{(spec.get('names') or {}).get('plural', '')}.{spec.get('group', '')}":
        return []
    return [invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')]


def _check_spec(crd: Mapping[str, Any], *, is_new: bool) -> list[FieldError]:
    spec = crd.get("spec") or {}
    names = spec.get("names") or {}
    errors: list[FieldError] = []
    errors += _check_group(spec.get("group") or "") + _check_scope(spec.get("scope") or "")
    versions = spec.get("versions") or []
    errors += _check_versions(versions, is_new=is_new) + _check_names(names)
    if (spec.get("conversion") or {}).get("strategy") not in (None, "None"):
        errors.append(not_supported("spec.conversion.strategy", spec["conversion"]["strategy"], ("None", "Webhook")))
    if spec.get("preserveUnknownFields"):
        errors.append(
            invalid(
                "spec.preserveUnknownFields",
                True,
                "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
            )
        )
    return errors


def check_crd_update(crd: Mapping[str, Any], old: Mapping[str, Any]) -> list[FieldError]:
    """Judge a changed definition: what stored objects depend on cannot change."""
    spec, before = crd["spec"], old["spec"]
    errors = _check_spec(crd, is_new=False)
    fixed = ["scope", "names.kind"] if is_established(old) else []
    for path in [*fixed, "group", "names.plural"]:
        new_value, old_value = _at(spec, path), _at(before, path)
        if new_value != old_value:
            errors.append(immutable(f"spec.{path}", new_value))
    known = {version.get("name") for version in spec.get("versions") or ()}
    stored = (old.get("status") or {}).get("storedVersions") or []
    for index, version in enumerate(stored):
        if version not in known:
            words = (
                f"missing from spec.versions; {version} was previously a storage version, and must remain in spec.versions until a storage migration "
                f"ensures no data remains persisted in {version} and removes {version} from status.storedVersions"
            )
            errors.append(invalid(f"status.storedVersions[{index}]", version, words))
    return errors


def _at(value: Mapping[str, Any], path: str) -> Any:
    for name in path.split("."):
        value = value.get(name) or {}
    return value or ""


def _check_group(group: str) -> list[FieldError]:
    if not group:
        return [required("spec.group")]
    problems = dns_subdomain(group)
    if problems:
        return [invalid("spec.group", group, ",".join(problems))]
    return [] if "." in group else [invalid("spec.group", group, "should be a domain with at least one dot")]


def _check_scope(scope: str) -> list[FieldError]:
    if not scope:
        return [required("spec.scope")]
    return [] if scope in ("Cluster", "Namespaced") else [not_supported("spec.scope", scope, ("Cluster", "Namespaced"))]


def _check_versions(versions: list[Mapping[str, Any]], *, is_new: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, version in enumerate(versions):
        name = version.get("name") or ""
        problems = dns_1035_label(name)
        if problems:
            errors.append(invalid(f"spec.versions[{index}].name", name, ",".join(problems)))
        if problems and index == 0:
            errors.append(invalid("spec.version", name, ",".join(problems)))
        errors += _check_version(version, f"spec.versions[{index}]", versions)
    names = [version.get("name") for version in versions]
    if len(set(names)) < len(names):
        errors.append(invalid("spec.versions", versions, "must contain unique version names"))
    if sum(1 for version in versions if version.get("storage")) != 1:
        errors.append(invalid("spec.versions", versions, "must have exactly one version marked as storage version"))
        if is_new:
            errors.append(_stored_version(versions))
    return _once(errors)


def _stored_version(versions: list[Mapping[str, Any]]) -> FieldError:
    """Return what the server says of the status that it has made itself, when none or several versions are to be stored."""
    stored = [version.get("name") for version in versions if version.get("storage")]
    if not stored:
        return invalid("status.storedVersions", None, "must have at least one stored version")
    return invalid("status.storedVersions", stored[:1], f"must have the storage version {stored[-1]}")


def _once(errors: list[FieldError]) -> list[FieldError]:
    """Leave out repetitions: what versions have in common is reported once."""
    return list({error.text: error for error in errors}.values())


def _check_version(version: Mapping[str, Any], path: str, versions: list[Mapping[str, Any]]) -> list[FieldError]:
    def at(key: str, shared: str) -> str:
        return f"spec.{shared}" if all(other.get(key) == version.get(key) for other in versions) else f"{path}.{key}"

    errors: list[FieldError] = []
    if version.get("deprecationWarning") is not None and not version.get("deprecated"):
        errors.append(invalid(f"{path}.deprecationWarning", version["deprecationWarning"], "can only be set for deprecated versions"))
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    subresources = version.get("subresources") or {}
    if schema is None:
        errors.append(required(f"{path}.schema.openAPIV3Schema"))
    else:
        place = f"{at('schema', 'validation')}.openAPIV3Schema"
        errors += check_schema(schema, place, has_status=subresources.get("status") is not None)
    errors += _check_scale(subresources.get("scale"), f"{at('subresources', 'subresources')}.scale")
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        errors += _check_column(column, f"{at('additionalPrinterColumns', 'additionalPrinterColumns')}[{index}]")
    fields = version.get("selectableFields") or []
    if fields and schema is not None and not errors:
        errors += check_selectable(fields, compile_schema(schema, root=True), at("selectableFields", "selectableFields"))
    return errors


def _check_scale(scale: Mapping[str, Any] | None, path: str) -> list[FieldError]:
    if scale is None:
        return []
    errors: list[FieldError] = []
    for name, place in (("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")):
        text = scale.get(name) or ""
        if not text:
            errors.append(required(f"{path}.{name}"))
        elif not text.startswith("."):
            errors.append(invalid(f"{path}.{name}", text, "must be a simple json path starting with ."))
        elif not text.startswith(f"{place}."):
            errors.append(invalid(f"{path}.{name}", text, f"should be a json path under {place}"))
    return errors


def _check_column(column: Mapping[str, Any], path: str) -> list[FieldError]:
    errors = [] if column.get("name") else [required(f"{path}.name")]
    kind, form, json_path = column.get("type") or "", column.get("format") or "", column.get("jsonPath") or ""
    words = f"must be one of {','.join(_COLUMN_TYPES)}"
    if not kind:
        errors.append(required(f"{path}.type", words))
    elif kind not in _COLUMN_TYPES:
        errors.append(invalid(f"{path}.type", kind, words))
    if form and form not in _COLUMN_FORMATS:
        errors.append(invalid(f"{path}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}"))
    if not json_path:
        errors.append(required(f"{path}.JSONPath"))
    elif not json_path.startswith("."):
        errors.append(invalid(f"{path}.JSONPath", json_path, "must be a simple json path starting with ."))
    return errors


def _check_names(names: Mapping[str, Any]) -> list[FieldError]:
    errors = [required(f"spec.names.{name}") for name in ("plural", "singular", "kind", "listKind") if not names.get(name)]
    for name in ("plural", "singular"):
        errors += _check_label(names.get(name) or "", f"spec.names.{name}")
    for name in ("kind", "listKind"):
        problems = dns_1035_label((names.get(name) or "x").lower())
        if problems:
            errors.append(invalid(f"spec.names.{name}", names[name], _MIXED_CASE + ",".join(problems)))
    for name in ("shortNames", "categories"):
        for index, text in enumerate(names.get(name) or ()):
            errors += _check_label(text, f"spec.names.{name}[{index}]")
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        errors.append(invalid("spec.names.listKind", names["listKind"], "kind and listKind may not be the same"))
    return errors


def _check_label(text: str, field: str) -> list[FieldError]:
    problems = dns_1035_label(text) if text else []
    return [invalid(field, text, ",".join(problems))] if problems else []


def _check_approval(crd: Mapping[str, Any]) -> list[FieldError]:
    """Groups of the Kubernetes project need an approval that names the pull request (KEP-1111)."""
    group = f".{(crd.get('spec') or {}).get('group') or ''}"
    annotations = crd["metadata"].get("annotations") or {}
    if not group.endswith((".k8s.io", ".kubernetes.io")) or annotations.get(_APPROVED):
        return []
    words = f'protected groups must have approval annotation "{_APPROVED}", see https://github.com/kubernetes/enhancements/pull/1111'
    return [required(f"metadata.annotations[{_APPROVED}]", words)]
