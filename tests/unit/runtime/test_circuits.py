"""Circuit breakers: the real operator on a modelled API server. What runs see of them, what is written, how often, and what a crash leaves behind."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from backstay.engine.codec import time_to_json
from backstay.kube.client import Client
from backstay.observe.events import Announcer as Events
from backstay.observe.metrics import Metrics
from backstay.runtime import circuits
from backstay.runtime.circuits import Circuits
from backstay.runtime.queue import Key
from backstay.runtime.store import RunStore
from tests.support.fake_api import FakeApi, Object
from tests.support.operating import ended, eventually, operating

FAILS = '{"error": {"type": "BankDown", "message": "no answer"}}'
QUICK = {"window": {"count": 4}, "minimumCalls": 2, "errors": ["BankDown"], "openFor": "300ms"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done seldom is done soon."""
    monkeypatch.setattr(circuits, "SHOW_SECONDS", 0.05)


def breaker(name: str = "bank", **spec: object) -> Object:
    """One that somebody has made."""
    return {"metadata": {"namespace": "shop", "name": name, "uid": f"cb-{name}", "generation": 1}, "spec": {**QUICK, **spec}}


def change(api: FakeApi, **spec: object) -> None:
    """Somebody changes its spec."""
    one = api.objects["circuitbreakers", "shop", "bank"]
    api.put(
        "circuitbreakers",
        {**one, "metadata": {**one["metadata"], "generation": one["metadata"]["generation"] + 1}, "spec": {**one["spec"], **spec}},
    )


def status(api: FakeApi, name: str = "bank") -> Object:
    found: Object = api.objects.get(("circuitbreakers", "shop", name), {}).get("status", {})
    return found


def state(api: FakeApi) -> str:
    return str(status(api).get("state"))


def guarded(when_open: str = "Fail", **fields: object) -> Object:
    return {"steps": [{"name": "pay", "circuit": "bank", "whenOpen": when_open, "job": {"image": "i"}, **fields}]}


def start(api: FakeApi, *names: str, when_open: str = "Fail", **fields: object) -> None:
    for name in names:
        api.apply_run({"workflow": {"inline": guarded(when_open, **fields)}}, name)


def run_of(job: Object) -> str:
    return str(job["metadata"]["annotations"]["backstay.dev/run-name"])


def bank(answers: dict[str, tuple[int, str] | None]) -> FakeApi:
    """A shop whose Jobs end by the first letter of their run's name; those of no letter here go on."""
    return FakeApi(lambda job: answers.get(run_of(job)[0]))


BAD_AND_GOOD: dict[str, tuple[int, str] | None] = {"b": (1, FAILS), "g": (0, "")}


def error_of(api: FakeApi, name: str) -> str:
    return str(((api.run(name) or {}).get("status") or {}).get("error", {}).get("type"))


def active(api: FakeApi) -> list[str]:
    return [run_of(job) for job in api.all("jobs") if not job.get("status")]


def finish(api: FakeApi, run: str, outcome: tuple[int, str] = (0, "")) -> None:
    """End the Job of a run that goes on."""
    names = [job["metadata"]["name"] for job in api.all("jobs") if run_of(job) == run]
    api.finish_job(api.created.index(names[-1]), outcome)


def writes(api: FakeApi) -> int:
    """How often a CircuitBreaker was written."""
    return sum(plural == "circuitbreakers" for _, plural in api.writes)


def watch(api: FakeApi, look: Callable[[Object], object]) -> None:
    """Look at every CircuitBreaker that is written from now on."""
    store = api._store

    def stored(plural: str, item: Object, event: str) -> None:
        store(plural, item, event)
        if plural == "circuitbreakers":
            look(item)

    api._store = stored  # type: ignore[method-assign]


def already_open(seconds: float, **spec: object) -> Object:
    """One that an operator before has found to fail; it is open for so long yet."""
    now = datetime.now(UTC)
    until = time_to_json(now + timedelta(seconds=seconds))
    return {**breaker(**spec), "status": {"state": "Open", "since": time_to_json(now), "openUntil": until, "observedGeneration": 1}}


async def open_it(api: FakeApi) -> None:
    start(api, "b1", "b2")
    await eventually(lambda: state(api) == "Open")


# ------------------------------------------------------------------------------------------------------------ whole runs


