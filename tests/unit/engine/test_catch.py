"""Catching: which handler takes an error, what it sees, what it gives, and how an error goes on from there."""

import pytest

from backstay.engine import uncaught
from backstay.engine.model import Fault, JobState
from tests.support.world import World

JOB = "job: {image: busybox}"


# ------------------------------------------------------------------------------------------------------------- exit codes

CODES = 'job: {image: stock, exitCodes: {"3": OutOfStock, "4": Timeout, "137": Killed}}'


@pytest.mark.parametrize(
    ("code", "output", "expected"),
    [
        (3, None, "OutOfStock"),
        (4, None, "Timeout"),
        (137, None, "Killed"),
        (5, None, "ExitCode"),
        (3, '{"error": {"type": "CardDeclined", "message": "no funds"}}', "CardDeclined"),
        (3, "not json", "OutOfStock"),
        (3, '{"parcels": 1}', "OutOfStock"),
        (None, None, "ExitCode"),
    ],
)
def test_an_exit_code_becomes_the_error_that_the_step_says_unless_the_output_names_one(
    code: int | None, output: str | None, expected: str
) -> None:
    world = World(f"steps: [{{name: a, {CODES}}}]")
    world.sees("a", exit_code=code).end(
        "a", JobState.FAILED, output, Fault("ExitCode", f"exit code {code}", f"exit code {code}; it left: x")
    )
    error = world.status["error"]
    assert error["type"] == expected
    if expected not in ("CardDeclined",):
        assert error["detail"] == f"exit code {code}; it left: x"


@pytest.mark.parametrize("kind", ["OOMKilled", "Evicted", "InvalidJob"])
def test_what_kubernetes_says_of_a_pod_counts_more_than_its_exit_code(kind: str) -> None:
    world = World(f"steps: [{{name: a, {CODES}}}]")
    world.end("a", JobState.FAILED, None, Fault(kind, "", "it was so"))
    error = world.step("a").error
    assert error is not None
    assert error.type == kind


def test_an_error_of_an_exit_code_is_retried_and_caught_by_its_type() -> None:
    world = World(
        f"""
steps:
- name: a
  {CODES}
  retry: {{maxAttempts: 2, interval: 1s, jitter: None, errors: [OutOfStock]}}
  catch: [{{errors: [OutOfStock], steps: [{{name: order, set: {{why: "${{error.title}}"}}}}]}}]
"""
    )
    for attempt in (1, 2):
        assert world.step("a").attempt == attempt
        world.sees("a", exit_code=3).end("a", JobState.FAILED, None, Fault("ExitCode", "exit code 3")).pass_time("1s")
    assert (world.phase, world.status["vars"]) == ("Succeeded", {"why": "exit code 3"})


# ------------------------------------------------------------------------------------------------------------------- when

WHEN = """
parameters: [{name: gold, default: false}]
steps:
- {name: before, set: {limit: 2}}
- name: a
  job: {image: x}
  catch:
  - {errors: [CardDeclined], as: declined, when: "${ declined.detail.contains('limit') && params.gold }", steps: [{name: raise, set: {way: gold}}]}
  - {errors: [CardDeclined], when: "${ steps.a.attempt > vars.limit }", steps: [{name: often, set: {way: often}}]}
  - {errors: [Permanent], when: "${ error.type != 'Fraud' && error.step == 'a' && error.attempt == 1 }", steps: [{name: ask, set: {way: ask}}]}
  - {when: "${ has(vars.limit) && error.title.startsWith('Reported') }", steps: [{name: last, set: {way: last}}]}
"""


@pytest.mark.parametrize(
    ("gold", "kind", "message", "way"),
    [
        (True, "CardDeclined", "over the limit", "gold"),
        (False, "CardDeclined", "over the limit", "ask"),
        (True, "CardDeclined", "stolen", "ask"),
        (True, "Fraud", "stolen", "last"),
    ],
)
def test_the_first_handler_is_taken_whose_errors_match_and_whose_when_is_true(gold: bool, kind: str, message: str, way: str) -> None:
    world = World(WHEN, {"gold": gold}).fail("a", output=f'{{"error": {{"type": "{kind}", "message": "{message}"}}}}')
    assert (world.phase, world.status["vars"]["way"]) == ("Succeeded", way)


def test_where_no_when_is_true_the_error_goes_on_to_what_is_around() -> None:
    world = World(
        f"""
steps:
- name: block
  steps: [{{name: a, {JOB}, catch: [{{when: "${{ false }}", steps: [{{name: nope, set: {{way: inner}}}}]}}]}}]
  catch:
  - {{when: "${{ error.step == 'block/a' }}", steps: [{{name: yep, set: {{way: outer}}}}]}}
"""
    )
    world.fail("block/a")
    assert (world.phases()["block/a"], world.phases()["block"], world.status["vars"]) == ("Failed", "Caught", {"way": "outer"})


