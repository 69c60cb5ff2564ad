"""Which hosts an installation lets calls go to, and which it never does."""

import ipaddress

import pytest

from backstay.hosts.addresses import Zone, zone_of
from backstay.hosts.rules import HostForbidden, HostRules
from backstay.hosts.urls import parse_url
from tests.unit.hosts.hostile import NAMES, SPELLINGS

API_SERVER = ipaddress.ip_address("203.1.2.3")
EVERYTHING = HostRules.parse(["*:*"], [API_SERVER])
PUBLIC = "93.184.216.34"


def verdict(allowed: list[str], url: str, leads_to: str = PUBLIC, *, internal: tuple[str, ...] = ()) -> str:
    """Return `allowed`, or why not; for a host that is a name, `leads_to` says where it leads."""
    rules = HostRules.parse(allowed, [API_SERVER], internal)
    try:
        parsed = parse_url(url)
        rules.check_host(parsed)
        if parsed.address is None:
            rules.check_addresses(parsed, map(ipaddress.ip_address, leads_to.split()))
    except (ValueError, HostForbidden) as error:
        return str(error)
    return "allowed"


def test_there_are_enough_hostile_spellings_to_mean_something() -> None:
    assert len(set(SPELLINGS)) > 100


@pytest.mark.parametrize("url", SPELLINGS)
def test_a_hostile_spelling_is_refused_before_anybody_is_asked_for_an_address(url: str) -> None:
    with pytest.raises((ValueError, HostForbidden)) as refusal:
        parsed = parse_url(url)
        EVERYTHING.check_host(parsed)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_leads_inside_is_refused_although_every_public_host_is_allowed(name: str) -> None:
    assert verdict(["*:*"], f"http://{name}/", NAMES[name]) != "allowed"


def test_one_forbidden_address_among_allowed_ones_forbids_the_call() -> None:
    assert verdict(["*"], "https://api.example.com/", f"{PUBLIC} 2606:4700::1111") == "allowed"
    assert "leads to 10.0.0.1, which is private" in verdict(["*"], "https://api.example.com/", f"{PUBLIC} 10.0.0.1")


ALLOWED = [
    # entry, URL, where the host leads
    ("api.example.com", "https://api.example.com/orders", PUBLIC),
    ("api.example.com", "http://api.example.com", PUBLIC),
    ("api.example.com", "https://API.Example.COM./orders?x=1#top", PUBLIC),
    ("API.example.com.", "https://api.example.com/", PUBLIC),
    ("https://api.example.com", "https://api.example.com/", PUBLIC),
    ("api.example.com:8443", "https://api.example.com:8443/", PUBLIC),
    ("api.example.com:*", "http://api.example.com:9/", PUBLIC),
    ("*.example.com", "https://a.b.example.com/", PUBLIC),
    ("*.example.com:8443", "https://a.example.com:8443/", PUBLIC),
    ("*", "https://anywhere.example/", PUBLIC),
    ("*", "http://93.184.216.34/", ""),
    ("*", "https://[2606:4700::1111]/", ""),
    ("*", "https://v6only.example/", "64:ff9b::5db8:d822"),
    ("xn--bcher-kva.example", "https://xn--bcher-kva.example/", PUBLIC),
    ("payments.shop.svc", "http://payments.shop.svc/", "10.100.7.7"),
    ("payments.shop.svc.cluster.local:8080", "http://payments.shop.svc.cluster.local:8080/", "10.100.7.7"),
    ("payments.shop.svc", "http://payments.shop.svc/", "fd00:10:96::7"),
    ("erp.example.com=10.20.0.0/16", "https://erp.example.com/", "10.20.3.4"),
    ("erp.example.com=10.20.0.0/16", "https://erp.example.com/", PUBLIC),
    ("erp.example.com:*=fd00::/8", "https://erp.example.com:1/", "fd12::1"),
    ("10.20.0.7", "http://10.20.0.7/", ""),
    ("10.20.0.7:*", "http://10.20.0.7:8080/", ""),
    ("10.20.0.7", "http://[::ffff:10.20.0.7]/", ""),
    ("[fd00::7]", "http://[fd00:0::7]/", ""),
    ("127.0.0.1:*", "http://127.0.0.1:9999/", ""),
    ("localhost:*", "http://localhost:9999/", "127.0.0.1 ::1"),
    ("169.254.169.254", "http://169.254.169.254/", ""),
    ("metadata.google.internal=169.254.169.254/32", "http://metadata.google.internal/", "169.254.169.254"),
    ("printer.example.com=169.254.7.0/24", "http://printer.example.com/", "169.254.7.9"),
    ("kubernetes.default.svc=203.1.2.3/32", "https://kubernetes.default.svc/", "203.1.2.3"),
    ("lab.example.com=198.18.0.0/15", "http://lab.example.com/", "198.18.0.7"),
]


