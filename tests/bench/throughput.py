"""One load for whoever takes it: runs one at a time, and as many as there is room for. The same for us and for a peer."""

from collections.abc import Sequence
from contextlib import suppress

from tests.bench.arena import SLOW_SECONDS, Measured, costs, reading
from tests.bench.figures import Figures, percentile
from tests.bench.load import Ends, client_of, finish_runs
from tests.bench.machine import peak_rss_bytes, settled
from tests.bench.record import Record
from tests.bench.sizes import Sizes
from tests.support.cluster import Place


async def one_at_a_time(measured: Measured, place: Place, sizes: Sizes) -> tuple[Ends, Figures]:
    """Have runs made one after the other; a node must be there. Returns when each ended, and the figures."""
    async with client_of(measured.control_plane.kubeconfig) as client:
        ends = await finish_runs(client, place, sizes.single_runs, at_once=1, at_most_seconds=sizes.at_most_seconds, kind=measured.kind)
    return ends, {
        "runs": len(ends.ended),
        "latency_p50_seconds": percentile(ends.latencies(), 50),
        "latency_max_seconds": max(ends.latencies()),
    }


async def many_at_once(measured: Measured, place: Place, node_pid: int, wanted: int, sizes: Sizes) -> tuple[Ends, Figures]:
    """Keep a number of runs under way until `wanted` have ended. Returns when each ended, and the figures with what they cost."""
    _settle(measured.pids)
    before = reading(measured, node_pid)
    async with client_of(measured.control_plane.kubeconfig) as client:
        ends = await finish_runs(client, place, wanted, at_once=sizes.at_once, at_most_seconds=sizes.at_most_seconds, kind=measured.kind)
    _settle(measured.pids)
    after = reading(measured, node_pid)
    runs = len(ends.ended)
    record = Record.of(place.cluster.audit_log, place.name, measured.agent)
    return ends, {
        "runs": runs,
        "at_once": sizes.at_once,
        "runs_per_minute": runs / ends.total_seconds() * 60,
        "latency_p50_seconds": percentile(ends.latencies(), 50),
        "latency_p99_seconds": percentile(ends.latencies(), 99),
        f"runs_over_{SLOW_SECONDS}_seconds": sum(seconds >= SLOW_SECONDS for seconds in ends.latencies()),
        "writes_per_run": sum(count for run, count in record.writes.items() if run) / runs,
        "operator_peak_rss_mb": sum(map(peak_rss_bytes, measured.pids)) / 1e6,
        **costs(after, before, runs),
        **_gaps(record),
    }


def _settle(pids: Sequence[int]) -> None:
    # A peer that never rests is measured as it is.
    with suppress(AssertionError):
        for pid in pids:
            settled(pid)


def _gaps(record: Record) -> Figures:
    """How long after the end of a step the next Job was there, where there were such steps."""
    seconds = [gap for _, gap in record.gaps]
    if not seconds:
        return {}
    return {"step_end_to_next_job_p50_seconds": percentile(seconds, 50), "step_end_to_next_job_p99_seconds": percentile(seconds, 99)}
