"""How runs go: order, structure, data. Given a workflow and what its Jobs did, what a user sees."""

import pytest

from tests.support.world import World

JOB = "job: {image: busybox}"


def test_steps_run_in_order_and_the_run_succeeds() -> None:
    world = World(f"steps: [{{name: a, {JOB}}}, {{name: b, {JOB}}}]")
    assert (world.phase, world.running, world.status["progress"], world.status["step"]) == ("Running", ["a"], "0/2", "a")
    world.succeed("a")
    assert (world.running, world.status["progress"]) == (["b"], "1/2")
    world.succeed("b")
    assert (world.phase, world.status["progress"]) == ("Succeeded", "2/2")
    assert world.condition("Complete") == ("True", "Succeeded")
    assert world.condition("Succeeded") == ("True", "Succeeded")


@pytest.mark.parametrize("count", [1, 3, 7])
def test_a_run_of_n_jobs_takes_n_plus_one_status_writes(count: int) -> None:
    steps = ", ".join(f"{{name: s{index}, {JOB}}}" for index in range(count))
    world = World(f"steps: [{steps}]")
    for index in range(count):
        world.succeed(f"s{index}")
    assert (world.phase, world.writes, len(world.made)) == ("Succeeded", count + 1, count)
    assert not world.finalizer


def test_outputs_reach_later_steps_and_keep_their_types() -> None:
    world = World(
        """
parameters: [{name: orderId, schema: {type: string}}]
steps:
- {name: reserve, job: {image: stock, args: ["${params.orderId}"]}}
- {name: check, if: "${ steps.reserve.outputs.lines > 2 }", job: {image: check, args: ["${steps.reserve.outputs.lines}", "n=${steps.reserve.outputs.lines}"]}}
outputs: [{name: lines, value: "${steps.reserve.outputs.lines}"}]
""",
        {"orderId": "a-17"},
    )
    assert world.made[0].inputs["args"] == ["a-17"]
    world.succeed("reserve", {"lines": 3})
    assert world.made[1].inputs["args"] == ["3", "n=3"]
    world.succeed("check")
    assert world.status["outputs"] == {"lines": 3}


def test_a_step_whose_if_is_false_is_skipped_and_the_next_one_begins() -> None:
    world = World(f'steps: [{{name: a, if: "${{ 1 > 2 }}", {JOB}}}, {{name: b, {JOB}}}]')
    assert world.phases() == {"a": "Skipped", "b": "Running"}


def test_variables_are_set_and_seen() -> None:
    world = World('steps: [{name: a, set: {n: 1, s: x}}, {name: b, set: {n: "${ vars.n + 1 }"}}]\noutputs: [{name: n, value: "${vars.n}"}]')
    assert (world.phase, world.status["vars"], world.status["outputs"]) == ("Succeeded", {"n": 2, "s": "x"}, {"n": 2})


def test_a_block_is_a_scope_and_its_outputs_are_those_of_its_steps() -> None:
    world = World(
        f"""
steps:
- {{name: outer, steps: [{{name: a, {JOB}}}, {{name: b, job: {{image: x, args: ["${{steps.a.outputs.v}}"]}}}}]}}
- {{name: after, job: {{image: x, args: ["${{steps.outer.outputs.a.v}}"]}}}}
"""
    )
    assert world.running == ["outer/a"]
    world.succeed("outer/a", {"v": 7})
    assert world.made[-1].inputs["args"] == ["7"]
    world.succeed("outer/b")
    assert (world.running, world.made[-1].inputs["args"]) == (["after"], ["7"])


def test_a_dag_starts_each_step_as_soon_as_its_dependencies_are_done() -> None:
    world = World(
        f"""
dag:
  steps:
  - {{name: fetch, {JOB}}}
  - {{name: test, dependsOn: [fetch], {JOB}}}
  - {{name: skipped, if: "${{ false }}", dependsOn: [fetch], {JOB}}}
  - {{name: publish, dependsOn: [test, skipped], {JOB}}}
  - {{name: alone, {JOB}}}
"""
    )
    assert world.running == ["fetch", "alone"]
    world.succeed("fetch")
    assert world.running == ["alone", "test"]
    world.succeed("test")
    assert world.running == ["alone", "publish"]
    world.succeed("alone").succeed("publish")
    assert (world.phase, world.status["progress"]) == ("Succeeded", "5/5")


