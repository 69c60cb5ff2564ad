"""How runs come to the operator and leave it: by an informer of its own, and nothing of them stays behind."""

from typing import Any

import pytest

from backstay.errors import NotFound
from backstay.runtime.operator import Operator
from backstay.runtime.reconciler import Reconciler
from backstay.runtime.view import version_of
from tests.support.fake_api import FakeApi
from tests.support.operating import ended, eventually, operating
from tests.support.virtual_time import virtually

STEPS = 4
WORK = {"workflow": {"inline": {"steps": [{"name": f"s{number}", "job": {"image": "ok"}} for number in range(STEPS)]}}}


def succeeding() -> FakeApi:
    return FakeApi(lambda job: (0, '{"v": 1}'))


def kept(operator: Operator) -> dict[str, int]:
    """What the operator keeps: runs, and what its informers know of runs, Jobs and Pods."""
    of_runs = {name: len(informer) for name, informer in operator.informers() if name in ("workflowruns", "jobs", "pods")}
    pictures = sum(len(watch._pictures) for watch in operator.jobs.watches.values())
    return {"known": len(operator.store), "pictures": pictures, **of_runs}


async def test_nothing_is_kept_of_runs_that_have_ended_nor_of_their_jobs_which_are_there_yet() -> None:
    api = succeeding()
    async with operating(api) as operator:
        for number in range(5):
            api.apply_run(WORK, f"r{number}")
        await eventually(lambda: all(ended(api, f"r{number}") for number in range(5)))
        await eventually(lambda: not any(kept(operator).values()))
        for job in api.all("jobs"):  # the Job controller has a last word on each of them
            api.put("jobs", {**job, "metadata": {**job["metadata"], "annotations": {"seen": "late"}}})
        versions = {informer: api.version for name, informer in operator.informers() if name == "jobs"}
        await eventually(lambda: all(informer._newest >= version for informer, version in versions.items()))
        assert not any(kept(operator).values())
        assert len(api.all("jobs")) == 5 * STEPS


def test_what_the_operator_has_written_itself_is_no_news_so_a_run_of_n_jobs_is_looked_at_n_plus_one_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = []
    look = Reconciler.__call__

    async def counted(self: Reconciler, key: Any) -> None:
        looks.append(key)
        await look(self, key)

    async def work() -> None:
        api = FakeApi(lambda job: None)
        async with operating(api) as operator:
            watch = operator.runs.informers()[0]
            await eventually(watch.synced.is_set)
            api.apply_run(WORK)
            for number in range(STEPS):
                await eventually(lambda made=number: len(api.created) == made + 1)
                written = version_of(api.run() or {})
                await eventually(lambda made=written: watch._newest >= made, "our own write has come back")
                await eventually(lambda: not operator.queue.busy() and not len(operator.queue))
                api.finish_job(number, (0, "{}"))
            await eventually(lambda: ended(api) and not len(operator.store))

    monkeypatch.setattr(Reconciler, "__call__", counted)
    virtually(work())
    assert len(looks) == STEPS + 1


async def test_an_operator_whose_custom_resources_are_not_served_for_a_while_waits_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    api = succeeding()
    missing = True
    pages = api.pages

    async def sometimes(resource: Any, *arguments: Any, **more: Any) -> Any:
        if missing and resource.plural == "workflowruns":
            raise NotFound(404, "NotFound", "the server could not find the requested resource")
        async for page in pages(resource, *arguments, **more):
            yield page

    api.pages = sometimes  # type: ignore[method-assign]
    api.apply_run(WORK)
    async with operating(api):
        await eventually(lambda: "workflowruns cannot be watched, trying again" in caplog.text)
        missing = False
        await eventually(lambda: ended(api))


async def test_a_run_whose_phase_somebody_sets_by_hand_leaves_the_watch_and_is_set_right() -> None:
    api = FakeApi(lambda job: None)
    async with operating(api):
        api.apply_run(WORK)
        await eventually(lambda: len(api.created) == 1)
        api.edit_run(lambda run: run["status"].update(phase="Failed"))
        await eventually(lambda: (api.run() or {})["status"]["phase"] == "Running")
        for number in range(STEPS):
            await eventually(lambda made=number: len(api.created) == made + 1)
            api.finish_job(number, (0, "{}"))
        await eventually(lambda: ended(api))
    assert (api.run() or {})["status"]["phase"] == "Succeeded"


def conditions(api: FakeApi) -> dict[str, str]:
    return {one["type"]: one["status"] for one in ((api.run() or {}).get("status") or {}).get("conditions") or ()}


def claim_success(run: dict[str, Any]) -> None:
    next(one for one in run["status"]["conditions"] if one["type"] == "Succeeded").update(status="True", message="by hand")


@pytest.mark.parametrize("watched", [True, False], ids=["while an operator watches", "while none is there"])
async def test_a_condition_that_somebody_sets_by_hand_is_set_right_with_one_write_and_told_once(watched: bool) -> None:
    api = FakeApi(lambda job: None)
    api.apply_run(WORK)

    def told() -> bool:
        return any(one["reason"] == "StatusRestored" for one in api.all("events"))

    async with operating(api) as operator:
        await eventually(lambda: len(api.created) == 1 and not operator.queue.busy() and not len(operator.queue))
        before = conditions(api)
        written = api.writes.count(("patch", "workflowruns"))
        if watched:
            api.edit_run(claim_success)
            await eventually(told)
    if not watched:
        api.edit_run(claim_success)
    async with operating(api) as operator:
        await eventually(told)
        await eventually(lambda: conditions(api) == before)
        api.edit_run(lambda run: run["metadata"].update(annotations={"seen": "yes"}))
        watch = operator.runs.informers()[0]
        await eventually(lambda: watch._newest >= api.version and not operator.queue.busy() and not len(operator.queue))
    assert api.writes.count(("patch", "workflowruns")) == written + 1
    assert [entry["kind"] for entry in (api.run() or {})["status"]["journal"]["entries"]].count("StatusRestored") == 1
    assert "by hand" not in str((api.run() or {})["status"]["conditions"])


async def test_an_operator_that_starts_keeps_nothing_of_the_jobs_of_runs_that_ended_before_it() -> None:
    api = succeeding()
    async with operating(api):
        api.apply_run(WORK)
        await eventually(lambda: ended(api))
    assert len(api.all("jobs")) == STEPS
    async with operating(api) as operator:
        await eventually(lambda: all(informer.synced.is_set() for _, informer in operator.informers()))
        await eventually(lambda: not any(kept(operator).values()))
