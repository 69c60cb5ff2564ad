"""When work fails: retries, timeouts, handlers, outputs that cannot be read, Jobs that vanish."""

import pytest

from tests.support.world import World

JOB = "job: {image: busybox}"


def test_a_failed_attempt_is_retried_after_its_delay_as_another_job() -> None:
    world = World(f"steps: [{{name: a, {JOB}, retry: {{maxAttempts: 3, interval: 10s, backoffRate: 3, jitter: None}}}}]")
    world.fail("a")
    assert (world.phases(), world.step("a").attempt) == ({"a": "Retrying"}, 1)
    world.pass_time("9s")
    assert world.phases() == {"a": "Retrying"}
    world.pass_time("1s").fail("a")
    world.pass_time("29s")
    assert world.phases() == {"a": "Retrying"}
    world.pass_time("1s").fail("a")
    assert (world.phase, world.step("a").attempt) == ("Failed", 3)
    assert [made.attempt for made in world.made] == [1, 2, 3]
    assert len({made.name for made in world.made}) == 3


def test_jitter_is_the_same_for_the_same_attempt_and_within_its_bounds() -> None:
    text = f"steps: [{{name: a, {JOB}, retry: {{maxAttempts: 2, interval: 100s, maxDelay: 10m, jitter: Equal}}}}]"
    dues = {(World(text).fail("a").step("a").due_at) for _ in range(3)}
    assert len(dues) == 1
    delay = (dues.pop() - World(text).now).total_seconds()
    assert 50 <= delay <= 100


@pytest.mark.parametrize(
    ("on", "error", "retried"),
    [
        ("[Transient, Timeout]", "ExitCode", True),
        ("[Transient]", "OOMKilled", True),
        ("[Timeout]", "ExitCode", False),
        ("[ExitCode]", "ExitCode", True),
        ('["*"]', "Whatever", True),
        ("[Permanent]", "InvalidJob", True),
        ("[Transient]", "InvalidJob", False),
    ],
)
def test_only_the_named_errors_are_retried(on: str, error: str, retried: bool) -> None:
    world = World(f"steps: [{{name: a, {JOB}, retry: {{errors: {on}}}}}]").fail("a", error)
    assert world.phases()["a"] == ("Retrying" if retried else "Failed")


def test_a_business_error_in_the_output_is_not_retried_by_default_and_caught_by_its_type() -> None:
    world = World(
        f"""
steps:
- name: charge
  {JOB}
  retry: {{maxAttempts: 5}}
  catch:
  - {{errors: [OutOfStock], steps: [{{name: wrong, set: {{way: wrong}}}}]}}
  - {{errors: [CardDeclined], as: declined, steps: [{{name: note, set: {{why: "${{declined.detail}}"}}}}]}}
- {{name: after, {JOB}}}
"""
    )
    world.fail("charge", output='{"error": {"type": "CardDeclined", "message": "no funds"}}')
    assert world.phases() == {"charge": "Caught", "charge:catch1/note": "Succeeded", "after": "Running"}
    assert world.status["vars"] == {"why": "no funds"}


def test_a_handler_that_fails_fails_the_step_with_its_own_error() -> None:
    world = World(f"steps: [{{name: a, {JOB}, catch: [{{steps: [{{name: stop, fail: {{error: Stopped}}}}]}}]}}]").fail("a")
    assert (world.phase, world.status["error"]["type"], world.status["error"]["step"]) == ("Failed", "Stopped", "a:catch0/stop")


def test_a_block_catches_what_its_steps_do_not() -> None:
    world = World(
        f"steps: [{{name: block, steps: [{{name: a, {JOB}}}], catch: [{{errors: [Transient], steps: [{{name: ok, set: {{x: 1}}}}]}}]}}]"
    )
    world.fail("block/a")
    assert (world.phase, world.phases()["block"]) == ("Succeeded", "Caught")


def test_the_workflow_catches_what_no_step_does() -> None:
    world = World(f"steps: [{{name: a, {JOB}}}]\ncatch: [{{errors: [ExitCode], steps: [{{name: mail, {JOB}}}]}}]").fail("a")
    assert world.running == ["/:catch0/mail"]
    world.succeed("/:catch0/mail")
    assert world.phase == "Succeeded"


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("not json", "is no JSON"),
        ("[1, 2]", "no JSON object"),
        ('"text"', "no JSON object"),
        ("x" * 4096, "4,096 bytes"),
        ('{"error": "CardDeclined"}', '"error" in the output must be an object'),
        ('{"error": {"type": 5}}', '"error" in the output must be an object'),
    ],
)
def test_an_output_that_cannot_be_read_is_told(output: str, problem: str) -> None:
    from backstay.engine.model import JobState

    world = World(f"steps: [{{name: a, {JOB}}}]").end("a", JobState.SUCCEEDED, output)
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "InvalidOutput")
    assert problem in world.status["error"]["detail"]


