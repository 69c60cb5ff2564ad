"""What kind of place an IP address is, by the registries of IANA (RFC 6890, iana-ipv4-special-registry, iana-ipv6-special-registry).

Python's own `is_global` and `is_private` changed between patch releases (CVE-2024-4032), so the tables stand here.
An IPv6 address that carries an IPv4 address is what that one is: `::ffff:10.0.0.1` reaches 10.0.0.1.
"""

import ipaddress
from enum import StrEnum
from functools import lru_cache
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Zone(StrEnum):
    """What kind of place an address is, as messages say it."""

    PUBLIC = "public"
    PRIVATE = "private"
    """Somebody's inside: the cluster's pods and services, a company's network."""
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    METADATA = "a cloud's metadata service"
    RESERVED = "reserved"
    """Documentation, benchmarks, tunnels: nothing is there, or nobody can tell where it leads."""
    NEVER = "no address of a host"
    """Unspecified, multicast, broadcast: no rule allows these."""


_TABLE: Final[tuple[tuple[Zone, str], ...]] = (
    # more particular ranges stand first
    (
        Zone.METADATA,
        "169.254.169.254/32 169.254.170.2/32 169.254.170.23/32 100.100.100.200/32 192.0.0.192/32 168.63.129.16/32 "
        "fd00:ec2::254/128 fd00:ec2::23/128 fd20:ce::254/128",
    ),
    (Zone.NEVER, "0.0.0.0/8 224.0.0.0/4 240.0.0.0/4 ::/128 ff00::/8"),
    (Zone.LOOPBACK, "127.0.0.0/8 ::1/128"),
    (Zone.LINK_LOCAL, "169.254.0.0/16 fe80::/10"),
    (Zone.PRIVATE, "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 fc00::/7 fec0::/10"),
    (
        Zone.RESERVED,
        "192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 "
        "2001::/23 2001:db8::/32 2002::/16 3fff::/20 64:ff9b:1::/48",
    ),
    (Zone.PUBLIC, "0.0.0.0/0 2000::/3"),
    (Zone.RESERVED, "::/0"),
)
_RANGES: Final = tuple((zone, ipaddress.ip_network(text)) for zone, texts in _TABLE for text in texts.split())
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: in a network without IPv4, DNS64 answers with these for hosts that have nothing else."""


def real(address: Address) -> Address:
    """Return the address that packets to `address` come to: the IPv4 address that a mapped or translated one carries."""
    if isinstance(address, ipaddress.IPv6Address) and (address in _MAPPED or address in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


@lru_cache(4096)
def zone_of(address: Address) -> Zone:
    """Return what kind of place an address is."""
    place = real(address)
    if isinstance(place, ipaddress.IPv6Address) and place.scope_id is not None:
        place = ipaddress.IPv6Address(int(place))
    return next(zone for zone, network in _RANGES if place.version == network.version and place in network)
