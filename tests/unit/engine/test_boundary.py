"""Boundary events: what happens at the edge of a step while it goes on, and what becomes of the step. Virtual time, Jobs ended by hand."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from backstay.engine.model import Fault, JobState
from tests.support.world import World

JOB = "job: {image: busybox}"
UNDO = "compensate: {job: {image: undo}}"


def bounded(*events: str, step: str = JOB, more: str = "") -> str:
    """A step `a` with boundary events, and a step after it."""
    edges = "".join(f"\n  - {event}" for event in events)
    return f"steps:\n- name: a\n  {step}\n  boundary:{edges}\n{more}- {{name: after, {JOB}}}\n"


LATE = "{name: late, wait: {duration: 20s}, steps: [{name: tell, job: {image: x}}]}"
REMIND = "{name: remind, interrupting: false, wait: {duration: 10s}, steps: [{name: mail, job: {image: x}}]}"


# ------------------------------------------------------------------------------------------------------------ interrupting


def test_a_timer_that_interrupts_stops_the_step_with_grace_and_its_steps_take_its_place() -> None:
    world = World(bounded(LATE))
    world.stops_at_once = False
    world.pass_time("19s")
    assert world.running == ["a"]
    world.pass_time("1s")
    assert (world.phases()["a"], world.jobs[world.step("a").job or ""].deleting) == ("Stopping", True)
    world.pass_time("30s")
    assert "a:boundary-late" not in world.phases()
    world.gone("a")
    assert (world.phases()["a"], world.running, world.step("a").boundary) == ("Catching", ["a:boundary-late/tell"], 0)
    world.succeed("a:boundary-late/tell")
    assert (world.phases()["a"], world.running) == ("Caught", ["after"])


def test_a_step_that_was_done_before_it_could_be_stopped_has_succeeded_and_the_steps_for_the_event_never_run() -> None:
    world = World(bounded(LATE))
    world.stops_at_once = False
    world.pass_time("20s").succeed("a", {"x": 1})
    assert (world.phases()["a"], world.step("a").outputs, world.running) == ("Succeeded", {"x": 1}, ["after"])
    assert "a:boundary-late" not in world.phases()


def test_what_interrupts_gives_the_outputs_of_the_step() -> None:
    event = '{wait: {duration: 1s}, steps: [{name: cached, job: {image: x}}], outputs: {n: "${ steps.cached.outputs.n + 1 }"}}'
    world = World(f'{bounded(event)}\noutputs: [{{name: n, value: "${{ steps.a.outputs.n }}"}}]')
    world.pass_time("1s").succeed("a:boundary0/cached", {"n": 1}).succeed("after")
    assert (world.phase, world.status["outputs"]) == ("Succeeded", {"n": 2})


def test_outputs_that_cannot_be_had_fail_the_step() -> None:
    world = World(bounded('{wait: {duration: 1s}, steps: [{name: s, set: {x: 1}}], outputs: {n: "${ vars.nothing }"}}')).pass_time("1s")
    error = world.status["error"]
    assert (world.phase, error["type"], error["step"]) == ("Failed", "ExpressionError", "a")
    assert error["detail"].startswith("boundary[0].outputs: ")


def test_a_condition_interrupts_as_soon_as_it_holds() -> None:
    world = World(
        """
steps:
- name: p
  parallel:
    branches:
    - {name: work, steps: [{name: a, job: {image: x}, boundary: [{wait: {condition: "${ has(vars.enough) }"}, steps: [{name: note, set: {stopped: true}}]}]}]}
    - {name: other, steps: [{name: b, job: {image: x}}, {name: say, set: {enough: true}}]}
