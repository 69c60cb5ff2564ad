"""How a run finds its workflow: by name, by revision, inline; and what happens while there is none."""

from typing import Any, cast

import pytest

from backstay.handlers.workflows import status_of
from backstay.kube.client import Client
from backstay.runtime import pending
from backstay.runtime.operator import Operator
from tests.support.fake_api import FakeApi
from tests.support.operating import ended, eventually, operating

ONE = {"steps": [{"name": "a", "job": {"image": "i"}}]}
TWO = {"steps": [{"name": "b", "job": {"image": "i"}}]}
BAD = {"steps": [{"name": "a", "set": {"x": "${ params.nope }"}}]}


@pytest.fixture
def api() -> FakeApi:
    return FakeApi(lambda job: (0, ""))


async def apply(api: FakeApi, operator: Operator, spec: dict[str, Any], name: str = "order") -> None:
    """What kopf's handlers do when a Workflow is applied."""
    body = {"metadata": {"namespace": "shop", "name": name, "generation": 1}, "spec": spec}
    body["status"] = await status_of(cast(Client, api), body)
    operator.workflow_seen("MODIFIED", api.put("workflows", body))


def status(api: FakeApi) -> dict[str, Any]:
    return cast(dict[str, Any], (api.run() or {}).get("status") or {})


def made(api: FakeApi) -> list[str]:
    return [job["metadata"]["annotations"]["backstay.dev/path"] for job in api.all("jobs")]


async def test_a_run_is_pinned_to_the_newest_revision_and_stays_with_it(api: FakeApi) -> None:
    api.outcome = lambda job: None
    api.apply_run({"workflow": {"name": "order"}})
    async with operating(api) as operator:
        await apply(api, operator, ONE)
        await eventually(lambda: api.created)
        await apply(api, operator, TWO)
    api.outcome = lambda job: (0, "")
    api.finish(api.all("jobs")[0])
    async with operating(api) as operator:
        await apply(api, operator, TWO)
        await eventually(lambda: ended(api))
    assert (status(api)["revision"]["number"], made(api), status(api)["phase"]) == (1, ["a"], "Succeeded")


async def test_a_run_can_ask_for_an_older_revision(api: FakeApi) -> None:
    async with operating(api) as operator:
        await apply(api, operator, ONE)
        await apply(api, operator, TWO)
        api.apply_run({"workflow": {"name": "order", "revision": 1}})
        await eventually(lambda: ended(api))
    assert made(api) == ["a"]


async def test_a_revision_that_is_not_there_is_told_with_those_that_are(api: FakeApi) -> None:
    async with operating(api) as operator:
        await apply(api, operator, ONE)
        api.apply_run({"workflow": {"name": "order", "revision": 9}})
        await eventually(lambda: ended(api))
    assert (status(api)["error"]["type"], api.all("jobs")) == ("WorkflowNotFound", [])
    assert 'spec.workflow.revision: Workflow "order" has no revision 9; there are: 1' in status(api)["error"]["detail"]


async def test_a_run_of_an_invalid_workflow_fails_at_once_and_says_what_is_wrong(api: FakeApi) -> None:
    async with operating(api) as operator:
        await apply(api, operator, BAD)
        api.apply_run({"workflow": {"name": "order"}})
        await eventually(lambda: ended(api))
    assert status(api)["error"]["type"] == "InvalidWorkflow"
    assert "steps[0].set.x" in status(api)["error"]["detail"]


async def test_an_invalid_inline_definition_fails_at_once(api: FakeApi) -> None:
    api.apply_run({"workflow": {"inline": BAD}})
    async with operating(api):
        await eventually(lambda: ended(api))
    assert status(api)["error"]["type"] == "InvalidWorkflow"


async def test_a_run_that_waits_for_its_workflow_says_so_and_goes_on_when_it_comes(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "PATIENCE_SECONDS", 0.01)
    api.apply_run({"workflow": {"name": "order"}})
    async with operating(api) as operator:
        await eventually(lambda: status(api).get("conditions"))
        assert status(api)["status"] == "Pending"
        assert 'there is no Workflow "order" in namespace "shop"' in status(api)["conditions"][0]["message"]
        await apply(api, operator, ONE)
        await eventually(lambda: ended(api))
    assert status(api)["phase"] == "Succeeded"


async def test_a_run_does_not_wait_for_ever(api: FakeApi) -> None:
    api.apply_run({"workflow": {"name": "order"}})
    async with operating(api, missing_workflow_seconds=0.05):
        await eventually(lambda: ended(api))
    assert status(api)["error"]["type"] == "WorkflowNotFound"
    assert {item["type"]: item["status"] for item in status(api)["conditions"]}["Complete"] == "True"


async def test_a_run_whose_workflow_is_there_waits_however_far_the_operator_is_behind_with_looking_at_it(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "PATIENCE_SECONDS", 0.1)
    async with operating(api, missing_workflow_seconds=0.01) as operator:
        workflow = {"metadata": {"name": "order", "namespace": "shop", "generation": 1}, "spec": ONE}
        operator.workflow_seen("ADDED", api.put("workflows", workflow))
        api.apply_run({"workflow": {"name": "order"}})
        await eventually(lambda: status(api).get("conditions"))
        assert 'Workflow "order" has not been looked at yet' in status(api)["conditions"][0]["message"]
        await apply(api, operator, ONE)
        await eventually(lambda: ended(api))
    assert status(api)["phase"] == "Succeeded"


async def test_deleting_a_workflow_leaves_its_live_runs_to_finish(api: FakeApi) -> None:
    api.outcome = lambda job: None
    async with operating(api) as operator:
        await apply(api, operator, ONE)
        api.apply_run({"workflow": {"name": "order"}})
        await eventually(lambda: api.created)
    api.outcome = lambda job: (0, "")
    api.finish(api.all("jobs")[0])
    async with operating(api):
        await eventually(lambda: ended(api))
    assert status(api)["phase"] == "Succeeded"


async def test_a_run_whose_own_spec_cannot_be_read_fails_at_once_with_its_path(api: FakeApi) -> None:
    api.apply_run({"workflow": {"inline": ONE}, "timeout": "365000d"})
    async with operating(api):
        await eventually(lambda: ended(api))
    assert (status(api)["error"]["type"], api.created) == ("InvalidRun", [])
    assert 'spec.timeout: "365000d" is longer than ten years' in status(api)["error"]["detail"]
