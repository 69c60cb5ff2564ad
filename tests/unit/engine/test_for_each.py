"""forEach: many at a time, some of which may fail, and what they leave behind."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.engine import journal
from backstay.engine.iterations import numbers, ranges
from tests.support.world import World

BOX = "steps: [{name: box, job: {image: pack, args: ['${ item }']}}]"


def args(world: World) -> list[str]:
    return [made.inputs["args"][0] for made in world.made]


def test_every_item_is_done_and_what_they_leave_is_a_list_in_the_order_of_the_items() -> None:
    world = World(
        """
steps:
- name: pack
  forEach: {in: [a, b, c], as: line, steps: [{name: box, job: {image: pack, args: ["${ line }", "${ index }"]}}], collect: "${ steps.box.outputs.parcel }"}
outputs: [{name: parcels, value: "${ steps.pack.outputs }"}]
"""
    )
    assert [made.inputs["args"] for made in world.made] == [["a", "0"], ["b", "1"], ["c", "2"]]
    for index in (2, 0, 1):
        world.succeed(f"pack[{index}]/box", {"parcel": f"p{index}"})
    assert world.status["outputs"]["parcels"] == {"total": 3, "succeeded": 3, "failed": 0, "items": ["p0", "p1", "p2"]}


def test_no_more_iterations_go_on_than_may() -> None:
    world = World(f"steps: [{{name: pack, forEach: {{count: 5, parallelism: 2, {BOX}}}}}]")
    assert world.running == ["pack[0]/box", "pack[1]/box"]
    world.succeed("pack[1]/box")
    assert world.running == ["pack[0]/box", "pack[2]/box"]
    assert world.step("pack").iterations == {"total": 5, "next": 3, "succeeded": 1, "active": "0,2", "kept": "1"}


def test_a_map_gives_keys_and_values_in_the_order_of_the_keys() -> None:
    world = World(
        "steps: [{name: tell, forEach: {in: {north: 1, east: 2}, as: region, "
        "steps: [{name: ask, job: {image: i, args: ['${ region.key }', '${ string(region.value) }']}}]}}]"
    )
    assert [made.inputs["args"] for made in world.made] == [["east", "2"], ["north", "1"]]


def test_items_of_a_parameter_do_not_stand_in_the_status() -> None:
    world = World(
        f"parameters: [{{name: lines}}]\nsteps: [{{name: pack, forEach: {{in: '${{ params.lines }}', {BOX}}}}}]", {"lines": ["x", "y"]}
    )
    assert (args(world), world.step("pack").items) == (["x", "y"], None)


def test_items_that_were_computed_are_pinned_although_what_they_came_from_changes() -> None:
    world = World(
        """
steps:
- {name: first, set: {lines: [x, y, z]}}
- name: pack
  forEach: {in: "${ vars.lines }", parallelism: 1, steps: [{name: empty, set: {lines: []}}, {name: box, job: {image: pack, args: ["${ item }"]}}]}
"""
    )
    for index in range(3):
        world.succeed(f"pack[{index}]/box")
    assert (args(world), world.phase) == (["x", "y", "z"], "Succeeded")


@pytest.mark.parametrize(("tolerate", "may_fail"), [("0", 0), ("1", 1), ("50%", 2), ("100%", 4)])
def test_as_many_iterations_may_fail_as_are_tolerated(tolerate: str, may_fail: int) -> None:
    world = World(f"steps: [{{name: pack, forEach: {{count: 4, tolerate: {tolerate}, {BOX}}}}}]")
    for index in range(may_fail):
        world.fail(f"pack[{index}]/box", "TooHeavy")
        assert world.phase == "Running" or may_fail == 4
    if may_fail == 4:
        assert world.phase == "Succeeded"
        return
    world.fail(f"pack[{may_fail}]/box", "TooHeavy")
    assert (world.phase, world.state.run.error.type, world.state.run.error.step) == ("Failed", "TooHeavy", f"pack[{may_fail}]/box")  # type: ignore[union-attr]
    assert world.step("pack").iterations["failures"][-1] == f"[{may_fail}] TooHeavy: TooHeavy happened"  # type: ignore[index]


def test_when_enough_are_done_the_rest_is_stopped() -> None:
    world = World(f"steps: [{{name: quotes, forEach: {{count: 5, completeWhen: '${{ done >= 2 }}', {BOX}}}}}]")
    world.succeed("quotes[4]/box")
    world.succeed("quotes[1]/box")
    assert (world.phase, world.running) == ("Succeeded", [])
    assert world.step("quotes[0]/box").phase == "Cancelled"
    assert world.step("quotes").iterations["succeeded"] == 2  # type: ignore[index]


def test_an_iteration_may_find_more_items() -> None:
    world = World(
        """
