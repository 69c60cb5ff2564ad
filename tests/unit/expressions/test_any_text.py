"""Whatever a user writes either compiles or is refused as InvalidExpression; whatever compiles gives JSON or EvaluationError."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from backstay.errors import EvaluationError, InvalidExpression
from backstay.expressions import compile_expression, compile_template, find_expressions, references

VARIABLES = ("params", "vars")
TOKENS = st.sampled_from(
    """params vars .a .b .?c [0] ["k"] ( ) [ ] { } , : ? ! - + * / % == != < > && || in 1 2u 3.5 "x" 'y' b"z" r'\\' true null
    has( size( .map(x, .filter(x, .all(x, .exists(x, x .matches( .replace( .split( .join( .format( timestamp( duration( string( int(
    cel.bind(q, q optional.of( .orValue( type( // $ @ é 😀""".split()  # noqa: SIM905
)
TEXTS = st.one_of(st.text(max_size=200), st.lists(TOKENS, max_size=25).map(" ".join), st.lists(TOKENS, max_size=25).map("".join))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "c", "k"]), inner, max_size=4),
    max_leaves=20,
)


@given(source=TEXTS, data=st.dictionaries(st.sampled_from(VARIABLES), JSON))
@settings(max_examples=400, deadline=None)
def test_any_text_compiles_or_is_refused_and_any_program_answers_or_fails(source: str, data: dict[str, Any]) -> None:
    try:
        program = compile_expression(source, VARIABLES)
        answer = program.evaluate(data)
    except (InvalidExpression, EvaluationError) as error:
        assert str(error).strip()
    else:
        json.dumps(answer, allow_nan=False)


@given(source=TEXTS)
@settings(max_examples=200, deadline=None)
def test_references_are_found_in_whatever_parses(source: str) -> None:
    try:
        found = references(source)
    except InvalidExpression:
        return
    assert all(chain and all(isinstance(name, str) for name in chain) for chain in found)


@given(
    value=st.recursive(
        st.one_of(TEXTS, TEXTS.map(lambda text: f"a ${{{text}}} b"), st.integers()), lambda inner: st.lists(inner, max_size=3)
    )
)
@settings(max_examples=200, deadline=None)
def test_any_value_is_a_template_or_is_refused(value: Any) -> None:
    try:
        template = compile_template(value, VARIABLES)
    except InvalidExpression:
        return
    assert list(template.expressions) == list(find_expressions(value))
    if template.is_constant:
        template.render({})
