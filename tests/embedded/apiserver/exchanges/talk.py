"""Holds the conversation with one server: sends each exchange, and returns what came back, by the exchange's name."""

import asyncio
import io
import json
import re
import shlex
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import aiohttp

from tests.embedded.apiserver.exchanges.exchange import Body, Exchange
from tests.embedded.apiserver.exchanges.nature import blotted
from tests.support.tools import kubectl

_LIMIT_SECONDS = 30.0
_AGAIN_SECONDS = 0.05
_SAID = re.compile(r"@(uid|version|name|continue):([^@]+)@")
_FIELDS = {"uid": "uid", "version": "resourceVersion", "name": "name", "continue": "continue"}


@dataclass(frozen=True)
class Server:
    """Where a server is, and who may talk to it. `trust` is the certificate authority as PEM."""

    url: str
    token: str
    trust: str
    kubeconfig: Path


class Talk:
    """A conversation under way: later exchanges may refer to what was answered to earlier ones."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session
        self._said: dict[str, Body] = {}

    async def hold(self, exchange: Exchange) -> Body:
        """Return the answer to an exchange, with what differs from run to run blotted out."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _LIMIT_SECONDS
        while True:
            try:
                answer = await asyncio.wait_for(self._ask(exchange), _LIMIT_SECONDS)
            except TimeoutError:
                raise AssertionError(f"{exchange.name}: there is no whole answer after {_LIMIT_SECONDS:g} s") from None
            if exchange.until is None or exchange.until(answer):
                break
            assert loop.time() < deadline, f"{exchange.name}: after {_LIMIT_SECONDS:g} s the answer still is {answer}"
            await asyncio.sleep(_AGAIN_SECONDS)
        if "body" in answer:
            self._said[exchange.name] = answer["body"]
        return dict(blotted(answer))

    async def _ask(self, exchange: Exchange) -> Body:
        if exchange.method == "KUBECTL":
            return await asyncio.to_thread(self._kubectl, exchange)
        data, headers = self._body(exchange), {"Accept": exchange.accept}
        token = self._server.token if exchange.token is None else exchange.token
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if data is not None:
            headers["Content-Type"] = exchange.content_type
        url = self._server.url + self._filled(exchange.path)
        async with self._session.request(exchange.method, url, data=data, headers=headers) as response:
            answer: Body = {"status": response.status, "type": response.headers.get("Content-Type", "")}
            if warnings := response.headers.getall("Warning", []):
                answer["warnings"] = warnings
            if exchange.events is not None and response.status == 200:
                return {**answer, "events": await _events(response, exchange.events)}
            return {**answer, **_parsed(await response.read())}

    def _body(self, exchange: Exchange) -> io.BytesIO | None:
        if exchange.body is None:
            return None
        return io.BytesIO(exchange.body if isinstance(exchange.body, bytes) else self._filled(json.dumps(exchange.body)).encode())

    def _filled(self, text: str) -> str:
        return _SAID.sub(lambda found: str(self._said[unquote(found[2])]["metadata"][_FIELDS[found[1]]]), text)

    def _kubectl(self, exchange: Exchange) -> Body:
        command = [str(kubectl()), "--kubeconfig", str(self._server.kubeconfig), *shlex.split(self._filled(exchange.path))]
        given = exchange.given if isinstance(exchange.given, str) else self._filled(json.dumps(exchange.given))
        result = subprocess.run(command, input=given, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False)
        return {"status": result.returncode, "text": result.stdout, "errors": result.stderr}


async def _events(response: aiohttp.ClientResponse, count: int) -> list[Body]:
    events: list[Body] = []
    async for line in response.content:
        events.append(json.loads(line))
        if len(events) == count:
            break
    return events


def _parsed(body: bytes) -> Body:
    try:
        return {"body": json.loads(body)}
    except ValueError:
        return {"text": body.decode(errors="replace")}


async def talk(server: Server, exchanges: list[Exchange]) -> dict[str, Body]:
    """Hold the whole conversation with a server."""
    trust = ssl.create_default_context(cadata=server.trust)
    connector = aiohttp.TCPConnector(ssl=trust)
    # A watch may send long lines.
    async with aiohttp.ClientSession(connector=connector, read_bufsize=1 << 20) as session:
        conversation = Talk(server, session)
        return {exchange.name: await conversation.hold(exchange) for exchange in exchanges}
