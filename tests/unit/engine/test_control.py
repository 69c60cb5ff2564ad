"""Where a run goes on: goto and its laps, race, cancel, joins whose rest goes on, what a dag does with failures."""

from datetime import timedelta

import pytest

from tests.support.world import World

JOB = "job: {image: busybox}"


# ------------------------------------------------------------------------------------------------------------------ goto

CYCLE = f"""
steps:
- {{name: setup, set: {{n: 0}}}}
- {{name: draft, {JOB}}}
- {{name: count, set: {{n: "${{ vars.n + 1 }}"}}}}
- {{name: again, if: "${{ vars.n < 3 }}", goto: {{step: draft}}}}
- {{name: publish, job: {{image: i, args: ["${{ steps.draft.outputs.text }}"]}}}}
"""


def test_a_goto_leads_back_and_each_lap_is_recorded_anew() -> None:
    world = World(CYCLE)
    world.succeed("draft", {"text": "one"})
    assert world.running == ["draft~2"]
    world.succeed("draft~2", {"text": "two"}).succeed("draft~3", {"text": "three"})
    assert world.running == ["publish~3"]
    assert world.made[-1].inputs["args"] == ["three"]
    assert [world.step(path).visit for path in ("draft", "draft~2", "draft~3")] == [0, 2, 3]
    world.succeed("publish~3")
    assert (world.phase, world.status["progress"], world.status["vars"]) == ("Succeeded", "5/5", {"n": 3})


def test_each_lap_has_jobs_of_its_own() -> None:
    world = World(CYCLE)
    for path in ("draft", "draft~2", "draft~3"):
        world.succeed(path, {"text": "x"})
    names = [made.name for made in world.made]
    assert len(set(names)) == len(names) == 4


def test_a_goto_forward_leaves_out_what_is_between() -> None:
    world = World(f"steps: [{{name: a, {JOB}}}, {{name: skip, goto: {{step: c}}}}, {{name: b, {JOB}}}, {{name: c, {JOB}}}]")
    world.succeed("a")
    assert world.running == ["c"]
    world.succeed("c")
    assert (world.phase, world.phases()) == ("Succeeded", {"a": "Succeeded", "skip": "Succeeded", "c": "Succeeded"})


def test_a_step_sees_the_lap_that_it_is_in() -> None:
    world = World(
        f"""
steps:
- {{name: a, {JOB}}}
- name: p
  steps:
  - {{name: x, job: {{image: i, args: ["${{ steps.a.outputs.v }}"]}}, compensate: {{job: {{image: i, args: ["${{ steps.a.outputs.v }}"]}}}}}}
- {{name: again, if: "${{ steps.a.outputs.v < 2 }}", goto: {{step: a}}}}
- {{name: stop, fail: {{error: Enough}}}}
"""
    )
    world.succeed("a", {"v": 1}).succeed("p/x").succeed("a~2", {"v": 2}).succeed("p~2/x")
    assert [made.inputs["args"] for made in world.made if made.path.endswith("x")] == [["1"], ["2"]]
    assert (world.phase, world.running, world.made[-1].inputs["args"]) == ("Compensating", ["p~2/x:compensate"], ["2"])
    world.succeed("p~2/x:compensate")
    assert (world.running, world.made[-1].inputs["args"]) == (["p/x:compensate"], ["1"])
    world.succeed("p/x:compensate")
    assert world.phase == "Failed"
    assert world.phases()["p/x"] == world.phases()["p~2/x"] == "Compensated"


def test_cycles_may_cross_each_other() -> None:
    world = World(
        f"""
steps:
- {{name: a, {JOB}}}
- {{name: b, {JOB}}}
- {{name: to-a, if: "${{ has(steps.b.outputs.a) }}", goto: {{step: a}}}}
- {{name: c, {JOB}}}
- {{name: to-b, if: "${{ has(steps.c.outputs.b) }}", goto: {{step: b}}}}
"""
    )
    world.succeed("a").succeed("b").succeed("c", {"b": True})
    assert world.running == ["b~2"]
    world.succeed("b~2", {"a": True})
    assert world.running == ["a~3"]
    world.succeed("a~3").succeed("b~3").succeed("c~3")
    assert (world.phase, world.step("a~3").visit, world.step("b~3").visit) == ("Succeeded", 2, 3)


