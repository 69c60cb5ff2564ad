"""What is wrong with undo, pivot and compensate: path, finding, mend."""

from typing import Any

import pytest
import yaml

from backstay.api.validate import check_workflow, parse_run, parse_workflow
from backstay.errors import InvalidDefinition

JOB = "job: {image: i}"
A = f"{{name: a, {JOB}, compensate: {{{JOB}}}}}"


def back(what: str) -> str:
    return f"{{name: back, undo: {what}}}"


def problems(text: str) -> list[str]:
    spec: dict[str, Any] = yaml.safe_load(text)
    try:
        return [str(problem) for problem in check_workflow(parse_workflow(spec))]
    except InvalidDefinition as error:
        return [str(problem) for problem in error.problems]


FAULTY: dict[str, tuple[str, str]] = {
    "a savepoint that is not there": (
        f"steps: [{A}, {back('{to: b}')}]",
        'steps[1].undo.to: there is no step "b" in this list or those around it; there is: a',
    ),
    "a savepoint that comes later": (
        f"steps: [{back('{to: a}')}, {A}]",
        'steps[0].undo.to: "a" comes later; an undo goes back to a step before it',
    ),
    "itself": (f"steps: [{A}, {back('{within: back}')}]", 'steps[1].undo.within: "back" names itself; name a step before it'),
    "a savepoint around it": (
        f"steps: [{{name: b, steps: [{A}, {back('{to: b}')}]}}]",
        'steps[0].steps[1].undo.to: "b" is around this step and has not ended; write within: b',
    ),
    "two aims": (
        f"steps: [{A}, {back('{to: a, within: a}')}]",
        "steps[1].undo: give to (back to a savepoint) or within (one step and what is inside it), not both",
    ),
    "beyond a branch": (
        f"steps: [{A}, {{name: p, parallel: {{branches: [{{name: x, steps: [{back('{to: a}')}]}}, {{name: y, steps: [{{name: z, {JOB}}}]}}]}}}}]",
        'steps[1].parallel.branches[0].steps[0].undo.to: "a" is outside of the branch that this step is in, and others may rely on it; '
        "put the undo after the parallel, or into its catch",
    ),
    "beyond an iteration": (
        f"steps: [{A}, {{name: f, forEach: {{count: 2, steps: [{back('{within: a}')}]}}}}]",
        'steps[1].forEach.steps[0].undo.within: "a" is outside of the iteration that this step is in, and others may rely on it; '
        "put the undo after the forEach, or into its catch",
    ),
    "beyond a step of a dag": (
        f"dag: {{steps: [{A}, {{name: b, dependsOn: [a], steps: [{back('{to: a}')}]}}]}}",
        'dag.steps[1].steps[0].undo.to: "a" is outside of the step that this step is in, and others may rely on it; '
        "put the undo after the dag, or into its catch",
    ),
    "a step of a dag": (
        f"dag: {{steps: [{A}, {back('{}')}]}}",
        "dag.steps[1].undo: an undo cannot be a step of a dag, whose steps have no order; put it into a catch of the dag, or into a block",
    ),
    "in a compensation": (
        f"steps: [{{name: a, {JOB}, compensate: {{steps: [{back('{}')}]}}}}]",
        "steps[0].compensate.steps[0].undo: an undo cannot be part of a compensation: the run's own undoing comes to every step; remove it",
    ),
    "nothing to undo": (
        f"steps: [{{name: a, {JOB}}}, {back('{}')}]",
        "steps[1].undo: there is nothing that it could undo: no step says how (compensate); give the steps before it one",
    ),
    "an undo that is to be undone": (
        f"steps: [{A}, {{name: back, undo: {{}}, compensate: {{{JOB}}}}}]",
        "steps[1].compensate: undo does nothing that could be undone; remove compensate",
    ),
    "compensate after the pivot": (
        f"steps: [{{name: send, {JOB}, pivot: true}}, {A}]",
        'steps[1].compensate: is never used: "a" comes after the pivot "send", and nothing is undone after that; remove it',
    ),
    "compensate deep after a pivot in a block": (
        f"steps: [{{name: b, steps: [{{name: send, {JOB}, pivot: true}}]}}, {{name: c, steps: [{A}]}}]",
        'steps[1].steps[0].compensate: is never used: "a" comes after the pivot "b", and nothing is undone after that; remove it',
    ),
    "an undo after the pivot": (
        f"steps: [{A}, {{name: send, {JOB}, pivot: true}}, {back('{}')}]",
        'steps[2].undo: undoes nothing: it comes after the pivot "send", and nothing is undone after that; remove it',
    ),
    "a pivot that does nothing": (
        f"steps: [{A}, {{name: x, if: '${{ true }}', fail: {{error: X}}, pivot: true}}]",
        "steps[1].pivot: fail does nothing that there could be no way back from; put pivot on the step that does",
    ),
    "a pivot in a compensation": (
        f"steps: [{{name: a, {JOB}, compensate: {{steps: [{{name: x, {JOB}, pivot: true}}]}}}}]",
        "steps[0].compensate.steps[0].pivot: a compensation cannot be past a pivot, after which nothing is undone any more; remove it",
    ),
    "outputs of an undo": (
        f"steps: [{A}, {back('{}')}, {{name: s, set: {{x: '${{ steps.back.outputs.y }}'}}}}]",
        "steps[2].set.x: steps.back.outputs: undo has no outputs",
    ),
}


@pytest.mark.parametrize(("text", "problem"), FAULTY.values(), ids=FAULTY)
def test_a_faulty_saga_is_answered_with_path_and_mend(text: str, problem: str) -> None:
    assert any(found.startswith(problem) for found in problems(text)), problems(text)


SOUND = {
    "an undo in a handler of the step it goes back before": f"steps: [{A}, {{name: b, {JOB}, catch: [{{steps: [{back('{to: a}')}]}}]}}]",
    "an undo of the block that failed": f"steps: [{{name: b, steps: [{A}], catch: [{{steps: [{back('{within: b}')}]}}]}}]",
    "back in a circle": f"steps: [{A}, {back('{to: a}')}, {{name: again, if: '${{ run.name == \"x\" }}', goto: {{step: a, maxVisits: 2}}}}]",
    "in a branch": f"steps: [{{name: p, parallel: {{branches: [{{name: x, steps: [{A}, {back('{to: a}')}]}}, {{name: y, steps: [{A}]}}]}}}}]",
    "a conditional pivot": f"steps: [{{name: send, if: '${{ run.name == \"x\" }}', {JOB}, pivot: true}}, {A}]",
    "a pivot that is jumped over": (
        f"steps: [{{name: jump, if: '${{ run.name == \"x\" }}', goto: {{step: a}}}}, {{name: send, {JOB}, pivot: true}}, {A}]"
    ),
    "the workflow's own catch": f"steps: [{A}]\ncatch: [{{steps: [{back('{to: a}')}]}}]",
}


@pytest.mark.parametrize("text", SOUND.values(), ids=SOUND)
def test_a_sound_saga_has_nothing_to_be_said_of(text: str) -> None:
    assert problems(text) == []


def test_compensate_goes_with_cancel_alone() -> None:
    request = {"id": "r", "step": "a", "action": "Complete", "compensate": True}
    with pytest.raises(InvalidDefinition, match="compensate goes with Cancel: to undo a whole run"):
        parse_run({"workflow": {"name": "w"}, "requests": [request]})
