"""Events are posted once, repeats are a series, and nothing that goes wrong with them is felt anywhere else."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from backstay.kube.client import Client
from backstay.kube.manifests import RunRef
from backstay.observe.events import Announcer, Limits
from tests.support.tiny_api import TinyApi, drop, hang, reply, status

RUN = RunRef(uid="uid-1", name="order-7f2", namespace="shop")
PATH = "/apis/events.k8s.io/v1/namespaces/shop/events"
MOMENT = datetime(2026, 11, 23, 10, 0, 0, 123, tzinfo=UTC)


class Clock:
    """Time that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def announcing(client: Client, limits: Limits | None = None, clock: Callable[[], float] | None = None) -> AsyncIterator[Announcer]:
    announcer = Announcer(client, instance="pod-1", limits=limits, now=lambda: MOMENT, **({"clock": clock} if clock else {}))
    task = asyncio.create_task(announcer.run())
    try:
        yield announcer
    finally:
        assert not task.done(), "the announcer must not end by itself"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_event_says_who_what_and_about_which_run() -> None:
    async with TinyApi() as api, api.client() as client, announcing(client) as announcer:
        api.answers("POST", PATH, reply({}, 201))
        announcer.announce(RUN, "Warning", "StepFailed", "charge: card declined")
        (asked,) = await api.wait_asked("POST", 1)
    assert asked.body["metadata"].pop("name").startswith("order-7f2.")
    assert asked.body == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "shop"},
        "eventTime": "2026-11-23T10:00:00.000123Z",
        "type": "Warning",
        "reason": "StepFailed",
        "note": "charge: card declined",
        "action": "Reconcile",
        "reportingController": "backstay.dev/operator",
        "reportingInstance": "pod-1",
        "regarding": {
            "apiVersion": "backstay.dev/v1alpha1",
            "kind": "WorkflowRun",
            "name": "order-7f2",
            "namespace": "shop",
            "uid": "uid-1",
        },
    }


async def test_what_is_said_again_is_counted_in_a_series_of_one_event() -> None:
    async with TinyApi() as api, api.client() as client, announcing(client, Limits(pause_seconds=0.05)) as announcer:
        api.answers("POST", PATH, reply({}, 201))
        announcer.announce(RUN, "Warning", "StepFailed", "no funds")
        (posted,) = await api.wait_asked("POST", 1)
        for _ in range(4):
            announcer.announce(RUN, "Warning", "StepFailed", "no funds")
        api.answers("PATCH", f"{PATH}/{posted.body['metadata']['name']}", reply({}))
        (series,) = await api.wait_asked("PATCH", 1)
        assert series.body == {"series": {"count": 5, "lastObservedTime": "2026-11-23T10:00:00.000123Z"}}
        announcer.announce(RUN, "Warning", "StepFailed", "another card, no funds")
        await api.wait_asked("POST", 2)


async def test_a_series_is_written_at_most_once_a_pause() -> None:
    clock = Clock()
    async with TinyApi() as api, api.client() as client:
        api.answers("POST", PATH, reply({}, 201))
        announcer = Announcer(client, clock=clock, now=lambda: MOMENT)
        for _ in range(3):
            announcer.announce(RUN, "Normal", "Waiting", "for a message")
        async with asyncio.timeout(5):
            await announcer._write(announcer._pop())
        assert api.asked[0].body["series"]["count"] == 3, "said three times before it was ever posted"
        announcer.announce(RUN, "Normal", "Waiting", "for a message")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await announcer._next()
        clock.now += 31
        assert (await asyncio.wait_for(announcer._next(), 5)).count == 4


async def test_what_is_said_again_after_the_window_is_a_new_event() -> None:
    clock = Clock()
    async with TinyApi() as api, api.client() as client, announcing(client, clock=clock) as announcer:
        api.answers("POST", PATH, reply({}, 201))
        announcer.announce(RUN, "Normal", "Waiting", "x")
        await api.wait_asked("POST", 1)
        clock.now += 601
        announcer.announce(RUN, "Normal", "Waiting", "x")
        first, second = await api.wait_asked("POST", 2)
        assert first.body["metadata"]["name"] != second.body["metadata"]["name"]


async def test_a_series_whose_event_has_expired_is_posted_anew() -> None:
    async with TinyApi() as api, api.client() as client, announcing(client, Limits(pause_seconds=0.01)) as announcer:
        api.answers("POST", PATH, reply({}, 201))
        announcer.announce(RUN, "Normal", "Waiting", "x")
        (posted,) = await api.wait_asked("POST", 1)
        api.answers("PATCH", f"{PATH}/{posted.body['metadata']['name']}", status(404, "NotFound"))
        announcer.announce(RUN, "Normal", "Waiting", "x")
        again = (await api.wait_asked("POST", 2))[1]
        assert again.body["series"]["count"] == 2


async def test_a_server_that_is_down_or_busy_is_tried_again_and_then_let_be() -> None:
    dropped: Counter[str] = Counter()
    async with TinyApi() as api, api.client() as client:
        announcer = Announcer(client, dropped=lambda cause: dropped.update([cause]), clock=(clock := Clock()))
        api.answers("POST", PATH, drop, status(429, "TooManyRequests", headers={"Retry-After": "2"}), status(503, "ServiceUnavailable"))
        announcer.announce(RUN, "Normal", "Waiting", "x")
        for _ in range(3):
            await announcer._write(await asyncio.wait_for(announcer._next(), 5))
            clock.now += 5
        assert len(api.asked) == 3
        assert dropped == {"unavailable": 1}
        assert announcer._queue == []