async def test_where_there_is_no_breaker_one_with_the_default_settings_is_made_and_nobody_waits_for_it() -> None:
    api = bank(BAD_AND_GOOD)
    start(api, "g1")
    async with operating(api):
        await eventually(lambda: ended(api, "g1"))
        await eventually(lambda: state(api) == "Closed")
    made = api.objects["circuitbreakers", "shop", "bank"]
    assert made["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "backstay"}
    assert made["status"]["conditions"][0]["status"] == "True"


async def test_what_fails_too_often_is_left_alone_and_found_out_about_and_called_again() -> None:
    api = bank(BAD_AND_GOOD)
    api.put("circuitbreakers", breaker())
    async with operating(api):
        await open_it(api)
        assert status(api)["failed"] == "2/2"
        assert status(api)["lastError"]["type"] == "BankDown"
        assert status(api)["lastError"]["detail"] == "no answer"
        start(api, "g1")
        await eventually(lambda: error_of(api, "g1") == "CircuitOpen")
        assert len(api.created) == 2
        await eventually(lambda: state(api) == "HalfOpen")
        start(api, "g2")
        await eventually(lambda: ended(api, "g2") and state(api) == "Closed")
        assert (status(api)["transitions"], status(api)["failed"]) == (3, "0/0")


async def test_its_events_tell_of_every_change_in_the_same_words() -> None:
    api = bank(BAD_AND_GOOD)
    api.put("circuitbreakers", breaker(openFor="100ms"))

    def told() -> dict[str, str]:
        return {event["reason"]: event["note"] for event in api.all("events") if event["regarding"].get("kind") == "CircuitBreaker"}

    async with operating(api):
        await open_it(api)
        await eventually(lambda: state(api) == "HalfOpen")
        start(api, "g1")
        await eventually(lambda: {"CircuitOpened", "CircuitHalfOpened", "CircuitClosed"} <= told().keys())
    assert told()["CircuitOpened"].startswith(
        "2 of 2 calls have failed; it lets nothing through for 100ms; the latest failure was BankDown: no answer (run b"
    )
    assert told()["CircuitClosed"] == "the probe has gone well"


async def test_those_who_wait_go_on_when_it_has_closed_the_first_of_them_as_the_probe() -> None:
    api = bank({**BAD_AND_GOOD, "w": None})
    api.put("circuitbreakers", breaker())
    async with operating(api):
        await open_it(api)
        start(api, "w1", "w2", "w3", when_open="Wait")
        await eventually(
            lambda: all("waits for circuit breaker bank: it is open until" in str(api.run(name)) for name in ("w1", "w2", "w3"))
        )
        await eventually(lambda: len(active(api)) == 1)
        assert [probe["run"] for probe in status(api)["probes"]] == active(api)
        finish(api, active(api)[0])
        await eventually(lambda: len(active(api)) == 2)
        assert state(api) == "Closed"


async def test_a_probe_that_fails_opens_it_again_and_the_next_is_another() -> None:
    api = bank({**BAD_AND_GOOD, "w": None})
    api.put("circuitbreakers", breaker(openFor="100ms"))
    async with operating(api):
        await open_it(api)
        start(api, "w1", "w2", when_open="Wait")
        await eventually(lambda: len(active(api)) == 1)
        (first,) = active(api)
        finish(api, first, (1, FAILS))
        await eventually(lambda: len(active(api)) == 1 and active(api) != [first])
        assert status(api)["transitions"] == 4
        finish(api, active(api)[0])
        await eventually(lambda: state(api) == "Closed")


@pytest.mark.parametrize("probes", [1, 3])
async def test_never_more_probes_than_allowed_though_fifty_want_to(probes: int) -> None:
    api = bank({**BAD_AND_GOOD, "w": None})
    api.put("circuitbreakers", breaker(openFor="100ms", halfOpen={"probes": probes}))
    seen: list[int] = []
    watch(api, lambda one: seen.append(len((one.get("status") or {}).get("probes", ()))))
    async with operating(api):
        await open_it(api)
        start(api, *(f"w{number}" for number in range(50)), when_open="Wait")
        for _ in range(probes):
            await eventually(lambda: active(api))
            assert len(active(api)) <= probes
            finish(api, active(api)[0])
        await eventually(lambda: len(active(api)) == 50 - probes)
    assert max(seen) == probes


async def test_two_operators_at_once_let_no_more_probes_through_than_allowed() -> None:
    api = bank({**BAD_AND_GOOD, "w": None})
    api.put("circuitbreakers", already_open(0.3, halfOpen={"probes": 2}))
    seen: list[int] = []
    watch(api, lambda one: seen.append(len((one.get("status") or {}).get("probes", ()))))
    async with operating(api), operating(api):
        start(api, *(f"w{number}" for number in range(20)), when_open="Wait")
        for _ in range(2):
            await eventually(lambda: active(api))
            assert len(active(api)) <= 2
            finish(api, active(api)[0])
        await eventually(lambda: len(active(api)) == 18)
    assert max(seen) == 2
    assert len(api.created) == len(set(api.created))


async def test_a_probe_whose_run_is_cancelled_makes_room_for_another() -> None:
    api = bank({**BAD_AND_GOOD, "w": None})
    api.put("circuitbreakers", breaker(openFor="100ms"))
    async with operating(api):
        await open_it(api)
        start(api, "w1", "w2", when_open="Wait")
        await eventually(lambda: len(active(api)) == 1)
        (first,) = active(api)
        api.edit_run(lambda run: run["spec"].update(cancel={}), first)
        await eventually(lambda: active(api) and active(api) != [first])


@dataclass
class Desks:
    """The breakers of one operator alone, without runs: who was woken, and who of them was let through at that moment."""

    circuits: Circuits
    woken: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)

    def ask(self, name: str) -> None:
        self.circuits.ask(Key("shop", name, f"uid-{name}"), "bank", "pay", 1, datetime.now(UTC))

    def may(self, name: str) -> bool:
        return self.circuits.permits(f"uid-{name}")["pay"].granted


