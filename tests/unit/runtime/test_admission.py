"""How many runs go on at once: limits of a workflow, of a namespace and of the installation; who waits, in which order, and what that costs."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backstay.runtime import active_runs, semaphores
from backstay.runtime.operator import Operator
from tests.simulation.test_child_runs import all_ended, define, working
from tests.simulation.test_child_runs import shop as define_shop
from tests.support.fake_api import FakeApi, Object
from tests.support.operating import ended, eventually, operating
from tests.unit.runtime.test_semaphores import active, finish, holders, never_two_at_once, watch

JOB = {"name": "a", "job": {"image": "i"}}
SLOTS = "workflow.order"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done seldom is done soon."""
    monkeypatch.setattr(semaphores, "LINE_SECONDS", 0.02)
    monkeypatch.setattr(semaphores, "STRANGER_SECONDS", 0.1)
    monkeypatch.setattr(semaphores, "TELL_SECONDS", 0.02)
    monkeypatch.setattr(active_runs, "TELL_SECONDS", 0.02)


def apply(api: FakeApi, operator: Operator | None, concurrency: Object | None = None, **spec: Any) -> None:
    """The Workflow is applied, and was judged; the operator, where one runs, hears of it."""
    limits = {} if concurrency is None else {"concurrency": concurrency}
    workflow = define(api, "order", {"steps": [JOB], **limits, **spec})
    if operator is not None:
        operator.workflow_seen("MODIFIED", workflow)


@asynccontextmanager
async def limited(api: FakeApi, concurrency: Object | None = None, **spec: Any) -> AsyncIterator[Operator]:
    apply(api, None, concurrency, **spec)
    async with working(api) as operator:
        yield operator


def order(api: FakeApi, *names: str, labels: Object | None = None, annotations: Object | None = None, **fields: Any) -> None:
    """Make runs of the workflow."""
    for name in names:
        run = api.apply_run({"workflow": {"name": "order"}, **fields}, name)
        if labels or annotations:
            run["metadata"] |= {"labels": labels or {}, "annotations": annotations or {}}


def shown(api: FakeApi, name: str) -> str:
    return str(((api.run(name) or {}).get("status") or {}).get("status", ""))


def message(api: FakeApi, name: str) -> str:
    conditions = ((api.run(name) or {}).get("status") or {}).get("conditions", ())
    return next((item["message"] for item in conditions if item["type"] == "Queued" and item["status"] == "True"), "")


def phases(api: FakeApi, *names: str) -> list[str]:
    return [str(((api.run(name) or {}).get("status") or {}).get("phase", "")) for name in names]


def shop() -> FakeApi:
    return FakeApi(lambda job: None)


async def end_all(api: FakeApi, names: list[str]) -> list[str]:
    """End whatever goes on until all is over; return the order in which the runs began."""

    def drive() -> bool:
        for name in active(api):
            finish(api, name)
        return all(ended(api, name) for name in names)

    await eventually(drive)
    return [job["metadata"]["annotations"]["backstay.dev/run-name"] for job in api.all("jobs")]


def assert_in_turn(began: list[str], names: list[str]) -> None:
    """Two that may begin at the same moment may make their Jobs in any order; nobody is overtaken by anybody else."""
    assert sorted(began) == sorted(names)
    assert all(abs(began.index(name) - names.index(name)) <= 1 for name in names), began


# --------------------------------------------------------------------------------------------------------- of a workflow


async def test_six_runs_with_a_limit_of_two_run_two_at_a_time_and_in_order() -> None:
    api = FakeApi(lambda job: None)
    api.outcome = never_two_at_once(api, 2)
    names = [f"r{number}" for number in range(1, 7)]
    order(api, *names)
    async with limited(api, {"limit": 2}):
        await eventually(lambda: sorted(active(api)) == ["r1", "r2"] and all(shown(api, name) == "Queued" for name in names[2:]))
        words = r"1st of \d that wait for Workflow order \(limit 2\); held by run r1, run r2"
        assert re.fullmatch(words, message(api, "r3")), message(api, "r3")
        assert message(api, "r6").startswith("4th of 4 that wait for Workflow order (limit 2)")
        assert phases(api, "r3") == [""], "nothing else of it has begun"
        assert_in_turn(await end_all(api, names), names)
        await eventually(lambda: holders(api, SLOTS) == [])
    assert {event["reason"] for event in api.all("events")} == {"Queued"}
    assert len(api.all("events")) == 4


