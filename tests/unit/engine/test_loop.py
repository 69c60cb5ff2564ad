"""while: again and again, and never without an end."""

import pytest

from tests.support.world import World

ADD = "{name: add, set: {n: '${ vars.n + 1 }'}}"


def test_a_loop_goes_on_while_its_condition_is_true() -> None:
    world = World(
        f"""
steps:
- {{name: zero, set: {{n: 0}}}}
- {{name: loop, while: {{condition: "${{ vars.n < 3 }}", steps: [{ADD}]}}}}
outputs: [{{name: o, value: "${{ steps.loop.outputs }}"}}]
"""
    )
    assert (world.phase, world.status["vars"], world.status["outputs"]["o"]) == ("Succeeded", {"n": 3}, {"iterations": 3, "last": {}})


def test_a_condition_that_is_false_at_first_runs_nothing() -> None:
    world = World(f"steps: [{{name: loop, while: {{condition: '${{ index > 0 }}', steps: [{ADD}]}}}}]")
    assert (world.phase, world.phases()) == ("Succeeded", {"loop": "Succeeded"})


def test_until_is_looked_at_after_each_iteration_and_sees_its_steps() -> None:
    world = World(
        """
steps:
- name: poll
  while: {until: "${ steps.ask.outputs.ready }", steps: [{name: ask, job: {image: carrier, args: ["${ string(index) }"]}}, {name: pause, wait: {duration: 10s}}]}
outputs: [{name: polled, value: "${ steps.poll.outputs }"}]
"""
    )
    world.succeed("poll[0]/ask", {"ready": False}).pass_time("10s")
    assert world.running == ["poll[1]/ask"]
    world.succeed("poll[1]/ask", {"ready": True}).pass_time("10s")
    assert world.status["outputs"]["polled"] == {"iterations": 2, "last": {"ask": {"ready": True}}}
    assert [made.inputs["args"] for made in world.made] == [["0"], ["1"]]


def test_more_iterations_than_may_be_are_an_error_that_can_be_caught() -> None:
    loop = "name: loop, while: {condition: '${ true }', maxIterations: 4, steps: [{name: n, set: {i: '${ index }'}}]}"
    world = World(f"steps: [{{{loop}}}]")
    assert (world.phase, world.state.run.error.type) == ("Failed", "LimitExceeded")  # type: ignore[union-attr]
    assert world.state.run.error.detail == "5 iterations of at most 4; see maxIterations"  # type: ignore[union-attr]
    assert world.status["vars"] == {"i": 3}
    caught = World(f"steps: [{{{loop}, catch: [{{errors: [LimitExceeded], steps: [{{name: ok, set: {{ok: true}}}}]}}]}}]")
    assert caught.phase == "Succeeded"


def test_a_failure_ends_the_loop() -> None:
    world = World("steps: [{name: loop, while: {condition: '${ true }', steps: [{name: try, job: {image: i}}]}}]")
    world.succeed("loop[0]/try").fail("loop[1]/try", "Broken")
    assert (world.phase, world.state.run.error.step) == ("Failed", "loop[1]/try")  # type: ignore[union-attr]


@pytest.mark.parametrize("condition", ["condition: '${ vars.missing }'", "condition: '${ 1 }'", "until: '${ vars.missing }'"])
def test_a_condition_that_is_none_is_told(condition: str) -> None:
    world = World(f"steps: [{{name: loop, while: {{{condition}, steps: [{{name: a, set: {{x: 1}}}}]}}}}]")
    assert (world.phase, world.state.run.error.type) == ("Failed", "ExpressionError")  # type: ignore[union-attr]


def test_a_long_loop_is_told_by_totals_and_its_last_iterations() -> None:
    world = World(f"steps: [{{name: zero, set: {{n: 0}}}}, {{name: loop, while: {{condition: '${{ vars.n < 500 }}', steps: [{ADD}]}}}}]")
    assert (world.phase, world.status["vars"]) == ("Succeeded", {"n": 500})
    assert len(world.phases()) == 12
    assert world.step("loop").iterations == {"next": 500, "succeeded": 500, "kept": "490-499"}
    assert world.writes > 1


def test_each_iteration_of_a_loop_is_undone() -> None:
    world = World(
        """
steps:
- name: loop
  while: {condition: "${ index < 3 }", steps: [{name: pay, job: {image: i}, compensate: {job: {image: refund, args: ["${ string(index) }"]}}}]}
- {name: bad, fail: {error: E}}
"""
    )
    for index in range(3):
        world.succeed(f"loop[{index}]/pay")
    for index in (2, 1, 0):
        world.succeed(f"loop[{index}]/pay:compensate")
    assert [made.inputs["args"] for made in world.made[3:]] == [["2"], ["1"], ["0"]]
    assert world.phase == "Failed"


def test_a_suspended_loop_waits_and_goes_on() -> None:
    world = World("steps: [{name: loop, while: {condition: '${ index < 2 }', steps: [{name: a, job: {image: i}}]}}]")
    world.wants(suspend=True).succeed("loop[0]/a")
    assert world.running == []
    world.wants(suspend=False)
    assert world.running == ["loop[1]/a"]
    world.succeed("loop[1]/a")
    assert world.phase == "Succeeded"
