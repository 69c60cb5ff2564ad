"""One HTTP call, from what its step resolved to the answer as it came, or the error that kept it from coming.

    what happens                                                 error
    the URL, or a header, cannot be sent as it is                InvalidRequest
    the installation does not allow the host, or where it leads  HostForbidden
    the service account may not read a Secret                    Forbidden
    a Secret, or its key, is missing                             SecretNotFound
    no name, no connection, no trust, no whole answer            HttpUnavailable
    no whole answer in time                                      Timeout

Any answer at all is a success here: what it means is decided in `engine/steps/http.py`.
"""

import asyncio
import ipaddress
import os
import socket
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from weakref import WeakKeyDictionary

import aiohttp
import orjson

from backstay import __version__
from backstay.api.base import format_duration
from backstay.engine.model import CallFact, CallState, Fault, StartCall
from backstay.executors.calls import CallContext
from backstay.executors.http import answers
from backstay.executors.http.exchange import CONNECT_SECONDS, Exchange, Outgoing, tls_context
from backstay.executors.http.resolver import LookUp, look_up
from backstay.executors.http.room import Room
from backstay.executors.http.secrets import Headers, Unfit, headers_of
from backstay.hosts.addresses import Address
from backstay.hosts.rules import HostForbidden, HostRules
from backstay.hosts.urls import Url, parse_url
from backstay.kube.client import Client
from backstay.names import HEADER_ATTEMPT, HEADER_PREPARED, HEADER_RUN, HEADER_STEP, HEADER_TRANSACTION, idempotency_key

USER_AGENT: Final = f"backstay/{__version__}"
_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"
_TRANSACTION: Final = {"transaction": HEADER_TRANSACTION, "prepared": HEADER_PREPARED}


_ROOMS: Final[WeakKeyDictionary[Client, Room]] = WeakKeyDictionary()


async def execute(context: CallContext, call: StartCall) -> CallFact:
    """Make an HTTP call when there is room. Ends with a fact in any case; what it sends is closed when it is cancelled."""
    room = _ROOMS.setdefault(context.client, Room())
    async with room.taken(context.run.namespace, context.waits):
        return await HttpCalls(look_up).execute(context, call)


@dataclass(frozen=True, slots=True)
class HttpCalls:
    """Makes HTTP calls; `ask` looks names up."""

    ask: LookUp

    async def execute(self, context: CallContext, call: StartCall) -> CallFact:
        """Make one call, as `execute`."""
        inputs = call.inputs
        limit_seconds = float(inputs["limitSeconds"])
        try:
            url = parse_url(inputs["url"])
        except ValueError as error:
            return _failed(call, Fault("InvalidRequest", "The request cannot be made", str(error)))
        words = f"{inputs['method']} {url.shown}"
        try:
            async with asyncio.timeout(limit_seconds):
                return await self._answer(context, call, url)
        except HostForbidden as error:
            return _failed(call, Fault("HostForbidden", "The host may not be called", str(error)))
        except Unfit as error:
            return _failed(call, error.fault)
        except aiohttp.ServerTimeoutError:
            return _failed(call, Fault("HttpUnavailable", "No answer", f"{words}: no connection came about within {CONNECT_SECONDS:.0f} s"))
        except TimeoutError:
            return _failed(call, _timed_out(words, limit_seconds), unanswered=True)
        except (aiohttp.ClientError, OSError, EOFError) as error:
            is_sent = not isinstance(error, aiohttp.ClientConnectorError | socket.gaierror | ConnectionRefusedError)
            return _failed(call, Fault("HttpUnavailable", "No answer", f"{words}: {_reason(error)}"), unanswered=is_sent)
        except ValueError as error:
            return _failed(call, Fault("HttpStatus", "Redirected to nowhere", f"{words} redirects to what cannot be called: {error}"))

    async def _answer(self, context: CallContext, call: StartCall, url: Url) -> CallFact:
        settings = context.settings
        guarded = await _api_server(context.client, self.ask)
        rules = _rules(settings.http_allowed_hosts, tuple(guarded), settings.http_internal_ranges)
        rules.check_host(url)  # before a Secret is read for it
        headers = await headers_of(context, call.inputs.get("headers") or ())
        exchange = Exchange(rules, self.ask, lambda: tls_context(settings.http_ca_file))
        request = outgoing(context, call, url, headers)
        answer, told = await exchange.send(request)
        pause = answers.retry_after_seconds(told, datetime.now(UTC)) if answer["status"] >= 400 else None
        return CallFact(call.name, CallState.SUCCEEDED, outputs=answer, retry_after_seconds=pause)


