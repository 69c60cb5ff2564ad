"""The embedded API server: HTTPS on loopback, one token, one process. For laptops and tests, and for nothing else.

It talks like kube-apiserver 1.37 to kubectl, helm, client-go, kopf and aiohttp; docs/embedded.md lists what differs on purpose, with reasons. Above
all: one token, whose holder may do everything (no RBAC), webhooks, quotas and admission policies are stored and not enforced, no service
networking, exec, port-forward or encryption at rest.
It therefore refuses to listen anywhere but on loopback.

Run it alone, without controllers or a node:

    python -m backstay.local.apiserver.server --data DIR --port 0
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from hmac import compare_digest
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import web

from backstay.local.apiserver import paths
from backstay.local.apiserver.audit import AuditLog
from backstay.local.apiserver.bootstrap import bootstrap
from backstay.local.apiserver.certs import Credentials, credentials, write_kubeconfig
from backstay.local.apiserver.gc import Collector
from backstay.local.apiserver.metrics import Metrics, RequestLabels
from backstay.local.apiserver.resources import Registry
from backstay.local.apiserver.responses import Reply, accepted_format
from backstay.local.apiserver.rest import BODY_LIMIT_BYTES, Rest
from backstay.local.apiserver.state import CRDS, Cluster, utc_now
from backstay.local.apiserver.status import StatusError, internal, method_not_allowed, unauthorized
from backstay.local.apiserver.store import Store
from backstay.local.apiserver.subresources import LogProxy, log_url
from backstay.local.apiserver.targets import Target, flag, list_options, parse_path
from backstay.local.apiserver.terminating import Terminator
from backstay.local.apiserver.watch import Watch

_LOG: Final = logging.getLogger(__name__)
_LOG_CHUNK_BYTES: Final = 64 * 1024
_STOP_SECONDS: Final = 5.0


class NotLoopback(ValueError):
    """An address to listen on that others could reach."""


class Server:
    """A running API server. Made by `serve`."""

    def __init__(
        self, data: Path, *, clock: Callable[[], datetime] = utc_now, bookmark_seconds: float = 60.0, audit_log: Path | None = None
    ) -> None:
        self.credentials: Credentials = credentials(data)
        self.cluster = Cluster(Store(data / "cluster.sqlite3"), Registry(), clock, self.credentials.ca_file.read_text())
        self.metrics = Metrics()
        self.url = ""
        self.kubeconfig = data / "kubeconfig"
        self._rest = Rest(self.cluster, self.credentials.token)
        self._logs = LogProxy(str(self.credentials.client_cert), str(self.credentials.client_key))
        self._audit = AuditLog(audit_log) if audit_log else None
        self._bookmark_seconds = bookmark_seconds
        self._authorization = f"Bearer {self.credentials.token}"
        self._watches: set[Any] = set()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.ServerRunner | None = None

    @property
    def token(self) -> str:
        """The bearer token of the one user."""
        return self.credentials.token

    # ── life ──

    async def start(self, host: str, port: int, kubeconfig: Path | None) -> None:
        """Listen, start collecting garbage, and write the kubeconfig. Raises NotLoopback."""
        address = check_loopback(host)
        for stored in self.cluster.store.select(*CRDS):
            self.cluster.registry.add_crd(stored.object)
        bootstrap(self.cluster)
        controllers = (Collector(self.cluster), Terminator(self.cluster))
        self._tasks = [asyncio.create_task(controller.run(), name=type(controller).__name__) for controller in controllers]
        handler = web.Server(self._handle, request_factory=_make_request, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(handler, shutdown_timeout=_STOP_SECONDS)
        await self._runner.setup()
        listener = _listener(address, port)
        await web.SockSite(self._runner, listener, ssl_context=self._tls()).start()
        shown = f"[{address}]" if ":" in address else address
        self.url = f"https://{shown}:{listener.getsockname()[1]}"
        self.kubeconfig = kubeconfig or self.kubeconfig
        write_kubeconfig(self.kubeconfig, self.url, self.credentials)

    async def stop(self) -> None:
        """End watches, stop listening and close the store."""
        self._stopping = True
        for watcher in self._watches:
            watcher.wake()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        await self._logs.close()
        if self._audit is not None:
            self._audit.close()
        self.cluster.store.close()

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.credentials.server_cert, self.credentials.server_key)
        context.set_alpn_protocols(["http/1.1"])
        return context

    # ── requests ──

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        target: Target | None = None
        started = self.cluster.clock()
        try:
            if request.path not in paths.PUBLIC and not self._is_authorized(request):
                raise unauthorized()
            is_watch = request.method in ("GET", "HEAD") and bool(flag(request.query, "watch"))
            target = parse_path(self.cluster.registry, request.method, request.path, watch=is_watch)
            response = await (self._resource(request, target) if target else self._other(request))
        except StatusError as error:
            response = _error_response(error)
        except (ConnectionResetError, asyncio.CancelledError):
            raise
        except Exception as error:
            _LOG.exception("%s %s failed", request.method, request.path)
            response = _error_response(internal(f"{type(error).__name__}: {error}"))
        self._account(request, target, response.status, started)
        return response

    def _is_authorized(self, request: web.BaseRequest) -> bool:
        given = request.headers.get("Authorization", "")
        return compare_digest(given.encode(errors="surrogateescape"), self._authorization.encode())

    async def _resource(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        if target.verb == "watch" and "watch" in target.resource.verbs:
            return await self._watch(request, target)
        if target.verb == "get" and target.subresource == "log":
            return await self._log(request, target)
        reply = await self._rest.reply(request, target)
        if target.resource.deprecation:
            reply.warnings.append(target.resource.deprecation)
        return _response(reply)

    async def _other(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/metrics":
            counts = {key: self.cluster.store.count(*key) for key in self.cluster.store.resources()}
            return _response(Reply(200, self.metrics.text(counts).encode(), "text/plain; version=0.0.4"))
        reply = paths.reply(self.cluster, request.path, request.headers.get("Accept", ""), request.host)
        if reply is None:
            return _response(Reply(404, b"404 page not found\n", "text/plain; charset=utf-8"))
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed("", request.path, request.method)
        return _response(reply)

    # ── streams ──

    async def _watch(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        format_ = accepted_format(request.headers.get("Accept", ""), request.query.get("includeObject", ""))
        watch = Watch(
            self.cluster,
            target,
            list_options(target, request.query),
            format_,
            time.monotonic,
            self._bookmark_seconds,
            lambda: self._stopping,
        )
        response = web.StreamResponse(headers={"Content-Type": format_.media_type, "Cache-Control": "no-cache, private"})
        watcher = watch.open()
        self._watches.add(watcher)
        self.metrics.watches += 1
        try:
            await response.prepare(request)
            async for frames in watch.frames(watcher):
                await response.write(frames)
            await response.write_eof()
        finally:
            self.metrics.watches -= 1
            self._watches.discard(watcher)
            watcher.close()
        return response

    async def _log(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        url = log_url(self.cluster, target, request.query)
        if url is None:
            return _response(Reply(200, b"", "text/plain"))
        answer = await self._logs.open(url)
        response = web.StreamResponse(headers={"Content-Type": "text/plain", "Cache-Control": "no-cache, private"})
        try:
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
        finally:
            answer.close()
        return response

    # ── accounts ──

    def _account(self, request: web.BaseRequest, target: Target | None, status: int, started: datetime) -> None:
        if target is None:
            return
        resource = target.resource
        verb = "APPLY" if target.verb == "patch" and "apply-patch" in request.headers.get("Content-Type", "") else request.method
        verb = {"list": "LIST", "watch": "WATCH", "deletecollection": "DELETECOLLECTION"}.get(target.verb, verb)
        scope = "resource" if target.name else "namespace" if target.namespace else "cluster"
        dry_run = request.query.get("dryRun", "")
        labels = RequestLabels(verb, resource.group, resource.version, resource.plural, target.subresource, scope, dry_run, status)
        self.metrics.requests[labels] += 1
        if self._audit is not None and target.verb not in ("get", "list", "watch"):
            self._audit.write(request, target, status, started, self.cluster.clock())


def _make_request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    return web.BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop(), client_max_size=BODY_LIMIT_BYTES)


def _response(reply: Reply) -> web.Response:
    response = web.Response(
        body=reply.body, status=reply.status, headers={"Content-Type": reply.content_type, "Cache-Control": "no-cache, private"}
    )
    for warning in reply.warnings:
        response.headers.add("Warning", f"299 - {orjson.dumps(warning).decode()}")
    return response


def _error_response(error: StatusError) -> web.Response:
    response = _response(Reply(error.code, orjson.dumps(error.as_json()), warnings=error.warnings))
    retry = (error.details or {}).get("retryAfterSeconds")
    if retry:
        response.headers["Retry-After"] = str(retry)
    return response


def check_loopback(host: str) -> str:
    """Return the address to listen on. Raises NotLoopback for one that is reachable from outside."""
    address = "127.0.0.1" if host == "localhost" else host
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(address).is_loopback:
            return address
    raise NotLoopback(f"the embedded API server listens on loopback only, not on {host!r}: whoever holds its one token may do everything")


def _listener(address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(1024)
    listener.setblocking(False)
    return listener


@contextlib.asynccontextmanager
async def serve(
    data: Path,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    kubeconfig: Path | None = None,
    audit_log: Path | None = None,
    bookmark_seconds: float = 60.0,
) -> AsyncIterator[Server]:
    """Run an API server on a data directory (made if need be) while the context lasts.

    `port` 0 takes a free one; `kubeconfig` is where to write one (default: DATA/kubeconfig); `audit_log` gets a line a write. Raises
    NotLoopback for another `host`, and store.InUse when another process has the directory.
    """
    check_loopback(host)
    server = Server(data, bookmark_seconds=bookmark_seconds, audit_log=audit_log)
    try:
        await server.start(host, port, kubeconfig)
        yield server
    finally:
        await server.stop()


async def _main(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    options = {"port": arguments.port, "host": arguments.host, "kubeconfig": arguments.kubeconfig, "audit_log": arguments.audit_log}
    async with serve(arguments.data, **options) as server:
        sys.stdout.write(f"{server.url} {server.kubeconfig}\n")
        sys.stdout.flush()
        await stop.wait()


def main() -> None:
    """Run the server alone until SIGTERM or SIGINT; the first line on stdout is its URL and the path of its kubeconfig."""
    parser = argparse.ArgumentParser(prog="python -m backstay.local.apiserver.server", description="An API server for laptops and tests.")
    parser.add_argument("--data", type=Path, required=True, help="directory of the cluster's state; made if need be")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on")
    parser.add_argument("--kubeconfig", type=Path, help="where to write the kubeconfig (default: DATA/kubeconfig)")
    parser.add_argument("--audit-log", type=Path, help="file to append a JSON line to for every write")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        import uvloop

        uvloop.run(_main(parser.parse_args()))
    except ImportError:
        asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
