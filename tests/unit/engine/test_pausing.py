"""When no attempt is left and `onExhausted: Pause` says so: the step waits for a person, who retries, edits, skips or gives up."""

from typing import Any

import pytest

from backstay.engine.model import Fault, Request
from tests.support.world import World

PAY = "name: pay, job: {image: 'shop/pay:1', args: [charge, '${ params.order }']}, onExhausted: Pause"
AFTER = "{name: after, job: {image: i, args: ['${ has(steps.pay.outputs.id) ? steps.pay.outputs.id : steps.pay.phase }']}}"
ONE = "parameters: [{name: order}]\n" + f"steps: [{{{PAY}}}, {AFTER}]"


def ask(world: World, action: str, step: str = "pay", **given: Any) -> str:
    """Ask something of a step; returns the answer."""
    id_ = f"r{len(world.wish.requests) + 1}"
    world.wants(requests=(*world.wish.requests, Request(id_, step, action, reason="so they said", **given)))
    return world.state.run.answers[id_]


def paused(workflow: str = ONE) -> World:
    return World(workflow, {"order": "a-17"}).fail("pay", "CardDeclined")


def test_a_step_without_attempts_left_waits_for_a_person_and_says_so() -> None:
    world = paused()
    assert (world.phase, world.phases(), world.running) == ("Running", {"pay": "Paused"}, [])
    words = "paused after 1 attempt (CardDeclined: CardDeclined happened): a person must retry, edit, skip or give up"
    assert world.step("pay").message == words
    assert world.status["status"] == "Stalled"
    assert (world.condition("Stalled"), world.condition("Reconciling")) == (("True", "StepPaused"), ("False", "Running"))
    world.pass_time("1000h")
    assert world.phases() == {"pay": "Paused"}


def test_a_retry_makes_the_next_attempt_at_once_as_another_job() -> None:
    world = paused()
    assert ask(world, "Retry") == "Done"
    assert (world.running, [made.attempt for made in world.made]) == (["pay"], [1, 2])
    world.succeed("pay", {"id": "p-1"}).succeed("after")
    assert (world.phase, world.made[-1].inputs["args"]) == ("Succeeded", ["p-1"])
    assert world.condition("Stalled") is None


def test_after_a_retry_its_retries_and_its_timeout_count_anew() -> None:
    world = World(
        "steps: [{name: pay, job: {image: i}, timeout: 1h, onExhausted: Pause, retry: {maxAttempts: 2, interval: 1s, jitter: None}}]"
    )
    world.fail("pay").pass_time("1s").fail("pay")
    assert (world.phases(), world.step("pay").attempt) == ({"pay": "Paused"}, 2)
    world.pass_time("5h")
    assert ask(world, "Retry") == "Done"
    world.fail("pay")
    assert (world.phases(), world.step("pay").attempt) == ({"pay": "Retrying"}, 3)
    world.pass_time("1s").fail("pay")
    assert (world.phases(), world.step("pay").attempt) == ({"pay": "Paused"}, 4)
    ask(world, "Retry")
    world.pass_time("1h")
    assert (world.phases(), world.step("pay").error.type) == ({"pay": "Paused"}, "Timeout")


def test_an_edit_goes_for_every_later_attempt_and_more_edits_come_on_top() -> None:
    world = paused()
    assert ask(world, "Retry", edit={"args": ["charge", "b-18"]}) == "Done"
    world.fail("pay")
    assert ask(world, "Retry", edit={"image": "shop/pay:2", "command": ["sh"]}) == "Done"
    world.fail("pay")
    assert ask(world, "Retry", edit={"command": None}) == "Done"
    seen = [{name: made.inputs.get(name) for name in ("image", "args", "command")} for made in world.made]
    assert seen == [
        {"image": "shop/pay:1", "args": ["charge", "a-17"], "command": None},
        {"image": "shop/pay:1", "args": ["charge", "b-18"], "command": None},
        {"image": "shop/pay:2", "args": ["charge", "b-18"], "command": ["sh"]},
        {"image": "shop/pay:2", "args": ["charge", "b-18"], "command": None},
    ]


def test_what_an_edit_says_is_taken_as_it_stands_and_never_evaluated() -> None:
    world = paused()
    assert ask(world, "Retry", edit={"args": ["${ params.order }", "$${x}", "${HOME"]}) == "Done"
    assert world.made[-1].inputs["args"] == ["${ params.order }", "$${x}", "${HOME"]