"""
    )
    assert world.running == ["p/work/a", "p/other/b"]
    world.succeed("p/other/b")
    assert (world.phase, world.status["vars"]) == ("Succeeded", {"enough": True, "stopped": True})
    assert world.step("p/work/a").phase == "Caught"


def test_a_moment_that_has_passed_interrupts_at_once() -> None:
    world = World(bounded('{wait: {until: "2026-01-01T00:00:00Z"}, steps: [{name: tell, job: {image: x}}]}'))
    assert (world.running, world.made_for("a")) == (["a:boundary0/tell"], [])


@pytest.mark.parametrize(
    ("step", "inside"),
    [
        ("steps: [{name: i, job: {image: x}}]", "a/i"),
        ("dag: {steps: [{name: i, job: {image: x}}]}", "a/i"),
        ("parallel: {branches: [{name: l, steps: [{name: i, job: {image: x}}]}]}", "a/l/i"),
        ('switch: {cases: [{when: "${ true }", steps: [{name: i, job: {image: x}}]}]}', "a/0/i"),
        ('forEach: {in: [1, 2], steps: [{name: i, job: {image: x}}]}', "a[0]/i"),
        ('while: {condition: "${ true }", steps: [{name: i, job: {image: x}}]}', "a[0]/i"),
        ("wait: {duration: 1h}", ""),
        ("http: {method: GET, url: 'http://shop.test/'}", ""),
        ("workflow: {name: child}", ""),
        ("job: {image: x}", "a"),
    ],
)  # fmt: skip
def test_any_kind_of_step_can_be_interrupted(step: str, inside: str) -> None:
    world = World(bounded(LATE, step=step))
    assert inside in (*world.running, "")
    world.pass_time("20s")
    if world.children:
        world.child("a", "Cancelled")
    assert (world.step("a").phase, world.running) == ("Catching", ["a:boundary-late/tell"])
    world.succeed("a:boundary-late/tell")
    assert (world.step("a").phase, world.running) == ("Caught", ["after"])


def test_a_step_is_interrupted_between_its_attempts_as_well() -> None:
    world = World(bounded(LATE, step=f"{JOB}\n  retry: {{maxAttempts: 3, interval: 1m, jitter: None}}")).fail("a")
    assert world.step("a").phase == "Retrying"
    world.pass_time("20s").succeed("a:boundary-late/tell")
    assert (world.step("a").phase, world.running, len(world.made_for("a"))) == ("Caught", ["after"], 1)


def test_attempts_do_not_begin_the_time_anew() -> None:
    world = World(bounded(LATE, step=f"{JOB}\n  retry: {{maxAttempts: 3, interval: 1s, jitter: None}}"))
    world.pass_time("15s").fail("a").pass_time("4s")
    assert world.running == ["a"]
    world.pass_time("1s")
    assert world.running == ["a:boundary-late/tell"]


def test_a_person_who_is_awaited_does_not_stop_the_time() -> None:
    world = World(bounded(LATE, step=f"{JOB}\n  onExhausted: Pause")).fail("a")
    assert world.step("a").phase == "Paused"
    world.pass_time("20s")
    assert (world.step("a").phase, world.running) == ("Catching", ["a:boundary-late/tell"])


def test_the_time_begins_when_the_step_has_its_lock() -> None:
    from backstay.engine.model import LockFact

    world = World(bounded(LATE, step=f"{JOB}\n  lock: {{name: dock}}"), taken={"dock": LockFact(place=1, waiting=1)})
    world.pass_time("1h")
    assert (world.step("a").phase, "a:boundary-late:event" in world.phases()) == ("Waiting", False)
    world.take("dock", None).pass_time("19s")
    assert world.running == ["a"]
    world.pass_time("1s")
    assert world.running == ["a:boundary-late/tell"]


def test_the_timeout_of_a_step_does_not_count_for_what_takes_its_place() -> None:
    world = World(bounded(LATE, step=f"{JOB}\n  timeout: 30s")).pass_time("20s")
    world.pass_time("1h").succeed("a:boundary-late/tell")
    assert world.step("a").phase == "Caught"


@pytest.mark.parametrize(("timeout", "phase"), [("19s", "Failed"), ("20s", "Failed"), ("21s", "Catching")])
def test_of_a_timeout_and_a_timer_the_earlier_one_counts_however_late_they_are_seen(timeout: str, phase: str) -> None:
    world = World(bounded(LATE, step=f"{JOB}\n  timeout: {timeout}"))
    world.wake_at = None  # nobody looks for an hour: the operator is down
    world.pass_time("1h")
    assert world.step("a").phase == phase


# ------------------------------------------------------------------------------------------------------------------ beside


def test_what_does_not_interrupt_runs_beside_the_step_once_and_the_step_goes_on() -> None:
    world = World(bounded(REMIND)).pass_time("10s")
    assert world.running == ["a", "a:boundary-remind/mail"]
    world.succeed("a:boundary-remind/mail").pass_time("1h")
    assert (world.running, len(world.made)) == (["a"], 2)
    world.succeed("a", {"x": 1})
    assert (world.step("a").phase, world.step("a").outputs, world.running) == ("Succeeded", {"x": 1}, ["after"])


def test_a_step_and_its_list_do_not_end_before_what_runs_beside_it_has() -> None:
    world = World(bounded(REMIND)).pass_time("10s").succeed("a", {"x": 1})
    assert (world.step("a").phase, world.running, world.status["step"]) == (
        "Finishing",
        ["a:boundary-remind/mail"],
        "a:boundary-remind/mail",
    )
    world.succeed("a:boundary-remind/mail")
    assert (world.step("a").phase, world.step("a").outputs, world.running) == ("Succeeded", {"x": 1}, ["after"])


def test_a_step_that_is_caught_does_not_end_before_what_runs_beside_it_has() -> None:
    world = World(bounded(REMIND, step=f"{JOB}\n  catch: [{{steps: [{{name: h, {JOB}}}]}}]")).pass_time("10s").fail("a")
    assert world.running == ["a:boundary-remind/mail", "a:catch0/h"]
    world.succeed("a:catch0/h")
    assert (world.step("a").phase, world.running) == ("Finishing", ["a:boundary-remind/mail"])
    world.succeed("a:boundary-remind/mail")
    assert (world.step("a").phase, world.running) == ("Caught", ["after"])


def test_a_step_that_fails_stops_what_runs_beside_it_first() -> None:
    world = World(bounded(REMIND)).pass_time("10s")
    world.stops_at_once = False
    world.fail("a")
    assert (world.step("a").phase, world.step("a:boundary-remind/mail").phase, world.phase) == ("Finishing", "Stopping", "Running")
    world.gone("a:boundary-remind/mail")
    assert (world.step("a").phase, world.phase, world.status["error"]["step"]) == ("Failed", "Failed", "a")


def test_both_the_step_and_what_runs_beside_it_are_shown_to_go_on() -> None:
    world = World(bounded(REMIND))
    assert world.status["step"] == "a"
    assert world.pass_time("10s").status["step"] == "a +1"


def test_several_events_may_happen_one_after_the_other() -> None:
    world = World(bounded(REMIND, "{interrupting: false, wait: {duration: 15s}, steps: [{name: again, job: {image: x}}]}", LATE))
    world.pass_time("15s")
    assert world.running == ["a", "a:boundary-remind/mail", "a:boundary1/again"]
    world.pass_time("5s").succeed("a:boundary-remind/mail")
    assert world.running == ["a:boundary1/again", "a:boundary-late/tell"]
    world.succeed("a:boundary-late/tell")
    assert world.step("a").phase == "Finishing"
    world.succeed("a:boundary1/again")
    assert (world.step("a").phase, world.running) == ("Caught", ["after"])


# ---------------------------------------------------------------------------------------------- what happens at one moment

STOP = "{name: stop, wait: {duration: 10s}, steps: [{name: s, job: {image: x}}]}"
TELL = "{name: tell, interrupting: false, wait: {duration: 10s}, steps: [{name: t, job: {image: x}}]}"
EARLY = "{name: early, interrupting: false, wait: {duration: 9s}, steps: [{name: e, job: {image: x}}]}"
OTHER = "{name: other, wait: {duration: 11s}, steps: [{name: o, job: {image: x}}]}"


@dataclass
class Moment:
    """Boundary events in order, and which steps of them have begun after ten seconds, or after an hour in which nobody looked."""

    name: str
    events: list[str]
    begun: set[str]
    looked_at: bool = True
    withdrawn: set[str] = field(default_factory=set)


@pytest.mark.parametrize(
    "row",
    [
        Moment("the one written first, which does not interrupt, happens before the one that does", [TELL, STOP], {"tell/t", "stop/s"}),
        Moment("the one written first interrupts, and the other cannot happen", [STOP, TELL], {"stop/s"}, withdrawn={"tell"}),
        Moment("the one that fell due earlier goes first, wherever it is written", [STOP, EARLY], {"early/e", "stop/s"}, looked_at=False),
        Moment("of two that interrupt the earlier one does", [OTHER, STOP], {"stop/s"}, looked_at=False, withdrawn={"other"}),
        Moment("of two that interrupt at one moment, the one written first does", [STOP, STOP.replace("stop", "twin")], {"stop/s"}, withdrawn={"twin"}),
    ],
    ids=lambda row: row.name,
)  # fmt: skip
def test_what_happens_at_one_moment(row: Moment) -> None:
    world = World(bounded(*row.events))
    if not row.looked_at:
        world.wake_at = None
    world.pass_time("10s" if row.looked_at else "1h")
    begun = {path.removeprefix("a:boundary-") for path in world.phases() if path.startswith("a:boundary-") and "/" in path}
    withdrawn = {path[11:-6] for path, phase in world.phases().items() if path.endswith(":event") and phase == "Cancelled"}
    assert (begun, withdrawn) == (row.begun, row.withdrawn)


def test_work_that_is_done_counts_also_where_an_event_is_found_to_have_happened_in_the_same_look() -> None:
    world = World(bounded(LATE, REMIND))
    world.wake_at = None
    world.now += timedelta(hours=1)
    world.succeed("a")
    assert (world.step("a").phase, world.running) == ("Succeeded", ["after"])


def test_an_event_cannot_happen_once_the_step_has_ended() -> None:
    world = World(bounded(LATE, REMIND)).succeed("a").pass_time("1h")
    assert world.running == ["after"]
    assert {phase for path, phase in world.phases().items() if path.endswith(":event")} == {"Cancelled"}


def test_a_step_that_is_over_at_once_opens_no_event() -> None:
    world = World(bounded(LATE, step="set: {x: 1}"))
    assert world.phases() == {"a": "Succeeded", "after": "Running"}


def test_an_event_cannot_happen_while_the_error_of_its_step_is_handled() -> None:
    world = World(bounded(LATE, step=f"{JOB}\n  catch: [{{steps: [{{name: h, {JOB}}}]}}]")).fail("a").pass_time("1h")
    assert world.running == ["a:catch0/h"]


def test_a_step_that_is_skipped_opens_no_event() -> None:
    assert World(bounded(LATE, step=f'{JOB}\n  if: "${{ false }}"')).phases() == {"a": "Skipped", "after": "Running"}


def test_a_suspended_run_lets_its_events_wait() -> None:
    world = World(bounded(REMIND, LATE)).wants(suspend=True).pass_time("1h")
    assert world.running == ["a"]
    world.wants(suspend=False)
    assert sorted(world.running) == ["a:boundary-late/tell", "a:boundary-remind/mail"]


def test_a_person_may_let_a_timer_happen_or_disarm_it() -> None:
    from backstay.engine.model import Request

    complete = Request("r1", "a:boundary-remind:event", "Complete")
    disarm = Request("r2", "a:boundary-late:event", "Cancel")
    world = World(bounded(REMIND, LATE)).wants(requests=(complete, disarm))
    assert world.running == ["a", "a:boundary-remind/mail"]
    world.pass_time("1h")
    assert world.running == ["a", "a:boundary-remind/mail"]


# ----------------------------------------------------------------------------------------------------- iterations and laps


def test_each_iteration_has_events_of_its_own() -> None:
    world = World(
        f"""
