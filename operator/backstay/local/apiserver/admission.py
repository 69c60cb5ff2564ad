"""What happens to an object between the request and the store: decoded strictly, pruned, defaulted, judged.

Three steps, in this order: `decode_check` (unknown and repeated fields, wrong types of builtin kinds), then `prepare_create` or
`prepare_update`. All are pure: they look at nothing but their arguments and change none of them. ObjectMeta, generation, and which
endpoint may write what are the REST layer's; what custom resources' schemas say is in `schema`, what builtin kinds ask for in `kinds`,
what CustomResourceDefinitions must be in `crd_rules`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from backstay.local.apiserver import crds
from backstay.local.apiserver.crd_rules import check_crd, check_crd_update
from backstay.local.apiserver.duplicates import duplicate_fields
from backstay.local.apiserver.fields import NOT_SUPPORTED, REQUIRED, TOO_LONG, TOO_MANY, TYPE_INVALID, FieldError, invalid
from backstay.local.apiserver.gotyped import OBJECT_META, decode_error, meta_error, node_of, node_of_kind
from backstay.local.apiserver.kinds import kind_of
from backstay.local.apiserver.resource import Resource
from backstay.local.apiserver.scale_rules import scale_errors
from backstay.local.apiserver.schema import check_embedded, check_rules, check_unique, check_value, pruned, with_defaults
from backstay.local.apiserver.status import bad_request
from backstay.local.apiserver.status import invalid as invalid_object

_BLOCKING: Final = frozenset({REQUIRED, NOT_SUPPORTED, TOO_LONG, TOO_MANY, TYPE_INVALID})
_NOT_CHECKED: Final = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"
)
_CRD: Final = ("apiextensions.k8s.io", "CustomResourceDefinition")


def decode_check(resource: Resource, obj: Mapping[str, Any], field_validation: str, raw: bytes) -> list[str]:
    """Judge a request body before anything is made of it; returns the warnings for the response.

    `field_validation` is the request's parameter: Strict refuses unknown and repeated fields with 400, Warn (the default, also for "")
    returns a warning each, Ignore is silent. `raw` is the body as it came, for repetitions; b"" where there is none. Values of builtin
    kinds that have the wrong type are refused in any case.
    """
    error = _type_error(resource, obj)
    if error:
        raise bad_request(_undecodable(resource, error))
    if field_validation == "Ignore":
        return []
    unknown = unknown_fields(resource, obj, raw)
    if unknown and field_validation == "Strict":
        raise bad_request(_undecodable(resource, f"strict decoding error: {', '.join(unknown)}"))
    return unknown


def _undecodable(resource: Resource, error: str) -> str:
    return f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {error}'


def _type_error(resource: Resource, obj: Mapping[str, Any]) -> str:
    if not resource.is_custom:
        return decode_error(resource.group, resource.version, resource.kind, obj)
    return meta_error(obj.get("metadata"))


def unknown_fields(resource: Resource, obj: Mapping[str, Any], raw: bytes) -> list[str]:
    """Return `duplicate field "…"` and `unknown field "…"` for what the kind does not have, in the server's order."""
    unknown: list[str] = []
    if resource.is_custom:
        pruned(resource.node, obj, unknown)
        unknown.sort()
        in_metadata: list[str] = []
        pruned(node_of(OBJECT_META), obj.get("metadata"), in_metadata, "metadata")
        unknown = in_metadata + unknown
    elif (node := node_of_kind(resource.group, resource.version, resource.kind)) is not None:
        pruned(node, obj, unknown)
    return duplicate_fields(raw) + [f'unknown field "{path}"' for path in unknown]


