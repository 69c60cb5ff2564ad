"""The real operator on a modelled API server: started, killed at any call, started again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from backstay.kube.client import Client
from backstay.kube.resources import RUNS
from backstay.observe.metrics import Metrics
from backstay.runtime.operator import Operator
from backstay.settings import Settings
from tests.support.fake_api import SELECTED, FakeApi

LIMIT_SECONDS = 20.0


@asynccontextmanager
async def operating(api: FakeApi, *, hears: bool = True, **settings: Any) -> AsyncIterator[Operator]:
    """An operator that hears of runs as through kopf, until the block ends; then it is gone as after a kill -9: nothing more is called."""
    operator = Operator(cast(Client, api), Settings(**settings), Metrics())
    hearing = asyncio.create_task(_hear(api, operator) if hears else asyncio.sleep(0))
    await operator.start()
    try:
        yield operator
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
        await operator.stop()


async def _hear(api: FakeApi, operator: Operator) -> None:
    page = await api.list(RUNS)
    for run in page.items:
        _tell(operator, None, run)
    async for event, run in api.watch(RUNS, resource_version=page.resource_version):
        _tell(operator, event, run)


def _tell(operator: Operator, event: str | None, run: dict[str, Any]) -> None:
    """The server's field selector leaves finished runs out: they come as deleted."""
    finished = (run.get("status") or {}).get("phase") in SELECTED
    if finished and event is not None:
        operator.run_seen("DELETED", run)
    elif not finished:
        operator.run_seen(event, run)


async def eventually(holds: Callable[[], object], what: str = "", limit_seconds: float = LIMIT_SECONDS) -> None:
    """Wait until something holds; fail after the limit."""
    async with asyncio.timeout(limit_seconds):
        while not holds():
            await asyncio.sleep(0.001)


def ended(api: FakeApi, name: str = "r1") -> bool:
    """Tell whether a run is finished, or gone, and nothing of ours holds it."""
    run = api.run(name)
    return run is None or (bool((run.get("status") or {}).get("finishedAt")) and not run["metadata"].get("finalizers"))
