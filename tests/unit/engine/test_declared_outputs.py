"""What a step says that it produces is held against what it produced."""

import pytest

from tests.support.world import World

WORKFLOW = """
steps:
- name: reserve
  job: {image: stock}
  outputs: {type: object, required: [reservation], properties: {reservation: {type: string}, lines: {type: integer}}}
- {name: pack, job: {image: pack, args: ["${ steps.reserve.outputs.reservation }"]}}
"""


def test_outputs_as_they_are_declared_are_handed_on() -> None:
    world = World(WORKFLOW).succeed("reserve", {"reservation": "r-9", "lines": 2, "more": True})
    assert (world.running, world.made[-1].inputs["args"]) == (["pack"], ["r-9"])


@pytest.mark.parametrize(
    ("outputs", "detail"),
    [
        ({"reservation": 9}, 'outputs.reservation: 9 is not of type "string"'),
        ({"reservation": "r-9", "lines": "two"}, 'outputs.lines: "two" is not of type "integer"'),
        ({"lines": 2}, 'outputs: "reservation" is missing; add it'),
        (None, 'outputs: "reservation" is missing; add it'),
    ],
)
def test_outputs_that_are_not_as_declared_fail_the_step_with_the_place_and_the_mend(outputs: object, detail: str) -> None:
    world = World(WORKFLOW).succeed("reserve", outputs)
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "InvalidOutput")
    assert world.status["error"]["detail"] == f"{detail}; mend the program, or the step's outputs"


def test_outputs_that_are_not_as_declared_can_be_caught() -> None:
    world = World(
        WORKFLOW.replace("- {name: pack", "  catch: [{errors: [InvalidOutput], steps: [{name: note, set: {bad: true}}]}]\n- {name: pack")
    )
    world.succeed("reserve", {"reservation": 9})
    assert (world.status["vars"], world.phases()["reserve"]) == ({"bad": True}, "Caught")


def test_an_error_of_the_business_is_no_matter_of_the_declared_outputs() -> None:
    world = World(WORKFLOW).succeed("reserve", {"error": {"type": "OutOfStock", "message": "none left"}})
    assert world.status["error"]["type"] == "OutOfStock"


def test_what_was_done_before_it_could_be_stopped_counts_even_where_it_is_not_as_declared() -> None:
    world = World(WORKFLOW.replace("job: {image: stock}", "job: {image: stock}\n  compensate: {job: {image: release}}"))
    world.stops_at_once = False
    world.wants(cancel=True)
    world.succeed("reserve", {"lines": 2})
    assert world.phases()["reserve"] in ("Succeeded", "Compensated")
    assert world.made[-1].inputs["image"] == "release"