def test_a_when_that_cannot_be_evaluated_is_an_error_of_the_step_that_tells_the_first_one() -> None:
    world = World(
        f"""
steps:
- name: a
  {JOB}
  catch:
  - {{errors: [Timeout], when: "${{ vars.never }}", steps: [{{name: nope, {JOB}}}]}}
  - {{when: "${{ vars.missing > 1 }}", steps: [{{name: nope, {JOB}}}]}}
  - {{steps: [{{name: not-looked-at, {JOB}}}]}}
"""
    )
    world.fail("a")
    error = world.step("a").error
    assert error is not None
    assert (world.phase, error.type, error.step, error.attempt) == ("Failed", "ExpressionError", "a", 1)
    assert error.detail.startswith("catch[1].when: ")
    assert error.detail.endswith("; the error was ExitCode: ExitCode happened")


def test_a_when_that_gives_no_condition_is_an_error_of_the_step() -> None:
    world = World(f'steps: [{{name: a, {JOB}, catch: [{{when: "${{ error.detail }}", steps: [{{name: nope, {JOB}}}]}}]}}]').fail("a")
    assert world.status["error"]["detail"].startswith("catch[0].when: it: 'ExitCode happened' is neither true nor false")


def test_a_handler_in_a_handler_sees_both_errors_under_their_names() -> None:
    world = World(
        f"""
steps:
- name: a
  {JOB}
  catch:
  - as: first
    steps:
    - name: mend
      {JOB}
      catch:
      - as: second
        when: "${{ first.type == 'ExitCode' && second.type == 'OOMKilled' }}"
        steps: [{{name: note, set: {{both: "${{ first.type + ' then ' + second.type + ' of ' + second.step }}"}}}}]
"""
    )
    world.fail("a").fail("a:catch0/mend", "OOMKilled")
    assert (world.phase, world.status["vars"]) == ("Succeeded", {"both": "ExitCode then OOMKilled of a:catch0/mend"})


def test_the_workflows_own_catch_looks_at_when() -> None:
    text = """
parameters: [{name: soft}]
steps: [{name: a, job: {image: x}}]
catch: [{when: "${ params.soft && error.step == 'a' }", steps: [{name: note, set: {x: 1}}], outputs: {fallback: "${error.type}"}}]
"""
    assert World(text, {"soft": False}).fail("a").phase == "Failed"
    world = World(text, {"soft": True}).fail("a")
    assert (world.phase, world.status["outputs"]) == ("Succeeded", {"fallback": "ExitCode"})


# ---------------------------------------------------------------------------------------------------------------- outputs


def test_a_handler_gives_the_outputs_of_its_step_as_if_the_step_had_produced_them() -> None:
    world = World(
        """
steps:
- name: price
  job: {image: quote}
  catch:
  - errors: [Transient]
    steps: [{name: cached, job: {image: cache}}]
    outputs: {amount: "${ steps.cached.outputs.amount }", why: "from the cache: ${ error.type }", live: false}
- {name: pay, job: {image: pay, args: ["${ steps.price.outputs.amount }", "${ steps.price.outputs.why }", "${ steps.price.phase }"]}}
"""
    )
    world.fail("price").succeed("price:catch0/cached", {"amount": 12})
    assert world.step("price").outputs == {"amount": 12, "why": "from the cache: ExitCode", "live": False}
    assert world.made[-1].inputs["args"] == ["12", "from the cache: ExitCode", "Caught"]


def test_a_handler_of_a_block_gives_what_stands_for_the_outputs_of_its_steps() -> None:
    world = World(
        """
steps:
- name: both
  steps: [{name: a, job: {image: x}}, {name: b, job: {image: x}}]
  catch: [{steps: [{name: note, set: {n: 1}}], outputs: {a: {n: 1}, b: {n: 2}}}]
outputs: [{name: n, value: "${ steps.both.outputs.a.n + steps.both.outputs.b.n }"}]
"""
    )
    world.fail("both/a")
    assert (world.phase, world.status["outputs"]) == ("Succeeded", {"n": 3})


@pytest.mark.parametrize(
    ("outputs", "kind", "words"),
    [
        ("{x: \"${ vars.nothing }\"}", "ExpressionError", "catch[0].outputs: "),
        ("{x: \"${ params.big }\"}", "LimitExceeded", "catch[0].outputs take 20,008 bytes of at most 16,384"),
        ("{n: text}", "InvalidOutput", "outputs.n"),
    ],
)  # fmt: skip
def test_outputs_that_cannot_be_had_fail_the_step(outputs: str, kind: str, words: str) -> None:
    world = World(
        f"""
parameters: [{{name: big}}]
steps:
- name: a
  {JOB}
  outputs: {{type: object, properties: {{n: {{type: integer}}}}}}
  catch: [{{steps: [{{name: ok, set: {{v: 1}}}}], outputs: {outputs}}}]
""",
        {"big": "x" * 20_000},
    )
    world.fail("a")
    error = world.step("a").error
    assert error is not None
    assert (world.phase, error.type, error.step) == ("Failed", kind, "a")
    assert words in error.detail