async def test_without_a_limit_a_run_costs_no_write_more_and_nothing_is_made() -> None:
    api = FakeApi(lambda job: (0, ""))
    async with limited(api):
        before = len(api.writes)
        order(api, "r1")
        await eventually(lambda: ended(api, "r1"))
    assert api.writes[before:] == [("patch", "workflowruns"), ("create", "jobs"), ("patch", "workflowruns")]
    assert api.all("semaphores") == []


async def test_a_limit_that_nobody_waits_for_costs_two_writes_a_run_and_fewer_under_load() -> None:
    api = FakeApi(lambda job: (0, ""))
    async with limited(api, {"limit": 100}):
        order(api, "r0")
        await eventually(lambda: ended(api, "r0") and holders(api, SLOTS) == [])
        before = len(api.writes)
        order(api, "r1")
        await eventually(lambda: ended(api, "r1") and holders(api, SLOTS) == [])
        assert api.writes[before:].count(("patch", "semaphores")) == 2
        before, names = len(api.writes), [f"x{number}" for number in range(50)]
        order(api, *names)
        await eventually(lambda: all(ended(api, name) for name in names) and holders(api, SLOTS) == [])
        assert api.writes[before:].count(("patch", "semaphores")) <= 50
        assert not any(shown(api, name) == "Queued" for name in names)


async def test_a_run_that_waits_costs_no_write() -> None:
    api = shop()
    order(api, "r1", "r2", "r3")
    async with limited(api, {"limit": 1}):
        await eventually(lambda: message(api, "r3") and message(api, "r2") and len(api.all("events")) == 2)
        await eventually(lambda: api.objects["semaphores", "shop", SLOTS]["status"].get("queued") == 2)
        before = len(api.writes)
        api.apply_run({"workflow": {"inline": {"steps": [JOB]}}}, "free")
        await eventually(lambda: "free" in active(api))
        finish(api, "free")
        await eventually(lambda: ended(api, "free"))
        assert api.writes[before:] == [("patch", "workflowruns"), ("create", "jobs"), ("patch", "workflowruns")]


async def test_its_place_is_told_anew_only_when_it_has_changed_much() -> None:
    api = shop()
    names = [f"r{number:02}" for number in range(20)]
    order(api, *names)
    told: list[str] = []
    store = api._store

    def stored(plural: str, item: Object, event: str) -> None:
        store(plural, item, event)
        if plural == "workflowruns" and item["metadata"]["name"] == "r19" and message(api, "r19") not in told:
            told.append(message(api, "r19"))

    api._store = stored  # type: ignore[method-assign]
    async with limited(api, {"limit": 1}):
        await eventually(lambda: message(api, "r19"))
        for name in names:
            await eventually(lambda name=name: active(api) == [name])
            finish(api, name)
        await eventually(lambda: ended(api, "r19"))
    assert told[0].startswith("19th of 19 that wait"), told
    assert len([words for words in told if words]) <= 5, "19, 9, 4, 2, 1"


async def test_runs_of_other_keys_do_not_wait_for_each_other() -> None:
    api = shop()
    given = {"parameters": [{"name": "customer", "default": "x"}]}
    order(api, "r1", "r2")
    order(api, "r3", parameters={"customer": "y"})
    async with limited(api, {"limit": 1, "key": "${ params.customer }"}, **given):
        await eventually(lambda: sorted(active(api)) == ["r1", "r3"] and message(api, "r2"))
        assert message(api, "r2") == '1st of 1 that wait for Workflow order, key "x" (limit 1); held by run r1'


async def test_a_higher_priority_goes_first_also_when_it_is_given_later() -> None:
    api = shop()
    async with limited(api, {"limit": 1}):
        order(api, "r1", "r2", "r3")
        await eventually(lambda: message(api, "r3"))
        api.edit_run(lambda run: run["spec"].update(priority=5), "r3")
        await eventually(lambda: [item["run"] for item in api.objects["semaphores", "shop", SLOTS]["status"]["waiting"]] == ["r3", "r2"])
        finish(api, "r1")
        await eventually(lambda: active(api) == ["r3"])


async def test_a_limit_that_is_raised_lowered_or_taken_away_holds_for_those_who_wait() -> None:
    api = shop()
    async with limited(api, {"limit": 1}) as operator:
        order(api, "r1", "r2", "r3", "r4", "r5")
        await eventually(lambda: active(api) == ["r1"] and message(api, "r5"))
        apply(api, operator, {"limit": 3})
        await eventually(lambda: sorted(active(api)) == ["r1", "r2", "r3"])
        apply(api, operator, {"limit": 1})
        finish(api, "r1")
        finish(api, "r2")
        await eventually(lambda: holders(api, SLOTS) == ["r3"])
        apply(api, operator)
        await eventually(lambda: sorted(active(api)) == ["r3", "r4", "r5"])


