"""Answers that CEL's specification wants (cel-spec, langdef.md), and those of the extensions that workflows may use."""

import subprocess
import sys
from typing import Any

import pytest

from backstay.errors import EvaluationError, InvalidExpression
from backstay.expressions import compile_expression

DATA: dict[str, Any] = {
    "steps": {"charge": {"phase": "Succeeded", "outputs": {"amount": 150, "f": 150.5, "s": "abc"}}, "a-b": {"x": 1}},
    "params": {"region": "eu", "list": [1, 2, 3], "n": None, "big": 2**62},
}

ANSWERS: list[tuple[str, Any]] = [
    ('steps.charge.outputs.amount > 100 && params.region in ["eu", "us"]', True),
    ("steps.charge.outputs.amount > 100.5", True),
    ("steps.charge.outputs.f > 100", True),
    ("has(steps.charge.outputs.amount)", True),
    ("has(steps.charge.outputs.nope)", False),
    ("steps.nope.x == 1 || true", True),
    ("true || steps.nope.x == 1", True),
    ("steps.nope.x == 1 && false", False),
    ("params.list.all(x, x > 0)", True),
    ("params.list.exists(x, x > 2)", True),
    ("params.list.exists_one(x, x > 2)", True),
    ("params.list.map(x, x * 2)", [2, 4, 6]),
    ("params.list.filter(x, x > 1)", [2, 3]),
    ("params.list.map(x, x > 1, x * 2)", [4, 6]),
    ('steps.exists(k, steps[k].phase == "Succeeded")', True),
    ('"a-b" in steps', True),
    ('steps["a-b"].x', 1),
    ('timestamp("2026-01-01T00:00:00Z") + duration("1h") == timestamp("2026-01-01T01:00:00Z")', True),
    ('timestamp("2026-03-01T10:20:30Z").getHours()', 10),
    ('timestamp("2026-03-01T10:20:30Z").getDayOfWeek()', 0),
    ('timestamp("2026-03-01T10:20:30Z").getHours("America/New_York")', 5),
    ('timestamp("2026-07-01T10:20:30Z").getHours("Europe/Berlin")', 12),
    ('timestamp("2026-03-01T10:20:30Z") - timestamp("2026-03-01T09:20:30Z") == duration("60m")', True),
    ('duration("1h30m").getMinutes()', 90),
    ('"hello".startsWith("he") && "hello".endsWith("lo") && "hello".contains("ll")', True),
    ('"abc123".matches("^[a-z]+[0-9]+$")', True),
    ('size("é😀")', 2),
    ("dyn(1) == 1.0", True),
    ('dyn(1) == "1"', False),
    ("7 % 3", 1),
    ("-7 / 2", -3),
    ('int("42") + 1', 43),
    ('string(42) == "42"', True),
    ('double("1.5")', 1.5),
    ("type(1) == int", True),
    ("params.n == null", True),
    ("true ? 1 : 2", 1),
    ('{"a": 1}.a', 1),
    ("1u + 2u", 3),
    ('b"abc" == b"abc"', True),
    (r'r"\d" == "\\d"', True),
    ("[1, 2] + [3]", [1, 2, 3]),
    ('"abc".size()', 3),
    ("steps.?charge.outputs.?amount.orValue(0)", 150),
    ("steps.?nope.outputs.amount.orValue(0)", 0),
    ("optional.of(1).hasValue()", True),
    ("params.?region.optMap(r, r + '-1').orValue('none')", "eu-1"),
    ('"A,B".split(",")', ["A", "B"]),
    ('["a", "b"].join("-")', "a-b"),
    ('"Abc".lowerAscii()', "abc"),
    ('"abc".replace("b", "x")', "axc"),
    ('"%s-%d".format(["a", 1])', "a-1"),
    ("math.greatest(1, 2)", 2),
    ("cel.bind(x, 2, x * x)", 4),
    ('base64.encode(b"hi")', "aGk="),
    ("params.big", 2**62),
    ('{"a": [1, {"b": null}], "c": -0.5}', {"a": [1, {"b": None}], "c": -0.5}),
    ('timestamp("2026-01-01T00:00:00+02:00")', "2025-12-31T22:00:00Z"),
    ('timestamp("2026-01-01T00:00:00.25Z")', "2026-01-01T00:00:00.250000Z"),
    ('duration("90m")', "1h30m0s"),
    ('duration("-250ms")', "-250ms"),
    ('b"hi"', "aGk="),
]

