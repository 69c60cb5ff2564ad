"""String formats of CRD schemas: which the server knows, and what each accepts.

The list and the rules are kube-openapi's `strfmt` (v1.37); a format that is not known is ignored, as there. `creditcard` and the `isbn`
family are among the ignored here. Names are compared without dashes, so `date-time` and `datetime` are one.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final
from urllib.parse import urlsplit

_GO_DURATION: Final = re.compile(r"[+-]?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)")
_SCALA_DURATION: Final = re.compile(r"(\d+)\s*([A-Za-zµ]+)")
_SCALA_UNITS: Final = re.compile(r"(ns|nano.*|us|µs|micro.*|ms|milli.*|s|sec.*|m|min.*|h|hr|hour.*|d|day.*|w|wk|week.*)", re.IGNORECASE)
_TIME: Final = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))")
_HOST_LABEL: Final = re.compile(r"[^\W_]([^\W_]|-(?!$)){0,62}")
_SHORT_NAME: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"


def is_duration(text: str) -> bool:
    """Accept what Go's `time.ParseDuration` takes (`1h30m`), and Scala's way besides (`2 days`)."""
    if _GO_DURATION.fullmatch(text):
        return True
    return any(_SCALA_UNITS.fullmatch(unit.strip()) for _, unit in _SCALA_DURATION.findall(text))


def is_date(text: str) -> bool:
    """Accept an RFC 3339 full-date."""
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def is_date_time(text: str) -> bool:
    """Accept an RFC 3339 date-time, in either case."""
    day, separator, clock = text.lower().partition("t")
    match = _TIME.fullmatch(clock)
    return bool(separator and match) and is_date(day) and _clock_runs(clock)


def _clock_runs(clock: str) -> bool:
    return clock[:2] <= "23" and clock[3:5] <= "59" and clock[6:8] <= "59"


def is_bytes(text: str) -> bool:
    """Accept standard base64 with its padding."""
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return bool(text)


def _is_address(kind: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            kind(text)
        except ValueError:
            return False
        return True

    return check


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def _is_uri(text: str) -> bool:
    """A request URI: absolute, or a path; see Go's `url.ParseRequestURI`."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(text) and " " not in text and (text.startswith("/") or bool(parts.scheme))


def _is_host(text: str) -> bool:
    return bool(text) and len(text) <= 255 and all(_HOST_LABEL.fullmatch(label) and not label.endswith("-") for label in text.split("."))


def _matches(pattern: str, longest: int = 2**31) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda text: len(text) <= longest and compiled.fullmatch(text) is not None


def _is_name(pattern: str, longest: int) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: len(text) <= longest and compiled.fullmatch(text) is not None


_HEX: Final = "[0-9a-f]"
CHECKS: Final[Mapping[str, Callable[[str], bool]]] = {
    "bsonobjectid": _matches(f"{_HEX}{{24}}"),
    "byte": is_bytes,
    "cidr": _is_network,
    "date": is_date,
    "datetime": is_date_time,
    "duration": is_duration,
    "email": _matches(r"([^<>@]*<[^\s<>@]+@[^\s<>@]+>|[^\s<>@]+@[^\s<>@]+)"),
    "hexcolor": _matches(f"#?({_HEX}{{3}}|{_HEX}{{6}})"),
    "hostname": _is_host,
    "ipv4": _is_address(ipaddress.IPv4Address),
    "ipv6": _is_address(ipaddress.IPv6Address),
    "k8slongname": _is_name(rf"{_SHORT_NAME}(\.{_SHORT_NAME})*", 253),
    "k8sshortname": _is_name(_SHORT_NAME, 63),
    "mac": _matches(rf"({_HEX}{{2}}([:-]{_HEX}{{2}}){{5,7}})|({_HEX}{{4}}(\.{_HEX}{{4}}){{2,3}})"),
    "password": lambda _: True,
    "rgbcolor": _matches(r"rgb\(\s*(\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])\s*(,\s*(\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])\s*){2}\)"),
    "ssn": _matches(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "uri": _is_uri,
    "uuid": _matches(f"{_HEX}{{8}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{12}}"),
    "uuid3": _matches(f"{_HEX}{{8}}-?{_HEX}{{4}}-?3{_HEX}{{3}}-?{_HEX}{{4}}-?{_HEX}{{12}}"),
    "uuid4": _matches(f"{_HEX}{{8}}-?{_HEX}{{4}}-?4{_HEX}{{3}}-?[89ab]{_HEX}{{3}}-?{_HEX}{{12}}"),
    "uuid5": _matches(f"{_HEX}{{8}}-?{_HEX}{{4}}-?5{_HEX}{{3}}-?[89ab]{_HEX}{{3}}-?{_HEX}{{12}}"),
}
_NUMERIC: Final = {"integer": ("int32", "int64"), "number": ("float", "double")}


def supported_format(schema: Mapping[str, Any]) -> str:
    """Return the format of a schema as it is written there, or "" where there is none or the server ignores it for this type."""
    name: str = schema.get("format") or ""
    kind = schema.get("type") or "string"
    if kind in _NUMERIC:
        return name if name in _NUMERIC[kind] else ""
    return name if kind == "string" and plain(name) in CHECKS else ""


def plain(name: str) -> str:
    """Return a format's name as `CHECKS` has it."""
    return name.replace("-", "")
