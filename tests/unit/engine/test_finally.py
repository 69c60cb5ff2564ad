"""finally: what is to be tidied up is tidied up, whatever the end; exactly once, and before anything goes on."""

import copy
import os
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from backstay.engine.model import ENDED, Fault, JobState, Phase, Request
from tests.support.random_workflows import workflow
from tests.support.world import World

JOB = "job: {image: i}"
TIDY = "finally: [{name: tidy, job: {image: broom, args: ['${ending.phase}', '${ending.error.type}']}}]"
ONE = f"steps: [{{name: a, {JOB}, {TIDY}}}, {{name: b, {JOB}}}]"


def tidied(world: World, path: str = "a") -> list[list[str]]:
    """What each Job of a step's finally was told of the end that it came before."""
    return [made.inputs["args"] for made in world.made_for(f"{path}:finally/tidy")]


# ------------------------------------------------------------------------------------------------------------ every end


def test_a_step_that_has_succeeded_is_tidied_up_before_the_next_one_begins() -> None:
    world = World(ONE).succeed("a", {"n": 7})
    assert (world.phases()["a"], world.running, tidied(world)) == ("Finishing", ["a:finally/tidy"], [["Succeeded", ""]])
    world.succeed("a:finally/tidy")
    assert (world.step("a").phase, world.step("a").outputs, world.running) == (Phase.SUCCEEDED, {"n": 7}, ["b"])


ENDS: list[tuple[str, str, list[str], str]] = [
    ("fail", "a", ["Failed", "ExitCode"], "Failed"),
    ("cancel", "a", ["Cancelled", ""], "Cancelled"),
    ("delete", "a", ["Cancelled", ""], "Cancelled"),
    ("run timeout", "a", ["Cancelled", ""], "Cancelled"),
    ("step timeout", "a", ["Failed", "Timeout"], "Failed"),
    ("job deleted", "a", ["Failed", "JobDeleted"], "Failed"),
    ("request", "a", ["Cancelled", ""], "Cancelled"),
]


@pytest.mark.parametrize(("how", "path", "told", "becomes"), ENDS, ids=[end[0] for end in ENDS])
def test_a_finally_runs_at_any_end(how: str, path: str, told: list[str], becomes: str) -> None:
    limit = ", timeout: 1m" if how == "step timeout" else ""
    world = World(f"steps: [{{name: a, {JOB}, {TIDY}{limit}}}]", timeout=90 if how == "run timeout" else None)
    match how:
        case "fail":
            world.fail("a")
        case "cancel":
            world.wants(cancel=True)
        case "delete":
            world.wants(delete=True)
        case "job deleted":
            world.lose_job("a")
        case "request":
            world.wants(requests=(Request("r1", "a", "Cancel"),))
        case _:
            world.pass_time("2m")
    assert (world.phases()["a"], tidied(world)) == ("Finishing", [told])
    world.succeed("a:finally/tidy")
    assert world.phases()["a"] == becomes
    assert (len(tidied(world)), world.state.run.is_finished, world.finalizer) == (1, True, False)


def test_a_handler_comes_before_the_finally_and_an_error_of_either_is_told_to_it() -> None:
    caught = f"steps: [{{name: a, {JOB}, {TIDY}, catch: [{{steps: [{{name: h, {JOB}}}]}}]}}]"
    world = World(caught).fail("a").succeed("a:catch0/h")
    assert tidied(world) == [["Caught", "ExitCode"]]
    assert world.succeed("a:finally/tidy").phase == "Succeeded"
    world = World(caught).fail("a").fail("a:catch0/h", "Evil")
    assert tidied(world) == [["Failed", "Evil"]]
    assert world.succeed("a:finally/tidy").status["error"]["type"] == "Evil"


