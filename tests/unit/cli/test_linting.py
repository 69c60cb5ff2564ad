"""`backstay lint`: the operator's own words, with file and line; every example is without fault."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.cli.views.linting import Report, Source, lint
from backstay.handlers.workflows import judge

ROOT = Path(__file__).parents[3]
GOOD = """apiVersion: backstay.dev/v1alpha1
kind: Workflow
metadata: {name: order}
spec:
  parameters:
  - {name: amount, schema: {type: number, minimum: 0}}
  steps:
  - name: charge
    job: {image: pay, args: ["${ params.amount }"]}
"""

RUN = """apiVersion: backstay.dev/v1alpha1
kind: WorkflowRun
metadata: {name: order-1}
spec:
  workflow: {name: order}
  parameters:
    amount: -3
"""


def found(*texts: str, named: bool = True) -> Report:
    return lint([Source(f"file{number}.yaml", text, named) for number, text in enumerate(texts, 1)])


def lines(report: Report) -> list[str]:
    return [str(finding) for finding in report.findings]


def test_a_good_workflow_has_no_findings() -> None:
    report = found(GOOD)
    assert (lines(report), report.objects, report.errors) == ([], 1, 0)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (("image: pay", "imag: pay"), 'file1.yaml:9: steps[0].job: unknown field "imag"'),
        (("params.amount", "params.amuont"), "file1.yaml:9: steps[0].job.args[0]:"),
        (("type: number", "type: numbr"), "file1.yaml:6: parameters[0].schema"),
        (("kind: Workflow", "kind: Workflw"), 'file1.yaml:2: kind: "Workflw" is unknown'),
        (("v1alpha1", "v2"), 'file1.yaml:1: apiVersion: "backstay.dev/v2" is unknown; write backstay.dev/v1alpha1'),
        (("spec:", "sepc:"), 'file1.yaml:4: sepc: unknown field "sepc"; did you mean "spec"?'),
        (("metadata: {name: order}", "metadata: {}"), 'file1.yaml:3: metadata: missing field "name": add it'),
        (("name: order}", "name: Order!}"), 'file1.yaml:3: metadata.name: "Order!" is no name'),
        (("kind: Workflow\n", ""), 'file1.yaml:1: missing field "kind": add it'),
        (("name: charge\n", "name: y\n"), "file1.yaml:8: steps[0].name: expected text, found true"),
        (("    job:", "    name: again\n    job:"), 'file1.yaml:9: the field "name" stands here and in line 8; keep one of them'),
        (("  steps:", "\tsteps:"), "file1.yaml:7: it is no YAML"),
    ],
)
def test_a_mistake_is_told_in_its_line(change: tuple[str, str], finding: str) -> None:
    report = found(GOOD.replace(*change, 1))
    assert any(text.startswith(finding) for text in lines(report)), lines(report)
    assert report.errors


def test_the_words_are_those_of_the_operator() -> None:
    spec: dict[str, Any] = {"steps": [{"name": "a", "job": {"image": "${ params.x"}, "catch": [{"errors": ["Timout"], "steps": []}]}]}
    text = f"apiVersion: backstay.dev/v1alpha1\nkind: Workflow\nmetadata: {{name: a}}\nspec: {spec!r}\n"
    assert [str(finding.problem) for finding in found(text).findings] == [str(problem) for problem in judge(spec)]


def test_a_run_is_held_against_its_workflow_in_another_file() -> None:
    report = found(RUN, GOOD)
    assert lines(report) == ["file1.yaml:7: parameters.amount: -3 is less than the minimum of 0"]


def test_a_run_in_another_namespace_than_the_workflow_is_not() -> None:
    report = found(
        RUN.replace("{name: order-1}", "{name: order-1, namespace: a}"), GOOD.replace("{name: order}", "{name: order, namespace: b}")
    )
    assert (lines(report), len(report.unchecked)) == ([], 1)


def test_a_run_without_its_workflow_is_noted() -> None:
    report = found(RUN)
    assert (lines(report), report.unchecked) == ([], ["file1.yaml:1: WorkflowRun order-1: Workflow order is not in these files"])


def test_an_inline_definition_is_judged_like_a_workflow() -> None:
    text = """apiVersion: backstay.dev/v1alpha1
kind: WorkflowRun
metadata: {generateName: x-}
spec:
  workflow:
    inline:
      parameters: [{name: p, schema: {type: string}}]
      steps:
      - {name: a, dependsOn: [b], set: {x: "${ steps.c }"}}
  parameters: {q: 1}
"""
    report = found(text)
    assert {finding.line for finding in report.findings} == {9}
    assert all(finding.problem.path.startswith("workflow.inline.steps[0]") for finding in report.findings)


def test_the_items_of_a_list_are_judged_each_in_its_place() -> None:
    text = """apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
- apiVersion: backstay.dev/v1alpha1
  kind: Workflow
  metadata: {name: a}
  spec: {steps: [{name: a, jop: {}}]}
