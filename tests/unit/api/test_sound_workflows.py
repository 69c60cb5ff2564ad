"""What is right is not complained about: references that can be there, steps that are reached, names as long as they may be."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.api.validate import check_parameters, check_workflow, parse_run, parse_workflow

EXAMPLES = Path(__file__).parents[3] / "examples"

SOUND = yaml.safe_load(
    """
a handler sees the error by its name, the step that failed, and what came before it:
  steps:
  - {name: first, job: {image: x}}
  - name: second
    job: {image: x}
    catch:
    - errors: [Declined]
      as: declined
      steps:
      - {name: tell, job: {image: x, args: ["${ declined.detail }", "${ steps.second.error.type }", "${ steps.first.outputs.a }"]}}
      - {name: again, job: {image: x, args: ["${ steps.tell.outputs.a }", "${ declined.attempt }"]}}
a compensation sees itself, the error, and steps that come later:
  steps:
  - {name: a, job: {image: x}, compensate: {job: {image: x, args: ["${ self.outputs.id }", "${ error.type }", "${ steps.b.outputs.c }"]}}}
  - name: b
    job: {image: x}
    compensate:
      steps: [{name: undo, job: {image: x, args: ["${ self.outputs.id }"]}}, {name: tell, job: {image: x, args: ["${ steps.undo.outputs.x }"]}}]
a step of a dag sees what it depends on, however far:
  dag:
    steps:
    - {name: d, dependsOn: [b, c], job: {image: x, args: ["${ steps.a.outputs.x }", "${ steps.b.outputs.x }"]}}
    - {name: a, job: {image: x}}
    - {name: b, dependsOn: [a], job: {image: x}}
    - {name: c, dependsOn: [a], steps: [{name: inner, job: {image: x, args: ["${ steps.a.outputs.x }"]}}]}
outputs of structures go by the names inside them:
  steps:
  - {name: block, steps: [{name: one, job: {image: x}}, {name: two, steps: [{name: three, job: {image: x}}]}]}
  - {name: par, parallel: {branches: [{name: left, steps: [{name: one, job: {image: x}}]}, {name: right, steps: [{name: one, job: {image: x}}]}]}}
  - name: sw
    switch:
      cases: [{when: "${ vars.x == 1 }", steps: [{name: one, set: {y: 1}}]}, {when: "${ vars.x == 2 }", steps: [{name: one, job: {image: x}}]}]
      default: [{name: other, job: {image: x}}]
  - name: use
    job:
      image: x
      args:
      - ${ steps.block.outputs.one.a + steps.block.outputs.two.three.b }
      - ${ steps.par.outputs.left.one.a + steps.par.outputs.right.one.a }
      - ${ steps.sw.outputs.one.a + steps.sw.outputs.other.b }
      - ${ steps.block.phase + string(steps.block.attempt) }
  - {name: keep, set: {x: 1}}
names with dashes stand in brackets:
  steps:
  - {name: card-check, job: {image: x}}
  - {name: b, if: '${ steps["card-check"].outputs.ok == true }', job: {image: x}}
what is asked for with has or as an optional value need not be there at run time:
  parameters: [{name: note}]
  steps:
  - {name: a, if: "${ params.note != '' }", job: {image: x}}
  - {name: b, job: {image: x, args: ["${ steps.a.?outputs.?x.orValue('') }", "${ has(steps.a.outputs.x) ? 'yes' : 'no' }"]}}
inner names hide outer ones:
  steps:
  - {name: a, job: {image: x}}
  - {name: b, steps: [{name: a, job: {image: x}}, {name: c, job: {image: x, args: ["${ steps.a.outputs.x }"]}}]}
a variable may be set anywhere and seen anywhere:
  steps:
  - {name: a, job: {image: x}, catch: [{steps: [{name: b, set: {failed: true}}]}]}
  - {name: c, if: "${ vars.?failed.orValue(false) }", job: {image: x}}
a fail that may be passed is followed by steps:
  parameters: [{name: amount, schema: {type: number}}]
  steps:
  - {name: stop, if: "${ params.amount > 10 }", fail: {error: TooMuch}}
  - {name: caught, steps: [{name: always, fail: {error: Oops}}], catch: [{errors: [Oops], steps: [{name: note, set: {oops: true}}]}]}
  - {name: any, parallel: {join: Any, branches: [{name: l, steps: [{name: x, fail: {error: A}}]}, {name: r, steps: [{name: x, job: {image: x}}]}]}}
  - {name: end, job: {image: x}}
a dag sets a variable in one step after the other:
  dag: {steps: [{name: a, set: {x: 1}}, {name: b, dependsOn: [a], set: {x: 2}}]}
the workflow's own handler and its outputs see every step of the body:
  steps: [{name: a, job: {image: x}}]
  catch: [{errors: ["*"], as: problem, steps: [{name: tell, job: {image: x, args: ["${ problem.step }", "${ steps.a.phase }"]}}]}]
  outputs: [{name: x, value: {deep: ["${ steps.a.outputs.x }", "${ run.name + run.namespace + run.uid + run.startedAt }"]}}]
loops bind names of their own:
  parameters: [{name: lines}]
  steps: [{name: a, job: {image: x, args: ["${ params.lines.map(line, line.sku + ':' + string(line.count)) }"]}}]
business errors of containers need not be known:
  steps: [{name: a, job: {image: x}, catch: [{errors: [CardDeclined, OutOfStock], steps: [{name: b, job: {image: x}}]}]}]
a handler for a class may follow one for a type of it:
  steps: [{name: a, job: {image: x}, catch: [{errors: [OOMKilled], steps: [{name: b, job: {image: x}}]}, {errors: [Transient], steps: [{name: c, job: {image: x}}]}]}]
a literal dollar and brace is no expression:
  steps: [{name: a, job: {image: x, args: ["$${ not.cel", "$HOME", "{}"]}}]
"""
)  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_workflow_has_no_problems(name: str) -> None:
    assert check_workflow(parse_workflow(SOUND[name])) == []


def test_names_of_63_characters_and_thirty_lists_inside_each_other_are_allowed() -> None:
    step: dict[str, Any] = {"name": "n" * 63, "job": {"image": "x"}}
    for _ in range(29):
        step = {"name": "n" * 63, "parallel": {"branches": [{"name": "b" * 63, "steps": [step]}]}}
    assert check_workflow(parse_workflow({"steps": [step]})) == []


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_every_example_is_sound(path: Path) -> None:
    for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if manifest.get("kind") == "Workflow":
            assert check_workflow(parse_workflow(manifest["spec"])) == []
        elif manifest.get("kind") == "WorkflowRun":
            parse_run(manifest["spec"])


def test_the_runs_of_the_order_example_give_what_its_workflow_asks_for() -> None:
    workflow = parse_workflow(yaml.safe_load((EXAMPLES / "order" / "workflow.yaml").read_text(encoding="utf-8"))["spec"])
    for path in sorted((EXAMPLES / "order" / "runs").glob("*.yaml")):
        run = parse_run(yaml.safe_load(path.read_text(encoding="utf-8"))["spec"])
        resolved, problems = check_parameters(workflow, run.parameters)
        assert problems == []
        assert resolved["country"]
