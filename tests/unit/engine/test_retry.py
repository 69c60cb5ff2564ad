"""How often, how far apart, for how long and for which errors a step is tried again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.api.policies import Backoff, Jitter, Retry, RetryRule
from backstay.engine.model import Fault, LockFact, Phase, Request, StepRecord
from backstay.engine.policies.retry import another, delay_before
from tests.support.world import World

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SURE = "jitter: None"


def delays(count: int, **given: Any) -> list[float]:
    """Return the delays before the second and later attempts, in seconds, without jitter."""
    retry = Retry(jitter=Jitter.NONE, max_attempts=count + 1, **given)
    return [delay_before(retry, "uid", "a", attempt).total_seconds() for attempt in range(2, count + 2)]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, [1, 2, 4, 8, 16, 32, 60, 60]),
        ({"backoff_rate": 3, "max_delay": timedelta(seconds=20)}, [1, 3, 9, 20, 20]),
        ({"backoff_rate": 1, "interval": timedelta(seconds=5)}, [5, 5, 5]),
        ({"backoff": Backoff.LINEAR, "interval": timedelta(seconds=10)}, [10, 20, 30, 40, 50, 60, 60]),
        ({"backoff": Backoff.CONSTANT, "interval": timedelta(seconds=7)}, [7, 7, 7, 7]),
        ({"backoff": Backoff.CONSTANT, "interval": timedelta(minutes=5)}, [60, 60]),
        ({"interval": timedelta(0)}, [0, 0, 0]),
    ],
)
def test_delays_grow_as_the_backoff_says_up_to_the_cap(given: dict[str, Any], wanted: list[float]) -> None:
    assert delays(len(wanted), **given) == wanted


RETRIES = st.builds(
    Retry,
    interval=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=2)),
    max_delay=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=2)),
    backoff=st.sampled_from(Backoff),
    backoff_rate=st.floats(1, 100),
    jitter=st.sampled_from(Jitter),
    max_attempts=st.integers(1, 1000),
    within=st.none() | st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=4)),
    rules=st.lists(
        st.builds(
            RetryRule,
            errors=st.lists(st.sampled_from(["Transient", "Timeout", "OutOfStock", "*"]), min_size=1, max_size=2).map(tuple),
            max_attempts=st.none() | st.integers(1, 1000),
            interval=st.none() | st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=2)),
        ),
        max_size=3,
    ).map(tuple),
)


@given(RETRIES, st.integers(2, 100_000))
def test_no_delay_is_longer_than_the_cap_and_the_same_attempt_has_the_same_delay(retry: Retry, attempt: int) -> None:
    delay = delay_before(retry, "uid", "a", attempt)
    assert timedelta(0) <= delay <= retry.max_delay
    assert delay == delay_before(retry, "uid", "a", attempt)
    if retry.jitter is Jitter.EQUAL:
        assert delay >= delay_before(retry.model_copy(update={"jitter": Jitter.NONE}), "uid", "a", attempt) / 2 - timedelta(microseconds=1)


@given(RETRIES, st.lists(st.sampled_from(["ExitCode", "Timeout", "OutOfStock", "InvalidJob"]), max_size=30), st.booleans())
def test_no_attempt_begins_after_the_budget_nor_more_often_than_rules_and_retry_allow(
    retry: Retry, errors: list[str], is_retriable: bool
) -> None:
    record = StepRecord("a", "job", Phase.RUNNING, attempt=1, started_at=START)
    now = START
    for error in errors:
        again = another(retry, "uid", record, Fault(error), now, is_retriable=is_retriable)
        if again.due is None:
            assert not is_retriable
            break
        assert is_retriable or retry.within is None or again.due <= START + retry.within
        assert sum((again.tries or {}).values()) <= record.attempt
        now = again.due + timedelta(seconds=1)
        record = StepRecord("a", "job", Phase.RUNNING, attempt=record.attempt + 1, started_at=START, tries=again.tries)
    if not is_retriable:
        most = [retry.under(index).max_attempts for index in range(len(retry.rules))]
        assert record.attempt <= sum(most) + retry.max_attempts


def test_a_rule_counts_its_own_attempts_and_says_how_far_apart_they_are() -> None:
    world = World(
        f"steps: [{{name: a, job: {{image: i}}, retry: {{maxAttempts: 2, interval: 1s, {SURE}, "
        "rules: [{errors: [OutOfStock], maxAttempts: 3, interval: 10s, backoff: Constant}, {errors: [Timeout], maxAttempts: 1}]}}]"
    )
    told = []
    for error in ("OutOfStock", "ExitCode", "OutOfStock"):
        world.fail("a", error)
        told.append((world.step("a").due_at - world.now).total_seconds())
        world.pass_time("10s")
    assert told == [10, 1, 10]
    world.fail("a", "OutOfStock")
    assert (world.phase, world.step("a").attempt) == ("Failed", 4)


def test_errors_that_no_rule_takes_are_counted_without_those_that_one_did() -> None:
    text = f"steps: [{{name: a, job: {{image: i}}, retry: {{maxAttempts: 2, {SURE}, rules: [{{errors: [OutOfStock]}}]}}}}]"
    world = World(text).fail("a", "OutOfStock").pass_time("1s").fail("a").pass_time("1s")
    assert (world.running, world.step("a").attempt) == (["a"], 3)
    assert world.fail("a").phase == "Failed"


def test_a_rule_can_keep_an_error_from_being_tried_again() -> None:
    world = World(
        f"steps: [{{name: a, job: {{image: i}}, retry: {{errors: ['*'], {SURE}, rules: [{{errors: [OutOfStock], maxAttempts: 1}}]}}}}]"
    )
    assert world.fail("a", "OutOfStock").phase == "Failed"


def test_the_workflows_own_retry_has_rules_and_a_budget_too() -> None:
    world = World(
        f"defaults: {{retry: {{{SURE}, within: 5s, rules: [{{errors: [OutOfStock], interval: 4s}}]}}}}\nsteps: [{{name: a, job: {{image: i}}}}]"
    )
    world.fail("a", "OutOfStock")
    assert world.phases() == {"a": "Retrying"}
    world.pass_time("4s").fail("a", "OutOfStock")
    assert world.phase == "Failed"


# ------------------------------------------------------------------------------------------------------------------ budget


def test_no_attempt_begins_after_the_budget_and_the_error_says_so() -> None:
    world = World(
        f"steps: [{{name: a, job: {{image: i}}, retry: {{maxAttempts: 100, interval: 4m, backoff: Constant, maxDelay: 4m, {SURE}, within: 10m}}}}]"
    )
    world.fail("a").pass_time("4m").fail("a").pass_time("4m")
    assert world.running == ["a"]
    world.fail("a")
    assert (world.phase, world.state.run.error.type) == ("Failed", "ExitCode")
    assert world.state.run.error.detail == "ExitCode happened; its retry budget of 10m is over"


def test_the_budget_does_not_end_an_attempt_that_has_begun() -> None:
    world = World(f"steps: [{{name: a, job: {{image: i}}, retry: {{{SURE}, within: 10m}}}}]").pass_time("5h")
    assert world.running == ["a"]
    assert world.succeed("a").phase == "Succeeded"


def test_a_person_who_has_a_step_tried_again_gives_it_another_budget() -> None:
    text = f"steps: [{{name: a, job: {{image: i}}, onExhausted: Pause, retry: {{maxAttempts: 9, interval: 4s, {SURE}, within: 5s}}}}]"
    world = World(text).fail("a").pass_time("4s").fail("a").pass_time("1h")
    assert world.phases() == {"a": "Paused"}
    world.wants(requests=(Request("r1", "a", "Retry"),)).fail("a")
    assert world.phases() == {"a": "Retrying"}


def test_the_wait_for_a_lock_does_not_count_towards_the_budget() -> None:
    world = World(
        f"steps: [{{name: p, parallel: {{branches: [{{name: l, steps: [{{name: first, job: {{image: i}}, lock: {{name: till, scope: Run}}}}]}}, "
        f"{{name: r, steps: [{{name: a, job: {{image: i}}, lock: {{name: till, scope: Run}}, retry: {{interval: 5s, {SURE}, within: 10s}}}}]}}]}}}}]"
    )
    world.pass_time("1h").succeed("p/l/first").fail("p/r/a")
    assert world.phases()["p/r/a"] == "Retrying"


def test_what_the_other_side_asks_for_counts_and_may_go_beyond_the_cap_but_not_beyond_the_budget() -> None:
    text = f"steps: [{{name: a, http: {{url: 'https://x.example.com'}}, retry: {{{SURE}, maxDelay: 2s, within: 1m}}}}]"
    busy = Fault("HttpUnavailable", "Answered with 503", "busy")
    world = World(text).answer("a", fault=busy, retry_after_seconds=30)
    assert (world.step("a").due_at - world.now).total_seconds() == 30
    assert World(text).answer("a", fault=busy, retry_after_seconds=61).state.run.error.detail == "busy; its retry budget of 1m is over"


# --------------------------------------------------------------------------------------------------------------- retriable


@pytest.mark.parametrize("error", ["ExitCode", "InvalidJob", "OutOfStock", "Timeout", "Forbidden"])
def test_a_retriable_step_is_tried_until_it_succeeds_whatever_the_error(error: str) -> None:
    world = World(f"steps: [{{name: a, job: {{image: i}}, retriable: true, retry: {{interval: 1s, maxDelay: 10s, {SURE}}}}}]")
    for _ in range(50):
        world.fail("a", error)
        assert (world.step("a").due_at - world.now) <= timedelta(seconds=10)
        world.pass_time("10s")
    assert world.succeed("a").phase == "Succeeded"
    assert len(world.made) == 51


def test_a_retriable_step_ignores_how_often_the_workflow_wants_steps_tried_and_for_how_long() -> None:
    world = World("defaults: {timeout: 5s, retry: {maxAttempts: 1}}\nsteps: [{name: a, job: {image: i}, retriable: true}]")
    world.fail("a").pass_time("1h").fail("a").pass_time("1h")
    assert world.running == ["a"]


def test_a_retriable_step_whose_attempt_cannot_be_made_waits_for_a_person() -> None:
    world = World("parameters: [{name: x}]\nsteps: [{name: a, job: {image: i, args: ['${ params.x.y }']}, retriable: true}]", {"x": {}})
    assert (world.phases(), world.step("a").error.type) == ({"a": "Paused"}, "ExpressionError")


def test_a_retriable_step_whose_child_run_a_person_cancelled_waits_for_a_person() -> None:
    world = World("steps: [{name: a, workflow: {name: other}, retriable: true}]")
    world.child("a", "Cancelled", error=Fault("Cancelled", "The run was ended early", "cancelled"))
    assert world.phases() == {"a": "Paused"}


def test_a_retriable_step_that_never_gets_its_lock_asks_for_it_again() -> None:
    world = World(
        "steps: [{name: a, job: {image: i}, lock: {name: till, timeout: 1m}, retriable: true}]",
        taken={"till": LockFact(place=1, waiting=1)},
    )
    world.pass_time("10m")
    assert world.phases()["a"] in ("Waiting", "Retrying")
    world.take("till", None).pass_time("2m")
    assert world.running == ["a"]


# ------------------------------------------------------------------------------------------ attempt and lastError in expressions


def test_a_job_sees_which_attempt_it_is_and_what_went_wrong_with_the_one_before() -> None:
    world = World(
        "steps: [{name: a, job: {image: 'shop:${ attempt }', args: ['${ lastError.type }', '${ lastError.attempt }', "
        f'\'${{ attempt > 1 && lastError.type == "OOMKilled" ? "big" : "small" }}\']}}, retry: {{{SURE}, maxAttempts: 3}}}}]'
    )
    world.fail("a", "OOMKilled").pass_time("1s").fail("a").pass_time("2s")
    assert [(made.inputs["image"], made.inputs["args"]) for made in world.made] == [
        ("shop:1", ["", "0", "small"]),
        ("shop:2", ["OOMKilled", "1", "big"]),
        ("shop:3", ["ExitCode", "2", "small"]),
    ]


def test_calls_and_child_runs_see_it_too() -> None:
    url = "'https://x.example.com/${ attempt }/${ lastError.type }'"
    world = World(
        f"steps: [{{name: a, http: {{url: {url}, output: {{n: '${{ attempt }}'}}}}, retry: {{{SURE}}}}}, {{name: b, set: {{n: '${{ steps.a.outputs.n }}'}}}}]"
    )
    world.answer("a", fault=Fault("HttpUnavailable")).pass_time("1s")
    assert [call.inputs["url"] for call in world.called] == ["https://x.example.com/1/", "https://x.example.com/2/HttpUnavailable"]
    world.answer("a", {"status": 200, "headers": {}, "body": None})
    assert world.state.run.vars["n"] == 2
    world = World(
        f"steps: [{{name: a, workflow: {{name: other, params: {{n: '${{ attempt }}', why: '${{ lastError.detail }}'}}}}, retry: {{errors: ['*'], {SURE}}}}}]"
    )
    world.child("a", "Failed", error=Fault("Oh", "", "dear")).pass_time("1s")
    assert [child.inputs["parameters"]["n"] for child in world.born] == [1, 2]
    assert world.born[1].inputs["parameters"]["why"].startswith("dear")


def test_a_compensation_sees_its_own_attempts() -> None:
    world = World(
        "steps: [{name: a, job: {image: i}, compensate: {job: {image: 'back:${ attempt }', args: ['${ lastError.type }', '${ self.attempt }']}, "
        f"retry: {{errors: ['*'], {SURE}}}}}}}, {{name: b, job: {{image: i}}}}]"
    )
    world.succeed("a").fail("b").fail("a:compensate", "Oh").pass_time("1s")
    assert [(made.inputs["image"], made.inputs["args"]) for made in world.made_for("a:compensate")] == [
        ("back:1", ["", "1"]),
        ("back:2", ["Oh", "1"]),
    ]


def test_an_attempt_that_was_disrupted_is_made_again_under_its_number() -> None:
    world = World("steps: [{name: a, job: {image: 'shop:${ attempt }'}, retry: {maxAttempts: 2}}]")
    world.fail("a", "Evicted").pass_time("1m")
    assert [made.inputs["image"] for made in world.made] == ["shop:1", "shop:1"]


def test_an_expression_that_fails_at_a_later_attempt_ends_the_step_instead_of_going_round_for_ever() -> None:
    world = World(
        f"steps: [{{name: a, job: {{image: i, args: ['${{ [1][attempt - 1] }}']}}, retry: {{errors: ['*'], maxAttempts: 5, {SURE}}}}}]"
    )
    world.fail("a").pass_time("1h")
    assert (world.phase, world.state.run.error.type, len(world.made)) == ("Failed", "ExpressionError", 1)
