"""A run that goes although it had not ended is told loudly, and no other run is."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import generate_latest

from backstay import names
from backstay.runtime.operator import Operator
from backstay.runtime.view import key_of
from tests.support.crew import Crew, Town, in_virtual_time
from tests.support.fake_api import FakeApi, Object
from tests.support.metrics import total
from tests.support.operating import ended, eventually, operating

UNDO = {"job": {"image": "undo"}}
SAGA = {"steps": [{"name": "reserve", "job": {"image": "ok"}, "compensate": UNDO}, {"name": "charge", "job": {"image": "long"}}]}
PLAIN = {"steps": [{"name": "reserve", "job": {"image": "ok"}}, {"name": "charge", "job": {"image": "long"}}]}
TIDY = {"steps": [{"name": "charge", "job": {"image": "long"}}], "finally": [{"name": "sweep", "job": {"image": "ok"}}]}


def outcome(job: Object) -> tuple[int, str] | None:
    return None if job["spec"]["template"]["spec"]["containers"][0]["image"] == "long" else (0, "")


def server(spec: dict[str, Any]) -> FakeApi:
    api = FakeApi(outcome)
    api.apply_run({"workflow": {"inline": spec}})
    return api


def at_work(api: FakeApi, image: str = "long") -> bool:
    return any(job["spec"]["template"]["spec"]["containers"][0]["image"] == image for job in api.all("jobs"))


def alarms(api: FakeApi) -> list[str]:
    return [event["note"] for event in api.all("events") if event["reason"] == "RunVanished"]


def counted(operator: Operator) -> float:
    return total(generate_latest(operator.metrics.registry).decode(), "backstay_runs_vanished_total")


def settled(operator: Operator) -> bool:
    return not operator.queue.busy() and not len(operator.queue)


def force(run: Object) -> None:
    """As by `kubectl delete` and `kubectl patch` with an empty list of finalizers."""
    run["metadata"].update(finalizers=[], deletionTimestamp="2026-11-23T09:00:00Z")


async def test_a_run_whose_finalizer_is_taken_off_by_hand_is_told_with_what_it_leaves(caplog: pytest.LogCaptureFixture) -> None:
    api = server(SAGA)
    async with operating(api) as operator:
        await eventually(lambda: at_work(api) and settled(operator))
        job = api.created[-1]
        api.edit_run(force)
        await eventually(lambda: alarms(api))
        assert counted(operator) == 1
        assert len(operator.store) == 0
    (words,) = alarms(api)
    assert f"done and not undone: reserve; at work, and nobody hears how it ends: charge (Job {job})" in words
    event = next(event for event in api.all("events") if event["reason"] == "RunVanished")
    assert (event["type"], event["regarding"]["kind"], event["regarding"]["name"]) == ("Warning", names.RUN, "r1")
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "shop/r1 (UID run-r1): the run is gone although it had not ended" in line.getMessage()


async def test_a_run_that_was_deleted_while_its_finalizer_was_put_on_is_told() -> None:
    """kubernetes/kubernetes#77988: the finalizer's write is answered well, and the object goes at once all the same."""
    api = server(TIDY)

    def vanish() -> None:
        run = api.run()
        assert run is not None
        assert names.FINALIZER in run["metadata"]["finalizers"]
        run["metadata"]["finalizers"] = []
        api.remove("workflowruns", run)

    async with operating(api) as operator:
        await eventually(lambda: (api.run() or {})["metadata"].get("finalizers"))
        vanish()
        await eventually(lambda: alarms(api))
        assert counted(operator) == 1
    assert "what it does at its end (finally) is not done" in alarms(api)[0]


async def test_a_run_that_went_while_the_watch_was_broken_is_told_once() -> None:
    api = server(SAGA)
    async with operating(api) as operator:
        await eventually(lambda: at_work(api) and settled(operator))
        api.forget("workflowruns", "r1")
        api.finish_job(1, (0, ""))
        await eventually(lambda: not len(operator.store))
        assert counted(operator) == 0, "how it was at its end nobody has told yet"
        await operator.runs.informers()[0]._list()
        await eventually(lambda: alarms(api))
        await operator.sweeper.round(None)
        assert counted(operator) == 1


async def test_a_run_that_is_gone_before_the_watch_tells_that_another_has_ended_it_is_no_alarm() -> None:
    api = server(SAGA)
    async with operating(api) as operator:
        await eventually(lambda: at_work(api) and settled(operator))
        run = api.run() or {}
        api.forget("workflowruns", "r1")
        api.finish_job(1, (0, ""))
        await eventually(lambda: not len(operator.store))
        operator.run_left(key_of(run), {**run, "status": {**run["status"], "phase": "Cancelled", "finishedAt": "2026-11-23T09:00:00Z"}})
        await operator.runs.informers()[0]._list()
        assert counted(operator) == 0


async def test_jobs_without_an_owner_that_a_vanished_run_leaves_are_named() -> None:
    api = server({"steps": [{**SAGA["steps"][0], "compensate": {"job": {"image": "long"}}}, {"name": "w", "wait": {"duration": "1h"}}]})
    async with operating(api) as operator:
        await eventually(lambda: len(api.created) == 1 and settled(operator))
        api.remove("workflowruns", api.run() or {})
        await eventually(lambda: len(api.created) == 2 and settled(operator))
        api.edit_run(force)
        await eventually(lambda: alarms(api))
    assert f"Jobs that go on and have no owner, and are deleted soon: {api.created[1]}" in alarms(api)[0]


