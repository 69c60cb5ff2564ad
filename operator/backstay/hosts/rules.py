"""What the installation allows: entries for hosts, and for the internal addresses that a host may lead to.

    api.example.com                  the host, on the usual ports of http and https (80, 443), at public addresses only
    https://api.example.com          https only
    api.example.com:8443             this port only; `:*` is any port
    *.example.com                    every host below example.com, at public addresses only
    *                                every host at a public address
    payments.shop.svc                a Service of the cluster, by a name that is one: at private addresses, too
    erp.example.com=10.20.0.0/16     the host, which may lead to these internal addresses, too; several entries add up
    10.20.0.7, [fd00::7]             a host that is written as an address: that address alone

Loopback, link-local, metadata services, the API server and the cluster's own ranges are reached only where an entry names them. A name that
somebody else's DNS answers for is therefore of no use to get inside: naming it allows public addresses, and the ranges written after it.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from backstay.hosts.addresses import Address, Network, Zone, real, zone_of
from backstay.hosts.urls import DEFAULT_PORTS, Url, parse_authority, parse_host

ANY_PORT: Final = "*"
_INTERNAL_SUFFIXES: Final = ("svc", "cluster.local", "localhost", "local", "internal")
"""Ends of names that are answered for by the cluster, this machine, or the cloud's own network, never by the public DNS."""


class HostForbidden(Exception):
    """The installation does not allow a host, or an address that it leads to; the message says which, and what to ask for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the list, read. `suffix` stands for a wildcard: `.example.com`, or empty for every host."""

    text: str
    host: str = ""
    suffix: str | None = None
    scheme: str | None = None
    port: int | None = None
    any_port: bool = False
    address: Address | None = None
    ranges: tuple[Network, ...] = ()

    def covers(self, url: Url) -> bool:
        """Tell whether a URL's scheme, host and port are what this entry is for."""
        if self.scheme not in (None, url.scheme):
            return False
        if not self.any_port and url.port != (self.port or DEFAULT_PORTS[url.scheme]):
            return False
        return self._is_for(url)

    def _is_for(self, url: Url) -> bool:
        if self.suffix is not None:
            return not self.suffix or (url.address is None and url.host.endswith(self.suffix))
        if self.address is not None and url.address is not None:
            return real(self.address) == real(url.address)
        return self.host == url.host

    def allows(self, place: Address, zone: Zone, *, is_guarded: bool) -> bool:
        """Tell whether a host of this entry may lead to an address, which is of a zone, and perhaps the API server's."""
        if zone is Zone.NEVER:
            return False
        if self.address is not None:
            return real(self.address) == place
        named = [network for network in self.ranges if place.version == network.version and place in network]
        if is_guarded or zone is Zone.METADATA:
            return any(network.num_addresses == 1 for network in named)
        if zone is Zone.LINK_LOCAL:
            return any(zone_of(network.network_address) is zone for network in named)
        if zone is Zone.LOOPBACK:
            return self.is_localhost or any(zone_of(network.network_address) is zone for network in named)
        return zone is Zone.PUBLIC or bool(named) or (zone is Zone.PRIVATE and self.is_of_the_cluster)

    @property
    def is_localhost(self) -> bool:
        return self.suffix is None and _ends_in(self.host, ("localhost",))

    @property
    def is_of_the_cluster(self) -> bool:
        """Whether the host's name is one that the cluster itself, or its network, answers for."""
        return self.suffix is None and is_internal_name(self.host) and not self.is_localhost


def parse_entry(text: str) -> Entry:
    """Read one entry. Raises ValueError with the mend."""
    rest, equals, ranges_text = text.partition("=")
    scheme, separator, authority = rest.rpartition("://")
    if separator and scheme not in DEFAULT_PORTS:
        raise ValueError(f"{text!r}: the scheme must be http or https; write the host alone to allow both")
    if any(character in authority for character in "/?#"):
        raise ValueError(f"{text!r}: an entry is a host with or without a port; leave the path away")
    any_port = authority.endswith(f":{ANY_PORT}")
    if any_port:
        authority = authority.removesuffix(f":{ANY_PORT}")
    entry = _wildcard(text, authority) if authority.startswith("*") else _exact(text, authority, _ranges(text, ranges_text))
    if equals and (entry.suffix is not None or entry.address is not None):
        raise ValueError(f"{text!r}: only an entry for one name takes a range of addresses after =; write one for each host")
    return Entry(entry.text, entry.host, entry.suffix, scheme or None, entry.port, any_port, entry.address, entry.ranges)


