"""docs/retries.md is true: its table of delays is what the code does, its YAML is sound, and what it says can be edited can be."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.api.base import parse_duration
from backstay.api.policies import Backoff, Jitter, OnExhausted, Retry, RetryRule
from backstay.api.run import Request
from backstay.api.validate import check_workflow, parse_workflow
from backstay.api.validate.edited import EDITABLE
from backstay.engine.policies.retry import delay_before
from backstay.engine.requests import _STEERING

PAGE = (Path(__file__).parents[3] / "docs" / "retries.md").read_text(encoding="utf-8")


def rows(head: str) -> Iterator[list[str]]:
    """The cells of the rows of the table whose head begins so."""
    table = PAGE.split(f"| {head} ", 1)[1].split("\n\n", 1)[0]
    for line in table.splitlines()[2:]:
        yield [cell.strip() for cell in line.split("|")[1:-1]]


def blocks() -> list[Any]:
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


STEPS = [block for block in blocks() if isinstance(block, list)]
REQUESTS = [request for block in blocks() if isinstance(block, dict) for request in block["spec"]["requests"]]


@pytest.mark.parametrize("row", list(rows("before attempt")), ids=lambda row: row[0])
def test_the_delays_are_those_of_the_table(row: list[str]) -> None:
    retry = Retry(backoff=Backoff(row[0].strip("`")), jitter=Jitter.NONE)
    assert [delay_before(retry, "uid", "a", attempt) for attempt in range(2, 10)] == [parse_duration(cell) for cell in row[1:]]


@pytest.mark.parametrize("steps", STEPS, ids=lambda steps: str(steps[0]["name"]))
def test_its_steps_are_sound(steps: list[Any]) -> None:
    spec = {"parameters": [{"name": "orderId"}], "steps": steps}
    assert [
        str(problem)
        for problem in check_workflow(parse_workflow(spec))
        if "orderId" not in problem.path and "parameters" not in problem.path
    ] == []


def test_the_example_of_a_retry_shows_every_field_and_tells_the_defaults_truly() -> None:
    shown = STEPS[0][0]["retry"]
    assert set(shown) == {field.alias or name for name, field in Retry.model_fields.items()}
    assert "(default 3)" in PAGE and Retry().max_attempts == 3
    told = PAGE.split("**Rules**", 1)[1].split("\n\n", 1)[0]
    assert {field.alias or name for name, field in RetryRule.model_fields.items()} - set(re.findall(r"`(\w+)", told)) == set()


def test_what_can_be_edited_is_what_the_page_says() -> None:
    told = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in rows("kind | what can be edited")}
    assert {kind: told[kind] for kind in ("job", "http", "workflow")} == {kind: set(EDITABLE[kind]) for kind in ("job", "http", "workflow")}
    assert told["resource"] <= EDITABLE["resource"] and set(told) == set(EDITABLE)


def test_every_action_of_a_person_is_told_and_its_requests_are_requests() -> None:
    assert set(re.findall(r"`action: (\w+)`", PAGE)) == set(_STEERING)
    assert [Request.model_validate(item).id for item in REQUESTS] == ["new-card"]


def test_every_way_out_has_its_part() -> None:
    assert {way for way in OnExhausted if f"`{way}`" not in PAGE} == set()