def test_a_step_that_is_caught_without_outputs_has_none() -> None:
    world = World(
        f'steps: [{{name: a, {JOB}, catch: [{{steps: [{{name: ok, set: {{v: 1}}}}]}}]}}, {{name: b, set: {{has: "${{ has(steps.a.outputs.x) }}"}}}}]'
    ).fail("a")
    assert world.status["vars"] == {"v": 1, "has": False}


# ------------------------------------------------------------------------------------------------------ how it goes on


def test_a_rethrow_raises_the_error_that_is_handled_as_it_was() -> None:
    world = World(
        f"""
steps:
- name: outer
  steps:
  - name: a
    {JOB}
    retry: {{maxAttempts: 2, interval: 1s, jitter: None, errors: ["*"]}}
    catch:
    - steps:
      - {{name: clean, {JOB}}}
      - {{name: block, steps: [{{name: again, fail: {{rethrow: true}}}}]}}
  catch:
  - {{errors: [CardDeclined], steps: [{{name: note, set: {{seen: "${{ error }}"}}}}]}}
"""
    )
    bad = '{"error": {"type": "CardDeclined", "message": "no funds"}}'
    world.fail("outer/a", output=bad).pass_time("1s").fail("outer/a", output=bad).succeed("outer/a:catch0/clean")
    seen = {"type": "CardDeclined", "title": "Reported by the container", "detail": "no funds", "step": "outer/a", "attempt": 2}
    assert (world.phase, world.status["vars"]["seen"]) == ("Succeeded", seen)
    assert world.step("outer/a").phase == "Failed"


def test_a_rethrow_in_a_handler_of_a_handler_raises_the_innermost_error() -> None:
    inner = f"{{name: mend, {JOB}, catch: [{{steps: [{{name: again, fail: {{rethrow: true}}}}]}}]}}"
    world = World(f"steps: [{{name: a, {JOB}, catch: [{{steps: [{inner}]}}]}}]").fail("a").fail("a:catch0/mend", "OOMKilled")
    error = world.status["error"]
    assert (world.phase, error["type"], error["step"]) == ("Failed", "OOMKilled", "a:catch0/mend")


def test_a_rethrow_may_be_conditional() -> None:
    text = f"""
steps:
- name: a
  {JOB}
  catch: [{{steps: [{{name: again, if: "${{ error.type == 'OOMKilled' }}", fail: {{rethrow: true}}}}, {{name: note, set: {{x: 1}}}}]}}]
"""
    assert World(text).fail("a").phase == "Succeeded"
    assert World(text).fail("a", "OOMKilled").status["error"]["type"] == "OOMKilled"


def test_a_handler_tries_its_step_again_by_a_goto_to_it_up_to_its_visits() -> None:
    world = World(
        f"""
steps:
- name: a
  {JOB}
  catch:
  - errors: [ExitCode]
    steps: [{{name: mend, {JOB}}}, {{name: again, goto: {{step: a, maxVisits: 3}}}}]
- {{name: after, {JOB}}}
"""
    )
    world.fail("a").succeed("a:catch0/mend")
    assert (world.step("a").phase, world.running) == ("Caught", ["a~2"])
    world.fail("a~2").succeed("a~2:catch0/mend").succeed("a~3")
    assert (world.running, world.step("a~3").visit) == (["after~3"], 3)


def test_a_handler_that_tries_its_step_again_too_often_fails_it() -> None:
    world = World(f"steps: [{{name: a, {JOB}, catch: [{{steps: [{{name: again, goto: {{step: a, maxVisits: 2}}}}]}}]}}]")
    world.fail("a").fail("a~2")
    error = world.status["error"]
    assert (world.phase, error["type"], error["step"]) == ("Failed", "LimitExceeded", "a~2:catch0/again")


CALLER = """
steps:
- name: fulfil
  workflow: {name: ship}
  catch:
  - {errors: [OutOfStock], when: "${ error.detail.contains('lamp') }", steps: [{name: other, set: {way: other}}], outputs: {parcel: none}}
  - {errors: [OutOfStock], steps: [{name: again, fail: {rethrow: true}}]}
outputs: [{name: parcel, value: "${ steps.fulfil.outputs.parcel }"}]
"""


def test_a_caller_catches_the_error_of_its_child_by_type_and_when() -> None:
    error = Fault("OutOfStock", "Reported by the container", "no lamp left", "pick", 1)
    world = World(CALLER).child("fulfil", "Failed", error=error)
    assert (world.phase, world.status["outputs"]) == ("Succeeded", {"parcel": "none"})


