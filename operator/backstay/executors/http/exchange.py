"""One request and the redirects that are followed: each goes to addresses that were judged, over a connection of its own.

Connections are not kept for the next call: what was judged for one run says nothing about another, and a call costs one handshake more. No
proxy of the environment, no .netrc, no cookies: what a call sends is what its step says.
"""

import ssl
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from backstay.engine.model import Json
from backstay.executors.http import answers
from backstay.executors.http.resolver import LookUp, Pinned, checked, guard
from backstay.executors.http.secrets import Headers
from backstay.hosts.addresses import Address
from backstay.hosts.rules import HostForbidden, HostRules
from backstay.hosts.urls import Url, parse_url

CONNECT_SECONDS: Final = 10.0
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CREDENTIALS: Final = frozenset({"authorization", "cookie"})
_ABOUT_BODY: Final = ("content-",)
_DEFAULTS_LEFT_AWAY: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request. `redirects` says how many may still be followed."""

    method: str
    url: Url
    headers: Headers
    body: bytes | None = None
    redirects: int = 0

    @property
    def shown(self) -> str:
        """The request for messages."""
        return f"{self.method} {self.url.shown}"


@dataclass(frozen=True, slots=True)
class Exchange:
    """What requests are made with: whom they may reach, whom to ask for addresses, whom to trust."""

    rules: HostRules
    ask: LookUp
    tls: Callable[[], ssl.SSLContext]

    async def send(self, request: Outgoing) -> tuple[dict[str, Json], CIMultiDict[str]]:
        """Return the last answer, as the engine takes it, and its headers.

        Raises HostForbidden; ValueError for a redirect to what is no URL; OSError, TimeoutError and aiohttp.ClientError for what breaks.
        """
        while True:
            addresses = await checked(request.url, self.rules, self.ask)
            async with self._session(request.url, addresses) as session, self._response(session, request) as response:
                location = response.headers.get("Location", "")
                if response.status in _REDIRECTS and location and request.redirects:
                    request = redirected(request, response.status, location)
                    continue
                return await answers.read(response, request.headers.secrets), CIMultiDict(response.headers)

    def _session(self, url: Url, addresses: tuple[Address, ...]) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=Pinned(url.host, addresses),
            socket_factory=guard(addresses),
            use_dns_cache=False,
            force_close=True,
            limit=1,
            ssl=self.tls() if url.scheme == "https" else True,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=_DEFAULTS_LEFT_AWAY,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        )

    def _response(self, session: aiohttp.ClientSession, request: Outgoing) -> Any:
        target = URL(str(request.url), encoded=True)
        if (target.scheme, (target.host or "").lower(), target.port) != request.url.origin:
            raise HostForbidden(f"{request.url.shown} can be read in two ways; write its host in the usual way")
        headers = CIMultiDict(request.headers.pairs)
        return session.request(request.method, target, headers=headers, data=request.body, allow_redirects=False)


def redirected(request: Outgoing, status: int, location: str) -> Outgoing:
    """Return the request that a redirect asks for (RFC 9110, 15.4; the Fetch standard, HTTP-redirect fetch).

    To another origin no credentials go along: nothing that came from a Secret, no Authorization, no Cookie. From https to http is refused.
    """
    url = parse_url(urllib.parse.urljoin(str(request.url), location))
    if request.url.scheme == "https" and url.scheme == "http":
        raise HostForbidden(
            f"{request.url.shown} redirects to {url.shown}, which is not encrypted; a redirect from https to http is not followed"
        )
    method, body = request.method, request.body
    dropped: frozenset[str] = frozenset()
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, body = "GET", None
        dropped = frozenset(name.lower() for name, _ in request.headers.pairs if name.lower().startswith(_ABOUT_BODY))
    if url.origin != request.url.origin:
        dropped |= _CREDENTIALS | request.headers.private
    pairs = tuple((name, value) for name, value in request.headers.pairs if name.lower() not in dropped)
    return replace(
        request, method=method, url=url, body=body, redirects=request.redirects - 1, headers=replace(request.headers, pairs=pairs)
    )


def tls_context(ca_file: str) -> ssl.SSLContext:
    """Return whom to trust: the system's authorities, and those of a file. A file that has changed is read anew. Raises OSError."""
    return _tls_context(ca_file, Path(ca_file).stat().st_mtime_ns if ca_file else 0)


@lru_cache(4)
def _tls_context(ca_file: str, _changed: int) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    return context
