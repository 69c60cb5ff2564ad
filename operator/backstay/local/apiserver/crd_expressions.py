"""What a schema says about its fields by name: CEL rules, and fields that can be selected by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from backstay.local.apiserver.crd_structure import Place, Schema, children
from backstay.local.apiserver.fields import FieldError, Verbatim, duplicate, go_json, invalid, not_supported, required, too_many
from backstay.local.apiserver.schema import Node

_REASONS: Final = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")


def check_rule_fields(rule: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    text, message = (rule.get("rule") or "").strip(), rule.get("message") or ""
    if not text:
        yield required(f"{path}.rule", "rule is not specified")
    elif message and not message.strip():
        yield invalid(f"{path}.message", message, "must be non-empty if specified")
    elif "\n" in message.strip():
        yield invalid(f"{path}.message", message, "must not contain line breaks")
    elif "\n" in text and not message.strip():
        yield required(f"{path}.message", "message must be specified if rule contains line breaks")
    if rule.get("messageExpression") and not rule["messageExpression"].strip():
        yield required(f"{path}.messageExpression", "messageExpression must be non-empty if specified")
    if rule.get("reason") is not None and rule["reason"] not in _REASONS:
        yield not_supported(f"{path}.reason", rule["reason"], _REASONS)
    if "\n" in (rule.get("fieldPath") or ""):
        yield invalid(f"{path}.fieldPath", rule["fieldPath"], "must not contain line breaks")


def check_expressions(node: Node, schema: Schema, place: Place) -> Iterator[FieldError]:
    for index, rule in enumerate(node.rules):
        at, written = f"{place.path}.x-kubernetes-validations[{index}]", schema["x-kubernetes-validations"][index]
        if rule.error:
            yield invalid(f"{at}.rule", _as_go(written), rule.error)
        if rule.message_error:
            yield invalid(f"{at}.messageExpression", _as_go(written), f"messageExpression {rule.message_error}")
        if rule.uses_old and place.uncorrelated:
            words = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {place.uncorrelated}"
            yield invalid(f"{at}.rule", rule.text, words)
        if not rule.uses_old and written.get("optionalOldSelf") is not None:
            yield invalid(f"{at}.optionalOldSelf", written["optionalOldSelf"], "may not be set if oldSelf is not used in rule")
        if rule.path and not find_field(node, rule.path):
            yield invalid(f"{at}.fieldPath", rule.path, "must be a valid path")
    for (sub, below), child in zip(children(schema, place), _child_nodes(node, schema), strict=True):
        yield from check_expressions(child, sub, below)


def _as_go(rule: Mapping[str, Any]) -> Verbatim:
    """Return a rule as the server shows it: its Go struct, fields in their order and without JSON names."""
    names = {"Rule": "", "Message": "", "MessageExpression": "", "Reason": None, "FieldPath": "", "OptionalOldSelf": None}
    pairs = (f'"{name}":{go_json(rule.get(name[0].lower() + name[1:], default))}' for name, default in names.items())
    return Verbatim(f"{{{','.join(pairs)}}}")


def _child_nodes(node: Node, schema: Schema) -> list[Node]:
    """Return the compiled children in the order of `children`."""
    additional = [node.additional] if node.additional is not None and isinstance(schema.get("additionalProperties"), Mapping) else []
    return [*additional, *node.properties.values(), *([node.items] if node.items is not None else [])]


def find_field(node: Node, path: str) -> Node | None:
    """Return the schema at a path such as `.spec.name`, or None where the path leads nowhere."""
    if not path.startswith("."):
        return None
    place: Node | None = node
    for name in path[1:].split("."):
        place = place.properties.get(name) if place is not None else None
    return place


def check_selectable(fields: list[Mapping[str, Any]], node: Node, path: str) -> list[FieldError]:
    """Judge `selectableFields`: at most eight, each a string, boolean or integer outside of metadata."""
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, field in enumerate(fields):
        at, text = f"{path}[{index}].jsonPath", field.get("jsonPath") or ""
        if not text:
            errors.append(required(at))
            continue
        found = find_field(node, text)
        if found is None:
            errors.append(invalid(at, text, "is an invalid path: does not refer to a valid field"))
            continue
        if text.startswith(".metadata"):
            errors.append(invalid(at, text, "must not point to fields in metadata"))
        if not set(found.types) & {"string", "boolean", "integer"}:
            words = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."
            errors.append(invalid(at, text, words))
        if text in seen:
            errors.append(duplicate(at, text))
        seen.add(text)
    return [*errors, too_many(path, len(seen), 8)] if len(seen) > 8 else errors
