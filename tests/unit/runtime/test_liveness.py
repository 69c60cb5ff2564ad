"""What counts as a hang, and what does not: an API server that is gone is no reason to start the operator anew."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from backstay import errors
from backstay.kube.client import Client, ListPage
from backstay.kube.informer import Informer
from backstay.kube.resources import JOBS
from backstay.observe.health import Health
from backstay.runtime import liveness
from backstay.runtime.queue import Key, KeyedQueue
from tests.support.virtual_time import virtually


class Server:
    """Lists nothing. Its watches do as `mood` says: `quiet` end without a word as they should, `gone` fail, `hung` never end."""

    def __init__(self) -> None:
        self.mood = "quiet"
        self.lists = asyncio.Event()

    async def pages(self, *_: Any, **__: Any) -> Any:
        await self.lists.wait()
        yield ListPage([], "1")

    async def watch(self, *_: Any, timeout_seconds: int, **__: Any) -> Any:
        if self.mood == "hung":
            await asyncio.Event().wait()
        if self.mood == "gone":
            raise errors.Unavailable(0, "ConnectionFailed", "connection refused")
        if self.mood == "busy":
            raise errors.TooManyRequests(429, "TooManyRequests", "slower", retry_after_seconds=500)
        await asyncio.sleep(timeout_seconds)
        return
        yield


class Operated:
    """An informer and a queue of which the two pages tell."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("time.monotonic", asyncio.get_running_loop().time)
        self.server, self.queue, self.health = Server(), KeyedQueue(), Health()
        client = cast(Client, self.server)
        self.informer: Informer[Any] = Informer(client, JOBS, trim=lambda manifest: None, on_change=lambda event, new, old: None)
        self.has_started = False
        liveness.register(self.health, lambda: [("jobs", self.informer)], self.queue, lambda: self.has_started)

    @property
    def told(self) -> Mapping[str, str]:
        """What is wrong, by page."""
        pages = {"healthz": self.health.is_alive(), "readyz": self.health.is_ready()}
        return {page: text for page, (is_well, text) in pages.items() if not is_well}


@asynccontextmanager
async def going_on(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_it_is_ready_once_all_that_is_in_the_cluster_is_listed_and_alive_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        operated = Operated(monkeypatch)
        await asyncio.sleep(1000)
        assert "it has not started" in operated.told["readyz"]
        operated.has_started = True
        async with going_on(operated.informer.run()):
            await asyncio.sleep(1)
            assert operated.told.keys() == {"readyz"}
            assert "[-]informers failed: not listed yet: jobs" in operated.told["readyz"]
            operated.server.lists.set()
            await asyncio.sleep(1)
            assert operated.told == {}

    virtually(story())


@pytest.mark.parametrize(("mood", "hangs"), [("quiet", False), ("gone", False), ("busy", False), ("hung", True)])
def test_a_watch_that_does_not_end_when_it_must_is_a_hang_and_one_that_fails_is_none(
    monkeypatch: pytest.MonkeyPatch, mood: str, hangs: bool
) -> None:
    async def story() -> None:
        operated = Operated(monkeypatch)
        operated.has_started = True
        operated.server.lists.set()
        async with going_on(operated.informer.run()):
            await asyncio.sleep(1)
            operated.server.mood = mood
            for _ in range(200):
                await asyncio.sleep(10)
                if operated.told:
                    break
            assert operated.told.keys() == ({"healthz"} if hangs else set())
            assert not hangs or "nothing has happened to the watch of jobs for 1" in operated.told["healthz"]

    virtually(story())


def test_a_queue_whose_workers_are_all_lost_is_a_hang_and_a_slow_one_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        operated = Operated(monkeypatch)
        hangs = False

        async def look(_: Key) -> None:
            await asyncio.sleep(1e9 if hangs else 100)

        for number in range(20):
            operated.queue.wake(Key("shop", f"r{number}", str(number)))
        async with going_on(operated.queue.serve(look, 1)):
            for _ in range(100):
                await asyncio.sleep(10)
                assert operated.told.keys() == {"readyz"}
            hangs = True
            await asyncio.sleep(400)
            assert "runs are ready, and none was taken for" in operated.told["healthz"]

    virtually(story())
