"""Where Jobs are refused for now, one tries for all: how often the API server is asked, and that nobody is forgotten."""

import asyncio
from typing import Any

import pytest

from backstay.engine.model import Hold
from backstay.runtime import gates
from backstay.runtime.gates import Gates
from backstay.runtime.queue import Key, KeyedQueue
from tests.support.operating import eventually

QUOTA = Hold("Quota", "Waiting for quota", "exceeded quota: small")
WEBHOOK = Hold("Webhook", "Waiting for an admission webhook", "failed calling webhook")


class Door:
    """What the gates stand before: `room` Jobs may be made. Whoever is woken tries once."""

    def __init__(self, room: int = 0, fault: Hold = QUOTA) -> None:
        self.room, self.fault = room, fault
        self.tries = 0
        self.made: list[str] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.queue = KeyedQueue()
        self.gates = Gates(self.queue)

    def run(self, name: str, namespace: str = "shop", workflow: str = "order") -> dict[str, Any]:
        run = {"metadata": {"namespace": namespace, "name": name, "uid": name}, "spec": {"workflow": {"name": workflow}}}
        self.runs[name] = run
        return run

    def look(self, run: dict[str, Any]) -> None:
        if run["metadata"]["name"] in self.made or self.gates.closed(run) is not None:
            return
        self.tries += 1
        if self.room <= 0:
            self.gates.refused(run, self.fault)
            return
        self.room -= 1
        self.made.append(run["metadata"]["name"])
        self.gates.through(run)

    async def serve(self) -> None:
        async def handle(key: Key) -> None:
            if key.name in self.runs:
                self.look(self.runs[key.name])

        await self.queue.serve(handle, 8)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(gates, "LONGEST_PAUSE_SECONDS", 0.04)


async def waiting(door: Door, count: int) -> "asyncio.Task[None]":
    """So many runs come to a closed door."""
    for index in range(count):
        door.look(door.run(f"r{index}"))
    return asyncio.create_task(door.serve())


async def end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.usefixtures("quick")
async def test_a_thousand_runs_that_wait_ask_as_one() -> None:
    door = Door()
    serving = await waiting(door, 1000)
    assert door.tries == 1
    await eventually(lambda: door.tries >= 5)
    assert door.tries <= 6
    door.room = 1000
    await eventually(lambda: len(door.made) == 1000)
    assert len(door.gates) == 0
    await end(serving)


@pytest.mark.usefixtures("quick")
async def test_each_of_them_gets_its_turn_though_only_one_may_go_on_at_a_time() -> None:
    door = Door()
    serving = await waiting(door, 5)
    for count in range(1, 6):
        door.room = 1
        await eventually(lambda count=count: len(door.made) == count)
    assert sorted(door.made) == [f"r{index}" for index in range(5)]
    await end(serving)


async def test_a_job_that_is_gone_lets_one_try_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "FIRST_PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr(gates, "LONGEST_PAUSE_SECONDS", 3600.0)
    door = Door()
    serving = await waiting(door, 3)
    door.room = 1
    door.gates.freed("elsewhere")
    door.gates.freed("shop")
    await eventually(lambda: door.made)
    assert door.tries <= 4
    await end(serving)


@pytest.mark.usefixtures("quick")
async def test_a_run_that_is_gone_holds_nobody_up() -> None:
    door = Door()
    serving = await waiting(door, 3)
    del door.runs["r0"], door.runs["r1"]
    door.gates.forget(Key("shop", "r0", "r0"))
    door.room = 1
    await eventually(lambda: door.made == ["r2"])
    await end(serving)


@pytest.mark.usefixtures("quick")
async def test_a_gate_before_which_nobody_waits_any_more_opens() -> None:
    door = Door()
    serving = await waiting(door, 2)
    door.runs.clear()
    await eventually(lambda: len(door.gates) == 0)
    await end(serving)


async def test_a_quota_holds_back_its_own_namespace_alone() -> None:
    door = Door()
    door.look(door.run("here"))
    assert door.gates.closed(door.run("other", workflow="another")) == QUOTA
    assert door.gates.closed(door.run("there", namespace="store")) is None


async def test_a_webhook_that_is_down_holds_back_the_workflow_whose_job_it_was_asked_about() -> None:
    door = Door(fault=WEBHOOK)
    door.look(door.run("here"))
    assert door.gates.closed(door.run("alike")) == WEBHOOK
    assert door.gates.closed(door.run("other", workflow="another")) is None
