"""Whether what a run costs stays flat however many there are, and a status small however wide a run is."""

import asyncio
import time

import orjson
import pytest

from backstay import names
from backstay.kube.resources import PODS, RUNS
from tests.bench.arena import Arena, assert_succeeded, assert_within_budget, writes_by_run
from tests.bench.figures import Report
from tests.bench.load import LULL_SECONDS, Ends, Object, client_of, create_runs, following, workflow
from tests.bench.machine import peak_rss_bytes, rss_bytes, settled
from tests.bench.record import Record
from tests.bench.sizes import Sizes
from tests.bench.throughput import many_at_once
from tests.support.cluster import Place
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.bench, pytest.mark.timeout(0)]

_FOR_EVER = 1_000_000.0
_SETTLE_SECONDS = 120
_IDLE_SECONDS = 10
_NOTED_SECONDS = 15
"""After so long each Job is 10 s old and noted in the status of its run, which is done once: what comes after that is rest."""
STATUS_LIMIT_BYTES = 700_000
"""DESIGN, promise 8."""


class Parked:
    """Runs whose only step takes for ever: they are under way, and nothing happens to them."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._running: set[str] = set()
        self._asked = 0

    async def grow(self, count: int) -> None:
        """Have so many of them in all, each with its pod running."""
        wanted = [f"run-{number}" for number in range(self._asked, count)]
        self._asked = count

        def told(event: str, pod: Object) -> None:
            if pod["status"]["phase"] == "Running":
                self._running.add(pod["metadata"]["name"])

        async with client_of(self.place.cluster.kubeconfig) as client, following(client, PODS, self.place.name, told) as watch:
            await create_runs(client, self.place, wanted, Ends())
            await watch.until(lambda: len(self._running) == count, LULL_SECONDS, self.__str__, progress=lambda: len(self._running))

    def __str__(self) -> str:
        return f"{len(self._running)} of {self._asked} runs have their pod running"


async def test_what_a_run_costs_is_told_for_each_number_of_runs_that_are_there_besides(
    sizes: Sizes, own_arena: Arena, report: Report
) -> None:
    steps, arena = 3, own_arena
    parked = Parked(arena.place("parked", 1, seconds=_FOR_EVER))
    with arena.node() as node_pid:
        for count in sizes.parked_runs:
            await parked.grow(count)
            await asyncio.sleep(_NOTED_SECONDS)
            settled(arena.operator.pid, _SETTLE_SECONDS)
            resting = rss_bytes(arena.operator.pid)
            idle = _cpu_share_at_rest(arena, node_pid)
            place = arena.place(f"beside-{count}", steps)
            ends, figures = await many_at_once(arena.measured, place, node_pid, sizes.three_step_runs, sizes)
            report.parts[f"active_{count}"] = {
                "active_runs": count,
                "operator_rss_mb": resting / 1e6,
                "operator_cores_at_rest": idle,
                **{name: figures[name] for name in _TOLD},
            }
            assert_succeeded(ends.phases.values(), len(ends.asked))
            assert_within_budget(writes_by_run(place), ends, steps)
            assert Record.of(arena.cluster.audit_log, place.name).wrong(len(ends.asked), steps) == []
    report.parts[f"active_{count}"]["operator_peak_rss_mb"] = peak_rss_bytes(arena.operator.pid) / 1e6
    assert Record.of(arena.cluster.audit_log, parked.place.name).wrong(count, 1) == []


_TOLD = (
    "runs",
    "runs_per_minute",
    "latency_p50_seconds",
    "latency_p99_seconds",
    "step_end_to_next_job_p99_seconds",
    "operator_cpu_ms_per_run",
    "control_plane_cpu_ms_per_run",
    "cores_used_by_others",
)


def _cpu_share_at_rest(arena: Arena, node_pid: int) -> float:
    before = arena.reading(node_pid)
    time.sleep(_IDLE_SECONDS)
    after = arena.reading(node_pid)
    return after.since(before)["operator"] / (after.moment - before.moment)


# ------------------------------------------------------------------------------------------------------------- fan-out


async def test_a_wide_for_each_has_one_job_an_item_and_a_status_below_its_limit(sizes: Sizes, own_arena: Arena, report: Report) -> None:
    arena = own_arena
    place = arena.cluster.place("wide")
    place.create(wide(sizes.items))
    wait_for(lambda: place.workflow("w").get("status", {}).get("revision"), what="the workflow has no revision")
    ends, statuses = Ends(), list[int]()

    def told(event: str, run: Object) -> None:
        statuses.append(len(orjson.dumps(run.get("status", {}))))
        ends.told(event, run)

    with arena.node() as node_pid:
        before = arena.reading(node_pid)
        async with client_of(arena.cluster.kubeconfig) as client, following(client, RUNS, place.name, told) as watch:
            await create_runs(client, place, ["run-0"], ends)
            await watch.until(lambda: not ends.under_way, LULL_SECONDS, ends.__str__, progress=lambda: len(statuses))
        used = arena.reading(node_pid).since(before)
    record = Record.of(arena.cluster.audit_log, place.name)
    report.parts["wide"] = {
        "items": sizes.items,
        "seconds": ends.latency("run-0"),
        "items_per_minute": sizes.items / ends.latency("run-0") * 60,
        "largest_status_bytes": max(statuses),
        "status_bytes_at_the_end": statuses[-1],
        "writes_per_item": record.writes["run-0"] / sizes.items,
        "operator_cpu_ms_per_item": used["operator"] / sizes.items * 1000,
        "operator_peak_rss_mb": peak_rss_bytes(arena.operator.pid) / 1e6,
    }
    assert_succeeded(ends.phases.values(), 1)
    assert max(statuses) < STATUS_LIMIT_BYTES
    assert record.wrong(1, sizes.items) == []


def wide(items: int) -> Object:
    """A workflow with a Job for each of so many items, many of them at a time."""
    body = workflow("w", 1)["spec"]["steps"]
    each = {"count": items, "parallelism": 100, "steps": body}
    spec = {"steps": [{"name": "all", "forEach": each}]}
    return {"apiVersion": names.API_VERSION, "kind": names.WORKFLOW, "metadata": {"name": "w"}, "spec": spec}
