"""A lane: a namespace with orders in it, and the operator that looks after it, which is killed again and again."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from backstay.errors import AlreadyExists, Conflict, NotFound
from backstay.kube.client import Client
from backstay.kube.resources import JOBS, LEASES, RUNS, SEMAPHORES
from tests.chaos.hearing import hearing, insist
from tests.chaos.nursery import Nursery
from tests.chaos.rules import Ending
from tests.chaos.workload import Order, drawn, run_of
from tests.support.cluster import QUICK, condition

Object = dict[str, Any]

AT_ONCE: Final = 10
"""Orders that are under way in a lane at the same time."""
START_SECONDS: Final = 0.7
LIFE_SECONDS: Final = 1.2
MOST_CHANGES: Final = 40
MOST_DELAY_SECONDS: Final = 0.02
SILENCE_SECONDS: Final = 60
"""How long an operator may live without writing anything, although there is always something to do. How soon it really does is measured."""
REST_SECONDS: Final = 180
"""How long the last operator may take to bring everything to its end."""
_COLD_SHARE: Final = 0.1
_POLL_SECONDS: Final = 0.01


@dataclass
class Life:
    """One operator: when it was started, when it wrote first, when it was killed (Unix times), at what moment, and whether it was started cold.

    `since` is the version that the cluster had as it was started: what has an older one was written by the operator before, however late it is heard of.
    """

    started: float
    moment: str
    cold: bool
    wrote: float | None = None
    killed: float | None = None
    since: int | None = None


@dataclass
class Budget:
    """How many operators are still to be killed, in all lanes together."""

    left: int

    def take(self) -> bool:
        """Take one, where there is one left."""
        self.left -= 1
        return self.left >= 0


@dataclass
class Lane:
    """One namespace, its orders and its operators. `play` kills until the budget is used up, then lets the last operator finish."""

    namespace: str
    client: Client
    nursery: Nursery
    arguments: list[str]
    world: str
    log: Path
    generator: random.Random
    rest_seconds: float = REST_SECONDS
    orders: dict[str, Order] = field(default_factory=dict)
    endings: dict[str, Ending] = field(default_factory=dict)
    lives: list[Life] = field(default_factory=list)
    changes: list[tuple[float, str]] = field(default_factory=list)
    """Every change of a run's status: when it was heard of, and the run."""
    runs: dict[str, Object] = field(default_factory=dict)
    """The newest that was heard of each run, children included; what is gone is in `gone`."""
    gone: dict[str, Object] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    _deeds: list["asyncio.Task[None]"] = field(default_factory=list)
    _is_closed: bool = False

    async def play(self, budget: Budget) -> None:
        """Kill operators until the budget is used up; then wait until all orders have ended and nothing goes on any more."""
        async with hearing(self.client, RUNS, self.namespace, self._told):
            supply = asyncio.create_task(self._supply())
            while not (self.troubles or supply.done()) and budget.take():
                await self._live_and_die()
            self._is_closed = True
            await supply
            if not self.troubles:
                await self._come_to_rest()
            await asyncio.gather(*self._deeds)

    @property
    def kills(self) -> list[float]:
        """When operators were killed."""
        return [life.killed for life in self.lives if life.killed is not None]

    # ------------------------------------------------------------------------------------------------------- operators

    async def _start(self, moment: str, *, cold: bool) -> int:
        self.lives.append(Life(time.time(), moment, cold))
        environment = QUICK | {"BACKSTAY_IDENTITY": self.namespace}
        pid = await self.nursery.start(self.arguments, self.log, environment, cold=cold)
        self.lives[-1].since = int((await insist(lambda: self.client.list(LEASES, self.namespace))).resource_version)
        return pid

    async def _live_and_die(self) -> None:
        draw = self.generator
        moment = draw.choices(["while it starts", "under load", "at a change"], [25, 40, 35])[0]
        pid = await self._start(moment, cold=draw.random() < _COLD_SHARE)
        if moment == "while it starts":
            await asyncio.sleep(draw.uniform(0, START_SECONDS))
        elif await self._until(pid, lambda: self._written() >= 1, "writes anything"):
            if moment == "under load":
                await asyncio.sleep(draw.uniform(0, LIFE_SECONDS))
            else:
                wanted = draw.randint(1, MOST_CHANGES)
                await self._until(pid, lambda: self._written() >= wanted, f"makes its change number {wanted}")
                await asyncio.sleep(draw.uniform(0, MOST_DELAY_SECONDS))
        self._judge_alive(pid)
        self.lives[-1].killed = time.time()
        await self.nursery.kill(pid)

    def _written(self) -> int:
        """How many changes were heard of since the newest operator wrote first."""
        life = self.lives[-1]
        if life.wrote is None:
            return 0
        return sum(1 for at, _ in reversed(self.changes) if at >= life.wrote)

    async def _until(self, pid: int, holds: Callable[[], bool], what: str) -> bool:
        deadline = time.monotonic() + SILENCE_SECONDS
        while not holds():
            if time.monotonic() > deadline or pid in self.nursery.ended:
                self.troubles.append(
                    f"{self.namespace}: an operator has lived for {SILENCE_SECONDS} s, or ended by itself, before it {what}"
                )
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True

    def _judge_alive(self, pid: int) -> None:
        if pid in self.nursery.ended and not self.troubles:
            self.troubles.append(f"{self.namespace}: an operator ended by itself with code {self.nursery.ended[pid]}; see {self.log.name}")

    async def _come_to_rest(self) -> None:
        """Let one operator live, and wait until all has ended that was begun."""
        pid = await self._start("last", cold=False)
        try:
            async with asyncio.timeout(self.rest_seconds):
                while self.orders.keys() - self.endings.keys():
                    await asyncio.sleep(0.1)
                while restless := await self._restless():
                    await asyncio.sleep(0.5)
        except TimeoutError:
            lost = sorted(self.orders.keys() - self.endings.keys())
            words = f"{len(lost)} orders have not ended: {', '.join(lost[:10])}" if lost else "; ".join(restless)
            self.troubles.append(f"{self.namespace}: {self.rest_seconds:g} s after the last kill {words}")
        self._judge_alive(pid)
        await self.nursery.kill(pid)

    async def _restless(self) -> list[str]:
        """Return what still goes on, in words."""
        runs, jobs, semaphores = [
            (await insist(lambda kind=kind: self.client.list(kind, self.namespace))).items for kind in (RUNS, JOBS, SEMAPHORES)
        ]
        runs = [run for run in runs if condition(run, "Complete") != "True"]
        jobs = [job for job in jobs if job["status"].get("active")]
        held = [each for each in semaphores if each.get("status", {}).get("holders")]
        found = [("run", runs), ("Job", jobs), ("Semaphore with holders", held)]
        return [f"{kind} {thing['metadata']['name']} goes on" for kind, things in found for thing in things]

    # ---------------------------------------------------------------------------------------------------------- orders

    async def _supply(self) -> None:
        """Keep so many orders under way, and have done to them what they are to suffer."""
        number = 0
        while not self._is_closed:
            while len(self.orders) - len(self.endings) < AT_ONCE:
                order = drawn(self.generator, f"run-{number}")
                number += 1
                self.orders[order.name] = order
                await self._create(order)
                if order.deed:
                    self._deeds.append(asyncio.create_task(self._disturb(order)))
            await asyncio.sleep(_POLL_SECONDS)

    async def _create(self, order: Order) -> None:
        run = run_of(order, self.namespace, self.world)
        with suppress(AlreadyExists):  # then an answer was lost
            await insist(lambda: self.client.create(RUNS, self.namespace, run))

    async def _disturb(self, order: Order) -> None:
        await asyncio.sleep(order.after_seconds)
        with suppress(NotFound):
            if order.deed == "Delete":
                await self._delete(order.name)
            elif order.name not in self.endings:
                wish = {"spec": {"cancel": {"reason": "a whim"}}}
                await insist(lambda: self.client.patch(RUNS, self.namespace, order.name, wish))

    async def _delete(self, name: str) -> None:
        """Delete a run as it is now: otherwise the API server may let go a run that is just given its finalizer (kubernetes/kubernetes#77988)."""
        while name not in self.endings:
            run = await insist(lambda: self.client.get(RUNS, self.namespace, name))
            uid, version = run["metadata"]["uid"], run["metadata"]["resourceVersion"]
            with suppress(Conflict):
                await insist(partial(self.client.delete, RUNS, self.namespace, name, uid=uid, resource_version=version))
                return

    def _told(self, event: str, run: Object) -> None:
        now, name = time.time(), run["metadata"]["name"]
        before = self.runs.get(name, {}).get("status")
        self.runs[name] = run
        if event == "DELETED":
            self.gone[name] = self.runs.pop(name)
            if name in self.orders:
                self.endings.setdefault(name, Ending(""))
            return
        if run.get("status") != before:
            self._changed(now, name, int(run["metadata"]["resourceVersion"]))
        if name in self.orders and condition(run, "Complete") == "True":
            status = run["status"]
            self.endings.setdefault(name, Ending(status["phase"], datetime.fromisoformat(status["finishedAt"]).timestamp()))

    def _changed(self, now: float, name: str, version: int) -> None:
        self.changes.append((now, name))
        life = self.lives[-1] if self.lives else None
        if life is not None and life.wrote is None and life.since is not None and version > life.since:
            life.wrote = now
