"""An API server that is far away: a proxy through which every call takes longer, half on the way there and half on the way back.

    python -m tests.support.slow_server --kubeconfig FILE --delay SECONDS --own FILE

`--own` is written: the kubeconfig of whoever is to be slowed down. What a watch tells comes late by half as much, in order: a long way delays
what passes, it does not thin it out.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from backstay.kube.login import Access, find_login
from tests.cluster.processes import end_child, tail
from tests.support.bound import spawn_bound
from tests.support.waiting import wait_for

_READY = "passes on what is asked of it"
_READY_LIMIT_SECONDS = 30
_MOST_BYTES = 16 * 2**20
_HOP_BY_HOP = {"host", "connection", "transfer-encoding", "content-length", "date", "server"}
"""Headers that belong to one connection only, or that each side writes for itself."""


@contextmanager
def slowed(kubeconfig: Path, folder: Path, *, delay_seconds: float) -> Iterator[Path]:
    """Give a kubeconfig whose calls take so much longer, while the block lasts."""
    log, own = folder / "slow-server.log", folder / "slow.kubeconfig"
    options = ["--kubeconfig", str(kubeconfig), "--delay", str(delay_seconds), "--own", str(own)]
    root = {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = spawn_bound([sys.executable, "-m", "tests.support.slow_server", *options], log, root)

    def is_ready() -> bool:
        assert process.poll() is None, f"the slow server ended with code {process.returncode}; it says\n{tail(log)}"
        return _READY in log.read_text(errors="replace")

    try:
        wait_for(is_ready, _READY_LIMIT_SECONDS, what=lambda: f"the slow server is not ready; it says\n{tail(log)}")
        yield own
    finally:
        end_child(process)


class SlowServer:
    """Passes every request on to the API server, late."""

    def __init__(self, access: Access, session: aiohttp.ClientSession, delay_seconds: float) -> None:
        self._access = access
        self._session = session
        self._one_way_seconds = delay_seconds / 2

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        """Answer as the API server does; that cannot be reached: close the connection, as it would."""
        body = await request.read()
        await asyncio.sleep(self._one_way_seconds)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP]
        server = f"{self._access.server}{request.rel_url.raw_path_qs}"
        timeout = aiohttp.ClientTimeout(total=None)
        tls = self._access.tls if self._access.tls is not None else True
        try:
            async with self._session.request(
                request.method, server, headers=headers, data=body or None, ssl=tls, timeout=timeout, allow_redirects=False
            ) as answer:
                return await self._answered(request, answer)
        except aiohttp.ClientError:
            if request.transport is not None:
                request.transport.close()
            return web.Response(status=502)

    async def _answered(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        headers = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP]
        response = web.StreamResponse(status=answer.status, headers=headers)
        way_back = WayBack(answer.content, self._one_way_seconds)
        try:
            await asyncio.sleep(self._one_way_seconds)
            await response.prepare(request)
            async for chunk in way_back:
                await response.write(chunk)
            await response.write_eof()
        finally:
            await way_back.close()
        return response


class WayBack:
    """Parts of an answer, each a while after it has come: they follow one another on the way, and do not wait for one another."""

    def __init__(self, content: aiohttp.StreamReader, seconds: float) -> None:
        self._seconds = seconds
        self._passing: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self._receiving = asyncio.create_task(self._receive(content))

    async def _receive(self, content: aiohttp.StreamReader) -> None:
        try:
            async for chunk in content.iter_any():
                self._passing.put_nowait((self._due(), chunk))
        finally:
            self._passing.put_nowait((self._due(), b""))

    def _due(self) -> float:
        return asyncio.get_running_loop().time() + self._seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the parts; raises what broke them off."""
        while True:
            due, chunk = await self._passing.get()
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            if not chunk:
                await self._receiving
                return
            yield chunk

    async def close(self) -> None:
        """Receive no more."""
        self._receiving.cancel()
        await asyncio.gather(self._receiving, return_exceptions=True)


async def _serve(asked: argparse.Namespace) -> None:
    access = find_login(str(asked.kubeconfig))()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False, skip_auto_headers=("Accept", "User-Agent")) as session:
        application = web.Application(client_max_size=_MOST_BYTES)
        application.router.add_route("*", "/{path:.*}", SlowServer(access, session, asked.delay).pass_on)
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        config: Any = yaml.safe_load(asked.kubeconfig.read_text())
        config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}
        asked.own.touch(mode=0o600)
        asked.own.write_text(json.dumps(config))
        print(_READY, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Run the command line until the process is killed."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.slow_server", description="An API server that is far away.")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--delay", type=float, required=True, metavar="SECONDS", help="how much longer each call takes")
    parser.add_argument("--own", type=Path, required=True, metavar="FILE", help="where the kubeconfig of the slow server goes")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