steps:
- name: crawl
  forEach: {in: [root], add: "${ steps.look.outputs.links }", steps: [{name: look, job: {image: crawl, args: ["${ item }"]}}], maxItems: 4}
"""
    )
    world.succeed("crawl[0]/look", {"links": ["a", "b"]})
    assert args(world) == ["root", "a", "b"]
    world.succeed("crawl[1]/look", {"links": []}).succeed("crawl[2]/look", {"links": ["c"]})
    world.succeed("crawl[3]/look", {"links": []})
    assert (world.phase, world.step("crawl").iterations["total"]) == ("Succeeded", 4)  # type: ignore[index]


def test_more_items_than_may_be_found_are_an_error_of_the_iteration_that_found_them() -> None:
    world = World(
        'steps: [{name: crawl, forEach: {in: [root], maxItems: 2, add: "${ steps.look.outputs.links }", steps: [{name: look, job: {image: i}}]}}]'
    )
    world.succeed("crawl[0]/look", {"links": [1, 2]})
    assert world.state.run.error is not None
    assert "3 items of at most 2" in world.state.run.error.detail


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ("${ 1 }", "in: 1 is neither a list nor a map"),
        ("${ params.none }", 'params.none: there is no "none"'),
        ("${ 'text' }", 'in: "text" is neither a list nor a map'),
    ],
)
def test_items_that_are_none_are_told(items: str, words: str) -> None:
    world = World(f'steps: [{{name: pack, forEach: {{in: "{items}", {BOX}}}}}]')
    assert (world.phase, world.state.run.error.type) == ("Failed", "ExpressionError")  # type: ignore[union-attr]
    assert words in world.state.run.error.detail, world.state.run.error.detail  # type: ignore[union-attr]


@pytest.mark.parametrize("count", ["${ -1 }", "${ 1.5 }", "${ true }", "${ 'x' }"])
def test_a_count_that_is_no_number_of_iterations_is_told(count: str) -> None:
    world = World(f'steps: [{{name: pack, forEach: {{count: "{count}", {BOX}}}}}]')
    assert "is no number of iterations" in world.state.run.error.detail  # type: ignore[union-attr]


def test_no_items_are_done_at_once() -> None:
    assert World(f"steps: [{{name: pack, forEach: {{in: [], {BOX}}}}}]").phase == "Succeeded"


def test_too_many_items_are_refused_with_the_mend() -> None:
    world = World(f"steps: [{{name: pack, forEach: {{count: 11, maxItems: 10, {BOX}}}}}]")
    assert world.state.run.error.detail == "11 items of at most 10; raise maxItems, or split the work into several runs"  # type: ignore[union-attr]


def test_each_iteration_is_undone_in_reverse_order_of_its_end() -> None:
    world = World(
        """
steps:
- name: pack
  forEach:
    in: [a, b, c]
    steps: [{name: box, job: {image: pack}, compensate: {job: {image: unpack, args: ["${ item }", "${ string(index) }", "${ self.outputs.id }"]}}}]
- {name: late, fail: {error: Late}}
"""
    )
    for index in (1, 2, 0):
        world.succeed(f"pack[{index}]/box", {"id": f"p{index}"})
    for index in (0, 2, 1):
        assert world.running == [f"pack[{index}]/box:compensate"]
        world.succeed(f"pack[{index}]/box:compensate")
    assert world.phase == "Failed"
    assert [made.inputs["args"] for made in world.made[3:]] == [["a", "0", "p0"], ["c", "2", "p2"], ["b", "1", "p1"]]


def test_inner_and_outer_items_are_both_seen() -> None:
    world = World(
        """
steps:
- name: orders
  forEach:
    in: [x, y]
    as: order
    steps:
    - name: lines
      forEach: {count: 2, as: line, steps: [{name: box, job: {image: i, args: ["${ order }", "${ string(line) }", "${ string(index) }", "${ string(item) }"]}}]}
