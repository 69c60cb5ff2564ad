"""What is seen of Jobs and Pods: whatever comes first, and at a cost that does not grow with what has ended."""

import copy
import time
from typing import Any, cast

import pytest

from backstay import errors
from backstay.engine.model import JobState
from backstay.executors import job
from backstay.kube.client import Client
from backstay.kube.resources import JOBS
from backstay.runtime.jobs import JobWatch
from tests.simulation.test_crashes import outcome
from tests.support.fake_api import FakeApi
from tests.support.operating import ended, eventually, operating

RUN = "run-1"


class Seen:
    """A JobWatch that hears of a modelled cluster only what a test tells it."""

    def __init__(self) -> None:
        self.api = FakeApi(lambda job: None)
        self.woken: list[str] = []
        self.gone: list[str] = []
        self.watch = JobWatch(cast(Client, self.api), "shop", self._wake, lambda run, seen: self.gone.append(seen.name))

    def _wake(self, run_uid: str) -> bool:
        self.woken.append(run_uid)
        return True

    async def make(self, name: str = "j1") -> dict[str, Any]:
        meta = {"name": name, "namespace": "shop", "labels": {"backstay.dev/run": RUN}}
        template = {"metadata": {"labels": {"backstay.dev/run": RUN}}, "spec": {}}
        await self.api.create(JOBS, "shop", {"metadata": meta, "spec": {"template": template}})
        return self.api.objects["jobs", "shop", name]

    def hear_job(self, event: str = "MODIFIED", name: str = "j1") -> None:
        self.watch.jobs._follow(event, self.api.objects["jobs", "shop", name])

    def hear_pod(self, event: str = "MODIFIED", name: str = "j1-x") -> None:
        self.watch.pods._follow(event, self.api.objects["pods", "shop", name])

    async def state(self, name: str = "j1") -> tuple[JobState, str | None]:
        fact = (await self.watch.facts("shop", RUN))[name]
        return fact.state, fact.output


async def test_a_pod_that_is_seen_before_its_job_counts_when_the_job_is_seen() -> None:
    seen = Seen()
    await seen.make()
    seen.api.finish_job(0, (0, "out"))
    seen.hear_pod()
    assert await seen.watch.facts("shop", RUN) == {}
    seen.hear_job()
    assert (await seen.state(), seen.woken) == ((JobState.SUCCEEDED, "out"), [RUN])


async def test_a_job_that_was_just_made_and_whose_pod_has_ended_already_wakes_its_run() -> None:
    seen = Seen()
    made = await seen.make()
    created = job.seen_job(made)
    seen.api.finish_job(0, (0, "out"))
    seen.hear_pod()
    assert seen.woken == []
    seen.watch.remember(created)
    assert (seen.woken, await seen.state()) == ([RUN], (JobState.SUCCEEDED, "out"))


async def test_a_job_that_was_just_made_wakes_nobody() -> None:
    seen = Seen()
    seen.watch.remember(job.seen_job(await seen.make()))
    seen.hear_job("ADDED")
    assert (seen.woken, await seen.state()) == ([], (JobState.ACTIVE, None))


@pytest.mark.parametrize("is_watched", [True, False], ids=["it-was-watched", "nobody-watched"])
async def test_a_job_that_is_gone_when_the_answer_to_its_creation_comes_is_not_taken_for_one_that_is_there(is_watched: bool) -> None:
    seen = Seen()
    answer = job.seen_job(await seen.make())
    if is_watched:
        seen.hear_job("ADDED")
    await seen.api.delete(JOBS, "shop", "j1")
    if is_watched:
        gone = {"name": "j1", "namespace": "shop", "uid": answer.uid, "labels": {"backstay.dev/run": RUN}, "resourceVersion": "99"}
        seen.watch.jobs._follow("DELETED", {"metadata": gone})
    else:
        seen.watch.jobs._follow("BOOKMARK", {"metadata": {"resourceVersion": "99"}})
    seen.woken.clear()
    seen.watch.remember(answer)
    assert (await seen.watch.facts("shop", RUN), seen.woken) == ({}, [RUN])


async def test_a_job_that_goes_while_the_server_is_asked_for_its_pod_stays_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen()
    await seen.make()
    seen.api.finish_job(0, (0, "out"))
    seen.hear_job()
    ask = seen.api.list

    async def slow(*args: Any, **how: Any) -> Any:
        page = await ask(*args, **how)
        seen.hear_job("DELETED")
        return page

    monkeypatch.setattr(seen.api, "list", slow)
    assert (await seen.watch.facts("shop", RUN), seen.gone) == ({}, ["j1"])


