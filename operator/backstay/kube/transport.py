"""Requests and answers on the wire: one session, a limit in time for everything, a fresh login, failures as errors of `errors.py`.

A request whose outcome is unknown is never repeated here: what to do then is for the caller, who knows what a repeat would do. One that was
refused with 401 did not happen: it is repeated once, after logging in anew. Bodies and headers are never logged.
"""

import asyncio
import logging
import os
import socket
import time
import urllib.parse
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from backstay import errors
from backstay.kube import answers
from backstay.kube.limiter import Limiter
from backstay.kube.login import Access, Login, LoginFailed

log = logging.getLogger(__name__)

JSON: Final = "application/json"
CallHook = Callable[[str, str, int, float], None]
"""Told of every request: verb, plural of the resource, HTTP status (0 where no whole answer came), seconds (to the first byte of a stream)."""

_CONNECTIONS: Final = 100
_CONNECT_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 60.0
"""Less than the 90 s after which the API server closes an idle connection."""
_LOGIN_SECONDS: Final = 60.0
_LOGIN_PAUSE_SECONDS: Final = 10.0
_DATE_SECONDS: Final = 30.0
"""How often the server's clock is looked at; it is in every answer."""
_PROBES: Final = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
"""Seconds until an idle connection is probed, between probes, and how many may be lost: a dead peer of a watch shows within 30 s."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask. `verb` and `resource` are for metrics, `query` leaves out what is empty, `data` is the body, `acting_as` is the user as whom
    it is asked, where that is not ourselves."""

    verb: str
    resource: str
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    data: bytes | None = None
    content_type: str = JSON
    acting_as: str = ""

    @property
    def target(self) -> str:
        """Path and query, encoded."""
        query = {key: value for key, value in self.query.items() if value}
        return f"{self.path}?{urllib.parse.urlencode(query)}" if query else self.path

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Transport:
    """Sends requests to one API server, in one event loop. `open` before and `close` after."""

    def __init__(self, access: Access, login: Login | None, *, user_agent: str, timeout_seconds: float) -> None:
        self.calls: CallHook = _unheard
        self.limiter: Limiter | None = None
        """What holds requests back; None where they go as they come."""
        self.clock_skew_seconds: float | None = None
        """How far this machine's clock is ahead of the server's, within a second; None where no answer told."""
        self._next_date = 0.0
        self._user_agent = user_agent
        self._timeout_seconds = timeout_seconds
        self._timeout = self._limit(timeout_seconds)
        self._session: aiohttp.ClientSession | None = None
        self._login = login
        self._logging_in = asyncio.Lock()
        self._next_login = 0.0
        self._use(access)

    def open(self) -> None:
        """Begin: from here on requests can be sent, in the running loop."""
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=_IDLE_SECONDS)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def close(self) -> None:
        """Close all connections; what is under way fails."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, request: Request) -> bytes:
        """Return the body of the answer. Raises ApiError of the kind that says what to do."""
        await self._admit()
        with _Call(request, self._timeout_seconds, self) as call:
            async with await self._respond(request, self._timeout) as response:
                content = await response.read()
                call.status = response.status
                return content

    async def stream(self, request: Request, limit_seconds: float | None) -> AsyncGenerator[bytes, None]:
        """Yield the lines of an answer that comes bit by bit, for at most `limit_seconds`. Raises ApiError."""
        await self._admit()
        with _Faults(request, limit_seconds):
            with _Call(request, limit_seconds, self) as call:
                response = await self._respond(request, self._limit(limit_seconds))
                call.status = response.status
            async with response:
                _probe(response)
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        yield line
                if rest:
                    yield rest

    async def _admit(self) -> None:
        """Wait until a request may be sent; `_Call` says when it is answered, and a stream's is with its first byte."""
        if self.limiter is not None:
            await self.limiter.admit()

    # --------------------------------------------------------------------------------------------------- one exchange

    async def _respond(self, request: Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """Return an answer that is a success and not yet read."""
        if time.monotonic() >= self._stale_at:
            await self._log_in(self._access)
        access = self._access
        response = await self._exchange(request, limits)
        if time.monotonic() >= self._next_date:
            self._compare_clocks(response.headers.get("Date", ""))
        if response.status == 401:
            await response.read()  # to its end, so that the connection is free while we log in
            if await self._log_in(access):
                response = await self._exchange(request, limits)
        if response.status >= 300:
            error = answers.error_of(response.status, response.headers, await response.read(), str(request))
            if isinstance(error, errors.TooManyRequests) and self.limiter is not None and not request.acting_as:
                self.limiter.pause(error.retry_after_seconds or 0.0)
            raise error
        return response

    async def _exchange(self, request: Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("the client is not open; use it inside `async with client:`")
        access = self._access
        return await self._session.request(
            request.method,
            URL(access.server + request.target, encoded=True),
            data=request.data,
            headers=self._headers_for(request),
            timeout=limits,
            allow_redirects=False,
            ssl=access.tls if access.tls is not None else True,
            server_hostname=access.tls_server_name,
            proxy=access.proxy,
        )

    def _compare_clocks(self, date: str) -> None:
        try:
            told = parsedate_to_datetime(date)
        except ValueError:
            return
        self._next_date = time.monotonic() + _DATE_SECONDS
        self.clock_skew_seconds = time.time() - told.timestamp() - 0.5  # the header holds whole seconds, cut off

    def _headers_for(self, request: Request) -> CIMultiDict[str]:
        kind = request.content_type if request.data is not None else ""
        if (headers := self._headers.get(kind)) is None:
            headers = CIMultiDict([("User-Agent", self._user_agent), ("Accept", f"{JSON}, */*"), ("Accept-Encoding", "identity")])
            headers.extend(self._access.headers)
            if kind:
                headers["Content-Type"] = kind
            self._headers[kind] = headers
        return _acting_as(headers, request) if request.acting_as else headers

    @staticmethod
    def _limit(seconds: float | None) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds or _CONNECT_SECONDS, _CONNECT_SECONDS))

    # ---------------------------------------------------------------------------------------------------------- login

    def _use(self, access: Access) -> None:
        self._access = access
        self._headers: dict[str, CIMultiDict[str]] = {}
        fresh = access.fresh_seconds
        self._stale_at = time.monotonic() + fresh if fresh is not None and self._login is not None else float("inf")

    async def _log_in(self, used: Access) -> bool:
        """Log in anew where `used` is still in use; tell whether there is another access now.

        A refused login is tried again at most every ten seconds: a plugin may open a browser. Requests that come meanwhile
        go on with the access there is, which is renewed well before it ends.
        """
        if self._login is None:
            return False
        self._stale_at = time.monotonic() + _LOGIN_PAUSE_SECONDS
        async with self._logging_in:
            if self._access is used and time.monotonic() >= self._next_login:
                self._next_login = time.monotonic() + _LOGIN_PAUSE_SECONDS
                try:
                    async with asyncio.timeout(_LOGIN_SECONDS):
                        self._use(await asyncio.to_thread(self._login))
                except (LoginFailed, TimeoutError) as error:
                    log.warning("the login could not be renewed: %s", error or f"nothing came within {_LOGIN_SECONDS:.0f} s")
        return self._access is not used

    @property
    def access(self) -> Access:
        """What requests are sent with now."""
        return self._access


