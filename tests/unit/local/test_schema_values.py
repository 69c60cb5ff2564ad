"""What the schema of a custom resource says of values, in the words of the real API server (v1.37)."""

from typing import Any

import pytest

from backstay.local.apiserver.schema import check_unique, check_value, compile_schema

_NAME = "^[a-z]([-a-z0-9]*[a-z0-9])?$"


def _spec(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}


def _said(schema: dict[str, Any], value: Any) -> list[str]:
    node = compile_schema(schema)
    return [error.text for error in (*check_value(node, value), *check_unique(node, value))]


_STEPS = {
    "type": "array",
    "maxItems": 2,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "pattern": _NAME, "maxLength": 5}}},
}
_ONE_ACTION = {
    "type": "object",
    "properties": {"job": {"type": "object"}, "wait": {"type": "object"}},
    "oneOf": [{"required": ["job"]}, {"required": ["wait"]}],
}

CASES: list[tuple[str, dict[str, Any], Any, list[str]]] = [
    (
        "a pattern",
        _STEPS,
        [{"name": "X"}],
        [f"spec.field[0].name: Invalid value: \"X\": spec.field[0].name in body should match '{_NAME}'"],
    ),
    ("a missing member", _STEPS, [{}], ["spec.field[0].name: Required value"]),
    ("a string that is too long", _STEPS, [{"name": "abcdef"}], ["spec.field[0].name: Too long: may not be more than 5 bytes"]),
    ("too many items", _STEPS, [{"name": "a"}, {"name": "b"}, {"name": "c"}], ["spec.field: Too many: 3: must have at most 2 items"]),
    ("a repeated key", _STEPS, [{"name": "a"}, {"name": "a"}], ['spec.field[1]: Duplicate value: {"name":"a"}']),
    (
        "a repeated item of a set",
        {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        ["a", "b", "a", "a"],
        ['spec.field[2]: Duplicate value: "a"'],
    ),
    (
        "two repeated keys of a list with two keys",
        {
            **_STEPS,
            "maxItems": 9,
            "x-kubernetes-list-map-keys": ["name", "port"],
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
        [{"name": "a", "port": 1}, {"name": "a", "port": 2}, {"name": "a", "port": 1}],
        ['spec.field[2]: Duplicate value: {"name":"a","port":1}'],
    ),
    (
        "too few items",
        {"type": "array", "minItems": 1, "items": {}},
        [],
        ["spec.field: Invalid value: 0: spec.field in body should have at least 1 items"],
    ),
    (
        "an enum",
        {"type": "string", "enum": ["Fail", "Pause"]},
        "Stop",
        ['spec.field: Unsupported value: "Stop": supported values: "Fail", "Pause"'],
    ),
    (
        "an enum of numbers",
        {"type": "integer", "enum": [1, 2]},
        3,
        ['spec.field: Unsupported value: 3: supported values: "1", "2"'],
    ),
    (
        "a string for a number",
        {"type": "integer"},
        "1",
        ['spec.field: Invalid value: "string": spec.field in body must be of type integer: "string"'],
    ),
    (
        "a number with a fraction for an integer",
        {"type": "integer"},
        1.5,
        [
            'spec.field: Invalid value: "number": spec.field in body must be of type integer: "number"',
            '<nil>: Invalid value: "": Checked value must be of type integer (default format) in spec.field',
        ],
    ),
    (
        "true for a number",
        {"type": "integer"},
        True,
        ['spec.field: Invalid value: "boolean": spec.field in body must be of type integer: "boolean"'],
    ),
    (
        "a list for an object",
        {"type": "object"},
        [],
        ['spec.field: Invalid value: "array": spec.field in body must be of type object: "array"'],
    ),
    ("a null", {"type": "string"}, None, ['spec.field: Invalid value: "null": spec.field in body must be of type string: "null"']),
    (
        "true for an int-or-string",
        {"x-kubernetes-int-or-string": True},
        True,
        ['spec.field: Invalid value: "boolean": spec.field in body must be of type integer,string: "boolean"'],
    ),
    (
        "a minimum",
        {"type": "integer", "minimum": 1},
        0,
        ["spec.field: Invalid value: 0: spec.field in body should be greater than or equal to 1"],
    ),
    (
        "a minimum that is excluded",
        {"type": "number", "minimum": 0, "exclusiveMinimum": True},
        0.0,
        ["spec.field: Invalid value: 0: spec.field in body should be greater than 0"],
    ),
    (
        "a maximum of a number, as Go prints a million",
        {"type": "number", "maximum": 1000000},
        2000000.5,
        ["spec.field: Invalid value: 2.0000005e+06: spec.field in body should be less than or equal to 1e+06"],
    ),
    (
        "a multiple",
        {"type": "integer", "multipleOf": 5},
        7,
        ["spec.field: Invalid value: 7: spec.field in body should be a multiple of 5"],
    ),
    (
        "a number beyond 32 bits",
        {"type": "integer", "format": "int32"},
        2**31,
        ['<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.field'],
    ),
    (
        "a string that is too short",
        {"type": "string", "minLength": 1},
        "",
        ['spec.field: Invalid value: "": spec.field in body should be at least 1 chars long'],
    ),
    (
        "a date-time",
        {"type": "string", "format": "date-time"},
        "tomorrow",
        ['spec.field: Invalid value: "tomorrow": spec.field in body must be of type date-time: "tomorrow"'],
    ),
    (
        "a duration",
        {"type": "string", "format": "duration"},
        "soon",
        ['spec.field: Invalid value: "soon": spec.field in body must be of type duration: "soon"'],
    ),
    (
        "a number where a format wants a string",
        {"type": "string", "format": "date-time"},
        5,
        ['spec.field: Invalid value: "int64": spec.field in body must be of type date-time: "int64"'],
    ),
    (
        "too few members",
        {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}},
        {},
        ["spec.field: Invalid value: 0: spec.field in body should have at least 1 properties"],
    ),
    (
        "too many members",
        {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}},
        {"a": "1", "b": "2"},
        ["spec.field: Too many: 2: must have at most 1 item"],
    ),
    (
        "a member of a map",
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"a": "x"},
        ['spec.field.a: Invalid value: "string": spec.field.a in body must be of type integer: "string"'],
    ),
    (
        "none of the alternatives of oneOf",
        _ONE_ACTION,
        {},
        [
            '<nil>: Invalid value: "": "spec.field" must validate one and only one schema (oneOf). Found none valid',
            "spec.field.job: Required value",
        ],
    ),
    (
        "two of the alternatives of oneOf",
        _ONE_ACTION,
        {"job": {}, "wait": {}},
        ['<nil>: Invalid value: "": "spec.field" must validate one and only one schema (oneOf). Found 2 valid alternatives'],
    ),
    (
        "none of the alternatives of anyOf",
        {"type": "object", "properties": {"a": {"type": "string"}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {},
        ['<nil>: Invalid value: "": "spec.field" must validate at least one schema (anyOf)', "spec.field.a: Required value"],
    ),
    (
        "what not forbids",
        {"type": "object", "properties": {"a": {"type": "string"}}, "not": {"required": ["a"]}},
        {"a": "x"},
        ['<nil>: Invalid value: "": "spec.field" must not validate the schema (not)'],
    ),
    (
        "one part of allOf",
        {"type": "string", "allOf": [{"minLength": 1}, {"pattern": "^a"}]},
        "b",
        [
            "spec.field: Invalid value: \"b\": spec.field in body should match '^a'",
            '<nil>: Invalid value: "": "spec.field" must validate all the schemas (allOf)',
        ],
    ),
]


@pytest.mark.parametrize(("schema", "value", "said"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_wrong_is_said_as_the_server_says_it(schema: dict[str, Any], value: Any, said: list[str]) -> None:
    assert _said(_spec(field=schema), {"spec": {"field": value}}) == said


RIGHT: list[tuple[str, dict[str, Any], Any]] = [
    ("an integer for a number", {"type": "number"}, 1),
    ("a whole number written with a point", {"type": "integer"}, 2.0),
    ("a null where the schema allows it", {"type": "string", "nullable": True}, None),
    ("a string for an int-or-string", {"x-kubernetes-int-or-string": True}, "50%"),
    ("an unknown format", {"type": "string", "format": "colour"}, "mauve"),
    ("a duration in Go's spelling", {"type": "string", "format": "duration"}, "1h30m"),
    ("a duration in days", {"type": "string", "format": "duration"}, "2 days"),
    ("a date-time with an offset", {"type": "string", "format": "date-time"}, "2026-01-02T03:04:05.5+01:00"),
    ("any of anyOf", {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}, 5),
    ("unknown members, which pruning sees to", {"type": "object", "properties": {"a": {"type": "string"}}}, {"z": 1}),
    ("a pattern that is found anywhere", {"type": "string", "pattern": "b+"}, "abbc"),
    ("a pattern in RE2's own syntax", {"type": "string", "pattern": r"^\pL+$"}, "straße"),
]


@pytest.mark.parametrize(("schema", "value"), [case[1:] for case in RIGHT], ids=[case[0] for case in RIGHT])
def test_what_the_server_accepts_is_accepted(schema: dict[str, Any], value: Any) -> None:
    assert _said(_spec(field=schema), {"spec": {"field": value}}) == []


def test_a_pattern_ends_at_the_very_end_not_before_a_line_break() -> None:
    assert _said(_spec(field={"type": "string", "pattern": "^a$"}), {"spec": {"field": "a\n"}}) != []


def test_a_part_that_does_not_change_is_not_held_against_an_update() -> None:
    node = compile_schema(_spec(old={"type": "string", "minLength": 3}, new={"type": "string", "minLength": 3}))
    before = {"spec": {"old": "a", "new": "abc"}}
    after = {"spec": {"old": "a", "new": "x"}}
    assert [error.field for error in check_value(node, after, old=before)] == ["spec.new"]


def test_an_item_of_a_keyed_list_is_compared_with_the_item_of_the_same_key() -> None:
    node = compile_schema(_spec(steps={**_STEPS, "maxItems": 9}))
    before = {"spec": {"steps": [{"name": "TOO-LONG"}, {"name": "ok"}]}}
    after = {"spec": {"steps": [{"name": "ok"}, {"name": "TOO-LONG"}, {"name": "ALSO-LONG"}]}}
    assert [error.field for error in check_value(node, after, old=before)] == ["spec.steps[2].name"]


def test_one_is_not_true_when_an_update_is_compared() -> None:
    node = compile_schema(_spec(count={"type": "integer"}))
    assert check_value(node, {"spec": {"count": True}}, old={"spec": {"count": 1}}) != []


def test_a_status_is_named_from_the_object_in_the_path_and_from_itself_in_the_message() -> None:
    node = compile_schema({"type": "object", "properties": {"phase": {"type": "string", "pattern": "^[A-Z]"}}})
    assert [error.text for error in check_value(node, {"phase": "x"}, prefix="status")] == [
        "status.phase: Invalid value: \"x\": phase in body should match '^[A-Z]'"
    ]
