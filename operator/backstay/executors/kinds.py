"""Which kinds of step have an executor. Apart from `calls.py`, which says what an executor is, and which they all use."""

from collections.abc import Mapping
from typing import Final

from backstay.executors import http, resource
from backstay.executors.calls import Execute

EXECUTORS: Final[Mapping[str, Execute]] = {
    "http": http.execute,
    "resource": resource.execute,
}
"""By kind of step."""

LIMIT_THEMSELVES: Final = frozenset({"http", "resource"})
"""Kinds whose executor says itself how much may go on at once: one that only waits must not hold up one that works."""
