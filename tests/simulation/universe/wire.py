"""What lies between an operator and the modelled API server: time, and everything that can go wrong on the way.

It takes the place of aiohttp's session below the real `kube.transport.Transport`, so that all of the client is under test: paths, patches,
Retry-After, timeouts, broken streams, 410 in the middle of a watch.

A request travels, takes effect at one moment, and its answer travels back. It arrives although whoever sent it has died meanwhile; an answer to
the dead is lost. Watches tell in order, each with its own delay, so kinds overtake one another.
"""

import asyncio
import contextvars
import urllib.parse
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

import aiohttp
import orjson

from backstay.kube.client import Client
from backstay.kube.login import Access
from backstay.kube.transport import Transport
from tests.simulation.universe.loop import PROCESS, Process, TooMuch, VirtualLoop
from tests.simulation.universe.server import Change, Refused, Server, selector

WORLD: Final = contextvars.Context()
"""The context of what belongs to no operator."""
CALL_FAULTS: Final = ("conflict", "busy", "internal", "unavailable", "lost", "unsent", "late", "silent", "silent-done", "very-late")
"""What may become of a request. `lost`: done, and the connection breaks. `unsent`: no connection. `silent`: no answer, ever, and not done;
`silent-done`: done. `late` by half a second, `very-late` by ten."""
WATCH_FAULTS: Final = ("repeat", "late", "break", "gone", "stall", "gone-later")
"""What may become of an event. `break`: the connection breaks before it. `gone`: 410 instead of it. `gone-later`: the connection breaks, and what is
missed is forgotten. `stall`: nothing comes any more until the watch is begun anew."""
_LATE: Final = {"late": 0.5, "very-late": 10.0}
_KIND_OF_PATCH: Final = {
    "application/merge-patch+json": "merge",
    "application/json-patch+json": "json",
    "application/apply-patch+yaml": "apply",
}


MOST_CALLS: Final = 3000
"""So many requests no universe needs: whoever makes more goes round in circles."""