async def test_a_limit_that_comes_later_counts_what_goes_on_already() -> None:
    api = shop()
    async with limited(api) as operator:
        order(api, "r1", "r2")
        await eventually(lambda: sorted(active(api)) == ["r1", "r2"])
        apply(api, operator, {"limit": 2})
        order(api, "r3")
        await eventually(lambda: message(api, "r3"))
        assert sorted(active(api)) == ["r1", "r2"]
        finish(api, "r1")
        await eventually(lambda: sorted(active(api)) == ["r2", "r3"])


async def test_a_run_can_be_suspended_cancelled_and_deleted_while_it_waits() -> None:
    api = shop()
    async with limited(api, {"limit": 1}):
        order(api, "r1", "held", "ends", "goes", "last")
        await eventually(lambda: message(api, "last"))
        api.edit_run(lambda run: run["spec"].update(suspend=True), "held")
        api.edit_run(lambda run: run["spec"].update(cancel={"reason": "no"}), "ends")
        api.remove("workflowruns", api.run("goes") or {})
        await eventually(lambda: shown(api, "held") == "Suspended" and phases(api, "ends") == ["Cancelled"])
        finish(api, "r1")
        await eventually(lambda: active(api) == ["last"])
        api.edit_run(lambda run: run["spec"].update(suspend=False), "held")
        await eventually(lambda: shown(api, "held") == "Queued" and "held by run last" in message(api, "held"))
        finish(api, "last")
        await eventually(lambda: active(api) == ["held"])
        finish(api, "held")
        await eventually(lambda: ended(api, "held"))
        kinds = [entry["kind"] for entry in api.run("held")["status"]["journal"]["entries"]]  # type: ignore[index]
        assert kinds[:3] == ["RunSuspended", "RunResumed", "RunStarted"]


async def test_refuse_ends_a_run_beyond_the_limit_at_once() -> None:
    api = shop()
    async with limited(api, {"limit": 1, "onConflict": "Refuse"}):
        order(api, "r1")
        await eventually(lambda: active(api) == ["r1"])
        order(api, "r2")
        await eventually(lambda: ended(api, "r2"))
        error = api.run("r2")["status"]["error"]  # type: ignore[index]
        assert (error["type"], phases(api, "r2")) == ("ConcurrencyLimit", ["Failed"])
        assert error["detail"] == "Workflow order (limit 1): held by run r1; concurrency.onConflict refuses runs beyond the limit"
        finish(api, "r1")
        await eventually(lambda: holders(api, SLOTS) == [])
        order(api, "r3")
        await eventually(lambda: active(api) == ["r3"])


async def test_cancel_oldest_makes_room_for_the_newest() -> None:
    api = shop()
    async with limited(api, {"limit": 2, "onConflict": "CancelOldest"}):
        order(api, "r1")
        await eventually(lambda: active(api) == ["r1"])
        order(api, "r2")
        await eventually(lambda: sorted(active(api)) == ["r1", "r2"])
        order(api, "r3")
        await eventually(lambda: phases(api, "r1", "r2", "r3") == ["Cancelled", "Running", "Running"])
        reason = api.run("r1")["spec"]["cancel"]["reason"]  # type: ignore[index]
        assert reason == "run r3 takes its place (concurrency of Workflow order: CancelOldest)"


async def test_a_rate_lets_so_many_begin_and_those_that_wait_say_so() -> None:
    api = FakeApi(lambda job: (0, ""))
    async with limited(api, {"rate": {"limit": 1, "per": "1s"}}):
        order(api, "r1", "r2")
        await eventually(lambda: ended(api, "r1") and message(api, "r2"))
        assert message(api, "r2") == "1st of 1 that wait for Workflow order (1 in 1s)"
        await eventually(lambda: ended(api, "r2"))


async def test_bad_parameters_are_told_at_once_and_not_after_the_wait() -> None:
    api = shop()
    async with limited(api, {"limit": 1}, parameters=[{"name": "n", "schema": {"type": "integer"}, "default": 1}]):
        order(api, "r1")
        await eventually(lambda: active(api) == ["r1"])
        order(api, "r2", parameters={"n": "x"})
        await eventually(lambda: ended(api, "r2"))
        assert api.run("r2")["status"]["error"]["type"] == "InvalidParameters"  # type: ignore[index]


