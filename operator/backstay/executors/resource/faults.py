"""What a refusal means for a step that acts on a resource: an error by its type, or a wait.

answer                                            the step
403 for lack of rights                            Forbidden, with the Role that is missing
403 quota; webhook that is down                   waits: it passes by itself (executors/refusals.py)
admission says no                                 AdmissionDenied
404                                               NotFound
409 on create                                     AlreadyExists, naming whose it is, unless this step made it
409 on apply                                      FieldConflict, naming who looks after the fields
409 else                                          Conflict: another attempt may help
400, 413, 422                                     InvalidResource, in the API server's words
no answer, 429, 502 to 504                        waits: it is sat out, no sooner than Retry-After says
500                                               Unavailable: another attempt may help
"""

import re
from dataclasses import dataclass
from typing import Final

from backstay import errors
from backstay.engine.model import Fault
from backstay.executors import refusals
from backstay.executors.resource.discovery import UnknownKind
from backstay.expressions.words import shortened
from backstay.kube.manifests import RunRef

DEFAULT_ACCOUNT: Final = "default"
_TEXT_LIMIT: Final = 1500
_PASSES: Final = frozenset({0, 408, 429, 502, 503, 504})
_CANNOT: Final = re.compile(
    r'cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"(?: in the namespace "(?P<namespace>[^"]+)")?'
)
_FIELD_CONFLICT: Final = "FieldManagerConflict"


@dataclass(frozen=True, slots=True)
class Account:
    """Who a step acts as."""

    namespace: str
    name: str

    @classmethod
    def of(cls, run: RunRef) -> "Account":
        """Return the service account of a run: the namespace's default where it names none."""
        return cls(run.namespace, run.service_account or DEFAULT_ACCOUNT)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def passes(error: Exception) -> str | None:
    """Return what is waited for where a refusal passes by itself; None where it does not."""
    if not isinstance(error, errors.ApiError):
        return None
    hold = refusals.hold(error.message)
    if hold is not None and hold.type != "Rights":
        return f"{hold.title}: {hold.detail}"
    if isinstance(error, errors.Denied):
        return None
    return f"Waiting for the API server: {shortened(error.message, 300)}" if error.status in _PASSES else None


def fault_of(error: Exception, what: str, account: Account) -> Fault:
    """Return the error of a step from that of a request about `what`, as in `ConfigMap shop/cart`."""
    match error:
        case UnknownKind():
            return Fault("UnknownKind", "There is no such kind", str(error))
        case errors.Denied():
            return Fault("AdmissionDenied", "The API server's admission control refuses it", _said(what, error))
        case errors.Forbidden():
            return Fault("Forbidden", "The service account may not do that", _forbidden(error, account))
        case errors.NotFound():
            return Fault("NotFound", "The object is not there", _said(what, error))
        case errors.AlreadyExists():
            return Fault("AlreadyExists", "The object is there already", _said(what, error))
        case errors.Conflict() if _FIELD_CONFLICT in error.causes:
            mend = "set force: true to take the fields over, or leave them out"
            return Fault("FieldConflict", "Somebody else looks after these fields", f"{_said(what, error)}; {mend}")
        case errors.Conflict():
            return Fault("Conflict", "The object has changed meanwhile", _said(what, error))
        case errors.Invalid() | errors.Gone():
            return Fault("InvalidResource", "The API server refuses the object", _said(what, error))
        case _:
            return Fault("Unavailable", "The API server could not do it", _said(what, error))


def _said(what: str, error: Exception) -> str:
    words = error.message if isinstance(error, errors.ApiError) else str(error)
    return f"{what}: {shortened(words, _TEXT_LIMIT)}"


def _forbidden(error: errors.Forbidden, account: Account) -> str:
    """Say which right is missing, and how to give it: to the service account, or, to act as it at all, to the operator."""
    found = _CANNOT.search(error.message)
    if found is None:
        return shortened(error.message, _TEXT_LIMIT)
    if found["verb"] == "impersonate":
        return (
            f"the operator may not act as service account {account}, so this installation has no resource steps, and no http steps with Secrets; "
            "install the chart with impersonation.enabled, or grant the operator the verb impersonate on serviceaccounts"
        )
    resource, _, subresource = found["resource"].partition("/")
    name = ".".join(filter(None, (resource, found["group"]))) + (subresource and f"/{subresource}")
    return f"service account {account} may not {found['verb']} {name} {_grant(found['verb'], resource, name, found['namespace'], account)}"


def _grant(verb: str, resource: str, name: str, place: str | None, account: Account) -> str:
    """Say where, and the two commands that mend it."""
    kind, scope, where = ("role", f" -n {place}", f"in namespace {place}") if place else ("clusterrole", "", "in the cluster")
    role = f"{account.name}-{verb}-{resource}"
    return (
        f"{where}; a Role that allows it is missing: kubectl{scope} create {kind} {role} --verb={verb} --resource={name} && "
        f"kubectl{scope} create {kind}binding {role} --{kind}={role} --serviceaccount={account.namespace}:{account.name}"
    )