def test_a_caller_raises_the_error_of_its_child_again_with_where_it_came_from() -> None:
    world = World(CALLER).child("fulfil", "Failed", error=Fault("OutOfStock", "Reported by the container", "no table left", "pick", 1))
    error = world.status["error"]
    assert (world.phase, error["type"], error["step"]) == ("Failed", "OutOfStock", "fulfil:child/pick")


# ----------------------------------------------------------------------------------------------------- what nobody caught


def told(world: World) -> str:
    return next(entry.reason for entry in world.entries if entry.kind == "RunFailing")


def test_an_uncaught_error_says_where_it_was_raised_and_which_catches_were_looked_at() -> None:
    world = World(
        f"""
steps:
- name: order
  steps:
  - name: charge
    {JOB}
    catch:
    - {{errors: [CardDeclined, Fraud], steps: [{{name: x, {JOB}}}]}}
    - {{errors: [Transient], when: "${{ error.attempt > 3 }}", steps: [{{name: x, {JOB}}}]}}
  catch: [{{errors: [Permanent], steps: [{{name: x, {JOB}}}]}}]
catch: [{{errors: [Timeout], steps: [{{name: x, {JOB}}}]}}]
"""
    )
    world.fail("order/charge")
    assert told(world) == (
        "ExitCode: ExitCode happened; raised by order/charge (attempt 1); looked at: "
        "catch[0] of order/charge is for CardDeclined, Fraud; catch[1] of order/charge did not take it: its when was false; "
        "catch[0] of order is for Permanent; catch[0] of the workflow is for Timeout"
    )
    assert "raised by order/charge (attempt 1); looked at: catch[0] of order/charge" in world.message("Succeeded")


def test_an_error_without_a_catch_around_it_says_so() -> None:
    assert told(World(f"steps: [{{name: a, {JOB}}}]").fail("a")) == (
        "ExitCode: ExitCode happened; raised by a (attempt 1); there is no catch around it"
    )


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        ("{name: h, fail: {rethrow: true}}", "catch[0] of a took it, and raised it again; catch[1] of a was not looked at: another one had taken the error"),
        ("{name: h, fail: {error: Other}}", "catch[0] of a had taken another error, and failed with this one; catch[1] of a was not looked at"),
    ],
)  # fmt: skip
def test_an_error_out_of_a_handler_is_told_from_the_one_that_it_handled(handler: str, words: str) -> None:
    other = f"{{steps: [{{name: x, {JOB}}}]}}"
    world = World(f"steps: [{{name: a, {JOB}, catch: [{{errors: [ExitCode], steps: [{handler}]}}, {other}]}}]").fail("a")
    assert words in told(world)


def test_a_broken_when_is_told_as_such() -> None:
    world = World(
        f'steps: [{{name: a, {JOB}, catch: [{{when: "${{ vars.x }}", steps: [{{name: x, {JOB}}}]}}, {{steps: [{{name: x, {JOB}}}]}}]}}]'
    )
    assert (
        "catch[0] of a could not be looked at: its when failed; catch[1] of a was not looked at" in told(world.fail("a"))
    )  # fmt: skip


def test_what_is_told_of_many_catches_is_bounded() -> None:
    kinds = ", ".join(f"Error{index}" for index in range(32))
    catches = ", ".join(f"{{errors: [{kinds}], steps: [{{name: x, set: {{v: 1}}}}]}}" for _ in range(32))
    world = World(f"steps: [{{name: a, {JOB}, catch: [{catches}]}}]").fail("a")
    assert len(uncaught.looked_at(world.program, world.state.steps, world.state.run.error)) == 32
    assert told(world).endswith("; and 26 more")
    assert len(told(world)) < 700


def test_an_error_that_the_run_itself_raises_names_no_step() -> None:
    assert (
        told(World(f"timeout: 1h\nsteps: [{{name: a, {JOB}}}]").pass_time("1h"))
        == "DeadlineExceeded: the run has not ended within its timeout"
    )


# ---------------------------------------------------------------------------------------------------------------- undoing


def test_what_handlers_did_is_undone_with_the_rest_when_the_run_fails() -> None:
    undo = "compensate: {job: {image: undo}}"
    world = World(
        f"""
steps:
- {{name: a, {JOB}, {undo}}}
- name: b
  {JOB}
  catch: [{{steps: [{{name: mend, {JOB}, {undo}}}], outputs: {{x: 1}}}}]
- {{name: c, {JOB}}}
"""
    )
    world.succeed("a").fail("b").succeed("b:catch0/mend").fail("c")
    assert world.running == ["b:catch0/mend:compensate"]
    world.succeed("b:catch0/mend:compensate").succeed("a:compensate")
    assert world.phase == "Failed"
    assert world.condition("Compensated") == ("True", "AllUndone")
