"""Regular expressions of schemas, with the meaning that RE2 gives them.

Go and CEL use RE2; Python's `re` differs in a few places. Nearly every pattern means the same to both once `$` is told to mean the very
end, so those run in `re`; whatever `re` cannot compile runs in RE2 itself, through CEL, which costs some ten times as much.
"""

from __future__ import annotations

import re
import warnings
from typing import Final

from backstay.local.apiserver.schema.cel_env import matches_re2

_UNLIKE_RE2: Final = re.compile(r"\\[pPQCz]|\(\?[^:Pi]|\[\[:|\\[bB]")
"""Unicode classes, quoting, flags, look-around, POSIX classes, word boundaries: spelt or meant differently, or unknown to one of the two."""


class Pattern:
    """A compiled pattern: `text` as written, and `found_in`."""

    __slots__ = ("_compiled", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._compiled = _compile(text)

    def found_in(self, value: str) -> bool:
        """Tell whether the pattern matches anywhere in the value."""
        if self._compiled is not None:
            return self._compiled.search(value) is not None
        return matches_re2(value, self.text)


def _compile(text: str) -> re.Pattern[str] | None:
    if _UNLIKE_RE2.search(text):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return re.compile(_with_true_end(text), re.ASCII)
    except (re.error, FutureWarning):
        return None


def _with_true_end(text: str) -> str:
    """Replace `$` outside of classes by `\\Z`: Python's `$` also matches before a final line break, RE2's does not."""
    out: list[str] = []
    in_class = escaped = False
    for character in text:
        if character == "$" and not escaped and not in_class:
            out.append(r"\Z")
            continue
        if not escaped:
            in_class = (in_class or character == "[") and character != "]"
        escaped = character == "\\" and not escaped
        out.append(character)
    return "".join(out)
