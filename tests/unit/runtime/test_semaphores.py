"""Semaphores: the real operator on a modelled API server. Never more holders than slots, nobody left out, nothing left behind."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from backstay.engine.policies.queueing import Claim, Slots
from backstay.kube.client import Client
from backstay.observe.metrics import Metrics
from backstay.runtime import semaphores
from backstay.runtime.queue import Key
from backstay.runtime.semaphores import Semaphores
from backstay.runtime.store import RunStore
from tests.support.fake_api import FakeApi, Object
from tests.support.operating import ended, eventually, operating

LOCKED = {"steps": [{"name": "a", "lock": {"name": "printer"}, "job": {"image": "i"}}]}
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done seldom is done soon."""
    monkeypatch.setattr(semaphores, "LINE_SECONDS", 0.02)
    monkeypatch.setattr(semaphores, "STRANGER_SECONDS", 0.1)


def semaphore(limit: int | None = 1, name: str = "printer", **spec: Any) -> Object:
    """One that somebody has made."""
    limits = {} if limit is None else {"limit": limit}
    return {"metadata": {"namespace": "shop", "name": name, "uid": f"sem-{name}", "generation": 1}, "spec": {**limits, **spec}}


def one(api: FakeApi, name: str = "printer") -> Object:
    return api.objects["semaphores", "shop", name]


def holders(api: FakeApi, name: str = "printer") -> list[str]:
    found = api.objects.get(("semaphores", "shop", name), {}).get("status", {})
    return [holder["run"] for holder in found.get("holders", ())]


def waiting(api: FakeApi, name: str = "printer") -> list[str]:
    found = api.objects.get(("semaphores", "shop", name), {}).get("status", {})
    return [waiter["run"] for waiter in found.get("waiting", ())]


def active(api: FakeApi) -> list[str]:
    """The runs whose Jobs go on, in the order in which these were made."""
    return [job["metadata"]["annotations"]["backstay.dev/run-name"] for job in api.all("jobs") if not job.get("status")]


def finish(api: FakeApi, run: str) -> None:
    """End the Job of a run that goes on."""
    names = [job["metadata"]["name"] for job in api.all("jobs") if job["metadata"]["annotations"]["backstay.dev/run-name"] == run]
    api.finish_job(api.created.index(names[-1]), (0, ""))


def start(api: FakeApi, *names: str, spec: Object = LOCKED, **fields: Any) -> None:
    for name in names:
        api.apply_run({"workflow": {"inline": spec}, **fields}, name)


def shop() -> FakeApi:
    return FakeApi(lambda job: None)


# ------------------------------------------------------------------------------------------------------------ whole runs


