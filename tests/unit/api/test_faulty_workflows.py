"""Everything a user can get wrong in a workflow is answered with its path and the mend (the table is `faulty_workflows.yaml`)."""

import datetime
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.api.steps import Compensate, Step, actions
from backstay.api.validate import check_workflow, parse_workflow
from backstay.errors import InvalidDefinition, Problem

TABLE: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("faulty_workflows.yaml").read_text(encoding="utf-8"))
JOB = {"image": "x"}


def problems_of(spec: Any) -> list[Problem]:
    """Return what is wrong with a workflow, as the operator and lint find it."""
    try:
        return check_workflow(parse_workflow(spec))
    except InvalidDefinition as error:
        return list(error.problems)


def written(problem: Problem) -> str:
    return f"(warning) {problem}" if problem.severity == "warning" else str(problem)


def in_full(problem: str) -> str:
    return problem.replace("{kinds}", ", ".join(actions(Step))).replace("{ways back}", ", ".join(actions(Compensate)))


def nested(levels: int) -> dict[str, Any]:
    step: dict[str, Any] = {"name": "x", "job": JOB}
    for _ in range(levels):
        step = {"name": "x", "steps": [step]}
    return {"steps": [step]}


@pytest.mark.parametrize("row", TABLE, ids=[row["name"] for row in TABLE])
def test_a_faulty_workflow_is_answered_with_path_and_mend(row: dict[str, Any]) -> None:
    assert [written(problem) for problem in problems_of(row["spec"])] == [in_full(problem) for problem in row["problems"]]


def test_the_table_has_no_two_rows_of_a_name_and_is_long_enough() -> None:
    assert len({row["name"] for row in TABLE}) == len(TABLE) >= 60


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("text", 'the spec of a Workflow is a map of fields, and this is the text "text"'),
        ([], "the spec of a Workflow is a map of fields, and this is a list of 0"),
        (
            {"steps": [{"name": "a", "wait": {"until": datetime.datetime(2027, 1, 31, 9, tzinfo=datetime.UTC)}}]},
            'steps[0].wait.until: is read as a date and must be text; write it in quotes: "2027-01-31T09:00:00Z"',
        ),
        (
            {"steps": [{"name": "a", "set": {"x": float("nan")}}]},
            "steps[0].set.x: is nan, which JSON does not have; write a number",
        ),
        (
            {"steps": [{"name": "a", "set": {"x": 2**70}}]},
            "steps[0].set.x: does not fit into 64 bits; write it in quotes and pass it as text",
        ),
        (
            {"steps": [{"name": "a", "job": {"image": "\ud800"}}]},
            "steps[0].job.image: holds half of a character (a lone surrogate); mend the text",
        ),
        ({"steps": [{"name": "a", "job": {"image": b"x"}}]}, "steps[0].job.image: is of a type that JSON does not have (bytes); write it in quotes"),
        ({"steps": [{"name": "a", "job": {"image": "y" * 9000}}]}, "steps[0].job.image: has 9,000 characters and may have 8,192; shorten it"),
        ({"steps": [{"name": "a", "job": {"image": "x", "args": ["a"] * 257}}]}, "steps[0].job.args: has 257 items and may have 256; shorten it"),
        (
            {"steps": [{"name": "a", "job": {"image": "x", "args": ["y" * 8000] * 60}}]},
            "the spec is longer than 409,600 bytes as JSON; pass large data by reference, or divide it",
        ),
        (
            {"steps": [{"name": f"s{index}", "job": JOB} for index in range(4999)] + [{"name": "b", "steps": [{"name": "c", "job": JOB}]}]},
            "the workflow has 5,001 steps and may have 5,000; divide it into several workflows",
        ),
        (nested(150), "the spec nests more than 190 levels deep; make it flatter, or start a run of its own for a part of it"),
        (
            nested(30),
            "steps" + "[0].steps" * 30 + ": lists of steps nest 31 deep and may nest 30; make it flatter, or start a run of its own for a part of it",
        ),
        (
            {"steps": [{"name": "a", "if": "${ " + "true && " * 200 + "true }", "job": JOB}]},
            "steps[0].if: has 1,609 characters and may have 1,100; shorten it",
        ),
        (
            {"steps": [{"name": "a", "job": {"image": "${ " + "1 + " * 300 + "1 }"}}]},
            "steps[0].job.image: ${ 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 +… }: "
            "the expression has 1201 characters and may have 1024; work part of it out in a set step before",
        ),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_cannot_be_written_in_yaml_or_is_too_large_is_answered_as_well(spec: Any, problem: str) -> None:
    assert [written(found) for found in problems_of(spec)] == [problem]