steps:
- name: pack
  forEach: {{in: [a, b], parallelism: 2, steps: [{{name: box, {JOB}, boundary: [{LATE}]}}]}}
"""
    )
    world.pass_time("10s").succeed("pack[0]/box").pass_time("10s")
    assert (world.phases()["pack[0]/box"], world.running) == ("Succeeded", ["pack[1]/box:boundary-late/tell"])
    world.succeed("pack[1]/box:boundary-late/tell")
    assert world.phase == "Succeeded"


def test_each_lap_has_events_of_its_own() -> None:
    world = World(
        f"""
steps:
- name: a
  {JOB}
  boundary: [{LATE}]
- {{name: again, if: "${{ steps.a.phase == 'Caught' }}", goto: {{step: a, maxVisits: 3}}}}
"""
    )
    world.pass_time("20s").succeed("a:boundary-late/tell")
    assert world.running == ["a~2"]
    world.pass_time("19s")
    assert world.running == ["a~2"]
    world.pass_time("1s").succeed("a~2:boundary-late/tell").succeed("a~3")
    assert (world.phase, world.step("a~3").phase) == ("Succeeded", "Succeeded")


def test_what_takes_the_place_of_a_step_may_go_on_elsewhere() -> None:
    event = "{wait: {duration: 1s}, steps: [{name: out, goto: {step: end-of-it}}]}"
    world = World(f"{bounded(event)}- {{name: end-of-it, set: {{x: 1}}}}\n").pass_time("1s")
    assert (world.phase, world.phases()) == (
        "Succeeded",
        {
            "a": "Caught",
            "a:boundary0:event": "Succeeded",
            "a:boundary0": "Cancelled",
            "a:boundary0/out": "Succeeded",
            "end-of-it": "Succeeded",
        },
    )


def test_many_visits_do_not_leave_events_behind() -> None:
    world = World(
        f"""
