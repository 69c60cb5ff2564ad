"""An answer, read within limits: how large it is, how much it unpacks to, and what of its headers is kept."""

import math
import zlib
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
import orjson

from backstay.engine.model import Json
from backstay.expressions.format import MAX_DEPTH

MAX_BYTES: Final = 256 * 1024
"""Of a body, packed or unpacked. What is kept of it in a status is at most 4,096 bytes; this is what an expression may look through, which
takes up to 60 ms in which nothing else happens (measured: 50 ms to count 9,000 items of 850 KB, 230 ms to filter them)."""
MAX_HEADER_BYTES: Final = 16 * 1024
LONGEST_RETRY_AFTER_SECONDS: Final = 3600.0
"""A server that asks for more is asked again after this."""
_EXCERPT: Final = 300
_CHUNK: Final = 64 * 1024
_ENCODINGS: Final = {"": 0, "identity": 0, "gzip": 31, "x-gzip": 31, "deflate": 47}
"""What a body may be packed in, although nobody asked for it, and what zlib calls that."""
_NOT_KEPT: Final = frozenset({"set-cookie", "set-cookie2"})
"""Cookies are credentials of the one who gets them."""


async def read(response: aiohttp.ClientResponse, secrets: frozenset[str] = frozenset()) -> dict[str, Json]:
    """Return an answer as the engine takes it: status, headers, body; `unread` says why there is no body, `excerpt` how it begins.

    A body is JSON where it says so, or says nothing and is; else text. No secret stands in it. Raises what breaks on the way.
    """
    found: dict[str, Json] = {"status": response.status, "headers": kept_headers(response.headers, secrets), "body": None}
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        return {**found, "unread": f"it is packed as {encoding[:40]!r}, which nobody asked for"}
    try:
        content, is_whole = await _content(response, _ENCODINGS[encoding])
    except zlib.error:
        return {**found, "unread": f"it says that it is packed as {encoding!r}, and is not"}
    content_type = "" if not is_whole else response.content_type if "Content-Type" in response.headers else "unknown"
    return found | taken(content, content_type, response.charset, secrets)


async def _content(response: aiohttp.ClientResponse, window: int) -> tuple[bytes, bool]:
    """Read until the end or the limit, whichever comes first; the rest is never read."""
    unpack = zlib.decompressobj(window) if window else None
    found, packed = bytearray(), 0
    async for chunk in response.content.iter_chunked(_CHUNK):
        packed += len(chunk)
        found += chunk if unpack is None else unpack.decompress(chunk, MAX_BYTES + 1 - len(found))
        if len(found) > MAX_BYTES or packed > MAX_BYTES or (unpack is not None and unpack.unconsumed_tail):
            return bytes(found[:MAX_BYTES]), False
    if unpack is not None and not unpack.eof:
        raise EOFError
    return bytes(found), True


def taken(content: bytes, content_type: str, charset: str | None = None, secrets: frozenset[str] = frozenset()) -> dict[str, Json]:
    """Return what is known of a body in the engine. `content_type` is `unknown` where nobody says, and empty for the beginning of one too large."""
    try:
        text = content.decode(charset or "utf-8")
    except (UnicodeDecodeError, LookupError):
        text = None
    found: dict[str, Any] = {"excerpt": _excerpt(without(content[:_CHUNK].decode(errors="replace"), secrets))}
    if not content_type:
        return found | {"unread": f"it is larger than {MAX_BYTES:,} bytes"}
    says_json = content_type == "application/json" or content_type.endswith("+json")
    if content and (says_json or content_type == "unknown"):
        try:
            return found | {"body": _plain(orjson.loads(content if text is None else text), secrets)}
        except (orjson.JSONDecodeError, _TooDeep) as error:
            if says_json:
                return found | {"unread": f"it says that it is JSON, and cannot be read as such ({error})"}
    if text is None or "\0" in text:
        return {"unread": f"its {len(content):,} bytes of {content_type} are no text"}
    return found | {"body": without(text, secrets) if content else None}


class _TooDeep(ValueError):
    """A value nests deeper than expressions and the API server take."""


def _plain(value: Json, secrets: frozenset[str], depth: int = 0) -> Json:
    """Return JSON without secrets, and with numbers as the API server keeps them, or the status would not read back as it was written.

    It writes 1.0 as 1, and keeps whole numbers of 64 bits; larger ones become text, as protobuf's JSON has it, and lose no digit.
    """
    match value:
        case str():
            return without(value, secrets)
        case float() if value.is_integer() and abs(value) < 2**64:
            return _plain(int(value), secrets)
        case int() if not -(2**63) <= value < 2**63:
            return str(value)
        case list() | dict() if depth >= MAX_DEPTH:
            raise _TooDeep(f"it nests deeper than {MAX_DEPTH} levels")
        case list():
            return [_plain(item, secrets, depth + 1) for item in value]
        case dict():
            return {without(key, secrets): _plain(item, secrets, depth + 1) for key, item in value.items()}
    return value


def kept_headers(headers: Mapping[str, str], secrets: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return headers by name in lower case, without cookies; several of a name are joined, and what exceeds the limit is left away."""
    found: dict[str, str] = {}
    size = 0
    for name, value in headers.items():
        key = name.lower()
        size += len(name) + len(value)
        if key not in _NOT_KEPT and size <= MAX_HEADER_BYTES:
            plain = without(value.encode(errors="replace").decode(), secrets)
            found[key] = f"{found[key]}, {plain}" if key in found else plain
    return found


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return how long a server asks to be left alone, at most an hour: seconds or a date (RFC 9110, 10.2.3); None where it does not say."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), LONGEST_RETRY_AFTER_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)).timestamp() - now.timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(float(math.ceil(seconds)), 0.0), LONGEST_RETRY_AFTER_SECONDS)


def without(text: str, secrets: frozenset[str]) -> str:
    """Return a text in which no secret stands any more: a server may answer with what it was sent."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "[redacted]")
    return text


def _excerpt(text: str) -> str:
    words = " ".join("".join(character if character.isprintable() else " " for character in text[: 4 * _EXCERPT]).split())
    return words[:_EXCERPT]
