"""HTTP calls to servers on this machine: what is sent, what comes back, and what does not."""

import asyncio
import base64
import gzip
import json
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from backstay.engine.model import CallState
from backstay.executors.http.answers import LONGEST_RETRY_AFTER_SECONDS, MAX_BYTES
from backstay.local.apiserver.certs import credentials
from backstay.names import idempotency_key
from tests.support.tiny_api import hang, reply, status
from tests.unit.executors.http.site import Caller, Names, Site, outcome, raw_server, redirects, says

SECRET = "/api/v1/namespaces/shop/secrets/pay"
TOKEN = "sesame-open-47"
FORBIDDEN = 'secrets "pay" is forbidden: User "system:serviceaccount:shop:payer" cannot get resource "secrets" in API group "" in the namespace "shop"'


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Site() as found:
        yield found


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    async with Caller.ready() as found:
        yield found


def secret(**data: str) -> Any:
    return reply({"kind": "Secret", "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}})


def bearer(key: str = "token", **more: Any) -> list[dict[str, Any]]:
    return [{"name": "Authorization", "prefix": "Bearer ", "secret": {"name": "pay", "key": key, **more}}]


# ------------------------------------------------------------------------------------------------------------------ what is sent


async def test_a_call_says_who_calls_and_under_which_key(site: Site, caller: Caller) -> None:
    await caller.call(f"{site.url}/charges?x=1", method="POST", json={"amount": 12.5}, path="pack[3]/charge", attempt=2)
    (asked,) = site.asked
    assert (asked.method, asked.path, asked.body) == ("POST", "/charges?x=1", b'{"amount":12.5}')
    told = {name: asked.headers[name] for name in ("Content-Type", "Idempotency-Key", "Backstay-Run", "Backstay-Step", "Backstay-Attempt")}
    assert told == {
        "Content-Type": "application/json",
        "Idempotency-Key": idempotency_key("uid-1", "pack[3]/charge"),
        "Backstay-Run": "order-7f2",
        "Backstay-Step": "pack[3]/charge",
        "Backstay-Attempt": "2",
    }
    assert asked.headers["User-Agent"].startswith("backstay/")
    assert "gzip" not in asked.headers["Accept-Encoding"]


async def test_all_attempts_of_a_step_share_the_key_and_each_has_its_number(site: Site, caller: Caller) -> None:
    for attempt in (1, 2):
        await caller.call(site.url, attempt=attempt)
    assert len({asked.headers["Idempotency-Key"] for asked in site.asked}) == 1
    assert [asked.headers["Backstay-Attempt"] for asked in site.asked] == ["1", "2"]


async def test_text_is_sent_as_it_is_and_the_step_may_say_what_it_is(site: Site, caller: Caller) -> None:
    await caller.call(site.url, method="PUT", text="größe=1")
    await caller.call(site.url, method="PUT", text="a=1", headers=[{"name": "content-type", "value": "application/x-www-form-urlencoded"}])
    assert [(asked.headers["Content-Type"], asked.body.decode()) for asked in site.asked] == [
        ("text/plain; charset=utf-8", "größe=1"),
        ("application/x-www-form-urlencoded", "a=1"),
    ]


async def test_the_idempotency_header_may_have_another_name_or_none(site: Site, caller: Caller) -> None:
    await caller.call(site.url, idempotencyHeader="X-Request-Id")
    await caller.call(site.url, idempotencyHeader="")
    assert site.asked[0].headers["X-Request-Id"] == idempotency_key("uid-1", "charge")
    assert not any("Idempotency" in name for asked in site.asked for name in asked.headers)


async def test_nothing_of_the_environment_goes_along(site: Site, caller: Caller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login root password geheim\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    fact = await caller.call(site.url)
    assert fact.outputs["status"] == 200
    assert "Authorization" not in site.asked[0].headers


# -------------------------------------------------------------------------------------------------------------- what comes back


async def test_an_answer_is_handed_over_whatever_its_status(site: Site, caller: Caller) -> None:
    site.routes["/teapot"] = says('{"why": "short and stout"}', 418, "application/problem+json", X_Kind="pot")
    fact = await caller.call(f"{site.url}/teapot")
    assert fact.state is CallState.SUCCEEDED
    assert (fact.outputs["status"], fact.outputs["body"], fact.outputs["headers"]["x-kind"]) == (418, {"why": "short and stout"}, "pot")


BODIES = {
    "json": (b'{"a": [1, 2.5, null]}', "application/json", {"a": [1, 2.5, None]}),
    "text that looks like JSON": (b'{"a": 1}', "text/plain", '{"a": 1}'),
    "nothing": (b"", "application/json", None),
    "latin-1": ("größe".encode("latin-1"), "text/plain; charset=iso-8859-1", "größe"),
    "an unknown alphabet": (b"ok", "text/plain; charset=klingon", None),
    "no text": (b"\x89PNG\x00\xff", "image/png", None),
    "broken JSON": (b'{"a": ', "application/json", None),
    "JSON without end": (b"[" * 500 + b"]" * 500, "application/json", None),
    "a number that is no float to the API server": (b'{"a": 1.0, "b": 1e3}', "application/json", {"a": 1, "b": 1000}),
    "a number of more than 64 bits": (b'{"id": 18446744073709551615}', "application/json", {"id": "18446744073709551615"}),
}


@pytest.mark.parametrize("case", BODIES)
async def test_a_body_is_json_where_it_is_and_says_so_else_text(case: str, site: Site, caller: Caller) -> None:
    content, kind, expected = BODIES[case]
    site.routes["/"] = says(content, content_type=kind)
    found = (await caller.call(site.url)).outputs
    assert repr(found.get("body")) == repr(expected)
    assert ("unread" in found) == (expected is None and content != b"")


@pytest.mark.parametrize(("content", "expected"), [(b'{"a": 1}', {"a": 1}), (b"{a", "{a"), (b"", None)])
async def test_a_body_of_which_nobody_says_what_it_is_is_json_where_it_can_be(content: bytes, expected: Any, caller: Caller) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + content)
        await writer.drain()

    async with raw_server(serve) as url:
        assert (await caller.call(url)).outputs["body"] == expected


async def test_cookies_are_neither_told_nor_sent_back(site: Site, caller: Caller) -> None:
    async def baker(request: web.Request) -> web.StreamResponse:
        response = web.Response(status=302, headers={"Location": "/out"})
        response.set_cookie("session", "geheim")
        return response

    site.routes["/in"] = baker
    site.routes["/out"] = says("done", Set_Cookie="session=geheim")
    fact = await caller.call(f"{site.url}/in", followRedirects=1)
    assert "geheim" not in str(fact)
    assert "Cookie" not in site.asked[1].headers


@pytest.mark.parametrize("size", [MAX_BYTES, MAX_BYTES + 1, 120 * MAX_BYTES])
async def test_a_body_is_read_up_to_the_limit_and_no_further(size: int, caller: Caller) -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n")
        while sent < size:
            sent += len(part := b"x" * min(65536, size - sent))
            writer.write(part)
            await writer.drain()

    async with raw_server(serve) as url:
        found = (await caller.call(url)).outputs
    assert ("unread" in found) == (size > MAX_BYTES)
    assert sent < 60 * MAX_BYTES


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_is_not_unpacked_beyond_the_limit(encoding: str, site: Site, caller: Caller) -> None:
    packer = zlib.compressobj(9, wbits=31 if encoding == "gzip" else 15)
    bomb = b"".join(packer.compress(b"\0" * 2**20) for _ in range(40)) + packer.flush()
    assert len(bomb) < MAX_BYTES
    site.routes["/"] = says(bomb, Content_Encoding=encoding)
    tracemalloc.start()
    found = (await caller.call(site.url)).outputs
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "larger than" in found["unread"]
    assert most < 4 * 2**20


async def test_what_is_packed_unasked_is_unpacked_and_what_is_not_understood_is_told(site: Site, caller: Caller) -> None:
    site.routes["/gzip"] = says(gzip.compress(b'{"a": 1}'), content_type="application/json", Content_Encoding="gzip")
    site.routes["/lie"] = says(b"plain", Content_Encoding="gzip")
    site.routes["/half"] = says(gzip.compress(b"plain" * 100)[:-12], Content_Encoding="gzip")
    site.routes["/br"] = says(b"????", Content_Encoding="br")
    assert (await caller.call(f"{site.url}/gzip")).outputs["body"] == {"a": 1}
    assert "and is not" in (await caller.call(f"{site.url}/lie")).outputs["unread"]
    assert outcome(await caller.call(f"{site.url}/half")) == ("HttpUnavailable", f"GET {site.url}/half: the answer broke off")
    assert "packed as 'br'" in (await caller.call(f"{site.url}/br")).outputs["unread"]


RETRY_AFTER = {
    "7": 7.0,
    "0": 0.0,
    "999999999999999999999999": LONGEST_RETRY_AFTER_SECONDS,
    "Wed, 21 Oct 2015 07:28:00 GMT": 0.0,
    "Wed, 21 Oct 2999 07:28:00 GMT": LONGEST_RETRY_AFTER_SECONDS,
    "soon": None,
    "-5": None,
    "": None,
}


@pytest.mark.parametrize("header", RETRY_AFTER)
async def test_what_a_busy_server_asks_for_is_told(header: str, site: Site, caller: Caller) -> None:
    site.routes["/"] = says("busy", 503, Retry_After=header)
    assert (await caller.call(site.url)).retry_after_seconds == RETRY_AFTER[header]


# ---------------------------------------------------------------------------------------------------------------- what goes wrong


async def test_a_server_that_is_not_there_is_unavailable(caller: Caller) -> None:
    async with raw_server(lambda reader, writer: asyncio.sleep(0)) as url:
        pass
    kind, detail = outcome(await caller.call(f"{url}/a?key=geheim"))
    assert (kind, detail.startswith(f"GET {url}/a?…: no connection came about (Connect")) == ("HttpUnavailable", True), detail


async def test_a_name_that_nobody_knows_is_unavailable() -> None:
    async with Caller.ready("api.example.com") as caller:
        kind, detail = outcome(await caller.call("https://api.example.com/"))
        assert (kind, "there is no api.example.com" in detail) == ("HttpUnavailable", True)


BROKEN = {
    "says nothing": b"",
    "speaks another language": b"SSH-2.0-OpenSSH_9.6\r\n",
    "ends in the middle": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    "ends in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf",
    "has a header without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "has headers without end": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: x\r\n" % n for n in range(2000)) + b"\r\n",
    "contradicts itself": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_server_that_breaks_the_rules_is_unavailable(case: str, caller: Caller) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(BROKEN[case])
        await writer.drain()

    async with raw_server(serve) as url:
        fact = await caller.call(url)
    assert outcome(fact)[0] == "HttpUnavailable", fact


@pytest.mark.parametrize("drips", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"])
async def test_a_server_that_drips_is_given_up_in_time(drips: bytes, caller: Caller) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(drips)
        while True:
            writer.write(b"X: x\r\n" if drips.count(b"\r\n") == 1 else b"x" if drips else b"")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with raw_server(serve) as url:
        fact = await caller.call(url, seconds=0.3)
    assert outcome(fact) == ("Timeout", f"GET {url}/: no whole answer came within 300ms; see its attemptTimeout")


async def test_a_call_that_nobody_wants_any_more_closes_its_connection(caller: Caller) -> None:
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await reader.read()
        closed.set()

    async with raw_server(serve) as url:
        task = asyncio.create_task(caller.call(url))
        await asyncio.wait_for(arrived.wait(), 5)
        task.cancel()
        await asyncio.wait_for(closed.wait(), 5)
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("url", ["ftp://api.example.com", "https://user:geheim@api.example.com/", "https://api.example.com/a\r\nX: y"])
async def test_a_url_that_is_none_is_an_invalid_request(url: str, caller: Caller) -> None:
    kind, detail = outcome(await caller.call(url))
    assert (kind, "geheim" in detail) == ("InvalidRequest", False)


@pytest.mark.parametrize("value", ["a\r\nX-Admin: yes", "a\nb", "a\0b", "größe", "a\x7f"])
async def test_a_header_cannot_become_two(value: str, site: Site, caller: Caller) -> None:
    kind, detail = outcome(await caller.call(site.url, headers=[{"name": "X-Note", "value": value}]))
    assert (kind, detail) == (
        "InvalidRequest",
        "header X-Note: its value holds a line break, or a character that no header may hold; write printable ASCII",
    )
    assert site.asked == []


async def test_a_hundred_calls_at_once_all_get_their_answer(site: Site, caller: Caller) -> None:
    everybody = asyncio.Event()

    async def together(request: web.Request) -> web.StreamResponse:
        if len(site.asked) == 100:
            everybody.set()
        await everybody.wait()
        return web.json_response({"path": request.path_qs})

    site.routes["/"] = together
    facts = await asyncio.gather(*(caller.call(f"{site.url}/?n={number}") for number in range(100)))
    assert [fact.outputs["body"]["path"] for fact in facts] == [f"/?n={number}" for number in range(100)]


# ------------------------------------------------------------------------------------------------------------------------ hosts


async def test_a_host_that_is_not_allowed_is_neither_looked_up_nor_called_and_no_secret_is_read_for_it() -> None:
    async with Caller.ready("api.example.com") as caller:
        kind, detail = outcome(await caller.call("https://evil.example.com/", headers=bearer()))
        assert kind == "HostForbidden"
        assert 'have "evil.example.com" added to http.allowedHosts' in detail
        assert (caller.ask.asked, caller.api.asked) == ([], [])


async def test_a_name_that_leads_inside_is_not_called(site: Site) -> None:
    async with Caller.ready("api.example.com:*", ask=Names(api_example_com="127.0.0.1")) as caller:
        kind, detail = outcome(await caller.call(site.named("api.example.com")))
        assert (kind, "leads to 127.0.0.1" in detail) == ("HostForbidden", True)
    assert site.asked == []


async def test_a_name_is_asked_for_once_a_request_and_the_answer_that_was_judged_is_the_one_that_is_used(site: Site) -> None:
    names = Names(pay_example_com="127.0.0.1 then 169.254.169.254")
    async with Caller.ready("pay.example.com:*=127.0.0.1/32", ask=names) as caller:
        fact = await caller.call(site.named("pay.example.com"))
        assert fact.outputs["status"] == 200
        assert names.asked == ["pay.example.com"]
        assert site.asked[0].headers["Host"] == f"pay.example.com:{site.port}"
        assert outcome(await caller.call(site.named("pay.example.com")))[0] == "HostForbidden"


async def test_a_redirect_to_a_name_that_has_changed_meanwhile_is_judged_anew(site: Site) -> None:
    site.routes["/"] = redirects("/next")
    names = Names(pay_example_com="127.0.0.1 then 10.96.0.1")
    async with Caller.ready("pay.example.com:*=127.0.0.1/32", ask=names) as caller:
        kind, detail = outcome(await caller.call(site.named("pay.example.com"), followRedirects=3))
        assert (kind, "leads to 10.96.0.1" in detail) == ("HostForbidden", True)


async def test_the_api_server_is_reached_only_by_an_entry_that_names_its_address() -> None:
    for entry, expected in {"pay.example.com:*=127.0.0.0/8": "HostForbidden", "pay.example.com:*=127.0.0.1/32": ""}.items():
        async with Caller.ready(entry, ask=Names(pay_example_com="127.0.0.1")) as caller:
            caller.api.answers("GET", "/version", reply({"major": "1"}))
            fact = await caller.call(caller.api.url.replace("127.0.0.1", "pay.example.com") + "/version")
            assert (fact.fault.type if fact.fault else "") == expected


# -------------------------------------------------------------------------------------------------------------------- redirects


async def test_a_redirect_is_followed_only_where_the_step_says_so(site: Site, caller: Caller) -> None:
    site.routes["/old"] = redirects("/new?x=1", 301)
    assert (await caller.call(f"{site.url}/old")).outputs["status"] == 301
    assert (await caller.call(f"{site.url}/old", followRedirects=1)).outputs["status"] == 200
    assert site.asked[-1].path == "/new?x=1"


async def test_redirects_in_a_circle_end(site: Site, caller: Caller) -> None:
    site.routes["/"] = redirects("/")
    assert (await caller.call(site.url, followRedirects=5)).outputs["status"] == 302
    assert len(site.asked) == 6


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [(301, "POST", "GET"), (302, "POST", "GET"), (303, "PUT", "GET"), (307, "POST", "POST"), (308, "PUT", "PUT"), (302, "PUT", "PUT"), (303, "HEAD", "HEAD")],
)  # fmt: skip
async def test_what_becomes_of_method_and_body(status: int, method: str, then: str, site: Site, caller: Caller) -> None:
    site.routes["/"] = redirects("/next", status)
    await caller.call(site.url, method=method, json={"a": 1}, followRedirects=1)
    after = site.asked[1]
    assert (after.method, after.body) == (then, b'{"a":1}' if then == method and method != "HEAD" else after.body)
    if then == "GET":
        assert (after.body, after.headers.get("Content-Type")) == (b"", None)


async def test_credentials_stay_with_their_origin() -> None:
    async with Site() as first, Site() as second, Caller.ready() as caller:
        caller.api.answers("GET", SECRET, secret(token=TOKEN))
        first.routes["/away"] = redirects(f"{second.url}/", 307)
        first.routes["/here"] = redirects("/there", 307)
        headers = [
            {"name": "X-Api-Key", "secret": {"name": "pay", "key": "token"}},
            {"name": "authorization", "value": "Basic abc"},
            {"name": "Cookie", "value": "a=b"},
            {"name": "X-Note", "value": "hello"},
        ]
        await caller.call(f"{first.url}/away", method="POST", headers=headers, followRedirects=1)
        await caller.call(f"{first.url}/here", method="POST", headers=headers, followRedirects=1)
    (away,) = second.asked
    assert {name.lower() for name in away.headers} & {"x-api-key", "authorization", "cookie", "x-note"} == {"x-note"}
    assert TOKEN not in str(away)
    there = first.asked[-1]
    assert (there.path, there.headers["X-Api-Key"], there.headers["authorization"]) == ("/there", TOKEN, "Basic abc")


@pytest.mark.parametrize(
    ("location", "kind", "says"),
    [
        ("http://169.254.169.254/latest/meta-data/", "HostForbidden", "is not allowed"),
        ("//10.96.0.1/", "HostForbidden", "is not allowed"),
        ("http://evil.example.com/", "HostForbidden", "is not allowed"),
        ("http://127.0.0.1@evil.example.com/", "HttpStatus", "user name"),
        ("http://2130706433/", "HttpStatus", "odd spelling"),
        ("file:///etc/passwd", "HttpStatus", "must begin with"),
        ("gopher://127.0.0.1/", "HttpStatus", "must begin with"),
    ],
)
async def test_a_redirect_leads_nowhere_else(location: str, kind: str, says: str, site: Site, caller: Caller) -> None:
    site.routes["/"] = redirects(location)
    found, detail = outcome(await caller.call(site.url, followRedirects=3))
    assert (found, says in detail) == (kind, True), detail


# -------------------------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    """A server's side of TLS, for 127.0.0.1 and localhost, and the file of the authority that vouches for it."""
    found = credentials(tmp_path_factory.mktemp("certs"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(found.server_cert, found.server_key)
    return context, str(found.ca_file)


async def test_a_server_that_nobody_vouches_for_is_not_spoken_to(authority: tuple[ssl.SSLContext, str]) -> None:
    async with Site(authority[0]) as site, Caller.ready() as caller:
        kind, detail = outcome(await caller.call(site.url, method="POST", json={"card": "4711"}))
        assert (kind, "the certificate of 127.0.0.1 is not trusted" in detail) == ("HttpUnavailable", True), detail
        assert site.asked == []


async def test_an_installation_may_trust_an_authority_of_its_own(authority: tuple[ssl.SSLContext, str]) -> None:
    async with Site(authority[0]) as site, Caller.ready(http_ca_file=authority[1]) as caller:
        assert (await caller.call(site.url)).outputs["status"] == 200


async def test_a_certificate_is_for_the_name_that_was_asked_for_not_for_where_it_led(authority: tuple[ssl.SSLContext, str]) -> None:
    names = Names(localhost="127.0.0.1", pay_example_com="127.0.0.1")
    allowed = ("localhost:*=127.0.0.1/32", "pay.example.com:*=127.0.0.1/32")
    async with Site(authority[0]) as site, Caller.ready(*allowed, ask=names, http_ca_file=authority[1]) as caller:
        assert (await caller.call(site.named("localhost"))).outputs["status"] == 200
        kind, detail = outcome(await caller.call(site.named("pay.example.com")))
        assert (kind, "Hostname mismatch" in detail) == ("HttpUnavailable", True), detail


async def test_a_redirect_from_https_to_http_is_not_followed(authority: tuple[ssl.SSLContext, str], site: Site) -> None:
    async with Site(authority[0]) as safe, Caller.ready(http_ca_file=authority[1]) as caller:
        safe.routes["/"] = redirects(f"{site.url}/")
        kind, detail = outcome(await caller.call(safe.url, followRedirects=1))
        assert (kind, "from https to http is not followed" in detail) == ("HostForbidden", True)
    assert site.asked == []


# ---------------------------------------------------------------------------------------------------------------------- Secrets


async def test_a_secret_is_read_as_the_service_account_of_the_run_and_sent(site: Site, caller: Caller) -> None:
    caller.api.answers("GET", SECRET, secret(token=f"{TOKEN}\n"))
    await caller.call(site.url, headers=bearer())
    assert site.asked[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert caller.api.asked[0].headers["Impersonate-User"] == "system:serviceaccount:shop:payer"


async def test_a_secret_that_comes_back_is_taken_out_of_the_answer(site: Site, caller: Caller) -> None:
    caller.api.answers("GET", SECRET, secret(token=TOKEN))

    async def mirror(request: web.Request) -> web.StreamResponse:
        said = dict(request.headers)
        status = int(request.query["status"])
        content = json.dumps({"you said": said, TOKEN: [TOKEN]}) if request.query["as"] == "json" else "x" * 280 + str(said)
        kind = {"json": "application/json"}.get(request.query["as"], "text/plain")
        return web.Response(text=content, content_type=kind, status=status, headers={"X-Echo": TOKEN})

    site.routes["/"] = mirror
    for kind in ("json", "text"):
        for code in (200, 500):
            fact = await caller.call(f"{site.url}/?status={code}&as={kind}", headers=bearer())
            assert "[redacted]" in str(fact.outputs["body"])
            assert TOKEN[:8] not in str(fact)


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (status(404, "NotFound"), "SecretNotFound", "there is no Secret 'pay' in namespace shop; create it, or say optional: true"),
        (secret(other="x"), "SecretNotFound", "Secret 'pay' has no key 'token'"),
        (
            status(403, "Forbidden", FORBIDDEN),
            "Forbidden",
            "service account shop/payer may not get secrets in namespace shop; a Role that allows it is missing: kubectl -n shop create role",
        ),
        (reply({"data": {"token": "//79"}}), "InvalidRequest", "is no text"),
        (secret(token="open\nsesame"), "InvalidRequest", "key 'token' of Secret 'pay' holds a line break"),
    ],
)  # fmt: skip
async def test_a_secret_that_cannot_be_used_is_told_and_the_call_is_not_made(
    answer: Any, kind: str, says: str, site: Site, caller: Caller
) -> None:
    caller.api.answers("GET", SECRET, answer)
    found, detail = outcome(await caller.call(site.url, headers=bearer()))
    assert (found, says in detail, "sesame" in detail) == (kind, True, False), detail
    assert site.asked == []


async def test_an_optional_secret_that_is_missing_leaves_its_header_away(site: Site, caller: Caller) -> None:
    caller.api.answers("GET", SECRET, status(404, "NotFound"))
    assert (await caller.call(site.url, headers=bearer(optional=True))).outputs["status"] == 200
    assert "Authorization" not in site.asked[0].headers


async def test_an_api_server_that_is_away_is_sat_out(site: Site, caller: Caller) -> None:
    caller.api.answers("GET", SECRET, status(503, "ServiceUnavailable", "no leader"), secret(token=TOKEN))
    assert (await caller.call(site.url, headers=bearer())).outputs["status"] == 200
    assert [bool(words) for words in caller.waited] == [True, False]
    assert "no leader" in str(caller.waited[0])


async def test_an_api_server_that_does_not_come_back_is_a_timeout(site: Site, caller: Caller) -> None:
    caller.api.answers("GET", SECRET, hang)
    assert outcome(await caller.call(site.url, headers=bearer(), seconds=0.3))[0] == "Timeout"


async def test_nothing_secret_stands_in_what_python_shows_of_a_call(site: Site, caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    caller.api.answers("GET", SECRET, secret(token=TOKEN))
    caplog.set_level("DEBUG")
    fact = await caller.call(f"{site.url}/?key=geheim", headers=bearer())
    assert fact.state is CallState.SUCCEEDED
    assert TOKEN not in caplog.text
    assert "geheim" not in caplog.text
    assert orjson.dumps(fact.outputs)
