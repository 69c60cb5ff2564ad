"""What applying a Workflow leads to: its judgement, and an immutable revision."""

from typing import Any, cast

import pytest

from backstay.handlers.workflows import status_of
from backstay.kube.client import Client
from tests.support.fake_api import FakeApi

GOOD = {"steps": [{"name": "a", "job": {"image": "i"}}]}
OTHER = {"steps": [{"name": "b", "job": {"image": "i"}}]}
BAD = {"steps": [{"name": "a", "set": {"x": "${ steps.nope.outputs.y }"}}]}


def workflow(spec: dict[str, Any], name: str = "order", status: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": name, "generation": 4}, "spec": spec, "status": status or {}}


async def judged(api: FakeApi, spec: dict[str, Any], name: str = "order", status: dict[str, Any] | None = None) -> dict[str, Any]:
    return await status_of(cast(Client, api), workflow(spec, name, status))


@pytest.fixture
def api() -> FakeApi:
    return FakeApi(lambda job: None)


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in status["conditions"] if item["type"] == kind)
    return found


async def test_a_valid_workflow_is_ready_with_its_first_revision(api: FakeApi) -> None:
    status = await judged(api, GOOD)
    assert status["revision"]["number"] == 1
    assert (condition(status, "Valid")["status"], condition(status, "Ready")["message"]) == ("True", "new runs use revision 1")
    assert status["observedGeneration"] == 4
    assert [revision["data"] for revision in api.all("controllerrevisions")] == [GOOD]


async def test_applying_it_again_makes_no_other_revision(api: FakeApi) -> None:
    first = await judged(api, GOOD)
    assert (await judged(api, GOOD, status=first))["revision"] == first["revision"]
    assert len(api.all("controllerrevisions")) == 1


async def test_a_change_makes_the_next_revision_and_going_back_finds_the_old_one(api: FakeApi) -> None:
    numbers = [(await judged(api, spec))["revision"]["number"] for spec in (GOOD, OTHER, GOOD)]
    assert numbers == [1, 2, 1]


async def test_workflows_do_not_share_revisions(api: FakeApi) -> None:
    assert (await judged(api, GOOD, "order"))["revision"]["name"] != (await judged(api, GOOD, "invoice"))["revision"]["name"]


async def test_an_invalid_workflow_is_told_with_path_and_mend_and_keeps_its_last_good_revision(api: FakeApi) -> None:
    good = await judged(api, GOOD)
    status = await judged(api, BAD, status=good)
    valid = condition(status, "Valid")
    assert (valid["status"], valid["reason"], status["revision"]) == ("False", "Invalid", good["revision"])
    assert "steps[0].set.x" in valid["message"]
    assert "nope" in valid["message"]
    assert condition(status, "Ready")["status"] == "False"


async def test_a_condition_keeps_its_time_while_it_keeps_its_status(api: FakeApi) -> None:
    first = await judged(api, GOOD)
    for item in first["conditions"]:
        item["lastTransitionTime"] = "2020-01-01T00:00:00Z"
    again = await judged(api, OTHER, status=first)
    assert condition(again, "Valid")["lastTransitionTime"] == "2020-01-01T00:00:00Z"
    assert condition(await judged(api, BAD, status=again), "Valid")["lastTransitionTime"] != "2020-01-01T00:00:00Z"
