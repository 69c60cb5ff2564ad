"""Entries as they stand in their places: read strictly, for a reader that is lenient would not see what was changed."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, TypeGuard

import orjson

from backstay.engine import codec, journal
from backstay.engine.audit.findings import Finding, Kind, Place, Unreadable
from backstay.engine.model import Entry
from backstay.errors import TamperedState

_TYPES: Final = {
    "sequence": int,
    "kind": str,
    "path": str,
    "attempt": int,
    "actor": str,
    "reason": str,
    "changes": Mapping,
    "previous": str,
    "time": datetime,
}
MOST_NUMBER: Final = 10**12
"""No journal has so many entries: what says so is no number."""


@dataclass(slots=True, eq=False)
class Standing:
    """One entry in its place. `entry` is None where it cannot be read."""

    place: Place
    index: int
    number: int
    """Which entry it is; where its own number was changed, the one that belongs there."""
    entry: Entry | None
    seal: str
    is_blamed: bool = False
    """Whether a finding names it: what follows from that is not told again."""

    @property
    def where(self) -> str:
        return self.place.where(self.index)

    @property
    def previous(self) -> str | None:
        """The hash that it gives for the entry before it; None where it cannot be read."""
        return self.entry.previous if self.entry else None

    def finding(self, kind: Kind, message: str) -> Finding:
        """Blame it."""
        self.is_blamed = True
        return Finding(kind, self.where, message, self.number, self.entry.time if self.entry else None)


def read(place: Place, first: int) -> tuple[list[Standing], list[Finding]]:
    """Read the entries of a place. `first` is the number that its first one should have."""
    standings: list[Standing] = []
    findings: list[Finding] = []
    expected = first
    for index, raw in enumerate(place.entries):
        entry, seal, trouble = read_entry(raw)
        number = entry.sequence if entry else _number(raw, expected)
        found = Standing(place, index, number, entry, seal)
        if trouble:
            findings.append(found.finding(Kind.EDITED, trouble))
        standings.append(found)
        expected = number + 1
    return standings, findings


def _number(raw: Any, expected: int) -> int:
    found = raw.sequence if isinstance(raw, Unreadable) else raw.get("sequence") if isinstance(raw, Mapping) else None
    return found if is_count(found) and 0 < found < MOST_NUMBER else expected


def read_entry(raw: Any) -> tuple[Entry | None, str, str]:
    """Return an entry with its hash, or None and what is wrong with it. Strict: what no operator would have written is no entry."""
    if isinstance(raw, Unreadable):
        return None, "", raw.why
    if not isinstance(raw, Mapping):
        return None, "", f"it is no entry: {short(raw)}"
    try:
        entry = codec.entry_from_json(raw)
        wrong = [name for name, kind in _TYPES.items() if not _is(getattr(entry, name), kind)]
        if not wrong and not 0 < entry.sequence < MOST_NUMBER:
            wrong = ["sequence"]
        if wrong:
            return None, "", f"it cannot be read: {', '.join(f'{name} is {short(raw.get(name))}' for name in wrong)}"
        if canonical(codec.entry_to_json(entry)) == canonical(raw):
            return entry, journal.hash_of(entry), ""
        return None, "", f"it is not as an operator writes it: {_difference(codec.entry_to_json(entry), raw)}"
    except (TamperedState, TypeError, AttributeError, ValueError, RecursionError) as error:
        return None, "", f"it cannot be read: {error}"


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def is_count(value: Any) -> TypeGuard[int]:
    """Tell whether a value counts something."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def canonical(value: Any) -> bytes:
    """Return a JSON value as the bytes that are hashed: `True` and `1` differ, `1.0` and `1` do not (`codec.canonical`)."""
    return orjson.dumps(codec.canonical(value), option=orjson.OPT_SORT_KEYS)


def _difference(written: Mapping[str, Any], raw: Mapping[str, Any]) -> str:
    names = [field.name for field in fields(Entry)]
    differs = [name for name in names if canonical(written.get(name)) != canonical(raw.get(name)) or (name in raw) != (name in written)]
    return ", ".join(f"{name} is {short(raw.get(name))}" for name in differs)


def short(value: Any, limit: int = 60) -> str:
    """Write a value in a few characters."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except (TypeError, ValueError):
        text = repr(value) if isinstance(value, int) else f"a {type(value).__name__} that is no JSON"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