def test_the_attempts_of_a_step_share_one_finally() -> None:
    world = World(f"steps: [{{name: a, {JOB}, {TIDY}, retry: {{maxAttempts: 2, errors: ['*'], interval: 1s}}}}]").fail("a")
    assert tidied(world) == []
    world.pass_time("2s").fail("a")
    assert tidied(world) == [["Failed", "ExitCode"]]


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("set: {x: 1}", ["Succeeded", ""]),
        ("fail: {error: Bad}", ["Failed", "Bad"]),
        ("job: {image: '${steps.none.outputs.x}'}", ["Failed", "ExpressionError"]),
        ("end: {}", ["Succeeded", ""]),
        ("switch: {cases: [{when: '${false}', steps: [{name: x, set: {x: 1}}]}]}", ["Succeeded", ""]),
    ],
    ids=["set", "fail", "bad expression", "end", "no case"],
)
def test_a_step_that_is_over_as_soon_as_it_begins_has_a_finally_as_well(step: str, told: list[str]) -> None:
    world = World(f"steps: [{{name: none, job: {{image: i}}, if: '${{false}}'}}, {{name: a, {step}, {TIDY}}}]")
    assert tidied(world) == [told]
    world.succeed("a:finally/tidy")
    assert world.state.run.is_finished


def test_a_step_that_is_skipped_has_nothing_to_tidy_up() -> None:
    world = World(
        f"dag: {{steps: [{{name: x, {JOB}, if: '${{false}}', {TIDY}}}, {{name: y, {JOB}, {TIDY}, dependsOn: [{{step: x, outcome: Failed}}]}}]}}"
    )
    assert (world.phases(), world.made, world.phase) == ({"x": "Skipped", "y": "Skipped"}, [], "Succeeded")


def test_a_step_that_never_got_its_lock_has_nothing_to_tidy_up_and_one_that_got_it_tidies_up_while_it_holds_it() -> None:
    locked = f"steps: [{{name: a, {JOB}, {TIDY}, lock: {{name: door, timeout: 1m}}}}]"
    from backstay.engine.model import LockFact

    world = World(locked, taken={"door": LockFact(place=1, waiting=1)}).pass_time("2m")
    assert (world.status["error"]["type"], tidied(world)) == ("LockTimeout", [])
    world = World(locked).succeed("a")
    assert (tidied(world), list(world.asked)) == ([["Succeeded", ""]], ["a"])
    assert not world.succeed("a:finally/tidy").asked


# --------------------------------------------------------------------------------------------------------- what it does


def test_a_finally_sees_what_its_step_sees_the_step_itself_and_steps_of_its_own() -> None:
    world = World(
        """
parameters: [{name: order}]
steps:
- {name: first, job: {image: i}}
- name: a
  job: {image: i}
  finally:
  - {name: one, job: {image: i, args: ["${params.order}", "${steps.first.outputs.n}", "${steps.a.outputs.n}", "${steps.a.phase}"]}}
  - {name: two, job: {image: i, args: ["${steps.one.outputs.n}", "${ending.phase}"]}}
""",
        {"order": "o-1"},
    )
    world.succeed("first", {"n": 1}).succeed("a", {"n": 2}).succeed("a:finally/one", {"n": 3})
    assert [made.inputs["args"] for made in world.made[2:]] == [["o-1", "1", "2", "Finishing"], ["3", "Succeeded"]]


def test_an_error_in_a_finally_makes_a_step_fail_that_had_succeeded_and_what_it_did_is_undone() -> None:
    world = World(f"steps: [{{name: a, {JOB}, {TIDY}, compensate: {{job: {{image: u, args: ['${{self.outputs.n}}']}}}}}}]")
    world.succeed("a", {"n": 7}).fail("a:finally/tidy", "Sticky")
    assert (world.phases()["a"], world.status["error"]["type"], world.status["error"]["step"]) == ("Failed", "Sticky", "a:finally/tidy")
    assert world.made_for("a:compensate")[0].inputs["args"] == ["7"]
    world.succeed("a:compensate")
    assert (world.phase, world.condition("Compensated")) == ("Failed", ("True", "AllUndone"))


