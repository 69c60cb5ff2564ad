"""What the engine writes has a place in the schema: the API server drops fields that it does not know."""

from dataclasses import fields

import orjson
import pytest
from pydantic.alias_generators import to_camel

from backstay.api.base import Model
from backstay.api.run import JournalEntry, StepStatus, WorkflowRunStatus
from backstay.api.workflow import RevisionRef
from backstay.engine import codec
from backstay.engine.model import Entry, Fault, RunRecord, StepRecord
from tests.support.world import World

ELSEWHERE = {"revision_name", "revision_number"}


@pytest.mark.parametrize(("record", "model"), [(RunRecord, WorkflowRunStatus), (StepRecord, StepStatus), (Entry, JournalEntry)])
def test_every_field_of_a_record_has_a_place_in_the_schema(record: type, model: type[Model]) -> None:
    known = {field.alias or to_camel(name) for name, field in model.model_fields.items()}
    assert {to_camel(field.name) for field in fields(record) if field.name not in ELSEWHERE} <= known
    assert set(RevisionRef.model_fields) == {"name", "number"}


def test_every_status_that_is_written_satisfies_the_schema() -> None:
    world = World(
        """
steps:
- {name: a, job: {image: i}, timeout: 1h, compensate: {job: {image: i}}, retry: {maxAttempts: 2, interval: 1s}}
- {name: w, wait: {duration: 1m}}
- {name: s, switch: {cases: [{when: "${ true }", steps: [{name: x, set: {v: [1, null]}}]}]}}
- {name: f, job: {image: i}, catch: [{errors: [Other], steps: [{name: x, set: {v: 1}}]}]}
"""
    )
    moves = [
        lambda: world.fail("a"),
        lambda: world.pass_time("2s"),
        lambda: world.wants(suspend=True),
        lambda: world.succeed("a", {"x": 1}),
        lambda: world.wants(suspend=False),
        lambda: world.pass_time("1m"),
        lambda: world.fail("f"),
        lambda: world.succeed("a:compensate"),
    ]
    for move in moves:
        WorkflowRunStatus.model_validate(world.status)
        move()
    WorkflowRunStatus.model_validate(world.status)
    assert world.phase == "Failed"


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (1.0, 1),
        (-0.0, 0),
        (1.5, 1.5),
        (1e18, 10**18),
        (1e19, 1e19),
        (2**63, float(2**63)),
        (-(2**63), -(2**63)),
        ({"a": [1.0, {"b": 2.0}], "c": True}, {"a": [1, {"b": 2}], "c": True}),
    ],
)
def test_numbers_are_written_as_the_api_server_gives_them_back(given: object, written: object) -> None:
    """Go makes no difference between 3.0 and 3: a journal that did would not fit its own hash after a restart."""
    found = codec.canonical(given)
    assert orjson.dumps(found) == orjson.dumps(written)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (True, 1, False),
        (False, 0, False),
        (True, 1.0, False),
        (True, True, True),
        (1, 1.0, True),
        (1, 2, False),
        ("1", 1, False),
        (None, False, False),
        (None, None, True),
        ({"a": [1, {"b": True}]}, {"a": [1, {"b": 1}]}, False),
        ({"a": [1, {"b": True}]}, {"a": [1.0, {"b": True}]}, True),
        ({"a": None}, {}, False),
        ([], {}, False),
        ([0], [False], False),
        ([1, 2], [1, 2, 3], False),
        (Fault("Timeout", attempt=1), Fault("Timeout", attempt=True), False),
        (Fault("Timeout", attempt=1), Fault("Timeout", attempt=1), True),
    ],
    ids=repr,
)
def test_two_values_are_alike_where_their_json_is_the_same(one: object, other: object, same: bool) -> None:
    assert (codec.alike(one, other), codec.alike(other, one)) == (same, same)
