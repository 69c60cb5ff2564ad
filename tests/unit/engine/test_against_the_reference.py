"""Random nested workflows with random fates of their Jobs: the engine and an independent interpreter must come to the same end.

What is compared: how the run ends, its error, variables and outputs, when each step begins and how and when it ends, how many attempts
it takes, and what is undone in which order. A workflow is read off a handful of bytes, so that hypothesis can make a failing one smaller:
fewer and smaller bytes are fewer and simpler steps.
"""

import os
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given, note, settings
from hypothesis import strategies as st

from tests.support.random_workflows import Luck, workflow
from tests.support.reference import Account, Reference
from tests.support.scripted import play

EXAMPLES = int(os.environ.get("BACKSTAY_EXAMPLES", "10000"))
BYTES = 128


@pytest.mark.timeout(600)
@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(min_size=BYTES, max_size=BYTES))
def test_any_workflow_ends_as_an_independent_interpreter_says(seed: bytes) -> None:
    spec, luck, cancel_at = workflow(seed)
    try:
        reference = Reference(spec, luck.fate, cancel_at=cancel_at).play()
        engine = play(spec, luck.fate, cancel_at=cancel_at)
    except Exception:
        note(story(spec, luck, cancel_at))
        raise
    if engine != reference:
        pytest.fail("\n".join([*differences(engine, reference), story(spec, luck, cancel_at)]), pytrace=False)


def differences(engine: Account, reference: Account) -> Iterator[str]:
    """Name what the two accounts do not agree on, item by item."""
    for field in fields(Account):
        ours, theirs = getattr(engine, field.name), getattr(reference, field.name)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            for key in {**ours, **theirs}:
                if ours.get(key) != theirs.get(key):
                    yield f"{field.name} {key}: engine {ours.get(key)}, reference {theirs.get(key)}"
        elif ours != theirs:
            yield f"{field.name}: engine {ours}, reference {theirs}"


def story(spec: dict[str, Any], luck: Luck, cancel_at: timedelta | None) -> str:
    """What to look at when the two disagree."""
    fates = "\n".join(f"  {path}, attempt {attempt}: {fate}" for (path, attempt), fate in luck.told.items())
    return f"{yaml.safe_dump(spec, sort_keys=False)}cancelled at: {cancel_at}\nJobs:\n{fates}"