@pytest.mark.parametrize("most", [1, 2, 5])
def test_a_step_is_visited_no_more_often_than_a_goto_allows(most: int) -> None:
    world = World(f"steps: [{{name: a, set: {{n: 1}}}}, {{name: b, goto: {{step: a, maxVisits: {most}}}}}]")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "LimitExceeded")
    assert "see its maxVisits" in world.status["error"]["detail"]
    assert sum(entry.kind == "StepSucceeded" and entry.path.partition("~")[0] == "a" for entry in world.entries) == most


def test_too_many_visits_can_be_caught() -> None:
    world = World(
        "steps: [{name: a, set: {n: 1}}, {name: b, goto: {step: a, maxVisits: 2}, catch: [{errors: [LimitExceeded], steps: [{name: x, set: {n: 9}}]}]}]"
    )
    assert (world.phase, world.status["vars"]) == ("Succeeded", {"n": 9})


def test_many_visits_leave_only_the_last_ones_behind() -> None:
    world = World("steps: [{name: a, set: {n: 1}}, {name: w, steps: [{name: x, set: {n: 2}}]}, {name: b, goto: {step: a, maxVisits: 150}}]")
    while not world.state.run.is_finished:
        world.pass_time("1s")
    assert world.status["error"]["type"] == "LimitExceeded"
    assert len(world.state.steps) < 20
    assert world.step("a~150").visit == 150
    assert world.step("w~150/x").phase == "Succeeded"


LEAVING = f"""
steps:
- {{name: ask, {JOB}}}
- name: work
  parallel:
    branches:
    - name: x
      steps:
      - {{name: slow, {JOB}}}
    - name: y
      steps:
      - name: inner
        steps:
        - {{name: quick, {JOB}, compensate: {{{JOB}}}}}
        - {{name: back, if: "${{ !steps.quick.outputs.good }}", goto: {{step: ask}}}}
"""


def test_a_goto_out_of_a_branch_stops_the_others_first() -> None:
    world = World(LEAVING)
    world.stops_at_once = False
    world.succeed("ask").succeed("work/y/inner/quick", {"good": False})
    assert (world.step("work").phase, world.step("work/x/slow").phase) == ("Stopping", "Stopping")
    assert "ask~2" not in world.phases()
    world.gone("work/x/slow")
    assert (world.step("work").phase, world.step("work").goto, world.step("work/y/inner").phase) == ("Cancelled", "ask", "Cancelled")
    assert world.running == ["ask~2"]
    world.succeed("ask~2").succeed("work~2/y/inner/quick", {"good": True}).succeed("work~2/x/slow")
    assert world.phase == "Succeeded"


def test_what_was_done_in_each_lap_is_undone_in_reverse() -> None:
    world = World(LEAVING)
    world.succeed("ask").succeed("work/y/inner/quick", {"good": False})
    world.succeed("ask~2").succeed("work~2/y/inner/quick", {"good": True})
    world.fail("work~2/x/slow")
    assert world.running == ["work~2/y/inner/quick:compensate"]
    world.succeed("work~2/y/inner/quick:compensate").succeed("work/y/inner/quick:compensate")
    assert world.phase == "Failed"


def test_a_handler_may_lead_back_to_try_again_from_further_up() -> None:
    world = World(
        f"""
steps:
- {{name: ask, {JOB}}}
- name: charge
  {JOB}
  catch: [{{errors: [ExitCode], steps: [{{name: note, set: {{tried: true}}}}, {{name: back, goto: {{step: ask, maxVisits: 2}}}}]}}]
"""
    )
    world.succeed("ask").fail("charge")
    assert (world.step("charge").phase, world.step("charge").goto, world.running) == ("Caught", "ask", ["ask~2"])
    world.succeed("ask~2").succeed("charge~2")
    assert world.phase == "Succeeded"


