"""How values leave an expression: as JSON, and as text where they stand inside other text."""

import base64
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from backstay.errors import EvaluationError

Json: TypeAlias = Any

MAX_RESULT_BYTES: Final = 256 * 1024
"""The result of an expression, written as JSON. A status holds 700 KB in all (DESIGN, promise 8)."""
MAX_DEPTH: Final = 64
"""How deep a value may nest: deeper than any pod template, shallower than Python's stack."""

_UNITS = (("h", 3_600_000_000), ("m", 60_000_000))


def to_json(value: Any, depth: int = 0) -> Json:
    """Return a result of CEL as JSON, or raise EvaluationError where JSON has no such thing.

    Maps come in the order of their keys: the CEL library's own order differs from process to process.
    Timestamps become RFC 3339 in UTC, durations Go's notation, bytes base64 (the JSON mapping of protobuf and of Kubernetes' CEL).
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return _finite(value)
        case list() | tuple() | Mapping() if depth >= MAX_DEPTH:
            raise EvaluationError(f"the result nests deeper than {MAX_DEPTH} levels; make it flatter")
        case list() | tuple():
            return [to_json(item, depth + 1) for item in value]
        case Mapping():
            return {name: to_json(value[name], depth + 1) for name in sorted(map(_key, value))}
        case datetime():
            return format_time(value)
        case timedelta():
            return format_duration(value)
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
    raise EvaluationError("the result is a type, not a value; JSON cannot hold it")


def to_text(value: Json) -> str:
    """Return a JSON value as text: strings as they are, all else as compact JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def size_bytes(value: Json, limit: float = math.inf) -> int:
    """Return about how long a value is as JSON, without writing it, however deep it nests; above `limit` it stops counting.

    The limit is for values whose parts may be shared, as YAML's anchors make them: a hundred bytes can stand for a terabyte.
    """
    size, waiting = 0, [value]
    while waiting and size <= limit:
        item = waiting.pop()
        if isinstance(item, str):
            size += len(item) + 3 if item.isascii() else len(item.encode(errors="surrogatepass")) + 3
        elif isinstance(item, Mapping):
            size += 2
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, (list, tuple)):
            size += 2
            waiting.extend(item)
        else:
            size += 6 if item is None or isinstance(item, bool) else 16
    return size


def format_time(moment: datetime) -> str:
    """Write a moment in RFC 3339 and UTC, with fractions of a second only where there are any."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds" if moment.microsecond else "seconds").replace("+00:00", "Z")


def format_duration(duration: timedelta) -> str:
    """Write a duration in Go's notation (time.Duration.String): `1h30m0s`, `1.5s`, `250ms`, `0s`; less than a second in ms alone."""
    microseconds = duration // timedelta(microseconds=1)
    if microseconds < 0:
        return "-" + format_duration(-duration)
    if 0 < microseconds < 1_000_000:
        return f"{_decimal(microseconds / 1000)}ms"
    parts: list[str] = []
    for unit, size in _UNITS:
        count, microseconds = divmod(microseconds, size)
        if count or parts:
            parts.append(f"{count}{unit}")
    return "".join([*parts, f"{_decimal(microseconds / 1_000_000)}s"])


def _decimal(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _finite(number: float) -> float:
    if math.isfinite(number):
        return number
    raise EvaluationError(f"the result is {number}, which JSON cannot hold; test for it before, as in x != 0.0 ? y / x : 0.0")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    raise EvaluationError(f"the result is a map with the key {key!r}, and keys in JSON are text; write string({key!r})")
