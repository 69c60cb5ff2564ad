"""What `kubectl logs` reaches: the part of a kubelet's HTTPS endpoint that serves container logs, on loopback only.

    GET /containerLogs/NAMESPACE/POD/CONTAINER?follow=true&tailLines=N&previous=true&timestamps=true&sinceSeconds=N&sinceTime=T&limitBytes=N
    GET /healthz

An API server finds it through the node's daemonEndpoints and proxies to it. The certificate is made for the purpose and signed by itself, which
an API server without `--kubelet-certificate-authority` accepts. Callers have to show a certificate of the given authority (the embedded API
server does, a real one with `--kubelet-client-certificate`), or the given bearer token; with neither, every user of this machine can read logs.
"""

import hmac
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from backstay.local.node.logs import LogQuery, read_log
from backstay.local.node.references import POD_IP
from backstay.local.node.sandbox import Sandbox

FindLog = Callable[..., tuple[Sandbox | None, bool]]
"""(namespace, pod, container, previous=...) → the run, and whether it may still write; KeyError where there is no such container."""

CERTIFICATE_DAYS = 3650


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to listen: `folder` holds the certificate, `port` 0 is any; who may call is told by `token` or `client_authority`."""

    folder: Path
    port: int = 0
    token: str | None = None
    client_authority: Path | None = None


class Kubelet:
    """The endpoint; an async context manager. `port` is known inside."""

    def __init__(self, find_log: FindLog, endpoint: Endpoint) -> None:
        self.port = endpoint.port
        self._find_log, self._endpoint = find_log, endpoint
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._authenticate])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        app.router.add_route("*", "/{operation}/{rest:.*}", self._unknown)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, POD_IP, self.port, ssl_context=_tls(self._endpoint))
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        token = self._endpoint.token
        if token is not None and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise web.HTTPUnauthorized(text="this node wants its bearer token\n")
        return await handler(request)

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _unknown(self, request: web.Request) -> web.Response:
        operation = request.match_info["operation"]
        return web.Response(status=501, text=f"{operation}: this node runs pods as local processes; it serves logs, and nothing else\n")

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        names = [request.match_info[part] for part in ("namespace", "pod", "container")]
        previous = _flag(request.query, "previous")
        try:
            query = _query(request.query)
            sandbox, _ = self._find_log(*names, previous=previous)
        except ValueError as fault:
            raise web.HTTPBadRequest(text=f"{fault}\n") from fault
        except KeyError as fault:
            raise web.HTTPNotFound(text=f"{fault.args[0]}\n") from fault
        if sandbox is None:
            what = "previous terminated container" if previous else "container"
            state = "not found" if previous else "is waiting to start"
            raise web.HTTPBadRequest(text=f'{what} "{names[2]}" in pod "{names[1]}" {state}\n')
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        async for chunk in read_log(sandbox.log, query, lambda: self._may_write(sandbox, names, previous=previous)):
            await response.write(chunk)
        await response.write_eof()
        return response

    def _may_write(self, sandbox: Sandbox, names: list[str], *, previous: bool) -> bool:
        """Tell whether the run that is read goes on: neither ended nor followed by a newer one."""
        try:
            newest, running = self._find_log(*names, previous=previous)
        except KeyError:
            return False
        return running and newest == sandbox and not sandbox.exit_file.exists()


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "false").lower() in ("true", "1")


def _query(query: Mapping[str, str]) -> LogQuery:
    numbers = {name: int(query[name]) for name in ("tailLines", "sinceSeconds", "limitBytes") if query.get(name)}
    if any(number < 0 for number in numbers.values()):
        raise ValueError("tailLines, sinceSeconds and limitBytes cannot be negative")
    since = datetime.fromisoformat(query["sinceTime"]) if query.get("sinceTime") else None
    if "sinceSeconds" in numbers:
        since = datetime.now(UTC) - timedelta(seconds=numbers["sinceSeconds"])
    return LogQuery(
        tail_lines=numbers.get("tailLines"),
        since=since,
        timestamps=_flag(query, "timestamps"),
        follow=_flag(query, "follow"),
        limit_bytes=numbers.get("limitBytes"),
    )


def _tls(endpoint: Endpoint) -> ssl.SSLContext:
    """Return a server context with a certificate of this node's own, made once."""
    pair = endpoint.folder / "kubelet.pem"
    if not pair.exists():
        pair.touch(mode=0o600)
        pair.write_bytes(_self_signed())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    if endpoint.client_authority is not None:
        context.load_verify_locations(endpoint.client_authority)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _self_signed() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "backstay-node")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(POD_IP)), x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + certificate.public_bytes(serialization.Encoding.PEM)
