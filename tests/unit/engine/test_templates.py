"""Templates: lists of steps with parameters of their own, used in place."""

import pytest
import yaml

from backstay.api.validate import check_workflow, parse_workflow
from backstay.errors import InvalidDefinition
from backstay.runtime.programs import build
from tests.support.world import World

PACKING = """
parameters: [{name: order, default: a-17}]
templates:
- name: pack-box
  parameters: [{name: sku, schema: {type: string}}, {name: count, default: 1}]
  steps:
  - {name: fetch, job: {image: i, args: ["${params.sku}", "${params.count}"]}, compensate: {job: {image: i, args: ["back", "${params.sku}"]}}}
  - {name: weigh, job: {image: i, args: ["${steps.fetch.outputs.box}"]}}
  outputs: [{name: label, value: "${params.sku}-${steps.weigh.outputs.grams}"}]
steps:
- {name: lamp, template: {name: pack-box, params: {sku: lamp}}}
- {name: mug, template: {name: pack-box, params: {sku: "mug of ${params.order}", count: 2}}}
- {name: send, job: {image: i, args: ["${steps.lamp.outputs.label}", "${steps.mug.outputs.label}"]}}
"""


def test_each_use_of_a_template_has_parameters_and_outputs_of_its_own() -> None:
    world = World(PACKING)
    assert world.running == ["lamp/fetch"]
    assert world.made[-1].inputs["args"] == ["lamp", "1"]
    world.succeed("lamp/fetch", {"box": 3})
    assert world.made[-1].inputs["args"] == ["3"]
    world.succeed("lamp/weigh", {"grams": 900})
    assert world.made[-1].inputs["args"] == ["mug of a-17", "2"]
    world.succeed("mug/fetch", {"box": 4}).succeed("mug/weigh", {"grams": 250})
    assert (world.running, world.made[-1].inputs["args"]) == (["send"], ["lamp-900", "mug of a-17-250"])


def test_the_steps_of_a_template_are_undone_with_the_parameters_that_they_had() -> None:
    world = World(PACKING).succeed("lamp/fetch", {"box": 3}).succeed("lamp/weigh", {"grams": 9}).succeed("mug/fetch", {"box": 4})
    world.fail("mug/weigh")
    assert (world.phase, world.made[-1].inputs["args"]) == ("Compensating", ["back", "mug of a-17"])
    world.succeed("mug/fetch:compensate")
    assert world.made[-1].inputs["args"] == ["back", "lamp"]


def test_what_a_template_takes_and_leaves_stands_in_the_status_and_is_limited() -> None:
    sku = "9" * 3_000
    large = PACKING.replace("sku: lamp", f"sku: '{sku}'").replace("${params.sku}-${steps", "${params.sku}" * 6 + "-${steps")
    world = World(large).succeed("lamp/fetch", {"box": 3}).succeed("lamp/weigh", {"grams": 9})
    assert (world.step("lamp").phase, world.step("lamp/weigh").phase) == ("Failed", "Succeeded")
    error = world.step("lamp").error
    assert error is not None
    assert (error.type, error.title) == ("LimitExceeded", "Too much data for a template")
    assert error.detail == "the template's outputs take 18,014 bytes of at most 16,384; hand large data over by reference"
    error = World(PACKING.replace("sku: lamp", f"sku: '{sku * 6}'")).step("lamp").error
    assert error is not None
    assert error.detail == "the template's parameters take 18,020 bytes of at most 16,384; hand large data over by reference"


def test_a_template_uses_another_and_sees_nothing_of_what_is_around_it() -> None:
    text = """
templates:
- {name: inner, parameters: [{name: n}], steps: [{name: s, set: {seen: "${params.n}"}}], outputs: [{name: n, value: "${params.n + 1}"}]}
- name: outer
  parameters: [{name: n}]
  steps: [{name: a, template: {name: inner, params: {n: "${params.n * 10}"}}}]
  outputs: [{name: n, value: "${steps.a.outputs.n}"}]
steps:
- name: each
  forEach:
    in: [1, 2]
    steps: [{name: t, template: {name: outer, params: {n: "${item}"}}}]
    collect: ${ steps.t.outputs.n }
outputs: [{name: all, value: "${steps.each.outputs.items}"}]
"""
    world = World(text)
    assert (world.phase, world.status["outputs"]) == ("Succeeded", {"all": [11, 21]})


def test_parameters_that_do_not_fit_fail_the_step() -> None:
    text = PACKING.replace("{sku: lamp}", '{sku: "${1 + 1}"}')
    world = World(text)
    assert (world.phase, world.status["error"]["type"], world.status["error"]["step"]) == ("Failed", "InvalidParameters", "lamp")


def problems(text: str) -> list[str]:
    return [str(problem) for problem in check_workflow(parse_workflow(yaml.safe_load(text))) if problem.severity == "error"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "name: pack-box, params: {sku: lamp}",
            "name: pack-bax, params: {sku: lamp}",
            ['steps[0].template.name: there is no template "pack-bax"'],
        ),
        ("params: {sku: lamp}", "params: {}", ['steps[0].template.params: missing "sku": add it; the template gives no default']),
        ("params: {sku: lamp}", "params: {sku: lamp, size: 5}", ['steps[0].template.params.size: the template has no parameter "size"']),
        ("params: {sku: lamp}", "params: {sku: 5}", ["steps[0].template.params.sku: "]),
        ("${params.sku}-", "${params.order}-", ["templates[0].outputs[0].value: params.order"]),
        ('args: ["${steps.fetch.outputs.box}"]', 'args: ["${steps.send.outputs.box}"]', ["templates[0].steps[1].job.args[0]: steps.send"]),
    ],
)
def test_what_is_wrong_with_a_template_or_its_use_is_told_beforehand(old: str, new: str, told: list[str]) -> None:
    assert old in PACKING
    found = problems(PACKING.replace(old, new, 1))
    assert len(found) == len(told), found
    assert all(said.startswith(words) for said, words in zip(found, told, strict=True)), found


def test_templates_that_use_each_other_in_a_circle_are_refused() -> None:
    text = """
templates:
- {name: a, steps: [{name: x, template: {name: b}}]}
- {name: b, steps: [{name: x, template: {name: a}}]}
steps: [{name: x, template: {name: a}}]
"""
    (found,) = problems(text)
    assert found.startswith("templates: the templates use each other in a circle: ")


def test_templates_that_grow_beyond_all_measure_are_refused_quickly() -> None:
    levels = [
        f"{{name: t{n}, steps: [{', '.join(f'{{name: s{i}, template: {{name: t{n - 1}}}}}' for i in range(10))}]}}" for n in range(1, 9)
    ]
    text = (
        f"templates: [{{name: t0, steps: [{{name: s, set: {{x: 1}}}}]}}, {', '.join(levels)}]\nsteps: [{{name: x, template: {{name: t8}}}}]"
    )
    assert any("steps and may have" in found for found in problems(text))


def test_a_workflow_of_templates_alone_is_a_library_of_which_one_is_run() -> None:
    library = yaml.safe_load(PACKING)
    del library["steps"], library["parameters"]
    assert problems(yaml.safe_dump(library)) == []
    program = build(library, "pack-box")
    assert (program.top_level, program.undoable) == (("fetch", "weigh"), True)
    assert [parameter.name for parameter in program.spec.parameters] == ["sku", "count"]
    with pytest.raises(InvalidDefinition, match="has templates and no body"):
        build(library)
    with pytest.raises(InvalidDefinition, match='there is no template "pack"; there is: pack-box'):
        build(library, "pack")
