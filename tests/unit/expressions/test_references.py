"""What an expression refers to is taken from its syntax tree, so texts and names bound by macros are no references."""

import pytest

from backstay.errors import InvalidExpression
from backstay.expressions import compile_expression, references


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("params.orderId", [("params", "orderId")]),
        ("steps.charge.outputs.payment", [("steps", "charge", "outputs", "payment")]),
        ('steps["card-check"].outputs.ok', [("steps", "card-check", "outputs", "ok")]),
        ('"steps.charge.outputs" + params.a', [("params", "a")]),
        ("params.lines.map(l, l.sku + params.p)", [("params", "lines"), ("params", "p")]),
        ("params.lines.map(params, params.sku)", [("params", "lines")]),
        ("params.a.all(x, params.b.exists(y, x == y && vars.z))", [("params", "a"), ("params", "b"), ("vars", "z")]),
        ("cel.bind(q, vars.x, q.y)", [("vars", "x")]),
        ("params.?o.p.orValue(run.name)", [("params", "o", "p"), ("run", "name")]),
        ("params.?o.optMap(v, v.x).orValue(1)", [("params", "o")]),
        ("has(steps.a.outputs.y)", [("steps", "a", "outputs", "y")]),
        ("steps", [("steps",)]),
        ("steps.exists(k, steps[k].phase == 'x')", [("steps",)]),
        ("params.list[0].x", [("params", "list")]),
        ("params.list[params.n].x", [("params", "list"), ("params", "n")]),
        ("params.a.b(params.c).d", [("params", "a"), ("params", "c")]),
        ("{params.k: [params.v]}", [("params", "k"), ("params", "v")]),
        ("params.a + params.a", [("params", "a")]),
        ("nothing.known", [("nothing", "known")]),
        ("1 + 2", []),
        ("size(params.a) > 1 ? vars.b : vars['c-d']", [("params", "a"), ("vars", "b"), ("vars", "c-d")]),
    ],
)
def test_references_are_followed_as_far_as_names_are_constant(source: str, found: list[tuple[str, ...]]) -> None:
    assert references(source) == found


def test_a_compiled_program_knows_its_references() -> None:
    assert compile_expression("params.a == vars.b", ["params", "vars"]).references == (("params", "a"), ("vars", "b"))


def test_an_expression_that_does_not_parse_has_no_references() -> None:
    with pytest.raises(InvalidExpression, match="ends too early"):
        references("params.")


def test_the_same_expression_is_compiled_once_for_the_same_variables() -> None:
    assert compile_expression("params.a", ["params", "vars"]) is compile_expression("params.a", ("vars", "params"))
    assert compile_expression("params.a", ["params"]) is not compile_expression("params.a", ["params", "vars"])
