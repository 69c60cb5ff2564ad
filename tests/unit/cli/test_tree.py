"""`backstay tree`: what a person sees of a run at every moment of its life."""

import json
from typing import Any

import pytest

from backstay.cli.views.seen import read_run
from backstay.cli.views.tree import change_lines, tree, tree_data
from tests.support.world import World
from tests.unit.cli.runs import manifest_of, run_of, soon, texts

SAGA = """
steps:
- {name: reserve, job: {image: stock}, compensate: {job: {image: stock}}}
- {name: charge, job: {image: pay}, retry: {maxAttempts: 3, interval: 10s, jitter: None}, compensate: {job: {image: pay}}}
- {name: ship, job: {image: ship}}
"""

NESTED = """
steps:
- name: pair
  parallel:
    branches:
    - {name: left, steps: [{name: x, job: {image: a}}, {name: later, job: {image: a}}]}
    - {name: right, steps: [{name: nap, wait: {duration: 10m}}]}
- name: route
  switch:
    cases:
    - {name: large, when: "${ params.amount > 10 }", steps: [{name: review, job: {image: r}}]}
    default: [{name: accept, set: {ok: true}}]
- name: maybe
  if: ${ false }
  steps: [{name: inside, job: {image: a}}]
parameters: [{name: amount, schema: {type: number}, default: 5}]
"""


def shown(world: World, seconds: float = 0, **options: Any) -> list[str]:
    return texts(tree(run_of(world, **options), soon(world, seconds)))


def test_a_run_that_has_just_begun_shows_what_is_still_to_come() -> None:
    assert shown(World(SAGA), 12) == [
        "▶ order-7f2  order, revision 3  Running  0/3  12s",
        "▶ reserve  Running        12s",
        "○ charge   not begun",
        "○ ship     not begun",
    ]


def test_a_retry_says_when_and_why() -> None:
    world = World(SAGA).succeed("reserve").fail("charge")
    assert shown(world, 4)[1:3] == [
        "✔ reserve  Succeeded                 0.0s",
        "↺ charge   Retrying, attempt 1/3     4.0s  next attempt in 6.0s; ExitCode: ExitCode happened",
    ]
    world.pass_time("10s")
    assert "▶ charge   Running, attempt 2/3      10s  the attempt before: ExitCode: ExitCode happened" in shown(world)


def test_undoing_stands_below_in_the_order_in_which_it_happens() -> None:
    world = World(SAGA).succeed("reserve").succeed("charge").fail("ship", "Permanent")
    assert shown(world) == [
        "⟲ order-7f2  order, revision 3  Compensating  2/3  0.0s",
        "  Permanent: Permanent happened",
        "✔ reserve  Succeeded     0.0s",
        "✔ charge   Succeeded     0.0s",
        "✖ ship     Failed        0.0s  Permanent: Permanent happened",
        "",
        "undoing, the last step done first",
        "▶ charge   Running          0.0s",
        "○ reserve  to be undone",
    ]
    world.succeed("charge:compensate").succeed("reserve:compensate")
    assert shown(world)[2:] == [
        "⟲ reserve  Compensated     0.0s",
        "⟲ charge   Compensated     0.0s",
        "✖ ship     Failed          0.0s  Permanent: Permanent happened",
        "",
        "undoing, the last step done first",
        "✔ charge   Succeeded     0.0s",
        "✔ reserve  Succeeded     0.0s",
    ]


def test_branches_cases_and_what_is_inside_them_are_indented() -> None:
    world = World(NESTED)
    world.pass_time("1m")
    assert shown(world) == [
        "▶ order-7f2  order, revision 3  Running  0/3  1m",
        "▶ pair            Running         1m",
        "  ├─ · left",
        "  │  ├─ ▶ x       Running         1m",
        "  │  └─ ○ later   not begun",
        "  └─ · right",
        "     └─ ◷ nap     Waiting         1m  9m left",
        "○ route           not begun",
        "  ├─ · large",
        "  │  └─ ○ review  not begun",
        "  └─ · default",
        "     └─ ○ accept  not begun",
        "○ maybe           not begun",
        "  └─ ○ inside     not begun",
    ]


def test_a_case_that_was_not_taken_is_no_longer_shown() -> None:
    world = World(NESTED).succeed("pair/left/x").succeed("pair/left/later")
    world.pass_time("10m")
    text = "\n".join(shown(world))
    assert "accept" in text and "review" not in text
    assert "↷ maybe" in text and "inside" not in text