def test_an_error_in_a_finally_is_caught_around_the_step_and_not_by_the_step_itself() -> None:
    catch = f"catch: [{{steps: [{{name: h, {JOB}}}]}}]"
    world = World(f"steps: [{{name: out, {catch}, steps: [{{name: a, {JOB}, {TIDY}, {catch}}}]}}]")
    world.succeed("out/a").fail("out/a:finally/tidy", "Sticky")
    assert world.running == ["out:catch0/h"]


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_the_first_error_stays_and_that_of_the_finally_is_told(how: str) -> None:
    world = World(f"steps: [{{name: a, {JOB}, {TIDY}}}]")
    world.fail("a") if how == "failed" else world.wants(cancel=True)
    world.fail("a:finally/tidy", "Sticky")
    assert world.status["error"]["type"] == ("ExitCode" if how == "failed" else "Cancelled")
    assert world.step("a").message == "its finally failed as well: Sticky: Sticky happened"
    assert "StepFailed a:finally" in world.story


def test_a_step_that_a_person_cancels_fails_where_its_finally_does_as_the_run_would_have_gone_on() -> None:
    world = World(ONE).wants(requests=(Request("r1", "a", "Cancel"),)).fail("a:finally/tidy", "Sticky")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "Sticky")


def test_a_goto_leaves_a_block_only_once_its_finally_has_ended() -> None:
    world = World(
        f"""
steps:
- name: blk
  {TIDY}
  steps: [{{name: x, {JOB}}}, {{name: jump, goto: {{step: far}}}}]
- {{name: near, {JOB}}}
- {{name: far, {JOB}}}
"""
    )
    world.succeed("blk/x")
    assert tidied(world, "blk") == [["Cancelled", ""]]
    assert world.succeed("blk:finally/tidy").running == ["far"]


def test_each_lap_has_its_own_finally() -> None:
    world = World(
        f"steps: [{{name: a, {JOB}, {TIDY}}}, {{name: again, if: '${{steps.a.outputs.n < 2}}', goto: {{step: a}}}}, {{name: z, {JOB}}}]"
    )
    world.succeed("a", {"n": 1}).succeed("a:finally/tidy").succeed("a~2", {"n": 2})
    assert world.running == ["a~2:finally/tidy"]
    assert world.succeed("a~2:finally/tidy").running == ["z~2"]


STRUCTURES = {
    "forEach": ("forEach: {count: 2, parallelism: 2, steps: [{name: x, job: {image: i}, %s}]}", "s[0]/x", "s[1]/x"),
    "parallel": (
        "parallel: {branches: [{name: l, steps: [{name: x, job: {image: i}, %s}]}, {name: r, steps: [{name: x, job: {image: i}, %s}]}]}",
        "s/l/x",
        "s/r/x",
    ),
    "dag": ("dag: {steps: [{name: x, job: {image: i}, %s}, {name: y, job: {image: i}, %s}]}", "s/x", "s/y"),
    "template": ("template: {name: t}", "s/x", "s/y"),
}


@pytest.mark.parametrize("kind", STRUCTURES)
def test_what_a_failure_stops_is_tidied_up_before_the_structure_around_it_fails(kind: str) -> None:
    action, first, second = STRUCTURES[kind]
    template = ""
    if kind == "template":
        inner = STRUCTURES["dag"][0].replace("%s", TIDY)
        template = f"templates: [{{name: t, steps: [{{name: d, {inner}}}]}}]\n"
        first, second = "s/d/x", "s/d/y"
    world = World(f"{template}steps: [{{name: s, {action.replace('%s', TIDY)}}}]")
    world.fail(first)
    assert world.running == [second, f"{first}:finally/tidy"]
    world.succeed(f"{first}:finally/tidy")
    assert (world.running, tidied(world, second)) == ([f"{second}:finally/tidy"], [["Cancelled", ""]])
    assert world.succeed(f"{second}:finally/tidy").phase == "Failed"


