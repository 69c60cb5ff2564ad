"""Suspend, resume, cancel: what people ask of a run while it goes."""

from backstay.engine.model import Wish
from tests.support.world import World

JOB = "job: {image: busybox}"


def test_a_suspended_run_starts_nothing_new_and_what_runs_goes_on() -> None:
    world = World(f"steps: [{{name: a, {JOB}}}, {{name: b, {JOB}}}]").wants(suspend=True)
    assert (world.running, world.status["status"], world.condition("Suspended")) == (["a"], "Suspended", ("True", "SuspendRequested"))
    world.succeed("a")
    assert (world.running, world.phases()) == ([], {"a": "Succeeded"})
    world.wants(suspend=False)
    assert (world.running, world.status["status"]) == (["b"], "Running")


def test_a_timer_that_falls_due_during_a_suspension_waits_for_its_end() -> None:
    world = World(f"steps: [{{name: w, wait: {{duration: 1m}}}}, {{name: a, {JOB}}}]").wants(suspend=True).pass_time("2m")
    assert world.phases() == {"w": "Waiting"}
    world.wants(suspend=False)
    assert world.running == ["a"]


def test_time_in_suspension_does_not_count_towards_timeouts() -> None:
    world = World(f"timeout: 10m\nsteps: [{{name: b, timeout: 5m, steps: [{{name: a, {JOB}}}]}}]")
    world.wants(suspend=True).pass_time("1h").wants(suspend=False)
    world.pass_time("4m59s")
    assert world.phase == "Running"
    world.pass_time("1s")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "Timeout")


def test_a_run_that_is_made_suspended_begins_when_it_is_resumed() -> None:
    world = World(f"steps: [{{name: a, {JOB}}}]", wish=Wish(suspend=True))
    assert (world.phase, world.made, world.status["status"]) == ("None", [], "Suspended")
    world.wants(suspend=False)
    assert (world.phase, world.running) == ("Running", ["a"])


def test_a_run_that_is_cancelled_before_it_began_starts_nothing() -> None:
    world = World(f"steps: [{{name: a, {JOB}}}]", wish=Wish(cancel=True))
    assert (world.phase, world.made) == ("Cancelled", [])


def test_cancelling_a_suspended_run_ends_it() -> None:
    world = World(f"steps: [{{name: a, {JOB}}}, {{name: b, {JOB}}}]").wants(suspend=True).succeed("a").wants(cancel=True)
    assert world.phase == "Cancelled"


def test_who_asked_stands_in_the_journal() -> None:
    world = World(f"steps: [{{name: a, {JOB}}}]").wants(suspend=True).wants(suspend=False).wants(cancel=True, cancel_reason="enough")
    asked = {entry.kind: (entry.actor, entry.reason) for entry in world.entries if entry.actor != "operator"}
    assert asked == {"RunSuspended": ("user", ""), "RunResumed": ("user", ""), "CancelRequested": ("user", "enough")}