def test_an_attempt_that_takes_too_long_is_stopped_and_retried_only_when_its_job_is_gone() -> None:
    world = World(f"steps: [{{name: a, {JOB}, attemptTimeout: 1m, retry: {{maxAttempts: 2, interval: 1s, jitter: None}}}}]")
    world.stops_at_once = False
    world.pass_time("1m")
    assert (world.phases(), world.status["steps"][1]["error"]["type"]) == ({"a": "Stopping"}, "Timeout")
    world.pass_time("1h")
    assert (world.phases(), len(world.made)) == ({"a": "Stopping"}, 1)
    world.gone("a").pass_time("1s")
    assert (world.running, world.step("a").attempt) == (["a"], 2)


def test_a_late_result_of_a_timed_out_attempt_is_recorded_and_not_believed() -> None:
    world = World(f"steps: [{{name: a, {JOB}, attemptTimeout: 1m}}]")
    world.stops_at_once = False
    world.pass_time("1m").succeed("a", {"x": 1})
    assert (world.phase, world.status["error"]["type"], "LateResult a" in world.story) == ("Failed", "Timeout", True)


def test_a_steps_timeout_covers_all_its_attempts() -> None:
    world = World(f"steps: [{{name: a, {JOB}, timeout: 1m, retry: {{maxAttempts: 9, interval: 40s, jitter: None, backoffRate: 1}}}}]")
    world.fail("a").pass_time("40s").fail("a").pass_time("20s")
    assert (world.phase, world.status["error"]["type"], world.step("a").attempt) == ("Failed", "Timeout", 2)


def test_a_block_that_takes_too_long_is_stopped_with_all_that_is_in_it() -> None:
    world = World(
        f"steps: [{{name: b, timeout: 1m, steps: [{{name: a, {JOB}}}], catch: [{{errors: [Timeout], steps: [{{name: ok, {JOB}}}]}}]}}]"
    )
    world.pass_time("1m")
    assert (world.phases(), world.running) == ({"b": "Catching", "b/a": "Cancelled", "b:catch0/ok": "Running"}, ["b:catch0/ok"])
    world.pass_time("1h").succeed("b:catch0/ok")
    assert world.phase == "Succeeded"


def test_a_run_that_takes_too_long_fails_with_deadline_exceeded() -> None:
    world = World(f"timeout: 1h\nsteps: [{{name: a, {JOB}}}]").pass_time("1h")
    assert (world.phase, world.status["error"]["type"], world.running) == ("Failed", "DeadlineExceeded", [])


def test_a_job_that_was_seen_and_is_gone_was_deleted() -> None:
    world = World(f"steps: [{{name: a, {JOB}, retry: {{maxAttempts: 2, interval: 1s, jitter: None}}}}]").lose_job("a")
    assert (world.phases()["a"], world.step("a").error.type) == ("Retrying", "JobDeleted")
    world.pass_time("1s")
    assert [made.attempt for made in world.made] == [1, 2]


def test_the_uid_of_a_job_that_runs_long_enters_the_status() -> None:
    world = World(f"steps: [{{name: a, {JOB}}}]")
    assert (world.step("a").job_uid, world.step("a").inputs) == (None, {"image": "busybox"})
    world.pass_time("10s")
    assert (world.step("a").job_uid, world.step("a").inputs, world.writes) == ("job-1", None, 2)


def test_a_pod_that_does_not_start_fails_after_its_start_timeout_and_says_why() -> None:
    from dataclasses import replace

    from backstay.engine.model import Fault

    world = World("steps: [{name: a, job: {image: nope, startTimeout: 2m}}]")
    name = world.made[0].name
    world.jobs[name] = replace(world.jobs[name], started=False, stuck=Fault("ImagePull", "The image cannot be pulled", "nope: not found"))
    world.look()
    assert world.step("a").message == "ImagePull: nope: not found"
    world.pass_time("2m")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "ImagePull")


def test_a_job_that_the_api_server_refuses_fails_its_step() -> None:
    world = World(f"steps: [{{name: a, {JOB}}}]")
    world.refuse("a", "InvalidJob", "spec.template.spec.containers[0].image: Required value")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "InvalidJob")


def test_the_variables_of_a_run_are_limited() -> None:
    world = World('parameters: [{name: big}]\nsteps: [{name: a, set: {x: "${params.big}"}}]', {"big": "x" * 70_000})
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "LimitExceeded")