def test_a_goto_leads_out_of_an_iteration_and_a_case() -> None:
    world = World(
        f"""
steps:
- name: each
  forEach:
    in: [1, 2, 3]
    steps:
    - name: which
      switch: {{cases: [{{when: "${{ item == 2 }}", steps: [{{name: out, goto: {{step: after}}}}]}}], default: [{{name: work, {JOB}}}]}}
- {{name: never, {JOB}}}
- {{name: after, {JOB}}}
"""
    )
    assert world.running == ["after"]
    assert (world.step("each").phase, world.step("each").goto) == ("Cancelled", "after")
    world.succeed("after")
    assert world.phase == "Succeeded"


def test_a_suspended_run_does_not_go_on_to_another_lap() -> None:
    world = World(CYCLE)
    world.wants(suspend=True).succeed("draft", {"text": "x"})
    assert world.running == []
    world.wants(suspend=False)
    assert world.running == ["draft~2"]


def test_a_step_of_a_later_lap_is_undone_by_its_own_record() -> None:
    world = World(
        f"""
steps:
- {{name: a, {JOB}, compensate: {{job: {{image: i, args: ["${{ self.outputs.v }}"]}}}}}}
- {{name: again, if: "${{ steps.a.outputs.v < 2 }}", goto: {{step: a}}}}
- {{name: stop, fail: {{error: Enough}}}}
"""
    )
    world.succeed("a", {"v": 1}).succeed("a~2", {"v": 2})
    world.succeed("a~2:compensate").succeed("a:compensate")
    assert [(made.path, made.inputs["args"]) for made in world.made[2:]] == [("a~2:compensate", ["2"]), ("a:compensate", ["1"])]
    assert world.phase == "Failed"


# ------------------------------------------------------------------------------------------------------------------ race

RACE = f"""
parameters: [{{name: paid, default: false}}]
steps:
- {{name: begin, set: {{paid: "${{ params.paid }}"}}}}
- name: both
  parallel:
    branches:
    - {{name: pay, steps: [{{name: pay, {JOB}}}, {{name: note, set: {{paid: true}}}}]}}
    - name: wait
      steps:
      - name: race
        race:
        - {{name: paid, wait: {{condition: "${{ vars.paid }}"}}, steps: [{{name: thank, set: {{how: paid}}}}]}}
        - {{name: late, wait: {{duration: 48h}}, steps: [{{name: fail, fail: {{error: PaymentOverdue}}}}]}}
"""


def test_the_first_event_of_a_race_wins_and_no_other_can_happen() -> None:
    world = World(RACE)
    assert world.phases()["both/wait/race/paid"] == world.phases()["both/wait/race/late"] == "Waiting"
    world.succeed("both/pay/pay")
    assert (world.phase, world.status["vars"]["how"]) == ("Succeeded", "paid")
    assert (world.step("both/wait/race").choice, world.step("both/wait/race/late").phase) == ("paid", "Cancelled")
    turn = [
        entry.sequence
        for entry in world.entries
        if entry.path in ("both/wait/race/paid", "both/wait/race/late") and "phase" in entry.changes
    ]
    assert turn[-1] == turn[-2] + 1, "the others are cancelled before anything else happens"


def test_a_race_that_time_wins() -> None:
    world = World(RACE)
    world.pass_time("48h")
    assert (world.phase, world.status["error"]["type"], world.step("both/wait/race").choice) == ("Failed", "PaymentOverdue", "late")


def test_an_event_that_has_happened_before_the_race_wins_at_once() -> None:
    world = World(RACE, {"paid": True})
    assert (world.step("both/wait/race").choice, world.step("both/wait/race").phase) == ("paid", "Succeeded")