def _wildcard(text: str, authority: str) -> Entry:
    host, colon, port = authority.partition(":")
    number = _host_and_port(text, f"a:{port}")[1] if colon else None
    if host == "*":
        return Entry(text, suffix="", port=number)
    if not host.startswith("*.") or "*" in host[2:]:
        raise ValueError(f'{text!r}: a wildcard stands alone or before the first dot, as in "*.example.com"')
    name = _host_and_port(text, host[2:])[0]
    if is_internal_name(f"x.{name}") or _is_address(name):
        raise ValueError(f"{text!r}: a wildcard never allows what is inside of the cluster; write an entry for each host")
    return Entry(text, suffix=f".{name}", port=number)


def _exact(text: str, authority: str, ranges: tuple[Network, ...]) -> Entry:
    host, port = _host_and_port(text, authority)
    address = parse_authority(authority)[2]
    if address is not None and zone_of(address) is Zone.NEVER:
        raise ValueError(f"{text!r}: {address} is no address of a host; nothing can be called there")
    return Entry(text, host=host, port=port, address=address, ranges=ranges)


def _host_and_port(text: str, authority: str) -> tuple[str, int | None]:
    try:
        host, port, _ = parse_authority(authority)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    return host, port


def _is_address(host: str) -> bool:
    try:
        return parse_host(host)[1] is not None
    except ValueError:
        return True


def _ranges(text: str, ranges: str) -> tuple[Network, ...]:
    try:
        return (ipaddress.ip_network(ranges),) if ranges else ()
    except ValueError as error:
        raise ValueError(f"{text!r}: a range of addresses is written as in 10.20.0.0/16 ({error})") from None


def is_internal_name(host: str) -> bool:
    """Tell whether a name can only be one of the cluster, of this machine or of the cloud's own network."""
    return "." not in host or _ends_in(host, _INTERNAL_SUFFIXES)


def _ends_in(host: str, suffixes: Iterable[str]) -> bool:
    return any(host == suffix or host.endswith(f".{suffix}") for suffix in suffixes)


@dataclass(frozen=True, slots=True)
class HostRules:
    """The installation's entries. Nothing is allowed where there are none."""

    entries: tuple[Entry, ...] = ()
    guarded: frozenset[Address] = frozenset()
    """Addresses of the API server: reached only where an entry names that very address."""
    internal: tuple[Network, ...] = ()
    """Ranges that count as private here although they are public addresses elsewhere: a cluster's pods may have such."""

    @classmethod
    def parse(cls, entries: Iterable[str], guarded: Iterable[Address] = (), internal: Iterable[str] = ()) -> "HostRules":
        """Read the installation's lists. Raises ValueError naming the entry and the mend."""
        ranges = tuple(network for text in internal for network in _ranges(text, text))
        return cls(tuple(map(parse_entry, entries)), frozenset(map(real, guarded)), ranges)

    def check_host(self, url: Url) -> None:
        """Judge a URL before its name is looked up. Raises HostForbidden."""
        covering = [entry for entry in self.entries if entry.covers(url)]
        if not covering:
            raise HostForbidden(self._unknown(url))
        if url.address is not None:
            self._check(url, url.address, covering)

    def check_addresses(self, url: Url, addresses: Iterable[Address]) -> None:
        """Judge all addresses that a host leads to: one that is forbidden forbids the call, for the next look-up may give only that.

        Raises HostForbidden.
        """
        covering = [entry for entry in self.entries if entry.covers(url)]
        for address in addresses:
            self._check(url, address, covering)

    def zone_of(self, address: Address) -> Zone:
        """Return what kind of place an address is in this installation."""
        place, zone = real(address), zone_of(address)
        own = zone is Zone.PUBLIC and any(place.version == network.version and place in network for network in self.internal)
        return Zone.PRIVATE if own else zone

    def _check(self, url: Url, address: Address, covering: list[Entry]) -> None:
        place, zone = real(address), self.zone_of(address)
        if not any(entry.allows(place, zone, is_guarded=place in self.guarded) for entry in covering):
            raise HostForbidden(self._words(url, address))

    def _unknown(self, url: Url) -> str:
        allowed = ", ".join(entry.text for entry in self.entries[:10])
        found = f"only these are: {allowed}{' …' if len(self.entries) > 10 else ''}" if allowed else "none is"
        return f'{url.scheme}://{url.authority} is not allowed in this installation ({found}); have "{url.authority}" added to http.allowedHosts'

    def _words(self, url: Url, address: Address) -> str:
        place = real(address)
        zone = "the API server" if place in self.guarded else str(self.zone_of(address))
        if self.zone_of(address) is Zone.NEVER:
            return f"{url.host} leads to {address}, which is {zone}; no installation allows it"
        if url.address is not None:
            return f'{url.host} is {zone}, which only an entry of its own allows; have "{url.authority}" added to http.allowedHosts'
        named = f"{url.authority}={place}/{place.max_prefixlen}"
        return f'{url.host} leads to {address}, which is {zone}; where that is meant, have "{named}" added to http.allowedHosts'