steps:
- name: a
  {JOB}
  boundary: [{LATE}, {REMIND}]
- {{name: again, goto: {{step: a, maxVisits: 40}}}}
"""
    )
    for lap in range(1, 30):
        world.succeed("a" if lap == 1 else f"a~{lap}")
    assert len([path for path in world.state.steps if ":boundary" in path]) <= 2 * 4


# ------------------------------------------------------------------------------------------------------------------ errors


def test_an_error_in_what_takes_the_place_of_a_step_is_the_steps_and_its_own_catch_is_not_looked_at() -> None:
    own = f"{JOB}\n  catch: [{{steps: [{{name: own, {JOB}}}]}}]"
    world = World(f"{bounded(LATE, step=own)}catch: [{{steps: [{{name: outer, set: {{of: '${{ error.step }}'}}}}]}}]")
    world.pass_time("20s").fail("a:boundary-late/tell", "OOMKilled")
    assert (world.phase, world.step("a").phase, world.status["vars"]) == ("Succeeded", "Failed", {"of": "a:boundary-late/tell"})
    assert "a:catch0/own" not in world.phases()


def test_an_error_in_what_runs_beside_a_step_stops_the_step_and_fails_it_without_another_attempt() -> None:
    step = f'{JOB}\n  retry: {{maxAttempts: 9, errors: ["*"]}}\n  onExhausted: Pause\n  catch: [{{steps: [{{name: own, {JOB}}}]}}]'
    world = World(bounded(REMIND, step=step)).pass_time("10s")
    world.stops_at_once = False
    world.fail("a:boundary-remind/mail")
    assert world.step("a").phase == "Stopping"
    world.gone("a")
    error = world.status["error"]
    assert (world.phase, world.step("a").phase, error["step"]) == ("Failed", "Failed", "a:boundary-remind/mail")
    assert "was not looked at: the error came out of a boundary event of the step" in world.message("Succeeded")


def test_an_error_in_what_runs_beside_a_step_fails_it_while_its_own_error_is_handled() -> None:
    step = f"{JOB}\n  catch: [{{steps: [{{name: own, {JOB}}}]}}]"
    world = World(bounded(REMIND, step=step)).pass_time("10s").fail("a").fail("a:boundary-remind/mail", "OOMKilled")
    assert (world.phase, world.status["error"]["type"], world.running) == ("Failed", "OOMKilled", [])


def test_an_error_in_what_runs_beside_a_step_that_is_done_fails_it_and_what_it_did_is_undone() -> None:
    world = World(bounded(REMIND, step=f"{JOB}\n  {UNDO}")).pass_time("10s").succeed("a", {"x": 1})
    world.fail("a:boundary-remind/mail", "OOMKilled")
    assert (world.phase, world.step("a").phase, world.running) == ("Compensating", "Failed", ["a:compensate"])
    world.succeed("a:compensate")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "OOMKilled")


def test_an_error_in_what_runs_beside_a_step_may_be_caught_there() -> None:
    event = "{interrupting: false, wait: {duration: 1s}, steps: [{name: m, job: {image: x}, catch: [{steps: [{name: ok, set: {x: 1}}]}]}]}"
    world = World(bounded(event)).pass_time("1s").fail("a:boundary0/m")
    assert (world.step("a:boundary0").phase, world.running) == ("Succeeded", ["a"])


def test_an_event_that_cannot_be_awaited_fails_the_step_with_the_reason() -> None:
    world = World(bounded('{wait: {duration: "${ vars.long }"}, steps: [{name: x, set: {x: 1}}]}'))
    error = world.status["error"]
    assert (world.phase, error["type"], error["step"]) == ("Failed", "ExpressionError", "a:boundary0:event")
    assert world.running == []


def test_a_condition_that_breaks_while_the_step_goes_on_fails_it() -> None:
    world = World(
        f"""
