"""A served shop and its callers: what is refused, what is called again, and what a step says when there is nobody to call."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.shop import Shop, ShopServer, served


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ShopServer]:
    with served(tmp_path / "shop.db") as server:
        yield server


@pytest.fixture
def shop(server: ShopServer) -> Shop:
    return Shop(server.database, server.address)


def test_a_server_makes_the_shop_that_it_serves_unless_it_is_there(server: ShopServer, shop: Shop) -> None:
    shop.call("notify", "a-1", "hello", key="k1")
    server.kill()
    server.start()
    assert shop.shelves() == {"mug": 100, "lamp": 40, "desk": 10}
    assert shop.done() == ["notify"]


def test_a_server_that_was_killed_between_two_calls_knows_what_it_did(server: ShopServer, shop: Shop) -> None:
    first = shop.call("charge", "a-1", "ada", "100", key="k1")
    server.kill()
    server.start()
    assert shop.call("charge", "a-1", "ada", "100", key="k1") == first
    assert shop.balance("ada") == 9900


def test_a_call_waits_for_a_server_that_comes_back(server: ShopServer, shop: Shop) -> None:
    server.kill()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shop.call, "charge", "a-1", "ada", "100", key="k1")
        server.start()
        assert waiting.result(timeout=60).code == 0
    assert shop.balance("ada") == 9900


def test_work_that_waits_at_a_closed_door_outlives_the_server(server: ShopServer, shop: Shop) -> None:
    shop.close("ship")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shop.call, "ship", "a-1", "NL", key="k1")
        server.kill()
        server.start()
        assert not waiting.done()
        shop.open("ship")
        assert waiting.result(timeout=60).code == 0


def test_a_shop_that_nobody_serves_is_an_error_that_another_attempt_may_mend(server: ShopServer, shop: Shop) -> None:
    server.kill()
    call = shop.call("charge", "a-1", "ada", "100", key="k1", patience_seconds=0)
    assert call.code == 1
    assert call.answer["error"]["type"] == "Transient"
    assert call.answer["error"]["message"].startswith(f"the shop at {server.address} cannot be reached: ")
    looked = shop.call("show", patience_seconds=0)
    assert (looked.code, "cannot be reached" in looked.words) == (1, True)


def test_a_server_that_hangs_up_is_called_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        shop = Shop(tmp_path / "none.db", f"http://127.0.0.1:{listener.getsockname()[1]}")
        waiting = pool.submit(shop.call, "charge", "a-1", "ada", "100", key="k1", patience_seconds=1)
        listener.settimeout(30)
        for _ in range(2):
            listener.accept()[0].close()
        listener.close()
        assert waiting.result(timeout=60).answer["error"]["type"] == "Transient"


def test_a_server_that_is_told_to_stop_stops_at_once(server: ShopServer) -> None:
    assert server.stop() == 143


def test_a_server_says_when_it_is_ready(server: ShopServer) -> None:
    assert ask(server, "GET", "/healthz") == (200, "the shop is open")


REFUSALS = {
    "an unknown command": ("/steal", b"{}", 404, "there is no /steal; the commands are reserve, release,"),
    "no JSON": ("/show", b"{", 400, 'a call is {"arguments": […], "key": "…"}, and this one is not'),
    "no object": ("/show", b"[]", 400, 'a call is {"arguments": […], "key": "…"}, and this one is not'),
    "no key": ("/show", b'{"arguments": [], "key": ""}', 400, 'the key of a call is a string, the same for all its repeats, not ""'),
    "too few arguments": (
        "/ship",
        b'{"arguments": ["a-1"], "key": "k"}',
        400,
        'ship takes 2 arguments, strings (order, country), not ["a-1"]',
    ),
    "arguments that are no strings": (
        "/ship",
        b'{"arguments": ["a-1", 5], "key": "k"}',
        400,
        "ship takes 2 arguments, strings (order, country)",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_call_that_makes_no_sense_is_refused_with_words(server: ShopServer, shop: Shop, case: str) -> None:
    path, body, code, words = REFUSALS[case]
    answered, text = ask(server, "POST", path, body)
    assert answered == code
    assert text.startswith(words)
    assert shop.log() == []


LENGTHS = {
    "no length": (b"", b"411"),
    "a length that is no number": (b"Content-Length: -1\r\n", b"411"),
    "a length above the limit": (b"Content-Length: 1048577\r\n", b"413"),
}


@pytest.mark.parametrize("case", LENGTHS)
def test_a_call_is_refused_by_its_length_before_it_is_read(server: ShopServer, case: str) -> None:
    header, code = LENGTHS[case]
    with socket.create_connection((server.host, server.port), timeout=30) as connection:
        connection.sendall(b"POST /show HTTP/1.0\r\n" + header + b"\r\n")
        assert connection.recv(1000).split(b" ")[1] == code


def ask(server: ShopServer, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
    """Return what the server answers: code and text."""
    request = urllib.request.Request(server.address + path, body, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_an_answer_is_json(server: ShopServer) -> None:
    code, text = ask(server, "POST", "/close", b'{"arguments": ["ship"], "key": "k"}')
    assert (code, json.loads(text)) == (200, {"answer": {"closed": "ship"}})
