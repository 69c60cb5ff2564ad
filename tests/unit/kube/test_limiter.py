"""The client's own rate limit: what goes first when not everything can go, and what a 429 means for all. In virtual time."""

import asyncio
from collections import Counter
from typing import cast

import pytest

from backstay.kube.limiter import TO_THE_OLDEST, Limiter, Priority, at
from backstay.kube.resources import PODS
from tests.simulation.universe.loop import VirtualLoop
from tests.support.tiny_api import TinyApi, reply, status
from tests.support.virtual_time import virtually


class Asking:
    """Requests of several priorities, and when each went: seconds since the beginning, and its name, in the order in which they went."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.went: list[tuple[float, str]] = []
        self._began = asyncio.get_running_loop().time()

    def ask(self, priority: Priority, name: str) -> "asyncio.Task[None]":
        with at(priority):
            return asyncio.get_running_loop().create_task(self._ask(name))

    async def _ask(self, name: str) -> None:
        await self.limiter.admit()
        self.limiter.left()
        self.went.append((round(asyncio.get_running_loop().time() - self._began, 6), name))

    @property
    def order(self) -> str:
        return "".join(name for _, name in self.went)


async def ready() -> None:
    """Let all tasks that were just made come to where they wait."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_a_burst_goes_at_once_and_then_as_many_a_second_as_may() -> None:
    async def story() -> None:
        asking = Asking(Limiter(10, 3))
        await asyncio.gather(*(asking.ask(Priority.RUNNING, name) for name in "abcdef"))
        assert asking.went == [(0, "a"), (0, "b"), (0, "c"), (0.1, "d"), (0.2, "e"), (0.3, "f")]
        await asyncio.sleep(60)
        asking.went.clear()
        await asyncio.gather(*(asking.ask(Priority.RUNNING, name) for name in "abcd"))
        assert [moment - 60.3 for moment, _ in asking.went] == pytest.approx([0, 0, 0, 0.1]), (
            "a lull fills the bucket, and no more than that"
        )

    virtually(story())


def test_without_a_rate_everything_goes_at_once() -> None:
    async def story() -> None:
        asking = Asking(Limiter(0, 1))
        await asyncio.gather(*(asking.ask(Priority.BACKGROUND, "x") for _ in range(1000)))
        assert {moment for moment, _ in asking.went} == {0}

    virtually(story())


def test_running_work_goes_before_new_work_and_that_before_what_can_wait() -> None:
    async def story() -> None:
        asking = Asking(Limiter(10, 1))
        asks = [asking.ask(Priority.BACKGROUND, "e"), asking.ask(Priority.BACKGROUND, "b"), asking.ask(Priority.NEW, "n")]
        await ready()
        asks += [asking.ask(Priority.NEW, "n"), asking.ask(Priority.RUNNING, "r"), asking.ask(Priority.RUNNING, "s")]
        await asyncio.gather(*asks)
        assert asking.order == "ersnnb", "the first found a token; then by priority, and within one in the order of coming"

    virtually(story())


def test_who_has_waited_longest_goes_now_and_then_whatever_its_priority() -> None:
    async def story() -> None:
        asking = Asking(Limiter(10, 1))
        asks = [asking.ask(Priority.RUNNING, "r")]
        asks += [asking.ask(Priority.BACKGROUND, "b") for _ in range(3)]
        await asyncio.sleep(0.05)
        asks += [asking.ask(Priority.RUNNING, "r") for _ in range(5 * TO_THE_OLDEST)]
        await asyncio.gather(*asks)
        places = [place for place, name in enumerate(asking.order) if name == "b"]
        assert places == [TO_THE_OLDEST, 2 * TO_THE_OLDEST, 3 * TO_THE_OLDEST]

    virtually(story())


def test_a_lease_never_waits() -> None:
    async def story() -> None:
        limiter = Limiter(1, 1)
        asking = Asking(limiter)
        asks = [asking.ask(Priority.RUNNING, "r") for _ in range(3)]
        limiter.pause(30)
        await ready()
        await asking.ask(Priority.EXEMPT, "l")
        assert asking.went == [(0, "l")]
        await asyncio.gather(*asks)

    virtually(story())