class Wire:
    """The network. `fault(number)` says what becomes of a request, `watch_fault(number)` of an event; `chance()` is how slow it is at the moment."""

    def __init__(self, loop: VirtualLoop, server: Server, chance: Callable[[], float]) -> None:
        self.loop = loop
        self.server = server
        self.chance = chance
        self.call_faults: Mapping[int, str] = {}
        self.watch_faults: Mapping[int, str] = {}
        self.lags: Mapping[str, float] = {}
        """By kind: how late watches tell, at most, in seconds."""
        self.is_down = False
        self.calls = 0
        self.under_way = 0
        """Requests that somebody still waits for."""
        self.events = 0
        self.trace: list[str] = []
        """Everything that reached the server, in order."""
        self.streams: dict[Stream, None] = {}
        self.refuse: Callable[[str, str, str, Any], Refused | None] = lambda verb, plural, namespace, body: None
        """Who else has a say: quotas, admission, a namespace that goes."""
        self.on_write: Callable[[Process | None, str, str, Any], None] = lambda process, verb, plural, body: None
        """Told of every write just before it takes effect."""

    def client(self) -> Client:
        """Return a real client at this end of the wire."""
        client = Client(Access(server="https://10.96.0.1", namespace="shop"), timeout_seconds=30.0)
        client._transport._session = Session(self)  # type: ignore[assignment]
        client._transport.__class__ = Line
        return client

    def interrupt(self, plural: str) -> None:
        """The watches of a kind break."""
        for stream in [stream for stream in self.streams if stream.plural == plural]:
            stream.fail(aiohttp.ClientPayloadError("the connection broke"))

    def outage(self, seconds: float) -> None:
        """The server is not there for a while; every stream breaks."""
        self.is_down = True
        for stream in tuple(self.streams):
            stream.fail(aiohttp.ServerDisconnectedError())
        self.loop.call_later(seconds, self._back, context=WORLD)

    def _back(self) -> None:
        self.is_down = False

    # ------------------------------------------------------------------------------------------------------- one request

    async def request(self, method: str, target: str, data: bytes | None, content_type: str, seconds: float | None) -> "Response":
        process = PROCESS.get()
        self.calls += 1
        if self.calls > MOST_CALLS:
            raise TooMuch(f"{self.calls} requests")
        fault = self.call_faults.get(self.calls, "")
        if self.is_down or fault == "unsent":
            await asyncio.sleep(0.001)
            raise aiohttp.ClientOSError(111, "Connection refused")
        answered: asyncio.Future[Response] = self.loop.create_future()

        def arrive() -> None:
            response = None if fault == "silent" else self._served(process, method, target, data, content_type, fault)
            late = _LATE.get(fault, 0.0) + 0.0003 + 0.001 * self.chance()
            self.loop.call_later(late, answer, response, context=WORLD)

        def answer(response: "Response | None") -> None:
            if answered.done() or fault in ("silent", "silent-done"):
                return
            if fault == "lost" or self.is_down:
                answered.set_exception(aiohttp.ServerDisconnectedError())
            else:
                answered.set_result(response)  # type: ignore[arg-type]

        self.loop.call_later(0.0002 + 0.001 * self.chance(), arrive, context=WORLD)
        self.under_way += 1
        try:
            async with asyncio.timeout(seconds):
                return await answered
        finally:
            self.under_way -= 1

    def _served(self, process: Process | None, method: str, target: str, data: bytes | None, content_type: str, fault: str) -> "Response":
        try:
            if fault == "busy":
                raise Refused(429, "TooManyRequests", "the server has asked for the client to slow down", retry_after=1)
            if fault == "internal":
                raise Refused(500, "InternalError", "etcdserver: request timed out")
            if fault == "unavailable":
                raise Refused(503, "ServiceUnavailable", "the server is currently unable to handle the request")
            return Response(200, self._answer(process, method, target, data, content_type, fault))
        except Refused as refused:
            self.trace.append(f"{self.loop.now:.4f} {method} {target} {refused.status}")
            headers = {} if refused.retry_after is None else {"Retry-After": str(refused.retry_after)}
            return Response(refused.status, refused.body(), headers)

    def _answer(self, process: Process | None, method: str, target: str, data: bytes | None, content_type: str, fault: str) -> bytes:
        path, _, query = target.partition("?")
        plural, namespace, name, subresource = parsed(path)
        if method == "GET":
            return self._read(path, plural, namespace, name, dict(urllib.parse.parse_qsl(query)))
        body = orjson.loads(data) if data else {}
        if fault == "conflict" and method in ("PATCH", "PUT") and plural != "events":
            raise Refused(409, "Conflict", "Operation cannot be fulfilled: the object has been modified")
        verb = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}[method]
        if (refused := self.refuse(verb, plural, namespace, body)) is not None:
            raise refused
        self.on_write(process, verb, plural, body)
        self.trace.append(f"{self.loop.now:.4f} {method} {target} {data.decode() if data else ''}")
        if "dryRun=All" in query:
            return orjson.dumps(body)
        if method == "POST":
            return self.server.create(plural, namespace, body)
        if method == "PATCH":
            return self.server.patch(plural, namespace, name, body, _KIND_OF_PATCH[content_type], subresource)
        only = body.get("preconditions") or {}
        self.server.delete(
            plural,
            namespace,
            name,
            uid=only.get("uid", ""),
            version=only.get("resourceVersion", ""),
            propagation=body.get("propagationPolicy") or "Background",
        )
        return b'{"kind":"Status","status":"Success"}'

    def _read(self, path: str, plural: str, namespace: str, name: str, query: dict[str, str]) -> bytes:
        if not plural:
            if path not in DISCOVERED:
                raise Refused(404, "NotFound", path)
            return DISCOVERED[path]
        if name:
            return self.server.read(plural, namespace, name)
        chosen = selector(query.get("labelSelector", ""), query.get("fieldSelector", ""))
        return self.server.listed(plural, namespace, chosen)

    # ----------------------------------------------------------------------------------------------------------- watches

    async def watch(self, target: str, seconds: float | None) -> "Response":
        path, _, query_text = target.partition("?")
        query = dict(urllib.parse.parse_qsl(query_text))
        plural, namespace, _, _ = parsed(path)
        if self.is_down:
            await asyncio.sleep(0.001)
            raise aiohttp.ClientOSError(111, "Connection refused")
        await asyncio.sleep(0.0002 + 0.001 * self.chance())
        chosen = selector(query.get("labelSelector", ""), query.get("fieldSelector", ""))
        stream = Stream(self, plural, namespace, chosen, float(query.get("timeoutSeconds") or 300))
        try:
            stream.begin(int(query.get("resourceVersion") or 0))
        except Refused as refused:
            return Response(refused.status, refused.body())
        response = Response(200, b"")
        response.content = stream
        return response


class Line(Transport):
    """The real transport; only its connections are not made and not closed."""

    def open(self) -> None:
        """The wire is there already."""

    async def close(self) -> None:
        """The wire stays."""


