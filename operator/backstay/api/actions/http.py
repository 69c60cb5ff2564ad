"""http: a request to a host that the installation allows, and what becomes of its answer."""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from backstay.api.base import ErrorType, Expression, Json, Model, Text, unique
from backstay.expressions.words import quoted

HEADER_PATTERN: Final = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
"""RFC 9110, 5.1: the characters of a token."""
STATUS_PATTERN: Final = r"^([1-5]xx|[1-5][0-9][0-9](-[1-5][0-9][0-9])?)$"
DROPPED: Final = "None"
"""As `output`: nothing of the answer is kept but its status."""
MAX_REDIRECTS: Final = 10
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

_OURS: Final = frozenset(
    {
        *("host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer", "expect"),
        *("accept-encoding", "proxy-authorization", "proxy-connection", "cookie2"),
    }
)
"""Headers that say how a message travels: they are set by who sends it (RFC 9110, 7.6.1), and another Host would be another place."""


def _status(value: Any) -> int | str:
    found = str(value)
    if isinstance(value, bool) or not re.fullmatch(STATUS_PATTERN, found):
        raise ValueError(f"{quoted(value)} is no status; write a number, a class or a range, as in 204, 2xx or 200-204")
    first, dash, last = found.partition("-")
    if dash and int(first) > int(last):
        raise ValueError(f"{quoted(value)} holds no status; write the smaller number first")
    return value if isinstance(value, int) else found


Status = Annotated[int | str, AfterValidator(_status), WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": STATUS_PATTERN})]
"""A status, a class of them, or a range: 404, "2xx", "200-204"."""


def _header_name(name: str) -> str:
    if not re.fullmatch(HEADER_PATTERN, name):
        raise ValueError(f"{quoted(name)} is no name of a header; write letters, digits and hyphens, as in X-Api-Key")
    if name.lower() in _OURS or name.lower().startswith("backstay-"):
        raise ValueError(f"{quoted(name)} is set by Backstay itself; leave it away")
    return name


def _header_name_or_none(name: str) -> str:
    return _header_name(name) if name else name


class HeaderSecret(Model):
    """One key of a Secret of the run's namespace, read with the rights of the run's service account when the call is made."""

    name: str = Field(min_length=1, max_length=253, description="Name of the Secret.")
    key: str = Field(min_length=1, max_length=253, description="The key in it.")
    optional: bool = Field(default=False, description="Leave the header away where the Secret or the key is missing.")


class HeaderSource(Model):
    """Where the value of a header comes from. It reaches the other side and nothing else: no status, Event, log or journal holds it."""

    secret_key_ref: HeaderSecret = Field(description="A key of a Secret.")


class HttpHeader(Model):
    """A header of the request."""

    name: Annotated[str, AfterValidator(_header_name)] = Field(max_length=128, description="Its name.")
    value: Text | None = Field(default=None, description="Its value; may hold expressions in ${ }.")
    value_from: HeaderSource | None = Field(default=None, description="Take the value from a Secret.")
    prefix: Annotated[str, Field(max_length=64)] = Field(
        default="", description='What stands before the value of a Secret, as in "Bearer ".'
    )

    @model_validator(mode="after")
    def _one_value(self) -> "HttpHeader":
        if (self.value is None) == (self.value_from is None):
            raise ValueError("give exactly one of value and valueFrom")
        if self.prefix and self.value_from is None:
            raise ValueError("prefix goes with valueFrom; write it into value")
        return self


class HttpError(Model):
    """An answer that is an error of the business: its type, which catch matches on, and words for people."""

    when: Expression = Field(
        description="A condition on the answer in ${ }, as in ${ response.status == 402 }; the first that is true counts."
    )
    error: ErrorType = Field(description="The error's type; CamelCase.")
    message: Text = Field(default="", description="Words for people; may hold expressions in ${ }, of response as well.")

    @model_validator(mode="after")
    def _a_type(self) -> "HttpError":
        if self.error in ("*", "Transient", "Permanent"):
            raise ValueError(f"{quoted(self.error)} is a class of errors; raise one type, as in CardDeclined")
        return self


def _output(value: Any) -> Any:
    if value is None or isinstance(value, dict) or (isinstance(value, str) and (value == DROPPED or "${" in value)):
        return value
    raise ValueError(
        f"{quoted(value)} is no output; write an object with expressions, as in {{id: ${{ response.body.id }}}}, or {DROPPED} to keep nothing"
    )


class HttpAction(Model):
    """Make an HTTP request. Each attempt is a request of its own, under the same idempotency key."""

    url: Text = Field(
        min_length=1,
        description="Where to; may hold expressions in ${ }. What an expression puts into a URL after its beginning is percent-encoded.",
    )
    method: Method = Field(default="GET", description="What to do there.")
    query: dict[str, Json] = Field(
        default_factory=dict,
        max_length=100,
        description="Added to the URL; a list stands several times, null is left away. May hold expressions.",
    )
    headers: Annotated[tuple[HttpHeader, ...], unique("header", lambda item: item.name.lower())] = Field(
        default=(), max_length=64, description="Headers besides Backstay's own."
    )
    body: Json = Field(
        default=None, description="What is sent: text as it is, anything else as JSON. May hold expressions in ${ }, which keep their type."
    )
    expect: Annotated[tuple[Status, ...], Field(min_length=1, max_length=32)] = Field(
        default=("2xx",), description='The statuses of an answer that is a success, as in [2xx, 404] or ["200-204"].'
    )
    errors: tuple[HttpError, ...] = Field(default=(), max_length=32, description="Answers that are errors of the business.")
    follow_redirects: int = Field(
        default=0, ge=0, le=MAX_REDIRECTS, description="How many redirects are followed; each one to hosts that are allowed only."
    )
    idempotency_header: Annotated[str, AfterValidator(_header_name_or_none)] = Field(
        default="Idempotency-Key",
        max_length=128,
        description="The header in which the step's idempotency key is sent, the same for all attempts; empty for none.",
    )
    output: Annotated[Json, AfterValidator(_output)] = Field(
        default=None,
        description="What is kept of the answer, 4,096 bytes at most: an object with expressions over response (status, headers, body), "
        f"or {DROPPED}. Without it, status and body.",
    )

    @property
    def kept(self) -> tuple[str, ...] | None:
        """The names of its outputs; None where an expression gives them."""
        if self.output is None:
            return ("status", "body")
        if self.output == DROPPED:
            return ("status",)
        return tuple(self.output) if isinstance(self.output, dict) else None


def matches_status(status: int, wanted: int | str) -> bool:
    """Tell whether a status is one of those that 404, "2xx" or "200-204" stand for."""
    text = str(wanted)
    if text.endswith("xx"):
        return status // 100 == int(text[0])
    first, _, last = text.partition("-")
    return int(first) <= status <= int(last or first)