def test_a_joined_parallel_is_tidied_up_when_the_rest_of_it_has_ended_while_what_follows_goes_on() -> None:
    world = World(
        f"""
steps:
- name: p
  {TIDY}
  parallel: {{join: Any, cancelRest: false, branches: [{{name: l, steps: [{{name: x, {JOB}}}]}}, {{name: r, steps: [{{name: x, {JOB}}}]}}]}}
- {{name: after, {JOB}}}
- {{name: last, {JOB}}}
"""
    )
    world.succeed("p/l/x")
    assert (world.running, tidied(world, "p")) == (["p/r/x", "after"], [])
    world.succeed("p/r/x").succeed("after")
    assert (world.running, tidied(world, "p")) == (["p:finally/tidy", "last"], [["Succeeded", ""]])
    assert world.succeed("last").phase == "Running"
    assert world.succeed("p:finally/tidy").phase == "Succeeded"


def test_steps_of_a_handler_of_a_compensation_and_of_a_finally_have_finallys_too() -> None:
    inner = f"{{name: x, {JOB}, {TIDY}}}"
    tidy = "finally: [{name: tidy, job: {image: i, args: ['${oops.type}']}}]"
    world = World(f"steps: [{{name: a, {JOB}, catch: [{{as: oops, steps: [{{name: h, {JOB}, {tidy}}}]}}]}}]")
    world.fail("a").succeed("a:catch0/h")
    assert world.made[-1].inputs["args"] == ["ExitCode"]
    assert world.succeed("a:catch0/h:finally/tidy").phase == "Succeeded"
    world = World(f"steps: [{{name: a, {JOB}, compensate: {{steps: [{inner}]}}}}, {{name: b, {JOB}}}]").succeed("a").fail("b")
    world.succeed("a:compensate/x")
    assert world.running == ["a:compensate/x:finally/tidy"]
    assert world.succeed("a:compensate/x:finally/tidy").condition("Compensated") == ("True", "AllUndone")
    world = World(f"steps: [{{name: a, {JOB}, finally: [{inner}]}}]").succeed("a").succeed("a:finally/x")
    assert world.running == ["a:finally/x:finally/tidy"]
    assert world.succeed("a:finally/x:finally/tidy").phase == "Succeeded"


def test_a_cancel_of_a_step_that_is_tidied_up_waits_until_it_is() -> None:
    world = World(
        f"""
steps:
- name: p
  parallel:
    branches:
    - {{name: l, steps: [{{name: x, {JOB}, {TIDY}}}]}}
    - {{name: r, steps: [{{name: y, {JOB}}}, {{name: stop, cancel: {{step: p/l/x}}}}, {{name: z, {JOB}}}]}}
"""
    )
    world.succeed("p/l/x").succeed("p/r/y")
    assert world.running == ["p/l/x:finally/tidy"]
    assert world.succeed("p/l/x:finally/tidy").running == ["p/r/z"]


def test_a_cancel_in_a_finally_of_what_is_around_it_does_not_wait_for_itself() -> None:
    cancel = "{name: stop, cancel: {step: blk/in}}"
    world = World(f"steps: [{{name: blk, steps: [{{name: in, steps: [{{name: x, {JOB}, finally: [{cancel}]}}]}}]}}, {{name: z, {JOB}}}]")
    world.succeed("blk/in/x")
    assert (world.running, world.phases()["blk/in/x:finally/stop"]) == (["z"], "Succeeded")


# ---------------------------------------------------------------------------------------------------- carried through


def test_a_finally_is_carried_through_when_the_run_is_cancelled_meanwhile() -> None:
    world = World(ONE).succeed("a").wants(cancel=True)
    assert (world.phase, world.running) == ("Stopping", ["a:finally/tidy"])
    world.succeed("a:finally/tidy")
    assert (world.phase, world.phases()["a"]) == ("Cancelled", "Succeeded")


def test_a_run_that_is_deleted_tidies_up_with_jobs_that_outlive_it_and_makes_again_those_that_went_with_it() -> None:
    world = World(ONE).succeed("a").wants(delete=True)
    assert world.finalizer
    world.lose_job("a:finally/tidy").pass_time("1m")
    assert [made.owned for made in world.made_for("a:finally/tidy")] == [True, False]
    world.succeed("a:finally/tidy")
    assert (world.phase, world.phases()["a"], world.finalizer) == ("Cancelled", "Succeeded", False)