class Session:
    """What stands in the place of aiohttp's session."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def request(
        self,
        method: str,
        url: Any,
        *,
        data: bytes | None,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  aiohttp's name for it
        **_: Any,
    ) -> "Response":
        process = PROCESS.get()
        if process is not None and process.is_dead:
            raise asyncio.CancelledError
        target = url.raw_path_qs
        if "watch=true" in target:
            return await self._wire.watch(target, timeout.total)
        return await self._wire.request(method, target, data, headers.get("Content-Type", ""), timeout.total)


class Response:
    """An answer."""

    connection = None

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.headers = headers or {}
        self._body = body
        self.content: Any = None

    async def read(self) -> bytes:
        return self._body

    async def __aenter__(self) -> "Response":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.content is not None:
            self.content.close()


class Stream:
    """One watch, from the server's end to the reader's."""

    def __init__(self, wire: Wire, plural: str, namespace: str, chosen: Callable[[Any], bool], seconds: float) -> None:
        self._wire = wire
        self.plural = plural
        self._namespace = namespace
        self._chosen = chosen
        self._seconds = seconds
        self._lines: deque[bytes] = deque()
        self._error: Exception | None = None
        self._is_over = False
        self._is_stalled = False
        self._reader: asyncio.Future[None] | None = None
        self._told_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, version: int) -> None:
        """Tell what has happened since a version, and go on. Raises Refused where it is too old."""
        wire = self._wire
        before = wire.server.since(self.plural, version)
        wire.server.watchers.append((self.plural, self._changed))
        wire.streams[self] = None
        self._timer = wire.loop.call_later(self._seconds, self._end, context=WORLD)
        for change in before:
            self._changed(change)

    def close(self) -> None:
        """Nobody reads any more."""
        self._is_over = True
        if self in self._wire.streams:
            del self._wire.streams[self]
            self._wire.server.watchers.remove((self.plural, self._changed))
        if self._timer is not None:
            self._timer.cancel()

    def fail(self, error: Exception) -> None:
        """The connection breaks."""
        self._error = error
        self._ring()

    def _end(self) -> None:
        """The time is up: a last bookmark says how far the reader is, unless something is still on its way."""
        if not self._is_stalled and self._told_at <= self._wire.loop.now:
            self._lines.append(b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"%d"}}}\n' % self._wire.server.version)
        self._is_over = True
        self._ring()

    def _changed(self, change: Change) -> None:
        meta = change.new["metadata"]
        if self._namespace not in ("", meta["namespace"]) or self._is_stalled:
            return
        is_now = not change.is_gone and self._chosen(change.new)
        was = change.old is not None and self._chosen(change.old)
        if not (is_now or was):
            return
        event = ("MODIFIED" if was else "ADDED") if is_now else "DELETED"
        self._send(b'{"type":"%s","object":%s}\n' % (event.encode(), change.raw), self._fault())

    def _fault(self) -> str:
        if self.plural == "events":
            return ""
        self._wire.events += 1
        return self._wire.watch_faults.get(self._wire.events, "")

    def _send(self, line: bytes, fault: str) -> None:
        wire = self._wire
        lag = wire.lags.get(self.plural, 0.0) * wire.chance() + (3.0 if fault == "late" else 0.0002)
        self._told_at = max(self._told_at, wire.loop.now + lag)
        if fault == "stall":
            self._is_stalled = True
            return
        if fault == "gone":
            wire.server.forget_history(self.plural)
            line = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"}}\n'
        if fault == "gone-later":
            wire.server.forget_history(self.plural)
        wire.loop.call_at(self._told_at, self._deliver, line, fault, context=WORLD)

    def _deliver(self, line: bytes, fault: str) -> None:
        if fault in ("break", "gone-later"):
            self._error = aiohttp.ClientPayloadError("the connection broke")
        else:
            self._lines.append(line * 2 if fault == "repeat" else line)
            if fault == "gone":
                self._is_over = True
        self._ring()

    def _ring(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def iter_any(self) -> AsyncIterator[bytes]:
        """Yield what has come, as it comes."""
        while True:
            if self._lines:
                chunk = b"".join(self._lines)
                self._lines.clear()
                yield chunk
            elif self._error is not None:
                raise self._error
            elif self._is_over:
                return
            else:
                self._reader = self._wire.loop.create_future()
                await self._reader


def parsed(path: str) -> tuple[str, str, str, str]:
    """Return kind, namespace, name and subresource of a path; all empty where it is none of an object or a list."""
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if not rest:
        return "", "", "", ""
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    return rest[0], namespace, rest[1] if len(rest) > 1 else "", rest[2] if len(rest) > 2 else ""


DISCOVERED: Final[dict[str, bytes]] = {
    "/api/v1": orjson.dumps({"resources": [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True}]}),
}
