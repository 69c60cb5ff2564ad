"""The loop whose time is a number, and the processes in it that can be killed and stopped between any two steps."""

import asyncio
import time
from typing import cast

import pytest

from backstay.kube.client import Client
from backstay.kube.manifests import RunRef
from backstay.observe.events import Announcer as Events
from tests.simulation.universe.loop import Deadlocked, Process, VirtualLoop, virtual
from tests.support.fake_api import FakeApi


def loop_with(exits: list[str] | None = None) -> VirtualLoop:
    def kill(process: Process) -> None:
        process.is_dead = True
        for task in process.tasks:
            task.cancel()

    return VirtualLoop(kill, lambda process, _: (exits if exits is not None else []).append(process.name))


def test_a_day_passes_at_once_and_in_order() -> None:
    loop, seen = loop_with(), []

    async def day() -> None:
        async with asyncio.TaskGroup() as group:
            for hours in (24, 1, 12):
                group.create_task(after(hours))

    async def after(hours: int) -> None:
        await asyncio.sleep(hours * 3600)
        seen.append((hours, loop.time() - 1000.0, time.monotonic() - 1000.0))

    with virtual(loop, "seed"):
        loop.run_until_complete(day())
    loop.close()
    assert seen == [(hours, hours * 3600.0, hours * 3600.0) for hours in (1, 12, 24)]


def test_what_is_said_of_a_run_once_more_is_told_by_the_clock_of_the_loop() -> None:
    async def day(api: FakeApi) -> None:
        events = Events(cast(Client, api))
        telling = asyncio.create_task(events.run())
        for _ in range(2):
            events.announce(RunRef("uid", "r1", "shop"), "Warning", "Waiting", "the same words")
            await asyncio.sleep(31.0)
        telling.cancel()

    api, loop = FakeApi(lambda job: None), loop_with()
    with virtual(loop, "seed"):
        loop.run_until_complete(day(api))
    loop.close()
    assert [event["series"]["count"] for event in api.all("events")] == [2]


def test_waiting_for_what_never_comes_is_told_and_does_not_hang() -> None:
    loop = loop_with()
    with pytest.raises(Deadlocked):
        loop.run_until_complete(asyncio.Event().wait())
    task = asyncio.all_tasks(loop).pop()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def count_in(process: Process, loop: VirtualLoop) -> list[float]:
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            ticks.append(loop.time() - 1000.0)
            await asyncio.sleep(1)

    async def begin() -> None:
        process.start(tick(), loop)

    loop.run_until_complete(begin())
    return ticks


def test_a_process_dies_before_the_step_that_is_named() -> None:
    for steps in (1, 2, 3, 5):
        loop, process = loop_with(), Process("a")
        process.dies_at = steps
        ticks = count_in(process, loop)
        loop.run_until_complete(asyncio.sleep(20))
        loop.close()
        assert len(ticks) < steps, f"it lived on after step {steps}: {ticks}"


def test_a_process_that_is_stopped_does_nothing_and_goes_on_where_it_was() -> None:
    loop, process = loop_with(), Process("a")
    ticks = count_in(process, loop)
    loop.run_until_complete(asyncio.sleep(2.5))
    process.is_stopped = True
    loop.run_until_complete(asyncio.sleep(60))
    assert ticks == [0.0, 1.0, 2.0]
    loop.release(process)
    loop.run_until_complete(asyncio.sleep(1.2))
    assert ticks[3:] == [62.5, 63.5]
    for task in process.tasks:
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_a_process_that_ends_itself_takes_nobody_with_it() -> None:
    exits: list[str] = []
    loop, process = loop_with(exits), Process("a")

    async def end() -> None:
        raise SystemExit(1)

    async def begin() -> asyncio.Task[None]:
        return process.start(end(), loop)

    task = loop.run_until_complete(begin())
    loop.run_until_complete(asyncio.sleep(1))
    loop.close()
    assert exits == ["a"]
    assert isinstance(task.exception(), SystemExit)
