"""How the node follows a collection through everything that can happen to a watch."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backstay.kube.login import Access
from backstay.local.node.api import Api, Cache, Obj, Reflector
from tests.support.tiny_api import TinyApi, drop, page, status, status_object, stream
from tests.unit.local.node.polling import until

PATH = "/api/v1/pods"


def pod(name: str, version: int, uid: str = "") -> Obj:
    return {"metadata": {"name": name, "namespace": "shop", "uid": uid or name, "resourceVersion": str(version)}}


@asynccontextmanager
async def following(server: TinyApi, **params: str) -> AsyncIterator[tuple[list[tuple[str, str, str]], Reflector]]:
    """Follow the server's pods; gives what was told: (event, name, version)."""
    told: list[tuple[str, str, str]] = []
    async with Api(lambda: Access(server=server.url), agent="tests") as api:
        reflector = Reflector(api, PATH, **params)
        reflector.listen(lambda kind, obj: told.append((kind, obj["metadata"]["name"], obj["metadata"]["resourceVersion"])))
        task = asyncio.create_task(reflector.run())
        try:
            yield told, reflector
        finally:
            task.cancel()
            await asyncio.wait({task})


async def until_told(told: list[Any], count: int) -> None:
    await until(lambda: len(told) >= count)


async def test_a_list_and_then_its_changes_are_told() -> None:
    async with TinyApi() as server:
        server.answers("GET", PATH, page([pod("a", 1)], 5))
        server.answers("WATCH", PATH, stream(("MODIFIED", pod("a", 6)), ("ADDED", pod("b", 7)), ("DELETED", pod("a", 8)), then="stall"))
        async with following(server, fieldSelector="spec.nodeName=n") as (told, reflector):
            await until_told(told, 4)
            assert told == [("ADDED", "a", "1"), ("MODIFIED", "a", "6"), ("ADDED", "b", "7"), ("DELETED", "a", "8")]
            assert reflector.cache.uids() == {"b"}
        [watch] = server.asked_for("WATCH")
        assert (watch.query["resourceVersion"], watch.query["fieldSelector"]) == ("5", "spec.nodeName=n")


async def test_a_watch_that_ends_is_resumed_where_it_was_also_after_a_bookmark() -> None:
    async with TinyApi() as server:
        server.answers("GET", PATH, page([], 5))
        server.answers("WATCH", PATH, stream(("BOOKMARK", pod("", 9))), stream(("ADDED", pod("b", 10)), then="stall"))
        async with following(server) as (told, _):
            await until_told(told, 1)
        assert [asked.query["resourceVersion"] for asked in server.asked_for("WATCH")] == ["5", "9"]
        assert len(server.asked_for("GET")) == 1


@pytest.mark.parametrize("expired", [status(410, "Expired"), stream(("ERROR", status_object(410, "Expired")))])
async def test_a_version_that_is_too_old_leads_to_a_new_list_which_tells_what_was_missed(expired: Any) -> None:
    async with TinyApi() as server:
        server.answers("GET", PATH, page([pod("a", 1), pod("b", 2), pod("c", 3)], 5), page([pod("b", 2), pod("c", 7), pod("d", 8)], 9))
        server.answers("WATCH", PATH, expired, stream(then="stall"))
        async with following(server) as (told, _):
            await until_told(told, 6)
        assert told[3:] == [("DELETED", "a", "1"), ("MODIFIED", "c", "7"), ("ADDED", "d", "8")]


async def test_an_object_that_was_replaced_under_its_name_is_told_as_deleted_and_added() -> None:
    async with TinyApi() as server:
        server.answers("GET", PATH, page([pod("a", 1, uid="old")], 5), page([pod("a", 7, uid="new")], 9))
        server.answers("WATCH", PATH, status(410, "Expired"), stream(then="stall"))
        async with following(server) as (told, _):
            await until_told(told, 3)
        assert told[1:] == [("DELETED", "a", "1"), ("ADDED", "a", "7")]


async def test_a_server_that_is_away_is_awaited_and_the_watch_resumed() -> None:
    async with TinyApi() as server:
        server.answers("GET", PATH, drop, page([pod("a", 1)], 5))
        server.answers("WATCH", PATH, drop, stream(("ADDED", pod("b", 6)), then="stall"))
        async with following(server) as (told, _):
            await until_told(told, 2)
        assert [asked.query["resourceVersion"] for asked in server.asked_for("WATCH")] == ["5", "5"]


async def test_a_refusal_is_asked_again_and_again_and_not_for_ever_as_fast() -> None:
    async with TinyApi() as server:
        server.answers("GET", PATH, status(403, "Forbidden"))
        async with following(server):
            await server.wait_asked("GET", 3)
            count = len(server.asked_for("GET"))
        assert count < 10


def test_an_older_version_is_no_news() -> None:
    cache = Cache()
    assert cache.take("ADDED", pod("a", 5))
    assert not cache.take("MODIFIED", pod("a", 4))
    assert not cache.take("MODIFIED", pod("a", 5))
    assert cache.take("MODIFIED", pod("a", 6))


def test_a_late_answer_does_not_bring_a_deleted_object_back() -> None:
    cache = Cache()
    cache.take("ADDED", pod("a", 5))
    cache.take("DELETED", pod("a", 6))
    assert not cache.take("MODIFIED", pod("a", 7))
    assert cache.values() == []