def test_a_dag_that_fails_fast_stops_the_others_first() -> None:
    world = World(f"dag: {{steps: [{{name: a, {JOB}}}, {{name: b, {JOB}}}, {{name: c, dependsOn: [a], {JOB}}}]}}")
    world.stops_at_once = False
    world.fail("a")
    assert (world.phase, world.phases()) == ("Running", {"a": "Failed", "b": "Stopping"})
    world.gone("b")
    assert (world.phase, world.phases()) == ("Failed", {"a": "Failed", "b": "Cancelled"})
    assert world.status["error"]["type"] == "ExitCode"
    assert world.status["error"]["step"] == "a"


def test_a_dag_without_fail_fast_finishes_what_does_not_depend_on_the_failure() -> None:
    world = World(
        f"dag: {{failFast: false, steps: [{{name: a, {JOB}}}, {{name: b, {JOB}}}, {{name: c, dependsOn: [a], {JOB}}}, {{name: d, dependsOn: [b], {JOB}}}]}}"
    )
    world.fail("a").succeed("b").succeed("d")
    assert (world.phase, world.phases()) == ("Failed", {"a": "Failed", "b": "Succeeded", "c": "Skipped", "d": "Succeeded"})


PARALLEL = """
steps:
- name: p
  parallel:
    join: {join}
    cancelRest: {rest}
    branches:
    - {{name: x, steps: [{{name: s, job: {{image: i}}}}]}}
    - {{name: y, steps: [{{name: s, job: {{image: i}}}}]}}
    - {{name: z, steps: [{{name: s, job: {{image: i}}}}]}}
- {{name: after, job: {{image: i, args: ["${{ has(steps.p.outputs.y.s.v) ? 'y' : 'none' }}"]}}}}
"""


@pytest.mark.parametrize(
    ("join", "rest", "succeed", "fail", "then"),
    [
        ("All", "true", ["x", "y", "z"], [], "after"),
        ("Any", "true", ["y"], [], "after"),
        ("Any", "true", ["y"], ["x", "z"], "after"),
        ("2", "true", ["y", "z"], [], "after"),
        ('"50%"', "true", ["x", "y"], ["z"], "after"),
        ("Any", "false", ["y", "x", "z"], [], "after"),
        ("All", "true", [], ["x"], "Failed"),
        ("2", "true", [], ["x", "y"], "Failed"),
        ("2", "false", [], ["x", "y"], "Failed"),
    ],
)
def test_a_parallel_is_joined_as_it_says(join: str, rest: str, succeed: list[str], fail: list[str], then: str) -> None:
    world = World(PARALLEL.format(join=join, rest=rest))
    assert world.running == ["p/x/s", "p/y/s", "p/z/s"]
    for branch in fail:
        world.fail(f"p/{branch}/s")
    for branch in succeed:
        world.succeed(f"p/{branch}/s", {"v": 1})
    if then == "after":
        assert world.running == ["after"]
        assert world.made[-1].inputs["args"] == ["y" if "y" in succeed else "none"]
    else:
        assert (world.phase, world.running) == ("Failed", [])


def test_a_switch_takes_the_first_case_that_is_true() -> None:
    text = """
parameters: [{name: n}]
steps:
- name: route
  switch:
    cases:
    - {name: large, when: "${ params.n > 100 }", steps: [{name: s, set: {way: large}}]}
    - {when: "${ params.n > 10 }", steps: [{name: s, set: {way: middle}}]}
    default: [{name: s, set: {way: small}}]
"""
    for number, way, path in ((500, "large", "route/large/s"), (50, "middle", "route/1/s"), (5, "small", "route/default/s")):
        world = World(text, {"n": number})
        assert (world.phase, world.status["vars"]["way"], path in world.phases()) == ("Succeeded", way, True)


def test_a_switch_without_a_true_case_does_nothing() -> None:
    world = World('steps: [{name: s, switch: {cases: [{when: "${ false }", steps: [{name: x, set: {a: 1}}]}]}}]')
    assert (world.phase, world.phases()) == ("Succeeded", {"s": "Succeeded"})