@lru_cache(8)
def _rules(allowed: tuple[str, ...], guarded: tuple[Address, ...], internal: tuple[str, ...]) -> HostRules:
    return HostRules.parse(allowed, guarded, internal)


def outgoing(context: CallContext, call: StartCall, url: Url, headers: Headers) -> Outgoing:
    """Return the request of an attempt: the step's headers, and ours, which tell the other side who calls and whether it called before."""
    inputs, run = call.inputs, context.run
    body, kind = _body(inputs)
    ours = [("User-Agent", USER_AGENT), ("Accept", f"{_JSON}, */*;q=0.8"), ("Content-Type", kind)]
    if name := inputs.get("idempotencyHeader"):
        ours.append((name, idempotency_key(run.uid, call.path)))
    given = {name.lower() for name, _ in headers.pairs}
    told = [(HEADER_RUN, run.name), (HEADER_STEP, call.path), (HEADER_ATTEMPT, str(call.attempt)), ("Accept-Encoding", "identity")]
    told += [(_TRANSACTION[name], value) for name, value in (inputs.get("transaction") or {}).items()]
    pairs = (*headers.pairs, *((name, value) for name, value in ours if value and name.lower() not in given), *told)
    sent = Headers(pairs, headers.private, headers.secrets)
    return Outgoing(inputs["method"], url, sent, body, int(inputs.get("followRedirects", 0)))


def _body(inputs: Mapping[str, Any]) -> tuple[bytes | None, str]:
    if "json" in inputs:
        return orjson.dumps(inputs["json"]), _JSON
    if "text" in inputs:
        return str(inputs["text"]).encode(), _TEXT
    return None, ""


async def _api_server(client: Client, ask: LookUp) -> list[Address]:
    """Return the addresses of the API server, as far as they can be told: they are reached only where they are named."""
    hosts = {urllib.parse.urlsplit(client.server).hostname or "", os.environ.get("KUBERNETES_SERVICE_HOST", "")} - {""}
    found: list[Address] = []
    for host in sorted(hosts):
        try:
            found.append(ipaddress.ip_address(host))
        except ValueError:
            try:
                found.extend(await ask(host))
            except OSError:
                continue  # then no call gets there either
    return found


def _failed(call: StartCall, fault: Fault, *, unanswered: bool = False) -> CallFact:
    return CallFact(call.name, CallState.FAILED, fault=fault, unanswered=unanswered)


def _timed_out(words: str, limit_seconds: float) -> Fault:
    took = format_duration(timedelta(seconds=limit_seconds))
    return Fault("Timeout", "The attempt took too long", f"{words}: no whole answer came within {took}; see its attemptTimeout")


def _reason(error: Exception) -> str:
    """Say what broke; the libraries' own words hold Python's objects, and what was sent."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"the certificate of {error.host} is not trusted ({_words(error.certificate_error)})"
        case aiohttp.ClientSSLError():
            return f"no encrypted connection came about ({_words(error.os_error)})"
        case aiohttp.ClientConnectorError():
            return f"no connection came about ({_words(error.os_error)})"
        case aiohttp.ClientPayloadError() | EOFError():
            return "the answer broke off"
        case aiohttp.ClientResponseError():
            return "what came back is no HTTP answer"
        case aiohttp.ServerDisconnectedError():
            return "the connection was closed before an answer came"
        case aiohttp.ClientOSError():
            return f"the connection broke ({_words(error)})"
        case socket.gaierror():
            return f"its name cannot be looked up ({error.strerror or error})"
    return _words(error)


def _words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return str(getattr(error, "strerror", None) or error or type(error).__name__)[:300]
