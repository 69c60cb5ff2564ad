"""When what an attempt needs is taken away, or not there yet: it waits, or runs again, and uses up no attempt."""

from typing import Any

import pytest

from backstay.engine.model import Fault, Hold, JobState
from backstay.engine.policies.disruption import LONGEST_DELAY, MAX_DISRUPTIONS, delay_after
from tests.support.world import World

ONE = "steps: [{name: a, job: {image: i, startTimeout: 1m}}]"
QUOTA = Hold("Quota", "Waiting for quota", "exceeded quota: small, used: 5")
EVICTED = Fault("Evicted", "the pod was stopped", "Eviction API: evicting")


def lose_pod(world: World, pod: str, path: str = "a", fault: Fault = EVICTED) -> World:
    """A disruption takes a pod away, and its Job will run another."""
    stuck = Hold(fault.type, "Waiting for another pod", f"{fault.type}: {fault.detail}")
    return world.sees(path, started=False, stuck=stuck, lost=fault, lost_pod=pod)


def next_pod(world: World, path: str = "a", **changes: Any) -> World:
    """The Job controller has made another pod."""
    return world.sees(path, **{"started": True, "stuck": None, **changes})


def rob(world: World, path: str = "a", type_: str = "PodDeleted") -> World:
    """The Job has failed because its pod was taken away."""
    return world.end(path, JobState.FAILED, None, Fault(type_, "gone", "somebody deleted it"))


# ------------------------------------------------------------------------------------------------------ it is held back


def test_a_job_that_a_quota_holds_back_waits_past_its_start_timeout_and_says_so_once() -> None:
    world = World(f"{ONE[:-1]}, {{name: b, job: {{image: i, startTimeout: 1m}}}}]").obstruct(QUOTA).succeed("a")
    assert world.step("b").message == "Waiting for quota: exceeded quota: small, used: 5"
    assert world.status["status"] == "Waiting"
    assert world.condition("Reconciling") == ("True", "Waiting")
    writes = world.writes
    world.obstruct(Hold("Quota", "Waiting for quota", "exceeded quota: small, used: 4")).pass_time("1h")
    assert (world.phases()["b"], world.writes, world.made_for("b")) == ("Running", writes, [])


def test_when_the_quota_frees_the_same_attempt_begins_and_its_start_timeout_with_it() -> None:
    world = World(f"{ONE[:-1]}, {{name: b, job: {{image: i, startTimeout: 1m}}}}]").obstruct(QUOTA).succeed("a").pass_time("1h")
    world.obstruct(None)
    assert (world.step("b").message, world.step("b").attempt, world.step("b").held_since) == (None, 1, None)
    world.sees("b", started=False).pass_time("59s")
    assert world.phase == "Running"
    world.pass_time("1s")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "StartTimeout")


def test_a_job_that_is_there_and_gets_no_pod_for_a_quota_waits_alike() -> None:
    world = World(ONE).sees("a", started=False, stuck=QUOTA).pass_time("1h")
    assert (world.phase, world.step("a").message) == ("Running", "Waiting for quota: exceeded quota: small, used: 5")
    world.sees("a", stuck=None).pass_time("59s")
    assert world.phase == "Running"
    assert world.sees("a", started=True).succeed("a").phase == "Succeeded"


def test_a_job_without_a_pod_is_not_given_up_before_it_is_known_why() -> None:
    world = World(ONE).sees("a", started=False, unexplained=True).pass_time("2m")
    assert world.phase == "Running"
    world.sees("a", unexplained=False, stuck=QUOTA).pass_time("2m")
    assert (world.phase, world.step("a").message) == ("Running", "Waiting for quota: exceeded quota: small, used: 5")


def test_an_operator_that_does_not_know_yet_why_there_is_no_pod_takes_nothing_back_of_what_another_has_written() -> None:
    """Or two of them would write against each other, without end."""
    for told in (Fault("StartTimeout", "no pod was created", "no Event says why"), QUOTA):
        world = World(ONE).sees("a", started=False, stuck=told)
        before = len(world.entries)
        world.sees("a", started=False, stuck=None, unexplained=True)
        assert (len(world.entries), world.step("a").message) == (before, f"{told.title if told is QUOTA else told.type}: {told.detail}")
    world.sees("a", started=True, unexplained=False)
    assert (world.step("a").message, world.step("a").held_since) == (None, None)


def test_timeouts_hold_also_while_a_quota_holds_a_job_back() -> None:
    two = "steps: [{name: a, job: {image: i}}, {name: b, timeout: 2m, job: {image: i}}]"
    world = World(two).obstruct(QUOTA).succeed("a").pass_time("2m")
    assert (world.phase, world.status["error"]["type"], world.step("b").held_since) == ("Failed", "Timeout", None)
    assert "not ended within 2m (Waiting for quota: exceeded quota: small, used: 5); see its timeout" in world.status["error"]["detail"]
    each = "steps: [{name: a, job: {image: i}}, {name: b, attemptTimeout: 2m, job: {image: i}}]"
    assert World(each).obstruct(QUOTA).succeed("a").pass_time("2m").status["error"]["type"] == "Timeout"


def test_a_refusal_that_nobody_understands_is_waited_for_until_the_start_timeout() -> None:
    two = "steps: [{name: a, job: {image: i}}, {name: b, job: {image: i, startTimeout: 1m}}]"
    world = World(two).obstruct(Fault("AdmissionDenied", "the Job is refused", "not today")).succeed("a")
    assert world.step("b").message == "AdmissionDenied: not today"
    world.pass_time("1m")
    assert (world.status["error"]["type"], "not today (not started within 1m" in world.status["error"]["detail"]) == (
        "AdmissionDenied",
        True,
    )


