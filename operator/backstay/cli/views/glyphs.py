"""Glyphs and styles. A glyph's shape alone tells the phase, so that nobody needs colours; plain ones stand in where a terminal has no Unicode."""

from typing import Final

from backstay.engine.model import Phase

NOT_BEGUN: Final = "○"
SUSPENDED: Final = "⏸"
BEGUN_NOTHING: Final = ""

GLYPHS: Final[dict[str, str]] = {
    Phase.RUNNING: "▶",
    Phase.WAITING: "◷",
    Phase.RETRYING: "↺",
    Phase.PAUSED: "⚠",
    Phase.STOPPING: "◼",
    Phase.CATCHING: "⚑",
    Phase.FINISHING: "⋯",
    Phase.COMPENSATING: "⟲",
    Phase.SUCCEEDED: "✔",
    Phase.CAUGHT: "⚑",
    Phase.SKIPPED: "↷",
    Phase.FAILED: "✖",
    Phase.CANCELLED: "⊘",
    Phase.COMPENSATED: "⟲",
    "Suspended": SUSPENDED,
    "Stalled": "⚠",
    "Pending": NOT_BEGUN,
    "Queued": "◷",
    BEGUN_NOTHING: NOT_BEGUN,
}

ASCII: Final[dict[str, str]] = {
    "▶": ">",
    "◷": "@",
    "↺": "~",
    "◼": "#",
    "⚑": "!",
    "⟲": "<",
    "✔": "+",
    "↷": "-",
    "✖": "x",
    "⊘": "/",
    "⏸": "=",
    "⚠": "!",
    "○": "o",
    "├─ ": "|- ",
    "└─ ": "`- ",
    "│  ": "|  ",
    "…": "...",
    "⋯": "%",
    "·": "-",
}
"""What stands for a glyph where the terminal cannot show it."""

STYLES: Final[dict[str, str]] = {
    Phase.RUNNING: "bold blue",
    Phase.WAITING: "blue",
    Phase.RETRYING: "yellow",
    Phase.PAUSED: "bold red",
    Phase.STOPPING: "yellow",
    Phase.CATCHING: "yellow",
    Phase.FINISHING: "cyan",
    Phase.COMPENSATING: "bold magenta",
    Phase.SUCCEEDED: "green",
    Phase.CAUGHT: "yellow",
    Phase.SKIPPED: "dim",
    Phase.FAILED: "bold red",
    Phase.CANCELLED: "dim",
    Phase.COMPENSATED: "magenta",
    "Suspended": "yellow",
    "Stalled": "bold red",
    "Pending": "dim",
    "dim": "dim",
    "bold": "bold",
}
"""By phase, and `dim` and `bold`: styles as rich names them."""


def glyph(phase: str) -> str:
    """Return the glyph of a phase; one that is not known gets a point."""
    return GLYPHS.get(phase, "·")


def to_ascii(text: str) -> str:
    """Return text with the glyphs replaced by plain characters."""
    for fancy, plain in ASCII.items():
        text = text.replace(fancy, plain)
    return text