def test_what_the_server_says_to_one_request_holds_for_all_of_them() -> None:
    async def story() -> None:
        paused = []
        limiter = Limiter(10, 5, paused=lambda: paused.append(1))
        asking = Asking(limiter)
        limiter.pause(4)
        limiter.pause(2)
        await asyncio.gather(*(asking.ask(Priority.RUNNING, name) for name in "abc"))
        assert asking.went == [(4, "a"), (4.1, "b"), (4.2, "c")], "it begins again at the steady rate, with no burst"
        assert len(paused) == 1, "times that overlap are one pause"
        limiter.pause(1)
        await asking.ask(Priority.NEW, "d")
        assert asking.went[-1] == (5.2, "d")
        assert len(paused) == 2

    virtually(story())


def test_after_a_pause_half_as_many_are_under_way_at_a_time_and_twice_as_many_again_every_five_seconds() -> None:
    """A server with two seats for us, which turns away whoever finds none, and says to come back after a second."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        limiter, seats, refused, done = Limiter(), 2, list[float](), list[float]()
        under_way = 0

        async def request() -> bool:
            nonlocal under_way
            await limiter.admit()
            under_way += 1
            try:
                if under_way > seats:
                    await asyncio.sleep(0.001)
                    limiter.pause(1)
                    refused.append(loop.time())
                    return False
                await asyncio.sleep(0.05)
                done.append(loop.time())
                return True
            finally:
                under_way -= 1
                limiter.left()

        async def worker() -> None:
            for _ in range(10):
                while not await request():
                    await asyncio.sleep(1)

        await asyncio.gather(*(worker() for _ in range(32)))
        assert len(done) == 320
        assert loop.time() - 1000 < 40, "two seats alone take 8 s for that; with a pause alone it would be 160"
        assert len(refused) < 100, "most of them came when nobody knew of the seats"
        assert limiter.at_once() > 0
        await asyncio.sleep(60)
        assert limiter.at_once() == 0, "it is forgotten after a while"

    virtually(story())


def test_a_server_that_names_an_hour_is_asked_again_after_a_minute() -> None:
    async def story() -> None:
        limiter = Limiter(0, 1)
        asking = Asking(limiter)
        limiter.pause(3600)
        await asking.ask(Priority.RUNNING, "a")
        assert asking.went == [(60, "a")]

    virtually(story())


@pytest.mark.parametrize("has_come", [False, True])
def test_a_request_that_is_given_up_costs_the_others_nothing(has_come: bool) -> None:
    """Both while it waits and in the very moment in which its turn has come."""

    async def story() -> None:
        limiter = Limiter(10, 1)
        asking = Asking(limiter)
        await asking.ask(Priority.RUNNING, "a")
        given_up, other = asking.ask(Priority.RUNNING, "b"), asking.ask(Priority.RUNNING, "c")
        await ready()
        assert limiter.waiting(Priority.RUNNING) == 2
        if has_come:
            asyncio.get_running_loop().call_later(0.1, lambda: asyncio.get_running_loop().call_soon(given_up.cancel))
        else:
            given_up.cancel()
        await asyncio.gather(given_up, other, return_exceptions=True)
        assert asking.went == [(0, "a"), (0.1, "c")] if not has_come else asking.order in ("abc", "ac")
        assert limiter.waiting(Priority.RUNNING) == 0
        asking.went.clear()
        await asyncio.sleep(10)
        await asyncio.gather(*(asking.ask(Priority.RUNNING, name) for name in "de"))
        first, second = (moment for moment, _ in asking.went)
        assert second - first == pytest.approx(0.1), "no token was made out of nothing"

    virtually(story())


def test_a_request_that_is_given_up_in_the_same_moment_in_which_the_line_is_served_stops_nobody() -> None:
    """Its future is cancelled at once, and where it waits that is known a step later: the line may be served in between."""

    async def story() -> None:
        limiter = Limiter(10, 1)
        asking = Asking(limiter)
        await asking.ask(Priority.RUNNING, "a")
        given_up, other = asking.ask(Priority.RUNNING, "b"), asking.ask(Priority.RUNNING, "c")
        await ready()
        loop = cast(VirtualLoop, asyncio.get_running_loop())
        loop.now += 0.1  # the loop was late: the timer of the line is due, and comes in the step in which the request is given up
        given_up.cancel()
        limiter._serve()
        await asyncio.gather(given_up, other, return_exceptions=True)
        assert given_up.cancelled()
        assert asking.went == [(0, "a"), (0.1, "c")]
        await asking.ask(Priority.RUNNING, "d")
        assert asking.went[-1] == (0.2, "d")
        assert limiter.waiting(Priority.RUNNING) == 0

    virtually(story())


def test_waits_are_told_with_their_priority_and_those_who_did_not_wait_are_not() -> None:
    async def story() -> None:
        told: list[tuple[Priority, float]] = []
        asking = Asking(Limiter(10, 1, waited=lambda priority, seconds: told.append((priority, round(seconds, 6)))))
        await asyncio.gather(asking.ask(Priority.RUNNING, "a"), asking.ask(Priority.NEW, "b"), asking.ask(Priority.BACKGROUND, "c"))
        assert told == [(Priority.NEW, 0.1), (Priority.BACKGROUND, 0.2)]

    virtually(story())


def test_tasks_have_the_priority_of_the_block_that_they_were_begun_in() -> None:
    async def story() -> None:
        found: Counter[str] = Counter()
        limiter = Limiter(1000, 1, waited=lambda priority, seconds: found.update([priority.name]))

        async def outer() -> None:
            await asyncio.gather(*(limiter.admit() for _ in range(3)))

        await limiter.admit()
        with at(Priority.BACKGROUND):
            task = asyncio.create_task(outer())
            with at(Priority.NEW):
                await limiter.admit()
        await task
        await limiter.admit()
        assert found == {"BACKGROUND": 3, "NEW": 1, "RUNNING": 1}

    virtually(story())


# ------------------------------------------------------------------------------------------------------------- the client

POD_PATH = "/api/v1/namespaces/shop/pods/a"


async def test_a_client_that_is_turned_away_sends_nothing_more_until_it_may() -> None:
    """Over real HTTP, with real time: only the order is looked at."""
    async with TinyApi() as api, api.client() as client:
        paused: list[str] = []
        client.limiter = Limiter(paused=lambda: paused.append("paused"))
        api.answers("GET", POD_PATH, status(429, "TooManyRequests", headers={"Retry-After": "1"}), reply({"metadata": {}}))
        began = asyncio.get_running_loop().time()
        first = await asyncio.gather(client.get(PODS, "shop", "a"), return_exceptions=True)
        assert type(first[0]).__name__ == "TooManyRequests"
        await client.get(PODS, "shop", "a")
        assert asyncio.get_running_loop().time() - began >= 1.0
        assert paused == ["paused"]
        assert len(api.asked) == 2


async def test_what_another_user_is_told_is_not_about_us() -> None:
    """The server limits users: that the service account of a run is turned away is no reason for the operator to pause."""
    async with TinyApi() as api, api.client() as client:
        paused: list[str] = []
        client.limiter = Limiter(paused=lambda: paused.append("paused"))
        api.answers("GET", POD_PATH, status(429, "TooManyRequests", headers={"Retry-After": "30"}), reply({"metadata": {}}))
        await asyncio.gather(client.impersonating("shop", "robot").get(PODS, "shop", "a"), return_exceptions=True)
        async with asyncio.timeout(20):
            await client.get(PODS, "shop", "a")
        assert paused == []


async def test_watches_wait_for_the_end_of_a_pause_too() -> None:
    async with TinyApi() as api, api.client() as client:
        client.limiter = Limiter()
        client.limiter.pause(30)
        watch = client.watch(PODS, "shop", resource_version="1", timeout_seconds=5)
        task = asyncio.ensure_future(anext(watch))
        await ready()
        assert client.limiter.waiting(Priority.RUNNING) == 1
        assert api.asked == []
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
