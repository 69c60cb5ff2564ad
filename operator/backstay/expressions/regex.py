"""How large a regular expression is for RE2, which runs in linear time whatever the pattern, but linear in text and pattern both."""

import re
from typing import Final

COMPILE_NS: Final = 1200
"""Measured: 1.1 ms for 900 states."""
MOST_STATES: Final = 65_000
"""RE2 refuses a pattern that needs more than 8 MB; finding out takes it about 75 ms."""

_ATOM = re.compile(r"\\[pP](?:\{[^}]*\}|.)|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)
_COUNT = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_LONGEST: Final = 1000
_CLASS_STATES: Final = 4
_UNICODE_CLASS_STATES: Final = 700


def states(pattern: str) -> int:
    """Return about how many states a pattern compiles to, at most MOST_STATES: counted repetitions multiply what they repeat."""
    if len(pattern) > _LONGEST:
        return MOST_STATES
    sums, last = [0], [0]
    position = 0
    while position < len(pattern):
        if counted := _COUNT.match(pattern, position):
            sums[-1] += last[-1] * (max(int(counted[1][:6]), int((counted[2] or "0")[:6])) - 1)
            last[-1] *= max(int(counted[1][:6]), int((counted[2] or "0")[:6]), 1)
            position = counted.end()
            continue
        atom = _ATOM.match(pattern, position)
        if atom is None:
            break
        position = atom.end()
        if atom[0] == "(":
            sums.append(0)
            last.append(0)
            continue
        if atom[0] == ")" and len(sums) > 1:
            inner = sums.pop() + 2
            last.pop()
            last[-1] = inner
        else:
            last[-1] = _size_of(atom[0])
        sums[-1] += last[-1]
    return max(1, min(sum(sums), MOST_STATES))


def _size_of(atom: str) -> int:
    if atom.startswith(("\\p", "\\P")):
        return _UNICODE_CLASS_STATES
    if atom == "." or atom.startswith(("[", "\\")):
        return _CLASS_STATES + (_UNICODE_CLASS_STATES if "\\p" in atom or "\\P" in atom else 0)
    return 1
