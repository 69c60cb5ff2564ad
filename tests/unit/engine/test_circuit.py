"""A step with a circuit asks its breaker before each attempt: let through, failed, or kept waiting; and what it tells the breaker afterwards."""

from datetime import timedelta

import pytest

from backstay.api.circuit import CircuitState
from backstay.engine.model import AskCircuit, CircuitFact, Fault, JobState, LeaveCircuit
from tests.support.world import START, World

CALL = """
steps:
- name: pay
  circuit: bank
  RETRY
  job: {image: i}
- {name: done, set: {paid: true}}
"""
FALLBACK = """
steps:
- name: pay
  circuit: bank
  job: {image: i}
  catch: [{errors: [CircuitOpen], steps: [{name: later, set: {later: true}}]}]
"""
RETRIED = "retry: {maxAttempts: 3, interval: 1s, jitter: None}"
CLOSED = CircuitFact()
HALF_OPEN = CircuitFact(CircuitState.HALF_OPEN, room=True)
FULL = CircuitFact(CircuitState.HALF_OPEN)


def open_for(seconds: float, *, waits: bool = False) -> CircuitFact:
    return CircuitFact(CircuitState.OPEN, START + timedelta(seconds=seconds), waits=waits, why="the latest failure was Timeout")


def held(text: str, fact: CircuitFact) -> World:
    """A run that comes to its step with a circuit after a minute; the breaker stands so by then."""
    world = World("steps:\n- {name: first, wait: {duration: 1m}}\n" + text.strip().removeprefix("steps:").lstrip("\n"))
    world.breaker("bank", fact)
    return world.pass_time("1m")


def detail_of(world: World) -> str:
    error = world.step("pay").error
    return error.detail if error else ""


def call(modifiers: str = "whenOpen: Fail") -> str:
    return CALL.replace("RETRY", modifiers)


# ------------------------------------------------------------------------------------------------------------ closed, open


def test_a_closed_breaker_lets_everything_through_and_nothing_is_written_for_it() -> None:
    with_circuit, without = World(call()), World(call().replace("circuit: bank", "").replace("whenOpen: Fail", ""))
    for world in (with_circuit, without):
        world.succeed("pay")
    assert with_circuit.story == without.story
    assert with_circuit.writes == without.writes
    assert with_circuit.probes == []


def test_an_open_breaker_fails_a_step_at_once_and_no_attempt_is_made() -> None:
    world = held(call(RETRIED), open_for(90))
    assert (world.phase, world.made) == ("Failed", [])
    error = world.step("pay").error
    assert error is not None
    assert error.type == "CircuitOpen"
    assert error.detail == "bank: it is open until 2026-11-23T09:01:30Z (the latest failure was Timeout)"


def test_a_fallback_is_a_catch_of_circuit_open() -> None:
    world = held(FALLBACK, open_for(90))
    assert (world.phase, world.step("pay").phase) == ("Succeeded", "Caught")
    assert world.state.run.vars == {"later": True}


@pytest.mark.parametrize("errors", ["CircuitOpen", "Transient", "'*'"])
def test_circuit_open_is_a_transient_error_to_a_catch(errors: str) -> None:
    assert held(FALLBACK.replace("[CircuitOpen]", f"[{errors}]"), open_for(90)).phase == "Succeeded"


def test_a_breaker_that_opens_between_two_attempts_ends_the_retries_of_a_step_that_does_not_wait() -> None:
    world = World(call(RETRIED)).fail("pay", "Timeout")
    world.breaker("bank", open_for(30)).pass_time("1s")
    assert (world.phase, world.step("pay").attempt, len(world.made)) == ("Failed", 1, 1)
    assert world.state.run.error is not None
    assert world.state.run.error.type == "CircuitOpen"


# -------------------------------------------------------------------------------------------------------------- waiting


@pytest.mark.parametrize("fact", [open_for(90), open_for(90, waits=True)], ids=["the step says so", "the breaker says so"])
def test_a_step_that_waits_goes_on_when_the_breaker_has_closed(fact: CircuitFact) -> None:
    world = held(call("whenOpen: Wait" if not fact.waits else ""), fact)
    step = world.step("pay")
    assert (step.phase, step.circuit) == ("Waiting", "bank")
    assert step.message == "waits for circuit breaker bank: it is open until 2026-11-23T09:01:30Z (the latest failure was Timeout)"
    assert world.made == []
    world.breaker("bank", CLOSED)
    assert (world.step("pay").phase, world.step("pay").circuit, world.step("pay").message) == ("Running", None, None)
    assert world.succeed("pay").phase == "Succeeded"
    assert world.asking == {}


