"""The queue: each run at most once at a time, no wake-up lost, namespaces in turn, failures later and later."""

import asyncio

from backstay.kube.limiter import TO_THE_OLDEST, Priority
from backstay.runtime.queue import LONGEST_BACKOFF_SECONDS, Key, KeyedQueue
from tests.support.virtual_time import virtually


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


def by_its_name(one: Key) -> Priority:
    return {"n": Priority.NEW, "b": Priority.BACKGROUND}.get(one.name[0], Priority.RUNNING)


async def test_runs_that_have_begun_go_before_new_ones_and_these_before_those_whose_round_it_is() -> None:
    queue = KeyedQueue(by_its_name)
    for name in ("b1", "n1", "n2", "r1", "r2"):
        queue.wake(key(name))
    assert [(await queue.get()).name for _ in range(5)] == ["r1", "r2", "n1", "n2", "b1"]


async def test_a_namespace_has_its_turn_whatever_it_has_to_do() -> None:
    """What has begun in one namespace does not keep another from beginning anything: within a namespace priorities count, between them turns."""
    queue = KeyedQueue(by_its_name)
    for name in ("r1", "r2", "r3"):
        queue.wake(key(name, "busy"))
    for name in ("n1", "r4", "n2"):
        queue.wake(key(name, "other"))
    assert [(await queue.get()).name for _ in range(6)] == ["r1", "r4", "r2", "n1", "r3", "n2"]


async def test_whoever_has_waited_longest_has_a_turn_now_and_then_so_that_nobody_starves() -> None:
    queue = KeyedQueue(by_its_name)
    queue.wake(key("b-first"))
    await asyncio.sleep(0.002)
    taken = []
    for number in range(2 * TO_THE_OLDEST):
        queue.wake(key(f"r{number}"))
        queue.wake(key(f"s{number}"))
        taken.append((await queue.get()).name)
    assert taken.index("b-first") == TO_THE_OLDEST - 1


async def test_what_is_ready_moves_up_when_it_is_woken_for_more_and_never_down() -> None:
    queue = KeyedQueue(by_its_name)
    for name in ("r1", "r2", "n1"):
        queue.wake(key(name), Priority.BACKGROUND)
    assert [queue.depth(priority) for priority in (Priority.RUNNING, Priority.NEW, Priority.BACKGROUND)] == [0, 0, 3]
    queue.wake(key("r2"))
    queue.wake(key("n1"))
    queue.wake(key("r2"), Priority.BACKGROUND)
    assert [queue.depth(priority) for priority in (Priority.RUNNING, Priority.NEW, Priority.BACKGROUND)] == [1, 1, 1]
    assert len(queue) == 3
    assert [(await queue.get()).name for _ in range(3)] == ["r2", "n1", "r1"]
    assert len(queue) == 0


async def test_how_long_a_run_was_ready_counts_from_the_first_news_also_of_what_came_during_a_look() -> None:
    told: list[tuple[Priority, float]] = []
    queue = KeyedQueue(by_its_name, lambda priority, seconds: told.append((priority, seconds)))
    queue.wake(key("a"))
    taken = await queue.get()
    queue.wake(taken)
    await asyncio.sleep(0.02)
    queue.wake(taken)
    queue.done(taken)
    assert queue.oldest_seconds(Priority.RUNNING) >= 0.02
    assert queue.oldest_seconds(Priority.NEW) == 0
    assert await queue.get() == taken
    assert [priority for priority, _ in told] == [Priority.RUNNING, Priority.RUNNING]
    assert told[0][1] < 0.02 <= told[1][1]
    assert asyncio.get_running_loop().time() - (queue.ready_since(taken) or 0.0) >= 0.02


def test_a_queue_in_which_nothing_moves_says_for_how_long() -> None:
    async def story() -> None:
        queue = KeyedQueue()
        hangs = asyncio.Event()

        async def look(one: Key) -> None:
            await hangs.wait()

        queue.wake(key("before"))
        await asyncio.sleep(1000)
        assert queue.stuck_seconds() == 0, "nobody serves it: it is a standby's"
        serving = asyncio.create_task(queue.serve(look, 2))
        await asyncio.sleep(1000)
        assert (queue.stuck_seconds(), queue.busy(), queue.longest_look_seconds()) == (0, 1, 1000), "nothing else is ready"
        queue.wake(key("b"))
        await asyncio.sleep(10)
        queue.wake(key("c"))
        await asyncio.sleep(300)
        assert (queue.stuck_seconds(), queue.busy(), queue.longest_look_seconds()) == (300, 2, 1310)
        hangs.set()
        await asyncio.sleep(1)
        assert (queue.stuck_seconds(), queue.busy(), queue.longest_look_seconds()) == (0, 0, 0)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    virtually(story())


def test_timers_of_runs_that_are_gone_take_no_memory_until_they_fall_due() -> None:
    """Each run has a timeout of a day and ends at once: a thousand a minute would leave a million and a half of timers."""

    async def story() -> None:
        queue = KeyedQueue()
        for number in range(10_000):
            queue.wake_in(key(f"r{number}"), 86_400)
            queue.forget(key(f"r{number}"))
        queue.wake_in(key("stays"), 3600)
        assert len(queue._timers) < 1000
        assert await queue.get() == key("stays")
        assert asyncio.get_running_loop().time() == 1000 + 3600

    virtually(story())


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