def test_a_run_whose_job_is_held_back_can_be_cancelled() -> None:
    world = World(f"{ONE[:-1]}, {{name: b, job: {{image: i}}}}]").obstruct(QUOTA).succeed("a").wants(cancel=True)
    assert (world.phase, world.phases()["b"], world.step("b").held_since) == ("Cancelled", "Cancelled", None)


# --------------------------------------------------------------------------------------------- another pod of the same Job


def test_a_pod_that_is_evicted_is_told_and_counted_once_and_uses_up_no_attempt() -> None:
    world = lose_pod(World(ONE), "p1")
    record = world.step("a")
    assert (record.attempt, record.disruptions, world.status["status"]) == (1, 1, "Waiting")
    assert record.message == "Waiting for another pod: Evicted: Eviction API: evicting (1 disruption, at most 20)"
    writes = world.writes
    world.pass_time("1h").look()
    assert world.writes == writes + 1, "the Job's UID, and nothing else"
    next_pod(world)
    assert (world.step("a").message, world.step("a").disruptions, len(world.made)) == (None, 1, 1)
    world.succeed("a")
    assert (world.phase, world.step("a").disruptions, world.step("a").lost_pod) == ("Succeeded", 1, None)


def test_the_start_timeout_of_the_next_pod_counts_from_when_it_is_made() -> None:
    world = World(ONE).pass_time("2h")
    lose_pod(world, "p1").pass_time("30m")
    next_pod(world, started=False).pass_time("59s")
    assert world.phase == "Running"
    world.pass_time("1s")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "StartTimeout")


def test_an_attempt_that_is_disrupted_again_and_again_is_given_up_with_the_reason() -> None:
    world = World(ONE)
    for count in range(MAX_DISRUPTIONS):
        next_pod(lose_pod(world, f"p{count}"))
    assert (world.phase, world.step("a").disruptions) == ("Running", MAX_DISRUPTIONS)
    lose_pod(world, "one too many")
    assert (world.phase, world.status["error"]["type"], world.running) == ("Failed", "Evicted", [])
    assert "Eviction API: evicting; this attempt was disrupted 21 times, of at most 20" in world.status["error"]["detail"]


# --------------------------------------------------------------------------------------------------------- another Job


@pytest.mark.parametrize("type_", ["PodDeleted", "Evicted", "NodeLost", "Unschedulable"])
def test_a_job_that_failed_of_a_disruption_is_followed_by_another_for_the_same_attempt(type_: str) -> None:
    world = rob(World(ONE), type_=type_)
    assert (world.phases(), world.step("a").error.type, len(world.made)) == ({"a": "Retrying"}, type_, 1)
    world.pass_time("1s")
    assert (world.running, [made.attempt for made in world.made], len({made.name for made in world.made})) == (["a"], [1, 1], 2)
    world.succeed("a")
    assert (world.phase, world.step("a").attempt, world.step("a").disruptions) == ("Succeeded", 1, 1)


def test_a_pod_that_was_counted_when_it_was_lost_is_not_counted_again_when_its_job_fails() -> None:
    world = rob(lose_pod(World(ONE), "p1").sees("a", stuck=None))
    assert world.step("a").disruptions == 1


def test_an_attempt_that_failed_by_itself_after_a_disruption_uses_up_an_attempt() -> None:
    world = World("steps: [{name: a, job: {image: i}, retry: {maxAttempts: 2, interval: 1s, jitter: None}}]")
    rob(world).pass_time("1s").fail("a").pass_time("1s")
    record = world.step("a")
    assert ([made.attempt for made in world.made], record.disruptions, record.starting_since) == ([1, 1, 2], 0, None)


def test_the_attempt_timeout_spans_all_that_an_attempt_runs_again() -> None:
    world = World("steps: [{name: a, attemptTimeout: 1m, job: {image: i}}]").pass_time("50s")
    rob(world).pass_time("1s")
    assert world.running == ["a"]
    world.pass_time("9s")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "Timeout")


def test_it_waits_longer_after_each_disruption_but_never_long() -> None:
    delays = [delay_after(count).total_seconds() for count in (1, 2, 3, 7, 20, 10_000)]
    assert delays == [1, 2, 4, 60, 60, 60]
    assert LONGEST_DELAY.total_seconds() == 60


def test_jobs_that_are_robbed_again_and_again_end_with_the_reason_and_their_retries_are_the_workflows() -> None:
    world = World("steps: [{name: a, job: {image: i}, retry: {maxAttempts: 2, interval: 1s, jitter: None}}]")
    for _ in range(2):
        for _ in range(MAX_DISRUPTIONS + 1):
            rob(world).pass_time("1m")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "PodDeleted")
    assert "disrupted 21 times" in world.status["error"]["detail"]
    assert [made.attempt for made in world.made] == [1] * 21 + [2] * 21


def test_a_business_error_counts_though_its_pod_was_deleted() -> None:
    world = World(ONE).end("a", JobState.FAILED, '{"error": {"type": "CardDeclined"}}', Fault("PodDeleted"))
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "CardDeclined")


def test_a_suspended_run_runs_nothing_again_before_it_is_resumed() -> None:
    world = rob(World(ONE)).wants(suspend=True).pass_time("1h")
    assert (world.phases(), len(world.made)) == ({"a": "Retrying"}, 1)
    world.wants(suspend=False)
    assert world.running == ["a"]


def test_an_undoing_that_is_disrupted_is_done_all_the_same() -> None:
    world = World("steps: [{name: a, job: {image: i}, compensate: {job: {image: i}}}, {name: b, job: {image: i}}]")
    world.succeed("a").fail("b", "CardDeclined")
    rob(world, "a:compensate").pass_time("1s").succeed("a:compensate")
    assert (world.phase, world.phases()["a"]) == ("Failed", "Compensated")