def test_a_wait_lets_its_time_pass() -> None:
    world = World(f"steps: [{{name: cool, wait: {{duration: 10m}}}}, {{name: a, {JOB}}}]")
    assert (world.phases(), world.status["step"]) == ({"cool": "Waiting"}, "cool")
    world.pass_time("9m59s")
    assert world.phases() == {"cool": "Waiting"}
    world.pass_time("1s")
    assert world.running == ["a"]


def test_a_wait_until_a_moment_that_has_passed_is_over_at_once() -> None:
    world = World('steps: [{name: w, wait: {until: "2020-01-01T00:00:00Z"}}]')
    assert world.phase == "Succeeded"


def test_fail_ends_the_run_with_its_error() -> None:
    world = World(
        'parameters: [{name: id}]\nsteps: [{name: late, fail: {error: PaymentOverdue, message: "order ${params.id}"}}]', {"id": "a"}
    )
    assert world.phase == "Failed"
    assert world.status["error"] == {"type": "PaymentOverdue", "title": "Raised by the workflow", "detail": "order a", "step": "late"}


def test_end_stops_whatever_else_runs_and_ends_the_run_well() -> None:
    world = World(
        f"""
steps:
- name: p
  parallel:
    branches:
    - {{name: x, steps: [{{name: long, {JOB}}}]}}
    - {{name: y, steps: [{{name: quick, {JOB}}}, {{name: stop, end: {{result: Succeeded, message: enough}}}}]}}
- {{name: never, {JOB}}}
"""
    )
    world.stops_at_once = False
    world.succeed("p/y/quick")
    assert (world.phase, world.running) == ("Stopping", ["p/x/long"])
    world.gone("p/x/long")
    assert (world.phase, world.status["message"], "never" in world.phases()) == ("Succeeded", "enough", False)


def test_end_failed_compensates_what_was_done() -> None:
    world = World(f"steps: [{{name: a, {JOB}, compensate: {{{JOB}}}}}, {{name: b, end: {{result: Failed, message: stop}}}}]")
    world.succeed("a")
    assert (world.phase, world.running) == ("Compensating", ["a:compensate"])
    world.succeed("a:compensate")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "Ended")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "orderId"),
        ({"orderId": 5}, "orderId"),
        ({"orderId": "a", "amont": 1}, "amont"),
    ],
)
def test_wrong_parameters_end_the_run_at_once_and_start_nothing(given: dict[str, object], message: str) -> None:
    world = World(
        f"parameters: [{{name: orderId, schema: {{type: string}}}}, {{name: amount, default: 1}}]\nsteps: [{{name: a, {JOB}}}]", given
    )
    assert (world.phase, world.status["error"]["type"], world.made) == ("Failed", "InvalidParameters", [])
    assert message in world.status["error"]["detail"]
    assert world.writes == 1


def test_a_default_stands_in_for_a_parameter() -> None:
    world = World('parameters: [{name: n, default: 3}]\nsteps: [{name: a, set: {n: "${params.n}"}}]')
    assert world.status["vars"] == {"n": 3}


def test_an_expression_that_fails_is_an_error_of_its_step() -> None:
    world = World(f'steps: [{{name: a, {JOB}}}, {{name: b, set: {{x: "${{steps.a.outputs.paymnt}}"}}}}]')
    world.succeed("a", {"payment": 1})
    assert (world.phase, world.status["error"]["type"], world.status["error"]["step"]) == ("Failed", "ExpressionError", "b")
    assert "payment" in world.status["error"]["detail"]


def test_kubernetes_expands_what_the_author_wrote_and_never_what_a_run_brought() -> None:
    world = World(
        """
parameters: [{name: name}, {name: list}]
steps:
- name: a
  job:
    image: i
    args: ["$(OURS) ${params.name}", "${params.name}", "${params.list}"]
    env: [{name: X, value: "${params.name}"}]
""",
        {"name": "$(DB_PASSWORD)", "list": [{"x": "$(DB_PASSWORD)"}]},
    )
    assert world.made[0].inputs["args"] == ["$(OURS) $$(DB_PASSWORD)", "$$(DB_PASSWORD)", '[{"x":"$$(DB_PASSWORD)"}]']
    assert world.made[0].inputs["env"] == [{"name": "X", "value": "$$(DB_PASSWORD)"}]
