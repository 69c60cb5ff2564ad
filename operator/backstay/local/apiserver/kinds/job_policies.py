"""The rules of a Job's podFailurePolicy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from backstay.local.apiserver.fields import FieldError, duplicate, invalid, not_supported, required, too_many, without_value
from backstay.local.apiserver.kinds.pod_rules import quoted
from backstay.local.apiserver.syntax import qualified_name

_MAX_RULES: Final = 20
_MAX_PATTERNS: Final = 20
_MAX_CODES: Final = 255
_ACTIONS: Final = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS: Final = ("In", "NotIn")
_STATUSES: Final = ("False", "True", "Unknown")


def check_failure_policy(spec: Mapping[str, Any], field: str) -> list[FieldError]:
    """Judge `spec.podFailurePolicy`; `field` is where it stands."""
    rules = spec["podFailurePolicy"].get("rules") or []
    errors = [too_many(f"{field}.rules", len(rules), _MAX_RULES)] if len(rules) > _MAX_RULES else []
    pod = (spec.get("template") or {}).get("spec") or {}
    containers = {container.get("name") for name in ("containers", "initContainers") for container in pod.get(name) or ()}
    for index, rule in enumerate(rules):
        errors += _check_rule(spec, rule, containers, f"{field}.rules[{index}]")
    return errors


def _check_rule(spec: Mapping[str, Any], rule: Mapping[str, Any], containers: set[Any], field: str) -> list[FieldError]:
    action = rule.get("action") or ""
    errors: list[FieldError] = []
    if not action:
        errors.append(required(f"{field}.action", f"valid values: {quoted(_ACTIONS)}"))
    elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        errors.append(invalid(f"{field}.action", action, "requires the backoffLimitPerIndex to be set"))
    elif action not in _ACTIONS:
        errors.append(not_supported(f"{field}.action", action, _ACTIONS))
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
    if codes is not None:
        errors += _check_codes(codes, containers, f"{field}.onExitCodes")
    if len(conditions) > _MAX_PATTERNS:
        errors.append(too_many(f"{field}.onPodConditions", len(conditions), _MAX_PATTERNS))
    for index, pattern in enumerate(conditions):
        errors += _check_condition(pattern, f"{field}.onPodConditions[{index}]")
    if codes is not None and conditions:
        errors.append(without_value(field, "specifying both OnExitCodes and OnPodConditions is not supported"))
    if codes is None and not conditions:
        errors.append(without_value(field, "specifying one of OnExitCodes and OnPodConditions is required"))
    return errors


def _check_condition(pattern: Mapping[str, Any], field: str) -> list[FieldError]:
    kind, status = pattern.get("type") or "", pattern.get("status") or ""
    errors = [invalid(f"{field}.type", kind, words) for words in qualified_name(kind)]
    if not status:
        errors.append(required(f"{field}.status", f"valid values: {quoted(_STATUSES)}"))
    elif status not in _STATUSES:
        errors.append(not_supported(f"{field}.status", status, _STATUSES))
    return errors


def _check_codes(codes: Mapping[str, Any], containers: set[Any], field: str) -> list[FieldError]:
    operator, values = codes.get("operator") or "", codes.get("values") or []
    errors: list[FieldError] = []
    if not operator:
        errors.append(required(f"{field}.operator", f"valid values: {quoted(_OPERATORS)}"))
    elif operator not in _OPERATORS:
        errors.append(not_supported(f"{field}.operator", operator, _OPERATORS))
    name = codes.get("containerName")
    if name is not None and name not in containers:
        words = "must be one of the container or initContainer names in the pod template"
        errors.append(invalid(f"{field}.containerName", name, words))
    if not values:
        errors.append(invalid(f"{field}.values", values, "at least one value is required"))
    elif len(values) > _MAX_CODES:
        errors.append(too_many(f"{field}.values", len(values), _MAX_CODES))
    return errors + _check_code_values(operator, values, f"{field}.values")


def _check_code_values(operator: str, values: list[int], field: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            errors.append(invalid(f"{field}[{index}]", value, "must not be 0 for the In operator"))
        if value in values[:index]:
            errors.append(duplicate(f"{field}[{index}]", value))
    if values != sorted(values):
        errors.append(invalid(field, values, "must be ordered"))
    return errors
