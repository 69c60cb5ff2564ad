"""Words for messages: what was found, what there is, what was meant. Shared by expressions, validation and the command line."""

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

_SHOWN_NAMES: Final = 10
_SHOWN_TEXT: Final = 120
_SHOWN_VALUE: Final = 60
_LONGEST_COMPARED: Final = 100
_MOST_COMPARED: Final = 1000


def suggestion(found: str, known: Collection[str]) -> str:
    """Return `; did you mean "…"?` where one of the known names is close to the one that was found, else nothing."""
    close = closest(found, known)
    return f'; did you mean "{close}"?' if close else ""


def there_are(known: Iterable[str]) -> str:
    """Return `there are: a, b` for the names that exist, at most ten of them."""
    names = sorted(map(str, known))
    if not names:
        return "there is nothing here"
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return f"there {'is' if len(names) == 1 else 'are'}: {', '.join(names[:_SHOWN_NAMES])}{more}"


def shortened(text: str, limit: int = _SHOWN_TEXT) -> str:
    """Return text cut to a length that fits into a message."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def path_of(chain: Iterable[str]) -> str:
    """Write a chain as the expression would: `steps["a-b"].outputs`."""
    first, *rest = chain
    return first + "".join(f".{name}" if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else f'["{name}"]' for name in rest)


def field_path(path: str, name: str) -> str:
    """Return the path of a field below `path`, as it reads in YAML: `steps[0].job`, `nodeSelector["a.b/c"]`."""
    if not re.fullmatch(r"[A-Za-z0-9_$-]+", name):
        return f"{path}[{quoted(name)}]"
    return f"{path}.{name}" if path else name


def quoted(value: Any) -> str:
    """Return a value as it stands in a message: text in double quotes, anything else as JSON, neither longer than 60 characters."""
    if isinstance(value, str):
        return json.dumps(shortened(value, _SHOWN_VALUE), ensure_ascii=False)
    return shortened(json.dumps(value, ensure_ascii=False, default=str), _SHOWN_VALUE)


def described(value: Any) -> str:
    """Say what a value is, as `the number 5`, `a list of 2`, `null`."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {value}"
        case str():
            return f'the text "{shortened(value, 40)}"'
        case list() | tuple():
            return f"a list of {len(value)}"
        case Mapping():
            return "a map"
    return f"a {type(value).__name__}"


def closest(found: str, known: Collection[str]) -> str | None:
    """Return the known name that was most likely meant, if any is close; long texts and long lists are not compared."""
    candidates = list(map(str, known))
    if len(found) > _LONGEST_COMPARED or len(candidates) > _MOST_COMPARED:
        return None
    by_case = {name.lower().replace("-", "_"): name for name in candidates}
    if exact := by_case.get(found.lower().replace("-", "_")):
        return exact
    close = difflib.get_close_matches(found, candidates, n=1, cutoff=0.6)
    return close[0] if close else None
