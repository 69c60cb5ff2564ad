"""Defaults of the kinds that say what is allowed: role bindings, network policies, disruption budgets, limit ranges, admission policies.

None of them is enforced by the embedded cluster: whoever has its token may do everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from backstay.local.apiserver.fields import FieldError, invalid

_RBAC: Final = "rbac.authorization.k8s.io"
_NO_DISRUPTIONS: Final = {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}


def default_binding(binding: dict[str, Any]) -> None:
    """Users and groups are of RBAC's own API group."""
    for subject in binding.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject["apiGroup"] = subject.get("apiGroup") or _RBAC
    if isinstance(binding.get("roleRef"), dict):
        binding["roleRef"]["apiGroup"] = binding["roleRef"].get("apiGroup") or _RBAC


def check_binding_update(binding: Mapping[str, Any], old: Mapping[str, Any]) -> list[FieldError]:
    """Whom a role binding binds may change, what it binds to may not."""
    same = binding.get("roleRef") == old.get("roleRef")
    return [] if same else [invalid("roleRef", binding.get("roleRef"), "cannot change roleRef")]


def default_network_policy(policy: dict[str, Any]) -> None:
    """Ports are TCP; a policy is about ingress, and about egress where it speaks of it."""
    spec = policy.setdefault("spec", {})
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction) or ():
            for port in rule.get("ports") or ():
                port["protocol"] = port.get("protocol") or "TCP"
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress"] + (["Egress"] if spec.get("egress") else [])


def generate_budget(budget: dict[str, Any]) -> None:
    """A new disruption budget allows nothing yet."""
    budget["status"] = dict(_NO_DISRUPTIONS)


def default_limit_range(limit_range: dict[str, Any]) -> None:
    """A container's default limit is its maximum, its default request its default limit or its minimum."""
    for limits in (limit_range.get("spec") or {}).get("limits") or ():
        if limits.get("type") == "Container":
            limits["default"] = {**(limits.get("max") or {}), **(limits.get("default") or {})}
            limits["defaultRequest"] = {**(limits.get("min") or {}), **limits["default"], **(limits.get("defaultRequest") or {})}


def default_admission_policy(policy: dict[str, Any]) -> None:
    """Refuse when in doubt, and match every scope and every selector that is not given."""
    spec = policy.setdefault("spec", {})
    spec["failurePolicy"] = spec.get("failurePolicy") or "Fail"
    matches = spec.get("matchConstraints")
    if matches is None:
        return
    matches["matchPolicy"] = matches.get("matchPolicy") or "Equivalent"
    for name in ("namespaceSelector", "objectSelector"):
        if matches.get(name) is None:
            matches[name] = {}
    for name in ("resourceRules", "excludeResourceRules"):
        for rule in matches.get(name) or ():
            rule["scope"] = rule.get("scope") or "*"