class Impersonation:
    """A transport's other face: the same connections and login, and every request is made as another user, with that user's rights alone.

    The API server lets us where we may `impersonate` that user; groups are not named, for it knows those of a service account by itself
    (k8s.io/apiserver, pkg/endpoints/filters/impersonation).
    """

    def __init__(self, transport: Transport, user: str) -> None:
        self._transport = transport
        self._user = user

    async def send(self, request: Request) -> bytes:
        """Return the body of the answer. Raises ApiError of the kind that says what to do."""
        return await self._transport.send(replace(request, acting_as=self._user))

    def stream(self, request: Request, limit_seconds: float | None) -> AsyncGenerator[bytes, None]:
        """Yield the lines of an answer that comes bit by bit. Raises ApiError."""
        return self._transport.stream(replace(request, acting_as=self._user), limit_seconds)


def _acting_as(headers: CIMultiDict[str], request: Request) -> CIMultiDict[str]:
    if "Impersonate-User" in headers:
        words = f"{request} is to be made as {request.acting_as}, and our own login acts as {headers['Impersonate-User']} already"
        raise errors.Forbidden(403, "Forbidden", f"{words}; give the operator a login of its own, without `as` in its kubeconfig")
    other = headers.copy()
    other["Impersonate-User"] = request.acting_as
    return other


class _Faults:
    """Turns what breaks on the way into Unavailable. A class, because a generator-based manager costs five times as much."""

    __slots__ = ("_limit_seconds", "_request")

    def __init__(self, request: Request, limit_seconds: float | None) -> None:
        self._request = request
        self._limit_seconds = limit_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, TimeoutError):
            limit = "in time" if self._limit_seconds is None else f"within {self._limit_seconds:g} s"
            raise answers.unreachable("Timeout", f"{self._request}: no whole answer came {limit}") from error
        if isinstance(error, (aiohttp.ClientError, OSError)):
            raise answers.unreachable("ConnectionFailed", f"{self._request}: {_words(error)}") from error


class _Call(_Faults):
    """Counts a request on its way out, whatever became of it, and lets another go."""

    __slots__ = ("_calls", "_limiter", "_started", "status")

    def __init__(self, request: Request, limit_seconds: float | None, transport: Transport) -> None:
        super().__init__(request, limit_seconds)
        self._calls = transport.calls
        self._limiter = transport.limiter
        self._started = time.perf_counter()
        self.status = 0

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._limiter is not None:
            self._limiter.left()
        if isinstance(error, errors.ApiError):
            self.status = error.status
        self._calls(self._request.verb, self._request.resource, self.status, time.perf_counter() - self._started)
        super().__exit__(kind, error, trace)


def _words(error: Exception) -> str:
    """Return what a connection failed of; the library's own words hold the address of a Python object."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the certificate of {error.host}:{error.port} is not trusted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        words = os.strerror(cause.errno) if cause.errno is not None and cause.errno > 0 else cause.strerror or cause
        return f"cannot connect to {error.host}:{error.port}: {words}"
    return str(error) or type(error).__name__


def _probe(response: aiohttp.ClientResponse) -> None:
    """Have the kernel find out when the other side of a long connection is gone without a word."""
    transport = response.connection.transport if response.connection is not None else None
    link: Any = transport.get_extra_info("socket") if transport is not None else None
    if link is None or link.family not in (socket.AF_INET, socket.AF_INET6):
        return
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES:
        if option := getattr(socket, name, None):
            link.setsockopt(socket.IPPROTO_TCP, option, value)


def _unheard(verb: str, resource: str, status: int, seconds: float) -> None:
    """Where nobody counts the requests."""
