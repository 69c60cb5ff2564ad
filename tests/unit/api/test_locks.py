"""Limits that deadlock, or do nothing, are told by lint with their path and the mend."""

from typing import Any

import pytest
import yaml

from backstay.api.validate import check_workflow, parse_workflow
from backstay.errors import InvalidDefinition


def found(text: str) -> list[str]:
    try:
        problems = check_workflow(parse_workflow(yaml.safe_load(text)))
    except InvalidDefinition as error:
        return [str(problem) for problem in error.problems]
    return [f"({problem.severity}) {problem}" if problem.severity == "warning" else str(problem) for problem in problems]


JOB = "job: {image: x}"


def crossed(first: str = "", second: str = "", *, inner: str = "") -> str:
    """Two steps that take locks a and b inside each other, in opposite orders."""
    return f"""
steps:
- {{name: one, lock: {{name: a{first}}}, steps: [{{name: x, lock: {{name: b{first}{inner}}}, {JOB}}}]}}
- {{name: two, lock: {{name: b{second}}}, steps: [{{name: y, lock: {{name: a{second}}}, {JOB}}}]}}
"""


CROSSED = (
    '(warning) steps[1].steps[0].lock: takes "a" while it holds "b", and "x" (steps[0].steps[0].lock) the other way round: '
    "they may wait for each other for ever; take them in one order, or give one a timeout"
)


def test_locks_in_opposite_orders_are_told_two_runs_may_meet() -> None:
    assert found(crossed()) == [CROSSED]


def test_a_timeout_ends_the_wait() -> None:
    assert found(crossed(inner=", timeout: 1m")) == []


def test_locks_of_the_run_meet_only_where_its_steps_go_on_side_by_side() -> None:
    assert found(crossed(", scope: Run", ", scope: Run")) == []
    branches = [
        f"{{name: l, steps: [{{name: one, lock: {{name: a, scope: Run}}, steps: [{{name: x, lock: {{name: b, scope: Run}}, {JOB}}}]}}]}}",
        f"{{name: r, steps: [{{name: two, lock: {{name: b, scope: Run}}, steps: [{{name: y, lock: {{name: a, scope: Run}}, {JOB}}}]}}]}}",
    ]
    text = f"steps: [{{name: p, parallel: {{branches: [{', '.join(branches)}]}}}}]"
    (problem,) = found(text)
    assert problem.startswith('(warning) steps[0].parallel.branches[1].steps[0].steps[0].lock: takes "a" while it holds "b"')
    within_a_loop = crossed(", scope: Run", ", scope: Run").replace("steps:\n", "", 1).replace("- ", "  - ")
    looped = f"steps:\n- name: each\n  forEach:\n    count: 3\n    parallelism: PAR\n    steps:\n{within_a_loop.replace('  - ', '    - ')}"
    assert len(found(looped.replace("PAR", "2"))) == 1
    assert found(looped.replace("PAR", "1")) == []


def test_steps_of_a_dag_meet_unless_one_depends_on_the_other() -> None:
    text = f"""
dag:
  steps:
  - {{name: one, lock: {{name: a, scope: Run}}, steps: [{{name: x, lock: {{name: b, scope: Run}}, {JOB}}}]}}
  - {{name: two, DEPENDS lock: {{name: b, scope: Run}}, steps: [{{name: y, lock: {{name: a, scope: Run}}, {JOB}}}]}}
"""
    assert len(found(text.replace("DEPENDS", ""))) == 1
    assert found(text.replace("DEPENDS", "dependsOn: [one],")) == []


def test_locks_in_one_order_are_fine() -> None:
    step = f"lock: {{name: a}}, steps: [{{name: x, lock: {{name: b}}, {JOB}}}]"
    assert found(f"steps: [{{name: one, {step}}}, {{name: two, {step}}}]") == []


def test_a_lock_that_is_held_around_already_changes_nothing() -> None:
    text = f"steps: [{{name: outer, lock: {{name: a, key: k}}, steps: [{{name: x, lock: {{name: a, key: KEY}}, {JOB}}}]}}]"
    assert found(text.replace("KEY", "k")) == [
        '(warning) steps[0].steps[0].lock: "outer" around it holds the same lock, so it never waits and keeps nobody apart; '
        "remove it, or give it another name or key"
    ]
    assert found(text.replace("KEY", "j")) == []


def test_two_keys_of_a_lock_that_may_be_the_other_way_round_in_another_run() -> None:
    text = f"""
parameters: [{{name: from, schema: {{type: string}}}}, {{name: to, schema: {{type: string}}}}]
steps:
- name: debit
  lock: {{name: account, key: "${{ params.from }}"}}
  steps: [{{name: credit, lock: {{name: account, key: "${{ params.to }}"TIMEOUT}}, {JOB}}}]
"""
    assert found(text.replace("TIMEOUT", "")) == [
        '(warning) steps[0].steps[0].lock: takes a second key of "account" while "debit" holds one: with another run that has them the other '
        "way round it may wait for ever; give the keys one order, as the smaller one first, or give the lock a timeout"
    ]
    assert found(text.replace("TIMEOUT", ", timeout: 1m")) == []


@pytest.mark.parametrize(
    ("limits", "problems"),
    [
        ({}, ["concurrency: limits nothing; give limit, rate, or both"]),
        ({"limit": 0}, ["concurrency.limit: is 0 and must be more than 0"]),
        (
            {"rate": {"limit": 1, "per": "1m"}, "onConflict": "CancelOldest"},
            ["concurrency: CancelOldest needs a limit: cancelling makes no room under a rate"],
        ),
        ({"rate": {"limit": 1, "per": "2d"}}, ['concurrency.rate: per is "2d"; write a duration from 100ms to 1d']),
        (
            {"limit": 1, "key": "${ vars.customer }"},
            ["concurrency.key: vars is not there before a run begins; use params, as in ${ params.customer }"],
        ),
        ({"limit": 1, "key": "${ run.namespace }"}, []),
    ],
)
def test_a_limit_on_runs_that_cannot_be_kept_is_told(limits: Any, problems: list[str]) -> None:
    spec = {"steps": [{"name": "a", "set": {"customer": "x"}}], "concurrency": limits}
    told = [problem for problem in found(yaml.safe_dump(spec)) if not problem.startswith("(warning)")]
    assert told == problems


def test_a_lock_is_looked_at_like_everything_else() -> None:
    assert found(f"steps: [{{name: a, lock: {{name: Printer}}, {JOB}}}]")[0].startswith("steps[0].lock.name: ")
    assert found(f'steps: [{{name: a, lock: {{name: p, key: "${{ params.nope }}"}}, {JOB}}}]')[0].startswith("steps[0].lock.key: ")