def test_a_suspended_run_tidies_up_when_it_is_resumed_or_when_it_is_cancelled() -> None:
    world = World(ONE).wants(suspend=True).succeed("a")
    assert (world.phases()["a"], tidied(world)) == ("Finishing", [])
    assert len(tidied(world.wants(suspend=False))) == 1
    world = World(ONE).wants(suspend=True).succeed("a").wants(cancel=True)
    assert len(tidied(world)) == 1


def test_a_step_that_a_person_ends_has_a_finally_and_the_finally_can_be_cancelled_itself() -> None:
    world = World(ONE).succeed("a").wants(requests=(Request("r1", "a", "Cancel"),))
    assert world.status["answers"]["r1"].startswith("Refused: a is Finishing: it ends as Succeeded")
    world.wants(requests=(Request("r1", "a", "Cancel"), Request("r2", "a:finally", "Cancel")))
    assert (world.running, world.phases()["a"]) == (["b"], "Succeeded")


def test_nobody_waits_for_a_finally_beyond_the_compensation_timeout() -> None:
    world = World(f"compensationTimeout: 10m\nsteps: [{{name: a, {TIDY}, steps: [{{name: x, {JOB}}}]}}]")
    world.fail("a/x")
    world.wants(cancel=True).pass_time("11m")
    assert (world.phase, world.phases()["a"]) == ("Cancelled", "Failed")
    assert "FinallyAbandoned a:finally" in world.story
    assert world.step("a").message == "its finally failed as well: FinallyAbandoned: there was no time left for it, or its namespace goes"


def test_a_namespace_that_goes_is_not_kept_by_a_finally() -> None:
    world = World(
        f"steps: [{{name: a, {JOB}, finally: [{{name: wait, wait: {{duration: 9h}}}}]}}]\nfinally: [{{name: bye, wait: {{duration: 9h}}}}]"
    )
    world.succeed("a").wants(delete=True)
    assert world.phase == "Stopping"
    world.terminating = True
    world.look()
    assert (world.phase, world.finalizer) == ("Cancelled", False)
    assert [line for line in world.story if "Abandoned" in line] == ["FinallyAbandoned a:finally", "FinallyAbandoned /:finally"]


def test_the_annotation_lets_a_run_go_from_its_finally() -> None:
    world = World(f"steps: [{{name: a, {JOB}}}]\nfinally: [{{name: bye, wait: {{condition: '${{has(vars.never)}}'}}}}]").succeed("a")
    assert world.phase == "Finishing"
    world.wants(release=True)
    assert (world.phase, world.finalizer) == ("Succeeded", False)
    assert "FinallyAbandoned" in world.story


# ------------------------------------------------------------------------------------------------------------- the run


RUN = f"""
steps: [{{name: a, {JOB}, compensate: {{{JOB}}}}}, {{name: b, {JOB}}}]
finally: [{{name: tidy, job: {{image: broom, args: ['${{ending.phase}}', '${{ending.error.type}}', '${{steps.a.phase}}']}}}}]
outputs: [{{name: n, value: 1}}]
"""


def test_a_run_that_has_succeeded_runs_its_finally_before_it_ends() -> None:
    world = World(RUN).succeed("a").succeed("b")
    assert (world.phase, world.status["result"], tidied(world, "/")) == ("Finishing", "Succeeded", [["Succeeded", "", "Succeeded"]])
    assert world.finalizer
    world.succeed("/:finally/tidy")
    assert (world.phase, world.status["outputs"], world.finalizer) == ("Succeeded", {"n": 1}, False)


@pytest.mark.parametrize("how", ["fail", "cancel", "delete"])
def test_the_finally_of_a_run_comes_after_what_was_done_is_undone(how: str) -> None:
    world = World(RUN).succeed("a")
    world.fail("b") if how == "fail" else world.wants(**{how: True})
    assert (world.phase, tidied(world, "/")) == ("Compensating", [])
    world.succeed("a:compensate")
    end = ["Failed", "ExitCode"] if how == "fail" else ["Cancelled", "Cancelled"]
    assert (world.phase, tidied(world, "/")) == ("Finishing", [[*end, "Compensated"]])
    world.succeed("/:finally/tidy")
    assert (world.phase, world.finalizer) == (end[0], False)