def test_a_skipped_step_has_the_outputs_that_the_person_gives() -> None:
    world = paused()
    assert ask(world, "Skip", outputs={"id": "by-hand"}) == "Done"
    world.succeed("after")
    assert (world.phases(), world.phase) == ({"pay": "Skipped", "after": "Succeeded"}, "Succeeded")
    assert world.made[-1].inputs["args"] == ["by-hand"]


def test_without_outputs_a_skipped_step_has_none() -> None:
    world = paused()
    assert ask(world, "Skip") == "Done"
    assert world.made[-1].inputs["args"] == ["Skipped"]


def test_a_step_that_is_given_up_fails_with_its_error_and_handlers_around_it_see_it() -> None:
    world = World(
        "parameters: [{name: order}]\n"
        f"steps: [{{name: all, steps: [{{{PAY}}}], catch: [{{errors: [CardDeclined], steps: [{{name: note, set: {{why: '${{ error.type }}'}}}}]}}]}}]",
        {"order": "a"},
    ).fail("all/pay", "CardDeclined")
    assert ask(world, "GiveUp", "all/pay") == "Done"
    assert (world.phase, world.phases()["all"], world.state.run.vars["why"]) == ("Succeeded", "Caught", "CardDeclined")


def test_given_up_without_a_handler_the_run_fails_with_the_steps_error() -> None:
    world = paused()
    ask(world, "GiveUp")
    assert (world.phase, world.state.run.error.type, world.state.run.error.step) == ("Failed", "CardDeclined", "pay")


def test_retries_and_the_steps_own_catch_come_first() -> None:
    text = (
        "steps: [{name: pay, job: {image: i}, onExhausted: Pause, retry: {maxAttempts: 2, interval: 1s, jitter: None}, "
        "catch: [{errors: [OutOfStock], steps: [{name: note, set: {x: 1}}]}]}]"
    )
    world = World(text).fail("pay")
    assert world.phases() == {"pay": "Retrying"}
    world.pass_time("1s").fail("pay", "OutOfStock")
    assert world.phases()["pay"] == "Caught"
    assert World(text).fail("pay").pass_time("1s").fail("pay").phases() == {"pay": "Paused"}


@pytest.mark.parametrize(("action", "phase"), [("Retry", "Running"), ("Skip", "Skipped"), ("GiveUp", "Failed")])
def test_a_step_that_waits_for_its_next_attempt_can_be_steered_as_well(action: str, phase: str) -> None:
    world = World("steps: [{name: pay, job: {image: i}, retry: {interval: 5h, maxDelay: 5h}}]").fail("pay")
    assert world.phases() == {"pay": "Retrying"}
    assert ask(world, action) == "Done"
    assert world.phases() == {"pay": phase}


@pytest.mark.parametrize("by", ["timeout", "business error", "refusal", "deletion"])
def test_whatever_the_error_a_step_can_pause(by: str) -> None:
    world = World("steps: [{name: pay, job: {image: i}, timeout: 1h, onExhausted: Pause}]")
    match by:
        case "timeout":
            world.pass_time("1h")
        case "business error":
            world.fail("pay", output='{"error": {"type": "CardDeclined"}}')
        case "refusal":
            world.refuse("pay", "InvalidJob", "no such thing")
        case "deletion":
            world.lose_job("pay")
    assert world.phases() == {"pay": "Paused"}


def test_a_step_whose_expression_fails_pauses_before_its_first_attempt_and_begins_anew() -> None:
    world = World(
        "steps: [{name: zero, set: {x: {}}}, {name: both, parallel: {branches: ["
        "{name: a, steps: [{name: pay, job: {image: i, args: ['${ vars.x.y }']}, onExhausted: Pause, timeout: 1h}]},"
        "{name: b, steps: [{name: cool, wait: {duration: 1h}}, {name: mend, set: {x: {y: now}}}]}]}}]"
    )
    assert (world.phases()["both/a/pay"], world.step("both/a/pay").attempt) == ("Paused", 0)
    assert ask(world, "Retry", "both/a/pay") == "Done"
    assert world.phases()["both/a/pay"] == "Paused"
    world.pass_time("2h")
    ask(world, "Retry", "both/a/pay")
    assert (world.running, world.made[-1].attempt, world.made[-1].inputs["args"]) == (["both/a/pay"], 1, ["now"])
    world.pass_time("1h")
    assert world.step("both/a/pay").error.type == "Timeout"


