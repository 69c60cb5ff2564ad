"""A circuit breaker by itself: a table of what it does when, and a machine that does anything at all to it and to a simple reference."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backstay.api.circuit import CircuitState
from backstay.api.validate import parse_circuit_breaker
from backstay.engine.policies.breaker import GRAINS, Circuit, Probe, Result, Rules, Window, Wishes, rules_of, settle, wakes_at

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


def step(circuit: Circuit, rules: Rules, now: datetime, *results: Result, window: Window | None = None, **more: object) -> Circuit:
    wishes, asking, gone = more.get("wishes", Wishes()), more.get("asking", ()), more.get("gone", ())
    return settle(circuit, rules, wishes, window or Window(rules), results, gone, asking, now)  # type: ignore[arg-type]


def probe(name: str, since: datetime = NOON) -> Probe:
    return Probe(f"run-{name}", name, "pay", 1, since)


def opened(rules: Rules, now: datetime = NOON) -> Circuit:
    return Circuit(OPEN, now, now + rules.open_for, transitions=1)


def half_open(rules: Rules, *names: str) -> Circuit:
    """One that is half open since noon and has let these through."""
    return step(opened(rules, NOON - rules.open_for), rules, NOON, asking=[probe(name) for name in names])


# ------------------------------------------------------------------------------------------------------------ judging


@pytest.mark.parametrize(
    ("error", "errors", "judged"),
    [
        (None, ("Transient",), False),
        ("HttpUnavailable", ("Transient",), True),
        ("Timeout", ("Transient", "Timeout"), True),
        ("Timeout", ("Transient",), None),
        ("CardDeclined", ("Transient",), False),
        ("CardDeclined", ("CardDeclined",), True),
        ("CardDeclined", ("*",), True),
        ("HttpStatus", ("Transient",), False),
        ("ExpressionError", ("Transient",), None),
        ("CircuitOpen", ("Transient",), None),
        ("CircuitOpen", ("*",), None),
        ("CircuitOpen", ("CircuitOpen",), True),
        ("LockTimeout", ("Transient",), None),
    ],
)
def test_which_errors_are_failures_which_are_answers_and_which_say_nothing(
    error: str | None, errors: tuple[str, ...], judged: bool | None
) -> None:
    assert Rules(errors=errors).judge(error) is judged


@pytest.mark.parametrize(
    ("spec", "calls", "failures", "opens"),
    [
        ({}, 9, 9, False),
        ({}, 10, 5, True),
        ({}, 10, 4, False),
        ({"window": {"count": 4}}, 4, 2, True),
        ({"window": {"count": 4}}, 3, 3, False),
        ({"failures": 3}, 3, 3, True),
        ({"failures": 3}, 20, 2, False),
        ({"failures": 3, "minimumCalls": 5}, 4, 4, False),
        ({"failureRate": "100%", "minimumCalls": 1}, 1, 1, True),
        ({"failureRate": "100%", "minimumCalls": 1}, 2, 1, False),
    ],
)
def test_when_it_opens(spec: dict[str, object], calls: int, failures: int, opens: bool) -> None:
    assert rules_of(parse_circuit_breaker(spec)).is_breached(calls, failures) is opens


# --------------------------------------------------------------------------------------------------------- transitions

THREE = Rules(count=4, minimum=2, probes=3)


def test_open_it_lets_nobody_through_until_its_time_has_come_and_then_as_many_as_it_may() -> None:
    circuit = opened(THREE)
    assert wakes_at(circuit, THREE) == NOON + timedelta(seconds=30)
    asking = [probe(name) for name in "abcd"]
    early = step(circuit, THREE, NOON + 29 * SECOND, asking=asking)
    assert (early.state, early.probes) == (OPEN, {})
    due = step(circuit, THREE, NOON + 30 * SECOND, asking=asking)
    assert (due.state, list(due.probes), due.until) == (HALF_OPEN, ["a/pay", "b/pay", "c/pay"], None)


def test_a_probe_that_fails_opens_it_again_whatever_else_goes_well() -> None:
    circuit = half_open(THREE, "a", "b", "c")
    after = step(circuit, THREE, NOON + SECOND, Result("a/pay", False, True), Result("b/pay", True, True), Result("c/pay", False, True))
    assert (after.state, after.until, after.probes) == (OPEN, NOON + 31 * SECOND, {})


def test_it_closes_when_as_many_probes_as_wanted_have_gone_well_and_its_window_is_empty() -> None:
    circuit, window = half_open(THREE, "a", "b", "c"), Window(THREE)
    window.add(True, NOON, 4)
    circuit = step(circuit, THREE, NOON, Result("a/pay", False, True), Result("b/pay", False, True), window=window)
    assert (circuit.state, circuit.succeeded) == (HALF_OPEN, 2)
    circuit = step(circuit, THREE, NOON, Result("c/pay", False, True), window=window)
    assert (circuit.state, window.counts(NOON)) == (CLOSED, (0, 0))


def test_a_place_among_the_probes_is_given_to_another_after_a_while_and_a_late_result_still_counts() -> None:
    one = Rules(probes=1)
    circuit = half_open(one, "lost")
    assert wakes_at(circuit, one) == NOON + timedelta(minutes=1)
    assert list(step(circuit, one, NOON + 59 * SECOND, asking=[probe("b")]).probes) == ["lost/pay"]
    circuit = step(circuit, one, NOON + 60 * SECOND, asking=[probe("b")])
    assert list(circuit.probes) == ["b/pay"]
    assert step(circuit, one, NOON + 61 * SECOND, Result("lost/pay", False, True)).state is CLOSED


def test_a_place_that_is_given_back_goes_to_the_next_and_so_does_that_of_one_that_says_nothing() -> None:
    one = Rules(probes=1)
    for circuit in (
        step(half_open(one, "a"), one, NOON, gone={"a/pay"}, asking=[probe("b")]),
        step(half_open(one, "a"), one, NOON, Result("a/pay", None, True), asking=[probe("b")]),
    ):
        assert (circuit.state, list(circuit.probes)) == (HALF_OPEN, ["b/pay"])


def test_results_of_attempts_that_began_before_it_opened_say_nothing_of_how_it_stands_now() -> None:
    assert step(half_open(THREE), THREE, NOON, Result("old/pay", True), Result("old/x", False)) == half_open(THREE)


def test_a_reset_closes_it_once_for_each_id() -> None:
    reset = Wishes(reset="one")
    closed = step(opened(THREE), THREE, NOON, wishes=reset)
    assert (closed.state, closed.reset) == (CLOSED, "one")
    again = step(Circuit(OPEN, NOON, NOON + SECOND, reset="one"), THREE, NOON, wishes=reset)
    assert again.state is OPEN
    assert step(again, THREE, NOON, wishes=Wishes(reset="two")).state is CLOSED


def test_a_person_holds_it_open_or_closed_and_released_it_finds_out_by_itself() -> None:
    window = Window(THREE)
    held = step(Circuit(), THREE, NOON, wishes=Wishes(forced=OPEN))
    assert (held.state, held.forced, held.until, wakes_at(held, THREE)) == (OPEN, True, None, None)
    assert step(held, THREE, NOON + timedelta(days=1), wishes=Wishes(forced=OPEN)) == held
    released = step(held, THREE, NOON)
    assert (released.state, released.forced) == (HALF_OPEN, False)
    shut = step(opened(THREE), THREE, NOON, wishes=Wishes(forced=CLOSED))
    window.add(True, NOON, 4)
    assert step(shut, THREE, NOON, window=window, wishes=Wishes(forced=CLOSED)).state is CLOSED
    assert step(shut, THREE, NOON, window=window).state is CLOSED, "what failed while a person held it does not open it"


# -------------------------------------------------------------------------------------------------------------- windows


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 20))
def test_a_window_of_results_holds_the_latest_so_many(results: list[bool], count: int) -> None:
    window = Window(Rules(count=count))
    for failed in results:
        window.add(failed, NOON)
    latest = results[-count:]
    assert window.counts(NOON) == (len(latest), sum(latest))


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=60), st.floats(0.5, 60))
def test_a_window_of_time_holds_each_result_for_its_whole_length_and_hardly_longer(
    results: list[tuple[float, bool]], length: float
) -> None:
    duration, now = timedelta(seconds=length), NOON
    window, times = Window(Rules(count=None, duration=duration)), []
    for pause, failed in results:
        now += timedelta(seconds=pause)
        window.add(failed, now)
        times.append((now, failed))
        calls, failures = window.counts(now)
        must = [bad for at, bad in times if now - at < duration]
        may = [bad for at, bad in times if now - at <= duration * (1 + 1 / GRAINS)]
        assert len(must) <= calls <= len(may)
        assert sum(must) <= failures <= sum(may)
    assert window.counts(now + 2 * duration) == (0, 0)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 20))
def test_who_takes_over_counts_on_from_what_is_written(calls: int, failures: int, count: int) -> None:
    for rules in (Rules(count=count), Rules(count=None, duration=timedelta(minutes=1))):
        window = Window(rules)
        window.seed(calls, min(calls, failures), NOON)
        most = min(calls, rules.count or calls)
        assert window.counts(NOON) == (most, min(most, failures))


# -------------------------------------------------------------------------------------------------------- anything at all


class AnyBreaker(RuleBasedStateMachine):
    """Runs that call, fail, vanish and come late, an operator that dies, people that force and reset: against what must hold whatever happens."""

    @initialize(count=st.integers(1, 6), minimum=st.integers(1, 4), probes=st.integers(1, 3), timed=st.booleans())
    def begin(self, count: int, minimum: int, probes: int, timed: bool) -> None:
        self.rules = Rules(
            count=None if timed else count,
            duration=timedelta(seconds=20) if timed else None,
            minimum=minimum if timed else min(minimum, count),
            open_for=10 * SECOND,
            probes=probes,
            within=5 * SECOND,
        )
        self.window, self.circuit, self.wishes = Window(self.rules), Circuit(), Wishes()
        self.now, self.asking, self.results, self.gone = NOON, dict[str, Probe](), list[Result](), set[str]()
        self.under_way: dict[str, bool] = {}
        """Attempts that go on, and whether they are probes."""
        self.latest: list[tuple[datetime, bool]] = []
        """What has come in since it was closed last."""
        self.number = 0

    @rule(seconds=st.integers(0, 12))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule()
    def a_step_wants_to_call(self) -> None:
        self.number += 1
        name = str(self.number)
        if self.circuit.state is CLOSED:
            self.under_way[f"{name}/pay"] = False
        else:
            self.asking[f"{name}/pay"] = probe(name, self.now)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), failed=st.sampled_from([True, False, None]))
    def an_attempt_ends(self, data: st.DataObject, failed: bool | None) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.under_way)))
        is_probe = self.under_way.pop(id_)
        if self.circuit.state is not CLOSED:
            self.results.append(Result(id_, failed, is_probe))
        elif failed is not None:
            self.window.add(failed, self.now)
            self.latest.append((self.now, failed))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def an_attempt_is_never_heard_of_again(self, data: st.DataObject) -> None:
        del self.under_way[data.draw(st.sampled_from(sorted(self.under_way)))]

    @precondition(lambda self: self.asking)
    @rule(data=st.data())
    def somebody_wants_to_call_no_longer(self, data: st.DataObject) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.asking)))
        del self.asking[id_]
        self.gone.add(id_)

    @rule(forced=st.sampled_from([None, OPEN, CLOSED]))
    def a_person_forces_it(self, forced: CircuitState | None) -> None:
        self.wishes = Wishes(forced, self.wishes.reset)

    @rule()
    def a_person_resets_it(self) -> None:
        self.number += 1
        self.wishes = Wishes(self.wishes.forced, f"reset-{self.number}")

    @rule()
    def the_operator_dies_and_another_takes_over(self) -> None:
        calls, failures = self.window.counts(self.now)
        self.window = Window(self.rules)
        self.window.seed(calls, failures, self.now)
        bad = [number * failures // calls > (number - 1) * failures // calls for number in range(1, calls + 1)] if calls else []
        self.latest = [(self.now, failed) for failed in bad]
        self.results, self.gone = [], set()

    @rule()
    def it_is_settled(self) -> None:
        before, asking = self.circuit, list(self.asking.values())
        failed_probe = any(result.is_probe and result.failed for result in self.results)
        good = sum(result.is_probe and result.failed is False for result in self.results)
        self.circuit = settle(before, self.rules, self.wishes, self.window, self.results, self.gone, asking, self.now)
        self.results, self.gone = [], set()
        self._is_as_the_table_says(before, failed_probe=failed_probe, good=good)
        for id_ in [id_ for id_ in self.asking if id_ in self.circuit.probes or self.circuit.state is CLOSED]:
            del self.asking[id_]
            self.under_way[id_] = self.circuit.state is HALF_OPEN
        if self.circuit.state is CLOSED and (
            before.state is not CLOSED or before.reset != self.circuit.reset or before.forced != self.circuit.forced
        ):
            self.latest = []

    def _is_as_the_table_says(self, before: Circuit, *, failed_probe: bool, good: int) -> None:
        after = self.circuit
        if self.wishes.forced is not None:
            assert after.state is self.wishes.forced
            return
        if before.forced or before.reset != self.wishes.reset:
            return
        if before.state is CLOSED:
            assert (after.state is not CLOSED) == self._has_failed_too_often()
        elif before.state is OPEN:
            assert (after.state is OPEN) == (before.until is not None and self.now < before.until)
        elif failed_probe:
            pass  # it has opened, or closed before the failure came in
        else:
            assert (after.state is CLOSED) == (before.succeeded + good >= self.rules.probes)

    def _has_failed_too_often(self) -> bool:
        calls, failures = self.window.counts(self.now)
        if self.rules.count is not None:
            latest = [failed for _, failed in self.latest][-self.rules.count :]
            assert (calls, failures) == (len(latest), sum(latest)), "the window is not that of the reference"
        return calls >= self.rules.minimum and failures >= 0.5 * calls

    @invariant()
    def never_more_probes_than_allowed(self) -> None:
        if hasattr(self, "circuit"):
            assert len(self.circuit.probes) + self.circuit.succeeded <= self.rules.probes
            assert not self.circuit.probes or self.circuit.state is HALF_OPEN

    @invariant()
    def nobody_passes_one_that_is_open(self) -> None:
        if hasattr(self, "circuit") and self.circuit.state is OPEN:
            assert self.circuit.room(self.rules) == 0


TestAnyBreaker = AnyBreaker.TestCase
TestAnyBreaker.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