@pytest.mark.parametrize(("first", "second", "wins"), [("2h", "1h", "1"), ("1h", "1h", "0"), ("1h", "2h", "0")])
def test_of_two_events_that_are_both_due_the_one_that_was_due_earlier_wins(first: str, second: str, wins: str) -> None:
    world = World(f"steps: [{{name: r, race: [{{wait: {{duration: {first}}}}}, {{wait: {{duration: {second}}}}}]}}]")
    world.now += timedelta(hours=5)
    world.look()
    assert (world.phase, world.step("r").choice) == ("Succeeded", wins)
    assert sum(entry.kind == "StepSucceeded" and entry.path.startswith("r/") for entry in world.entries) == 1


def test_moments_that_have_passed_are_a_race_as_well() -> None:
    world = World('steps: [{name: r, race: [{wait: {until: "2026-01-02T00:00:00Z"}}, {wait: {until: "2026-01-01T00:00:00Z"}}]}]')
    assert world.step("r").choice == "1"


def test_an_event_that_cannot_be_awaited_fails_the_race() -> None:
    world = World('steps: [{name: s, set: {x: 1}}, {name: r, race: [{wait: {duration: "${ vars.x }"}}, {wait: {duration: 1h}}]}]')
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "ExpressionError")
    assert world.phases()["r/0"] == "Failed"


def test_a_race_has_a_timeout_and_can_be_cancelled() -> None:
    text = "steps: [{name: r, timeout: 1h, race: [{wait: {duration: 2h}}, {wait: {duration: 3h}}], catch: [{errors: [Timeout], steps: [{name: x, set: {late: true}}]}]}]"
    world = World(text).pass_time("1h")
    assert (world.phase, world.status["vars"], world.phases()["r/0"]) == ("Succeeded", {"late": True}, "Cancelled")
    world = World(text).wants(cancel=True)
    assert (world.phase, set(world.phases().values())) == ("Cancelled", {"Cancelled"})


def test_the_events_of_a_suspended_run_wait() -> None:
    world = World("steps: [{name: r, race: [{wait: {duration: 1h}}, {wait: {duration: 2h}}]}]")
    world.wants(suspend=True).pass_time("5h")
    assert world.phases()["r/0"] == "Waiting"
    world.wants(suspend=False)
    assert (world.phase, world.step("r").choice) == ("Succeeded", "0")


# ----------------------------------------------------------------------------------------------------------- wait condition


def test_a_wait_is_over_as_soon_as_its_condition_holds() -> None:
    world = World(
        f"""
steps:
- {{name: begin, set: {{state: draft}}}}
- name: p
  parallel:
    branches:
    - {{name: x, steps: [{{name: w, wait: {{condition: "${{ vars.state == 'signed' }}"}}}}, {{name: then, {JOB}}}]}}
    - {{name: y, steps: [{{name: sign, {JOB}}}, {{name: note, set: {{state: signed}}}}]}}
"""
    )
    assert (world.running, world.step("p/x/w").phase) == (["p/y/sign"], "Waiting")
    world.succeed("p/y/sign")
    assert world.running == ["p/x/then"]


def test_a_condition_that_does_not_hold_in_time_expires() -> None:
    world = World(
        'steps: [{name: s, set: {x: 1}}, {name: w, wait: {condition: "${ vars.x > 1 }"}, timeout: 1h, catch: [{errors: [Timeout], steps: [{name: e, set: {x: 5}}]}]}]'
    )
    world.pass_time("59m")
    assert world.step("w").phase == "Waiting"
    world.pass_time("1m")
    assert (world.phase, world.step("w").phase) == ("Succeeded", "Caught")


def test_a_condition_of_a_suspended_run_waits() -> None:
    world = World(f"dag: {{steps: [{{name: a, {JOB}}}, {{name: w, wait: {{condition: \"${{ steps.a.phase == 'Succeeded' }}\"}}}}]}}")
    world.wants(suspend=True).succeed("a")
    assert world.phases() == {"a": "Succeeded", "w": "Waiting"}
    world.wants(suspend=False)
    assert world.phase == "Succeeded"