@pytest.mark.parametrize(("entry", "url", "leads_to"), ALLOWED)
def test_what_an_entry_allows(entry: str, url: str, leads_to: str) -> None:
    assert verdict([entry], url, leads_to) == "allowed"


REFUSED = [
    # nothing is allowed by default, and the message says what to ask for
    (
        [],
        "https://api.example.com/",
        PUBLIC,
        'https://api.example.com is not allowed in this installation (none is); have "api.example.com" added',
    ),
    (["api.example.com"], "https://api.example.org/", PUBLIC, "only these are: api.example.com"),
    (["api.example.com"], "https://api.example.com.evil.example/", PUBLIC, "is not allowed"),
    (["api.example.com"], "https://xapi.example.com/", PUBLIC, "is not allowed"),
    (["api.example.com"], "https://api.example.com:8443/", PUBLIC, 'have "api.example.com:8443" added'),
    (["https://api.example.com"], "http://api.example.com/", PUBLIC, "http://api.example.com is not allowed"),
    (["api.example.com:8443"], "https://api.example.com/", PUBLIC, "is not allowed"),
    (["*.example.com"], "https://example.com/", PUBLIC, "is not allowed"),
    (["*.example.com"], "https://evilexample.com/", PUBLIC, "is not allowed"),
    (["*"], "https://anywhere.example:8443/", PUBLIC, "is not allowed"),
    # a name that somebody else answers for leads nowhere inside, however it is allowed
    (["api.example.com"], "https://api.example.com/", "10.0.0.1", 'where that is meant, have "api.example.com=10.0.0.1/32" added'),
    (["api.example.com"], "https://api.example.com/", "169.254.169.254", "a cloud's metadata service"),
    (["api.example.com"], "https://api.example.com/", "127.0.0.1", "is loopback"),
    (["*.example.com"], "https://erp.example.com/", "10.20.3.4", "which is private"),
    (["erp.example.com=10.20.0.0/16"], "https://erp.example.com/", "10.21.0.1", "which is private"),
    # a range does not quietly hold what is worse than private
    (["erp.example.com=0.0.0.0/0"], "https://erp.example.com/", "169.254.169.254", "metadata"),
    (["erp.example.com=0.0.0.0/0"], "https://erp.example.com/", "169.254.1.1", "link-local"),
    (["erp.example.com=0.0.0.0/0"], "https://erp.example.com/", "127.0.0.1", "loopback"),
    (["erp.example.com=0.0.0.0/0"], "https://erp.example.com/", "224.0.0.1", "no installation allows it"),
    (["erp.example.com=203.1.2.0/24"], "https://erp.example.com/", "203.1.2.3", "the API server"),
    (["erp.example.com"], "https://erp.example.com/", "203.1.2.3", "the API server"),
    # a Service of the cluster may be an alias for anything
    (["payments.shop.svc"], "http://payments.shop.svc/", "127.0.0.1", "loopback"),
    (["payments.shop.svc"], "http://payments.shop.svc/", "169.254.169.254", "metadata"),
    (["payments.shop.svc"], "http://payments.shop.svc/", "203.1.2.3", "the API server"),
    (["payments.shop.svc"], "http://payments.shop.svc/", "198.18.0.1", "reserved"),
    (["localhost"], "http://localhost/", "10.0.0.1", "private"),
    # an address that is named is that one alone
    (["10.20.0.7"], "http://10.20.0.8/", "", "is not allowed"),
    (["10.20.0.7"], "http://erp.example.com/", "10.20.0.7", "is not allowed"),
    (["*", "10.20.0.7"], "http://erp.example.com/", "10.20.0.7", "which is private"),
]