ERRORS: list[tuple[str, type[Exception]]] = [
    ("has(steps.nope.outputs)", EvaluationError),
    ("steps.nope.outputs.x == 1", EvaluationError),
    ('"1" + 1', InvalidExpression),
    ("1 + 1.0", InvalidExpression),
    ("9223372036854775807 + 1", EvaluationError),
    ("1/0", EvaluationError),
    ('{"a": 1, "a": 2}', EvaluationError),
    ("undefined_var == 1", InvalidExpression),
    ("foo(1)", InvalidExpression),
    ("1 +", InvalidExpression),
    ("{1: 2}", EvaluationError),
    ("type(1)", EvaluationError),
    ("1.0 / 0.0", EvaluationError),
    ("optional.of(1)", InvalidExpression),
    ("[optional.of(1)]", EvaluationError),
]


@pytest.mark.parametrize(("source", "answer"), ANSWERS, ids=[source for source, _ in ANSWERS])
def test_an_expression_gives_the_answer_of_the_specification(source: str, answer: Any) -> None:
    found = compile_expression(source, DATA).evaluate(DATA)
    assert found == answer
    assert isinstance(found, bool) == isinstance(answer, bool)


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("params.map(key, key)", ["big", "list", "n", "region"]),
        ("steps.filter(name, has(steps[name].x))", ["a-b"]),
        ("steps.map(name, steps[name].map(field, field))", [["x"], ["outputs", "phase"]]),
        ("{'z': 1, 'b': 2, 'm': 3}.map(key, key)", ["b", "m", "z"]),
        ("params.?nope.orValue({'z': 1, 'b': 2}).map(key, key)", ["b", "z"]),
        ("cel.bind(m, {'z': 1, 'b': 2}, m.map(key, m[key]))", [2, 1]),
        ("{'list': [3, 1].map(x, x)}.map(key, key)", ["list"]),
        ("{2: 1}.map(key, key + 1)", [3]),
        ("dyn([3, 1, 2]).map(x, x)", [3, 1, 2]),
        ("json.encode({'z': 1, 'b': {'y': 1, 'a': 2}})", '{"b":{"a":2,"y":1},"z":1}'),
        ("'%s'.format([{'z': 1, 'b': 2}])", "{b: 2, z: 1}"),
    ],
)
def test_what_is_made_of_a_map_is_in_the_order_of_its_keys(source: str, answer: Any) -> None:
    assert compile_expression(source, DATA).evaluate(DATA) == answer


def test_the_order_of_a_map_is_the_same_in_every_process() -> None:
    script = (
        "from backstay.expressions import compile_expression as c; m = {f'k{i}': i for i in range(40)}\n"
        "print(c('params.map(k, k)', ['params']).evaluate({'params': m}), list(c('params', ['params']).evaluate({'params': m})))"
    )
    said = {subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60).stdout for _ in range(3)}
    assert len(said) == 1


@pytest.mark.parametrize(("source", "error"), ERRORS, ids=[source for source, _ in ERRORS])
def test_what_has_no_answer_is_an_error_of_the_right_kind(source: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        compile_expression(source, DATA).evaluate(DATA)


def test_there_are_at_least_as_many_rows_as_in_the_table_that_the_library_was_chosen_by() -> None:
    assert len(ANSWERS) + len(ERRORS) >= 62
