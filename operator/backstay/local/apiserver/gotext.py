"""Values as Go's fmt prints them with %v: what string columns and some messages show of lists and maps."""

from collections.abc import Mapping
from typing import Any

from backstay.local.apiserver.fields import go_float


def go_text(value: Any) -> str:
    """Return a value as text: `map[a:1 b:[x y]]`, `true`, `<nil>`."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return go_float(value)
    if isinstance(value, list):
        return f"[{' '.join(go_text(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{go_text(inner)}' for key, inner in sorted(value.items()))}]"
    return str(value)