steps:
- name: a
  boundary:
  - {{wait: {{condition: "${{ has(vars.x) && vars.x > 1 }}"}}, steps: [{{name: s, set: {{y: 1}}}}]}}
  - {LATE}
  parallel:
    branches:
    - {{name: l, steps: [{{name: j, {JOB}}}]}}
    - {{name: r, steps: [{{name: k, {JOB}}}, {{name: s, set: {{x: text}}}}]}}
"""
    )
    world.succeed("a/r/k")
    assert (world.phase, world.status["error"]["type"], world.running) == ("Failed", "ExpressionError", [])


def test_a_rethrow_in_an_event_at_a_step_of_a_handler_raises_what_the_handler_handles() -> None:
    inner = "{name: mend, job: {image: x}, boundary: [{wait: {duration: 1s}, steps: [{name: again, fail: {rethrow: true}}]}]}"
    world = World(f"steps: [{{name: a, {JOB}, catch: [{{steps: [{inner}]}}]}}]").fail("a").pass_time("1s")
    error = world.status["error"]
    assert (world.phase, error["type"], error["step"]) == ("Failed", "ExitCode", "a")


# --------------------------------------------------------------------------------------------------- stopping and undoing


@pytest.mark.parametrize("when", ["5s", "10s", "20s"])
def test_a_run_that_is_cancelled_leaves_nothing_going_on_at_the_edge_of_a_step(when: str) -> None:
    world = World(bounded(REMIND, LATE)).pass_time(when).wants(cancel=True)
    assert (world.phase, world.running) == ("Cancelled", [])
    assert not [path for path, phase in world.phases().items() if phase not in ("Cancelled", "Succeeded", "Caught")]


def test_a_run_that_is_cancelled_while_a_step_is_being_interrupted_does_not_run_what_would_take_its_place() -> None:
    world = World(bounded(LATE))
    world.stops_at_once = False
    world.pass_time("20s").wants(cancel=True)
    world.gone("a")
    assert (world.phase, world.step("a").phase, "a:boundary-late" in world.phases()) == ("Cancelled", "Cancelled", False)


def test_a_run_that_is_cancelled_stops_what_still_runs_beside_a_step_that_is_done() -> None:
    world = World(bounded(REMIND, step=f"{JOB}\n  {UNDO}")).pass_time("10s").succeed("a").wants(cancel=True)
    assert (world.phase, world.running) == ("Compensating", ["a:compensate"])


def test_a_block_that_times_out_stops_what_runs_beside_its_steps() -> None:
    world = World(f"steps: [{{name: b, timeout: 15s, steps: [{{name: a, {JOB}, boundary: [{REMIND}]}}]}}]").pass_time("15s")
    assert (world.phase, world.status["error"]["type"], world.running) == ("Failed", "Timeout", [])


def test_what_was_done_at_the_edge_of_a_step_is_undone_by_itself_and_in_its_turn() -> None:
    event = f"{{interrupting: false, wait: {{duration: 1s}}, steps: [{{name: book, {JOB}, {UNDO}}}]}}"
    world = World(bounded(event, step=f"{JOB}\n  {UNDO}")).pass_time("1s").succeed("a:boundary0/book").succeed("a").fail("after")
    assert world.running == ["a:compensate"]
    world.succeed("a:compensate")
    assert world.running == ["a:boundary0/book:compensate"]
    world.succeed("a:boundary0/book:compensate")
    assert (world.phase, world.condition("Compensated")) == ("Failed", ("True", "AllUndone"))


def test_what_took_the_place_of_a_step_is_undone_and_what_the_step_may_have_done_as_well() -> None:
    event = f"{{wait: {{duration: 1s}}, steps: [{{name: book, {JOB}, {UNDO}}}]}}"
    world = World(bounded(event, step=f"{JOB}\n  {UNDO}")).pass_time("1s").succeed("a:boundary0/book").fail("after")
    undone = []
    while world.running:
        undone += world.running
        world.succeed(world.running[0])
    assert (world.phase, set(undone)) == ("Failed", {"a:boundary0/book:compensate", "a:compensate"})
    assert world.step("a").outcome == "Unknown"


def test_a_structure_that_is_interrupted_has_what_was_completed_in_it_undone_when_the_run_fails() -> None:
    world = World(bounded(LATE, step=f"steps: [{{name: i, {JOB}, {UNDO}}}, {{name: j, {JOB}}}]")).succeed("a/i").pass_time("20s")
    world.succeed("a:boundary-late/tell").fail("after")
    assert world.running == ["a/i:compensate"]


# ------------------------------------------------------------------------------------------------------------- escalations


def escalating(*events: str, inside: str = "", after: str = "") -> str:
    raising = inside or '{name: e, escalate: {code: STUCK, message: "order ${ run.name }"}}'
    return bounded(*events, step=f"steps: [{raising}, {{name: work, {JOB}}}]", more=after)


HEAR = '{escalation: STUCK, interrupting: false, steps: [{name: t, job: {image: x, args: ["${escalation.code}", "${escalation.message}", "${escalation.step}"]}}]}'


def test_an_escalation_is_heard_by_the_step_around_which_goes_on() -> None:
    world = World(escalating(HEAR))
    assert (world.phases()["a/e"], world.running) == ("Succeeded", ["a/work", "a:boundary0[0]/t"])
    assert world.made[-1].inputs["args"] == ["STUCK", "order order-7f2", "a/e"]
    world.succeed("a/work").succeed("a:boundary0[0]/t")
    assert (world.step("a").phase, world.running) == ("Succeeded", ["after"])


def test_an_escalation_that_interrupts_goes_no_further_where_it_was_raised() -> None:
    world = World(escalating("{name: help, escalation: STUCK, steps: [{name: t, job: {image: x}}], outputs: {of: '${ escalation.step }'}}"))
    assert (world.phases()["a/e"], world.running) == ("Succeeded", ["a:boundary-help[0]/t"])
    world.succeed("a:boundary-help[0]/t")
    assert (world.step("a").phase, world.step("a").outputs, "a/work" in world.phases()) == ("Caught", {"of": "a/e"}, False)


def test_an_escalation_that_nobody_hears_is_told_and_changes_nothing() -> None:
    world = World(f"steps: [{{name: e, escalate: {{code: STUCK, message: look}}}}, {{name: b, {JOB}}}]")
    assert (world.phases(), "EscalationUnheard e" in world.story) == ({"e": "Succeeded", "b": "Running"}, True)
    told = next(entry.reason for entry in world.entries if entry.kind == "EscalationUnheard")
    assert told == "STUCK: look (no step around it that goes on has a boundary event for STUCK)"


@pytest.mark.parametrize(("code", "hears"), [("STUCK", "inner"), ("LATE", "outer"), ("ODD", "any")])
def test_the_innermost_step_that_listens_to_a_code_hears_it(code: str, hears: str) -> None:
    world = World(
        f"""
