"""Servers on this machine that http calls are made to, well-behaved and not, and a call as the operator makes it."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from multidict import CIMultiDict

from backstay.engine.model import CallFact, StartCall
from backstay.executors.calls import CallContext
from backstay.executors.http.execute import HttpCalls
from backstay.hosts.addresses import Address
from backstay.kube.manifests import RunRef
from backstay.settings import Settings
from tests.support.tiny_api import TinyApi

RUN = RunRef(uid="uid-1", name="order-7f2", namespace="shop", service_account="payer")
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Asked:
    """A request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Site:
    """A web server; `routes` says how it answers by path, everything else is `{"ok": true}`."""

    tls: ssl.SSLContext | None = None
    routes: dict[str, Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def named(self, host: str) -> str:
        """The server's URL under a name."""
        return self.url.replace("127.0.0.1", host)

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(Asked(request.method, request.raw_path, CIMultiDict(request.headers), await request.read()))
        answer = self.routes.get(request.path)
        return await answer(request) if answer else web.json_response({"ok": True})


def says(text: str | bytes = "", status: int = 200, content_type: str = "text/plain", **headers: str) -> Answer:
    """Answer with a text; `Retry_After="5"` gives a header."""
    content = text.encode() if isinstance(text, str) else text

    async def answer(request: web.Request) -> web.StreamResponse:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=content, status=status, headers={**({"Content-Type": content_type} if content_type else {}), **given})

    return answer


def redirects(location: str, status: int = 302) -> Answer:
    return says("", status, Location=location)


@asynccontextmanager
async def raw_server(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """A server that does on each connection what `serve` does, and may break every rule. Yields its URL."""
    tasks: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Names:
    """Answers for names, as a name server does: each answer once, the last one again and again. Remembers who was asked for."""

    def __init__(self, **answers: str) -> None:
        self.answers = {name.replace("_", "."): list(texts.split(" then ")) for name, texts in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, name: str) -> Sequence[Address]:
        self.asked.append(name)
        if name not in self.answers:
            raise OSError(None, f"there is no {name}")
        answers = self.answers[name]
        return [ipaddress.ip_address(text) for text in (answers.pop(0) if len(answers) > 1 else answers[0]).split()]


@dataclass
class Caller:
    """Makes calls as the operator does. `allowed` are the installation's entries."""

    api: TinyApi
    context: CallContext
    ask: Names
    waited: list[str | None]

    @classmethod
    @asynccontextmanager
    async def ready(cls, *allowed: str, ask: Names | None = None, run: RunRef = RUN, **settings: Any) -> AsyncIterator["Caller"]:
        waited: list[str | None] = []
        async with TinyApi() as api, api.client() as client:
            chosen = Settings(http_allowed_hosts=allowed or ("127.0.0.1:*",), **settings)
            yield cls(api, CallContext(client, run, chosen, waited.append), ask or Names(), waited)

    async def call(self, url: str, *, attempt: int = 1, seconds: float = 20, path: str = "charge", **inputs: Any) -> CallFact:
        given = {"method": "GET", "url": url, "limitSeconds": seconds, "idempotencyHeader": "Idempotency-Key", **inputs}
        return await HttpCalls(self.ask).execute(self.context, StartCall("call-1", "http", path, attempt, given))


def outcome(fact: CallFact) -> tuple[str, str]:
    """Return the type and the detail of a call that failed."""
    assert fact.fault is not None, fact
    return fact.fault.type, fact.fault.detail