def test_a_handler_shows_only_when_it_was_needed() -> None:
    workflow = """
steps:
- name: charge
  job: {image: pay}
  catch:
  - {errors: [Timeout], steps: [{name: wait-more, job: {image: a}}]}
  - {errors: [CardDeclined], steps: [{name: ask, job: {image: a}}]}
"""
    world = World(workflow)
    assert "on" not in "\n".join(shown(world)[1:]).split()
    world.fail("charge", output='{"error": {"type": "CardDeclined", "message": "no money"}}')
    assert shown(world)[1:] == [
        "⚑ charge                Catching     0.0s  CardDeclined: no money",
        "  └─ · on CardDeclined",
        "     └─ ▶ ask           Running      0.0s",
    ]


def test_a_finished_run_says_what_it_never_reached_and_what_is_not_undone() -> None:
    world = World(SAGA).succeed("reserve").fail("charge", "Permanent")
    world.fail("reserve:compensate").wants(release=True)
    text = shown(world)
    assert "○ ship     not reached" in text
    world = World(SAGA).succeed("reserve").succeed("charge").fail("ship", "Permanent").wants(release=True)
    assert "○ reserve  not undone" in shown(world)


def test_a_suspended_run_says_so() -> None:
    world = World(SAGA).wants(suspend=True)
    assert shown(world)[:2] == [
        "⏸ order-7f2  order, revision 3  Suspended  0/3  0.0s",
        "  nothing new starts until it is resumed",
    ]


def test_without_its_definition_a_run_shows_what_has_begun() -> None:
    assert shown(World(SAGA).succeed("reserve"), with_program=False) == [
        "▶ order-7f2  order, revision 3  Running  1/3  0.0s",
        "✔ reserve  Succeeded     0.0s",
        "▶ charge   Running       0.0s",
    ]


def test_what_users_wrote_cannot_steer_the_terminal() -> None:
    world = World(SAGA)
    world.fail("reserve", "Permanent", output='{"error": {"type": "Evil", "message": "\\u001b[2J[red]boom[/red]\\nsecond line"}}')
    text = "\n".join(shown(world, name="order-\x1b[31m"))
    assert "\x1b" not in text and "\\x1b[2J[red]boom[/red] second line" in text


@pytest.mark.parametrize(
    "status",
    [
        None,
        "text",
        {"steps": "text", "journal": 3, "conditions": {"a": 1}},
        {"phase": "Sideways", "steps": [1, {"path": 3}, {"path": "a", "kind": "job", "phase": "Dancing"}]},
        {"phase": "Running", "startedAt": "yesterday"},
        {"phase": "Running", "newField": 1, "steps": [{"path": "a", "kind": "job", "phase": "Running", "newField": 1}]},
    ],
)
def test_a_status_that_is_not_as_it_should_be_is_shown_as_far_as_it_goes(status: Any) -> None:
    world = World(SAGA)
    run = read_run({**manifest_of(world), "status": status}, world.program)
    lines = texts(tree(run, world.now))
    assert lines[0].split()[1] == "order-7f2"
    json.dumps(tree_data(run))


def test_a_field_that_this_version_does_not_know_hides_nothing() -> None:
    world = World(SAGA)
    manifest = manifest_of(world)
    manifest["status"] = {**world.status, "steps": [{**step, "fancy": True} for step in world.status["steps"]]}
    assert texts(tree(read_run(manifest, world.program), world.now)) == shown(world)


def test_the_data_nests_as_the_tree_does() -> None:
    world = World(SAGA).succeed("reserve", {"id": 1}).succeed("charge").fail("ship", "Permanent")
    data = tree_data(run_of(world))
    assert [(step["path"], step["phase"]) for step in data["steps"]] == [
        ("reserve", "Succeeded"),
        ("charge", "Succeeded"),
        ("ship", "Failed"),
    ]
    assert data["steps"][0]["outputs"] == {"id": 1}
    assert data["steps"][0]["steps"][0] == {"path": "reserve:compensate", "name": "reserve", "what": "undo", "kind": "job", "phase": None}
    assert data["toUndo"] == ["charge", "reserve"]


def test_a_watch_without_a_terminal_prints_each_change_once_and_in_order() -> None:
    world = World(SAGA)
    first = run_of(world)
    world.succeed("reserve")
    second = run_of(world)
    assert [text.split(maxsplit=1)[1] for text in texts(change_lines(None, first, world.now))] == [
        "▶ order-7f2  Running",
        "▶ reserve  Running",
    ]
    assert [text.split(maxsplit=1)[1] for text in texts(change_lines(first, second, world.now))] == [
        "✔ reserve  Succeeded",
        "▶ charge  Running",
    ]
    assert change_lines(second, second, world.now) == []


def test_what_ends_is_told_before_what_it_leads_to() -> None:
    world = World(NESTED).succeed("pair/left/x").succeed("pair/left/later")
    before = run_of(world)
    world.pass_time("10m")
    told = [text.split()[2] for text in texts(change_lines(before, run_of(world), world.now))]
    assert told == ["pair/right/nap", "pair", "route/default/accept", "route", "maybe", "order-7f2"]
