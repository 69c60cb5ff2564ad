"""What is the same at every run: conditions, counts and durations that refer to nothing."""

from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

from backstay.api.base import parse_duration
from backstay.errors import EvaluationError, InvalidExpression
from backstay.expressions import compile_expression, whole_expression

UNKNOWN: Final = object()
"""Stands for a value that is not known before the run."""


def constant(value: Any) -> Any:
    """Return a value that is the same at every run; UNKNOWN where it is none, or cannot be worked out."""
    if not isinstance(value, str) or "${" not in value:
        return UNKNOWN if isinstance(value, (list, dict)) and "${" in str(value) else value
    return _constant(value)


@lru_cache(4096)
def _constant(text: str) -> Any:
    try:
        source = whole_expression(text)
        return UNKNOWN if source is None else compile_expression(source, ()).evaluate({})
    except (InvalidExpression, EvaluationError):
        return UNKNOWN


def is_always(text: str | None, answer: bool) -> bool:
    """Tell whether a condition is there and gives this answer at every run."""
    return text is not None and constant(text) is answer


def constant_duration(text: str | None) -> timedelta | None:
    """Return a duration that is the same at every run, None where it is not known."""
    try:
        return parse_duration(found) if isinstance(found := constant(text), str) else None
    except ValueError:
        return None
