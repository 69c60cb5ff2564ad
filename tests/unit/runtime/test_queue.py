"""The queue: each run at most once at a time, no wake-up lost, namespaces in turn, failures later and later."""

import asyncio

from backstay.runtime.queue import LONGEST_BACKOFF_SECONDS, Key, KeyedQueue


def key(name: str, namespace: str = "shop") -> Key:
    return Key(namespace, name, f"uid-{namespace}-{name}")


async def test_a_key_that_is_woken_often_is_looked_at_once() -> None:
    queue = KeyedQueue()
    for _ in range(5):
        queue.wake(key("a"))
    assert len(queue) == 1
    assert await queue.get() == key("a")
    assert len(queue) == 0


async def test_a_key_that_is_woken_while_it_is_looked_at_is_looked_at_again_afterwards() -> None:
    queue = KeyedQueue()
    queue.wake(key("a"))
    taken = await queue.get()
    queue.wake(key("a"))
    assert len(queue) == 0
    queue.done(taken)
    assert await queue.get() == key("a")


async def test_namespaces_take_turns() -> None:
    queue = KeyedQueue()
    for name in ("a", "b", "c"):
        queue.wake(key(name, "busy"))
    queue.wake(key("x", "quiet"))
    assert [(await queue.get()).name for _ in range(4)] == ["a", "x", "b", "c"]


async def test_the_earliest_time_that_was_asked_for_counts() -> None:
    queue = KeyedQueue()
    queue.wake_in(key("late"), 60)
    queue.wake_in(key("a"), 60)
    queue.wake_in(key("a"), 0.01)
    queue.wake_in(key("a"), 30)
    assert await asyncio.wait_for(queue.get(), 5) == key("a")
    assert queue.timers() == 1


async def test_failures_are_repeated_later_and_later_and_a_success_starts_anew() -> None:
    queue = KeyedQueue()
    delays = [queue.retry(key("a")) for _ in range(12)]
    assert delays[:3] == [0.05, 0.1, 0.2]
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_BACKOFF_SECONDS
    assert queue.retry(key("a"), at_least_seconds=90) == 90
    assert queue.retry(key("a"), at_most_seconds=7) == 7
    assert queue.retry(key("a"), at_least_seconds=90, at_most_seconds=7) == 90
    queue.succeeded(key("a"))
    assert queue.retry(key("a")) == 0.05


async def test_a_key_that_is_held_is_not_looked_at_sooner_whatever_wakes_it() -> None:
    queue = KeyedQueue()
    loop = asyncio.get_running_loop()
    queue.wake(key("a"))
    taken = await queue.get()
    began = loop.time()
    queue.retry(taken, at_least_seconds=0.2, hold=True)
    queue.wake(taken)  # while it is looked at
    queue.done(taken)
    queue.wake_in(taken, 0.01)
    queue.wake(taken)
    assert len(queue) == 0
    assert await asyncio.wait_for(queue.get(), 5) == taken
    assert loop.time() - began >= 0.2
    queue.done(taken)
    queue.wake(taken)
    assert len(queue) == 1, "it is held no longer"


async def test_one_key_is_never_with_two_workers_and_no_more_than_so_many_run() -> None:
    queue = KeyedQueue()
    active: list[Key] = []
    most = 0
    looked: list[str] = []
    done = asyncio.Event()

    async def look(one: Key) -> None:
        nonlocal most
        assert one not in active
        active.append(one)
        most = max(most, len(active))
        if looked.count(one.name) < 3:
            queue.wake(one)
        await asyncio.sleep(0)
        active.remove(one)
        looked.append(one.name)
        if len(looked) == 40:
            done.set()

    for index in range(10):
        queue.wake(key(f"r{index}"))
    serving = asyncio.create_task(queue.serve(look, 4))
    await asyncio.wait_for(done.wait(), 5)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert most <= 4
    assert sorted(looked) == sorted(f"r{index}" for index in range(10) for _ in range(4))


async def test_a_bug_in_a_look_is_logged_and_the_key_tried_again() -> None:
    queue = KeyedQueue()
    tries: list[Key] = []
    done = asyncio.Event()

    async def look(one: Key) -> None:
        tries.append(one)
        if len(tries) < 3:
            raise RuntimeError("a bug")
        done.set()

    queue.wake(key("a"))
    serving = asyncio.create_task(queue.serve(look, 1))
    await asyncio.wait_for(done.wait(), 5)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert len(tries) == 3


async def test_what_is_forgotten_is_not_woken_by_its_timer() -> None:
    queue = KeyedQueue()
    queue.wake_in(key("gone"), 0.01)
    queue.forget(key("gone"))
    queue.wake_in(key("a"), 0.03)
    assert await asyncio.wait_for(queue.get(), 5) == key("a")
    assert queue.timers() == 0
