"""Failures as the API server words them: `StatusError` becomes a `metav1.Status` with reason, code and causes.

The texts follow k8s.io/apimachinery (pkg/api/errors; the wording of single fields is in fields.py): clients and people compare them, so they are kept to the letter.

Example:
    raise invalid("batch", "Job", "pack", [fields.required("spec.template.spec.containers")])
    # 422 Job.batch "pack" is invalid: spec.template.spec.containers: Required value
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from backstay.local.apiserver.fields import FieldError, summary
from backstay.local.apiserver.fields import go_quote as quote

OPTIMISTIC_LOCK: Final = "the object has been modified; please apply your changes to the latest version and try again"


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of `details.causes`: a machine-readable reason, a sentence, and the field it is about (may be empty)."""

    reason: str
    message: str
    field: str = ""

    def as_json(self) -> dict[str, str]:
        """Return the cause as the wire has it, without empty keys."""
        pairs = (("reason", self.reason), ("message", self.message), ("field", self.field))
        return {key: value for key, value in pairs if value}


class StatusError(Exception):
    """A request that failed, with everything the response needs.

    `code` is the HTTP status, `reason` one of metav1's StatusReasons, `details` the group, kind, name and causes where they are known.
    """

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.warnings: list[str] = []
        """What the client is told besides, as it would be had the request succeeded."""

    def as_json(self) -> dict[str, Any]:
        """Return the `metav1.Status` object of this failure."""
        status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message}
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status

    @property
    def causes(self) -> list[dict[str, str]]:
        """The causes as they go over the wire; empty where there are none."""
        causes: list[dict[str, str]] = (self.details or {}).get("causes", [])
        return causes


def qualified(group: str, word: str) -> str:
    """Return `word.group`, or `word` alone for the core group: the name of a kind or resource in messages."""
    return f"{word}.{group}" if group else word


def _details(group: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
    pairs = {"name": name, "group": group, "kind": kind, **more}
    return {key: value for key, value in pairs.items() if value}


@contextmanager
def telling(warnings: Sequence[str]) -> Iterator[None]:
    """Let a refusal inside carry these warnings."""
    try:
        yield
    except StatusError as error:
        error.warnings = [*warnings, *error.warnings]
        raise


def not_found(group: str, plural: str, name: str) -> StatusError:
    """404: there is no such object."""
    return StatusError(404, "NotFound", f"{qualified(group, plural)} {quote(name)} not found", _details(group, plural, name))


def no_such_path() -> StatusError:
    """404: no resource is served at the path."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(group: str, plural: str, name: str, *, being_deleted: bool = False, generated: bool = False) -> StatusError:
    """409: the name is taken; the message tells when the object is on its way out or when the name was generated."""
    message = f"{qualified(group, plural)} {quote(name)} already exists"
    if generated:
        message += ", the server was not able to generate a unique name for the object"
    if being_deleted:
        message = f"object is being deleted: {message}"
    return StatusError(409, "AlreadyExists", message, _details(group, plural, name, retryAfterSeconds=1 if generated else 0))


def conflict(group: str, plural: str, name: str, why: str = OPTIMISTIC_LOCK) -> StatusError:
    """409: a precondition (resourceVersion, UID) does not hold."""
    message = f"Operation cannot be fulfilled on {qualified(group, plural)} {quote(name)}: {why}"
    return StatusError(409, "Conflict", message, _details(group, plural, name))


def apply_conflict(message: str, causes: Iterable[Cause]) -> StatusError:
    """409: server-side apply met fields that others manage; a cause a field."""
    return StatusError(409, "Conflict", message, {"causes": [cause.as_json() for cause in causes]})


def forbidden(group: str, plural: str, name: str, why: str, causes: Iterable[Cause] = ()) -> StatusError:
    """403: admission refuses."""
    subject = qualified(group, plural) + (f" {quote(name)}" if name else "")
    details = _details(group, plural, name, causes=[cause.as_json() for cause in causes])
    return StatusError(403, "Forbidden", f"{subject} is forbidden: {why}", details)


def unauthorized() -> StatusError:
    """401: no token, or not ours."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def bad_request(message: str) -> StatusError:
    """400: the request itself makes no sense."""
    return StatusError(400, "BadRequest", message)


def invalid(group: str, kind: str, name: str, errors: Sequence[FieldError]) -> StatusError:
    """422: the object breaks rules; a cause an error."""
    message = f"{qualified(group, kind)} {quote(name)} is invalid"
    if errors:
        message += f": {summary(errors)}"
    return StatusError(422, "Invalid", message, _details(group, kind, name, causes=[error.cause for error in errors]))


def unprocessable() -> StatusError:
    """422 without causes: a JSON patch that cannot be applied; the real server does not say why either."""
    return StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def method_not_allowed(group: str, plural: str, action: str) -> StatusError:
    """405: the resource does not support the verb."""
    message = f"{action} is not supported on resources of kind {quote(qualified(group, plural))}"
    return StatusError(405, "MethodNotAllowed", message, _details(group, plural, ""))


def method_not_served() -> StatusError:
    """405 of a builtin kind: nothing is routed there."""
    return StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    """415: the body's content type is none that the endpoint reads."""
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return StatusError(415, "UnsupportedMediaType", message)


def not_acceptable(accepted: Sequence[str]) -> StatusError:
    """406: the client accepts nothing that the server writes."""
    message = f"only the following media types are accepted: {', '.join(accepted)}"
    return StatusError(406, "NotAcceptable", message)


def too_large(message: str) -> StatusError:
    """413: body or object above its limit."""
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: {message}")


def expired(message: str, continue_token: str = "") -> StatusError:
    """410: the resourceVersion asked for has been compacted away; start anew with a list."""
    error = StatusError(410, "Expired", message)
    return _ExpiredWithToken(error, continue_token) if continue_token else error


class _ExpiredWithToken(StatusError):
    """410 of a paged list: carries a token that goes on, though inconsistently, where the old one stopped."""

    def __init__(self, error: StatusError, continue_token: str) -> None:
        super().__init__(error.code, error.reason, error.message, error.details)
        self._continue_token = continue_token

    def as_json(self) -> dict[str, Any]:
        return {**super().as_json(), "metadata": {"continue": self._continue_token}}


def timeout(message: str, retry_after_seconds: int = 1, causes: Iterable[Cause] = ()) -> StatusError:
    """504: the server cannot answer in time; the client may ask again."""
    details = {"causes": [cause.as_json() for cause in causes], "retryAfterSeconds": retry_after_seconds}
    return StatusError(504, "Timeout", f"Timeout: {message}", {key: value for key, value in details.items() if value})


def internal(message: str) -> StatusError:
    """500: a fault of the server."""
    return StatusError(500, "InternalError", f"Internal error occurred: {message}", {"causes": [{"message": message}]})


def success(details: dict[str, Any]) -> dict[str, Any]:
    """Return the `metav1.Status` of a deed that is done and has no object to show."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
