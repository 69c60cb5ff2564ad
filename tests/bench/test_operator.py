"""How fast the operator is and what it costs, on the real control plane with pods that end at once. Told are times; asserted are counts only."""

import time
from collections import Counter
from collections.abc import Iterable

import pytest

from backstay import names
from backstay.kube.resources import JOBS, RUNS
from tests.bench.arena import SLOW_SECONDS, Arena, assert_each_step_had_one_job, assert_within_budget, writes_by_run
from tests.bench.figures import Report, percentile
from tests.bench.load import LULL_SECONDS, Ends, client_of, create_runs, finish_runs, following, run_names_of
from tests.bench.machine import peak_rss_bytes, settled
from tests.bench.sizes import Sizes
from tests.support.api import Object
from tests.support.cluster import Place
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

_FOR_EVER = 3600.0


def assert_succeeded(phases: Iterable[str], count: int) -> None:
    assert Counter(phases) == {"Succeeded": count}


async def test_runs_one_at_a_time_end_as_soon_as_may_be(sizes: Sizes, arena: Arena, report: Report) -> None:
    steps = 3
    place = arena.place("single", steps)
    with arena.node():
        async with client_of(arena.cluster.kubeconfig) as client:
            ends = await finish_runs(client, place, sizes.single_runs, at_once=1, at_most_seconds=sizes.at_most_seconds)
    report.parts["single"] = {
        "runs": len(ends.ended),
        "latency_p50_seconds": percentile(ends.latencies(), 50),
        "latency_max_seconds": max(ends.latencies()),
    }
    assert_succeeded(ends.phases.values(), len(ends.asked))
    assert_each_step_had_one_job(place, len(ends.asked), steps)
    assert_within_budget(writes_by_run(place), ends, steps)


@pytest.mark.parametrize("steps", [1, 3])
async def test_many_runs_at_once_succeed_within_their_budget_of_writes(sizes: Sizes, arena: Arena, report: Report, steps: int) -> None:
    wanted = sizes.one_step_runs if steps == 1 else sizes.three_step_runs
    place = arena.place(f"throughput-{steps}", steps)
    with arena.node() as node_pid:
        settled(arena.operator.pid)
        before = arena.reading(node_pid)
        async with client_of(arena.cluster.kubeconfig) as client:
            ends = await finish_runs(client, place, wanted, at_once=sizes.at_once, at_most_seconds=sizes.at_most_seconds)
        settled(arena.operator.pid)
        after = arena.reading(node_pid)
    runs, used = len(ends.ended), after.since(before)
    writes = writes_by_run(place)
    report.parts["one_step" if steps == 1 else "three_steps"] = {
        "runs": runs,
        "at_once": sizes.at_once,
        "runs_per_minute": runs / ends.total_seconds() * 60,
        "latency_p50_seconds": percentile(ends.latencies(), 50),
        "latency_p99_seconds": percentile(ends.latencies(), 99),
        f"runs_over_{SLOW_SECONDS}_seconds": sum(seconds >= SLOW_SECONDS for seconds in ends.latencies()),
        "writes_per_run": sum(map(len, writes.values())) / runs,
        "operator_cpu_ms_per_run": used["operator"] / runs * 1000,
        "control_plane_cpu_ms_per_run": used["control_plane"] / runs * 1000,
        "operator_peak_rss_mb": peak_rss_bytes(arena.operator.pid) / 1e6,
        **{f"cores_used_by_{name}": seconds / (after.moment - before.moment) for name, seconds in used.items()},
    }
    assert_succeeded(ends.phases.values(), runs)
    assert_each_step_had_one_job(place, runs, steps)
    assert_within_budget(writes, ends, steps)


# ---------------------------------------------------------------------------------------------------------- recovery


def run_name_of(job: Object) -> str:
    return str(job["metadata"]["annotations"][names.ANNOTATION_RUN_NAME])


def wait_for_pods(place: Place, phase: str, count: int) -> None:
    def found() -> int:
        return len(place.cluster.api.list("pods", place.name, fieldSelector=f"status.phase={phase}"))

    wait_for(lambda: found() == count, LULL_SECONDS, what=lambda: f"{found()} of {count} pods are {phase}", poll_seconds=0.2)


async def test_after_a_kill_9_all_active_runs_go_on_and_no_job_runs_twice(sizes: Sizes, arena: Arena, report: Report) -> None:
    steps, runs = 3, sizes.active_runs
    place = arena.place("recovery", steps)
    ends, went_on = Ends(), dict[str, float]()

    def job_seen(event: str, job: Object) -> None:
        if event == "ADDED":
            went_on.setdefault(run_name_of(job), time.monotonic())

    async with client_of(arena.cluster.kubeconfig) as client:
        with arena.node(delay_seconds=_FOR_EVER):
            await create_runs(client, place, run_names_of(runs), ends)
            wait_for_pods(place, "Running", runs)
            arena.operator.kill9()
        with arena.node():
            wait_for_pods(place, "Succeeded", runs)
            async with following(client, RUNS, place.name, ends.told) as ending, following(client, JOBS, place.name, job_seen) as working:
                started = time.monotonic()
                arena.operator.start(ready=False)
                await working.until(lambda: len(went_on) == runs, LULL_SECONDS, lambda: f"{len(went_on)} of {runs} runs went on")
                await ending.until(lambda: len(ends.ended) == runs, LULL_SECONDS, lambda: f"{len(ends.ended)} of {runs} runs ended")
    report.parts["recovery"] = {
        "active_runs": runs,
        "first_new_job_seconds": min(went_on.values()) - started,
        "all_runs_go_on_seconds": max(went_on.values()) - started,
    }
    assert_succeeded(ends.phases.values(), runs)
    assert_each_step_had_one_job(place, runs, steps)