def delete(api: FakeApi) -> None:
    api.remove("workflowruns", api.run() or {})


def let_go(api: FakeApi) -> None:
    api.edit_run(lambda run: run["metadata"].update(annotations={names.ANNOTATION_RELEASE: "true"}))
    delete(api)


QUIET: dict[str, tuple[dict[str, Any], Callable[[FakeApi], None]]] = {
    "deleted, and undone before it went": (SAGA, delete),
    "deleted, with nothing to undo": (PLAIN, delete),
    "let go by its annotation": (SAGA, let_go),
    "deleted, and its finally was done before it went": (TIDY, delete),
}


@pytest.mark.parametrize("name", QUIET)
async def test_a_run_that_goes_as_it_may_is_no_alarm(name: str) -> None:
    spec, go = QUIET[name]
    api = server(spec)
    async with operating(api) as operator:
        await eventually(lambda: at_work(api) and settled(operator))
        go(api)
        await eventually(lambda: api.run() is None)
        await eventually(lambda: not len(operator.store))
        assert (alarms(api), counted(operator)) == ([], 0)


async def test_a_run_that_has_ended_and_is_forced_away_is_no_alarm() -> None:
    api = server(SAGA)
    async with operating(api) as operator:
        await eventually(lambda: at_work(api))
        api.finish_job(1, (0, ""))
        await eventually(lambda: ended(api))
        delete(api)
        await operator.sweeper.round(None)
        assert (alarms(api), counted(operator)) == ([], 0)


async def test_a_run_that_is_deleted_before_its_finalizer_is_on_has_done_nothing_and_is_no_alarm() -> None:
    api = server(SAGA)
    held = api.fault = lambda number, verb, plural: "unavailable" if finalizing(api) else None
    assert held
    async with operating(api) as operator:
        await eventually(lambda: (api.run() or {}).get("status"))
        delete(api)
        await eventually(lambda: not len(operator.store))
        assert (alarms(api), api.created) == ([], [])


def finalizing(api: FakeApi) -> bool:
    """Whether the next write of the run is that of its finalizer: it has begun, and has none."""
    run = api.run()
    return run is not None and bool(run.get("status")) and not run["metadata"].get("finalizers")


def test_of_two_operators_the_one_that_works_tells_and_the_other_does_not() -> None:
    async def play(loop: Any) -> None:
        api = Town(outcome)
        crew = Crew(api, loop)
        await crew.start("one")
        await crew.until(lambda: api.holders() == {"backstay": "one"})
        await crew.start("two")
        api.apply_run({"workflow": {"inline": SAGA}})
        await crew.until(lambda: at_work(api) and len(crew.operators["two"].store))
        api.edit_run(force)
        await crew.until(lambda: alarms(api))
        await crew.until(lambda: not len(crew.operators["two"].store))
        assert [counted(crew.operators[name]) for name in ("one", "two")] == [1, 0]

    in_virtual_time(play)


def test_an_operator_that_takes_over_with_an_old_view_does_not_cry_over_a_run_that_the_other_has_ended() -> None:
    """The one before has undone the run and let it go; the watch of the next one is late."""

    async def play(loop: Any) -> None:
        api = Town(outcome, job_seconds=0.1)
        crew = Crew(api, loop)
        await crew.start("one")
        await crew.until(lambda: api.holders() == {"backstay": "one"})
        await crew.start("two")
        api.apply_run({"workflow": {"inline": SAGA}})
        two = crew.operators["two"]
        await crew.until(lambda: at_work(api) and len(two.store))
        await crew.pass_time(1)
        told: list[tuple[str, Any, Any]] = []
        watch = two.runs.informers()[0]
        hear, watch._on_change = watch._on_change, lambda *news: told.append(news)
        delete(api)
        await crew.until(lambda: api.run() is None)
        await crew.stop("one")
        await crew.until(lambda: api.holders() == {"backstay": "two"})
        await crew.until(lambda: not len(two.store))
        for news in told:
            hear(*news)
        await crew.pass_time(5)
        assert (alarms(api), counted(two)) == ([], 0)

    in_virtual_time(play)


def test_an_old_leader_that_is_woken_does_not_cry_over_a_run_that_ended_meanwhile() -> None:
    """Stopped in the middle of a write, with the last word on the run as far as it knows."""

    async def play(loop: Any) -> None:
        api = Town(outcome, job_seconds=0.1)
        crew = Crew(api, loop)
        await crew.start("one")
        await crew.until(lambda: api.holders() == {"backstay": "one"})
        await crew.start("two")

        def check() -> None:
            if at_work(api, "ok") and not crew.processes["one"].is_stopped and api.deeds[-1].plural == "workflowruns":
                crew.freeze("one")

        api.check = check
        api.apply_run({"workflow": {"inline": SAGA}})
        await crew.until(lambda: crew.processes["one"].is_stopped)
        crew.operators["one"].runs.informers()[0]._on_change = lambda *news: None  # the watch is late, too
        await crew.until(lambda: api.holders() == {"backstay": "two"})
        await crew.until(lambda: at_work(api))
        delete(api)
        await crew.until(lambda: api.run() is None)
        api.check = lambda: None
        crew.wake("one")
        one = crew.operators["one"]
        await crew.until(lambda: not len(one.store))
        await crew.pass_time(5)
        assert (alarms(api), counted(one)) == ([], 0)

    in_virtual_time(play)
