"""`x-kubernetes-validations`: CEL rules on values and on changes."""

from typing import Any

import pytest

from backstay.local.apiserver.schema import check_rules, compile_schema


def _schema(rules: list[dict[str, Any]], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": properties, "x-kubernetes-validations": rules}}}


def _said(schema: dict[str, Any], spec: Any, old: Any = None) -> list[str]:
    node = compile_schema(schema, root=True)
    before = {"spec": old} if old is not None else None
    return [error.text for error in check_rules(node, {"spec": spec}, before)]


_INT = {"type": "integer"}
_TEXT = {"type": "string"}
_LOW_HIGH = {"low": _INT, "high": _INT}

CASES: list[tuple[str, list[dict[str, Any]], dict[str, Any], Any, list[str]]] = [
    ("a rule that holds", [{"rule": "self.low <= self.high"}], _LOW_HIGH, {"low": 1, "high": 2}, []),
    (
        "a rule without a message shows itself",
        [{"rule": "self.low <= self.high"}],
        _LOW_HIGH,
        {"low": 2, "high": 1},
        ["spec: Invalid value: failed rule: self.low <= self.high"],
    ),
    (
        "a message",
        [{"rule": "self.low <= self.high", "message": "low must not exceed high"}],
        _LOW_HIGH,
        {"low": 2, "high": 1},
        ["spec: Invalid value: low must not exceed high"],
    ),
    (
        "a message made by an expression",
        [{"rule": "self.low <= self.high", "message": "wrong", "messageExpression": "'%d is above %d'.format([self.low, self.high])"}],
        _LOW_HIGH,
        {"low": 2, "high": 1},
        ["spec: Invalid value: 2 is above 1"],
    ),
    (
        "the message where the expression fails",
        [{"rule": "self.low <= self.high", "message": "wrong", "messageExpression": "string(1 / (self.low - 2))"}],
        _LOW_HIGH,
        {"low": 2, "high": 1},
        ["spec: Invalid value: wrong"],
    ),
    (
        "a field path",
        [{"rule": "self.low <= self.high", "message": "wrong", "fieldPath": ".low"}],
        _LOW_HIGH,
        {"low": 2, "high": 1},
        ["spec.low: Invalid value: wrong"],
    ),
    (
        "the reason Forbidden",
        [{"rule": "!has(self.low)", "message": "not here", "reason": "FieldValueForbidden"}],
        _LOW_HIGH,
        {"low": 2},
        ["spec: Forbidden: not here"],
    ),
    (
        "the reason Required",
        [{"rule": "has(self.high)", "message": "say how high", "reason": "FieldValueRequired", "fieldPath": ".high"}],
        _LOW_HIGH,
        {},
        ["spec.high: Required value: say how high"],
    ),
    (
        "exactly one of several",
        [{"rule": "[has(self.low), has(self.high)].filter(x, x).size() == 1", "message": "exactly one"}],
        _LOW_HIGH,
        {"low": 1, "high": 1},
        ["spec: Invalid value: exactly one"],
    ),
    (
        "a member that is missing when the rule runs",
        [{"rule": "self.low < 5", "message": "must be low"}],
        _LOW_HIGH,
        {},
        ['spec: Invalid value: "object": no such key: low evaluating rule: must be low'],
    ),
    (
        "a comparison that has no meaning",
        [{"rule": "self.value > 5"}],
        {"value": {"x-kubernetes-int-or-string": True}},
        {"value": "5%"},
        [
            "spec: Invalid value: \"object\": 'no such overload': call arguments did not match a supported operator, function or macro signature "
            "for rule: self.value > 5"
        ],
    ),
    ("a number is a double, even if it is whole", [{"rule": "self.share * 1.5 < 4.0"}], {"share": {"type": "number"}}, {"share": 2}, []),
    (
        "a date-time is a timestamp",
        [{"rule": "self.at > timestamp('2026-01-01T00:00:00Z')"}],
        {"at": {"type": "string", "format": "date-time"}},
        {"at": "2026-06-01T00:00:00Z"},
        [],
    ),
    (
        "a duration is a duration",
        [{"rule": "self.wait <= duration('1h')", "message": "at most an hour"}],
        {"wait": {"type": "string", "format": "duration"}},
        {"wait": "90m"},
        ["spec: Invalid value: at most an hour"],
    ),
    ("a reserved word is escaped", [{"rule": "self.__namespace__ == 'a'"}], {"namespace": _TEXT}, {"namespace": "a"}, []),
    ("a dash is escaped", [{"rule": "self.a__dash__b == 'x'"}], {"a-b": _TEXT}, {"a-b": "x"}, []),
    (
        "the server's functions on lists",
        [{"rule": "self.l.isSorted() && self.l.sum() == 6"}],
        {"l": {"type": "array", "items": _INT}},
        {"l": [1, 2, 3]},
        [],
    ),
    ("regular expressions", [{"rule": "self.t.find('[0-9]+') == '42'"}], {"t": _TEXT}, {"t": "a42b"}, []),
]


@pytest.mark.parametrize(("rules", "properties", "spec", "said"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_rules_on_values(rules: list[dict[str, Any]], properties: dict[str, Any], spec: Any, said: list[str]) -> None:
    assert _said(_schema(rules, **properties), spec) == said


_FIXED = {"rule": "self == oldSelf", "message": "cannot change"}


def test_a_transition_rule_does_not_run_on_creation() -> None:
    assert _said(_schema([], name={**_TEXT, "x-kubernetes-validations": [_FIXED]}), {"name": "a"}) == []


def test_a_transition_rule_refuses_the_change_and_shows_a_scalar() -> None:
    schema = _schema([], name={**_TEXT, "x-kubernetes-validations": [_FIXED]})
    assert _said(schema, {"name": "b"}, {"name": "a"}) == ['spec.name: Invalid value: "b": cannot change']


def test_a_transition_rule_runs_on_a_value_that_does_not_change() -> None:
    assert _said(_schema([{"rule": "self.low > oldSelf.low", "message": "must grow"}], low=_INT), {"low": 1}, {"low": 1}) == [
        "spec: Invalid value: must grow"
    ]


def test_a_transition_rule_on_items_follows_the_key_of_the_list() -> None:
    item = {
        "type": "object",
        "properties": {"name": _TEXT, "size": _INT},
        "x-kubernetes-validations": [{"rule": "self.size >= oldSelf.size", "message": "must not shrink"}],
    }
    steps = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": item}
    old = {"steps": [{"name": "a", "size": 5}, {"name": "b", "size": 5}]}
    new = {"steps": [{"name": "b", "size": 4}, {"name": "c", "size": 1}, {"name": "a", "size": 6}]}
    assert _said(_schema([], steps=steps), new, old) == ["spec.steps[0]: Invalid value: must not shrink"]


def test_a_rule_with_an_optional_old_value_runs_on_creation_too() -> None:
    rule = {"rule": "oldSelf.hasValue() || self.low == 0", "message": "must begin at 0", "optionalOldSelf": True}
    assert _said(_schema([rule], low=_INT), {"low": 1}) == ["spec: Invalid value: must begin at 0"]
    assert _said(_schema([rule], low=_INT), {"low": 1}, {"low": 0}) == []


def test_a_rule_that_broke_before_is_not_held_against_a_change_elsewhere() -> None:
    broken = {"type": "object", "properties": {"n": _INT}, "x-kubernetes-validations": [{"rule": "self.n > 5", "message": "too small"}]}
    schema = _schema([], broken=broken, other=_INT)
    assert _said(schema, {"broken": {"n": 1}, "other": 2}, {"broken": {"n": 1}, "other": 1}) == []
    assert _said(schema, {"broken": {"n": 2}, "other": 1}, {"broken": {"n": 1}, "other": 1}) == ["spec.broken: Invalid value: too small"]


def test_rules_at_the_root_see_the_name() -> None:
    schema = {
        "type": "object",
        "properties": {},
        "x-kubernetes-validations": [{"rule": "self.metadata.name.startsWith('a')", "message": "begin with a"}],
    }
    node = compile_schema(schema, root=True)
    assert [error.text for error in check_rules(node, {"metadata": {"name": "b"}})] == ["<nil>: Invalid value: begin with a"]


def test_the_values_of_a_map_are_named_by_their_key() -> None:
    positive = {**_INT, "x-kubernetes-validations": [{"rule": "self > 0", "message": "must be positive"}]}
    said = _said(_schema([], m={"type": "object", "additionalProperties": positive}), {"m": {"a": 1, "b": -1}})
    assert said == ["spec.m[b]: Invalid value: -1: must be positive"]


def test_a_rule_that_does_not_compile_refuses_every_object_and_says_why() -> None:
    said = _said(_schema([{"rule": "self.low ="}], low=_INT), {"low": 1})
    assert len(said) == 1
    assert said[0].startswith('spec: Invalid value: "object": rule compile error: compilation failed: ERROR: <input>:1:10: Syntax error')


def test_a_member_that_the_schema_does_not_have_is_found_when_the_rule_is_compiled() -> None:
    said = _said(_schema([{"rule": "self.low < self.hihg"}], **_LOW_HIGH), {"low": 1, "high": 2})
    assert "undefined field 'hihg'\n | self.low < self.hihg\n | ...............^" in said[0]
