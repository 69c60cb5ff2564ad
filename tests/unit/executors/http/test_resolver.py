"""How names are looked up: one question for names of the world, the pod's own ways for those of the cluster, and never for ever."""

import ipaddress
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from backstay.executors.http import resolver
from backstay.executors.http.resolver import Pinned, guard, look_up

PUBLIC = ipaddress.ip_address("93.184.216.34")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names that the system is asked for. It knows `api.example.com.`, `api.example.com.svc`, `payments.shop.svc` and `alias.example.com`."""
    names: list[str] = []
    known = {
        "api.example.com.": ["93.184.216.34", "93.184.216.34", "2606:4700::1111"],
        "payments.shop.svc": ["10.100.7.7"],
        "alias.example.com": ["10.1.1.1"],
    }

    def answer(name: str, port: Any, **_: Any) -> list[Any]:
        names.append(name)
        if name not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 0)) for text in known[name]]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    yield names


async def test_a_name_of_the_world_is_asked_for_as_it_is_without_search_domains(asked: list[str]) -> None:
    assert list(map(str, await look_up("api.example.com"))) == ["93.184.216.34", "2606:4700::1111"]
    assert asked == ["api.example.com."]


async def test_a_name_of_the_cluster_is_asked_for_with_them(asked: list[str]) -> None:
    assert list(map(str, await look_up("payments.shop.svc"))) == ["10.100.7.7"]
    assert asked == ["payments.shop.svc"]


async def test_a_name_that_only_the_pod_knows_is_found_at_last(asked: list[str]) -> None:
    assert list(map(str, await look_up("alias.example.com"))) == ["10.1.1.1"]
    assert asked == ["alias.example.com.", "alias.example.com"]


async def test_a_name_that_nobody_knows_is_told(asked: list[str]) -> None:
    with pytest.raises(OSError, match="not known"):
        await look_up("nowhere.example.com")


async def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "LOOK_UP_SECONDS", 0.05)
    answered = threading.Event()

    def never(*_: Any, **__: Any) -> list[Any]:
        answered.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    with pytest.raises(OSError, match="no name server has answered within"):
        await look_up("api.example.com")
    answered.set()


async def test_a_connection_resolves_its_own_host_only() -> None:
    pinned = Pinned("api.example.com", [PUBLIC])
    assert [found["host"] for found in await pinned.resolve("API.example.com.", 443)] == ["93.184.216.34"]
    with pytest.raises(OSError, match="was not looked up"):
        await pinned.resolve("evil.example.com", 443)


def test_a_socket_is_made_for_a_judged_address_only() -> None:
    make = guard([PUBLIC])
    make((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443))).close()
    with pytest.raises(OSError, match=r"10\.0\.0\.1 was not judged"):
        make((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 443)))
