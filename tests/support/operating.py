"""The real operator on a modelled API server: started, killed at any call, started again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, cast

from backstay import names
from backstay.kube.client import Client
from backstay.observe.metrics import Metrics
from backstay.runtime.operator import Operator
from backstay.runtime.reconciler import utc_now
from backstay.settings import Settings
from tests.support.fake_api import FakeApi, Outcome

LIMIT_SECONDS = 20.0


@asynccontextmanager
async def operating(api: FakeApi, *, hears: bool = True, now: Callable[[], datetime] = utc_now, **settings: Any) -> AsyncIterator[Operator]:
    """An operator, until the block ends; then it is gone as after a kill -9: nothing more is called.

    It takes no Lease, so that two of them work at the same time, as they do where one has lost its Lease and does not know it yet.
    One that does not hear begins without a list of runs, where `api.silent` keeps it from it, and knows those only that a test tells it of.
    """
    operator = Operator(cast(Client, api), Settings(**({"shards": 0} | settings)), Metrics(), now=now)
    await operator.start()
    for informer in () if hears else operator.runs.informers():
        informer.synced.set()
    try:
        yield operator
    finally:
        await operator.stop()


@asynccontextmanager
async def working(api: FakeApi, **settings: Any) -> AsyncIterator[Operator]:
    """An operator that knows the Workflows."""
    async with operating(api, **settings) as operator:
        for workflow in api.all("workflows"):
            operator.workflow_seen(None, workflow)
        yield operator


def define(api: FakeApi, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A Workflow is there, and was judged."""
    label = {names.LABEL_WORKFLOW: name, names.LABEL_MANAGED_BY: names.MANAGER}
    made = {"name": f"{name}-1", "namespace": "shop", "uid": f"rev-{name}", "labels": label, "creationTimestamp": "2099-01-01T00:00:00Z"}
    api.put("controllerrevisions", {"metadata": made, "revision": 1, "data": spec})
    valid = {"type": "Valid", "status": "True", "message": ""}
    status = {"observedGeneration": 1, "revision": {"name": f"{name}-1", "number": 1}, "conditions": [valid]}
    meta = {"name": name, "namespace": "shop", "uid": f"wf-{name}", "generation": 1}
    return api.put("workflows", {"metadata": meta, "spec": spec, "status": status})


async def eventually(holds: Callable[[], object], what: str = "", limit_seconds: float = LIMIT_SECONDS) -> None:
    """Wait until something holds; fail after the limit."""
    async with asyncio.timeout(limit_seconds):
        while not holds():
            await asyncio.sleep(0.001)


def ended(api: FakeApi, name: str = "r1") -> bool:
    """Tell whether a run is finished, or gone, and nothing of ours holds it."""
    run = api.run(name)
    return run is None or (bool((run.get("status") or {}).get("finishedAt")) and not run["metadata"].get("finalizers"))


async def survive(api: FakeApi, over: Callable[[], object], **settings: Any) -> None:
    """Have the work done until it is over. Where the operator dies at a call, as `api.fault` may have it, another one goes on."""
    async with working(api, **settings):
        await eventually(lambda: over() or api.hung.is_set())
    if not over():
        async with working(api, **settings):
            await eventually(over)


async def run_through(outcome: Outcome, spec: dict[str, Any], fault: str | None, at: int) -> FakeApi:
    """Bring a run to its end with a fault at its call number `at`, whose Jobs end as `outcome` says."""
    api = FakeApi(outcome)
    api.fault = lambda number, verb, plural: fault if number == at else None
    api.apply_run({"workflow": {"inline": spec}})
    await survive(api, lambda: ended(api))
    return api