def test_a_step_that_holds_its_lock_and_never_came_to_an_attempt_keeps_the_lock_when_it_begins_anew() -> None:
    world = World(
        "steps: [{name: zero, set: {x: {}}}, {name: both, parallel: {branches: ["
        "{name: a, steps: [{name: pay, job: {image: i, args: ['${ vars.x.y }']}, onExhausted: Pause, lock: {name: till, scope: Run}}]},"
        "{name: b, steps: [{name: cool, wait: {duration: 1h}}, {name: mend, set: {x: {y: now}}}, "
        "{name: pay, job: {image: i}, lock: {name: till, scope: Run}}]}]}}]"
    )
    world.pass_time("1h")
    assert (world.phases()["both/a/pay"], world.phases()["both/b/pay"]) == ("Paused", "Waiting")
    ask(world, "Retry", "both/a/pay")
    assert world.running == ["both/a/pay"]


# ----------------------------------------------------------------------------------------------------- while it is paused


def test_a_suspended_run_hears_the_person_and_makes_the_attempt_when_it_goes_on() -> None:
    world = paused().wants(suspend=True)
    assert ask(world, "Retry") == "Done"
    assert (world.phases(), len(world.made)) == ({"pay": "Retrying"}, 1)
    world.wants(suspend=False)
    assert (world.phases(), len(world.made)) == ({"pay": "Running"}, 2)


@pytest.mark.parametrize("wish", ["cancel", "delete"])
def test_a_run_that_is_ended_stops_a_paused_step_at_once(wish: str) -> None:
    world = paused().wants(**{wish: True})
    assert (world.phase, world.phases()) == ("Cancelled", {"pay": "Cancelled"})


def test_the_runs_own_timeout_still_holds() -> None:
    world = World("timeout: 2h\nsteps: [{name: pay, job: {image: i}, onExhausted: Pause}]").fail("pay").pass_time("2h")
    assert (world.phase, world.state.run.error.type, world.phases()) == ("Failed", "DeadlineExceeded", {"pay": "Cancelled"})


def test_the_timeout_of_a_block_around_still_holds() -> None:
    world = World("steps: [{name: all, timeout: 2h, steps: [{name: pay, job: {image: i}, onExhausted: Pause}]}]")
    world.fail("all/pay").pass_time("2h")
    assert (world.phase, world.state.run.error.type) == ("Failed", "Timeout")


def test_a_paused_step_can_be_cancelled_like_any_other() -> None:
    world = paused()
    assert ask(world, "Cancel") == "Done"
    assert (world.phases()["pay"], world.running) == ("Cancelled", ["after"])


def test_a_paused_step_keeps_its_lock() -> None:
    world = World(
        "steps: [{name: both, parallel: {branches: [{name: a, steps: [{name: pay, job: {image: i}, lock: {name: till, scope: Run}, "
        "onExhausted: Pause}]}, {name: b, steps: [{name: pay, job: {image: i}, lock: {name: till, scope: Run}}]}]}}]"
    )
    world.fail("both/a/pay")
    assert world.phases()["both/b/pay"] == "Waiting"
    ask(world, "Retry", "both/a/pay")
    world.succeed("both/a/pay")
    assert world.phases()["both/b/pay"] == "Running"


