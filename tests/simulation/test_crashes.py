"""Kill the operator at every call to the API server, before and after the call took effect: the outcome is always the same, and no Job
runs twice (DESIGN, promises 1 to 4). The operator is the real one; the API server is modelled."""

import asyncio
from typing import Any

import orjson
import pytest

from backstay import names
from backstay.engine import journal
from backstay.errors import Unavailable
from backstay.kube.resources import JOBS, Resource
from tests.support.fake_api import FakeApi, Object
from tests.support.operating import ended, eventually, operating, run_through

SAGA = {
    "steps": [
        {"name": "reserve", "job": {"image": "ok"}, "compensate": {"job": {"image": "ok"}}},
        {
            "name": "pack",
            "parallel": {
                "branches": [
                    {"name": "x", "steps": [{"name": "s", "job": {"image": "ok"}, "compensate": {"job": {"image": "ok"}}}]},
                    {"name": "y", "steps": [{"name": "s", "set": {"v": 1}}]},
                ]
            },
        },
        {"name": "ship", "job": {"image": "fails"}, "retry": {"maxAttempts": 2, "interval": "1ms", "jitter": "None"}},
    ]
}
GOOD = {"steps": [{"name": "a", "job": {"image": "ok"}}, {"name": "b", "job": {"image": "ok", "args": ["${steps.a.outputs.v}"]}}]}


def outcome(job: dict[str, Any]) -> tuple[int, str]:
    image = job["spec"]["template"]["spec"]["containers"][0]["image"]
    return (1, "") if image == "fails" else (0, orjson.dumps({"v": 7}).decode())


def steps_done(api: FakeApi) -> list[str]:
    """Which attempts were made, in order."""
    made = {job["metadata"]["name"]: job["metadata"]["annotations"] for job in api.all("jobs")}
    return [f"{made[name][names.ANNOTATION_PATH]}#{made[name][names.ANNOTATION_ATTEMPT]}" for name in api.created if name in made]


async def run_to_the_end(spec: dict[str, Any], fault: str | None, at: int) -> FakeApi:
    return await run_through(outcome, spec, fault, at)


async def count_writes(spec: dict[str, Any]) -> int:
    return sum(1 for verb, plural in (await run_to_the_end(spec, None, 0)).writes if plural != "events")


async def test_a_saga_takes_its_steps_and_undoes_them_in_reverse() -> None:
    api = await run_to_the_end(SAGA, None, 0)
    assert steps_done(api) == ["reserve#1", "pack/x/s#1", "ship#1", "ship#2", "pack/x/s:compensate#1", "reserve:compensate#1"]
    assert api.run()["status"]["phase"] == "Failed"  # type: ignore[index]


async def test_n_steps_cost_n_jobs_and_n_plus_one_status_writes() -> None:
    api = await run_to_the_end(GOOD, None, 0)
    assert api.writes == [
        ("patch", "workflowruns"),
        ("create", "jobs"),
        ("patch", "workflowruns"),
        ("create", "jobs"),
        ("patch", "workflowruns"),
    ]


@pytest.mark.parametrize("fault", ["hang", "hang-after", "conflict", "unavailable", "lost", "busy"])
@pytest.mark.parametrize("spec", [GOOD, SAGA], ids=["good", "saga"])
async def test_a_fault_at_any_write_changes_no_outcome_and_no_job_runs_twice(spec: dict[str, Any], fault: str) -> None:
    right = await run_to_the_end(spec, None, 0)
    for at in range(await count_writes(spec) + 1):
        api = await run_to_the_end(spec, fault, at)
        where = f"{fault} at write {at}"
        assert steps_done(api) == steps_done(right), where
        assert len(set(api.created)) == len(api.created), where
        status = api.run()["status"]  # type: ignore[index]
        assert status["phase"] == right.run()["status"]["phase"], where  # type: ignore[index]
        journal.verify(status)


async def test_a_run_that_is_deleted_is_undone_before_it_goes_whenever_the_operator_dies() -> None:
    for at in range(14):
        for fault in ("hang", "hang-after"):
            api = FakeApi(lambda job: None if job["spec"]["template"]["spec"]["containers"][0]["image"] == "fails" else (0, ""))
            api.fault = lambda number, verb, plural, at=at, fault=fault: fault if number == at else None  # type: ignore[misc]
            api.apply_run({"workflow": {"inline": SAGA}})
            async with operating(api):
                await eventually(lambda api=api: api.hung.is_set() or _waits_for_ship(api))
                _delete(api)
                await eventually(lambda api=api: ended(api) or api.hung.is_set())
            async with operating(api):
                await eventually(lambda api=api: api.run() is None)
            undone = [name for name in api.created if "compensate" in name]
            done = [name for name in api.created if "compensate" not in name and "ship" not in name]
            assert len(undone) == len(done), f"{fault} at write {at}: made {api.created}"
            assert api.all("jobs") == [], "Jobs have outlived the run"


def _waits_for_ship(api: FakeApi) -> bool:
    return any("ship" in name for name in api.created)