steps:
- name: block
  boundary:
  - {{name: outer, escalation: LATE, interrupting: false, steps: [{{name: t, {JOB}}}]}}
  - {{name: any, escalation: "*", interrupting: false, steps: [{{name: t, {JOB}}}]}}
  steps:
  - name: a
    boundary: [{{name: inner, escalation: STUCK, interrupting: false, steps: [{{name: t, {JOB}}}]}}]
    forEach: {{in: [1], steps: [{{name: s, steps: [{{name: e, escalate: {{code: {code}}}}}, {{name: work, {JOB}}}]}}]}}
"""
    )
    heard = [path for path in world.running if path.endswith("/t")]
    assert heard == [{"inner": "block/a:boundary-inner[0]/t"}.get(hears, f"block:boundary-{hears}[0]/t")]


def test_an_escalation_out_of_the_steps_of_an_event_goes_to_what_is_around_its_step() -> None:
    again = "{escalation: STUCK, interrupting: false, steps: [{name: more, escalate: {code: STUCK}}]}"
    world = World(
        f"""
steps:
- name: block
  boundary: [{{name: outer, escalation: STUCK, interrupting: false, steps: [{{name: t, {JOB}}}]}}]
  steps: [{{name: a, boundary: [{again}], steps: [{{name: e, escalate: {{code: STUCK}}}}, {{name: work, {JOB}}}]}}]