async def test_a_request_that_got_lost_on_the_way_back_is_not_posted_twice() -> None:
    dropped: Counter[str] = Counter()
    async with TinyApi() as api, api.client() as client:
        announcer = Announcer(client, dropped=lambda cause: dropped.update([cause]), clock=(clock := Clock()))
        api.answers("POST", PATH, drop, status(409, "AlreadyExists"))
        announcer.announce(RUN, "Normal", "Waiting", "x")
        for _ in range(2):
            await announcer._write(await asyncio.wait_for(announcer._next(), 5))
            clock.now += 5
        assert len({asked.body["metadata"]["name"] for asked in api.asked}) == 1
        assert dropped == {}


@pytest.mark.parametrize("answer", [status(403, "Forbidden"), status(404, "NotFound"), status(422, "Invalid")])
async def test_a_refused_event_is_dropped_counted_and_not_tried_again(answer: object) -> None:
    dropped: Counter[str] = Counter()
    async with TinyApi() as api, api.client() as client:
        announcer = Announcer(client, dropped=lambda cause: dropped.update([cause]))
        api.answers("POST", PATH, answer)  # type: ignore[arg-type]
        announcer.announce(RUN, "Normal", "Waiting", "x")
        await announcer.flush()
        assert dropped == {"refused": 1}
        assert len(api.asked) == 1


async def test_a_full_queue_drops_counts_and_never_waits() -> None:
    dropped: Counter[str] = Counter()
    async with TinyApi() as api, api.client() as client:
        announcer = Announcer(client, limits=Limits(room=10), dropped=lambda cause: dropped.update([cause]))
        for number in range(25):
            announcer.announce(RUN, "Normal", "Waiting", f"message {number}")
        assert dropped == {"full": 15}
        api.answers("POST", PATH, reply({}, 201))
        await announcer.flush()
        assert len(api.asked) == 10


async def test_requests_are_limited_to_a_rate() -> None:
    async with TinyApi() as api, api.client() as client, announcing(client, Limits(a_second=20, burst=3)) as announcer:
        api.answers("POST", PATH, reply({}, 201))
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(9):
            announcer.announce(RUN, "Normal", "Waiting", f"message {number}")
        await api.wait_asked("POST", 9)
        assert loop.time() - began >= 0.25  # three at once, and six more at 20 a second


async def test_the_end_does_not_wait_for_a_server_that_hangs() -> None:
    dropped: Counter[str] = Counter()
    async with TinyApi() as api, api.client() as client:
        announcer = Announcer(client, dropped=lambda cause: dropped.update([cause]))
        api.answers("POST", PATH, hang)
        for number in range(3):
            announcer.announce(RUN, "Normal", "Waiting", f"message {number}")
        await asyncio.wait_for(announcer.flush(limit_seconds=0.1), 3)
        assert dropped == {"shutdown": 2}  # and the one under way, whose fate nobody knows


@pytest.mark.parametrize("message", ["x" * 5000, "ü" * 5000, "短" * 1000])
async def test_a_long_message_is_cut_to_what_the_server_takes(message: str) -> None:
    long_named = RunRef(uid="u", name="r" * 253, namespace="shop")
    async with TinyApi() as api, api.client() as client, announcing(client) as announcer:
        api.answers("POST", PATH, reply({}, 201))
        announcer.announce(long_named, "Normal", "R" * 500, message)
        (asked,) = await api.wait_asked("POST", 1)
    assert len(asked.body["note"].encode()) <= 1024
    assert asked.body["note"].endswith(" …")
    assert len(asked.body["reason"]) == 128
    assert len(asked.body["metadata"]["name"]) <= 253


async def test_what_must_outlive_a_namespace_is_said_of_the_namespace_itself() -> None:
    async with TinyApi() as api, api.client() as client, announcing(client) as announcer:
        api.answers("POST", PATH.replace("/shop/", "/default/"), reply({}, 201))
        announcer.announce_for_namespace(RUN, "Warning", "CompensationAbandoned", "run shop/order-7f2: not undone: charge")
        (asked,) = await api.wait_asked("POST", 1)
    assert asked.body["metadata"]["namespace"] == "default"
    assert asked.body["regarding"] == {"apiVersion": "v1", "kind": "Namespace", "name": "shop"}
    assert asked.body["note"] == "run shop/order-7f2: not undone: charge"


async def test_what_is_said_again_of_the_same_subject_is_counted_in_whatever_words() -> None:
    clock = Clock()
    async with TinyApi() as api, api.client() as client, announcing(client, clock=clock) as announcer:
        api.answers("POST", PATH, reply({}, 201))
        for attempt in range(50):
            announcer.announce(RUN, "Warning", "StepRetrying", f"charge failed: request {attempt}", "charge Busy")
        announcer.announce(RUN, "Warning", "StepRetrying", "charge failed: out of memory", "charge OOMKilled")
        asked = await api.wait_asked("POST", 2)
    assert [(found.body["note"], found.body.get("series", {}).get("count", 1)) for found in asked] == [
        ("charge failed: request 0", 50),
        ("charge failed: out of memory", 1),
    ]


async def test_events_are_listed_in_the_order_in_which_they_were_said() -> None:
    """`kubectl describe` has nothing else to go by: Events of events.k8s.io/v1 have no lastTimestamp."""
    async with TinyApi() as api, api.client() as client, announcing(client) as announcer:
        api.answers("POST", PATH, reply({}, 201))
        for number in range(20):
            announcer.announce(RUN, "Normal", "Beat", f"number {number}")
        asked = await api.wait_asked("POST", 20)
    names = {found.body["metadata"]["name"]: found.body["note"] for found in asked}
    assert [names[name] for name in sorted(names)] == [f"number {number}" for number in range(20)]
