"""What a user reads when an expression is wrong: where, what was found, what there is, and what to write instead."""

from typing import Any

import pytest

from backstay.errors import EvaluationError, InvalidExpression
from backstay.expressions import compile_expression

VARIABLES = ("params", "vars", "run", "steps")
EVERYWHERE = (*VARIABLES, "error", "item")
DATA: dict[str, Any] = {
    "params": {
        "orderId": "a-17",
        "amount": 12,
        "rate": 1.5,
        "note": None,
        "lines": [{"sku": "x"}, {"sku": "y", "parts": [{"name": "n"}]}],
        "huge": 2**70,
    },
    "vars": {},
    "run": {"name": "order-1"},
    "error": {"type": "X", "title": "", "detail": "", "step": "a", "attempt": 1},
    "item": {"sku": "x", "qty": 1},
    "steps": {
        "charge": {"outputs": {"payment": "p-1", "receipt": "r-1"}},
        "card-check": {"outputs": {"ok": True}},
        "gift": {"outputs": {}, "phase": "Skipped"},
        "ship": {"outputs": {}, "phase": "Pending"},
        "pack": {"outputs": {}, "phase": "Failed"},
        "label": {"outputs": {}, "phase": "Caught"},
        "print": {"outputs": {}, "phase": "Succeeded"},
        "wrap": {"outputs": {}, "phase": "Running"},
    },
}

REFUSED = [
    ("1 +", "position 4: the expression ends too early; something is missing at its end"),
    ("", "the expression is empty; write what it should be, as in ${ params.name }"),
    ("size(params.orderId", 'position 20: ")" is missing here'),
    ("foo(1)", 'position 4: there is no function "foo"'),
    ('params.orderId.startWith("a")', 'position 25: there is no function "startWith"; did you mean "startsWith"?'),
    ("param.amount", 'position 1: there is no "param" here; there are: params, run, steps, vars; did you mean "params"?'),
    ("item.x", 'position 1: there is no "item" here; there are: params, run, steps, vars'),
    ("steps.card-check.outputs", 'position 7: "card-check" is read as a subtraction because of its dash; write steps["card-check"]'),
    (
        "params.a && steps.my-own-step.x > 1",
        'position 19: "my-own-step" is read as a subtraction because of its dash; write steps["my-own-step"]',
    ),
    ("params.amount = 1", 'position 15: "=" is no operator; write =='),
    ("params.a and params.b", 'position 10: "and" is no operator; write &&'),
    ("not params.a", 'position 5: "params" is not expected here; is an operator such as && or + missing before it?'),
    ("True", 'position 1: "True" is unknown; write true'),
    ("None", 'position 1: "None" is unknown; write null'),
    ("params.a & params.b", 'position 10: "&" is no operator; write &&'),
    ('"abc', "position 1: the text that begins here does not end, or has a backslash that means nothing; write \\\\ for a backslash"),
    ("params.a params.b", 'position 10: "params" is not expected here; is an operator such as && or + missing before it?'),
    ('"1" + 1', "position 5: + does not work on text and a whole number; convert one of them with string(…), int(…) or double(…)"),
    ('1 == "1"', "position 3: == does not work on a whole number and text; convert one of them with string(…), int(…) or double(…)"),
    ("9223372036854775808", "position 1: invalid int literal"),
    ("params.?note", 'the result is an optional value; end it with .orValue(…), as in params.?note.orValue("")'),
    ('params.orderId.matches("[a-")', "the regular expression is invalid (RE2): missing ]: [a-"),
    ("params.", "position 8: the expression ends too early; something is missing at its end"),
    ("x" * 1025, "the expression has 1025 characters and may have 1024; work part of it out in a set step before"),
    (
        "(" * 40 + "1" + ")" * 40,
        "the expression nests too deeply (32 levels; each operator in a row counts as one); work part of it out in a set step before",
    ),
    (
        "params.l.map(a, params.l.map(b, params.l.map(c, 1)))",
        "the expression loops 3 times (all, exists, map, filter) and may do so 2 times; work part of it out in a set step before",
    ),
    ("params.a\n  + nope", 'position 14: there is no "nope" here; there are: params, run, steps, vars'),
    ("'\ud800'", "position 2: '\\ud800' is half of a character; remove it"),
]