"""
    )
    assert world.running == ["block/a/work", "block:boundary-outer[0]/t"]


def test_each_escalation_is_heard_up_to_a_hundred_times() -> None:
    world = World(
        """
steps:
- name: a
  boundary: [{escalation: STUCK, interrupting: false, steps: [{name: t, set: {n: "${ (has(vars.n) ? vars.n : 0) + 1 }"}}]}]
  steps:
  - {name: many, forEach: {count: 120, parallelism: 1, steps: [{name: e, escalate: {code: STUCK}}]}}
"""
    )
    assert (world.phase, world.status["vars"]) == ("Succeeded", {"n": 100})
    unheard = [entry.reason for entry in world.entries if entry.kind == "EscalationUnheard"]
    assert len(unheard) == 20
    assert unheard[0] == "STUCK (boundary event 0 of a has heard 100 escalations, and hears no more)"


def test_what_hears_an_escalation_first_interrupts_and_later_ones_change_nothing() -> None:
    branches = ", ".join(f"{{name: b{i}, steps: [{{name: e, escalate: {{code: STUCK}}}}, {{name: w, {JOB}}}]}}" for i in range(3))
    world = World(bounded("{escalation: STUCK, steps: [{name: t, job: {image: x}}]}", step=f"parallel: {{branches: [{branches}]}}"))
    assert world.running == ["a:boundary0[0]/t"]
    world.succeed("a:boundary0[0]/t")
    assert (world.step("a").phase, world.running) == ("Caught", ["after"])


def test_an_escalation_in_a_handler_is_heard_around_its_step_and_not_at_it() -> None:
    step = f"{JOB}\n  catch: [{{steps: [{{name: e, escalate: {{code: STUCK}}}}]}}]"
    world = World(bounded(HEAR, step=step)).fail("a")
    assert (world.step("a").phase, "EscalationUnheard a:catch0/e" in world.story) == ("Caught", True)


def test_a_rest_that_goes_on_after_its_join_has_no_edge_any_more() -> None:
    world = World(
        f"""