@pytest.mark.parametrize(("entries", "url", "leads_to", "says"), REFUSED)
def test_what_is_refused_and_why(entries: list[str], url: str, leads_to: str, says: str) -> None:
    assert says in verdict(entries, url, leads_to)


def test_ranges_of_the_cluster_count_as_private_where_the_installation_says_so() -> None:
    pods = ("52.1.0.0/16",)
    assert verdict(["*"], "https://api.example.com/", "52.1.2.3") == "allowed"
    assert "private" in verdict(["*"], "https://api.example.com/", "52.1.2.3", internal=pods)
    assert "private" in verdict(["*"], "https://52.1.2.3/", internal=pods)
    assert verdict(["payments.shop.svc"], "http://payments.shop.svc/", "52.1.2.3", internal=pods) == "allowed"
    assert verdict(["erp.example.com=52.1.0.0/24"], "https://erp.example.com/", "52.1.0.9", internal=pods) == "allowed"


BAD_ENTRIES = {
    "ftp://api.example.com": "must be http or https",
    "https://api.example.com/orders": "leave the path away",
    "api.example.com?": "leave the path away",
    "user@api.example.com": "user name",
    "127.1": "odd spelling",
    "0x7f000001": "odd spelling",
    "0.0.0.0": "no address of a host",
    "[ff02::1]": "no address of a host",
    "*example.com": "a wildcard stands alone or before the first dot",
    "a.*.example.com": "no name of a host",
    "*.svc": "a wildcard never allows what is inside of the cluster",
    "*.shop.svc.cluster.local": "a wildcard never allows",
    "*.localhost": "a wildcard never allows",
    "*.10.0.0.1": "a wildcard never allows",
    "*.example.com=10.0.0.0/8": "only an entry for one name takes a range",
    "10.0.0.1=10.0.0.0/8": "only an entry for one name takes a range",
    "erp.example.com=10.0.0.0/99": "a range of addresses is written as in 10.20.0.0/16",
    "erp.example.com=10.0.0.1/8": "a range of addresses is written as in 10.20.0.0/16",
    "api.example.com:99999": "no port",
    "b\u00fccher.example": "punycode",
    "": "no host",
}


@pytest.mark.parametrize("entry", BAD_ENTRIES)
def test_an_entry_that_cannot_be_read_is_told_at_start(entry: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        HostRules.parse([entry])
    assert BAD_ENTRIES[entry] in str(error.value)


ZONES = {
    Zone.PUBLIC: "93.184.216.34 1.1.1.1 126.255.255.255 128.0.0.1 172.15.0.1 172.32.0.1 100.63.255.255 100.128.0.0 223.255.255.255 2606:4700::1111 ::ffff:1.1.1.1",
    Zone.PRIVATE: "10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.1 100.64.0.0 100.127.255.255 fc00:: fdff::1 ::ffff:10.1.1.1 64:ff9b::a01:101",
    Zone.LOOPBACK: "127.0.0.0 127.255.255.255 ::1 ::ffff:127.0.0.1",
    Zone.LINK_LOCAL: "169.254.0.1 169.254.255.255 fe80::1 febf::1",
    Zone.METADATA: "169.254.169.254 100.100.100.200 168.63.129.16 fd00:ec2::254 ::ffff:169.254.169.254",
    Zone.NEVER: "0.0.0.0 0.255.255.255 224.0.0.1 255.255.255.255 :: ff02::1",
    Zone.RESERVED: "192.0.2.1 198.51.100.7 203.0.113.9 198.19.0.1 2001:db8::1 2002::1 64:ff9b:1::1 ::7 4000::1 100::1",
}


@pytest.mark.parametrize("zone", ZONES)
def test_the_edges_of_each_zone(zone: Zone) -> None:
    assert {address: zone_of(ipaddress.ip_address(address)) for address in ZONES[zone].split()} == dict.fromkeys(ZONES[zone].split(), zone)