async def test_runs_take_turns_in_the_order_in_which_they_came_and_where_there_is_no_semaphore_one_is_made() -> None:
    api = shop()
    start(api, "r1", "r2", "r3")
    async with operating(api):
        for name in ("r1", "r2", "r3"):
            await eventually(lambda name=name: active(api) == [name] and holders(api) == [name])
            finish(api, name)
            await eventually(lambda name=name: ended(api, name))
        await eventually(lambda: holders(api) == [])
    assert one(api)["spec"] == {"limit": 1}
    assert one(api)["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "backstay"}


async def test_an_operator_for_one_namespace_makes_the_first_semaphore_there(caplog: pytest.LogCaptureFixture) -> None:
    api = shop()
    start(api, "r1")
    async with operating(api, namespaces=("shop",)):
        await eventually(lambda: active(api) == ["r1"] and holders(api) == ["r1"])
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_semaphore_that_somebody_made_says_how_many() -> None:
    api = shop()
    api.put("semaphores", semaphore(2))
    start(api, "r1", "r2", "r3")
    async with operating(api):
        await eventually(lambda: active(api) == ["r1", "r2"] and waiting(api) == ["r3"])
        finish(api, "r2")
        await eventually(lambda: active(api) == ["r1", "r3"])
        api.put("semaphores", {**one(api), "spec": {"limit": 0}})
        start(api, "r4")
        finish(api, "r1")
        finish(api, "r3")
        await eventually(lambda: holders(api) == [] and waiting(api) == ["r4"])
        api.put("semaphores", {**one(api), "spec": {"limit": 1}})
        await eventually(lambda: active(api) == ["r4"])


async def test_a_higher_priority_goes_first() -> None:
    api = shop()
    start(api, "r1", "r2")
    async with operating(api):
        await eventually(lambda: active(api) == ["r1"])
        start(api, "urgent", priority=10)
        await eventually(lambda: waiting(api) == ["urgent", "r2"])
        finish(api, "r1")
        await eventually(lambda: active(api) == ["urgent"])


async def test_a_run_that_becomes_urgent_while_it_waits_goes_first() -> None:
    api = shop()
    start(api, "r1", "r2", "r3")
    async with operating(api):
        await eventually(lambda: waiting(api) == ["r2", "r3"])
        api.edit_run(lambda run: run["spec"].update(priority=3), "r3")
        await eventually(lambda: waiting(api) == ["r3", "r2"])
        finish(api, "r1")
        await eventually(lambda: active(api) == ["r3"])


async def test_a_step_that_waits_says_for_whom_and_an_event_tells_it_once() -> None:
    api = shop()
    start(api, "r1", "r2")
    async with operating(api):
        await eventually(lambda: "1st of 1 in line; held by run r1 (step a)" in str(api.run("r2")))
        await eventually(lambda: [event["reason"] for event in api.all("events")] == ["LockWaiting"])
        assert api.run("r2")["status"]["status"] == "Waiting"  # type: ignore[index]


async def test_while_it_waits_a_step_costs_no_write() -> None:
    api = shop()
    start(api, "r1", "r2")
    async with operating(api):
        await eventually(lambda: "in line" in str(api.run("r2")))
        await eventually(lambda: len(api.all("events")) == 1)
        before = len(api.writes)
        start(api, "free", spec={"steps": [{"name": "a", "job": {"image": "i"}}]})
        await eventually(lambda: "free" in active(api))
        finish(api, "free")
        await eventually(lambda: ended(api, "free"))
        assert api.writes[before:] == [("patch", "workflowruns"), ("create", "jobs"), ("patch", "workflowruns")]


async def test_a_run_that_is_deleted_with_force_frees_its_slot() -> None:
    api = shop()
    start(api, "r1", "r2")
    async with operating(api):
        await eventually(lambda: active(api) == ["r1"] and waiting(api) == ["r2"])
        api.remove("workflowruns", api.run("r1") or {})
        await eventually(lambda: holders(api) == ["r2"])


@pytest.mark.parametrize("what", ["gone", "finished", "another of its name"])
async def test_a_holder_that_went_while_no_operator_was_there_is_taken_off(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semaphores, "STRANGER_SECONDS", 0.05)
    api = shop()
    start(api, "r1", "r2")
    async with operating(api):
        await eventually(lambda: active(api) == ["r1"] and waiting(api) == ["r2"])
    if what == "finished":
        api.edit_run(lambda run: run["status"].update(phase="Failed", finishedAt="2026-11-23T09:00:00Z"))
    else:
        api.remove("workflowruns", api.run("r1") or {})
    if what == "another of its name":
        start(api, "r1", spec={"steps": [{"name": "a", "wait": {"duration": "1h"}}]})
        api.edit_run(lambda run: run["metadata"].update(uid="another"))
    async with operating(api):
        await eventually(lambda: holders(api) == ["r2"])
        await eventually(lambda: active(api)[-1:] == ["r2"])


async def test_a_step_that_ended_while_no_operator_was_there_gives_its_lock_back_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semaphores, "STRANGER_SECONDS", 3600.0)
    api = shop()
    start(api, "r1", spec={"steps": [*LOCKED["steps"], {"name": "b", "wait": {"duration": "1h"}}]})
    start(api, "r2")
    async with operating(api):
        await eventually(lambda: active(api) == ["r1"] and waiting(api) == ["r2"])
    finish(api, "r1")
    async with operating(api):
        await eventually(lambda: active(api) == ["r2"] and holders(api) == ["r2"])


async def test_somebody_in_line_who_went_while_no_operator_was_there_gets_no_slot() -> None:
    api = shop()
    start(api, "r1", "r2", "r3")
    async with operating(api):
        await eventually(lambda: active(api) == ["r1"] and waiting(api) == ["r2", "r3"])
    api.remove("workflowruns", api.run("r2") or {})
    seen: set[str] = set()
    watch(api, lambda _: seen.update(holders(api)))
    async with operating(api):
        finish(api, "r1")
        await eventually(lambda: active(api) == ["r3"])
    assert "r2" not in seen


def watch(api: FakeApi, look: Callable[[Object], object]) -> None:
    """Look at every Semaphore that is written from now on."""
    store = api._store

    def stored(plural: str, item: Object, event: str) -> None:
        store(plural, item, event)
        if plural == "semaphores":
            look(item)

    api._store = stored  # type: ignore[method-assign]


