"""The yardstick of a machine: the Jobs of so many runs without a workflow engine, one after the other, made as soon as the pod before has succeeded.

Nothing is decided, written down or remembered, so no engine that works with Jobs can be faster on this machine at this hour. Figures of two
machines, or of two hours of a busy one, can be compared by their share of it.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from backstay import names
from backstay.kube.client import Client
from backstay.kube.resources import JOBS, PODS
from tests.bench.arena import Measured, costs, reading
from tests.bench.figures import Figures, percentile
from tests.bench.load import LULL_SECONDS, Ends, client_of, following, run_names_of
from tests.bench.sizes import Sizes
from tests.support.cluster import Place

Object = dict[str, Any]

_CHAIN: Final = "bench.backstay.dev/chain"
_KUBERNETES: Final = ("batch.kubernetes.io/", "controller-uid", "job-name")


def bare(job: Mapping[str, Any]) -> Object:
    """Return a Job as somebody without an operator would make it: its own spec, without what the API server and the operator added to it."""
    template = job["spec"]["template"]
    spec = {key: value for key, value in job["spec"].items() if key not in ("selector", "template")}
    kept = {**template, "metadata": {**template["metadata"], "labels": _foreign(template["metadata"].get("labels", {}))}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {}, "spec": {**spec, "template": kept}}


def _foreign(labels: Mapping[str, str]) -> Object:
    return {key: value for key, value in labels.items() if not key.startswith((*_KUBERNETES, names.GROUP))}


class Chains:
    """Jobs in rows: `told` hears of pods, and the next Job of a row is made when the pod of the one before has succeeded."""

    def __init__(self, client: Client, place: Place, jobs: Sequence[Object]) -> None:
        self.ends = Ends()
        self._client = client
        self._place = place
        self._jobs = jobs
        self._reached: dict[str, int] = {}
        self._making: set[asyncio.Task[None]] = set()

    def begin(self, name: str) -> None:
        """Begin a row."""
        self.ends.asked[name] = time.monotonic()
        self._reached[name] = 0
        self._make(name)

    def told(self, event: str, pod: Object) -> None:
        """Hear of a change of a pod."""
        name, place = pod["metadata"]["labels"][_CHAIN].rsplit(".", 1)
        if pod.get("status", {}).get("phase") != "Succeeded" or int(place) != self._reached.get(name):
            return
        self._reached[name] += 1
        if self._reached[name] < len(self._jobs):
            self._make(name)
        else:
            self.ends.ended[name] = time.monotonic()
            self.ends.phases[name] = "Succeeded"

    def _make(self, name: str) -> None:
        # A task is kept until it is done: asyncio itself does not.
        task = asyncio.create_task(self._create(name, self._reached[name]))
        self._making.add(task)
        task.add_done_callback(self._making.discard)

    async def _create(self, name: str, number: int) -> None:
        job = self._jobs[number]
        template = job["spec"]["template"]
        labels = {**template["metadata"]["labels"], _CHAIN: f"{name}.{number}"}
        marked = {**template, "metadata": {**template["metadata"], "labels": labels}}
        meta = {"name": f"{name}-{number}"}
        await self._client.create(JOBS, self._place.name, {**job, "metadata": meta, "spec": {**job["spec"], "template": marked}})


async def jobs_alone(measured: Measured, place: Place, node_pid: int, jobs: Sequence[Object], wanted: int, sizes: Sizes) -> Figures:
    """Keep as many rows of these Jobs under way as there are runs in `many_at_once`, until `wanted` have ended; `place` holds nothing else."""
    before = reading(measured, node_pid)
    waiting = run_names_of(wanted)
    deadline = time.monotonic() + sizes.at_most_seconds
    async with client_of(measured.control_plane.kubeconfig) as client:
        chains = Chains(client, place, jobs)
        ends = chains.ends
        async with following(client, PODS, place.name, chains.told) as watch:
            while waiting and time.monotonic() < deadline:
                await watch.until(lambda: ends.under_way < sizes.at_once, LULL_SECONDS, ends.__str__)
                chains.begin(waiting.pop(0))
            await watch.until(lambda: not ends.under_way, LULL_SECONDS, ends.__str__, progress=lambda: len(ends.ended))
    used = costs(reading(measured, node_pid), before, len(ends.ended))
    return {
        "runs": len(ends.ended),
        "at_once": sizes.at_once,
        "runs_per_minute": len(ends.ended) / ends.total_seconds() * 60,
        "latency_p50_seconds": percentile(ends.latencies(), 50),
        "latency_p99_seconds": percentile(ends.latencies(), 99),
        **{name: value for name, value in used.items() if not name.startswith(("operator", "cores_used_by_operator"))},
    }
