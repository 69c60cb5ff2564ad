"""Field errors, worded as the API server words them.

A check collects `FieldError`s; whoever has collected them turns the list into one `Status` of reason Invalid. The wording, and what
stands in quotation marks, follows apimachinery's `field.Error` (v1.37), because users, tests and clients match on it.

Example:
    >>> invalid("spec.steps[0].name", "X", "must be lower case").text
    'spec.steps[0].name: Invalid value: "X": must be lower case'
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

REQUIRED: Final = "FieldValueRequired"
INVALID: Final = "FieldValueInvalid"
NOT_SUPPORTED: Final = "FieldValueNotSupported"
DUPLICATE: Final = "FieldValueDuplicate"
FORBIDDEN: Final = "FieldValueForbidden"
TOO_LONG: Final = "FieldValueTooLong"
TOO_MANY: Final = "FieldValueTooMany"
TYPE_INVALID: Final = "FieldValueTypeInvalid"
NOT_FOUND: Final = "FieldValueNotFound"
INTERNAL: Final = "InternalError"

_TITLES: Final = {
    REQUIRED: "Required value",
    INVALID: "Invalid value",
    NOT_SUPPORTED: "Unsupported value",
    DUPLICATE: "Duplicate value",
    FORBIDDEN: "Forbidden",
    TOO_LONG: "Too long",
    TOO_MANY: "Too many",
    TYPE_INVALID: "Invalid value",
    NOT_FOUND: "Not found",
    INTERNAL: "Internal error",
}
_SHOWS_NO_VALUE: Final = frozenset({REQUIRED, FORBIDDEN, TOO_LONG, INTERNAL})
_NO_VALUE: Final = object()
_NO_FIELD: Final = "<nil>"
"""What Go prints for the path of the object itself."""


class Verbatim(str):
    """A value that stands in a message as it is, without quotation marks."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong: its reason (`FieldValue…`), the path, the value found there, and what is wrong with it."""

    reason: str
    field: str
    value: Any
    detail: str

    @property
    def body(self) -> str:
        """The message without the path, as it stands in a cause of the Status."""
        title = _TITLES[self.reason]
        if self.reason not in _SHOWS_NO_VALUE and self.value is not _NO_VALUE:
            title = f"{title}: {go_value(self.value)}"
        return f"{title}: {self.detail}" if self.detail else title

    @property
    def text(self) -> str:
        """The whole message: path and body."""
        return f"{self.field}: {self.body}"

    @property
    def cause(self) -> dict[str, str]:
        """The error as an entry of a Status's `details.causes`."""
        return {"reason": self.reason, "message": self.body, "field": self.field}


def required(field: str, detail: str = "") -> FieldError:
    """A value is missing."""
    return FieldError(REQUIRED, field or _NO_FIELD, "", detail)


def invalid(field: str, value: Any, detail: str) -> FieldError:
    """A value is malformed or out of bounds."""
    return FieldError(INVALID, field or _NO_FIELD, value, detail)


def type_invalid(field: str, value: Any, detail: str) -> FieldError:
    """A value is of another type than the schema's."""
    return FieldError(TYPE_INVALID, field or _NO_FIELD, value, detail)


def not_supported(field: str, value: Any, supported: Iterable[str]) -> FieldError:
    """A value is none of those allowed; they are listed in the order given."""
    names = ", ".join(go_quote(name) for name in supported)
    return FieldError(NOT_SUPPORTED, field, value, f"supported values: {names}" if names else "")


def not_found(field: str, value: Any) -> FieldError:
    """A value names something that is not there."""
    return FieldError(NOT_FOUND, field, value, "")


def duplicate(field: str, value: Any) -> FieldError:
    """A value that must be unique occurs twice."""
    return FieldError(DUPLICATE, field, value, "")


def forbidden(field: str, detail: str) -> FieldError:
    """A value may not be given here."""
    return FieldError(FORBIDDEN, field or _NO_FIELD, "", detail)


def too_long(field: str, limit: int) -> FieldError:
    """A string is longer than `limit`; the server says bytes whatever it counted."""
    return FieldError(TOO_LONG, field, "", f"may not be more than {limit} {'byte' if limit == 1 else 'bytes'}")


def too_many(field: str, found: int, limit: int) -> FieldError:
    """A list or map has more than `limit` entries."""
    return FieldError(TOO_MANY, field, found, f"must have at most {limit} {'item' if limit == 1 else 'items'}")


def without_value(field: str, detail: str) -> FieldError:
    """Something is invalid as a whole; the message shows no value."""
    return FieldError(INVALID, field or _NO_FIELD, _NO_VALUE, detail)


def immutable(field: str, value: Any) -> FieldError:
    """A value was changed that may not change after creation."""
    return FieldError(INVALID, field, value, "field is immutable")


def summary(errors: Sequence[FieldError]) -> str:
    """Join errors as Go's aggregate does: one as it is, several in brackets, repetitions left out."""
    texts = list(dict.fromkeys(error.text for error in errors))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def go_value(value: Any) -> str:
    """Print a value as Go's `%v` for numbers and booleans, `%q` for strings, and its JSON for the rest."""
    if isinstance(value, Verbatim):
        return str(value)
    if isinstance(value, str):
        return go_quote(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return go_float(value)
    return go_json(value)


def go_json(value: Any) -> str:
    """Encode as Go's `json.Marshal` does a map: sorted keys, no blanks, `<`, `>` and `&` escaped."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def go_quote(text: str) -> str:
    """Quote as Go's `strconv.Quote`."""
    return '"' + "".join(_quoted(character) for character in text) + '"'


def go_float(value: float) -> str:
    """Print as Go's `%v`: the fewest digits that give the same number, with an exponent below 1e-4 and from a million on (`1e+06`)."""
    scientific = next(text for text in (f"{value:.{digits}e}" for digits in range(18)) if float(text) == value)
    exponent = int(scientific.partition("e")[2])
    if -4 <= exponent < 6:
        return repr(value).removesuffix(".0")
    return scientific


_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def _quoted(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
