"""Values with expressions in them: what keeps its type, what becomes text, and where a mistake is."""

from typing import Any

import pytest

from backstay.errors import EvaluationError, InvalidExpression
from backstay.expressions import compile_template, find_expressions

DATA: dict[str, Any] = {"params": {"n": 12, "f": 1.0, "yes": True, "none": None, "text": "hi", "list": [1, "a"], "map": {"k": "ü"}}}


def render(value: Any) -> Any:
    return compile_template(value, ["params"]).render(DATA)


@pytest.mark.parametrize(
    ("value", "rendered"),
    [
        ("${ params.n }", 12),
        ("${params.n}", 12),
        ("${ params.f }", 1.0),
        ("${ params.yes }", True),
        ("${ params.none }", None),
        ("${ params.list }", [1, "a"]),
        ("${ params.map }", {"k": "ü"}),
        ("${ params.n }\n", 12),
        ("  ${ params.n }", 12),
        ("${ {'a': {'b': '}'}} }", {"a": {"b": "}"}}),
        ("n=${ params.n }", "n=12"),
        ("${ params.n }${ params.text }", "12hi"),
        ("a ${params.f} b", "a 1.0 b"),
        ("is ${ params.yes }", "is true"),
        ("is ${ params.none }", "is null"),
        ("<${ params.list }>", '<[1,"a"]>'),
        ("<${ params.map }>", '<{"k":"ü"}>'),
        ("<${ params.text }>", "<hi>"),
        ("$${ params.n }", "${ params.n }"),
        ("$${x} and ${ params.n }", "${x} and 12"),
        ("cost: $5", "cost: $5"),
        ("$", "$"),
        ("{ } $ {", "{ } $ {"),
        ("", ""),
        ("${ 'a' + \"}\" }", "a}"),
        ("${ '\\'}' }", "'}"),
        ("${ r'\\}' }", "\\}"),
        ('${ """ "}" """ }', ' "}" '),
        ("${ 1 // a } comment\n }", 1),
        (["${ params.n }", "x", 3, None], [12, "x", 3, None]),
        ({"a": "${ params.n }", "b": {"c": ["-${ params.text }"]}}, {"a": 12, "b": {"c": ["-hi"]}}),
        ({"${ params.n }": 1}, {"${ params.n }": 1}),
        (5, 5),
        (None, None),
    ],
)
def test_a_whole_expression_keeps_its_type_and_anything_else_becomes_text(value: Any, rendered: Any) -> None:
    found = render(value)
    assert found == rendered
    assert type(found) is type(rendered)


def test_text_is_asked_for_where_only_text_will_do() -> None:
    assert compile_template("${ params.list }", ["params"]).render_text(DATA) == '[1,"a"]'
    assert compile_template("${ params.text }", ["params"]).render_text(DATA) == "hi"
    assert compile_template({"a": 1}, ["params"]).render_text(DATA) == '{"a":1}'


def test_a_template_without_expressions_is_constant() -> None:
    assert compile_template({"a": ["x", "$${literal}"]}, ["params"]).is_constant
    assert compile_template({"a": ["x", "$${literal}"]}, ["params"]).render({}) == {"a": ["x", "${literal}"]}
    assert not compile_template({"a": ["${ 1 }"]}, ["params"]).is_constant


def test_a_template_tells_where_its_expressions_stand() -> None:
    value = {"image": "shop:${ params.n }", "args": ["x", "${ params.text }-${ params.f }"]}
    assert compile_template(value, ["params"]).expressions == (("image", "params.n"), ("args[1]", "params.text"), ("args[1]", "params.f"))
    assert list(find_expressions(value)) == [("image", "params.n"), ("args[1]", "params.text"), ("args[1]", "params.f")]
    assert list(find_expressions("${ a } $${ b }")) == [("", "a")]


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        ({"args": ["ok", "${ params.n"]}, "args[1]", '"${" at position 1 has no end; close it with }, or write $${ for a literal ${'),
        ("a ${ 'x }", "", '"${" at position 3 has no end; close it with }, or write $${ for a literal ${'),
        ({"a": {"b": "${ }"}}, "a.b", "the expression is empty; write what it should be, as in ${ params.name }"),
        ({"a": ["${ nope }"]}, "a[0]", 'position 1: there is no "nope" here; there is: params'),
    ],
)
def test_a_mistake_is_told_with_its_place_in_the_value(value: Any, path: str, message: str) -> None:
    with pytest.raises(InvalidExpression) as refused:
        compile_template(value, ["params"])
    assert (refused.value.path, refused.value.message) == (path, message)


def test_a_failure_is_told_with_its_place_in_the_value() -> None:
    with pytest.raises(EvaluationError) as failed:
        render({"args": ["x", "${ params.txt }"]})
    assert str(failed.value).startswith('args[1]: params.txt: there is no "txt"; there are: ')


def test_a_value_that_nests_too_deeply_is_refused_and_does_not_exhaust_the_stack() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidExpression, match="nests deeper than 64 levels"):
        compile_template(deep, ["params"])
    with pytest.raises(InvalidExpression, match="nests deeper than 64 levels"):
        list(find_expressions(deep))


def test_many_results_together_may_not_be_larger_than_one() -> None:
    with pytest.raises(
        EvaluationError, match=r"the value has about 4\d\d,\d\d\d bytes as JSON and may have 262,144; pass large data by reference"
    ):
        compile_template(["${ params.t }"] * 4, ["params"]).render({"params": {"t": "x" * 100_000}})
