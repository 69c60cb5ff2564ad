"""The load: runs created over a few connections, and their ends as the API server's watch tells them, each with its time."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backstay import names
from backstay.kube.client import Client
from backstay.kube.login import find_login
from backstay.kube.resources import RUNS, Resource
from tests.support.cluster import Place, condition

Object = dict[str, Any]

_CONNECTIONS = 20
_WATCH_SECONDS = 300
_POLL_SECONDS = 0.005
LULL_SECONDS = 60
"""A bench in which nothing comes to an end for so long has failed."""


@asynccontextmanager
async def client_of(kubeconfig: Path) -> AsyncIterator[Client]:
    """Give a client that the API server's log tells from the operator."""
    login = find_login(str(kubeconfig))
    async with Client(login(), login, user_agent="bench") as client:
        yield client


def workflow(name: str, steps: int) -> Object:
    """Return a workflow of so many Jobs in a row."""
    jobs = [{"name": f"s{number}", "job": {"image": "fake:1", "command": ["true"]}} for number in range(1, steps + 1)]
    return {"apiVersion": names.API_VERSION, "kind": names.WORKFLOW, "metadata": {"name": name}, "spec": {"steps": jobs}}


def run_of(workflow_name: str, name: str) -> Object:
    """Return a run of a workflow."""
    spec = {"workflow": {"name": workflow_name}}
    return {"apiVersion": names.API_VERSION, "kind": names.RUN, "metadata": {"name": name}, "spec": spec}


# ------------------------------------------------------------------------------------------------------------ hearing


class Following:
    """A watch that tells a function of every change, until the block ends."""

    def __init__(self, task: "asyncio.Task[None]") -> None:
        self._task = task

    async def until(self, holds: Callable[[], object], limit_seconds: float, what: Callable[[], object]) -> None:
        """Wait until something holds that the watch tells of; fail after the limit with what there is instead."""
        deadline = time.monotonic() + limit_seconds
        while not holds():
            if self._task.done():
                self._task.result()
            assert time.monotonic() < deadline, f"after {limit_seconds:g} s: {what()}"
            await asyncio.sleep(_POLL_SECONDS)


@asynccontextmanager
async def following(client: Client, resource: Resource, namespace: str, told: Callable[[str, Object], None]) -> AsyncIterator[Following]:
    """Tell `told(event, object)` of everything that changes in a collection from now on."""
    version = (await client.list(resource, namespace)).resource_version

    async def follow() -> None:
        nonlocal version
        while True:
            events = client.watch(resource, namespace, resource_version=version, timeout_seconds=_WATCH_SECONDS)
            async with aclosing(events):
                async for event, thing in events:
                    version = thing["metadata"]["resourceVersion"]
                    if event != "BOOKMARK":
                        told(event, thing)

    task = asyncio.create_task(follow())
    try:
        yield Following(task)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# ------------------------------------------------------------------------------------------------------------ timing


@dataclass
class Ends:
    """When runs were asked for and when they were seen to be complete, by name; clock readings in seconds."""

    asked: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    phases: dict[str, str] = field(default_factory=dict)

    def told(self, event: str, run: Object) -> None:
        """Hear of a change of a run."""
        name = run["metadata"]["name"]
        if name not in self.ended and condition(run, "Complete") == "True":
            self.ended[name] = time.monotonic()
            self.phases[name] = run["status"]["phase"]

    @property
    def under_way(self) -> int:
        """How many runs were created and have not ended."""
        return len(self.asked) - len(self.ended)

    def latency(self, name: str) -> float:
        """Return the seconds from the request that creates a run until the news of its end."""
        return self.ended[name] - self.asked[name]

    def latencies(self) -> list[float]:
        """Return the latency of every run."""
        return [self.latency(name) for name in self.ended]

    def total_seconds(self) -> float:
        """Return the time from the first request to the last end."""
        return max(self.ended.values()) - min(self.asked.values())


def run_names_of(count: int) -> list[str]:
    """Return names for runs."""
    return [f"run-{number}" for number in range(count)]


async def create_runs(client: Client, place: Place, run_names: Iterable[str], ends: Ends) -> None:
    """Create runs over a few connections, as fast as those allow."""
    free = asyncio.Semaphore(_CONNECTIONS)

    async def create(name: str) -> None:
        async with free:
            ends.asked[name] = time.monotonic()
            await client.create(RUNS, place.name, run_of("w", name))

    await asyncio.gather(*map(create, run_names))


async def finish_runs(client: Client, place: Place, count: int, *, at_once: int, at_most_seconds: float) -> Ends:
    """Take so many runs to their end, `at_once` of them at a time: when one has ended the next is created. Returns when each was.

    After `at_most_seconds` no more are created, so that there may be fewer in the end.
    """
    ends = Ends()
    waiting = run_names_of(count)
    deadline = time.monotonic() + at_most_seconds
    async with following(client, RUNS, place.name, ends.told) as watch:

        def what() -> str:
            return f"{len(ends.asked)} runs were created, {len(ends.ended)} of them have ended"

        while waiting and time.monotonic() < deadline:
            await watch.until(lambda: ends.under_way < at_once, LULL_SECONDS, what)
            room = at_once - ends.under_way
            await create_runs(client, place, waiting[:room], ends)
            del waiting[:room]
        await watch.until(lambda: not ends.under_way, LULL_SECONDS, what)
    return ends