@pytest.mark.parametrize("what", ["deleted", "emptied"])
async def test_whatever_somebody_does_to_a_semaphore_a_step_that_goes_on_keeps_its_slot(what: str) -> None:
    api = shop()
    start(api, "r1", "r2")
    async with operating(api):
        await eventually(lambda: active(api) == ["r1"] and waiting(api) == ["r2"])
        if what == "deleted":
            api.remove("semaphores", one(api))
        else:
            api.put("semaphores", {**one(api), "status": {}})
        await eventually(lambda: holders(api) == ["r1"])
        finish(api, "r1")
        await eventually(lambda: active(api) == ["r2"])


async def test_one_of_ours_goes_when_nobody_has_used_it_for_a_while_and_one_of_the_users_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semaphores, "IDLE_SECONDS", 0.05)
    api = shop()
    api.put("semaphores", semaphore(1, "theirs"))
    both = {"steps": [{"name": name, "lock": {"name": lock}, "set": {"x": 1}} for name, lock in (("a", "printer"), ("b", "theirs"))]}
    start(api, "r1", spec=both)
    async with operating(api):
        await eventually(lambda: ended(api, "r1"))
        await eventually(lambda: [item["metadata"]["name"] for item in api.all("semaphores")] == ["theirs"])
        start(api, "r2", spec=both)
        await eventually(lambda: ended(api, "r2"))


async def test_a_rate_spreads_what_begins() -> None:
    api = FakeApi(lambda job: (0, ""))
    api.put("semaphores", semaphore(None, rate={"limit": 2, "per": "300ms"}))
    start(api, "r1", "r2", "r3", "r4")
    moments: dict[str, datetime] = {}
    watch(api, lambda item: moments.update(_starts(item)))
    async with operating(api):
        await eventually(lambda: all(ended(api, name) for name in ("r1", "r2", "r3", "r4")))
    began = sorted(moments.values())
    assert began[2] - began[0] >= timedelta(milliseconds=300)
    assert began[3] - began[1] >= timedelta(milliseconds=300)


def _starts(item: Object) -> dict[str, datetime]:
    return {holder["run"]: datetime.fromisoformat(holder["since"]) for holder in item.get("status", {}).get("holders", ())}


@pytest.mark.parametrize("fault", ["hang", "hang-after", "conflict", "unavailable", "lost", "busy"])
async def test_a_fault_at_any_write_lets_no_two_run_at_once_and_leaves_nothing_behind(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semaphores, "STRANGER_SECONDS", 0.02)
    names = ("r1", "r2")
    for at in range(1 if fault in ("conflict", "busy") else 0, 18, 3 if fault in ("conflict", "busy") else 1):
        api = FakeApi(lambda job: None)
        api.outcome = never_two_at_once(api)
        api.fault = lambda number, verb, plural, at=at: fault if number == at else None  # type: ignore[misc]
        start(api, *names)
        async with operating(api):
            await eventually(lambda api=api: _drive(api, names) or api.hung.is_set())
        if api.hung.is_set():
            async with operating(api):
                await eventually(lambda api=api: _drive(api, names))
        assert len(set(api.created)) == len(api.created) == 2, f"{fault} at write {at}"


def never_two_at_once(api: FakeApi, limit: int = 1) -> Callable[[Object], None]:
    def outcome(job: Object) -> None:
        assert len(active(api)) <= limit, active(api)

    return outcome


def _drive(api: FakeApi, names: tuple[str, ...]) -> bool:
    """End whatever goes on; tell whether all is over and the slots are free."""
    for name in active(api):
        finish(api, name)
    return all(ended(api, name) for name in names) and holders(api) == []


async def test_two_operators_at_once_never_give_out_one_slot_twice() -> None:
    api = FakeApi(lambda job: None)
    api.outcome = never_two_at_once(api, 2)
    api.put("semaphores", semaphore(2))
    names = tuple(f"r{number}" for number in range(12))
    start(api, *names)
    async with operating(api), operating(api):
        await eventually(lambda: _drive(api, names))
    assert Counter(job["metadata"]["annotations"]["backstay.dev/run-name"] for job in api.all("jobs")) == Counter(names)


async def test_a_right_that_is_missing_is_told_to_the_run_that_waits() -> None:
    from backstay.errors import Forbidden

    api = shop()
    words = 'User "x" cannot create resource "semaphores" in API group "backstay.dev" in the namespace "shop"'

    async def refused(*_: Any, **__: Any) -> Object:
        raise Forbidden(403, "Forbidden", words)

    create = api.create
    api.create = lambda resource, *rest, **more: refused() if resource.plural == "semaphores" else create(resource, *rest, **more)  # type: ignore[method-assign]
    start(api, "r1")
    async with operating(api):
        await eventually(
            lambda: any("grant this account the right to create semaphores.backstay.dev" in str(event) for event in api.all("events"))
        )
        api.create = create  # type: ignore[method-assign]
        await eventually(lambda: active(api) == ["r1"])


