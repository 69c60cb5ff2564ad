"""docs/errors.md tells of every error type, with its class; what it shows of manifests is what runs."""

import re
from pathlib import Path

import pytest
import yaml

from backstay.api.faults import BUILT_IN
from backstay.api.policies import Fault
from backstay.api.steps import Step
from backstay.engine import uncaught
from backstay.engine.lifecycle import boundary, catching

PAGE = (Path(__file__).parents[3] / "docs" / "errors.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (Transient|Permanent|–) \|", PAGE, re.MULTILINE)
TOLD = {name: kind for names, kind in ROWS for name in re.findall(r"`(\w+)`", names)}
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_every_type_is_told_with_its_class() -> None:
    assert {name: kind.replace("–", "") for name, kind in TOLD.items()} == BUILT_IN


def test_every_member_of_an_error_is_told() -> None:
    assert re.findall(r"^\| `(\w+)` \| (?:`|an extension)", PAGE, re.MULTILINE) == list(Fault.model_fields)


@pytest.mark.parametrize("example", EXAMPLES, ids=[text.split("\n")[0][:40] for text in EXAMPLES])
def test_every_example_is_a_list_of_steps(example: str) -> None:
    for step in yaml.safe_load(example):
        Step.model_validate(step)


def test_the_limits_are_those_that_hold() -> None:
    fields = Step.model_fields
    most = {name: next(item.max_length for item in fields[name].metadata if hasattr(item, "max_length")) for name in ("catch", "boundary")}
    assert most == {"catch": 32, "boundary": 32}
    assert f"| {catching.MAX_OUTPUT_BYTES // 1024} KiB |" in PAGE
    assert f"| {boundary.MOST_HEARD} |" in PAGE
    assert f"| {uncaught.MOST_CATCHES} catches, {uncaught.MOST_WORDS} characters |" in PAGE
