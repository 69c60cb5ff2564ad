"""Words and lines: text that cannot harm a terminal, lengths of time for eyes, and lines that know what their parts mean."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

_HIDDEN: Final = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Unicode categories that are not printed as they are: control characters could steer the terminal, format characters reorder its text."""


def clean(text: str, limit: int | None = None) -> str:
    """Return text on one line that shows all and steers nothing; what cannot be shown becomes a space or `\\x1b`. Cut at `limit` characters."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(_shown(character) for character in text)
    text = text.strip()
    return text if limit is None or len(text) <= limit else f"{text[: max(limit - 1, 0)]}…"


def _shown(character: str) -> str:
    if character in "\n\r\t\v\f\u2028\u2029":
        return " "
    if unicodedata.category(character) in _HIDDEN:
        return character.encode("unicode_escape").decode()
    return character


def one_line(text: str) -> str:
    """Return text with its line breaks and runs of spaces made single spaces."""
    return re.sub(r"\s+", " ", text).strip()


# ------------------------------------------------------------------------------------------------------------------- time


def length(duration: timedelta) -> str:
    """Write a length of time for eyes: `0.4s`, `42s`, `2m10s`, `3h5m`, `2d3h`. Never negative."""
    seconds = max(duration.total_seconds(), 0.0)
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    units = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
    for index, (unit, size) in enumerate(units):
        if whole >= size:
            count, rest = divmod(whole, size)
            lower, lower_size = units[index + 1] if unit != "s" else ("", 1)
            second = rest // lower_size if lower else 0
            return f"{count}{unit}" + (f"{second}{lower}" if second else "")
    return "0s"


def moment(time: datetime) -> str:
    """Write a moment: RFC 3339 in UTC, to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# ------------------------------------------------------------------------------------------------------------------ lines


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a line, and what it is: the name of a style (`views/glyphs.py`), or nothing in particular."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of output. `active` marks what goes on now: it is kept in view where not all lines fit."""

    spans: tuple[Span, ...] = field(default=())
    active: bool = False

    @property
    def text(self) -> str:
        """The line without its styles."""
        return "".join(span.text for span in self.spans).rstrip()


def line(*parts: str | Span, active: bool = False) -> Line:
    """Make a line of plain text and spans."""
    return Line(tuple(Span(part) if isinstance(part, str) else part for part in parts), active)


def fit(lines: Sequence[Line], height: int) -> list[Line]:
    """Return at most `height` lines: the head, and the part around what goes on, with the number of lines left out."""
    if len(lines) <= height or height < 4:
        return list(lines[:height])
    room = height - 3
    focus = next((index for index, item in enumerate(lines) if item.active), 0)
    start = max(1, min(focus - room // 3, len(lines) - room))
    above, below = start - 1, len(lines) - start - room
    kept = [lines[0], _left_out(above, "above") if above else Line(), *lines[start : start + room]]
    return [*kept, _left_out(below, "below")] if below else kept


def _left_out(count: int, where: str) -> Line:
    return line(Span(f"  … {count} more {where}", "dim"))


# -------------------------------------------------------------------------------------------------------------- sentences


def listed(items: Iterable[str], limit: int = 5) -> str:
    """Write a list in words: `a`, `a and b`, `a, b and c`, `a, b, c, d, e and 7 more`."""
    found = list(items)
    if len(found) > limit:
        return f"{', '.join(found[:limit])} and {len(found) - limit} more"
    return " and ".join([", ".join(found[:-1]), found[-1]]) if len(found) > 1 else "".join(found)


def counted(number: int, what: str) -> str:
    """Write a number of things: `1 step`, `3 steps`."""
    return f"{number} {what}" if number == 1 else f"{number:,} {what}s"