async def test_where_the_end_of_a_job_is_seen_before_its_pod_the_server_is_asked_once_and_the_answer_is_kept() -> None:
    seen = Seen()
    await seen.make()
    seen.api.finish_job(0, (0, "out"))
    seen.api.objects["pods", "shop", "j1-x"]["metadata"]["labels"]["batch.kubernetes.io/job-name"] = "j1"
    seen.hear_job()
    assert await seen.state() == (JobState.SUCCEEDED, "out")
    seen.api.silent.add("pods")
    assert await seen.state() == (JobState.SUCCEEDED, "out")


async def test_where_the_end_of_a_job_is_seen_and_its_pod_is_known_from_before_its_end_the_server_is_asked_and_believed() -> None:
    seen = Seen()
    await seen.make()
    await seen.watch.facts("shop", RUN)
    seen.api.finish_job(0, (0, '{"error": {"type": "CardDeclined"}}'))
    seen.api.objects["pods", "shop", "j1-x"]["metadata"]["labels"]["batch.kubernetes.io/job-name"] = "j1"
    ended_pod = copy.deepcopy(seen.api.objects["pods", "shop", "j1-x"])
    running = {"phase": "Running", "containerStatuses": [{"name": "main", "state": {"running": {}}}]}
    seen.watch.pods._follow("ADDED", {**ended_pod, "metadata": {**ended_pod["metadata"], "resourceVersion": "1"}, "status": running})
    seen.hear_job()
    assert await seen.state() == (JobState.SUCCEEDED, '{"error": {"type": "CardDeclined"}}')


async def test_where_the_server_cannot_be_asked_for_a_pod_it_is_asked_again() -> None:
    seen = Seen()
    await seen.make()
    seen.api.finish_job(0, (0, "out"))
    seen.api.objects["pods", "shop", "j1-x"]["metadata"]["labels"]["batch.kubernetes.io/job-name"] = "j1"
    seen.hear_job()
    listed, seen.api.list = seen.api.list, unavailable  # type: ignore[method-assign]
    with pytest.raises(errors.Unavailable):
        await seen.state()
    seen.api.list = listed  # type: ignore[method-assign]
    assert await seen.state() == (JobState.SUCCEEDED, "out")


async def test_before_it_is_said_that_a_job_has_no_pod_the_server_is_asked_for_one_of_which_nobody_has_told() -> None:
    seen = await long_without_a_pod()
    seen.api.finish_job(0, (0, "out"))  # its pod is all that matters here
    pod = seen.api.objects["pods", "shop", "j1-x"]
    pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] = "j1"
    pod["status"] = {"phase": "Running", "containerStatuses": [{"name": "main", "state": {"running": {}}}]}
    fact = (await seen.watch.facts("shop", RUN))["j1"]
    assert (fact.state, fact.started, fact.stuck) == (JobState.ACTIVE, True, None)
    assert seen.watch.pods.get("shop", "j1-x") is not None
    pod["metadata"]["resourceVersion"] = "99"
    seen.hear_pod("DELETED")
    assert seen.watch.pods.get("shop", "j1-x") is None, "one that was asked for is gone when the watch says so"


async def test_where_the_server_cannot_be_asked_for_pods_nothing_is_said_and_it_is_asked_again() -> None:
    seen = await long_without_a_pod()
    listed, seen.api.list = seen.api.list, unavailable  # type: ignore[method-assign]
    with pytest.raises(errors.Unavailable):
        await seen.watch.facts("shop", RUN)
    assert seen.watch._podless.why(["uid-1"]) == {}
    seen.api.list = listed  # type: ignore[method-assign]
    assert (await seen.watch.facts("shop", RUN))["j1"].stuck is None, "Events are read seldom"
    before = len(seen.woken)
    await eventually(lambda: len(seen.woken) > before)
    fact = (await seen.watch.facts("shop", RUN))["j1"]
    assert fact.stuck is not None
    assert fact.stuck.type == "StartTimeout"


async def long_without_a_pod() -> Seen:
    """A Job that was made long ago, and of whose pods the watch tells nothing."""
    seen = Seen()
    await seen.make()
    seen.hear_job("ADDED")
    known = seen.watch.jobs.get("shop", "j1")
    assert known is not None
    object.__setattr__(known, "noticed_at", time.monotonic() - 3600)
    return seen


async def unavailable(*_: object, **__: object) -> Any:
    raise errors.Unavailable(503, "ServiceUnavailable", "not now")


async def test_a_job_that_is_deleted_is_not_seen_any_more_and_told() -> None:
    seen = Seen()
    await seen.make()
    seen.hear_job()
    seen.hear_job("DELETED")
    assert (await seen.watch.facts("shop", RUN), seen.gone, seen.woken) == ({}, ["j1"], [RUN, RUN])