STRUCTURES = {
    "forEach": ("{name: s, forEach: {in: [1, 2], steps: [STEP]}}", "s[0]/pay", ["s[1]/pay"]),
    "dag": (
        "{name: s, dag: {steps: [STEP, {name: other, job: {image: i}}, {name: next, dependsOn: [pay], set: {x: 1}}]}}",
        "s/pay",
        ["s/other"],
    ),
    "parallel": (
        "{name: s, parallel: {branches: [{name: l, steps: [STEP]}, {name: r, steps: [{name: other, job: {image: i}}]}]}}",
        "s/l/pay",
        ["s/r/other"],
    ),
    "while": ("{name: s, while: {condition: '${ index < 1 }', steps: [STEP]}}", "s[0]/pay", []),
    "switch": ("{name: s, switch: {cases: [{when: '${ true }', steps: [STEP]}]}}", "s/0/pay", []),
    "handler": ("{name: s, fail: {error: Oh}, catch: [{steps: [STEP]}]}", "s:catch0/pay", []),
    "race": ("{name: s, race: [{wait: {duration: 0s}, steps: [STEP]}, {wait: {duration: 5h}}]}", "s/0/pay", []),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_inside_a_structure_only_the_step_waits_and_all_goes_on_after_a_skip(name: str) -> None:
    text, path, others = STRUCTURES[name]
    world = World(f"steps: [{text.replace('STEP', '{name: pay, job: {image: i}, onExhausted: Pause}')}]")
    world.fail(path)
    assert (world.phases()[path], world.running) == ("Paused", others)
    for other in others:
        world.succeed(other)
    assert world.phase == "Running"
    assert ask(world, "Skip", path) == "Done"
    assert world.phase == "Succeeded"


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_paused_step_inside_a_structure_is_stopped_with_it(name: str) -> None:
    text, path, _ = STRUCTURES[name]
    world = World(f"steps: [{text.replace('STEP', '{name: pay, job: {image: i}, onExhausted: Pause}')}]")
    world.fail(path).wants(cancel=True)
    assert (world.phase, world.phases()[path]) == ("Cancelled", "Cancelled")


def test_a_paused_child_of_a_parallel_is_stopped_when_its_sibling_fails() -> None:
    world = World(f"steps: [{STRUCTURES['parallel'][0].replace('STEP', '{name: pay, job: {image: i}, onExhausted: Pause}')}]")
    world.fail("s/l/pay").fail("s/r/other")
    assert (world.phase, world.phases()["s/l/pay"]) == ("Failed", "Cancelled")


# ---------------------------------------------------------------------------------------------- its boundaries, its finally

BOUNDED = "steps: [{name: pay, job: {image: i}, onExhausted: Pause, boundary: [{wait: {duration: 1h}, interrupting: %s, steps: [{name: tell, set: {told: true}}]}]}]"


def test_a_timer_at_its_boundary_goes_on_and_can_tell_that_nobody_has_come() -> None:
    world = World(BOUNDED % "false").fail("pay").pass_time("1h")
    assert (world.phases()["pay"], world.state.run.vars) == ("Paused", {"told": True})
    assert ask(world, "Retry") == "Done"
    assert world.succeed("pay").phase == "Succeeded"


def test_an_interrupting_timer_takes_over_from_a_paused_step() -> None:
    world = World(BOUNDED % "true").fail("pay").pass_time("1h")
    assert (world.phase, world.phases()["pay"]) == ("Succeeded", "Caught")


@pytest.mark.parametrize(("action", "phase"), [("Skip", "Skipped"), ("GiveUp", "Failed"), ("Cancel", "Cancelled")])
def test_its_finally_runs_once_a_person_has_said_how_it_ends(action: str, phase: str) -> None:
    world = World("steps: [{name: pay, job: {image: i}, onExhausted: Pause, finally: [{name: close, job: {image: c}}]}]").fail("pay")
    assert world.phases() == {"pay": "Paused"}
    assert ask(world, action) == "Done"
    world.succeed("pay:finally/close")
    assert world.phases()["pay"] == phase


def test_a_step_of_a_finally_can_pause_and_be_steered_while_the_run_is_being_stopped() -> None:
    world = World("steps: [{name: pay, job: {image: i}, finally: [{name: close, job: {image: c}, onExhausted: Pause}]}]").wants(cancel=True)
    world.fail("pay:finally/close")
    assert (world.phase, world.status["status"]) == ("Stopping", "Stalled")
    assert ask(world, "Retry", "pay:finally/close") == "Done"
    assert world.succeed("pay:finally/close").phase == "Cancelled"


# ------------------------------------------------------------------------------------------------------------- other kinds


def test_a_call_pauses_and_its_edit_reaches_the_request() -> None:
    world = World(
        "steps: [{name: pay, http: {method: POST, url: 'https://pay.example.com/charges', headers: [{name: X-Key, valueFrom: {secretKeyRef: "
        "{name: pay, key: token}}, prefix: 'Bearer '}], body: {order: 7, card: old}}, onExhausted: Pause}]"
    )
    world.answer("pay", fault=Fault("HttpStatus", "Answered with 402"))
    before = dict(world.called[-1].inputs)
    assert ask(world, "Retry", edit={"body": {"card": "new"}, "url": "https://pay.example.com/v2/charges"}) == "Done"
    after = dict(world.called[-1].inputs)
    assert (after.pop("json"), after.pop("url")) == ({"order": 7, "card": "new"}, "https://pay.example.com/v2/charges")
    assert (before.pop("json"), before.pop("url")) == ({"order": 7, "card": "old"}, "https://pay.example.com/charges")
    assert before == after


def test_a_child_run_pauses_and_its_edit_reaches_the_next_child() -> None:
    world = World("steps: [{name: pay, workflow: {name: payment, version: 3, params: {order: 7, card: old}}, onExhausted: Pause}]")
    world.child("pay", "Failed", error=Fault("CardDeclined", "", "no money"))
    assert world.phases() == {"pay": "Paused"}
    assert ask(world, "Retry", edit={"params": {"card": "new"}, "version": None, "name": "payment-2"}) == "Done"
    assert world.born[-1].inputs == {"workflow": {"name": "payment-2"}, "parameters": {"order": 7, "card": "new"}}


def test_a_resource_step_pauses_and_its_edit_reaches_the_object() -> None:
    world = World(
        "steps: [{name: pay, resource: {apply: {apiVersion: v1, kind: ConfigMap, metadata: {name: cart}, data: {state: open}}, "
        "until: '${ object.data.state == \"open\" }'}, onExhausted: Pause}]"
    )
    world.answer("pay", fault=Fault("FieldConflict", "somebody else owns it"))
    assert ask(world, "Retry", edit={"apply": {"data": {"state": "shut"}}, "force": True}) == "Done"
    assert world.called[-1].inputs["manifest"]["data"] == {"state": "shut"}
    assert (world.called[-1].inputs["force"], "until" in world.called[-1].inputs) == (True, True)


# --------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("action", "step", "given", "answer"),
    [
        ("Retry", "before", {}, "before has ended: Succeeded"),
        ("Retry", "nowhere", {}, 'no step "nowhere" has begun; the status shows the paths of those that have'),
        ("Skip", "s/r/other", {}, "s/r/other is Running; only a step that is Paused or Retrying can be tried again, skipped or given up"),
        ("GiveUp", "s", {}, "s is Running; only a step that is Paused or Retrying can be tried again, skipped or given up"),
        ("Retry", "s/l/pay", {"edit": {"imag": "x"}}, 'edit: "imag" of a job cannot be edited; there are: args, '),
        ("Retry", "s/l/pay", {"edit": {"workspaces": []}}, 'edit: "workspaces" of a job cannot be edited; there are: args, '),
        ("Retry", "s/l/pay", {"edit": {"image": 7}}, 'edit: image: expected text, found the number 7; write it in quotes: "7"'),
        ("Retry", "s/l/pay", {"edit": {"image": None}}, 'edit: missing field "image": add it'),
        ("Retry", "s/l/pay", {"edit": {"env": [{"name": "BACKSTAY_X", "value": "1"}]}}, 'edit: env[0]: "BACKSTAY_X" begins with BACKSTAY_'),
        ("Retry", "s/l/pay", {"edit": {"args": ["x" * 40_000]}}, "edit: the edits of s/l/pay take 40,015 bytes of at most 32,768; hand"),
        ("Skip", "s/l/pay", {"outputs": {"id": 7}}, "the outputs are not as s/l/pay declares them: outputs.id: "),
        ("Skip", "s/l/pay", {"outputs": {"id": "x" * 20_000}}, "outputs: they take 20,009 bytes of at most 16,384; hand"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(action: str, step: str, given: dict[str, Any], answer: str) -> None:
    inner = "{name: pay, job: {image: i}, onExhausted: Pause, outputs: {type: object, properties: {id: {type: string}}}}"
    world = World(f"steps: [{{name: before, set: {{x: 1}}}}, {STRUCTURES['parallel'][0].replace('STEP', inner)}]").fail("s/l/pay")
    found = ask(world, action, step, **given)
    assert found.startswith(f"Refused: {answer}"), found
    assert (world.phases()["s/l/pay"], len(world.made)) == ("Paused", 2)


def test_a_request_is_heard_once_however_often_the_run_is_looked_at() -> None:
    world = paused()
    ask(world, "Retry")
    world.fail("pay")
    for _ in range(3):
        world.look()
    assert (world.phases(), len(world.made)) == ({"pay": "Paused"}, 2)


def test_the_journal_tells_who_did_what_and_why() -> None:
    world = paused()
    ask(world, "Retry", edit={"args": []})
    entry = next(entry for entry in world.entries if entry.kind == "StepResumed")
    assert (entry.actor, entry.reason, entry.changes["edits"]) == ("user", "request r1: so they said", [{"args": []}])


# ------------------------------------------------------------------------------------------------------------- undoing


def test_a_step_of_a_compensation_can_pause_and_be_steered_while_the_run_is_being_undone() -> None:
    world = World(
        "steps: [{name: a, job: {image: i}, compensate: {steps: [{name: pay, job: {image: back, args: [x]}, retry: {maxAttempts: 1}, onExhausted: Pause}]}}, "
        "{name: b, job: {image: i}}]"
    )
    world.succeed("a").fail("b").fail("a:compensate/pay")
    assert (world.phase, world.phases()["a:compensate/pay"], world.status["status"]) == ("Compensating", "Paused", "Stalled")
    assert ask(world, "Cancel", "a:compensate").startswith("Refused: the run is Compensating")
    assert ask(world, "Retry", "a:compensate/pay", edit={"args": ["y"]}) == "Done"
    assert world.made[-1].inputs["args"] == ["y"]
    world.succeed("a:compensate/pay")
    assert (world.phase, world.phases()["a"]) == ("Failed", "Compensated")
