"""Calls that go on: the work that the operator does itself, each in a task of its own, and what came of it until that is written.

Nothing of it is kept: after a crash the written state says which calls are wanted, and they are made again.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Final

from backstay.engine.model import CallFact, CallState, Fault, StartCall
from backstay.executors.calls import CallContext, Execute
from backstay.executors.kinds import EXECUTORS, LIMIT_THEMSELVES
from backstay.kube.client import Client
from backstay.kube.limiter import Priority, at
from backstay.kube.manifests import RunRef
from backstay.settings import Settings

log = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 200
"""Calls of one kind that are made at the same time; more wait for their turn."""


@dataclass(slots=True)
class _Made:
    """One call: its task, and the newest that is known of it."""

    fact: CallFact
    task: "asyncio.Task[None] | None" = None


@dataclass(slots=True)
class Calls:
    """All calls, by run and name. `wake(run_uid)` is called when something is new about one of a run's. Single-threaded."""

    client: Client
    settings: Settings
    wake: Callable[[str], object]
    executors: Mapping[str, Execute] = field(default_factory=lambda: EXECUTORS)
    owns_uid: Callable[[str], bool] = lambda _: True
    """Whether a run's call may begin here, now: it may have waited long for its turn."""
    _made: dict[str, dict[str, _Made]] = field(default_factory=dict)
    _room: dict[str, asyncio.Semaphore] = field(default_factory=dict)

    def of(self, run_uid: str) -> dict[str, CallFact]:
        """Return what is seen of a run's calls, by name."""
        return {name: made.fact for name, made in self._made.get(run_uid, {}).items()}

    def start(self, run: RunRef, call: StartCall) -> None:
        """Make a call. One that is made already goes on."""
        calls = self._made.setdefault(run.uid, {})
        if call.name in calls:
            return
        made = calls[call.name] = _Made(CallFact(call.name))
        with at(Priority.RUNNING):  # it is part of a run that has begun, also where the look that makes it was its first
            made.task = asyncio.get_running_loop().create_task(self._make(run, call, made), name=f"backstay call {call.name}")

    def stop(self, run_uid: str, name: str) -> None:
        """End a call, if it goes on, and forget it."""
        calls = self._made.get(run_uid, {})
        made = calls.pop(name, None)
        if not calls:
            self._made.pop(run_uid, None)
        if made is not None and made.task is not None:
            made.task.cancel()
            self.wake(run_uid)

    def forget(self, run_uid: str) -> None:
        """A run is finished or gone: end all its calls."""
        for name in list(self._made.get(run_uid, {})):
            self.stop(run_uid, name)

    async def close(self) -> None:
        """End all calls and wait until they have ended."""
        tasks = [made.task for calls in self._made.values() for made in calls.values() if made.task is not None]
        self._made.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _make(self, run: RunRef, call: StartCall, made: _Made) -> None:
        def waits(message: str | None) -> None:
            if made.fact.message != message:
                made.fact = replace(made.fact, message=message)
                self.wake(run.uid)

        async with self._room_of(call.kind):
            if not self.owns_uid(run.uid):
                self._made.get(run.uid, {}).pop(call.name, None)
                return
            try:
                made.fact = await self.executors[call.kind](CallContext(self.client, run, self.settings, waits), call)
            except Exception as error:
                log.exception("%s/%s: the call of step %s failed in a way that is a bug", run.namespace, run.name, call.path)
                fault = Fault(
                    "InternalError", "The operator failed", f"{type(error).__name__} while making the call; see the operator's log"
                )
                made.fact = CallFact(call.name, CallState.FAILED, fault=fault)
        self.wake(run.uid)

    def _room_of(self, kind: str) -> AbstractAsyncContextManager[None]:
        if kind in LIMIT_THEMSELVES:
            return nullcontext()
        return self._room.setdefault(kind, asyncio.Semaphore(MOST_AT_ONCE))