@asynccontextmanager
async def desks(api: FakeApi) -> AsyncIterator[Desks]:
    client = cast(Client, api)

    def wake(key: Key) -> None:
        found.woken.add(key.name)
        if found.may(key.name):
            found.passed.add(key.name)

    events, metrics = Events(client), Metrics()
    found = Desks(Circuits(client, (), RunStore(), wake, lambda run, error: None, events, metrics, lambda: datetime.now(UTC)))
    tasks = [asyncio.create_task(work) for work in (found.circuits.serve(), *(one.run() for one in found.circuits.informers()))]
    try:
        yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_was_let_through_and_wants_no_attempt_any_more_gives_the_place_to_the_next() -> None:
    api = bank({})
    api.put("circuitbreakers", already_open(0.05, halfOpen={"within": "1h"}))
    async with desks(api) as found:
        found.ask("first")
        found.ask("second")
        await eventually(lambda: found.may("first"))
        assert not found.may("second")
        await eventually(lambda: found.woken == {"first", "second"})
        found.circuits.leave("uid-first", "pay")
        await eventually(lambda: found.may("second"))
        found.circuits.leave("uid-second", "pay", has_begun=True)
        assert [probe["run"] for probe in status(api)["probes"]] == ["second"]


async def test_of_two_operators_that_let_somebody_through_at_the_same_moment_only_one_may() -> None:
    api = bank({})
    api.put("circuitbreakers", already_open(3600))
    async with desks(api) as one, desks(api) as other:
        one.ask("first")
        other.ask("second")
        await eventually(lambda: one.woken and other.woken, "they are answered: it is open")
        half_open = {**status(api), "state": "HalfOpen", "openUntil": None}
        before = writes(api)
        api.put("circuitbreakers", {**api.objects["circuitbreakers", "shop", "bank"], "status": half_open})
        await eventually(lambda: writes(api) >= before + 2, "both write, and the version lets only one of them")
        await eventually(lambda: one.circuits.facts("shop", ["bank"]) == other.circuits.facts("shop", ["bank"]))
    assert len(one.passed | other.passed) == 1
    assert [probe["run"] for probe in status(api)["probes"]] == [*one.passed, *other.passed]


# --------------------------------------------------------------------------------------------------------------- people


