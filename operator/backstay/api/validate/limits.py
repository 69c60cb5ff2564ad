"""Bounds on the size and the depth of what is written, looked at before anything else, so that nothing that follows can be made to hang."""

import json
import math
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final

from backstay.errors import Problem
from backstay.expressions.format import size_bytes
from backstay.expressions.words import field_path, quoted

MAX_SPEC_BYTES: Final = 400 * 1024
"""A revision, the status and the object itself must each fit into one object of the API server, which takes 1.5 MB."""
MAX_PARAMETERS_BYTES: Final = 256 * 1024
MAX_NESTING: Final = 30
"""Lists of steps inside each other."""
MAX_STEPS: Final = 5000
MAX_DEPTH: Final = 190
"""Levels of JSON: 30 lists of steps need at most 180, and the JSON parser takes no more than 200."""


def check_json(value: Any, path: str, limit_bytes: int) -> list[Problem]:
    """Return what keeps a value from being taken as JSON at all: its size, its depth, or things that JSON does not have."""
    if size_bytes(value, limit_bytes) > limit_bytes:
        return [Problem(path, f"{_subject(path)}is longer than {limit_bytes:,} bytes as JSON; pass large data by reference, or divide it")]
    return list(_unjson(value, path))


def _unjson(value: Any, path: str) -> Iterator[Problem]:
    waiting: list[tuple[Any, str, int]] = [(value, path, 0)]
    while waiting:
        item, place, depth = waiting.pop()
        if depth > MAX_DEPTH:
            yield Problem(
                path,
                f"{_subject(path)}nests more than {MAX_DEPTH} levels deep; make it flatter, or start a run of its own for a part of it",
            )
            return
        if isinstance(item, Mapping):
            yield from (Problem(place, _key_message(key)) for key in item if not isinstance(key, str))
            waiting.extend((below, field_path(place, str(key)), depth + 1) for key, below in reversed(list(item.items())))
        elif isinstance(item, (list, tuple)):
            waiting.extend((below, f"{place}[{index}]", depth + 1) for index, below in reversed(list(enumerate(item))))
        elif message := _scalar_message(item):
            yield Problem(place, message)


def _subject(path: str) -> str:
    return "" if path else "the spec "


def _scalar_message(item: Any) -> str:
    match item:
        case None | bool():
            return ""
        case str():
            is_whole = item.isascii() or not any(0xD800 <= ord(character) < 0xE000 for character in item)
            return "" if is_whole else "holds half of a character (a lone surrogate); mend the text"
        case int():
            return "" if -(2**63) <= item < 2**64 else "does not fit into 64 bits; write it in quotes and pass it as text"
        case float():
            return "" if math.isfinite(item) else f"is {item}, which JSON does not have; write a number"
        case date():
            return f"is read as a date and must be text; write it in quotes: {quoted(item.isoformat().replace('+00:00', 'Z'))}"
    return f"is of a type that JSON does not have ({type(item).__name__}); write it in quotes"


def _key_message(key: Any) -> str:
    if isinstance(key, bool):
        words = "on, yes or true" if key else "off, no or false"
        return f"the field name {str(key).lower()} is read as true or false and must be text; write {words} in quotes"
    return f"the field name {json.dumps(key, default=str)} must be text; write it in quotes"
