"""What an API server's answer means: HTTP status and metav1.Status → the error tree of `errors.py`.

    400 405 406 413 415 422   Invalid           repeating does not help
    403                       Forbidden
    404                       NotFound
    409 AlreadyExists         AlreadyExists
    409                       Conflict
    410                       Gone
    429                       TooManyRequests   with what Retry-After says
    408 5xx                   Unavailable       whether a write happened is unknown
    any other                 ApiError          401 above all, after the login was renewed in vain
    any of these              Denied            where an admission webhook or policy says no: it may choose any status

Source: Kubernetes API conventions, "HTTP Status codes" and "Response Status Kind"; the words of a denial are those of
k8s.io/apiserver (pkg/admission/plugin/webhook/errors and policy/validating).
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from backstay import errors

_BY_STATUS: Final[dict[int, type[errors.ApiError]]] = {
    403: errors.Forbidden,
    404: errors.NotFound,
    408: errors.Unavailable,
    409: errors.Conflict,
    410: errors.Gone,
    429: errors.TooManyRequests,
    **dict.fromkeys((400, 405, 406, 413, 415, 422), errors.Invalid),
}
DENIAL: Final = re.compile(r'admission webhook "[^"]*" denied the request|ValidatingAdmissionPolicy \'[^\']*\'.* denied request')
"""How an answer reads in which admission control says no to the object itself."""
_TEXT_LIMIT: Final = 300
_DEFAULT_RETRY_AFTER_SECONDS: Final = 1.0


def error_of(status: int, headers: Mapping[str, str], body: bytes, request: str) -> errors.ApiError:
    """Return the error that an answer stands for. `request` says in words what was asked, as in `PATCH /apis/…`.

    The message is the server's own, which names the object; one that is no metav1.Status (a proxy's page, say) is quoted with the request.
    """
    answer = _status_object(body)
    message = answer.get("message") or f"{request} was answered with {_text(body) or 'nothing'}"
    return error_of_status({**answer, "code": status, "message": message}, retry_after=headers.get("Retry-After", ""))


def error_of_status(answer: Mapping[str, Any], retry_after: str = "") -> errors.ApiError:
    """Return the error that a metav1.Status stands for, as it also comes in a watch."""
    status = int(answer.get("code") or 500)
    details = answer.get("details") or {}
    causes = [str(cause.get("reason") or "") for cause in details.get("causes") or ()]
    reason = str(answer.get("reason") or "Unknown")
    message = str(answer.get("message") or "the server gives no reason")
    return _kind_of(status, reason, message)(
        status,
        reason,
        message,
        retry_after_seconds=_retry_after(status, retry_after, details),
        causes=[cause for cause in causes if cause],
    )


def unreachable(reason: str, message: str) -> errors.Unavailable:
    """Return the error for a request to which no whole answer came; its status is 0."""
    return errors.Unavailable(0, reason, message)


def _kind_of(status: int, reason: str, message: str) -> type[errors.ApiError]:
    if DENIAL.search(message):
        return errors.Denied
    if status == 409 and reason == "AlreadyExists":
        return errors.AlreadyExists
    if status >= 500:
        return errors.Unavailable
    return _BY_STATUS.get(status, errors.ApiError)


def _retry_after(status: int, header: str, details: Mapping[str, Any]) -> float | None:
    if header.strip().isdigit():
        return float(header)
    if told := details.get("retryAfterSeconds"):
        return float(told)
    return _DEFAULT_RETRY_AFTER_SECONDS if status == 429 else None


def _status_object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) and found.get("kind") == "Status" else {}


def _text(body: bytes) -> str:
    return " ".join(body[: 4 * _TEXT_LIMIT].decode(errors="replace").split())[:_TEXT_LIMIT]
