"""Whatever a URL looks like, and whatever a name server answers: no connection goes where none may go.

Connections are watched where they leave Python, at the loop, and judged by a second opinion that shares no code with the rules.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

import aiohttp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backstay.executors.http.exchange import Exchange, Outgoing, redirected, tls_context
from backstay.executors.http.secrets import Headers
from backstay.hosts.addresses import Address
from backstay.hosts.rules import HostForbidden, HostRules
from backstay.hosts.urls import parse_url
from tests.unit.hosts.hostile import NAMES, SPELLINGS

PUBLIC_ONLY = HostRules.parse(["*:*"])
_SPECIAL = ("168.63.129.16", "192.88.99.1")


def is_public(address: Address) -> bool:
    """The second opinion."""
    if address.version == 6:
        if address in ipaddress.ip_network("::ffff:0:0/96") or address in ipaddress.ip_network("64:ff9b::/96"):
            return is_public(ipaddress.IPv4Address(address.packed[-4:]))
        inside = address in ipaddress.ip_network("2000::/3")
        return inside and not any(
            address in ipaddress.ip_network(text) for text in ("2001::/23", "2002::/16", "2001:db8::/32", "3fff::/20")
        )
    return address.is_global and not address.is_multicast and not address.is_reserved and str(address) not in _SPECIAL


class Watching(asyncio.SelectorEventLoop):
    """A loop that connects to nobody, and remembers to whom it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: list[str] = []

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        self.wanted.append(str(address[0]))
        raise ConnectionRefusedError


def connections(url: str, answers: Sequence[Address]) -> list[str]:
    """Return where a call of a URL connects to, where every name leads to `answers`."""

    async def ask(name: str) -> Sequence[Address]:
        return answers

    async def call() -> None:
        exchange = Exchange(PUBLIC_ONLY, ask, lambda: tls_context(""))
        with contextlib.suppress(ValueError, HostForbidden, OSError, aiohttp.ClientError):
            await exchange.send(Outgoing("GET", parse_url(url), Headers(())))

    with asyncio.Runner(loop_factory=Watching) as runner:
        runner.run(call())
        return runner.get_loop().wanted  # type: ignore[attr-defined]


V4 = st.one_of(
    st.ip_addresses(v=4),
    st.sampled_from([ipaddress.IPv4Address(text) for text in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "93.184.216.34", "8.8.8.8", "0.0.0.0")]),
)  # fmt: skip
V6 = st.one_of(
    st.ip_addresses(v=6),
    V4.map(lambda address: ipaddress.IPv6Address(f"::ffff:{address}")),
    V4.map(lambda address: ipaddress.IPv6Address(f"64:ff9b::{address}")),
    V4.map(lambda address: ipaddress.IPv6Address(f"::{address}")),
    st.sampled_from([ipaddress.IPv6Address(text) for text in ("::1", "fe80::1", "fd00::1", "2606:4700::1111", "2002:7f00:1::", "::")]),
)
ADDRESSES = st.lists(st.one_of(V4, V6), min_size=1, max_size=3)


def spelled(address: ipaddress.IPv4Address, way: int) -> str:
    number, parts = int(address), str(address).split(".")
    return [
        str(address),
        str(number),
        hex(number),
        oct(number).replace("o", ""),
        ".".join(hex(int(part)) for part in parts),
        ".".join(f"0{int(part):o}" for part in parts),
        f"{parts[0]}.{number & 0xFFFFFF}",
        f"{parts[0]}.{parts[1]}.{number & 0xFFFF}",
        f"{address}.",
        f"[::ffff:{address}]",
        f"[::{address}]",
        f"[64:ff9b::{address}]",
        "".join(f"%{ord(character):02x}" for character in str(address)),
        str(address).translate(str.maketrans("0123456789.", "０１２３４５６７８９。")),
    ][way]


HOSTS = st.one_of(
    st.sampled_from([*NAMES, "api.example.com", "", "[", "]", "::1", "[::1]"]),
    st.builds(spelled, V4, st.integers(0, 13)),
    V6.map(lambda address: f"[{address}]"),
    st.text("abc.-_%@:/\\#?[]0123456789xX \t\0", max_size=12),
)
URLS = st.one_of(
    st.builds(
        "".join,
        st.tuples(
            st.sampled_from(["http://", "https://", "http:/", "HTTP://", "//", "http:\\\\", "http:", "ftp://", ""]),
            st.sampled_from(["", "", "", "user@", "a:b@", "api.example.com#@", "api.example.com\\@", "api.example.com/@"]),
            HOSTS,
            st.sampled_from(["", "", ":80", ":", ":0", ":65535", ":８０", ":80@127.0.0.1"]),
            st.sampled_from(["", "/", "/a?b#c", "?@127.0.0.1", "#@127.0.0.1", "\\@127.0.0.1", "/..", "\r\nHost: 127.0.0.1"]),
        ),
    ),
    st.sampled_from(SPELLINGS),
    st.text(max_size=40).map(lambda text: f"http://{text}/"),
)


@settings(max_examples=400)
@given(url=URLS, answers=ADDRESSES)
@example(url="http://api.example.com/", answers=[ipaddress.ip_address("93.184.216.34"), ipaddress.ip_address("10.0.0.1")])
def test_no_connection_goes_to_an_address_that_is_not_public(url: str, answers: list[Address]) -> None:
    reached = connections(url, answers)
    assert [address for address in reached if not is_public(ipaddress.ip_address(address))] == []


def test_a_public_host_is_connected_to_so_the_watch_sees_what_there_is_to_see() -> None:
    assert connections("http://api.example.com/", [ipaddress.ip_address("93.184.216.34")]) == ["93.184.216.34"]
    assert connections("http://93.184.216.34:8080/", []) == ["93.184.216.34"]
    assert connections("https://[2606:4700::1111]/", []) == ["2606:4700::1111"]


@settings(max_examples=300)
@given(address=st.one_of(V4, V6))
def test_both_opinions_of_an_address_agree(address: Address) -> None:
    try:
        PUBLIC_ONLY.check_addresses(parse_url("http://api.example.com/"), [address])
        allowed = True
    except HostForbidden:
        allowed = False
    assert allowed <= is_public(address)
    if is_public(address) and address.version == 4 and not str(address).startswith("192."):
        assert allowed


@settings(max_examples=300)
@given(location=st.one_of(URLS, HOSTS, st.sampled_from(["/a", "a", "?b", "#c", "//127.0.0.1/", "///127.0.0.1", "\\\\127.0.0.1"])))
def test_a_redirect_is_a_url_that_is_read_as_strictly_or_none(location: str) -> None:
    request = Outgoing("GET", parse_url("https://api.example.com/x"), Headers((("Authorization", "secret"),)), redirects=1)
    try:
        after = redirected(request, 302, location)
    except (ValueError, HostForbidden):
        return
    assert after.url.scheme == "https"
    assert (after.url.origin == request.url.origin) == bool(after.headers.pairs)
    assert str(parse_url(str(after.url))) == str(after.url)