def test_a_run_whose_finally_fails_fails_and_is_undone_and_its_finally_does_not_run_again() -> None:
    world = World(RUN).succeed("a").succeed("b").fail("/:finally/tidy", "Sticky")
    assert (world.phase, world.status["error"]["type"], world.running) == ("Compensating", "Sticky", ["a:compensate"])
    world.succeed("a:compensate")
    assert (world.phase, len(tidied(world, "/")), world.status.get("outputs")) == ("Failed", 1, None)


def test_a_run_that_had_failed_keeps_its_error_where_its_finally_fails_too() -> None:
    world = World(RUN).fail("a").fail("/:finally/tidy", "Sticky")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "ExitCode")
    assert world.step("/:finally").error.type == "Sticky"  # type: ignore[union-attr]


def test_undoing_a_run_that_had_succeeded_does_not_run_its_finally_again() -> None:
    world = World(RUN).succeed("a").succeed("b").succeed("/:finally/tidy").wants(undo=True).succeed("a:compensate")
    assert (world.phase, len(tidied(world, "/"))) == ("Compensated", 1)


def test_the_finally_of_a_run_runs_although_undoing_it_took_too_long() -> None:
    world = World(f"compensationTimeout: 10m\n{RUN}").succeed("a").fail("b").pass_time("11m")
    assert (world.phase, tidied(world, "/")) == ("Finishing", [["Failed", "ExitCode", "Succeeded"]])
    world.pass_time("11m")
    assert (world.phase, world.running) == ("Failed", [])
    assert [line for line in world.story if "Abandoned" in line] == ["CompensationAbandoned", "FinallyAbandoned /:finally"]


def test_a_run_that_ends_itself_or_that_a_handler_saves_runs_its_finally() -> None:
    bye = f"finally: [{{name: tidy, {JOB}}}]"
    for steps in (
        f"steps: [{{name: e, end: {{}}}}]\n{bye}",
        f"steps: [{{name: f, fail: {{error: X}}}}]\ncatch: [{{steps: [{{name: h, set: {{x: 1}}}}]}}]\n{bye}",
    ):
        world = World(steps)
        assert (world.phase, world.running) == ("Finishing", ["/:finally/tidy"])
        assert world.succeed("/:finally/tidy").phase == "Succeeded"


def test_a_run_that_never_began_has_nothing_to_tidy_up() -> None:
    world = World(f"parameters: [{{name: x}}]\n{RUN.strip()}")
    assert (world.phase, world.status["error"]["type"], world.made) == ("Failed", "InvalidParameters", [])
    from backstay.engine.model import Wish

    world = World(RUN, wish=Wish(suspend=True)).wants(cancel=True)
    assert (world.phase, world.made) == ("Cancelled", [])


def test_a_child_run_in_a_finally_is_never_undone() -> None:
    world = World(f"steps: [{{name: a, {JOB}, finally: [{{name: c, workflow: {{name: cleaning}}}}]}}, {{name: b, {JOB}}}]")
    world.succeed("a").child("a:finally/c", "Succeeded")
    world.fail("b")
    assert (world.phase, world.told, world.condition("Compensated")) == ("Failed", [], ("True", "NothingToUndo"))


# --------------------------------------------------------------------------------------------------- whatever happens