# ------------------------------------------------------------------------------------------------------- the desks alone


class Crowd:
    """Runs that exist in name only, at the desks of one operator or of several."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.woken: Counter[str] = Counter()
        self.began: set[str] = set()
        """Those that had their slot when they were woken, and so went on."""

    @asynccontextmanager
    async def desks(self) -> AsyncIterator[Semaphores]:
        found = Semaphores(cast(Client, self.api), (), RunStore(), lambda key: self._wake(found, key), lambda *_: None, Metrics(), self.now)
        tasks = [asyncio.create_task(work) for work in (*(informer.run() for informer in found.informers()), found.serve())]
        try:
            yield found
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _wake(self, desks: Semaphores, key: Key) -> None:
        self.woken.update([key.name])
        if held(desks, key.name):
            self.began.add(key.name)

    @staticmethod
    def now() -> datetime:
        return datetime.now(UTC)


def claim(name: str, seconds: int = 0, key: str = "", path: str = "a") -> Claim:
    return Claim(name, f"uid-{name}", path, key, NOON + timedelta(seconds=seconds))


def key(name: str) -> Key:
    return Key("shop", name, f"uid-{name}")


def held(desks: Semaphores, name: str, path: str = "a") -> bool:
    fact = desks.facts(f"uid-{name}").get(path)
    return fact is not None and fact.held


def semaphore_writes(api: FakeApi) -> int:
    return sum(1 for verb, plural in api.writes if (verb, plural) == ("patch", "semaphores"))


async def test_a_hundred_who_come_at_once_cost_about_one_write_for_each_slot_that_changes_hands() -> None:
    api = FakeApi(lambda job: None)
    crowd = Crowd(api)
    async with crowd.desks() as desks:
        names = [f"r{number:03}" for number in range(100)]
        for number, name in enumerate(names):
            desks.ask(key(name), "printer", claim(name, number), slots=Slots(5))
        for number in range(0, 100, 5):
            batch = names[number : number + 5]
            await eventually(lambda batch=batch: all(held(desks, name) for name in batch))
            assert not any(held(desks, name) for name in names[number + 5 :])
            for name in batch:
                desks.leave(f"uid-{name}", "a")
        await eventually(lambda: holders(api) == [])
    writes = semaphore_writes(api)
    print(f"100 contenders for 5 slots: {writes} writes, {writes / 100:.2f} for each slot that was given out")
    assert writes <= 40


async def test_two_operators_that_know_of_different_runs_do_not_both_give_out_the_last_slot() -> None:
    api = FakeApi(lambda job: None)
    api.put("semaphores", semaphore(1))
    crowd = Crowd(api)
    async with crowd.desks() as first, crowd.desks() as second:
        for number in range(20):
            ours, theirs = f"a{number}", f"b{number}"
            first.ask(key(ours), "printer", claim(ours))
            second.ask(key(theirs), "printer", claim(theirs))
            await eventually(lambda ours=ours, theirs=theirs: held(first, ours) or held(second, theirs))
            await eventually(lambda: one(api)["status"].get("held") == 1)
            assert len(crowd.began & {ours, theirs}) == 1
            first.leave(f"uid-{ours}", "a")
            second.leave(f"uid-{theirs}", "a")
            await eventually(lambda: holders(api) == [])


async def test_a_run_that_holds_the_slot_its_child_wants_does_not_wait_for_the_child_for_ever() -> None:
    api = FakeApi(lambda job: None)
    async with Crowd(api).desks() as desks:
        desks.ask(key("caller"), "printer", claim("caller", path="call"))
        await eventually(lambda: held(desks, "caller", "call"))
        desks.ask(key("caller"), "printer", claim("caller", path="call"), has_begun=True)
        desks.ask(key("other"), "printer", claim("other", 1))
        desks.ask(key("child"), "printer", claim("child", 2), family=(("uid-caller", "call/inner"),))
        await eventually(lambda: held(desks, "child"))
        assert holders(api) == ["caller", "child"]
        desks.leave("uid-caller", "call")
        await eventually(lambda: holders(api) == ["child"])
        desks.leave("uid-child", "a")
        await eventually(lambda: held(desks, "other"))


async def test_a_child_of_a_step_beside_the_one_that_holds_the_slot_waits_like_everybody() -> None:
    api = FakeApi(lambda job: None)
    async with Crowd(api).desks() as desks:
        desks.ask(key("caller"), "printer", claim("caller", path="left"))
        await eventually(lambda: held(desks, "caller", "left"))
        desks.ask(key("child"), "printer", claim("child", 2), family=(("uid-caller", "right"),))
        await eventually(lambda: waiting(api) == ["child"])
        assert not held(desks, "child")


async def test_who_waits_is_told_its_place_at_once_and_then_only_when_it_has_changed_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semaphores, "TELL_SECONDS", 0.01)
    api = FakeApi(lambda job: None)
    crowd = Crowd(api)
    async with crowd.desks() as desks:
        names = [f"r{number:02}" for number in range(40)]
        for number, name in enumerate(names):
            desks.ask(key(name), "printer", claim(name, number))
        await eventually(lambda: crowd.woken["r39"] == 1)
        assert desks.facts("uid-r39")["a"].place == 39
        for name in names[:39]:
            await eventually(lambda name=name: held(desks, name))
            desks.leave(f"uid-{name}", "a")
        await eventually(lambda: held(desks, "r39"))
        assert crowd.woken["r39"] <= 8, "39, 19, 9, 4, 2, 1, and that it has its slot"


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_goes_wrong_nobody_gets_more_than_there_is_nobody_is_forgotten_and_nothing_leaks(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two operators, runs that ask, leave and crash, and an API server that conflicts, fails and loses its answers."""
    monkeypatch.setattr(semaphores, "STRANGER_SECONDS", 0.02)
    monkeypatch.setattr(semaphores, "LINE_SECONDS", 0.005)
    chance = random.Random(seed)
    api = FakeApi(lambda job: None)
    api.put("semaphores", semaphore(2))
    most: Counter[str] = Counter()
    watch(api, lambda item: most.update(Counter(holder.get("key", "") for holder in item.get("status", {}).get("holders", ())) - most))
    api.fault = lambda number, verb, plural: chance.choice([None, None, None, "conflict", "unavailable", "lost", "busy"])
    alive: dict[str, str] = {}
    async with Crowd(api).desks() as first, Crowd(api).desks() as second:
        for number in range(60):
            name = f"r{number}"
            alive[name] = chance.choice("xy")
            api.apply_run(_run_that_wants(alive[name]), name)
            api.edit_run(lambda run, name=name: run["metadata"].update(uid=f"uid-{name}"), name)  # type: ignore[misc]
            api.edit_run(lambda run, name=name: run.update(status=_status_that_wants(alive[name])), name)  # type: ignore[misc]
            for desks in (first, second):
                desks.ask(key(name), "printer", claim(name, number, alive[name]))
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
            for gone in [each for each in list(alive) if chance.random() < 0.1]:
                del alive[gone]
                api.objects.pop(("workflowruns", "shop", gone))
                if chance.random() < 0.5:  # otherwise it went without a word, and nobody here has heard of it since
                    for desks in (first, second):
                        desks.forget(f"uid-{gone}")
                else:
                    for desks in (first, second):
                        _crash(desks, f"uid-{gone}")
        api.fault = lambda number, verb, plural: None
        while alive:
            await eventually(
                lambda: any(held(first, name) for name in alive), f"nobody of {sorted(alive)} gets a slot, held: {holders(api)}"
            )
            for name in [name for name in alive if held(first, name)]:
                del alive[name]
                api.objects.pop(("workflowruns", "shop", name))
                for desks in (first, second):
                    desks.forget(f"uid-{name}")
        await eventually(lambda: holders(api) == [], f"left behind: {holders(api)}")
    assert max(most.values()) == 2


def _run_that_wants(key: str) -> Object:
    return {"workflow": {"inline": {"steps": [{"name": "a", "lock": {"name": "printer", "key": key}, "set": {"x": 1}}]}}}


def _status_that_wants(key: str) -> Object:
    step = {
        "path": "a",
        "kind": "set",
        "phase": "Waiting",
        "startedAt": "2026-11-23T12:00:00Z",
        "lock": {"name": "printer", "key": key},
    }
    return {"phase": "Running", "startedAt": "2026-11-23T12:00:00Z", "steps": [step]}


def _crash(desks: Semaphores, uid: str) -> None:
    """An operator that knew of a run is replaced by one that never heard of it."""
    for place in desks._asked.pop(uid, {}).values():
        desk = desks._desks[place]
        for id_ in [id_ for id_ in desk.wanted if id_.startswith(f"{uid}/")]:
            del desk.wanted[id_]
            desk.lines.remove(id_)
