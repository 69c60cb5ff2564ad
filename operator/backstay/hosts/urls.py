"""A URL of an HTTP call, read strictly (RFC 3986): where two programs could read a text in two ways, it is refused with the mend.

    https://api.example.com/orders?x=1  → Url("https", "api.example.com", 443, "/orders?x=1")

What is refused: user names and passwords, hosts that are not written in ASCII, IP addresses in any spelling but the usual one
(`2130706433`, `0x7f.1`, `127.1`, `0177.0.0.1` are all read as 127.0.0.1 by some), zone identifiers, percent-encoded hosts, backslashes,
white space and control characters. Paths and queries may hold any other character; those that a URL cannot hold are percent-encoded.
"""

import ipaddress
import re
import urllib.parse
from dataclasses import dataclass
from typing import Final

from backstay.hosts.addresses import Address

MAX_LENGTH: Final = 8192
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.DOTALL)
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""What the last part of a host must not be, unless the whole of it is an address (WHATWG URL, "ends in a number")."""
_KEPT: Final = "/?:@!$&'()*+,;=-._~%[]|^"
"""What stays as it is in paths and queries; servers want some of it (`[]`, `|`) that RFC 3986 would rather have encoded."""


@dataclass(frozen=True, slots=True)
class Url:
    """An absolute URL of http or https. `host` is in lower case without a final dot; an IPv6 address stands in it without brackets."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query, encoded, beginning with a slash."""
    address: Address | None = None
    """Where the host is written as an IP address."""

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL; the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials are meant for (RFC 6454)."""
        return self.scheme, self.host, self.port

    @property
    def shown(self) -> str:
        """The URL for messages: without its query, which may hold what is nobody's business."""
        path, mark, _ = self.target.partition("?")
        return f"{self.scheme}://{self.authority}{path}{'?…' if mark else ''}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_url(text: str) -> Url:
    """Read a URL. Raises ValueError, whose message says what was found and what to write instead, and never quotes a password."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"the URL has {len(text):,} characters and may have {MAX_LENGTH:,}; put the data into the body")
    if strange := next((character for character in text if ord(character) <= 32 or ord(character) == 127 or character == "\\"), None):
        raise ValueError(f"the URL holds {strange!a}, which no URL may hold; encode what is put into it, as in %20 for a blank")
    found = _URL.fullmatch(text)
    if found is None or found[1].lower() not in DEFAULT_PORTS or not found[2]:
        raise ValueError("the URL must begin with https:// or http:// and a host, as in https://api.example.com/orders")
    scheme = found[1].lower()
    host, port, address = parse_authority(found[3])
    path, query = found[4] or "/", found[5] or ""
    return Url(scheme, host, port or DEFAULT_PORTS[scheme], _encoded(path + query), address)


def parse_authority(text: str) -> tuple[str, int | None, Address | None]:
    """Read `host` or `host:port`: the host, the port if there is one, the address if it is one. Raises ValueError as `parse_url`."""
    if "@" in text:
        raise ValueError("the URL holds a user name or a password before the host; send it in a header, whose value comes from a Secret")
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"the host {text[:80]!r} is no IPv6 address in brackets; write it as in [2001:db8::1]")
        address: Address | None = _ipv6(inside)
        return str(address), _port(rest[1:]) if rest else None, address
    host, colon, port = text.partition(":")
    host, address = parse_host(host)
    return host, _port(port) if colon else None, address


def parse_host(text: str) -> tuple[str, Address | None]:
    """Read a host without brackets and port: its usual form, and the address if it is one. Raises ValueError as `parse_url`."""
    if not text:
        raise ValueError("the URL has no host; write one, as in https://api.example.com/orders")
    if not text.isascii():
        raise ValueError(f"the host {ascii(text)[:80]} is not written in ASCII; write its punycode form, which begins with xn--")
    host = text.lower().removesuffix(".")
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return host, _ipv4(host)
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{text[:80]!r} is no name of a host; write letters, digits, hyphens and dots, as in api.example.com")
    return host, None


def _ipv4(host: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(host)  # four decimal numbers without leading zeros, nothing else
    except ValueError:
        raise ValueError(f"{host[:80]!r} is an IP address in an odd spelling; write four decimal numbers, as in 192.0.2.1") from None


def _ipv6(inside: str) -> ipaddress.IPv6Address:
    try:
        address = ipaddress.IPv6Address(inside)
    except ValueError:
        raise ValueError(f"{inside[:80]!r} is no IPv6 address; write it as in [2001:db8::1]") from None
    if address.scope_id is not None:
        raise ValueError(f"{inside[:80]!r} names a network interface after %; leave that away")
    return address


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or not 1 <= int(text) <= 65535:
        raise ValueError(f"{text[:20]!r} is no port; write a number from 1 to 65535, or leave it and the colon away")
    return int(text)


def _encoded(target: str) -> str:
    if not target.startswith("/"):
        target = f"/{target}"
    return urllib.parse.quote(target, safe=_KEPT)
