"""A host's addresses: looked up once a request, judged all of them, and then connected to, these and no others.

What is connected to is what was judged, so a name that is answered for differently the second time (DNS rebinding) gains nothing: there is no
second time. Each redirect is looked up and judged anew. Host header, TLS name and certificate stay those of the name.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from backstay.hosts.addresses import Address
from backstay.hosts.rules import HostRules, is_internal_name
from backstay.hosts.urls import Url

LookUp = Callable[[str], Awaitable[Sequence[Address]]]
"""Returns the addresses of a name. Raises OSError where it has none, or nobody can be asked."""

LOOK_UP_SECONDS: Final = 10.0
_THREADS: Final = ThreadPoolExecutor(16, "backstay-dns")
"""Of their own: names whose servers do not answer must not keep the rest of the operator from working."""


async def look_up(name: str) -> Sequence[Address]:
    """Ask the system for a name's addresses.

    A name that is not of the cluster is asked for as it is: with the pod's search domains, `api.example.com` would first be looked for as
    `api.example.com.svc.cluster.local`, which somebody with a namespace `com` could answer for. Where that gives nothing the system's other
    ways are tried, for a pod's hostAliases know no final dot; what they give is judged like any address.
    """
    ways = [name] if is_internal_name(name) else [f"{name}.", name]
    try:
        async with asyncio.timeout(LOOK_UP_SECONDS):
            return await asyncio.get_running_loop().run_in_executor(_THREADS, _first_found, ways)
    except TimeoutError:
        raise socket.gaierror(socket.EAI_AGAIN, f"no name server has answered within {LOOK_UP_SECONDS:.0f} s") from None


def _first_found(ways: Sequence[str]) -> list[Address]:
    for way in ways[:-1]:
        with contextlib.suppress(socket.gaierror):
            return _addresses(way)
    return _addresses(ways[-1])


def _addresses(name: str) -> list[Address]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(str(place[0])) for *_, place in found))


async def checked(url: Url, rules: HostRules, ask: LookUp) -> tuple[Address, ...]:
    """Return the addresses that a URL may be connected to. Raises HostForbidden, and OSError where its name cannot be looked up."""
    rules.check_host(url)
    if url.address is not None:
        return (url.address,)
    found = tuple(await ask(url.host))
    rules.check_addresses(url, found)
    return found


class Pinned(AbstractResolver):
    """What a connection for one request resolves its host with: the addresses that were judged."""

    def __init__(self, host: str, addresses: Sequence[Address]) -> None:
        self._host = host
        self._addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:  # noqa: ARG002
        """Return the judged addresses; of another host none."""
        if host.lower().removesuffix(".") != self._host:
            raise OSError(None, f"{host!r} was not looked up")
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET6 if address.version == 6 else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


def guard(addresses: Sequence[Address]) -> Callable[[AddrInfoType], socket.socket]:
    """Return what makes the sockets of one request. The last look before a connection: one to any other address is not made.

    aiohttp asks no resolver for a host that it reads as an address, and reads for itself.
    """

    def made(place: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, target = place
        wanted: Any = target[0]
        if ipaddress.ip_address(str(wanted)) not in addresses:
            raise OSError(None, f"{wanted} was not judged")
        found = socket.socket(family, kind, protocol)
        found.setblocking(False)
        return found

    return made