def test_a_condition_that_is_none_is_an_error() -> None:
    world = World('steps: [{name: s, set: {x: 1}}, {name: w, wait: {condition: "${ vars.x }"}}]')
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "ExpressionError")
    assert "neither true nor false" in world.status["error"]["detail"]


# ---------------------------------------------------------------------------------------------------------------- cancel

CANCEL = f"""
steps:
- name: p
  parallel:
    branches:
    - name: x
      steps:
      - name: region
        steps:
        - {{name: done, {JOB}, compensate: {{{JOB}}}}}
        - {{name: slow, {JOB}}}
        - {{name: never, {JOB}}}
      - {{name: next, {JOB}}}
    - name: y
      steps:
      - {{name: decide, {JOB}}}
      - {{name: stop, cancel: {{step: p/x/region}}}}
      - {{name: end, {JOB}}}
"""


def test_a_cancelled_region_is_stopped_and_the_run_goes_on_after_it() -> None:
    world = World(CANCEL)
    world.succeed("p/x/region/done")
    world.stops_at_once = False
    world.succeed("p/y/decide")
    assert (world.step("p/x/region").phase, world.step("p/y/stop").phase) == ("Stopping", "Running")
    assert world.running == ["p/x/region/slow"], "what follows the cancel waits until the region has ended"
    world.gone("p/x/region/slow")
    assert (world.step("p/x/region").phase, world.step("p/y/stop").phase) == ("Cancelled", "Succeeded")
    assert world.running == ["p/x/next", "p/y/end"]
    assert "p/x/region/never" not in world.phases()
    world.succeed("p/x/next").fail("p/y/end")
    assert world.running == ["p/x/region/done:compensate"], "what was completed in the region is undone with all else"


def test_cancelling_what_does_not_go_on_does_nothing() -> None:
    world = World(CANCEL)
    world.succeed("p/x/region/done").succeed("p/x/region/slow").succeed("p/x/region/never").succeed("p/y/decide")
    assert (world.step("p/x/region").phase, world.step("p/y/stop").phase, world.running) == (
        "Succeeded",
        "Succeeded",
        ["p/x/next", "p/y/end"],
    )
    assert next(entry.reason for entry in world.entries if entry.path == "p/y/stop") == "p/x/region does not go on; nothing is cancelled"


def test_a_step_may_cancel_what_is_around_it() -> None:
    world = World(
        f"steps: [{{name: b, steps: [{{name: a, {JOB}}}, {{name: out, cancel: {{step: b}}}}, {{name: never, {JOB}}}]}}, {{name: after, {JOB}}}]"
    )
    world.succeed("b/a")
    assert (world.running, world.phases()["b"], world.phases()["b/out"]) == (["after"], "Cancelled", "Cancelled")
    world.succeed("after")
    assert (world.phase, world.status["progress"]) == ("Succeeded", "2/2")


def test_a_cancelled_step_of_a_dag_lets_what_depends_on_it_go_on() -> None:
    world = World(
        f"""
dag:
  steps:
  - {{name: slow, {JOB}}}
  - {{name: quick, {JOB}}}
  - {{name: stop, dependsOn: [quick], cancel: {{step: slow}}}}
  - {{name: next, dependsOn: [slow], {JOB}}}
"""
    )
    world.succeed("quick")
    assert (world.running, world.phases()["slow"]) == (["next"], "Cancelled")
    world.succeed("next")
    assert world.phase == "Succeeded"


def test_a_step_is_cancelled_in_every_iteration() -> None:
    world = World(
        f"""
steps:
- name: p
  parallel:
    branches:
    - {{name: x, steps: [{{name: each, forEach: {{in: [1, 2], steps: [{{name: box, {JOB}}}, {{name: label, {JOB}}}]}}}}]}}
    - {{name: y, steps: [{{name: decide, {JOB}}}, {{name: stop, cancel: {{step: p/x/each/box}}}}]}}
"""
    )
    world.succeed("p/y/decide")
    assert world.running == ["p/x/each[0]/label", "p/x/each[1]/label"]


