"""`backstay lint` with several manifests: workflows that call each other are held against each other."""

import pytest

from backstay.cli.views.linting import Report, Source, lint


def workflow(name: str, spec: str) -> str:
    return f"apiVersion: backstay.dev/v1alpha1\nkind: Workflow\nmetadata: {{name: {name}}}\nspec: {spec}\n"


SHIP = workflow(
    "ship",
    "{parameters: [{name: order, schema: {type: string}}, {name: fast, default: false}], steps: [{name: a, set: {x: 1}}],"
    " outputs: [{name: parcel, value: p}], templates: [{name: box, parameters: [{name: sku}], steps: [{name: b, set: {x: 2}}]}]}",
)
LIBRARY = workflow("library", "{templates: [{name: box, steps: [{name: b, set: {w: 2}}]}]}")


def judged(*texts: str) -> Report:
    return lint([Source(f"{index}.yaml", text) for index, text in enumerate(texts)])


def called(action: str, more: str = "") -> list[str]:
    """What is said of a workflow with one step `h` that runs another."""
    text = workflow("order", f"{{parameters: [{{name: id}}], steps: [{{name: h, workflow: {action}}}{more}]}}")
    report = judged(text, SHIP, LIBRARY)
    return [str(found.problem) for found in report.findings if found.problem.severity == "error"]


def test_a_call_that_fits_is_left_alone() -> None:
    assert called('{name: ship, params: {order: "${params.id}"}}', ', {name: x, set: {p: "${steps.h.outputs.parcel}"}}') == []
    assert called("{name: ship, template: box, params: {sku: 5}}") == []
    assert called('{name: "${params.id}", params: {any: thing}}') == []
    assert called("{name: ship, version: 1, params: {any: thing}}") == []


@pytest.mark.parametrize(
    ("action", "more", "told"),
    [
        ("{name: ship}", "", 'steps[0].workflow.params: missing "order": add it; Workflow "ship" gives no default'),
        ("{name: ship, params: {order: 5}}", "", "steps[0].workflow.params.order: "),
        ("{name: ship, params: {order: a, fats: true}}", "", 'steps[0].workflow.params.fats: Workflow "ship" has no parameter "fats"'),
        (
            "{name: ship, template: bax}",
            "",
            'steps[0].workflow.template: Workflow "ship" has no template "bax"; there is: box; did you mean "box"?',
        ),
        ("{name: library}", "", 'steps[0].workflow: Workflow "library" has templates and no body; say in template which one to run'),
        (
            "{name: ship, params: {order: a}}",
            ', {name: x, set: {p: "${steps.h.outputs.parcels}"}}',
            'steps[1].set.p: steps.h.outputs.parcels: there is no output "parcels"; there is: parcel; did you mean "parcel"?',
        ),
        (
            "{name: ship, wait: false, params: {order: a}}",
            ', {name: x, set: {p: "${steps.h.outputs.parcel}"}}',
            'steps[1].set.p: steps.h.outputs.parcel: there is no output "parcel"; there is: run',
        ),
    ],
)
def test_a_call_that_does_not_fit_is_told(action: str, more: str, told: str) -> None:
    (found,) = called(action, more)
    assert found.startswith(told)


def test_the_calls_of_a_transaction_are_held_against_their_workflows_like_any_others() -> None:
    job = "{job: {image: i}}"
    phases = f"prepare: {{workflow: {{name: ship, template: bax}}}}, commit: {{workflow: {{name: ship}}}}, abort: {job}"
    text = workflow("order", f"{{steps: [{{name: t, transaction: {{participants: [{{name: p, {phases}}}]}}}}]}}")
    assert [str(found.problem).split(";")[0] for found in judged(text, SHIP).findings if found.problem.severity == "error"] == [
        'steps[0].transaction.participants[0].prepare.workflow.template: Workflow "ship" has no template "bax"',
        'steps[0].transaction.participants[0].commit.workflow.params: missing "order": add it',
    ]
    assert judged(text).unchecked == ["0.yaml:1: Workflow order: Workflow ship is not in these files"]


def test_a_workflow_that_is_not_in_the_files_is_noted() -> None:
    report = judged(workflow("order", "{steps: [{name: h, workflow: {name: elsewhere}}]}"))
    assert report.unchecked == ["0.yaml:1: Workflow order: Workflow elsewhere is not in these files"]
    assert report.findings == []


def test_workflows_that_call_each_other_without_a_condition_are_warned_of() -> None:
    ping = workflow("ping", "{steps: [{name: a, set: {x: 1}}, {name: block, steps: [{name: h, workflow: {name: pong}}]}]}")
    pong = workflow("pong", "{steps: [{name: h, workflow: {name: ping}}]}")
    warned = [found.problem for found in judged(ping, pong).findings if "calls itself" in found.problem.message]
    assert [(problem.severity, problem.path) for problem in warned] == [("warning", "steps[1].steps[0]"), ("warning", "steps[0]")]
    assert "ping → pong → ping" in warned[0].message
    conditional = pong.replace("{name: h,", '{name: h, if: "${ size(run.name) > 20 }",')
    assert not any("calls itself" in found.problem.message for found in judged(ping, conditional).findings)
