"""A client for the embedded API server in tests: JSON in, status and JSON out, and conditions that are waited for."""

import asyncio
import io
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from backstay.local.apiserver.server import Server, serve
from tests.support.kubectl import Kubectl

MERGE, JSON_PATCH, STRATEGIC = (f"application/{kind}+json" for kind in ("merge-patch", "json-patch", "strategic-merge-patch"))
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
LIMIT_SECONDS = 15.0


@dataclass(frozen=True)
class Answer:
    """A response: status code, parsed body (or text), warnings."""

    status: int
    body: Any
    warnings: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """The message of a Status."""
        return str(self.body["message"])

    @property
    def names(self) -> list[str]:
        """The names in a list."""
        return [item["metadata"]["name"] for item in self.body["items"]]


class Api:
    """Requests to one server; `ok` and `refused` fail the test when the answer is not of that sort."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    async def ask(
        self, method: str, path: str, body: Any = None, *, type_: str = "application/json", accept: str = "application/json"
    ) -> Answer:
        """Send a request; a body that is bytes goes out as it is."""
        data = None if body is None else io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        headers = {"Accept": accept} | ({"Content-Type": type_} if data is not None else {})
        async with self.session.request(method, self.server.url + path, data=data, headers=headers) as response:
            text = await response.text()
            warnings = tuple(response.headers.getall("Warning", []))
            parsed = json.loads(text) if response.content_type == "application/json" else text
            return Answer(response.status, parsed, warnings)

    async def ok(
        self, method: str, path: str, body: Any = None, *, type_: str = "application/json", accept: str = "application/json"
    ) -> Any:
        """Return the body of an answer that must be a success."""
        answer = await self.ask(method, path, body, type_=type_, accept=accept)
        assert 200 <= answer.status < 300, f"{method} {path}: {answer}"
        return answer.body

    async def refused(self, status: int, method: str, path: str, body: Any = None, *, type_: str = "application/json") -> Answer:
        """Return an answer that must have the status code of a refusal."""
        answer = await self.ask(method, path, body, type_=type_)
        assert answer.status == status, f"{method} {path}: {answer}"
        return answer

    async def get(self, path: str) -> Any:
        """GET that must succeed."""
        return await self.ok("GET", path)

    async def create(self, path: str, body: Any) -> Any:
        """POST that must succeed."""
        return await self.ok("POST", path, body)

    async def merge(self, path: str, body: Any) -> Any:
        """Merge patch that must succeed."""
        return await self.ok("PATCH", path, body, type_=MERGE)

    async def delete(self, path: str, **options: Any) -> Any:
        """DELETE that must succeed; keyword arguments are DeleteOptions."""
        return await self.ok("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", **options} if options else None)

    async def exists(self, path: str) -> bool:
        """Tell whether there is an object."""
        return (await self.ask("GET", path)).status == 200

    async def until_gone(self, *paths: str) -> None:
        """Wait until none of the objects is there."""
        for path in paths:
            await until(lambda path=path: self._is_gone(path), f"{path} is still there")

    async def _is_gone(self, path: str) -> bool:
        return not await self.exists(path)

    @asynccontextmanager
    async def watch(self, path: str, accept: str = "application/json", **query: Any) -> AsyncIterator["Stream"]:
        """Open a watch; query parameters are keyword arguments."""
        parameters = {
            "watch": "true",
            **{key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in query.items()},
        }
        async with self.session.get(self.server.url + path, params=parameters, headers={"Accept": accept}) as response:
            assert response.status == 200, await response.text()
            yield Stream(response)

    async def kubectl(self, *arguments: str, given: object = None, namespace: str | None = None) -> str:
        """Run the real kubectl, beside this event loop, and return what it prints."""
        return await asyncio.to_thread(Kubectl(self.server.kubeconfig, namespace), *arguments, given=given)


class Stream:
    """The events of a watch."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> dict[str, Any]:
        """Return the next event; fails the test when none comes or the stream ends."""
        async with asyncio.timeout(LIMIT_SECONDS):
            line = await self._response.content.readline()
        assert line, "the watch has ended"
        event: dict[str, Any] = json.loads(line)
        return event

    async def take(self, count: int) -> list[tuple[str, str]]:
        """Return the next events as type and name."""
        return [await self.next_named() for _ in range(count)]

    async def next_named(self) -> tuple[str, str]:
        """Return the next event as type and name."""
        event = await self.next()
        return event["type"], event["object"]["metadata"].get("name", "")

    async def rest(self) -> list[dict[str, Any]]:
        """Return everything up to the end of the stream."""
        async with asyncio.timeout(LIMIT_SECONDS):
            return [json.loads(line) async for line in self._response.content]


async def until(look: Callable[[], Awaitable[Any]], otherwise: str, limit_seconds: float = LIMIT_SECONDS) -> Any:
    """Return what `look` finds once it is true; fails the test after the limit, saying `otherwise`."""
    deadline = time.monotonic() + limit_seconds
    while not (found := await look()):
        assert time.monotonic() < deadline, f"after {limit_seconds:g} s {otherwise}"
        await asyncio.sleep(0.01)
    return found


@asynccontextmanager
async def running(data: Path, **options: Any) -> AsyncIterator[Api]:
    """Run a server on a directory, with a client."""
    async with serve(data, **options) as server, client(server) as session:
        yield Api(server, session)


@asynccontextmanager
async def client(server: Server, token: str | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """Return an HTTP session that trusts the server and shows its token, or another."""
    trust = ssl.create_default_context(cafile=server.credentials.ca_file)
    headers = {"Authorization": f"Bearer {token if token is not None else server.token}"}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(ssl=trust)) as session:
        yield session