async def test_a_key_that_cannot_be_had_fails_the_run() -> None:
    api = shop()
    async with limited(api, {"limit": 1, "key": "${ params.o.x }"}, parameters=[{"name": "o", "default": {}}]):
        order(api, "r1")
        await eventually(lambda: ended(api, "r1"))
        error = api.run("r1")["status"]["error"]  # type: ignore[index]
        assert error["type"] == "ExpressionError"
        assert error["detail"].startswith("concurrency.key: ")


async def test_an_operator_that_takes_over_goes_on_in_the_same_order_and_lets_no_more_begin() -> None:
    api = FakeApi(lambda job: None)
    api.outcome = never_two_at_once(api, 2)
    names = [f"r{number}" for number in range(1, 7)]
    order(api, *names)
    async with limited(api, {"limit": 2}):
        await eventually(lambda: sorted(active(api)) == ["r1", "r2"] and message(api, "r6"))
    finish(api, "r1")
    async with limited(api, {"limit": 2}):
        await eventually(lambda: sorted(active(api)) == ["r2", "r3"])
        assert_in_turn(await end_all(api, names), names)


async def test_two_operators_at_once_let_no_more_begin() -> None:
    api = FakeApi(lambda job: None)
    api.outcome = never_two_at_once(api, 2)
    names = [f"r{number}" for number in range(1, 9)]
    order(api, *names)
    async with limited(api, {"limit": 2}), limited(api, {"limit": 2}):
        assert sorted(await end_all(api, names)) == names


@pytest.mark.parametrize("fault", ["hang", "hang-after", "conflict", "unavailable", "lost"])
async def test_a_fault_at_any_write_lets_no_more_begin_and_holds_nobody_up(fault: str) -> None:
    names = ["r1", "r2", "r3"]
    for at in range(0, 16, 1 if fault in ("hang", "lost") else 3):
        api = FakeApi(lambda job: None)
        api.outcome = never_two_at_once(api, 1)
        api.fault = lambda number, verb, plural, at=at: fault if number == at else None  # type: ignore[misc]
        order(api, *names)

        def drive(api: FakeApi = api) -> bool:
            for name in active(api):
                finish(api, name)
            return all(ended(api, name) for name in names) and holders(api, SLOTS) == []

        async with limited(api, {"limit": 1}):
            await eventually(lambda api=api, drive=drive: drive() or api.hung.is_set())
        if api.hung.is_set():
            async with limited(api, {"limit": 1}):
                await eventually(drive, f"{fault} at write {at}")
        assert len(set(api.created)) == len(api.created) == 3, f"{fault} at write {at}"


# --------------------------------------------------------------------------------- of a namespace and of the installation


def free_run(api: FakeApi, *names: str) -> None:
    for name in names:
        api.apply_run({"workflow": {"inline": {"steps": [JOB]}}}, name)


async def test_a_limit_of_the_installation_lets_so_many_go_on_and_costs_no_write() -> None:
    api = FakeApi(lambda job: None)
    api.outcome = never_two_at_once(api, 2)
    names = [f"r{number}" for number in range(1, 6)]
    free_run(api, *names)
    async with operating(api, max_active_runs=2):
        await eventually(lambda: sorted(active(api)) == ["r1", "r2"] and message(api, "r5"))
        assert re.fullmatch(r"1st of \d that wait for this installation \(limit 2\)", message(api, "r3"))
        assert_in_turn(await end_all(api, names), names)
    assert api.all("semaphores") == []


async def test_a_limit_of_each_namespace_counts_them_apart() -> None:
    api = shop()
    free_run(api, "r1", "r2")
    other = api.run("r2") or {}
    api.objects.pop(("workflowruns", "shop", "r2"))
    api.put("workflowruns", {**other, "metadata": {**other["metadata"], "namespace": "store"}})
    free_run(api, "r3")
    async with operating(api, max_active_runs_per_namespace=1, max_active_runs=5):
        await eventually(lambda: sorted(active(api)) == ["r1", "r2"] and message(api, "r3"))
        assert message(api, "r3") == "1st of 1 that wait for namespace shop (limit 1)"
        finish(api, "r1")
        await eventually(lambda: active(api)[-1] == "r3")


