"""Runs that come at a steady rate for a long time: what a sustained load and a soak have in common."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from backstay.kube.client import Client
from tests.bench.arena import Arena, costs
from tests.bench.figures import Figures, percentile
from tests.bench.load import LULL_SECONDS, OURS, Ends, Kind, Object, arrive, client_of, following, run_of
from tests.bench.machine import Reading, peak_rss_bytes
from tests.bench.record import Record
from tests.bench.sampling import Samples, of_process, sampling
from tests.support.cluster import Place

STEPS: Final = 3


@dataclass(frozen=True)
class Rate:
    """A load: so many runs of three steps a minute, so that in the long run so many are under way at a time (Little's law)."""

    per_minute: int
    active: int
    minutes: int
    ttl: str = ""
    """How long a run is kept once it has succeeded."""

    @property
    def step_seconds(self) -> float:
        """How long each step takes."""
        return self.active / self.per_minute * 60 / STEPS

    @property
    def ramp_seconds(self) -> float:
        """How long it takes until the first runs end, and as many end as begin."""
        return STEPS * self.step_seconds

    @property
    def seconds(self) -> float:
        """How long runs come."""
        return self.ramp_seconds + self.minutes * 60

    @property
    def runs(self) -> int:
        """How many there are in all."""
        return round(self.seconds * self.per_minute / 60)

    @property
    def kind(self) -> Kind:
        """What is created for a run."""
        return Kind(OURS.resource, self._manifest, OURS.phase_at_end)

    def _manifest(self, name: str) -> Object:
        run = run_of("w", name)
        return {**run, "spec": {**run["spec"], "ttl": {"succeeded": self.ttl}}} if self.ttl else run


@dataclass(frozen=True)
class Load:
    """A load that is over: its ends, its samples, what was used from the end of the ramp until the last run came, and the server's record."""

    rate: Rate
    ends: Ends
    samples: Samples
    before: Reading
    after: Reading
    record: Record
    peak_rss_bytes: int

    def figures(self) -> Figures:
        """Return what is to be told of the time after the ramp."""
        first, last = self.rate.ramp_seconds, self.rate.seconds
        begun = min(self.ends.asked.values())
        ended = sorted(moment - begun for moment in self.ends.ended.values() if first <= moment - begun <= last)
        active = self.samples.between("active", first, last)
        since = min(moment for moment, _ in self.record.gaps) - self.rate.step_seconds
        gaps = [gap for moment, gap in self.record.gaps if first <= moment - since <= last]
        late = [self.ends.latency(name) - self.rate.ramp_seconds for name in self.ends.ended]
        assert len(ended) > 1, f"the load was over before runs ended: {self.ends}"
        right = sum(phase == "Succeeded" for phase in self.ends.phases.values()) / len(self.ends.asked)
        return {
            "runs": len(self.ends.asked),
            "runs_that_succeeded_percent": right * 100,
            "asked_per_minute": self.rate.per_minute,
            "ended_per_minute": (len(ended) - 1) / (ended[-1] - ended[0]) * 60,
            "active_wanted": self.rate.active,
            "active_least": min(active),
            "active_most": max(active),
            "step_end_to_next_job_p50_seconds": percentile(gaps, 50),
            "step_end_to_next_job_p99_seconds": percentile(gaps, 99),
            "step_end_to_next_job_max_seconds": max(gaps),
            "added_to_a_run_p50_seconds": percentile(late, 50),
            "added_to_a_run_p99_seconds": percentile(late, 99),
            "writes_per_run": sum(count for run, count in self.record.writes.items() if run) / len(self.ends.asked),
            "operator_peak_rss_mb": self.peak_rss_bytes / 1e6,
            **costs(self.after, self.before, len(ended)),
        }


async def carry(arena: Arena, place: Place, rate: Rate, *, every_seconds: float) -> Load:
    """Have runs come as `rate` says, and wait until all have ended; sampled on the way."""
    ends = Ends(kind=rate.kind)
    readings: list[Reading] = []

    def look() -> dict[str, float]:
        operator = arena.operator
        return {
            **of_process(operator.pid),
            "active": ends.under_way,
            "queue_depth": operator.metric("backstay_queue_depth"),
            "cpu_seconds": arena.reading(node_pid).groups["operator"],
        }

    with arena.node() as node_pid:
        async with (
            client_of(arena.cluster.kubeconfig) as client,
            following(client, OURS.resource, place.name, ends.told) as watch,
            sampling(every_seconds, look) as samples,
            arriving(client, place, rate, ends) as task,
        ):
            await asyncio.sleep(rate.ramp_seconds)
            readings.append(arena.reading(node_pid))
            await task
            readings.append(arena.reading(node_pid))
            lull = rate.step_seconds + LULL_SECONDS
            await watch.until(lambda: not ends.under_way, lull, ends.__str__, progress=lambda: len(ends.ended))
    record = Record.of(place.cluster.audit_log, place.name)
    peak = peak_rss_bytes(arena.operator.pid)
    return Load(rate, ends, samples, *readings, record, peak)


@asynccontextmanager
async def arriving(client: Client, place: Place, rate: Rate, ends: Ends) -> AsyncIterator["asyncio.Task[None]"]:
    """Have runs come beside the block; gives the task that ends when the last one has come."""
    task = asyncio.create_task(arrive(client, place, per_minute=rate.per_minute, seconds=rate.seconds, ends=ends))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
