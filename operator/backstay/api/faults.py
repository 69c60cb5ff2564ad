"""The error types that Backstay itself raises, and the classes above them (DESIGN §4).

An error's type decides what `catch` and `retry.errors` match. Any other type is a business error, raised by a container's output
or by a `fail` step: it is Permanent, because repeating an attempt does not change a declined card.
"""

from typing import Final

TRANSIENT: Final = "Transient"
PERMANENT: Final = "Permanent"
ANY: Final = "*"

BUILT_IN: Final[dict[str, str]] = {
    "Timeout": "",
    "ExitCode": TRANSIENT,
    "OOMKilled": TRANSIENT,
    "StorageExceeded": TRANSIENT,
    "Evicted": TRANSIENT,
    "NodeLost": TRANSIENT,
    "PodDeleted": TRANSIENT,
    "JobDeleted": TRANSIENT,
    "ImagePull": TRANSIENT,
    "Unschedulable": TRANSIENT,
    "StartTimeout": TRANSIENT,
    "LockTimeout": TRANSIENT,
    "QueueTimeout": TRANSIENT,
    "CircuitOpen": TRANSIENT,
    "ConcurrencyLimit": TRANSIENT,
    "HttpUnavailable": TRANSIENT,
    "HttpStatus": PERMANENT,
    "HostForbidden": PERMANENT,
    "Forbidden": PERMANENT,
    "InvalidRequest": PERMANENT,
    "Unavailable": TRANSIENT,
    "Conflict": TRANSIENT,
    "NotFound": PERMANENT,
    "AlreadyExists": PERMANENT,
    "FieldConflict": PERMANENT,
    "InvalidResource": PERMANENT,
    "UnknownKind": PERMANENT,
    "ResourceFailed": PERMANENT,
    "SecretNotFound": PERMANENT,
    "InvalidOutput": PERMANENT,
    "InvalidJob": PERMANENT,
    "AdmissionDenied": PERMANENT,
    "InvalidParameters": PERMANENT,
    "InvalidRun": PERMANENT,
    "InvalidWorkflow": PERMANENT,
    "WorkflowNotFound": PERMANENT,
    "ExpressionError": PERMANENT,
    "JoinFailed": PERMANENT,
    "SavepointMissing": PERMANENT,
    "ChildFailed": PERMANENT,
    "CompensationAbandoned": PERMANENT,
    "FinallyAbandoned": PERMANENT,
    "HeuristicCommit": PERMANENT,
    "HeuristicRollback": PERMANENT,
    "HeuristicMixed": PERMANENT,
    "LimitExceeded": PERMANENT,
    "Cancelled": PERMANENT,
    "DeadlineExceeded": PERMANENT,
    "Ended": PERMANENT,
}
"""Error type → its class; Timeout has none: whether a repeat helps is for the workflow's author to say."""

DISRUPTIONS: Final = frozenset({"Evicted", "NodeLost", "PodDeleted", "Unschedulable"})
"""How an attempt ends whose pod was taken away, or turned away by its node: it runs again without using up an attempt."""


def class_of(error_type: str) -> str:
    """Return `Transient`, `Permanent` or `""` for an error type; business errors are Permanent."""
    return BUILT_IN.get(error_type, PERMANENT)


def matches(error_type: str, wanted: tuple[str, ...] | list[str]) -> bool:
    """Tell whether an error is one of the wanted types or classes; `*` wants them all."""
    return any(want in (ANY, error_type) or (want and want == class_of(error_type)) for want in wanted)