async def test_a_reset_closes_it_at_once_and_only_once() -> None:
    api = bank({**BAD_AND_GOOD, "w": None})
    api.put("circuitbreakers", breaker(openFor="1h"))
    async with operating(api):
        await open_it(api)
        start(api, "w1", when_open="Wait")
        change(api, reset={"id": "r1", "reason": "the bank called"})
        await eventually(lambda: active(api) == ["w1"] and state(api) == "Closed")
        assert status(api)["reset"] == "r1"
        start(api, "b3", "b4")
        await eventually(lambda: state(api) == "Open")


async def test_a_person_holds_it_open_and_lets_it_go() -> None:
    api = bank({**BAD_AND_GOOD, "w": None})
    api.put("circuitbreakers", breaker(forced={"state": "Open", "reason": "maintenance until six"}))
    async with operating(api):
        await eventually(lambda: state(api) == "Open")
        start(api, "g1")
        await eventually(lambda: ended(api, "g1"))
        assert "held Open by a person: maintenance until six" in api.run("g1")["status"]["error"]["detail"]  # type: ignore[index]
        change(api, forced=None)
        await eventually(lambda: state(api) == "HalfOpen")
        start(api, "g2")
        await eventually(lambda: state(api) == "Closed")


async def test_a_spec_that_makes_no_sense_is_told_and_the_default_settings_go_for_it() -> None:
    api = bank(BAD_AND_GOOD)
    api.put("circuitbreakers", breaker(openFor="0s"))
    async with operating(api):
        await eventually(lambda: status(api))
    ready = status(api)["conditions"][0]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "False", "InvalidSpec")
    assert "openFor: 0s is out of bounds; write a duration from 100ms to 1d" in ready["message"]


async def test_a_breaker_that_is_deleted_while_somebody_waits_is_made_again_and_closed() -> None:
    api = bank({**BAD_AND_GOOD, "w": None})
    api.put("circuitbreakers", breaker(openFor="1h"))
    async with operating(api):
        await open_it(api)
        start(api, "w1", when_open="Wait")
        await eventually(lambda: "waits for circuit breaker" in str(api.run("w1")))
        api.remove("circuitbreakers", api.objects["circuitbreakers", "shop", "bank"])
        await eventually(lambda: active(api) == ["w1"] and state(api) == "Closed")


# ---------------------------------------------------------------------------------------------------------- taking over


async def test_one_that_takes_over_finds_it_open_and_closes_it_in_time() -> None:
    api = bank(BAD_AND_GOOD)
    api.put("circuitbreakers", breaker(openFor="500ms"))
    async with operating(api):
        await open_it(api)
    async with operating(api):
        start(api, "g1")
        await eventually(lambda: error_of(api, "g1") == "CircuitOpen")
        await eventually(lambda: state(api) == "HalfOpen")
        start(api, "g2")
        await eventually(lambda: state(api) == "Closed")


async def test_one_that_takes_over_counts_on_from_what_was_written() -> None:
    api = bank(BAD_AND_GOOD)
    api.put("circuitbreakers", breaker())
    async with operating(api):
        start(api, "b1")
        await eventually(lambda: status(api).get("failed") == "1/1")
    async with operating(api):
        start(api, "b2")
        await eventually(lambda: state(api) == "Open")


async def test_a_probe_that_is_lost_with_its_operator_blocks_nobody_for_long() -> None:
    api = bank({**BAD_AND_GOOD, "w": None})
    api.put("circuitbreakers", breaker(openFor="100ms", halfOpen={"within": "400ms"}))
    async with operating(api):
        await open_it(api)
        start(api, "w1", when_open="Wait")
        await eventually(lambda: active(api) == ["w1"])
    api.remove("workflowruns", api.run("w1") or {})
    async with operating(api):
        start(api, "w2", when_open="Wait")
        await eventually(lambda: active(api) == ["w2"])
        finish(api, "w2")
        await eventually(lambda: state(api) == "Closed")


async def test_a_probe_goes_on_over_a_restart_and_its_result_counts() -> None:
    api = bank({**BAD_AND_GOOD, "w": None})
    api.put("circuitbreakers", breaker(openFor="100ms"))
    async with operating(api):
        await open_it(api)
        start(api, "w1", when_open="Wait")
        await eventually(lambda: active(api) == ["w1"])
    async with operating(api):
        finish(api, "w1")
        await eventually(lambda: ended(api, "w1") and state(api) == "Closed")


