"""How many HTTP calls go on at the same time."""

import asyncio
from collections import Counter

import pytest

from backstay.executors.http import room as module
from backstay.executors.http.room import IN_ALL, OF_A_NAMESPACE, Room


async def test_a_namespace_that_asks_for_too_much_waits_and_holds_up_nobody_else() -> None:
    room, going, most, gate = Room(), Counter[str](), Counter[str](), asyncio.Event()

    async def call(namespace: str) -> None:
        async with room.taken(namespace, lambda _: None):
            going[namespace] += 1
            most[namespace] = max(most[namespace], going[namespace])
            if namespace == "greedy":
                await gate.wait()
            going[namespace] -= 1

    greedy = [asyncio.create_task(call("greedy")) for _ in range(3 * OF_A_NAMESPACE)]
    await asyncio.wait_for(asyncio.gather(*(call("modest") for _ in range(10))), 5)
    assert (going["greedy"], most["modest"]) == (OF_A_NAMESPACE, 1)
    gate.set()
    await asyncio.wait_for(asyncio.gather(*greedy), 5)
    assert most["greedy"] == OF_A_NAMESPACE


async def test_there_is_a_limit_in_all() -> None:
    room, gate = Room(), asyncio.Event()
    going = 0

    async def call(number: int) -> None:
        nonlocal going
        async with room.taken(f"n-{number}", lambda _: None):
            going += 1
            await gate.wait()

    tasks = [asyncio.create_task(call(number)) for number in range(IN_ALL + 20)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert going == IN_ALL
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with room.taken("n", lambda _: None):
        pass
    assert room == Room(room.in_all)


async def test_a_call_that_waits_long_says_so_and_takes_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TELL_AFTER_SECONDS", 0.01)
    monkeypatch.setattr(module, "OF_A_NAMESPACE", 1)
    room, told, said = Room(), list[str | None](), asyncio.Event()

    def waits(words: str | None) -> None:
        told.append(words)
        said.set()

    async with room.taken("n", lambda _: None):
        waiting = asyncio.create_task(_once(room, waits))
        await asyncio.wait_for(said.wait(), 5)
    await asyncio.wait_for(waiting, 5)
    assert [words and words.partition(":")[0] for words in told] == ["Waiting for other HTTP calls to end", None]


async def _once(room: Room, waits: object) -> None:
    async with room.taken("n", waits):  # type: ignore[arg-type]
        pass