FAILED = [
    (
        "steps.charge.outputs.paymnt",
        'steps.charge.outputs.paymnt: there is no "paymnt"; there are: payment, receipt; did you mean "payment"?',
    ),
    ('steps["card-check"].outputs.no', 'steps["card-check"].outputs.no: there is no "no"; there is: ok'),
    (
        "steps.sip.outputs",
        'steps.sip: there is no "sip"; there are: card-check, charge, gift, label, pack, print, ship, wrap; did you mean "ship"?',
    ),
    (
        "steps.gift.outputs.card",
        'steps.gift.outputs.card: there is no "card": gift was skipped and has no outputs; test with has(steps.gift.outputs.card) before',
    ),
    (
        "steps.ship.outputs.id",
        'steps.ship.outputs.id: there is no "id": ship has not begun; test with has(steps.ship.outputs.id) before',
    ),
    (
        "steps.pack.outputs.id",
        'steps.pack.outputs.id: there is no "id": pack failed and has no outputs; test with has(steps.pack.outputs.id) before',
    ),
    (
        "steps.label.outputs.id",
        'steps.label.outputs.id: there is no "id": label failed, which a handler dealt with, and has no outputs; '
        "test with has(steps.label.outputs.id) before",
    ),
    (
        "steps.print.outputs.id",
        'steps.print.outputs.id: there is no "id": print left no outputs behind; test with has(steps.print.outputs.id) before',
    ),
    (
        "steps.wrap.outputs.id",
        'steps.wrap.outputs.id: there is no "id": wrap has no outputs yet; test with has(steps.wrap.outputs.id) before',
    ),
    ("vars.total + 1", 'vars.total: there is no "total"; no variable has been given a value yet'),
    ("error.message", 'error.message: there is no "message"; there are: attempt, detail, step, title, type'),
    ("item.skuu", 'item.skuu: there is no "skuu"; there are: qty, sku; did you mean "sku"?'),
    ("params.lines[1].parts[0].nam", 'params.lines[1].parts[0].nam: there is no "nam"; there is: name; did you mean "name"?'),
    ("params.lines.map(l, l.qty)", 'l.qty: there is no "qty" in params.lines[0]; there is: sku'),
    ("params.lines.filter(line, line.parts.size() > 0)", 'line.parts: there is no "parts" in params.lines[0]; there is: sku'),
    (
        "params.orderid",
        'params.orderid: there is no "orderid"; there are: amount, huge, lines, note, orderId, rate; did you mean "orderId"?',
    ),
    ("params.amount.currency", 'params.amount.currency: params.amount is the number 12, which has no "currency"'),
    ("params.note.x", 'params.note.x: params.note is null, which has no "x"'),
    ("params.lines[0].qty", 'params.lines[0].qty: there is no "qty"; there is: sku'),
    ("[{'a': 1}][0].b", '[{\'a\': 1}][0].b: there is no "b"; test with "b" in …, or has(…), before'),
    (
        'params.amount + "x"',
        'params.amount + "x": + does not work on a whole number and text; convert one of them with string(…), int(…) or double(…)',
    ),
    (
        "params.amount * params.rate",
        "params.amount * params.rate: * does not work on a whole number and a decimal number; "
        "convert one of them with double(…) or int(…), or write 2.0 for 2",
    ),
    ("params.note + 1", "params.note + 1: + does not work on null and a whole number; test with != null before"),
    ("params.amount ? 1 : 2", "params.amount ? 1 : 2: what stands before ? is neither true nor false"),
    ("!params.amount", "!params.amount: ! works on true and false only"),
    ("params.lines[3]", "params.lines[3]: there is no [3]; the list has 2, counted from 0"),
    ("1 / (params.amount - 12)", "1 / (params.amount - 12): division by zero; test for it before, as in x == 0 ? 0 : y / x"),
    ("int(params.orderId)", "int(params.orderId): int() was given text that is no number"),
    (
        "timestamp(params.orderId)",
        "timestamp(params.orderId): timestamp() was given text that is no RFC 3339 time; it should read like 2027-01-31T09:00:00Z",
    ),
    (
        "duration(params.orderId)",
        "duration(params.orderId): duration() was given text that is no duration; it should read like 1h30m or 90s",
    ),
    ("params.huge", "params.huge: 1180591620717411303424 does not fit into 64 bits; pass it as text"),
    ("9223372036854775807 + params.amount", "9223372036854775807 + params.amount: the result does not fit into 64 bits; use double(…)"),
    (
        "string(params.lines)",
        'string(params.lines): string() does not work on a list; use "%s".format([…]), or a template without string()',
    ),
    (
        "params.orderId.matches('(' + params.orderId)",
        "params.orderId.matches('(' + params.orderId): the regular expression is invalid (RE2): missing ): (a-17",
    ),
    ("type(params.amount)", "type(params.amount): the result is a type, not a value; JSON cannot hold it"),
    ("{params.amount: 1}", "{params.amount: 1}: the result is a map with the key 12, and keys in JSON are text; write string(12)"),
    ("params.rate / 0.0", "params.rate / 0.0: the result is inf, which JSON cannot hold; test for it before, as in x != 0.0 ? y / x : 0.0"),
    ("[params.?note]", "[params.?note]: the result holds an optional value; end it with .orValue(…)"),
]


@pytest.mark.parametrize(("source", "message"), REFUSED, ids=[source[:40].encode("ascii", "replace").decode() for source, _ in REFUSED])
def test_an_expression_that_cannot_be_compiled_is_refused_with_position_and_mend(source: str, message: str) -> None:
    with pytest.raises(InvalidExpression) as refused:
        compile_expression(source, VARIABLES)
    assert refused.value.message == message


@pytest.mark.parametrize(("source", "message"), FAILED, ids=[source for source, _ in FAILED])
def test_an_expression_that_fails_on_the_data_says_on_which_and_what_there_is(source: str, message: str) -> None:
    with pytest.raises(EvaluationError) as failed:
        compile_expression(source, EVERYWHERE).evaluate(DATA)
    assert str(failed.value) == message


def test_a_text_with_half_a_character_in_the_data_is_an_error_and_not_a_crash() -> None:
    with pytest.raises(EvaluationError, match="half of a character"):
        compile_expression("params.orderId + 'x'", VARIABLES).evaluate({"params": {"orderId": "\ud800"}})


def test_what_the_expression_does_not_refer_to_cannot_make_it_fail() -> None:
    assert compile_expression("params.amount + 1", VARIABLES).evaluate(DATA) == 13


def test_a_long_list_of_names_is_cut_short() -> None:
    with pytest.raises(EvaluationError) as failed:
        compile_expression("params.zzz", VARIABLES).evaluate({"params": {f"n{index:02}": 1 for index in range(30)}})
    assert str(failed.value) == 'params.zzz: there is no "zzz"; there are: n00, n01, n02, n03, n04, n05, n06, n07, n08, n09 and 20 more'
