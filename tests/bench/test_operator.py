"""How fast the operator is and what it costs, on the real control plane with pods that end at once. Told are times; asserted are counts only."""

import time
from collections import Counter

import pytest

from backstay import names
from backstay.kube.resources import JOBS, PODS, RUNS
from tests.bench.arena import Arena, assert_each_step_had_one_job, assert_succeeded, assert_within_budget, writes_by_run
from tests.bench.figures import Report
from tests.bench.jobs_alone import bare, jobs_alone
from tests.bench.load import LULL_SECONDS, Ends, Following, client_of, create_runs, following, run_names_of
from tests.bench.machine import peak_rss_bytes
from tests.bench.record import Record
from tests.bench.sizes import Sizes
from tests.bench.throughput import many_at_once, one_at_a_time
from tests.support.api import Object

pytestmark = [pytest.mark.bench, pytest.mark.timeout(0)]

_FOR_EVER = 3600.0


async def test_runs_one_at_a_time_end_as_soon_as_may_be(sizes: Sizes, arena: Arena, report: Report) -> None:
    steps = 3
    place = arena.place("single", steps)
    with arena.node():
        ends, report.parts["single"] = await one_at_a_time(arena.measured, place, sizes)
    assert_succeeded(ends.phases.values(), len(ends.asked))
    assert_each_step_had_one_job(place, len(ends.asked), steps)
    assert_within_budget(writes_by_run(place), ends, steps)


@pytest.mark.parametrize("steps", [1, 3])
async def test_many_runs_at_once_succeed_within_their_budget_of_writes(sizes: Sizes, arena: Arena, report: Report, steps: int) -> None:
    wanted = sizes.one_step_runs if steps == 1 else sizes.three_step_runs
    place = arena.place(f"throughput-{steps}", steps)
    yardstick = arena.cluster.place(f"alone-{steps}")
    part = "one_step" if steps == 1 else "three_steps"
    with arena.node() as node_pid:
        ends, figures = await many_at_once(arena.measured, place, node_pid, wanted, sizes)
        alone = await jobs_alone(arena.measured, yardstick, node_pid, [bare(job) for job in place.jobs("run-0")], wanted, sizes)
    share = figures["runs_per_minute"] / alone["runs_per_minute"] * 100
    report.parts[part] = {**figures, "share_of_jobs_alone_percent": share}
    report.parts[f"jobs_alone_{part}"] = alone
    assert Record.of(arena.cluster.audit_log, yardstick.name).pods == alone["runs"] * steps
    assert_succeeded(ends.phases.values(), len(ends.asked))
    assert_each_step_had_one_job(place, len(ends.asked), steps)
    assert_within_budget(writes_by_run(place), ends, steps)


# ---------------------------------------------------------------------------------------------------------- recovery


def run_name_of(job: Object) -> str:
    return str(job["metadata"]["annotations"][names.ANNOTATION_RUN_NAME])


class Pods:
    """The phases of pods, as a watch tells them."""

    def __init__(self) -> None:
        self._phases: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def told(self, event: str, pod: Object) -> None:
        """Hear of a change of a pod."""
        name, phase = pod["metadata"]["name"], pod["status"]["phase"]
        self._counts[self._phases.get(name, "")] -= 1
        self._counts[phase] += 1
        self._phases[name] = phase

    async def are(self, phase: str, count: int, watch: Following) -> None:
        """Wait until so many are in a phase."""
        await watch.until(lambda: self._counts[phase] == count, LULL_SECONDS, self.__str__, progress=lambda: self._counts[phase])

    def __str__(self) -> str:
        return f"pods by phase: {dict(+self._counts)}"


async def test_after_a_kill_9_all_active_runs_go_on_and_no_job_runs_twice(sizes: Sizes, arena: Arena, report: Report) -> None:
    steps, runs = 3, sizes.active_runs
    place = arena.place("recovery", steps)
    ends, pods, went_on = Ends(), Pods(), dict[str, float]()

    def job_seen(event: str, job: Object) -> None:
        if event == "ADDED":
            went_on.setdefault(run_name_of(job), time.monotonic())

    async with client_of(arena.cluster.kubeconfig) as client:
        async with following(client, PODS, place.name, pods.told) as watch:
            with arena.node(delay_seconds=_FOR_EVER):
                await create_runs(client, place, run_names_of(runs), ends)
                await pods.are("Running", runs, watch)
                arena.operator.kill9()
            with arena.node():
                await pods.are("Succeeded", runs, watch)
        with arena.node():
            async with following(client, RUNS, place.name, ends.told) as ending, following(client, JOBS, place.name, job_seen) as working:
                started = time.monotonic()
                arena.operator.start(ready=False)
                told = f"of {runs} runs so many went on: "
                await working.until(lambda: len(went_on) == runs, LULL_SECONDS, lambda: f"{told}{len(went_on)}", lambda: len(went_on))
                await ending.until(lambda: not ends.under_way, LULL_SECONDS, ends.__str__, progress=lambda: len(ends.ended))
    report.parts["recovery"] = {
        "active_runs": runs,
        "first_new_job_seconds": min(went_on.values()) - started,
        "all_runs_go_on_seconds": max(went_on.values()) - started,
        "operator_peak_rss_mb": peak_rss_bytes(arena.operator.pid) / 1e6,
    }
    assert_succeeded(ends.phases.values(), runs)
    assert_each_step_had_one_job(place, runs, steps)
