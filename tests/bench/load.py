"""The load: runs created over a few connections, and their ends as the API server's watch tells them, each with its time."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from backstay import names
from backstay.errors import AlreadyExists, ApiError, TooManyRequests, Unavailable
from backstay.kube.client import Client
from backstay.kube.login import find_login
from backstay.kube.resources import RUNS, Resource
from tests.support.cluster import Place, condition
from tests.support.fake_kubelet import SECONDS

Object = dict[str, Any]

_CONNECTIONS = 20
_WATCH_SECONDS = 300
_POLL_SECONDS = 0.005
_PAUSE_SECONDS = 1.0
LULL_SECONDS = 60
"""A bench in which nothing comes to an end for so long has failed."""


@asynccontextmanager
async def client_of(kubeconfig: Path) -> AsyncIterator[Client]:
    """Give a client that the API server's log tells from the operator."""
    login = find_login(str(kubeconfig))
    async with Client(login(), login, user_agent="bench") as client:
        yield client


def lasting(seconds: float) -> list[Object]:
    """Return the environment of a container whose pod runs so long."""
    return [{"name": SECONDS, "value": f"{seconds:g}"}] if seconds else []


def workflow(name: str, steps: int, seconds: float = 0) -> Object:
    """Return a workflow of so many Jobs in a row, each of which takes a while."""
    job = {"image": "fake:1", "command": ["true"]} | ({"env": lasting(seconds)} if seconds else {})
    jobs = [{"name": f"s{number}", "job": job} for number in range(1, steps + 1)]
    return {"apiVersion": names.API_VERSION, "kind": names.WORKFLOW, "metadata": {"name": name}, "spec": {"steps": jobs}}


def run_of(workflow_name: str, name: str) -> Object:
    """Return a run of a workflow."""
    spec = {"workflow": {"name": workflow_name}}
    return {"apiVersion": names.API_VERSION, "kind": names.RUN, "metadata": {"name": name}, "spec": spec}


def phase_at_end(run: Object) -> str | None:
    """Return the phase of a run that is complete; None of one that goes on."""
    return str(run["status"]["phase"]) if condition(run, "Complete") == "True" else None


@dataclass(frozen=True)
class Kind:
    """What is created for a run, and how its end shows: ours, or a peer's."""

    resource: Resource
    manifest: Callable[[str], Object]
    """Of a run of this name."""
    phase_at_end: Callable[[Object], str | None]


OURS: Final = Kind(RUNS, partial(run_of, "w"), phase_at_end)
"""Runs of the workflow `w`."""


# ------------------------------------------------------------------------------------------------------------ hearing


class Following:
    """A watch that tells a function of every change, until the block ends."""

    def __init__(self, task: "asyncio.Task[None]") -> None:
        self._task = task

    async def until(
        self,
        holds: Callable[[], object],
        limit_seconds: float,
        what: Callable[[], object],
        progress: Callable[[], int] | None = None,
    ) -> None:
        """Wait until something holds that the watch tells of; fail after the limit with what there is instead.

        With `progress` the limit is for a lull: it begins anew whenever that number changes.
        """
        deadline, before = time.monotonic() + limit_seconds, None
        while not holds():
            if self._task.done():
                self._task.result()
            if progress is not None and (now := progress()) != before:
                deadline, before = time.monotonic() + limit_seconds, now
            assert time.monotonic() < deadline, f"after {limit_seconds:g} s: {what()}"
            await asyncio.sleep(_POLL_SECONDS)


@asynccontextmanager
async def following(client: Client, resource: Resource, namespace: str, told: Callable[[str, Object], None]) -> AsyncIterator[Following]:
    """Tell `told(event, object)` of everything that changes in a collection from now on; after a gap, of everything that is there."""
    version = (await client.list(resource, namespace)).resource_version

    async def follow() -> None:
        nonlocal version
        while True:
            try:
                if not version:
                    page = await client.list(resource, namespace)
                    for thing in page.items:
                        told("MODIFIED", thing)
                    version = page.resource_version
                events = client.watch(resource, namespace, resource_version=version, timeout_seconds=_WATCH_SECONDS)
                async with aclosing(events):
                    async for event, thing in events:
                        version = thing["metadata"]["resourceVersion"]
                        if event != "BOOKMARK":
                            told(event, thing)
            except ApiError:
                version = ""
                await asyncio.sleep(_PAUSE_SECONDS)

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
    kind: Kind = OURS

    def told(self, event: str, run: Object) -> None:
        """Hear of a change of a run."""
        name = run["metadata"]["name"]
        if name not in self.ended and (phase := self.kind.phase_at_end(run)) is not None:
            self.ended[name] = time.monotonic()
            self.phases[name] = phase

    def __str__(self) -> str:
        return f"{len(self.asked)} runs were created, {len(self.ended)} of them have ended"

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
            await _create(client, place, ends.kind, name)

    await asyncio.gather(*map(create, run_names))


async def _create(client: Client, place: Place, kind: Kind, name: str) -> None:
    """Create a run, again and again while the API server has no time for it: a long load is not over because of one answer."""
    deadline = time.monotonic() + LULL_SECONDS
    while True:
        try:
            await client.create(kind.resource, place.name, kind.manifest(name))
            return
        except AlreadyExists:
            return  # the answer to a try before was lost
        except (TooManyRequests, Unavailable):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)


async def finish_runs(client: Client, place: Place, count: int, *, at_once: int, at_most_seconds: float, kind: Kind = OURS) -> Ends:
    """Take so many runs to their end, `at_once` of them at a time: when one has ended the next is created. Returns when each was.

    After `at_most_seconds` no more are created, so that there may be fewer in the end.
    """
    ends = Ends(kind=kind)
    waiting = run_names_of(count)
    deadline = time.monotonic() + at_most_seconds
    async with following(client, kind.resource, place.name, ends.told) as watch:
        while waiting and time.monotonic() < deadline:
            await watch.until(lambda: ends.under_way < at_once, LULL_SECONDS, ends.__str__)
            room = at_once - ends.under_way
            await create_runs(client, place, waiting[:room], ends)
            del waiting[:room]
        await watch.until(lambda: not ends.under_way, LULL_SECONDS, ends.__str__, progress=lambda: len(ends.ended))
    return ends


async def arrive(client: Client, place: Place, *, per_minute: float, seconds: float, ends: Ends) -> None:
    """Create runs at a steady rate, whatever becomes of them, as they come in practice.

    A run counts as asked for when its turn was, also where the API server took its time with those before it: a slow server does not get
    fewer requests, and its slowness shows in every one of them.
    """
    begun, interval = time.monotonic(), 60 / per_minute
    free = asyncio.Semaphore(_CONNECTIONS)

    async def create(name: str) -> None:
        async with free:
            await _create(client, place, ends.kind, name)

    async with asyncio.TaskGroup() as group:
        for number in range(round(seconds / interval)):
            due = begun + number * interval
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            name = f"run-{number}"
            ends.asked[name] = due
            group.create_task(create(name))