async def test_after_a_start_what_goes_on_is_counted_before_anything_begins() -> None:
    api = shop()
    free_run(api, "r1", "r2", "r3")
    async with operating(api, max_active_runs=1):
        await eventually(lambda: active(api) == ["r1"] and message(api, "r3"))
    api.silent.add("workflowruns")
    free_run(api, "r4")
    async with operating(api, max_active_runs=1, hears=False) as operator:
        for name in ("r4", "r3", "r2"):
            operator.run_seen(api.run(name) or {})
        await eventually(lambda: operator.queue.__len__() == 0)
        assert active(api) == ["r1"], "who goes on is not known yet"
        api.silent.clear()
    async with operating(api, max_active_runs=1):
        await eventually(lambda: shown(api, "r4") == "Queued")
        assert active(api) == ["r1"]
        finish(api, "r1")
        await eventually(lambda: active(api) == ["r2"])


async def test_whoever_waits_is_written_nowhere_else() -> None:
    """The Semaphore of a workflow shows who holds and who waits."""
    api = shop()
    seen: list[Object] = []
    watch(api, lambda item: seen.append(item.get("status", {})))
    async with limited(api, {"limit": 1}):
        order(api, "r1", "r2")
        await eventually(lambda: message(api, "r2") and seen and seen[-1].get("queued") == 1)
    assert [holder["run"] for holder in seen[-1]["holders"]] == ["r1"]
    assert "step" not in seen[-1]["holders"][0]


# ------------------------------------------------------------------------------------------------- callers and their children

CALL = {"name": "call", "workflow": {"name": "child"}}
LOCKED = {"name": "x", "lock": {"name": "printer"}, "job": {"image": "ok"}}


@pytest.mark.parametrize(
    ("caller", "settings"),
    [
        ({"steps": [{**CALL, "lock": {"name": "printer"}}]}, {}),
        ({"steps": [{"name": "block", "lock": {"name": "printer"}, "steps": [CALL]}]}, {}),
        ({"steps": [CALL]}, {"max_active_runs": 1, "max_active_runs_per_namespace": 1}),
    ],
    ids=["the lock of the call", "the lock around it", "the limits of the installation"],
)
async def test_a_caller_and_its_child_never_wait_for_each_other(caller: Object, settings: Object) -> None:
    api = define_shop(child={"steps": [LOCKED]})
    api.apply_run({"workflow": {"inline": caller}}, "caller")
    async with working(api, **settings):
        await eventually(lambda: all_ended(api) and ended(api, "caller"))
        assert phases(api, "caller") == ["Succeeded"]
        await eventually(lambda: holders(api) == [])


async def test_a_workflow_with_one_slot_that_calls_itself_comes_to_its_end() -> None:
    recursive = {
        "parameters": [{"name": "n"}],
        "concurrency": {"limit": 1},
        "steps": [{"name": "down", "if": "${ params.n > 0 }", "workflow": {"name": "order", "params": {"n": "${ params.n - 1 }"}}}],
    }
    api = define_shop(order=recursive)
    for name in ("first", "second"):
        api.apply_run({"workflow": {"name": "order"}, "parameters": {"n": 3}}, name)
    async with working(api):
        await eventually(lambda: all_ended(api) and ended(api, "first") and ended(api, "second"))
        assert phases(api, "first", "second") == ["Succeeded", "Succeeded"]
        assert len(api.all("workflowruns")) == 8
        await eventually(lambda: holders(api, SLOTS) == [])


async def test_a_run_whose_turn_does_not_come_in_time_fails_before_it_has_begun_and_leaves_the_line() -> None:
    api = shop()
    async with limited(api, {"limit": 1}, queueTimeout="500ms"):
        order(api, "first")
        await eventually(lambda: active(api) == ["first"])
        order(api, "second", "third")
        await eventually(lambda: ended(api, "second") and ended(api, "third"))
        assert phases(api, "first", "second", "third") == ["Running", "Failed", "Failed"]
        error = (api.run("second") or {})["status"]["error"]
        assert error["type"] == "QueueTimeout"
        assert re.fullmatch(
            r"its turn has not come within 500ms \(.* that wait for Workflow order \(limit 1\); held by run first\); see queueTimeout",
            error["detail"],
        )
        finish(api, "first")
        await eventually(lambda: ended(api, "first"))
        assert len(api.all("jobs")) == 1


async def test_a_run_that_is_suspended_does_not_wait_for_its_turn() -> None:
    api = shop()
    async with limited(api, {"limit": 1}, queueTimeout="300ms"):
        order(api, "first")
        await eventually(lambda: active(api) == ["first"])
        order(api, "second", suspend=True)
        await eventually(lambda: shown(api, "second") == "Suspended")
        finish(api, "first")
        await eventually(lambda: ended(api, "first"))
        assert phases(api, "second") == [""]