class NoAliases(yaml.SafeDumper):
    """Steps that are the same object twice are written twice."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def with_finally(steps: list[dict[str, Any]], dice: list[bool]) -> list[dict[str, Any]]:
    """Give about every other step a finally, wherever it stands. Returns the steps."""
    for step in steps:
        if dice and dice.pop():
            step["finally"] = [{"name": "tidy", "job": {"image": "broom"}}]
        for inside in lists_of(step):
            with_finally(inside, dice)
    return steps


def lists_of(step: dict[str, Any]) -> list[list[dict[str, Any]]]:
    found = [step.get("steps", []), *(step.get(kind, {}).get("steps", []) for kind in ("dag", "forEach", "while"))]
    found += [branch.get("steps", []) for branch in (*step.get("parallel", {}).get("branches", ()), *step.get("race", ()))]
    found += [case["steps"] for case in step.get("switch", {}).get("cases", ())]
    found += [step.get("switch", {}).get("default", []), *(catch["steps"] for catch in step.get("catch", ()))]
    return found


moves = st.sampled_from(["succeed", "succeed", "succeed", "fail", "delete-job", "late", "time", "suspend", "resume", "cancel", "delete"])


@settings(max_examples=int(os.environ.get("BACKSTAY_EXAMPLES", "60")), deadline=None)
@given(
    st.binary(min_size=96, max_size=96), st.lists(st.booleans(), max_size=20), st.lists(st.tuples(moves, st.integers(0, 100)), max_size=30)
)
def test_a_finally_of_a_step_that_has_begun_runs_exactly_once_whatever_cancels_kills_or_fails(
    seed: bytes, dice: list[bool], script: list[tuple[str, int]]
) -> None:
    spec, _, _ = workflow(seed)
    spec = copy.deepcopy(spec)
    inside = spec["steps"] if "steps" in spec else spec["dag"]["steps"]
    with_finally(inside, dice)
    spec["finally"] = [{"name": "tidy", "job": {"image": "broom"}}]
    world = World(yaml.dump({**spec, "compensationTimeout": "1h"}, Dumper=NoAliases))
    for move, pick in script:
        play(world, move, pick)
    finish(world)
    check(world)


def play(world: World, move: str, pick: int) -> None:
    running = world.running
    path = running[pick % len(running)] if running else ""
    world.stops_at_once = move != "late"
    match move:
        case "succeed" | "late" if running:
            world.succeed(path, {"n": pick})
        case "fail" if running:
            world.end(path, JobState.FAILED, None, Fault("ExitCode"))
        case "delete-job" if running:
            world.lose_job(path)
        case "time":
            world.pass_time("15s")
        case "suspend" | "resume":
            world.wants(suspend=move == "suspend")
        case "cancel" | "delete":
            world.wants(**{move: True})


def finish(world: World) -> None:
    """From now on everything goes well, people answer at once, and nothing takes longer than the compensation timeout allows."""
    world.stops_at_once = True
    world.wants(suspend=False)
    for _ in range(1000):
        if world.state.run.is_finished:
            return
        if world.running:
            world.succeed(world.running[0])
            continue
        if paused := [path for path, record in world.state.steps.items() if record.phase is Phase.PAUSED]:
            world.ask(paused[0], "Retry")
            continue
        for name, fact in list(world.jobs.items()):
            if fact.deleting:
                del world.jobs[name]
                world.vanished.add(name)
        world.pass_time("10s")


def check(world: World) -> None:
    """Every end of a step that had begun was told once, and its finally came before it."""
    assert world.state.run.is_finished
    assert all(record.phase in ENDED for record in world.state.steps.values())
    assert not any("Abandoned" in line for line in world.story)
    seen: dict[str, int] = {}
    for entry in world.entries:
        if entry.kind == "StepFinishing":
            seen[entry.path] = seen.get(entry.path, 0) + 1
    begun = [entry.path for entry in world.entries if entry.path.endswith(":finally") and entry.kind == "StepStarted"]
    assert sorted(begun) == sorted([*(f"{path}:finally" for path in seen), *(["/:finally"] if "/:finally" in world.state.steps else [])])
    assert set(seen.values()) <= {1}
    skipped = {entry.path for entry in world.entries if entry.kind == "StepSkipped"}
    ended = {entry.path for entry in world.entries if entry.changes.get("phase") in ENDED and entry.path}
    with_one = {path for path in ended - skipped if (node := world.program.node(path)) is not None and node.finally_ is not None}
    assert with_one == set(seen)
    assert world.state.run.started_at is None or world.phase == "Cancelled" or "/:finally" in world.state.steps