async def test_jobs_of_another_namespace_do_not_count() -> None:
    seen = Seen()
    await seen.make()
    seen.hear_job()
    assert await seen.watch.facts("other", RUN) == {}


async def test_what_is_heard_of_one_job_costs_nothing_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def judged(count: int) -> int:
        calls = 0
        real = job.fact

        def counted(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            return real(*arguments)

        api = FakeApi(outcome)
        steps = [{"name": f"s{number}", "job": {"image": "ok"}} for number in range(count)]
        api.apply_run({"workflow": {"inline": {"steps": steps}}})
        with monkeypatch.context() as patch:
            patch.setattr(job, "fact", counted)
            async with operating(api):
                await eventually(lambda: ended(api))
        return calls

    few, many = await judged(10), await judged(40)
    assert many < 6 * few


# ---------------------------------------------------------------------------------------------- what is not kept any more


async def settled_job() -> Seen:
    """A Job whose pod has succeeded, which was taken in and written."""
    seen = Seen()
    await seen.make()
    seen.hear_job()
    seen.api.finish_job(0, (0, "out"))
    seen.hear_pod()
    assert await seen.state() == (JobState.SUCCEEDED, "out")
    seen.watch.settle("shop", RUN, ["j1"])
    seen.woken.clear()
    return seen


async def test_of_a_job_whose_end_is_written_neither_fact_nor_output_nor_pod_is_kept_and_later_news_of_it_wakes_nobody() -> None:
    seen = await settled_job()
    assert (await seen.watch.facts("shop", RUN), len(seen.watch.pods)) == ({}, 0)
    seen.hear_job()
    seen.api.objects["pods", "shop", "j1-x"]["metadata"]["resourceVersion"] = "99"
    seen.hear_pod()
    assert (await seen.watch.facts("shop", RUN), len(seen.watch.pods), seen.woken) == ({}, 0, [])


async def test_that_a_job_whose_end_is_written_is_deleted_is_told_and_wakes_nobody() -> None:
    seen = await settled_job()
    seen.hear_job("DELETED")
    assert (await seen.watch.facts("shop", RUN), seen.gone, seen.woken) == ({}, ["j1"], [])


async def test_a_job_that_is_found_again_by_a_second_creation_counts_again() -> None:
    seen = await settled_job()
    made = seen.api.objects["jobs", "shop", "j1"]
    seen.api.objects["pods", "shop", "j1-x"]["metadata"]["labels"]["batch.kubernetes.io/job-name"] = "j1"
    seen.watch.remember(job.seen_job(made))
    assert await seen.state() == (JobState.SUCCEEDED, "out")


async def test_the_other_jobs_of_a_run_go_on_when_one_is_settled() -> None:
    seen = await settled_job()
    await seen.make("j2")
    seen.hear_job("ADDED", "j2")
    seen.api.finish_job(1, (0, "two"))
    seen.hear_pod(name="j2-x")
    assert await seen.state("j2") == (JobState.SUCCEEDED, "two")


async def test_late_news_of_the_jobs_of_a_run_that_is_over_is_not_kept() -> None:
    seen = Seen()
    await seen.make()
    seen.hear_job()
    seen.watch.forget(RUN)
    seen.api.finish_job(0, (0, "out"))
    seen.hear_pod()
    seen.hear_job()
    assert (len(seen.watch.jobs), len(seen.watch.pods), seen.woken) == (0, 0, [RUN])


async def test_a_new_job_of_a_run_that_was_over_and_is_taken_up_again_is_seen_also_by_who_does_not_look_at_the_run() -> None:
    seen = Seen()
    await seen.make()
    seen.hear_job()
    seen.watch.forget(RUN)
    await seen.make("undo")
    seen.hear_job("ADDED", "undo")
    seen.api.finish_job(1, (0, "undone"))
    seen.hear_pod(name="undo-x")
    seen.hear_job(name="undo")
    assert list(await seen.watch.facts("shop", RUN)) == ["undo"]
    assert await seen.state("undo") == (JobState.SUCCEEDED, "undone")


async def test_that_a_job_of_a_run_that_has_ended_is_gone_is_told_for_it_makes_room_in_a_quota() -> None:
    seen = Seen()
    await seen.make()
    seen.api.finish_job(0, (0, "out"))
    seen.hear_job()
    await seen.watch.facts("shop", RUN)
    seen.watch.forget(RUN)
    seen.hear_job("DELETED")
    assert (await seen.watch.facts("shop", RUN), seen.gone) == ({}, ["j1"])
