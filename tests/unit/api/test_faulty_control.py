"""What is wrong with where goto and cancel lead, with races, cases, and what a step of a dag depends on: path, finding, mend."""

from typing import Any

import pytest
import yaml

from backstay.api.validate import check_workflow, parse_workflow
from backstay.errors import InvalidDefinition

JOB = "job: {image: i}"


def problems(text: str) -> list[str]:
    spec: dict[str, Any] = yaml.safe_load(text)
    try:
        return [str(problem) for problem in check_workflow(parse_workflow(spec))]
    except InvalidDefinition as error:
        return [str(problem) for problem in error.problems]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            f"steps: [{{name: draft, {JOB}}}, {{name: g, if: '${{ true }}', goto: {{step: draf}}}}]",
            'steps[1].goto.step: there is no step "draf" in this list or those around it; there is: draft; did you mean "draft"?',
        ),
        (
            f"steps: [{{name: a, {JOB}}}, {{name: g, if: '${{ true }}', goto: {{step: g}}}}]",
            'steps[1].goto.step: "g" leads to itself; name the step to go on at',
        ),
        (
            f"dag: {{steps: [{{name: a, {JOB}}}, {{name: g, goto: {{step: a}}}}]}}",
            "dag.steps[1].goto.step: a goto cannot be a step of a dag, whose steps have no order; "
            "put it into a block with the step that it leads to",
        ),
        (
            f"steps: [{{name: a, {JOB}}}, {{name: d, dag: {{steps: [{{name: x, steps: [{{name: y, {JOB}}}, "
            "{name: g, if: '${ true }', goto: {step: a}}]}]}}]",
            'steps[1].dag.steps[0].steps[1].goto.step: "a" is beyond the edge of a dag, which no goto crosses; there is: y',
        ),
        (
            f"steps: [{{name: a, {JOB}, compensate: {{steps: [{{name: u, {JOB}}}, {{name: g, if: '${{ true }}', goto: {{step: a}}}}]}}}}]",
            'steps[0].compensate.steps[1].goto.step: "a" is beyond the edge of a compensation, or of the workflow\'s catch, '
            "which no goto crosses; there is: u",
        ),
        (
            f"steps: [{{name: a, {JOB}}}]\ncatch: [{{steps: [{{name: u, {JOB}}}, {{name: g, if: '${{ true }}', goto: {{step: a}}}}]}}]",
            'catch[0].steps[1].goto.step: "a" is beyond the edge of a compensation, or of the workflow\'s catch, '
            "which no goto crosses; there is: u",
        ),
        (
            f"steps: [{{name: b, steps: [{{name: inside, {JOB}}}]}}, {{name: g, if: '${{ true }}', goto: {{step: inside}}}}]",
            'steps[1].goto.step: there is no step "inside" in this list or those around it; there is: b',
        ),
        (
            f"steps: [{{name: a, {JOB}}}, {{name: c, cancel: {{step: b}}}}]",
            'steps[1].cancel.step: there is no step "b" in this list or those around it; there are: a, c',
        ),
        (
            "steps: [{name: c, cancel: {step: c}}]",
            'steps[0].cancel.step: "c" would cancel itself; name a step that goes on at the same time',
        ),
        (
            f"steps: [{{name: a, {JOB}}}, {{name: c, cancel: {{step: a}}}}]",
            'steps[1].cancel.step: "a" never goes on when this step begins, as the steps of a list run one after the other; '
            "put both into branches of a parallel, or into a dag",
        ),
        (
            f"dag: {{steps: [{{name: p, parallel: {{branches: [{{name: x, steps: [{{name: s, {JOB}}}]}}]}}}}, {{name: c, cancel: {{step: p/x}}}}]}}",
            'dag.steps[1].cancel.step: "x" is a part of "p" and no step; put its steps into a block, and name that',
        ),
        (
            f"dag: {{steps: [{{name: p, parallel: {{branches: [{{name: x, steps: [{{name: s, {JOB}}}]}}]}}}}, {{name: c, cancel: {{step: p/y/s}}}}]}}",
            'dag.steps[1].cancel.step: there is no "y" in "p"; there is: x',
        ),
        (
            f"dag: {{steps: [{{name: p, steps: [{{name: s, {JOB}}}]}}, {{name: c, cancel: {{step: p/t}}}}]}}",
            'dag.steps[1].cancel.step: there is no step "t" there; there is: s',
        ),
        (
            "steps: [{name: r, race: [{wait: {duration: 1h}}]}]",
            "steps[0].race: a race needs two branches at least; write a single event as a step of its own",
        ),
        (
            "steps: [{name: r, race: [{wait: {duration: 1h}}, {name: '0', wait: {duration: 2h}}]}]",
            'steps[0].race: two are called "0" (a branch without a name is called by its position); give each branch a name of its own',
        ),
        (
            "steps: [{name: r, race: [{wait: {duration: 1h}}, {steps: [{name: x, set: {a: 1}}]}]}]",
            "steps[0].race[1]: has no action; give exactly one of wait",
        ),
        (
            "steps: [{name: s, switch: {cases: [{name: default, when: '${ 1 > 2 }', steps: [{name: x, set: {a: 1}}]}]}}]",
            'steps[0].switch: two are called "default" (a case without a name is called by its position); give each case a name of its own',
        ),
        (
            f"dag: {{steps: [{{name: a, {JOB}}}, {{name: b, dependsOn: [{{step: a, on: Failed}}], {JOB}}}]}}",
            "dag.steps[1].dependsOn[0]: the field name true is read as true or false and must be text; write on, yes or true in quotes",
        ),
        (
            f"dag: {{steps: [{{name: a, {JOB}}}, {{name: b, dependsOn: [{{step: a, outcome: Fail}}], {JOB}}}]}}",
            'dag.steps[1].dependsOn[0].outcome: "Fail" is unknown; there are: Done, Failed, Skipped, Succeeded; did you mean "Failed"?',
        ),
        (
            f"dag: {{steps: [{{name: a, {JOB}}}, {{name: b, dependsOn: [B!], {JOB}}}]}}",
            'dag.steps[1].dependsOn[0]: "B!" is no name; write lower-case letters, digits and dashes, as in card-check',
        ),
        (
            "steps: [{name: w, wait: {duration: 1h, condition: '${ true }'}}]",
            "steps[0].wait: give exactly one of duration, until and condition",
        ),
        (
            f"steps: [{{name: a, {JOB}}}, {{name: g, if: '${{ true }}', goto: {{step: a, maxVisits: 5000}}}}]",
            "steps[1].goto.maxVisits: is 5000 and must be at most 1000",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_mend(text: str, problem: str) -> None:
    assert problem in problems(text)


@pytest.mark.parametrize(
    "text",
    [
        f"steps: [{{name: a, {JOB}, catch: [{{steps: [{{name: back, goto: {{step: a}}}}]}}]}}]",
        f"steps: [{{name: l, forEach: {{in: [1], steps: [{{name: out, goto: {{step: b}}}}]}}}}, {{name: b, {JOB}}}]",
        f"dag: {{steps: [{{name: p, steps: [{{name: s, {JOB}}}]}}, {{name: c, cancel: {{step: p/s}}}}]}}",
        f"steps: [{{name: b, steps: [{{name: s, {JOB}}}, {{name: out, if: '${{ has(steps.s.outputs.x) }}', cancel: {{step: b}}}}]}}]",
        f"steps: [{{name: p, parallel: {{join: 1, cancelRest: false, branches: [{{name: x, steps: [{{name: s, {JOB}}}]}}, {{name: y, steps: "
        f"[{{name: s, {JOB}}}]}}]}}}}, {{name: c, cancel: {{step: p}}}}]",
        "parameters: [{name: until}]\nsteps: [{name: r, race: [{wait: {duration: 1h}}, {wait: {until: '${ params.until }'}}]}]",
    ],
)
def test_what_may_be_written_is_let_pass(text: str) -> None:
    assert problems(text) == []