# ---------------------------------------------------------------------------------------------- joins whose rest goes on

LATE = f"""
steps:
- name: p
  compensate: {{{JOB}}}
  parallel:
    join: Any
    cancelRest: false
    branches:
    - {{name: x, steps: [{{name: s, {JOB}}}, {{name: t, {JOB}}}]}}
    - {{name: y, steps: [{{name: s, {JOB}}}]}}
- {{name: after, job: {{image: i, args: ["${{ steps.p.outputs.y.s.v }}"]}}, compensate: {{{JOB}}}}}
"""


def test_what_follows_a_join_begins_while_the_rest_goes_on() -> None:
    world = World(LATE)
    world.succeed("p/y/s", {"v": 7})
    assert world.running == ["p/x/s", "after"]
    assert world.made[-1].inputs["args"] == ["7"]
    world.succeed("after")
    assert (world.phase, world.running) == ("Running", ["p/x/s"]), "the run is complete when the rest has ended"
    world.succeed("p/x/s").succeed("p/x/t")
    assert world.phase == "Succeeded"
    (late,) = [entry for entry in world.entries if entry.kind == "LateArrival"]
    assert (late.path, late.reason) == ("p", "branch x has ended after the join was met; that changes nothing")


def test_a_late_failure_is_told_and_changes_nothing() -> None:
    world = World(LATE)
    world.succeed("p/y/s", {"v": 7}).fail("p/x/s")
    assert world.running == ["after"]
    assert [entry.reason for entry in world.entries if entry.kind == "LateArrival"] == [
        "branch x failed (ExitCode: ExitCode happened) after the join was met; that changes nothing"
    ]
    world.succeed("after")
    assert world.phase == "Succeeded"


def test_the_rest_is_stopped_when_the_run_fails_and_the_join_keeps_its_place_in_undoing() -> None:
    world = World(LATE)
    world.succeed("p/y/s", {"v": 7}).succeed("after")
    world.wants(cancel=True)
    assert (world.phases()["p"], world.phases()["p/x/s"], world.running) == ("Succeeded", "Cancelled", ["after:compensate"])
    world.succeed("after:compensate")
    assert world.running == ["p:compensate"]
    world.succeed("p:compensate")
    assert world.phase == "Cancelled"


def test_what_late_branches_have_done_is_undone_as_well() -> None:
    world = World(
        f"""
steps:
- name: p
  parallel:
    join: Any
    cancelRest: false
    branches:
    - {{name: x, steps: [{{name: s, {JOB}, compensate: {{{JOB}}}}}, {{name: t, {JOB}}}]}}
    - {{name: y, steps: [{{name: s, {JOB}, compensate: {{{JOB}}}}}]}}
- {{name: after, {JOB}, compensate: {{{JOB}}}}}
- {{name: last, {JOB}}}
"""
    )
    world.succeed("p/y/s").succeed("after").succeed("p/x/s").fail("last")
    for path in ("p/x/s", "after", "p/y/s"):
        assert world.running == [f"{path}:compensate"]
        world.succeed(f"{path}:compensate")
    assert (world.phase, world.phases()["p/x/t"]) == ("Failed", "Cancelled")


def test_the_rest_is_stopped_when_the_list_around_it_fails() -> None:
    world = World(
        f"""
steps:
- name: b
  steps:
  - name: p
    parallel: {{join: Any, cancelRest: false, branches: [{{name: x, steps: [{{name: s, {JOB}}}]}}, {{name: y, steps: [{{name: s, {JOB}}}]}}]}}
  - {{name: after, {JOB}}}
  catch: [{{steps: [{{name: mend, {JOB}}}]}}]
"""
    )
    world.succeed("b/p/y/s")
    world.stops_at_once = False
    world.fail("b/after")
    assert (world.phases()["b"], world.phases()["b/p/x/s"], world.running) == ("Running", "Stopping", ["b/p/x/s"])
    world.gone("b/p/x/s")
    assert (world.phases()["b"], world.running) == ("Catching", ["b:catch0/mend"])


