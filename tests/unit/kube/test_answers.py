"""HTTP answers become the errors that say what to do."""

import orjson
import pytest

from backstay import errors
from backstay.kube import answers


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (400, "BadRequest", errors.Invalid),
        (401, "Unauthorized", errors.ApiError),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (405, "MethodNotAllowed", errors.Invalid),
        (408, "Timeout", errors.Unavailable),
        (409, "Conflict", errors.Conflict),
        (409, "AlreadyExists", errors.AlreadyExists),
        (410, "Expired", errors.Gone),
        (413, "RequestEntityTooLarge", errors.Invalid),
        (415, "UnsupportedMediaType", errors.Invalid),
        (422, "Invalid", errors.Invalid),
        (429, "TooManyRequests", errors.TooManyRequests),
        (500, "InternalError", errors.Unavailable),
        (503, "ServiceUnavailable", errors.Unavailable),
        (504, "Timeout", errors.Unavailable),
    ],
)
def test_each_status_is_the_error_that_says_what_to_do(status: int, reason: str, expected: type[errors.ApiError]) -> None:
    body = orjson.dumps({"kind": "Status", "reason": reason, "message": "so it is"})
    error = answers.error_of(status, {}, body, "GET /x")
    assert type(error) is expected
    assert (error.status, error.reason, error.message) == (status, reason, "so it is")


def test_a_terminating_namespace_is_told_from_a_missing_right() -> None:
    body = {
        "kind": "Status",
        "reason": "Forbidden",
        "message": "no",
        "details": {"causes": [{"reason": "NamespaceTerminating", "field": "x"}]},
    }
    error = answers.error_of(403, {}, orjson.dumps(body), "POST /x")
    assert isinstance(error, errors.Forbidden)
    assert error.is_terminating_namespace


@pytest.mark.parametrize("status", [400, 403, 409, 422, 429, 500])
@pytest.mark.parametrize(
    "message",
    [
        'admission webhook "no.example.com" denied the request: not on Sundays',
        'admission webhook "no.example.com" denied the request without explanation',
        "jobs.batch \"x\" is forbidden: ValidatingAdmissionPolicy 'sundays' with binding 'all' denied request: not on Sundays",
    ],
)
def test_a_denial_is_told_from_any_other_answer_whatever_its_status(status: int, message: str) -> None:
    body = orjson.dumps({"kind": "Status", "reason": "Whatever", "message": message})
    assert type(answers.error_of(status, {}, body, "POST /x")) is errors.Denied


def test_a_webhook_that_could_not_be_asked_is_known_not_to_have_let_anything_through() -> None:
    message = 'Internal error occurred: failed calling webhook "x.example.com": failed to call webhook: connection refused'
    error = answers.error_of(500, {}, orjson.dumps({"kind": "Status", "reason": "InternalError", "message": message}), "POST /x")
    assert isinstance(error, errors.Unavailable)
    assert error.is_failed_webhook


@pytest.mark.parametrize(
    ("header", "details", "expected"),
    [("7", {}, 7.0), ("", {"retryAfterSeconds": 3}, 3.0), ("", {}, 1.0), ("Wed, 21 Oct 2026 07:28:00 GMT", {}, 1.0)],
)
def test_429_says_how_long_to_wait(header: str, details: dict[str, int], expected: float) -> None:
    body = orjson.dumps({"kind": "Status", "reason": "TooManyRequests", "details": details})
    assert answers.error_of(429, {"Retry-After": header}, body, "GET /x").retry_after_seconds == expected


@pytest.mark.parametrize("body", [b"", b"<html>bad\n gateway</html>", b"[]", b'{"kind": "Pod"}', b"\xff\xfe"])
def test_an_answer_that_is_no_status_is_quoted_with_the_request(body: bytes) -> None:
    error = answers.error_of(502, {}, body, "GET /api/v1/pods")
    assert isinstance(error, errors.Unavailable)
    assert error.message.startswith("GET /api/v1/pods was answered with ")


def test_a_long_page_of_a_proxy_is_cut() -> None:
    assert len(answers.error_of(502, {}, b"x" * 100_000, "GET /x").message) < 400
