"""What a burst of new runs does to those that have begun, and to another namespace. Told are times; asserted are counts only."""

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from typing import Final

import pytest

from backstay.kube.client import Client
from backstay.kube.resources import RUNS
from tests.bench.arena import Arena, assert_succeeded
from tests.bench.figures import Figures, Report, percentile
from tests.bench.load import LULL_SECONDS, Ends, Following, Kind, Object, client_of, create_runs, following, phase_at_end, run_of, workflow
from tests.bench.record import Record, written
from tests.bench.sizes import Sizes
from tests.support.cluster import Place
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.bench, pytest.mark.timeout(0)]

RUNNING: Final = 20
STEPS: Final = 12
"""Of each run that has begun before the burst; a step takes a second."""
LONG: Final = Kind(RUNS, partial(run_of, "long"), phase_at_end)
_FIRST_NEW: Final = 1_000_000
"""From here on the runs of the burst are numbered."""


class Burst:
    """A namespace in which some runs have begun and many are to begin, and another in which now and then one does."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.busy, self.quiet = arena.place("busy", 1), arena.place("quiet", 1)
        self.busy.create(workflow("long", STEPS, seconds=1))
        wait_for(lambda: self.busy.workflow("long").get("status", {}).get("revision"), what="the workflow has no revision")
        self.old, self.new, self.others = Ends(kind=LONG), Ends(), Ends()
        self.began = 0.0
        """When the burst began: seconds since the epoch."""
        self.deepest = 0.0
        self._progress: dict[str, str] = {}

    def told(self, event: str, run: Object) -> None:
        """Hear of a change in the busy namespace."""
        name = run["metadata"]["name"]
        (self.old if name in self.old.asked else self.new).told(event, run)
        if name in self.old.asked:
            self._progress[name] = run.get("status", {}).get("progress", "")

    def __str__(self) -> str:
        return f"long runs: {self.old}; burst: {self.new}; in the quiet namespace: {self.others}"

    async def break_out(self, client: Client, count: int, watch: Following, other_watch: Following) -> None:
        """Have the burst, and runs one at a time in the quiet namespace until it is over."""
        await create_runs(client, self.busy, [f"run-{number}" for number in range(RUNNING)], self.old)
        await watch.until(lambda: self.steps_done >= 3 * RUNNING, LULL_SECONDS, self.__str__)
        self.began = time.time()
        creating = asyncio.create_task(create_runs(client, self.busy, [f"run-{_FIRST_NEW + number}" for number in range(count)], self.new))
        while not creating.done() or self.new.under_way:
            await create_runs(client, self.quiet, [f"run-{len(self.others.asked)}"], self.others)
            await other_watch.until(lambda: not self.others.under_way, LULL_SECONDS, self.__str__)
            self.deepest = max(self.deepest, self.arena.operator.metric("backstay_queue_depth", priority="new"))
        await creating
        await watch.until(lambda: not self.old.under_way, LULL_SECONDS, self.__str__, progress=lambda: self.steps_done)

    @property
    def steps_done(self) -> int:
        """How many steps of the long runs have ended."""
        return sum(int(done.partition("/")[0]) for done in self._progress.values() if done)

    def mean_wait(self, priority: str) -> float:
        """Return how long runs of a priority were ready before a pass began, on average, by the operator's own figures."""
        total, count = (self.arena.operator.metric(f"backstay_queue_wait_seconds_{part}", priority=priority) for part in ("sum", "count"))
        return total / max(1.0, count)


async def test_a_burst_of_new_runs_holds_up_neither_running_ones_nor_another_namespace(
    sizes: Sizes, own_arena: Arena, report: Report
) -> None:
    burst = Burst(own_arena)
    with own_arena.node():
        async with (
            client_of(own_arena.cluster.kubeconfig) as client,
            following(client, RUNS, burst.busy.name, burst.told) as watch,
            following(client, RUNS, burst.quiet.name, burst.others.told) as other_watch,
        ):
            await burst.break_out(client, sizes.burst_runs, watch, other_watch)
    record = Record.of(own_arena.cluster.audit_log, burst.busy.name)
    report.parts["burst"] = {
        "runs": sizes.burst_runs,
        "seconds": burst.new.total_seconds(),
        "runs_per_minute": sizes.burst_runs / burst.new.total_seconds() * 60,
        "deepest_queue": burst.deepest,
        **_gaps(record, burst.began),
        **_shares("quiet_run_begins", list(_beginnings(burst.quiet))),
        "mean_wait_of_running_seconds": burst.mean_wait("running"),
        "mean_wait_of_new_seconds": burst.mean_wait("new"),
    }
    for ends, count in ((burst.old, RUNNING), (burst.new, sizes.burst_runs), (burst.others, len(burst.others.asked))):
        assert_succeeded(ends.phases.values(), count)
    assert record.jobs.total() == len(record.jobs) == RUNNING * STEPS + sizes.burst_runs
    assert record.pods == record.jobs.total()


def _gaps(record: Record, began: float) -> Figures:
    """How long after the end of a step of the long runs their next Job was there, before the burst and during it."""
    before = [seconds for moment, seconds in record.gaps if moment < began]
    during = [seconds for moment, seconds in record.gaps if moment >= began]
    return {**_shares("step_end_to_next_job_before", before), **_shares("step_end_to_next_job_during", during)}


def _shares(name: str, seconds: list[float]) -> Figures:
    return {f"{name}_p50_seconds": percentile(seconds, 50), f"{name}_p99_seconds": percentile(seconds, 99)} if seconds else {}


def _beginnings(place: Place) -> Iterator[float]:
    """Yield how long after its creation each run had its first Job, by the API server's record."""
    created: dict[str, float] = {}
    for write in written(place.cluster.audit_log, place.name):
        if (write.verb, write.code) != ("create", 201):
            continue
        if write.resource == RUNS.plural:
            created[write.run] = write.moment
        elif write.resource == "jobs" and write.run in created:
            yield write.moment - created.pop(write.run)