steps:
- name: a
  boundary: [{LATE}, {REMIND}]
  parallel:
    join: Any
    cancelRest: false
    branches:
    - {{name: l, steps: [{{name: i, {JOB}}}]}}
    - {{name: r, steps: [{{name: j, {JOB}}}]}}
- {{name: after, {JOB}}}
"""
    )
    world.pass_time("10s").succeed("a/l/i")
    assert world.running == ["a/r/j", "a:boundary-remind/mail", "after"]
    world.pass_time("1h").succeed("a/r/j").succeed("after")
    assert (world.phase, world.running) == ("Running", ["a:boundary-remind/mail"])
    world.succeed("a:boundary-remind/mail")
    assert (world.phase, world.step("a").phase) == ("Succeeded", "Succeeded")


def test_a_large_number_of_steps_with_events_is_written_as_seldom_as_without() -> None:
    steps = ", ".join(f"{{name: s{index}, {JOB}, boundary: [{LATE}, {REMIND}]}}" for index in range(5))
    world = World(f"steps: [{steps}]")
    for index in range(5):
        world.succeed(f"s{index}")
    assert (world.phase, world.writes) == ("Succeeded", 6)


def test_a_job_that_fails_to_be_stopped_cleanly_is_interrupted_all_the_same() -> None:
    world = World(bounded(LATE))
    world.stops_at_once = False
    world.pass_time("20s").end("a", JobState.FAILED, None, Fault("ExitCode", "exit code 143"))
    assert (world.step("a").phase, world.running) == ("Catching", ["a:boundary-late/tell"])