def test_the_rest_ends_with_its_list_when_a_goto_leads_back() -> None:
    world = World(
        f"""
steps:
- name: p
  parallel: {{join: Any, cancelRest: false, branches: [{{name: x, steps: [{{name: s, {JOB}}}]}}, {{name: y, steps: [{{name: s, {JOB}}}]}}]}}
- {{name: after, {JOB}}}
- {{name: again, if: "${{ has(steps.after.outputs.again) }}", goto: {{step: p}}}}
"""
    )
    world.succeed("p/y/s").succeed("after", {"again": True})
    assert (world.phases()["p"], world.phases()["p/x/s"], world.running) == ("Succeeded", "Cancelled", ["p~2/x/s", "p~2/y/s"])


def test_a_timeout_ends_with_the_join() -> None:
    world = World(LATE.replace("  parallel:", "  timeout: 1h\n  parallel:"))
    world.succeed("p/y/s", {"v": 7}).pass_time("2h")
    assert world.running == ["p/x/s", "after"]


def test_a_goto_out_of_a_late_branch_is_not_followed() -> None:
    world = World(
        f"""
steps:
- {{name: first, {JOB}}}
- name: p
  parallel:
    join: Any
    cancelRest: false
    branches:
    - {{name: x, steps: [{{name: s, {JOB}}}, {{name: back, goto: {{step: first}}}}]}}
    - {{name: y, steps: [{{name: s, {JOB}}}]}}
- {{name: after, {JOB}}}
"""
    )
    world.succeed("first").succeed("p/y/s").succeed("p/x/s")
    assert world.running == ["after"]
    assert "was left by a goto to first" in next(entry.reason for entry in world.entries if entry.kind == "LateArrival")
    world.succeed("after")
    assert world.phase == "Succeeded"


def test_a_parallel_fails_with_the_error_that_made_its_join_impossible() -> None:
    branches = ", ".join(f"{{name: {name}, steps: [{{name: s, {JOB}}}]}}" for name in "xyz")
    world = World(f"steps: [{{name: p, parallel: {{join: 2, branches: [{branches}]}}}}]")
    world.fail("p/z/s").pass_time("1s").fail("p/x/s")
    assert world.status["error"]["step"] == "p/x/s"


# ------------------------------------------------------------------------------------------------------------------ dag


def dag(*steps: str, fast: bool = True) -> World:
    return World(f"dag: {{failFast: {str(fast).lower()}, steps: [{', '.join(steps)}]}}")


def test_a_step_may_depend_on_the_failure_of_another() -> None:
    text = (
        f"{{name: pay, {JOB}}}",
        f"{{name: other, {JOB}}}",
        f"{{name: tell, dependsOn: [{{step: pay, outcome: Failed}}], {JOB}}}",
        f"{{name: ship, dependsOn: [pay], {JOB}}}",
        f"{{name: bill, dependsOn: [ship], {JOB}}}",
        f"{{name: close, dependsOn: [{{step: ship, outcome: Done}}, {{step: tell, outcome: Done}}], {JOB}}}",
        f"{{name: no-ship, dependsOn: [{{step: ship, outcome: Skipped}}], {JOB}}}",
    )
    world = dag(*text).fail("pay")
    assert world.phases() == {
        "pay": "Failed",
        "other": "Running",
        "tell": "Running",
        "ship": "Skipped",
        "bill": "Skipped",
        "no-ship": "Running",
    }
    assert next(entry.reason for entry in world.entries if entry.path == "bill") == "ship should have ended as Succeeded and was Skipped"
    world.succeed("tell").succeed("other").succeed("no-ship").succeed("close")
    assert world.phase == "Succeeded"
    world = dag(*text).succeed("pay")
    assert (world.phases()["tell"], world.running) == ("Skipped", ["other", "ship"])