def _delete(api: FakeApi) -> None:
    run = api.run()
    if run is not None:
        api.remove("workflowruns", run)


async def test_a_run_lets_go_of_a_namespace_that_is_being_deleted_whenever_the_operator_dies() -> None:
    """Its first Job is done when the namespace begins to go; from then on no Job can be made."""
    for at in range(3, 10):
        for fault in ("hang", "hang-after", "unavailable", "conflict"):
            api = FakeApi(lambda job: (0, "") if job["spec"]["template"]["spec"]["containers"][0]["image"] == "ok" else None)
            api.fault = lambda number, verb, plural, at=at, fault=fault: fault if number == at else None  # type: ignore[misc]
            api.apply_run({"workflow": {"inline": SAGA}})
            async with operating(api):
                await eventually(lambda api=api: api.hung.is_set() or _waits_for_ship(api))
                api.terminating.add("shop")
                _delete(api)
                await eventually(lambda api=api: ended(api) or api.hung.is_set())
            async with operating(api):
                await eventually(lambda api=api: api.run() is None)
            assert [name for name in api.created if "compensate" in name] == [], f"{fault} at write {at}"
            assert api.all("jobs") == [], "Jobs have outlived the run"


async def test_two_operators_at_once_do_no_harm() -> None:
    api = FakeApi(outcome)
    api.apply_run({"workflow": {"inline": SAGA}})
    async with operating(api), operating(api):
        await eventually(lambda: ended(api))
        await asyncio.sleep(0)
    assert steps_done(api) == ["reserve#1", "pack/x/s#1", "ship#1", "ship#2", "pack/x/s:compensate#1", "reserve:compensate#1"]
    assert len(set(api.created)) == len(api.created)


async def test_a_status_changed_by_hand_is_restored_and_the_journal_tells() -> None:
    hold = {"on": True}
    api = FakeApi(lambda job: None if hold["on"] else (0, ""))
    api.apply_run({"workflow": {"inline": GOOD}})
    async with operating(api):
        await eventually(lambda: api.created)
        api.edit_run(lambda run: run["status"].update(phase="Succeeded", steps=[]))
        await eventually(lambda: any(entry["kind"] == "StatusRestored" for entry in api.run()["status"]["journal"]["entries"]))  # type: ignore[index]
        status = api.run()["status"]  # type: ignore[index]
        assert (status["phase"], [step["path"] for step in status["steps"]]) == ("Running", ["/", "a"])
        journal.verify(status)
        assert len(api.created) == 1


async def test_an_operator_with_a_stale_view_starts_nothing_and_ends_nothing() -> None:
    """It is told of the run as it was after its first write, when the first Job is long done and gone, and the second one runs."""
    api = FakeApi(lambda job: None)
    api.apply_run({"workflow": {"inline": GOOD}})
    async with operating(api):
        await eventually(lambda: api.created)
        old = api.run() or {}
        api.finish_job(0, (0, '{"v": 7}'))
        await eventually(lambda: len(api.created) == 2)
    made = list(api.created)
    api.forget("jobs", made[0])
    api.forget("pods", f"{made[0]}-x")
    api.silent.add("workflowruns")
    async with operating(api, hears=False) as stale:
        stale.run_seen(old)
        await eventually(lambda: (known := stale.store.get(next(iter(stale.store)))) and known.run != old)
        await eventually(lambda: not len(stale.queue))
    assert api.created == made, "a stale view has made a Job"
    assert [job["metadata"]["name"] for job in api.all("jobs")] == made[1:], "a stale view has ended a Job"


async def test_a_job_that_was_made_and_never_seen_is_asked_for_before_its_step_counts_as_never_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer to its creation is lost, the watch of Jobs tells nothing, and the run is cancelled at that moment."""
    api = FakeApi(lambda job: None)
    api.silent.add("jobs")
    api.fault = lambda number, verb, plural: "lost" if (verb, plural) == ("create", "jobs") else None
    real = api.get

    async def get(resource: Resource, namespace: str | None, name: str) -> Object:
        if resource is JOBS and not (api.run() or {})["spec"].get("cancel"):
            api.edit_run(lambda run: run["spec"].update(cancel={"reason": "a whim"}))
            raise Unavailable(503, "Unavailable", "not now")
        return await real(resource, namespace, name)

    monkeypatch.setattr(api, "get", get)
    job = {"image": "i"}
    steps = [{"name": "w", "wait": {"duration": "10ms"}}, {"name": "a", "job": job, "compensate": {"job": job}}]
    api.apply_run({"workflow": {"inline": {"steps": steps}}})
    async with operating(api) as deaf:
        for informer in deaf.jobs.informers():
            informer.synced.set()
        await eventually(lambda: (api.run() or {}).get("status", {}).get("phase") in ("Stopping", "Cancelled"))
        step = next(step for step in (api.run() or {})["status"]["steps"] if step["path"] == "a")
    assert (step["phase"], step.get("outcome")) == ("Stopping", "Unknown")
