"""An asyncio event loop whose time is a number: nobody waits. When nothing is ready, it is at once the time of the next timer.

Everything else is asyncio's own: tasks, futures, timers and their order. Work for threads is done in place, so that two runs of the same
universe are the same to the last step. What belongs to one operator runs in a context of its own (`Process`), which can be killed
between any two steps, or stopped for a while as by SIGSTOP.
"""

import asyncio
import contextvars
import heapq
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

from backstay.kube import backoff
from backstay.runtime import leases

PROCESS: Final[contextvars.ContextVar["Process | None"]] = contextvars.ContextVar("process", default=None)
"""Whose step it is; None for the world's own."""


MOST_ROUNDS: Final = 1000
"""After so many rounds time passes by itself, as it does on any machine: who waits for a difference that rounding takes away waits for ever."""


MOST_STEPS: Final = 10_000
"""So many steps no operator needs in a universe, beside those of `STEPS_A_SECOND`: whoever takes more wakes again and again for nothing."""


STEPS_A_SECOND: Final = 20
"""So many steps more may be taken for every second that passes: Leases are renewed and held for as long as a universe lasts."""


class TooMuch(SystemExit):
    """Somebody does the same again and again."""


class Deadlocked(Exception):
    """Nothing is ready and no timer is set: nothing will ever happen again."""


class Process:
    """One operator as its machine sees it: its tasks, and whether they run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.is_stopped = False
        self.began_at = 0.0
        self.steps = 0
        """How many steps its tasks have taken."""
        self.dies_at = -1
        """At which step it is killed; never where that is negative."""
        self.tasks: list[asyncio.Task[Any]] = []
        self.held: deque[asyncio.Handle] = deque()
        """Its steps that wait for it to be let run again."""

    def start(self, work: Coroutine[Any, Any, Any], loop: "VirtualLoop") -> asyncio.Task[Any]:
        """Run a coroutine as a task of this process."""
        self.began_at = self.began_at or loop.now
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        return loop.create_task(work, context=context)


class VirtualLoop(asyncio.BaseEventLoop):
    """Virtual time in seconds, from 1,000 on. `on_kill(process)` is called when a process has reached the step at which it dies,
    `on_exit(process, why)` when it ends itself."""

    def __init__(self, on_kill: Callable[[Process], None], on_exit: Callable[[Process, SystemExit], None]) -> None:
        super().__init__()
        self.now = 1000.0
        self.on_kill = on_kill
        self.on_exit = on_exit
        self.most_steps = 0
        """After how many steps a process goes round in circles; never where that is 0."""
        self.stuck: list[str] = []
        self._rounds = 0
        """How often the loop has gone round in this moment."""
        self._clock_resolution = 1e-9
        self.set_task_factory(_task)
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except BaseException as error:
            done.set_exception(error)
        return done

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A fault that nobody has taken: in a universe that is a fault of the operator's, or of the universe. The dead do no harm."""
        handle = context.get("handle")
        process = handle._context.get(PROCESS) if handle is not None else PROCESS.get()
        if process is not None and process.is_dead:
            return
        self.stuck.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _run_once(self) -> None:
        """One step, in the order in which asyncio itself would take them."""
        timers = self._scheduled  # type: ignore[attr-defined]
        ready: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined]
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not ready:
            if not timers:
                raise Deadlocked
            if timers[0]._when > self.now:
                self.now, self._rounds = timers[0]._when, 0
        self._rounds += 1
        if self._rounds > MOST_ROUNDS:
            self.now += 1e-6
        while timers and timers[0]._when <= self.now:
            handle = heapq.heappop(timers)
            handle._scheduled = False
            ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is None:
                handle._run()
            else:
                self._step(process, handle)

    def _step(self, process: Process, handle: asyncio.Handle) -> None:
        if process.is_stopped and not process.is_dead:
            process.held.append(handle)
            return
        process.steps += 1
        if process.is_dead:
            pass  # it is ending: it neither dies once more nor goes round in circles
        elif process.steps == process.dies_at:
            self.on_kill(process)
        elif self.most_steps and process.steps >= self.most_steps + STEPS_A_SECOND * (self.now - process.began_at):
            self.on_exit(process, TooMuch(f"{process.steps} steps in {self.now - process.began_at:.1f} s"))
        try:
            handle._run()
        except SystemExit as end:
            self.on_exit(process, end)

    def release(self, process: Process) -> None:
        """Let a stopped process run again: all that has come due meanwhile comes at once."""
        process.is_stopped = False
        self._ready.extend(process.held)  # type: ignore[attr-defined]
        process.held.clear()

    def _process_events(self, event_list: Any) -> None:
        """There are no files and sockets in a universe."""

    def _write_to_self(self) -> None:
        """There are no other threads in a universe."""


def _task(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
    """Make a task, and note whose it is."""
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **more)
    context = more.get("context")
    process = context.get(PROCESS) if context is not None else PROCESS.get()
    if process is not None:
        process.tasks.append(task)
    return task


@contextmanager
def virtual(loop: VirtualLoop, seed: str) -> Iterator[None]:
    """For as long as the block lasts, `time.monotonic` is the loop's time, and chance follows from the seed."""
    monotonic, chance, boot, token = time.monotonic, backoff._RANDOM, leases._BOOT_CLOCK, secrets.token_hex
    time.monotonic = loop.time
    leases._BOOT_CLOCK = None  # type: ignore[misc]
    backoff._RANDOM = dice = random.Random(seed)  # type: ignore[assignment, misc]
    secrets.token_hex = lambda count=32: dice.randbytes(count or 32).hex()
    try:
        yield
    finally:
        time.monotonic, backoff._RANDOM, leases._BOOT_CLOCK = monotonic, chance, boot  # type: ignore[misc]
        secrets.token_hex = token