def defaulted(resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object as its writer wrote it, in full: without unknown fields, with defaults, without what the server adds of its own.

    This is what the writer of a request manages (`metadata.managedFields`): of a new Job the default backoffLimit, but not the generated
    selector.
    """
    if resource.is_custom:
        return _cleaned_custom(resource, obj)
    made = _cleaned_builtin(resource, obj)
    if (resource.group, resource.kind) == _CRD:
        return crds.with_defaults(made)
    kind_of(resource.group, resource.kind).default(made)
    return made


def prepare_create(resource: Resource, obj: Mapping[str, Any], now: datetime, in_metadata: Sequence[FieldError] = ()) -> dict[str, Any]:
    """Return the object as it will be stored, or raise 422 with a cause for each thing that is wrong.

    The REST layer has set metadata (name, namespace, uid, creationTimestamp) and dropped the status; `in_metadata` is what it found wrong
    there. `now` dates the conditions of a CustomResourceDefinition.
    """
    if resource.is_custom:
        made = _cleaned_custom(resource, obj)
        _refuse(resource, made, _custom_errors(resource, made, None, in_metadata))
        return made
    made = _cleaned_builtin(resource, obj)
    if (resource.group, resource.kind) == _CRD:
        made = crds.with_defaults(made)
        _refuse(resource, made, [*in_metadata, *check_crd(made)])
        return crds.with_status(made, (), now)
    kind = kind_of(resource.group, resource.kind)
    kind.default(made)
    kind.generate(made)
    _refuse(resource, made, [*in_metadata, *kind.check_create(made)])
    return made


def prepare_update(
    resource: Resource, new: Mapping[str, Any], old: Mapping[str, Any], subresource: str | None, in_metadata: Sequence[FieldError] = ()
) -> dict[str, Any]:
    """Return the changed object as it will be stored, or raise 422 with a cause for each thing that is wrong.

    `new` is the whole object, with what the endpoint may not write already set back to `old`'s; `subresource` is "status" or None. What
    was wrong before and is not changed now is let pass for custom resources (KEP-4008).
    """
    if resource.is_custom:
        made = _cleaned_custom(resource, new)
        judge = _status_errors if subresource == "status" else _custom_errors
        _refuse(resource, made, judge(resource, made, old, in_metadata))
        return made
    made = _cleaned_builtin(resource, new)
    if (resource.group, resource.kind) == _CRD:
        made = crds.with_defaults(made)
        _refuse(resource, made, [*in_metadata, *([] if subresource else check_crd_update(made, old))])
        return made
    kind = kind_of(resource.group, resource.kind)
    if subresource:
        _refuse(resource, made, [*in_metadata, *kind.check_status(made, old)])
        return made
    kind.default(made)
    _refuse(resource, made, [*in_metadata, *kind.check_update(made, old)])
    return made


def _refuse(resource: Resource, obj: Mapping[str, Any], errors: list[FieldError]) -> None:
    if errors:
        raise invalid_object(resource.group, resource.kind, obj["metadata"].get("name") or "", errors)


def _cleaned_custom(resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(with_defaults(resource.node, pruned(resource.node, obj)))
    made["metadata"] = pruned(node_of(OBJECT_META), made.get("metadata") or {})
    return made


def _cleaned_builtin(resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of its own, as a Go decoder would have it: no unknown fields, no nulls."""
    made: dict[str, Any] = orjson.loads(orjson.dumps(obj))
    node = node_of_kind(resource.group, resource.version, resource.kind)
    if node is None:
        return made
    return dict(with_defaults(node, pruned(node, made)))


def _custom_errors(
    resource: Resource, obj: dict[str, Any], old: Mapping[str, Any] | None, in_metadata: Sequence[FieldError]
) -> list[FieldError]:
    node = resource.node
    errors = check_value(node, obj) if old is None else check_value(node, obj, old=old)
    errors += check_embedded(node, obj) + scale_errors(resource, obj, is_status=False)
    return _with_rules(resource, obj, old, [*in_metadata, *errors])


def _status_errors(resource: Resource, obj: dict[str, Any], old: Mapping[str, Any], in_metadata: Sequence[FieldError]) -> list[FieldError]:
    """Judge an update of the status: its own schema, then what concerns the object as a whole."""
    node = resource.node.properties.get("status")
    errors: list[FieldError] = []
    if node is not None and "status" in obj:
        errors = check_value(node, obj["status"], old=old.get("status"), prefix="status")
    errors += scale_errors(resource, obj, is_status=True)
    return _with_rules(resource, obj, old, [*in_metadata, *errors])


def _with_rules(resource: Resource, obj: dict[str, Any], old: Mapping[str, Any] | None, errors: list[FieldError]) -> list[FieldError]:
    node = resource.node
    repeated = check_unique(node, obj)
    if repeated and (old is None or not check_unique(node, old)):
        errors = errors + repeated
    if not node.has_rules:
        return errors
    if any(error.reason in _BLOCKING for error in errors):
        return [*errors, invalid("", None, _NOT_CHECKED)]
    return errors + check_rules(node, obj, old)
