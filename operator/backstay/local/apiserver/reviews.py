"""Reviews: may I, who am I, whose token is this. There is one user, who may do everything; nothing here enforces RBAC."""

from __future__ import annotations

import hmac
from typing import Any, Final

from backstay.local.apiserver.certs import GROUPS, USER
from backstay.local.apiserver.creating import check_kind
from backstay.local.apiserver.resources import Resource

_ACCESS: Final = frozenset({"selfsubjectaccessreviews", "subjectaccessreviews", "localsubjectaccessreviews"})
_USER_INFO: Final = {"username": USER, "groups": list(GROUPS)}


def is_review(resource: Resource) -> bool:
    """Tell whether a kind is only answered, never stored."""
    return resource.verbs == ("create",)


def answer(resource: Resource, obj: dict[str, Any], token: str) -> dict[str, Any]:
    """Return a review with its answer in `status`; `token` is the cluster's."""
    check_kind(resource, obj)
    return {**obj, "status": _status(resource, obj, token)}


def _status(resource: Resource, obj: dict[str, Any], token: str) -> dict[str, Any]:
    if resource.plural in _ACCESS:
        return {"allowed": True}
    if resource.plural == "selfsubjectrulesreviews":
        everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        return {"resourceRules": [everything], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}], "incomplete": False}
    if resource.plural == "tokenreviews":
        given = str((obj.get("spec") or {}).get("token", ""))
        if hmac.compare_digest(given.encode(), token.encode()):
            return {"authenticated": True, "user": _USER_INFO}
        return {"authenticated": False, "error": "the token is not this cluster's"}
    return {"userInfo": _USER_INFO}