def test_all_mistakes_are_told_at_once_and_errors_come_before_warnings() -> None:
    spec = {
        "steps": [
            {"name": "a", "job": JOB, "timeout": "1m", "attemptTimeout": "2m"},
            {"name": "b", "job": {"image": "${ nope }", "args": ["${ params.x }"]}},
            {"name": "c", "dependsOn": ["a"], "job": JOB},
        ]
    }
    found = problems_of(spec)
    assert [problem.path for problem in found] == [
        "steps[2].dependsOn",
        "steps[1].job.image",
        "steps[1].job.args[0]",
        "steps[0].attemptTimeout",
    ]
    assert [problem.severity for problem in found] == ["error", "error", "error", "warning"]


def test_a_workflow_with_a_thousand_mistakes_tells_a_hundred() -> None:
    spec = {"steps": [{"name": f"s{index}", "job": {"image": "${ nope }"}} for index in range(1000)]}
    assert len(problems_of(spec)) == 100


def test_paths_of_a_definition_inside_a_run_begin_where_it_is() -> None:
    spec = parse_workflow({"steps": [{"name": "a", "job": {"image": "${ nope }"}}]})
    assert check_workflow(spec, "workflow.inline")[0].path == "workflow.inline.steps[0].job.image"


def test_anchors_of_yaml_that_stand_for_a_terabyte_are_refused_at_once() -> None:
    value: Any = ["lol"] * 10
    for _ in range(30):
        value = [value] * 10
    started = time.perf_counter()
    assert "is longer than" in str(problems_of({"steps": [{"name": "a", "set": {"x": value}}]})[0])
    assert time.perf_counter() - started < 5


LARGE: dict[str, dict[str, Any]] = {
    "a list in which each step uses the one before": {
        "steps": [{"name": f"s{i}", "job": {"image": f"${{ steps.s{i - 1}.outputs.a }}" if i else "x"}} for i in range(4500)]
    },
    "a dag that is one long chain": {
        "dag": {
            "steps": [
                {"name": f"s{i}", "job": {"image": "${ steps.s0.outputs.a }"}, "dependsOn": [f"s{i - 1}"]}
                if i
                else {"name": "s0", "job": JOB}
                for i in range(4000)
            ]
        }
    },
    "a dag in which each step depends on the hundred before it": {
        "dag": {
            "steps": [{"name": f"s{i}", "set": {"x": i}, "dependsOn": [f"s{j}" for j in range(max(0, i - 100), i)]} for i in range(400)]
        }
    },
    "a circle of thousands": {"dag": {"steps": [{"name": f"s{i}", "job": JOB, "dependsOn": [f"s{(i + 1) % 4000}"]} for i in range(4000)]}},
    "references to nothing throughout": {
        "steps": [{"name": f"b{i}", "steps": [{"name": "a", "job": JOB}]} for i in range(2000)]
        + [{"name": f"q{i}", "job": {"image": "${ steps.a.outputs.x }"}} for i in range(900)]
    },
    "four hundred branches that set the same variables": {
        "steps": [
            {
                "name": "p",
                "parallel": {
                    "branches": [{"name": f"b{i}", "steps": [{"name": "s", "set": {f"v{j}": 1 for j in range(40)}}]} for i in range(400)]
                },
            }
        ]
    },
}


@pytest.mark.parametrize("name", LARGE)
def test_the_largest_workflows_are_judged_in_seconds(name: str) -> None:
    started = time.perf_counter()
    problems_of(LARGE[name])
    assert time.perf_counter() - started < 20


def test_a_long_circle_is_told_with_its_beginning_and_its_end() -> None:
    message = problems_of(LARGE["a circle of thousands"])[0].message
    assert re.search(r"circle: (s\d+ → ){6}… → (s\d+ → ){4}s\d+; remove one", message)
