"""Each Workflow is judged when the operator first sees it and when its spec has changed, whatever goes wrong, and not more often."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from backstay.handlers.workflows import Judge
from backstay.kube.client import Client
from backstay.kube.resources import WORKFLOWS
from tests.support.api import Object
from tests.support.fake_api import FakeApi
from tests.support.operating import eventually

GOOD = {"steps": [{"name": "a", "job": {"image": "i"}}]}
OTHER = {"steps": [{"name": "b", "job": {"image": "i"}}]}


def applied(api: FakeApi, spec: Object, generation: int = 1, **meta: Any) -> Object:
    before = api.objects.get(("workflows", "shop", "order"), {})
    metadata = {"name": "order", "namespace": "shop", "uid": "u", "generation": generation, **meta}
    return api.put("workflows", {**before, "metadata": metadata, "spec": spec})


def status(api: FakeApi) -> Object:
    return cast(Object, api.objects["workflows", "shop", "order"].get("status") or {})


@asynccontextmanager
async def judging(api: FakeApi) -> AsyncIterator[Judge]:
    """A judge that hears of Workflows as through kopf, until the block ends."""
    judge = Judge(cast(Client, api))

    async def hear() -> None:
        for workflow in (await api.list(WORKFLOWS)).items:
            judge.seen(None, workflow)
        async for event, workflow in api.watch(WORKFLOWS, resource_version=str(api.version)):
            judge.seen(event, workflow)

    tasks = [asyncio.create_task(judge.run()), asyncio.create_task(hear())]
    await asyncio.sleep(0)
    try:
        yield judge
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def api() -> FakeApi:
    return FakeApi(lambda job: None)


async def test_a_workflow_that_brings_the_records_of_another_is_judged_all_the_same(api: FakeApi) -> None:
    applied(api, GOOD, annotations={"backstay.dev/last-handled-configuration": "{}"})
    async with judging(api):
        await eventually(lambda: status(api).get("observedGeneration") == 1)
    assert status(api)["revision"]["number"] == 1


async def test_a_changed_workflow_is_judged_again_and_one_that_is_not_costs_no_write(api: FakeApi) -> None:
    applied(api, GOOD)
    async with judging(api):
        await eventually(lambda: status(api).get("observedGeneration") == 1)
        writes = len(api.writes)
        applied(api, GOOD, annotations={"of": "somebody"})
        applied(api, OTHER, generation=2)
        await eventually(lambda: status(api).get("observedGeneration") == 2)
        assert api.writes[writes:] == [("create", "controllerrevisions"), ("patch", "workflows")]
    async with judging(api) as another:
        await eventually(lambda: another._judged)
        assert len(api.writes) == writes + 2, "the next operator finds nothing to write"


@pytest.mark.parametrize("fault", ["conflict", "unavailable", "busy", "quota", "lost"])
async def test_what_went_wrong_is_tried_again(api: FakeApi, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    api.fault = lambda number, verb, plural: fault if number == 1 else None
    applied(api, GOOD)
    async with judging(api) as judge:
        await eventually(lambda: len(api.writes) == 2)
        if fault == "conflict":
            # Somebody else was faster: the newer version comes through the watch.
            judge.seen("MODIFIED", applied(api, GOOD, labels={"x": "y"}))
        await eventually(lambda: status(api).get("observedGeneration") == 1)
    assert ("trying again" in caplog.text) == (fault != "conflict")


async def test_one_that_is_gone_is_forgotten(api: FakeApi) -> None:
    judge = Judge(cast(Client, api))
    workflow = applied(api, GOOD)
    judge.seen("ADDED", workflow)
    judge.seen("DELETED", workflow)
    assert (judge._newest, judge._judged) == ({}, {})
