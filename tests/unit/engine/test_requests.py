"""What people ask of single steps while a run goes on: done once, answered, and told in the journal."""

import pytest

from backstay.engine.model import Request
from tests.support.world import World

PACK = "{name: pack, forEach: {in: [a, b, c], parallelism: 2, steps: [{name: box, job: {image: i, args: ['${ item }']}}], collect: '${ item }'}}"


def ask(world: World, action: str, step: str, *items: object, id_: str = "r1") -> str:
    world.wants(requests=(*world.wish.requests, Request(id_, step, action, items, "so they said")))
    return world.state.run.answers[id_]


def test_an_iteration_is_cancelled_and_the_others_go_on() -> None:
    world = World(f"steps: [{PACK}]\noutputs: [{{name: o, value: '${{ steps.pack.outputs }}'}}]")
    assert ask(world, "Cancel", "pack[0]") == "Done"
    assert world.running == ["pack[1]/box", "pack[2]/box"]
    world.succeed("pack[1]/box").succeed("pack[2]/box")
    assert world.status["outputs"]["o"] == {"total": 3, "succeeded": 2, "failed": 0, "items": [None, "b", "c"]}


def test_a_step_is_cancelled_and_the_run_goes_on_after_it() -> None:
    world = World(f"steps: [{PACK}, {{name: after, job: {{image: i}}}}]")
    assert ask(world, "Cancel", "pack") == "Done"
    assert (world.step("pack").phase, world.running) == ("Cancelled", ["after"])


def test_a_for_each_is_completed_before_all_is_done() -> None:
    world = World(f"steps: [{PACK}, {{name: after, job: {{image: i}}}}]")
    world.succeed("pack[1]/box")
    assert ask(world, "Complete", "pack") == "Done"
    assert (world.step("pack").phase, world.running) == ("Succeeded", ["after"])


def test_a_wait_is_completed_before_its_time() -> None:
    world = World("steps: [{name: cool, wait: {duration: 10h}}]")
    assert ask(world, "Complete", "cool") == "Done"
    assert world.phase == "Succeeded"


def test_items_are_added_while_it_runs_and_until_keeps_it_open() -> None:
    world = World(
        "steps: [{name: zero, set: {closed: false}}, {name: both, parallel: {branches: ["
        "{name: work, steps: [{name: pack, forEach: {in: [a], until: '${ vars.closed }', steps: [{name: box, job: {image: i, args: ['${ item }']}}]}}]},"
        "{name: close, steps: [{name: wait, wait: {duration: 1h}}, {name: shut, set: {closed: true}}]}]}}]"
    )
    world.succeed("both/work/pack[0]/box")
    assert world.phase == "Running"
    assert ask(world, "AddItems", "both/work/pack", "x", "y") == "Done"
    assert [made.inputs["args"][0] for made in world.made] == ["a", "x", "y"]
    world.succeed("both/work/pack[1]/box").succeed("both/work/pack[2]/box")
    assert world.phase == "Running"
    world.pass_time("1h")
    assert world.phase == "Succeeded"


@pytest.mark.parametrize(
    ("action", "step", "answer"),
    [
        ("Cancel", "nowhere", 'Refused: no step "nowhere" has begun; the status shows the paths of those that have'),
        ("Cancel", "first", "Refused: first has ended: Succeeded"),
        ("Cancel", "pack[2]", "Refused: iteration 2 of pack does not go on"),
        ("Cancel", "pack[99]", "Refused: iteration 99 of pack does not go on"),
        ("Complete", "pack[0]", "Refused: an iteration of a forEach can be cancelled, and nothing else be asked of it; pack is a forEach"),
        ("Complete", "pack[0]/box", "Refused: pack[0]/box is a job (Running); only a forEach, while or wait can be completed"),
        ("AddItems", "pack[0]/box", "Refused: pack[0]/box is a job (Running); items can be added to a forEach that goes on"),
        ("Cancel", "", 'Refused: no step "" has begun; the status shows the paths of those that have'),
        ("Cancel", "/", 'Refused: no step "/" has begun; the status shows the paths of those that have'),
        ("Cancel", "pack[x]", 'Refused: no step "pack[x]" has begun; the status shows the paths of those that have'),
        ("Cancel", "pack[0", 'Refused: no step "pack[0" has begun; the status shows the paths of those that have'),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(action: str, step: str, answer: str) -> None:
    world = World(f"steps: [{{name: first, set: {{x: 1}}}}, {PACK}]")
    assert ask(world, action, step, *(["i"] if action == "AddItems" else [])) == answer
    assert world.running == ["pack[0]/box", "pack[1]/box"]


def test_a_request_is_answered_once_however_often_it_is_seen() -> None:
    world = World(f"steps: [{PACK}]")
    ask(world, "Cancel", "pack[0]")
    ask(world, "Cancel", "pack[1]", id_="r2")
    asked = [(entry.kind, entry.actor, entry.reason) for entry in world.entries if entry.kind.startswith("Request")]
    assert asked == [("RequestMet", "user", "Cancel pack[0]: so they said"), ("RequestMet", "user", "Cancel pack[1]: so they said")]


def test_too_many_items_are_refused_and_nothing_is_lost() -> None:
    world = World("steps: [{name: pack, forEach: {in: [a], maxItems: 2, steps: [{name: box, job: {image: i}}]}}]")
    assert ask(world, "AddItems", "pack", 1, 2) == "Refused: 3 items of at most 2; see maxItems"
    world.succeed("pack[0]/box")
    assert world.phase == "Succeeded"


def test_a_job_that_is_cancelled_by_a_request_is_waited_for() -> None:
    world = World(f"steps: [{PACK}]")
    world.stops_at_once = False
    ask(world, "Cancel", "pack[0]")
    assert (world.step("pack[0]/box").phase, world.running) == ("Stopping", ["pack[0]/box", "pack[1]/box"])
    world.gone("pack[0]/box")
    assert world.running == ["pack[1]/box", "pack[2]/box"]


def test_a_failed_iteration_that_is_being_stopped_does_not_count_twice() -> None:
    world = World(f"steps: [{PACK}]")
    world.stops_at_once = False
    ask(world, "Cancel", "pack[0]")
    world.succeed("pack[0]/box").succeed("pack[1]/box").succeed("pack[2]/box")
    assert world.phase == "Succeeded"
    assert world.step("pack").iterations["succeeded"] == 2  # type: ignore[index]
