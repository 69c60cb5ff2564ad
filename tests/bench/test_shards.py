"""Throughput of several operators that share the runs, and what the API server takes of the machine meanwhile. Told are times; asserted are counts only."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from tests.bench.arena import Arena, Measured, MeasuredOperator, assert_each_step_had_one_job, assert_succeeded
from tests.bench.figures import Report
from tests.bench.load import OURS
from tests.bench.record import AGENT
from tests.bench.sizes import Sizes
from tests.bench.throughput import many_at_once
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.bench, pytest.mark.timeout(0)]

STEPS = 3
_SHARE_OUT_SECONDS = 60


@contextmanager
def operators(arena: Arena, count: int) -> Iterator[Sequence[MeasuredOperator]]:
    """Have so many operators in place of the arena's own, a shard each; none is in charge of nothing."""
    arena.operator.kill9()
    with ExitStack() as stack:
        started: list[MeasuredOperator] = []
        for number in range(count):
            folder = arena.cluster.folder / f"shards-{count}-{number}"
            folder.mkdir()
            environment = {"BACKSTAY_SHARDS": str(count), "BACKSTAY_IDENTITY": f"bench-{count}-{number}"}
            operator = MeasuredOperator(arena.cluster.kubeconfig, folder, environment)
            stack.callback(operator.kill9)
            operator.start(ready=False)
            started.append(operator)

        def held() -> list[float]:
            return [operator.metric("backstay_shards_held") for operator in started]

        for operator in started:
            wait_for(lambda operator=operator: operator.answers, _SHARE_OUT_SECONDS, what="no metrics are served")
        wait_for(lambda: held() == [1.0] * count, _SHARE_OUT_SECONDS, what=lambda: f"shards held: {held()}", poll_seconds=0.2)
        yield started
    arena.operator.start()


async def test_runs_that_are_spread_over_several_operators_succeed_with_one_job_a_step(
    sizes: Sizes, own_arena: Arena, report: Report
) -> None:
    arena = own_arena
    for count in sizes.shards:
        with operators(arena, count) as working, arena.node() as node_pid:
            place = arena.place(f"shards-{count}", STEPS)
            measured = Measured([operator.pid for operator in working], OURS, AGENT, arena.control_plane)
            ends, figures = await many_at_once(measured, place, node_pid, sizes.three_step_runs, sizes)
        report.parts[f"shards_{count}"] = {"operators": count, **figures}
        assert_succeeded(ends.phases.values(), len(ends.asked))
        assert_each_step_had_one_job(place, len(ends.asked), STEPS)
