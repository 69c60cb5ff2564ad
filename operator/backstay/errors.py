"""What can go wrong inside Backstay itself. The type of an error says what to do with it.

BackstayError
├── InvalidDefinition      the user's manifest is wrong: tell path and mend, do not retry
│   └── InvalidExpression  an expression does not parse, or is beyond the limits
├── EvaluationError        an expression failed on the data of a run: becomes the step's `ExpressionError`
├── IllegalTransition      a bug in the engine: raised, never written
├── TamperedState          a status that does not follow from its journal: refuse it
│   ├── ArchiveNeeded      what it follows from stands in WorkflowJournals: read them
│   └── ArchiveIncomplete  … and they are not all there, or not what was moved to them
└── ApiError               the API server's answer, with its HTTP status
    ├── NotFound           404
    ├── Conflict           409: observe again
    ├── AlreadyExists      409 on create: success if it is ours
    ├── Forbidden          403: no rights, quota, or a terminating namespace
    ├── Invalid            400, 413, 422: repeating does not help
    │   └── Denied         an admission webhook or policy refuses the object, whatever the status
    ├── Gone               410: the watch is too old, list again
    ├── TooManyRequests    429: wait as told
    └── Unavailable        5xx, timeouts, broken connections: whether the write happened is unknown
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_MISSING_RIGHT: Final = re.compile(r'cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"')
"""How the API server words a refusal for lack of rights (k8s.io/apiserver, endpoints/handlers/responsewriters)."""
_OWNERS_FINALIZERS: Final = "cannot set blockOwnerDeletion"
"""How its plugin OwnerReferencesPermissionEnforcement does."""


class BackstayError(Exception):
    """The root of all errors that Backstay raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a manifest: where it is, what was found, and what to do about it.

    `path` reads like `steps[2].catch[0].errors[1]`; `message` states the finding and the mend.
    """

    path: str
    message: str
    severity: str = "error"
    """`error` makes a Workflow invalid, `warning` does not."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidDefinition(BackstayError):
    """A Workflow or WorkflowRun that cannot be run as it is written."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


class InvalidExpression(InvalidDefinition):
    """An expression that does not parse, names unknown things, or is beyond the limits: always exactly one problem."""

    def __init__(self, message: str, path: str = "") -> None:
        self.message = message
        """What was found and what to do about it, without the path."""
        self.path = path
        """Where in the value that holds the expression, as in `args[1]`; empty where the value is the expression."""
        super().__init__([Problem(path, message)])


class EvaluationError(BackstayError):
    """An expression that is well-formed and failed on the data at hand."""


class IllegalTransition(BackstayError):
    """A change of phase that the transition table does not allow: a bug, raised and never written."""


class TamperedState(BackstayError):
    """A status that is not the fold of its journal, or whose journal's hash chain is broken."""


class ArchiveNeeded(TamperedState):
    """A status that leaves out what only the older entries of its journal tell: they stand in the run's WorkflowJournals."""


class ArchiveIncomplete(TamperedState):
    """Entries that were moved to WorkflowJournals are not there any more, or are not what was moved."""


class ApiError(BackstayError):
    """The API server refused, or could not be reached."""

    def __init__(
        self, status: int, reason: str, message: str, *, retry_after_seconds: float | None = None, causes: Iterable[str] = ()
    ) -> None:
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_seconds = retry_after_seconds
        self.causes = tuple(causes)
        """`details.causes[].reason` of the answer, such as `NamespaceTerminating`."""
        super().__init__(f"{status} {reason}: {message}")


class NotFound(ApiError):
    """404: the object, its namespace or its kind is not there."""


class Conflict(ApiError):
    """409: the object has changed since it was read."""


class AlreadyExists(ApiError):
    """409 on create: an object of this name is there already."""


class Forbidden(ApiError):
    """403: no right to do this, a quota is used up, or the namespace is terminating."""

    @property
    def is_terminating_namespace(self) -> bool:
        return "NamespaceTerminating" in self.causes

    def __str__(self) -> str:
        right = missing_right(self.message)
        return f"{super().__str__()}; {grant(right)}" if right else super().__str__()


class Invalid(ApiError):
    """400, 413, 422: the object itself is refused; repeating it does not help."""


class Denied(Invalid):
    """An admission webhook or a ValidatingAdmissionPolicy refuses the object, in its own words: repeating it does not help."""


class Gone(ApiError):
    """410: the resourceVersion is too old to watch from."""


class TooManyRequests(ApiError):
    """429: the API server asks to wait `retry_after_seconds`."""


class Unavailable(ApiError):
    """5xx, a timeout or a broken connection: whether a write happened is unknown until it is read."""

    @property
    def is_failed_webhook(self) -> bool:
        """Whether an admission webhook that must agree could not be asked: then the write did not happen."""
        return "failed calling webhook" in self.message


def missing_right(words: str) -> str:
    """Return the right for lack of which the API server refused, as `create jobs.batch`; empty where its words speak of no right."""
    if _OWNERS_FINALIZERS in words:
        return "update workflowruns.backstay.dev/finalizers"
    found = _MISSING_RIGHT.search(words)
    if found is None:
        return ""
    resource, _, subresource = found["resource"].partition("/")
    return f"{found['verb']} {resource}{found['group'] and '.'}{found['group']}{subresource and '/'}{subresource}"


def grant(right: str) -> str:
    """Return what to do about a right that an account lacks."""
    return f"grant this account the right to {right}; what the operator needs is in docs/rbac.md, and granted by the chart (rbac.create)"