"""
    )
    assert sorted(made.inputs["args"] for made in world.made) == [
        ["x", "0", "0", "0"],
        ["x", "1", "1", "1"],
        ["y", "0", "0", "0"],
        ["y", "1", "1", "1"],
    ]


def test_long_ended_iterations_are_forgotten_and_the_totals_stay() -> None:
    world = World(f"steps: [{{name: pack, forEach: {{count: 40, parallelism: 2, {BOX}}}}}]")
    for index in range(40):
        world.succeed(f"pack[{index}]/box")
    assert world.phase == "Succeeded"
    assert world.step("pack").iterations == {"total": 40, "next": 40, "succeeded": 40, "kept": "30-39"}
    assert sorted(world.phases()) == sorted(["pack", *(f"pack[{index}]/box" for index in range(30, 40))])
    assert sum(entry.kind == journal.FORGOTTEN for entry in world.entries) == 30


def test_what_must_be_undone_is_never_forgotten() -> None:
    world = World(
        "steps: [{name: pack, forEach: {count: 20, steps: [{name: box, job: {image: i}, compensate: {job: {image: undo}}}]}}, {name: bad, fail: {error: E}}]"
    )
    for index in range(20):
        world.succeed(f"pack[{index}]/box")
    for index in reversed(range(20)):
        world.succeed(f"pack[{index}]/box:compensate")
    assert world.phase == "Failed"
    assert len(world.made) == 40


def test_cancelling_the_run_stops_every_iteration() -> None:
    world = World(f"steps: [{{name: pack, forEach: {{count: 30, parallelism: 5, {BOX}}}}}]")
    world.wants(cancel=True)
    assert (world.phase, world.running, len(world.made)) == ("Cancelled", [], 5)


def test_a_suspended_run_begins_no_iteration() -> None:
    world = World(f"steps: [{{name: pack, forEach: {{count: 3, parallelism: 1, {BOX}}}}}]")
    world.wants(suspend=True)
    world.succeed("pack[0]/box")
    assert world.running == []
    world.wants(suspend=False)
    assert world.running == ["pack[1]/box"]


def test_a_failing_iteration_can_be_caught_inside_and_around() -> None:
    inside = World(
        """
steps:
- name: pack
  forEach: {count: 2, steps: [{name: box, job: {image: i}, catch: [{errors: [TooHeavy], steps: [{name: note, set: {heavy: "${ index }"}}]}]}]}
"""
    )
    inside.fail("pack[1]/box", "TooHeavy").succeed("pack[0]/box")
    assert (inside.phase, inside.status["vars"]) == ("Succeeded", {"heavy": 1})
    around = World(
        f"steps: [{{name: pack, forEach: {{count: 2, {BOX}}}, catch: [{{errors: [TooHeavy], steps: [{{name: note, set: {{caught: '${{ error.step }}'}}}}]}}]}}]"
    )
    around.fail("pack[1]/box", "TooHeavy")
    assert (around.phase, around.status["vars"]) == ("Succeeded", {"caught": "pack[1]/box"})


def test_a_turn_that_writes_too_much_is_continued_in_the_next_one() -> None:
    world = World("steps: [{name: count, forEach: {count: 600, parallelism: 600, steps: [{name: one, set: {x: '${ index }'}}]}}]")
    assert (world.phase, world.status["vars"]) == ("Succeeded", {"x": 599})
    assert 1 < world.writes < 10


def test_what_all_iterations_leave_behind_is_limited() -> None:
    world = World(
        "steps: [{name: pack, forEach: {count: 40, parallelism: 40, steps: [{name: box, job: {image: i}}], collect: '${ steps.box.outputs.text }'}}]"
    )
    for index in range(17):
        world.succeed(f"pack[{index}]/box", {"text": "x" * 4000})
        if world.phase != "Running":
            break
    assert world.state.run.error is not None
    assert "what all iterations leave behind would take" in world.state.run.error.detail
    assert len(orjson.dumps(world.status)) < 700_000


@given(st.lists(st.integers(0, 40), unique=True))
def test_indexes_read_back_as_they_were_written(indexes: list[int]) -> None:
    assert numbers(ranges(indexes)) == tuple(indexes)


def test_a_thousand_that_go_on_take_a_few_bytes() -> None:
    assert ranges(range(1000)) == "0-999"
    assert ranges([0, 2, 3, 4, 9]) == "0,2-4,9"
