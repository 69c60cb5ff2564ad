"""Several operators on one modelled API server, in virtual time: killed, stopped for a while, told to end, and joined by others."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from backstay import errors
from backstay.kube.client import Client
from backstay.kube.resources import LEASES, Resource
from backstay.observe.metrics import Metrics
from backstay.runtime import leases
from backstay.runtime.operator import Operator
from backstay.settings import Settings
from tests.simulation.universe.loop import PROCESS, Process, VirtualLoop, virtual
from tests.support.fake_api import FakeApi, Object, Outcome

Found = TypeVar("Found")
LIMIT_SECONDS = 300.0
_BEGAN = datetime(2026, 11, 23, 8, 40, tzinfo=UTC)


@dataclass(frozen=True)
class Deed:
    """One write that was carried out: by whom, when, of what."""

    by: str
    at: float
    verb: str
    plural: str


class Town(FakeApi):
    """An API server whose Jobs take a while, and that knows who wrote what. Leases are no part of what faults are counted by."""

    def __init__(self, outcome: Outcome = lambda job: (0, ""), job_seconds: float = 1.0) -> None:
        super().__init__(outcome)
        self.job_seconds = job_seconds
        self.deeds: list[Deed] = []
        self.check: Callable[[], None] = lambda: None
        """Called after every write: what must always hold. What it asserts in vain is in `broken`: an operator would take it for an error of its own."""
        self.broken: list[str] = []
        self.is_out = False
        """Whether it answers nothing but 503."""

    def finish(self, job: Object) -> None:
        outcome = self.outcome(job)
        if outcome is not None:
            asyncio.get_running_loop().call_later(
                self.job_seconds, self._end_if_there, job["metadata"], outcome, context=contextvars.Context()
            )

    def _end_if_there(self, meta: Object, outcome: tuple[int, str]) -> None:
        found = self.objects.get(("jobs", meta["namespace"], meta["name"]))
        if found is not None and found["metadata"]["uid"] == meta["uid"]:
            self._end(found, outcome)

    async def _write(self, verb: str, resource: Resource, do: Callable[[], Object]) -> Object:
        """What was sent is carried out, whatever becomes of the process that sent it; the answer waits for it."""
        process = PROCESS.get()
        if self.is_out or (process is not None and process.is_dead):
            raise errors.Unavailable(503, "ServiceUnavailable", "not now")

        def done() -> Object:
            found = do()
            self.deeds.append(Deed(process.name if process else "", asyncio.get_running_loop().time(), verb, resource.plural))
            try:
                self.check()
            except AssertionError as error:
                self.broken.append(str(error))
            return found

        sent = asyncio.get_running_loop().create_task(self._carry_out(verb, resource, done), context=contextvars.Context())
        return await asyncio.shield(sent)

    async def _carry_out(self, verb: str, resource: Resource, do: Callable[[], Object]) -> Object:
        if resource is LEASES:
            await asyncio.sleep(0)
            return do()
        return await super()._write(verb, resource, do)

    def work_of(self, name: str) -> list[Deed]:
        """Return what a process has written, other than its Leases."""
        return [deed for deed in self.deeds if deed.by == name and deed.plural != "leases"]

    def holders(self) -> dict[str, str]:
        """Return who holds which Lease, by its identity without what is random in it."""
        found = {one["metadata"]["name"]: (one.get("spec") or {}).get("holderIdentity") or "" for one in self.all("leases")}
        return {name: leases.slot_of(holder) for name, holder in found.items()}


class Crew:
    """The operators, by name. Everything happens in the loop's virtual time."""

    def __init__(self, api: Town, loop: VirtualLoop, **settings: Any) -> None:
        self.api = api
        self.loop = loop
        self._settings = {"sweep_seconds": 60.0} | settings
        self.processes: dict[str, Process] = {}
        self.operators: dict[str, Operator] = {}

    async def start(self, *names: str, **settings: Any) -> None:
        """Start operators, which begin when the loop goes on."""
        for name in names:
            process = self.processes[name] = Process(name)
            own = Settings(**(self._settings | {"identity": name} | settings))
            operator = Operator(cast(Client, self.api), own, Metrics(), now=self.now)
            self.operators[name] = operator
            await process.start(self._begin(operator), self.loop)

    def now(self) -> datetime:
        """Return the wall clock of all: virtual as everything else."""
        return _BEGAN + timedelta(seconds=self.loop.time())

    async def _begin(self, operator: Operator) -> None:
        await operator.start()
        for workflow in self.api.all("workflows"):
            operator.workflow_seen(None, workflow)

    def kill(self, name: str) -> None:
        """As by kill -9: nothing of it ever happens any more."""
        process = self.processes.pop(name)
        process.is_dead = True
        self.loop.release(process)
        for task in process.tasks:
            task.cancel()

    def freeze(self, name: str) -> None:
        """As by SIGSTOP."""
        self.processes[name].is_stopped = True

    def wake(self, name: str) -> None:
        """As by SIGCONT."""
        self.loop.release(self.processes[name])

    async def stop(self, name: str) -> None:
        """As by SIGTERM."""
        await self.processes[name].start(self.operators[name].stop(), self.loop)

    async def step(self) -> None:
        """Let everybody take a step."""
        await asyncio.sleep(0)
        if not self.loop._ready:  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)

    async def pass_time(self, seconds: float) -> None:
        """Let time go by."""
        await asyncio.sleep(seconds)

    def told(self) -> str:
        """Return what there is, for a test that has failed."""
        runs = {run["metadata"]["name"]: (run.get("status") or {}).get("status") for run in self.api.all("workflowruns")}
        return f"{self.api.holders()}\n{runs}\n{self.api.all('semaphores')}"

    async def until(self, holds: Callable[[], Found], what: Callable[[], object] = lambda: "") -> Found:
        """Let time go on until something holds; fail after the limit."""
        ends = self.loop.time() + LIMIT_SECONDS
        while not (found := holds()):
            assert self.loop.time() < ends, f"after {LIMIT_SECONDS:g} s of virtual time: {what()}"
            await asyncio.sleep(0.05)
        return found


def in_virtual_time(play: Callable[[VirtualLoop], Coroutine[Any, Any, None]], seed: int = 0) -> None:
    """Run a play to its end; what goes on then is ended with it."""
    faults: list[str] = []
    loop = VirtualLoop(lambda _: None, lambda process, why: faults.append(f"operator {process.name} has ended by itself: {why!r}"))

    async def whole() -> None:
        try:
            await play(loop)
        finally:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    with virtual(loop, str(seed)):
        try:
            loop.run_until_complete(whole())
        finally:
            loop.close()
    assert faults == [], faults
