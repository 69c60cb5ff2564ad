"""What `backstay why`, `tree` and `graph` show of errors, and of what happens at the edge of a step."""

from typing import Any

import pytest

from backstay.cli.views.graph import graph
from backstay.cli.views.story import read_story, story
from backstay.cli.views.tree import tree
from backstay.cli.views.why import Evidence, why
from tests.support.world import World
from tests.unit.cli.runs import run_of, soon, texts

JOB = "job: {image: busybox}"
BOUNDED = f"""
steps:
- name: pick
  {JOB}
  boundary:
  - {{name: remind, interrupting: false, wait: {{duration: 10s}}, steps: [{{name: mail, {JOB}}}]}}
  - {{wait: {{duration: 20s}}, steps: [{{name: by-hand, {JOB}}}]}}
- {{name: after, {JOB}}}
"""
CAUGHT_BY_NONE = f"""
steps:
- name: order
  steps:
  - name: charge
    {JOB}
    catch:
    - {{errors: [CardDeclined], steps: [{{name: x, {JOB}}}]}}
    - {{errors: [Transient], when: "${{ error.attempt > 3 }}", steps: [{{name: x, {JOB}}}]}}
"""


def shown(world: World, seconds: float = 0, **options: Any) -> list[str]:
    return [" ".join(line.split()) for line in texts(tree(run_of(world, **options), soon(world, seconds)))]


def test_why_tells_of_a_failed_run_the_class_of_its_error_where_it_was_raised_and_why_nobody_caught_it() -> None:
    world = World(CAUGHT_BY_NONE).fail("order/charge")
    sentence = why(run_of(world), Evidence(), soon(world, 0)).sentence
    assert sentence == (
        "it waits for nothing: it failed at 2026-11-23T09:00:00Z (ExitCode: ExitCode happened); it is Transient; "
        "raised by order/charge (attempt 1); looked at: catch[0] of order/charge is for CardDeclined; "
        "catch[1] of order/charge did not take it: its when was false"
    )


def test_why_tells_the_same_as_data() -> None:
    world = World(CAUGHT_BY_NONE).fail("order/charge")
    assert why(run_of(world), Evidence(), soon(world, 0)).to_json()["error"] == {
        "type": "ExitCode",
        "detail": "ExitCode happened",
        "step": "order/charge",
        "attempt": 1,
        "class": "Transient",
        "catches": [
            {"step": "order/charge", "catch": 0, "why": "is for CardDeclined"},
            {"step": "order/charge", "catch": 1, "why": "did not take it: its when was false"},
        ],
    }


@pytest.mark.parametrize("succeed", [True, False])
def test_why_tells_of_errors_only_where_a_run_has_failed(succeed: bool) -> None:
    world = World(BOUNDED)
    if succeed:
        world.succeed("pick").succeed("after")
    else:
        world.wants(cancel=True)
    assert "error" not in why(run_of(world), Evidence(), soon(world, 0)).to_json()


def test_why_looks_at_a_step_that_goes_on_and_not_at_its_timers() -> None:
    world = World(BOUNDED)
    evidence = Evidence({made.name: world.jobs[made.name] for made in world.made})
    assert "step pick has been running for 5.0s" in why(run_of(world), evidence, soon(world, 5)).sentence


def test_a_timer_at_the_edge_of_a_step_is_not_shown_before_it_happens() -> None:
    assert shown(World(BOUNDED), 5)[1:] == ["▶ pick Running 5.0s", "○ after not begun"]


def test_what_runs_beside_a_step_and_what_takes_its_place_is_shown_under_it() -> None:
    assert shown(World(BOUNDED).pass_time("20s"), 1)[1:] == [
        "⚑ pick Catching 21s",
        "├─ ▶ boundary event remind Running 11s",
        "│ └─ ▶ mail Running 11s",
        "└─ ▶ boundary event 1 Running 1.0s",
        "└─ ▶ by-hand Running 1.0s",
        "○ after not begun",
    ]


def test_the_story_tells_of_interruptions_and_escalations() -> None:
    world = World(
        f"""
steps:
- name: pick
  steps: [{{name: e, escalate: {{code: STUCK, message: help}}}}, {{name: f, escalate: {{code: ODD}}}}, {{name: j, {JOB}}}]
  boundary: [{{escalation: STUCK, interrupting: false, steps: [{{name: x, {JOB}}}]}}, {{wait: {{duration: 1s}}, steps: [{{name: y, {JOB}}}]}}]
"""
    ).pass_time("1s")
    told = "\n".join(texts(story(read_story(run_of(world)))))
    assert "pick:boundary0[0] hears an escalation: STUCK: help (from pick/e)" in told
    assert "pick/f escalates, and nobody hears it: ODD (no step around it that goes on has a boundary event for ODD)" in told
    assert "pick is interrupted, and other steps take its place: by boundary event 1" in told


def test_a_graph_shows_what_may_happen_at_the_edge_of_a_step() -> None:
    drawn = graph(World(BOUNDED).program.spec, "order")
    labels = {edge.label for edge in drawn.edges}
    assert {"wait 10s", "wait 20s"} <= labels
