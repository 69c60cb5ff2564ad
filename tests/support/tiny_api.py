"""An API server that answers what a test tells it to, over real HTTP: for faults that a real one shows once a month.

    async with TinyApi() as api, api.client() as client:
        api.answers("GET", "/api/v1/namespaces/shop/pods/a", status(410, "Expired"), reply({...}))

The answers of one method and path are given one after the other, and the last one again and again.
"""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import orjson
from aiohttp import web

from backstay.kube.client import Client
from backstay.kube.login import Access, Login

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
TOKEN = "tiny-secret-token"


@dataclass(frozen=True)
class Asked:
    """A request as it came in."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any = None


@dataclass
class TinyApi:
    """An async context manager; `asked` holds all requests in order. Port 0 is any that is free."""

    tls: ssl.SSLContext | None = None
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        self._answers: dict[tuple[str, str], list[Answer]] = defaultdict(list)
        self._arrived = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def client(self, login: Login | None = None, *, timeout_seconds: float = 5.0, token: str = TOKEN) -> Client:
        """Return a client of this server, not yet entered."""
        access = Access(server=self.url, headers=(("Authorization", f"Bearer {token}"),))
        return Client(access, login, timeout_seconds=timeout_seconds)

    def answers(self, method: str, path: str, *answers: Answer) -> None:
        """Say how requests are answered from now on. A watch has the method WATCH."""
        self._answers[method, path] = list(answers)

    def asked_for(self, method: str) -> list[Asked]:
        """Return the requests of a method so far; WATCH for watches."""
        return [asked for asked in self.asked if _method(asked.method, asked.query) == method]

    async def wait_asked(self, method: str, count: int, limit_seconds: float = 5.0) -> list[Asked]:
        """Wait until `count` requests of a method have come in."""
        async with asyncio.timeout(limit_seconds), self._arrived:
            await self._arrived.wait_for(lambda: len(self.asked_for(method)) >= count)
        return self.asked_for(method)

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=8 * 2**20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.tls).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        content = await request.read()
        asked = Asked(request.method, request.path, dict(request.query), dict(request.headers), orjson.loads(content) if content else None)
        async with self._arrived:
            self.asked.append(asked)
            self._arrived.notify_all()
        answers = self._answers[_method(request.method, request.query), request.path]
        if not answers:
            return web.Response(status=501, text=f"the test has no answer to {request.method} {request.path}")
        return await (answers.pop(0) if len(answers) > 1 else answers[0])(request)


def _method(method: str, query: Mapping[str, str]) -> str:
    return "WATCH" if query.get("watch") == "true" else method


# ---------------------------------------------------------------------------------------------------------------- answers


def reply(body: Any, code: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with JSON, or with text where `body` is a string."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if isinstance(body, str):
            return web.Response(text=body, status=code, headers=headers)
        return web.Response(body=orjson.dumps(body), status=code, headers=headers, content_type="application/json")

    return answer


def status(code: int, reason: str, message: str = "so it is", headers: Mapping[str, str] | None = None, **details: Any) -> Answer:
    """Answer with a metav1.Status."""
    return reply(status_object(code, reason, message, **details), code, headers)


def status_object(code: int, reason: str, message: str = "so it is", **details: Any) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
        "details": details,
    }


async def hang(request: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError("not reached")


async def drop(request: web.Request) -> web.StreamResponse:
    """Close the connection instead of answering."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def half(body: bytes, of: int) -> Answer:
    """Promise `of` bytes, send fewer and close the connection."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(of), "Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(body)
        assert request.transport is not None
        request.transport.close()
        return response

    return answer


def page(items: list[Any], version: int | str, more: str = "") -> Answer:
    """Answer a list request."""
    return reply({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": str(version), "continue": more}, "items": items})


def stream(*events: tuple[str, Any], then: str = "end") -> Answer:
    """Answer a watch with these events; `then` it ends, stalls silently, or breaks off."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for kind, manifest in events:
            await response.write(orjson.dumps({"type": kind, "object": manifest}) + b"\n")
        if then == "stall":
            await asyncio.Event().wait()
        if then == "break":
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write_eof()
        return response

    return answer