def test_a_step_says_itself_that_it_fails_where_the_breaker_would_have_it_wait() -> None:
    assert held(call(), open_for(90, waits=True)).phase == "Failed"


def test_a_retry_that_waits_uses_up_no_attempt() -> None:
    world = World(call(f"whenOpen: Wait\n  {RETRIED}")).fail("pay", "Timeout")
    world.breaker("bank", open_for(30)).pass_time("5m")
    step = world.step("pay")
    assert (step.phase, step.attempt, step.circuit) == ("Retrying", 1, "bank")
    world.breaker("bank", CLOSED)
    assert (world.step("pay").phase, world.step("pay").attempt) == ("Running", 2)
    assert world.succeed("pay").phase == "Succeeded"


def test_the_timeout_of_a_step_counts_while_it_waits_and_goes_on_from_there() -> None:
    text = call("whenOpen: Wait\n  timeout: 10m")
    late = held(text, open_for(90)).pass_time("10m")
    assert late.phase == "Failed"
    assert "it has not ended within 10m (waits for circuit breaker bank: it is open until" in detail_of(late)
    world = held(text, open_for(90)).pass_time("4m").breaker("bank", CLOSED)
    assert world.step("pay").phase == "Running"
    world.pass_time("6m")
    assert (world.step("pay").phase, world.now - START) == ("Failed", timedelta(minutes=11))


def test_a_breaker_that_opens_again_and_again_costs_a_waiting_step_ever_fewer_writes() -> None:
    world = held(call("whenOpen: Wait"), open_for(90))
    before = world.writes
    for number in range(2, 130):
        world.breaker("bank", open_for(60 + number * 30)).pass_time("30s")
    assert world.writes - before <= 7, "128 openings within an hour"
    assert "until 2026-11-23T10:05:00Z" in (world.step("pay").message or "")


def test_a_step_that_waits_is_cancelled_at_once() -> None:
    world = held(call("whenOpen: Wait"), open_for(90)).wants(cancel=True)
    assert (world.phase, world.step("pay").phase) == ("Cancelled", "Cancelled")
    assert world.asking == {}


def test_a_suspended_run_asks_for_nothing_and_asks_again_afterwards() -> None:
    world = held(call("whenOpen: Wait"), open_for(90)).wants(suspend=True)
    assert world.asking == {}
    world.breaker("bank", CLOSED)
    assert world.made == []
    assert world.wants(suspend=False).step("pay").phase == "Running"


def test_what_undoes_a_step_waits_although_it_is_to_fail() -> None:
    undone = """
steps:
- name: reserve
  set: {x: 1}
  compensate: {steps: [{name: release, circuit: bank, whenOpen: Fail, job: {image: i}}]}
- {name: stop, job: {image: i}}
"""
    world = World(undone)
    world.breaker("bank", open_for(60)).fail("stop")
    assert (world.phase, world.step("reserve:compensate/release").phase) == ("Compensating", "Waiting")
    world.breaker("bank", CLOSED).succeed("reserve:compensate/release")
    assert world.phase == "Failed"


def test_a_retriable_step_waits_although_it_is_to_fail() -> None:
    world = held(call("whenOpen: Fail\n  retriable: true"), open_for(90))
    assert world.step("pay").phase == "Waiting"


def test_a_step_asks_when_it_has_its_lock() -> None:
    world = held(call("whenOpen: Wait\n  lock: {name: desk}"), open_for(90))
    assert (world.step("pay").locked_at, world.step("pay").circuit) == (world.now, "bank")
    world.breaker("bank", CLOSED).succeed("pay")
    assert world.phase == "Succeeded"
    assert world.asked == {}


# -------------------------------------------------------------------------------------------------------------- probing


def test_half_open_a_step_asks_is_written_and_goes_on_as_a_probe() -> None:
    world = held(call(), HALF_OPEN)
    assert (world.step("pay").phase, world.step("pay").circuit) == ("Waiting", "bank")
    assert world.probes == [AskCircuit("pay", "bank", 1, world.now)]
    world.let_through("pay")
    assert (world.step("pay").phase, world.step("pay").circuit) == ("Running", "bank")
    assert world.probes[1:] == [LeaveCircuit("pay", has_begun=True)]
    world.succeed("pay")
    assert [(report.error, report.is_probe) for report in world.reports] == [(None, True)]
    assert world.step("pay").circuit is None