async def dies_at(number: int, how: str) -> bool:
    """Two failures open a breaker, one run waits and is the probe; the operator dies at a write. Returns whether it came to that."""
    api, names = bank(BAD_AND_GOOD), ("b1", "b2", "g1")
    api.put("circuitbreakers", breaker(openFor="150ms", halfOpen={"within": "200ms"}))
    api.fault = lambda count, verb, plural: how if count == number and plural != "events" else None
    start(api, "b1", "b2")
    start(api, "g1", when_open="Wait")
    async with operating(api):
        await eventually(lambda: api.hung.is_set() or all(ended(api, name) for name in names), f"crash at write {number}")
    api.fault = lambda count, verb, plural: None
    async with operating(api):
        await eventually(lambda: all(ended(api, name) for name in names), f"after a crash at write {number}")
        await eventually(lambda: state(api) != "HalfOpen" or not status(api).get("probes"), "a probe is never given up")
    assert len(api.created) == len(set(api.created)) == 3
    return api.hung.is_set()


@pytest.mark.parametrize("how", ["hang", "hang-after"])
async def test_killed_at_any_write_the_next_operator_brings_every_run_to_its_end(how: str) -> None:
    number = 0
    while await dies_at(number, how):
        number += 1
    assert number > 8


async def test_a_breaker_that_cannot_be_written_is_tried_again_and_whoever_waits_is_told() -> None:
    api = bank({**BAD_AND_GOOD, "w": None})
    api.put("circuitbreakers", already_open(0.2))
    api.fault = lambda number, verb, plural: "quota" if plural == "circuitbreakers" else None
    start(api, "w1", when_open="Wait")
    async with operating(api):
        await eventually(lambda: any(event["reason"] == "Waiting" for event in api.all("events")))
        api.fault = lambda number, verb, plural: None
        await eventually(lambda: active(api) == ["w1"], limit_seconds=30)


# --------------------------------------------------------------------------------------------------------- what it costs


async def calls(api: FakeApi, names: list[str]) -> int:
    """Start runs, a hundred at a time, and return how often their breaker is written until all have ended."""
    before = writes(api)
    for number, name in enumerate(names):
        start(api, name)
        if number % 100 == 99:
            await eventually(lambda so_far=names[: number + 1]: all(ended(api, name) for name in so_far), limit_seconds=60)
    return writes(api) - before


async def test_a_breaker_whose_calls_go_well_is_not_written_at_all() -> None:
    api = bank(BAD_AND_GOOD)
    api.put("circuitbreakers", breaker(window={"count": 100}, minimumCalls=50))
    async with operating(api):
        await eventually(lambda: state(api) == "Closed")
        assert await calls(api, [f"g{number}" for number in range(300)]) == 0


async def test_some_failures_are_shown_every_few_seconds_whatever_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuits, "SHOW_SECONDS", 3600.0)
    api = bank(BAD_AND_GOOD)
    api.put("circuitbreakers", breaker(window={"count": 100}, minimumCalls=100))
    async with operating(api):
        await eventually(lambda: state(api) == "Closed")
        names = [f"{'b' if number % 5 == 0 else 'g'}{number}" for number in range(300)]
        assert await calls(api, names) <= 1


async def test_opening_costs_one_write_and_being_open_none() -> None:
    api = bank(BAD_AND_GOOD)
    api.put("circuitbreakers", breaker(window={"count": 100}, minimumCalls=2, openFor="1h"))
    async with operating(api):
        await eventually(lambda: state(api) == "Closed")
        before = writes(api)
        await open_it(api)
        assert 1 <= writes(api) - before <= 3, "the failures are shown, then it opens"
        assert await calls(api, [f"g{number}" for number in range(200)]) == 0
        assert all(error_of(api, f"g{number}") == "CircuitOpen" for number in range(200))


async def test_half_open_costs_a_write_for_each_probe_that_begins_and_for_each_that_ends_however_many_wait() -> None:
    api = bank({**BAD_AND_GOOD, "w": None})
    api.put("circuitbreakers", breaker(openFor="500ms", halfOpen={"probes": 3}))
    async with operating(api):
        await open_it(api)
        before = writes(api)
        start(api, *(f"w{number}" for number in range(100)), when_open="Wait")
        await eventually(lambda: len(active(api)) == 3)
        for run in active(api):
            finish(api, run)
        await eventually(lambda: len(active(api)) == 97)
        assert writes(api) - before <= 6
