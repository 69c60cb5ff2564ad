"""onFailure.workflow: a run that has failed starts another one to recover from it, once, with all that is known of the failure."""

from typing import Any

import orjson
import pytest

from backstay.engine.model import Fault, Wish
from tests.support.world import World

JOB = "job: {image: i}"
MEND = (
    "onFailure: {workflow: {name: mend, params: {why: '${error.type}', at: '${error.step}', state: '${state}', order: '${params.order}'}}}"
)
TWO = f"""
parameters: [{{name: order, default: o-1}}]
{MEND}
steps:
- {{name: a, {JOB}, compensate: {{{JOB}}}}}
- {{name: count, set: {{n: 5}}}}
- {{name: b, {JOB}}}
"""


def born(world: World) -> list[Any]:
    return [effect.inputs["workflow"]["name"] for effect in world.born]


def test_a_run_that_has_failed_starts_its_recovery_after_it_is_undone_and_after_its_finally() -> None:
    world = World(f"{TWO}\nfinally: [{{name: tidy, {JOB}}}]").succeed("a", {"id": "r-9"}).fail("b")
    assert (world.phase, world.born) == ("Compensating", [])
    world.succeed("a:compensate")
    assert (world.running, world.born) == (["/:finally/tidy"], [])
    world.succeed("/:finally/tidy")
    assert (world.phase, born(world), world.finalizer) == ("Failed", ["mend"], False)
    assert world.status["recovery"] == world.born[0].name
    assert world.story[-2:] == ["RecoveryStarted", "RunFailed"]
    assert world.condition("Recovery") == ("True", "Started")


def test_nobody_waits_for_a_recovery_and_it_outlives_the_run_that_failed() -> None:
    world = World(TWO).fail("a")
    (made,) = world.born
    assert (made.inputs["detached"], made.owned, world.phase) == (True, False, "Failed")
    world.pass_time("1h")
    assert len(world.born) == 1


def test_a_recovery_is_told_the_error_and_what_the_run_had_come_to() -> None:
    world = World(TWO, {"order": "o-7"}).succeed("a", {"id": "r-9"}).fail("b").succeed("a:compensate")
    params = world.born[0].inputs["parameters"]
    assert (params["why"], params["at"], params["order"]) == ("ExitCode", "b", "o-7")
    assert params["state"] == {
        "phase": "Failed",
        "vars": {"n": 5},
        "steps": {
            "a": {"phase": "Compensated", "attempt": 1, "outputs": {"id": "r-9"}},
            "count": {"phase": "Succeeded"},
            "b": {"phase": "Failed", "attempt": 1, "error": {"type": "ExitCode", "detail": "ExitCode happened", "step": "b", "attempt": 1}},
            "a:compensate": {"phase": "Succeeded", "attempt": 1},
        },
        "omitted": {"steps": 0, "vars": 0, "outputs": 0},
    }


def test_what_does_not_fit_into_16_kib_is_left_out_and_counted_and_the_error_stays() -> None:
    steps = "\n".join(f"- {{name: s{index}, {JOB}}}" for index in range(40))
    world = World(f"{MEND.replace(', order: ' + repr('${params.order}'), '')}\nsteps:\n{steps}")
    for index in range(39):
        world.succeed(f"s{index}", {"text": "x" * 1000})
    world.fail("s39")
    state = world.born[0].inputs["parameters"]["state"]
    assert len(orjson.dumps(state)) <= 16 * 1024
    assert (len(state["steps"]), state["steps"]["s39"]["error"]["type"], state["omitted"]["steps"]) == (40, "ExitCode", 0)
    given = [path for path, step in state["steps"].items() if "outputs" in step]
    assert (given[-1], len(given) + state["omitted"]["outputs"]) == ("s38", 39)
    assert 5 < len(given) < 16


@pytest.mark.parametrize("how", ["success", "cancel", "delete", "caught", "never began"])
def test_only_a_run_that_has_failed_starts_one(how: str) -> None:
    caught = TWO.replace("steps:", "catch: [{steps: [{name: h, set: {x: 1}}]}]\nsteps:")
    world = World(caught if how == "caught" else TWO, wish=Wish(suspend=how == "never began"))
    match how:
        case "success":
            world.succeed("a").succeed("b")
        case "caught":
            world.fail("a")
        case "never began":
            world.wants(cancel=True)
        case _:
            world.wants(**{how: True}).succeed("a:compensate")
    assert (world.state.run.is_finished, world.born) == (True, [])
    assert world.condition("Recovery") is None


def test_a_run_that_undoing_was_given_up_of_has_a_recovery_and_one_whose_namespace_goes_has_none() -> None:
    world = World(f"compensationTimeout: 10m\n{TWO}").succeed("a").fail("b").pass_time("11m")
    assert (world.phase, born(world)) == ("Failed", ["mend"])
    world = World(TWO).succeed("a").fail("b")
    world.terminating = True
    world.look()
    assert (world.phase, world.born) == ("Failed", [])


def test_a_recovery_that_cannot_be_started_is_told_and_keeps_no_run_from_ending() -> None:
    world = World(f"onFailure: {{workflow: {{name: mend, params: {{x: '${{steps.a.outputs.none}}'}}}}}}\nsteps: [{{name: a, {JOB}}}]").fail(
        "a"
    )
    assert (world.phase, world.status["error"]["type"], world.born) == ("Failed", "ExitCode", [])
    assert world.step("/:recovery").error.type == "ExpressionError"  # type: ignore[union-attr]
    assert world.condition("Recovery") == ("False", "ExpressionError")
    assert world.status.get("recovery") is None


def test_a_suspended_run_starts_its_recovery_when_it_is_resumed() -> None:
    world = World(TWO).wants(suspend=True).fail("a")
    assert (world.phase, world.born) == ("Finishing", [])
    world.wants(suspend=False)
    assert (world.phase, born(world)) == ("Failed", ["mend"])


@pytest.mark.parametrize(("callers", "starts"), [((), True), (("order",), True), (("mend",), False), (("mend", "order"), False)])
def test_a_recovery_never_starts_what_it_recovers(callers: tuple[str, ...], starts: bool) -> None:
    world = World(TWO, callers=callers).fail("a")
    assert (world.phase, bool(world.born)) == ("Failed", starts)
    if not starts:
        assert world.condition("Recovery") == ("False", "LimitExceeded")
        assert "recover with another workflow" in world.step("/:recovery").error.detail  # type: ignore[union-attr]


def test_a_workflow_is_not_its_own_recovery() -> None:
    world = World(f"onFailure: {{workflow: {{name: order}}}}\nsteps: [{{name: a, {JOB}}}]").fail("a")
    assert (world.phase, world.born) == ("Failed", [])


def test_the_error_of_a_finally_that_makes_a_run_fail_starts_the_recovery() -> None:
    world = World(f"{TWO}\nfinally: [{{name: tidy, {JOB}}}]").succeed("a").succeed("b").fail("/:finally/tidy", "Sticky")
    assert world.phase == "Compensating"
    world.succeed("a:compensate")
    assert (world.phase, world.born[0].inputs["parameters"]["why"]) == ("Failed", "Sticky")


def test_a_quota_that_keeps_a_recovery_from_being_made_keeps_the_run_no_longer_than_the_compensation_timeout() -> None:
    world = World(f"compensationTimeout: 10m\n{TWO}")
    world.obstruct(Fault("Quota", "Waiting for quota", "exceeded")).fail("a")
    assert (world.phase, world.born) == ("Finishing", [])
    world.pass_time("11m")
    assert (world.phase, world.condition("Recovery")) == ("Failed", ("False", "NotStarted"))