def test_who_is_not_let_through_as_a_probe_fails_or_waits_on() -> None:
    world = held(call(), HALF_OPEN).let_through()
    assert (world.phase, world.made) == ("Failed", [])
    assert "half open and has let through as many as it may" in detail_of(world)
    waits = held(call("whenOpen: Wait"), HALF_OPEN).let_through()
    assert waits.step("pay").phase == "Waiting"
    assert waits.let_through("pay").step("pay").phase == "Running"


def test_where_no_place_is_left_a_step_fails_without_asking() -> None:
    world = held(call(), FULL)
    assert (world.phase, world.probes) == ("Failed", [])


def test_a_probe_that_is_no_longer_wanted_gives_its_place_back() -> None:
    world = held(call(), HALF_OPEN)
    world.wants(cancel=True)
    assert world.probes[1:] == [LeaveCircuit("pay")]


def test_a_retry_is_a_probe_as_well() -> None:
    world = World(call(RETRIED)).fail("pay", "Timeout").breaker("bank", HALF_OPEN).pass_time("1s")
    assert (world.step("pay").phase, world.step("pay").circuit) == ("Retrying", "bank")
    world.let_through("pay")
    assert (world.step("pay").phase, world.step("pay").attempt) == ("Running", 2)
    world.fail("pay", "Timeout")
    assert [(report.attempt, report.is_probe) for report in world.reports] == [(1, False), (2, True)]


# -------------------------------------------------------------------------------------------------------------- telling


def told(world: World) -> list[tuple[int, str | None, bool]]:
    """What was told to the breaker: attempt, type of error, whether it says anything."""
    return [(report.attempt, report.error.type if report.error else None, report.says) for report in world.reports]


def test_each_attempt_is_told_once_however_it_ends() -> None:
    world = World(call(RETRIED)).fail("pay", "Timeout").pass_time("1s").fail("pay", "OOMKilled").pass_time("2s").succeed("pay")
    assert told(world) == [(1, "Timeout", True), (2, "OOMKilled", True), (3, None, True)]


def test_an_attempt_that_times_out_is_told_when_it_has_been_stopped() -> None:
    world = World(call("attemptTimeout: 1m"))
    world.stops_at_once = False
    world.pass_time("1m")
    assert told(world) == []
    world.gone("pay")
    assert told(world) == [(1, "Timeout", True)]


def test_an_attempt_that_is_stopped_from_outside_says_nothing_of_who_was_called() -> None:
    assert told(World(call()).wants(cancel=True)) == [(1, None, False)]


def test_a_disrupted_attempt_that_runs_again_is_told_once() -> None:
    world = World(call())
    world.end("pay", JobState.FAILED, fault=Fault("Evicted", detail="its node was drained"))
    world.pass_time("1m").succeed("pay")
    assert told(world) == [(1, None, True)]


def test_a_disrupted_attempt_that_is_stopped_before_it_runs_again_is_told() -> None:
    world = World(call()).end("pay", JobState.FAILED, fault=Fault("Evicted", detail="its node was drained"))
    assert told(world.wants(cancel=True)) == [(1, None, False)]


def test_a_caught_error_is_told_once_whatever_becomes_of_its_handler() -> None:
    world = World(FALLBACK.replace("[CircuitOpen]", "['*']").replace("set: {later: true}", "job: {image: i}")).fail("pay", "Timeout")
    world.stops_at_once = False
    world.wants(cancel=True)
    assert world.step("pay").phase == "Stopping"
    world.gone("pay:catch0/later")
    assert (world.phase, told(world)) == ("Cancelled", [(1, "Timeout", True)])


def test_each_iteration_speaks_for_itself() -> None:
    world = World("steps: [{name: each, forEach: {count: 2, parallelism: 2, steps: [{name: pay, circuit: bank, job: {image: i}}]}}]")
    world.succeed("each[0]/pay").succeed("each[1]/pay")
    assert [(report.name, report.path) for report in world.reports] == [("bank", "each[0]/pay"), ("bank", "each[1]/pay")]


def test_calls_and_child_runs_ask_as_well() -> None:
    for action in ("http: {url: 'https://bank.example.com/'}", "workflow: {name: child}"):
        world = held(call().replace("job: {image: i}", action), open_for(90))
        assert (world.phase, world.called, world.born) == ("Failed", [], [])