def test_a_failure_that_nobody_deals_with_after_all_fails_the_dag() -> None:
    world = dag(
        f"{{name: a, {JOB}}}",
        f"{{name: b, {JOB}}}",
        f"{{name: both, dependsOn: [{{step: a, outcome: Failed}}, {{step: b, outcome: Failed}}], {JOB}}}",
        f"{{name: long, {JOB}}}",
    )
    world.fail("a")
    assert world.running == ["b", "long"], "both may still deal with it"
    world.succeed("b")
    assert (world.phase, world.status["error"]["step"], world.phases()["long"]) == ("Failed", "a", "Cancelled")


def test_a_step_that_was_skipped_by_its_own_if_counts_as_done() -> None:
    world = dag(
        f'{{name: a, if: "${{ false }}", {JOB}}}',
        f"{{name: b, dependsOn: [a], {JOB}}}",
        f"{{name: c, dependsOn: [{{step: a, outcome: Failed}}], {JOB}}}",
    )
    assert world.phases() == {"a": "Skipped", "b": "Running", "c": "Skipped"}


def test_a_failure_that_fails_again_where_it_is_dealt_with_fails_the_dag() -> None:
    world = dag(f"{{name: a, {JOB}}}", f"{{name: b, dependsOn: [{{step: a, outcome: Failed}}], {JOB}}}")
    world.fail("a").fail("b")
    assert (world.phase, world.status["error"]["step"]) == ("Failed", "b")


def test_a_dag_goes_on_from_a_join_whose_rest_goes_on() -> None:
    world = dag(
        f"{{name: p, parallel: {{join: Any, cancelRest: false, branches: [{{name: x, steps: [{{name: s, {JOB}}}]}}, {{name: y, steps: [{{name: s, {JOB}}}]}}]}}}}",
        f"{{name: next, dependsOn: [p], {JOB}}}",
        f"{{name: over, dependsOn: [{{step: p, outcome: Done}}], {JOB}}}",
    )
    world.succeed("p/y/s")
    assert world.running == ["p/x/s", "next", "over"]
    world.succeed("next").succeed("over")
    assert world.phase == "Running"
    world.succeed("p/x/s")
    assert world.phase == "Succeeded"


# ---------------------------------------------------------------------------------------------------------------- switch

EVERY = f"""
parameters: [{{name: n}}]
steps:
- name: s
  switch:
    mode: Every
    cases:
    - {{name: even, when: "${{ params.n % 2 == 0 }}", steps: [{{name: do, {JOB}}}]}}
    - {{name: large, when: "${{ params.n > 10 }}", steps: [{{name: do, {JOB}}}]}}
    - {{when: "${{ params.n > 100 }}", steps: [{{name: do, {JOB}}}]}}
    default: [{{name: do, {JOB}}}]
- {{name: after, job: {{image: i, args: ["${{ has(steps.s.outputs.large) ? steps.s.outputs.large.do.v : 0 }}"]}}}}
"""


@pytest.mark.parametrize(
    ("number", "taken"), [(200, ["even", "large", "2"]), (12, ["even", "large"]), (11, ["large"]), (4, ["even"]), (5, ["default"])]
)
def test_every_case_that_is_open_is_taken_and_all_are_awaited(number: int, taken: list[str]) -> None:
    world = World(EVERY, {"n": number})
    assert (world.running, world.step("s").choice) == ([f"s/{name}/do" for name in taken], ",".join(taken))
    for name in taken:
        assert "after" not in world.phases()
        world.succeed(f"s/{name}/do", {"v": 3})
    assert (world.running, world.made[-1].inputs["args"]) == (["after"], ["3" if "large" in taken else "0"])


def test_a_case_that_fails_stops_the_others() -> None:
    world = World(EVERY, {"n": 200})
    world.fail("s/large/do")
    assert (world.phase, world.phases()["s/even/do"], world.status["error"]["step"]) == ("Failed", "Cancelled", "s/large/do")
