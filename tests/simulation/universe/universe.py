"""One universe: real operators on a virtual clock, a modelled cluster, a world outside, people, and everything that goes wrong.

    play(data)  →  Outcome: what was broken, what happened, and everything that reached the server, in order

The same bytes give the same universe to the last step, in any process that was started with PYTHONHASHSEED=0.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import orjson

from backstay import names
from backstay.engine.program import Program
from backstay.errors import InvalidDefinition
from backstay.executors.http.exchange import Exchange
from backstay.observe.metrics import Metrics
from backstay.runtime import programs
from backstay.runtime.operator import Operator
from backstay.settings import Settings
from tests.simulation.universe.cluster import Cluster
from tests.simulation.universe.loop import MOST_STEPS, Deadlocked, Process, TooMuch, VirtualLoop, virtual
from tests.simulation.universe.outside import HOST, Outside
from tests.simulation.universe.people import People
from tests.simulation.universe.processes import WORKFLOWS
from tests.simulation.universe.promises import Promises
from tests.simulation.universe.scenario import Death, Scenario, scenario
from tests.simulation.universe.server import Object, Server
from tests.simulation.universe.wire import WORLD, Wire

START: Final = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LONGEST: Final = 1500.0
"""In seconds: a universe that is not over by then never will be."""
SETTLES: Final = 3.0
LATE: Final = 75.0
"""How long after its time what is due may still wait, where all has been well for as long. One request without an answer takes 30 s of it."""


def _metrics() -> Metrics:
    """Make metrics for all universes: nothing is decided on them, and they cost as much as a small universe. What an operator gives them to look at
    is let go: it would keep its whole universe in memory."""
    found = Metrics()
    for name in dir(found):
        if name.startswith("watch_"):
            setattr(found, name, lambda *_: None)
    return found


_METRICS: Final = _metrics()


@dataclass
class Outcome:
    """What came of a universe."""

    data: bytes
    broken: list[str]
    trace: list[str]
    phases: dict[str, str]
    """How the runs ended, by name; `gone` for those that were deleted."""
    deaths: int = 0
    calls: int = 0
    works: int = 0
    seconds: float = 0.0
    """How long it lasted, in its own time."""
    spec: Any = field(default=None, repr=False)
    worklist: list[Any] = field(default_factory=list, repr=False)


class Universe:
    """Everything there is."""

    def __init__(self, what: Scenario) -> None:
        self.what = what
        self.loop = VirtualLoop(self._killed, self._ended_itself)
        self.loop.most_steps = MOST_STEPS
        self.chance = random.Random(what.data[:4]).random
        self.jumped = 0.0
        self.server = Server(lambda: f"{self.true_time():%Y-%m-%dT%H:%M:%SZ}")
        self.wire = Wire(self.loop, self.server, self.chance)
        self.wire.call_faults, self.wire.watch_faults = what.calls, what.watches
        self.wire.lags = {kind: what.lag * (1.0 if what.lagging in ("", kind) else 0.1) for kind in ("workflowruns", "jobs", "pods")}
        self.cluster = Cluster(self.loop, self.server, what.fate, self.chance)
        self.promises = Promises(self.server, self.cluster, have_leases=bool(what.shards) or what.second_at < 0)
        self.outside = Outside(self.loop, what.answer, self.chance)
        self.outside.on_call = self.promises.called
        self.people = People(self.wire, self.cluster, self.promises, what)
        self.living: dict[Process, Operator] = {}
        self.processes: list[Process] = []
        self.is_stopped = False
        self.calm_from = 0.0
        """From when on all is well with operators, clocks and the server."""
        self.deaths = list(what.deaths)
        self.dead = 0
        self.names = [f"r{number}" for number in range(1, 1 + len(what.runs))]

    # ---------------------------------------------------------------------------------------------------------- its time

    def true_time(self) -> datetime:
        """What time it is by the server's clock."""
        return START + timedelta(seconds=self.loop.now - 1000.0)

    def now(self) -> datetime:
        """What time it is by the clock of the operators' machine."""
        return self.true_time() + timedelta(seconds=self.jumped)

    # ----------------------------------------------------------------------------------------------------------- to play

    async def play(self) -> None:
        """Let everything happen, until all runs are over and nothing more comes of them."""
        for name, spec in WORKFLOWS.items():
            self._define(name, spec)
        self._begin_operator("a")
        if self.what.second_at >= 0:
            self._later(self.what.second_at, self._begin_operator, "b")
        for at, lasts in self.what.stops:
            self._later(at, self._stop_one, lasts)
        for at, by in self.what.jumps:
            self._later(at, self._jump, by)
        for at, lasts in self.what.outages:
            self._later(at, self.wire.outage, lasts)
            self._later(at + lasts, self._disturb, 0)
        self.people.come()
        for name, spec in zip(self.names, self.what.runs, strict=True):
            self.server.create("workflowruns", "shop", {"metadata": {"name": name}, "spec": orjson.loads(orjson.dumps(spec))})
        await self._until_it_is_over()
        while not self.is_stopped and self.loop.now < 1000.0 + LONGEST:
            await asyncio.sleep(SETTLES)
            if self._is_over():
                return
            await self._until_it_is_over()  # somebody has begun to delete what was over
        if not self.is_stopped:
            self._complain_of_those_who_hang()

    async def _until_it_is_over(self) -> None:
        while not (self.is_stopped or self._is_over()) and self.loop.now < 1000.0 + LONGEST:
            await asyncio.sleep(0.5)
            if self.loop.now > self.calm_from + LATE:
                self.promises.is_in_time(self.now() - timedelta(seconds=LATE), LATE)

    async def end(self) -> None:
        """End all operators, to the last of their tasks."""
        for process in self.processes:
            self._end(process)
        for _ in range(100):
            left = [task for process in self.processes for task in process.tasks if not task.done()]
            if not left:
                return
            for task in left:
                task.cancel()
            await asyncio.sleep(0)
        self.promises.say("P3", f"an operator cannot be ended: {left}")

    def _later(self, seconds: float, what: Any, *args: Any) -> None:
        self.loop.call_later(seconds, what, *args, context=WORLD)

    def _is_over(self) -> bool:
        """Tell whether nothing is left to happen: an answer that comes late may yet be acted upon."""
        runs = self.server.all("workflowruns")
        return not self.wire.under_way and all((run.get("status") or {}).get("finishedAt") and not _is_leaving(run) for run in runs)

    def _complain_of_those_who_hang(self) -> None:
        for run in self.server.all("workflowruns"):
            status = run.get("status") or {}
            if status.get("finishedAt") and not _is_leaving(run):
                continue
            steps = [f"{step['path']} {step['phase']}" for step in status.get("steps") or () if not step.get("finishedAt")]
            told = {item["type"]: item.get("message") for item in status.get("conditions") or () if item["status"] == "True"}
            self.promises.say("P3", f"{run['metadata']['name']} does not end: {status.get('phase')}; {steps}; {told}")

    # --------------------------------------------------------------------------------------------------------- operators

    def _begin_operator(self, name: str) -> None:
        self._disturb(0)
        process = Process(name)
        self.processes.append(process)
        if self.deaths and name[0] == "a":
            process.dies_at = self.deaths[0].after
        process.start(self._operate(process), self.loop)

    async def _operate(self, process: Process) -> None:
        settings = Settings(http_allowed_hosts=(HOST,), shards=self.what.shards, identity=process.name)
        operator = Operator(self.wire.client(), settings, _METRICS, now=self.now)
        self.living[process] = operator
        for workflow in self.server.all("workflows"):
            operator.workflow_seen(None, workflow)
        await operator.start()

    def _killed(self, process: Process) -> None:
        """An operator has come to the step at which it dies."""
        death = self.deaths.pop(0) if self.deaths else Death(0, "kill", 1.0)
        self.dead += 1
        if death.how == "kill":
            self._end(process)
            self._later(death.pause, self._begin_operator, self._next_name(process))
        else:
            process.dies_at = -1
            process.start(self._end_well(process, death.pause), self.loop)

    async def _end_well(self, process: Process, pause: float) -> None:
        """SIGTERM: what goes on is ended, and nothing is left open."""
        operator = self.living.pop(process)
        await operator.stop()
        process.is_dead = True
        self._later(pause, self._begin_operator, self._next_name(process))

    def _next_name(self, process: Process) -> str:
        """A container that is restarted in its pod keeps its name; a pod that takes another one's place does not."""
        return process.name if self.what.dice("name")[0] % 2 else f"{process.name}{self.dead}"

    def _end(self, process: Process) -> None:
        """SIGKILL: nothing of it is ever done again."""
        process.is_dead = True
        self.loop.release(process)
        self.living.pop(process, None)
        for task in process.tasks:
            if not task.done():
                task.cancel()

    def _ended_itself(self, process: Process, why: SystemExit) -> None:
        """An operator has ended although nobody wanted that, or would go on for ever."""
        if process.is_dead:
            return
        if isinstance(why, TooMuch):
            last = next((line for line in reversed(self.wire.trace) if "/leases/" not in line), "")
            self.promises.say("P7", f"it goes round in circles: {why}; the last was {self.wire.trace[-1]}, and before {last}")
            self.is_stopped = True
        else:
            faults = [task.exception() for task in process.tasks if task.done() and not task.cancelled()]
            self.promises.say("P3", f"operator {process.name} has ended by itself: {[fault for fault in faults if fault]!r}")
        self._end(process)

    def _stop_one(self, seconds: float) -> None:
        for process in self.living:
            process.is_stopped = True
            self._disturb(seconds)
            self._later(seconds, self.loop.release, process)
            if "b" not in [other.name for other in self.living]:
                self._later(seconds / 2, self._begin_operator, "b")
            return

    def _jump(self, seconds: float) -> None:
        self.jumped += seconds
        self._disturb(abs(seconds))

    def _disturb(self, seconds: float) -> None:
        self.calm_from = max(self.calm_from, self.loop.now + seconds)

    # ---------------------------------------------------------------------------------------------------------- the start

    def _define(self, name: str, spec: Object) -> None:
        """A Workflow is there, and was judged."""
        label = {names.LABEL_WORKFLOW: name, names.LABEL_MANAGED_BY: names.MANAGER}
        made = {"metadata": {"name": f"{name}-1", "labels": label}, "revision": 1, "data": spec}
        self.server.create("controllerrevisions", "shop", made)
        self.server.create("workflows", "shop", {"metadata": {"name": name}, "spec": spec})
        valid = {"type": "Valid", "status": "True", "message": ""}
        status = {"observedGeneration": 1, "revision": {"name": f"{name}-1", "number": 1}, "conditions": [valid]}
        self.server.patch("workflows", "shop", name, {"status": status}, "merge", "status")

    def compiled(self) -> dict[str, Program]:
        """Return what the runs run, compiled; those that cannot be run are left out."""
        found: dict[str, Program] = {}
        for name, spec in zip(self.names, self.what.runs, strict=True):
            workflow = spec["workflow"]
            with contextlib.suppress(InvalidDefinition):
                found[name] = build_once(workflow.get("inline") or WORKFLOWS[workflow["name"]])
        return found