"""
    report = found(text)
    assert [finding.line for finding in report.findings] == [9] * len(report.findings) and report.findings
    assert report.skipped == {"ConfigMap": 1}


def test_other_kinds_and_other_groups_are_skipped() -> None:
    report = found("apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {nonsense: true}\n")
    assert (report.errors, report.objects, report.skipped) == (0, 0, {"Workflow": 1})


def test_yaml_that_is_no_manifest_is_an_error_where_it_was_named_and_skipped_in_a_folder() -> None:
    assert found("a: 1\n").errors == 1
    assert found("a: 1\n", named=False).errors == 0
    assert found("- a\n", named=False).errors == 0
    assert found("kind: Workflow\n", named=False).errors == 1


def test_findings_stand_in_the_order_of_files_and_lines() -> None:
    bad = GOOD.replace("image: pay", "imag: pay")
    report = found(bad, bad + "---\n" + bad)
    places = [(finding.file, finding.line) for finding in report.findings]
    assert places == sorted(places) and {line for _, line in places} >= {9, 19}


def test_every_example_is_without_fault() -> None:
    files = sorted((ROOT / "examples").rglob("*.yaml"))
    assert len(files) > 10
    report = lint([Source(str(path), path.read_text(), named=False) for path in files])
    assert (lines(report), report.unchecked) == ([], [])


def test_a_semaphore_is_judged_as_well() -> None:
    text = "apiVersion: backstay.dev/v1alpha1\nkind: Semaphore\nmetadata: {name: bank}\nspec:\n  limit: LIMIT\n"
    assert [str(found) for found in lint([Source("a.yaml", text.replace("LIMIT", "3"))]).findings] == []
    (found,) = lint([Source("a.yaml", text.replace("LIMIT", "-1"))]).findings
    assert (found.line, found.subject) == (5, "Semaphore bank")


def test_a_circuit_breaker_is_judged_as_well() -> None:
    text = "apiVersion: backstay.dev/v1alpha1\nkind: CircuitBreaker\nmetadata: {name: bank}\nspec:\n  openFor: LENGTH\n"
    assert [str(found) for found in lint([Source("a.yaml", text.replace("LENGTH", "30s"))]).findings] == []
    (found,) = lint([Source("a.yaml", text.replace("LENGTH", "0s"))]).findings
    assert (found.line, found.subject) == (5, "CircuitBreaker bank")


FAULTY: list[dict[str, Any]] = yaml.safe_load((ROOT / "tests/unit/api/faulty_workflows.yaml").read_text(encoding="utf-8"))


def test_every_faulty_workflow_is_told_in_the_words_of_valid_with_the_line_that_holds_the_fault() -> None:
    for row in FAULTY:
        if "YAML" in row["name"]:
            continue  # what YAML makes of it is told by whoever reads YAML
        manifest = {"apiVersion": "backstay.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": "faulty"}, "spec": row["spec"]}
        text = json.dumps(manifest, indent=1)
        lines = text.splitlines()
        report = found(text)
        assert sorted(str(finding.problem) for finding in report.findings) == sorted(map(str, judge(row["spec"]))), row["name"]
        for finding in report.findings:
            name = re.split(r"[.\[]", finding.problem.path)[-1]
            if name.isidentifier() and f'"{name}":' in text:
                assert f'"{name}":' in lines[finding.line - 1], (row["name"], finding.line)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("steps[0].forEach.steps[0].job.args[0]", 9),
        ("steps[0].forEach.completeWhen", 6),
        ("steps[1].race[1]", 12),
    ],
)
def test_a_fault_inside_a_structure_stands_in_its_line(path: str, line: int) -> None:
    text = """apiVersion: backstay.dev/v1alpha1
kind: Workflow
metadata: {name: order}
spec:
  steps: [{name: each, forEach: {count: 3,
    completeWhen: "${ done >= 9 }",
    steps: [{name: a,
      job: {image: x, args: [
        "${ item + 'x' }"]}}]}}, {name: r,
    race: [
      {wait: {duration: 1m}},
      {wait: {duration: 2m}}]}]
"""
    assert {finding.problem.path: finding.line for finding in found(text).findings}[path] == line


def test_what_is_given_to_another_workflow_by_an_expression_is_of_the_type_that_it_asks_for() -> None:
    head = "apiVersion: backstay.dev/v1alpha1\nkind: Workflow\nmetadata: {name: %s}\nspec:\n"
    child = (
        head % "child"
        + '  parameters: [{name: size, schema: {type: integer}}]\n  steps: [{name: a, job: {image: x, args: ["${ params.size }"]}}]\n'
    )
    caller = head % "caller" + '  steps:\n  - {name: call, workflow: {name: child, params: {size: "${ run.name }"}}}\n'
    assert lines(found(caller, child)) == [
        'file1.yaml:6: steps[0].workflow.params.size: this gives text, and "size" must be a whole number'
    ]
    assert lines(found(caller.replace("run.name", "run.name.size()"), child)) == []