def _is_leaving(run: Object) -> bool:
    return bool(run["metadata"].get("deletionTimestamp"))


def play(data: bytes) -> Outcome:
    """Play the universe that these bytes stand for to its end."""
    return enact(scenario(data))


def enact(what: Scenario) -> Outcome:
    """Play one universe to its end."""
    data = what.data
    universe = Universe(what)
    loop = universe.loop
    broken = universe.promises.broken
    with virtual(loop, data[:4].hex()), _calling(universe.outside):
        try:
            loop.run_until_complete(universe.play())
        except Deadlocked:
            broken.append("P3: nothing is ready and no timer is set")
        finally:
            calls, universe.wire.calls = universe.wire.calls, 0
            loop.run_until_complete(universe.end())
            loop.close()
    broken += [f"a fault nobody has taken: {words}" for words in loop.stuck]
    universe.promises.at_the_end(universe.compiled())
    phases = {told.name: str(told.status.get("phase")) for told in universe.promises.told.values()}
    return Outcome(
        data,
        broken,
        universe.wire.trace,
        phases,
        universe.dead,
        calls,
        len(universe.cluster.works),
        loop.now - 1000.0,
        what,
        universe.cluster.works,
    )


_build: Final = programs.build


@lru_cache(100)
def _built(spec: bytes, template: str | None) -> Program:
    return _build(orjson.loads(spec), template)


def build_once(spec: Any, template: str | None = None) -> Program:
    """Compile a definition, once for all operators of all universes: compiling is pure, and a quarter of what a universe costs."""
    return _built(orjson.dumps(spec, option=orjson.OPT_SORT_KEYS), template)


@contextlib.contextmanager
def _calling(outside: Outside) -> Iterator[None]:
    """For as long as the block lasts, http steps call the modelled world; and the operators' words are for nobody."""
    real, level = Exchange._session, logging.root.manager.disable
    Exchange._session = lambda exchange, url, addresses: outside.session(exchange, url, addresses)  # type: ignore[method-assign]
    programs.build = build_once  # type: ignore[assignment]
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        Exchange._session = real  # type: ignore[method-assign]
        programs.build = _build
        logging.disable(level)
