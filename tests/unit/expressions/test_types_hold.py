"""What is said of an expression without data is true of every run: what is called certain to fail fails, and what it gives is of the type that was told."""

import os
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from backstay.engine.codec import canonical
from backstay.errors import EvaluationError, InvalidExpression
from backstay.expressions import Program, compile_expression
from backstay.expressions.types import ANY, Type, infer, join, map_of, of_value, type_of_schema
from backstay.expressions.types.model import DOUBLE, INT, NUMBER, WORDS, scalar

EXAMPLES = int(os.environ.get("BACKSTAY_EXAMPLES", "500"))
NAMES = ("a", "b", "c")
TEXTS = st.sampled_from(["", "a", "abc", "12", "1.5", "true", "1h", "2027-01-31T09:00:00Z", "a,b"])
WHOLE = st.integers(-3, 300)
DECIMALS = st.sampled_from([0.0, 1.5, -2.25, 3.0, 1e10])

Schema = dict[str, Any]


@st.composite
def schemas(draw: st.DrawFn, depth: int = 3) -> Schema:
    """A schema of the kinds that people write."""
    scalars = ["string", "integer", "number", "boolean", "null"]
    weighted = [*scalars, "number", "number"]
    kind = draw(st.sampled_from([*weighted, "list", "enum", "any", *(["array", "object", "object", "anyOf", "list"] if depth else [])]))
    if kind == "any":
        return {}
    if kind == "enum":
        return {"enum": draw(st.lists(st.one_of(TEXTS, WHOLE, st.none()), min_size=1, max_size=3))}
    if kind == "list":
        return {"type": draw(st.lists(st.sampled_from(scalars), min_size=1, max_size=2, unique=True))}
    if kind == "anyOf":
        return {"anyOf": draw(st.lists(schemas(depth - 1), min_size=1, max_size=2))}
    if kind == "array":
        return {"type": "array", "items": draw(schemas(depth - 1))}
    if kind == "object":
        properties = draw(st.dictionaries(st.sampled_from(NAMES), schemas(depth - 1), max_size=3))
        rest = draw(st.sampled_from([True, False, False, {"type": "integer"}]))
        return {"type": "object", "properties": properties, "additionalProperties": rest}
    return {"type": kind}


def values_of(schema: Schema | bool) -> st.SearchStrategy[Any]:
    """Values that satisfy such a schema."""
    if not isinstance(schema, dict) or not schema:
        return st.one_of(TEXTS, WHOLE, DECIMALS, st.none(), st.booleans(), st.lists(WHOLE, max_size=2), st.just({"a": 1}))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of(*map(values_of, schema["anyOf"]))
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of(*(_values_of_kind(kind, schema) for kind in kinds))


def _values_of_kind(kind: str, schema: Schema) -> st.SearchStrategy[Any]:
    match kind:
        case "string":
            return TEXTS
        case "integer":
            return st.one_of(WHOLE, st.just(4.0))
        case "number":
            return st.one_of(WHOLE, DECIMALS)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            return st.lists(values_of(schema["items"]), max_size=3)
    known = {name: values_of(below) for name, below in schema["properties"].items()}
    more = {name: WHOLE for name in NAMES if schema["additionalProperties"] is not False and name not in known}
    return st.one_of(st.fixed_dictionaries(known), st.fixed_dictionaries({}, optional={**known, **more}))


LITERALS = st.sampled_from(
    ["1", "2.5", "'a'", "true", "false", "null", "[1, 2]", "{'a': 1}", "[]", "timestamp('2027-01-31T09:00:00Z')", "duration('1h')", "2u"]
)
CONDITIONS = st.sampled_from(
    ["params.a == params.b", "has(params.a)", "params.c != null", "type(params.a) == string", "params.a in [1, 'a']", "params.a == 1"]
)
OPERATORS = st.sampled_from(["+", "+", "-", "*", "/", "%", "==", "!=", "<", ">=", "in"])
UNARY = st.sampled_from(
    """size({}) {}.size() string({}) int({}) double({}) dyn({}) !{} -{} {}.a {}.b {}['c'] {}[0] {}.startsWith('a') {}.split(',') {}.sort() {}.reverse()
    {}.first().orValue(1) {}.?a.orValue(2) {}.?a.?b.orValue('x') {}[?0].orValue(0) has({}.a) type({})==int {}.map(x,x) {}.filter(x,x==1) {}.all(x,x>1)
    {}.exists(x,x.a==1) {}.map(x,x.a) {}.map(x,[x]) [{}] {{'a':{}}} cel.bind(q,{},q) {}.flatten() {}.distinct() {}.slice(0,1) timestamp({}) duration({})
    {}.getHours() {}.matches('a') {}.join(',') {}.lowerAscii() math.greatest({},1) optional.of({}).orValue(1) {}.or(optional.of(1)).value()
    base64.encode(b'x')+{} bytes({}) bool({}) {}.trim() {}.charAt(0) {}.sortBy(x,x) {}.map(x,x+1)[0] {}.last().value() [?{}.?a]
    {}.sum() json.encode({}) json.decode({}) lists.range({}) sets.contains({},[1]) regex.replace({},'a','b') regex.extractAll({},'a') math.sqrt({})
    {}.map(x,{}) strings.quote({}) {}.indexOf('a') {}.optMap(q,q).orValue(1) {{'b':1}}.map(k,{})""".split()  # noqa: SIM905
)


@st.composite
def parameters(draw: st.DrawFn) -> Schema:
    """A schema of parameters a, b and c."""
    return {"type": "object", "properties": {name: draw(schemas(2)) for name in NAMES}, "additionalProperties": False}


@st.composite
def expressions(draw: st.DrawFn, depth: int = 2) -> str:
    """An expression over `params`, of which many would fail on most data."""
    kind = draw(
        st.sampled_from(["reference", "reference", "literal", *(["operator", "logic", "function", "function", "choice"] if depth else [])])
    )
    inner = expressions(depth - 1)
    match kind:
        case "literal":
            return draw(LITERALS)
        case "reference":
            return "params." + draw(st.sampled_from(["a", "a", "b", "b", "c", "a.b", "b.c", "c.a", "a[0]", "b[0]"]))
        case "operator":
            left, right = draw(st.sampled_from(["params.a", "params.b", draw(inner)])), draw(inner)
            return f"({left} {draw(OPERATORS)} {right})"
        case "logic":
            return f"({draw(CONDITIONS)} {draw(st.sampled_from(['&&', '||']))} {draw(inner)})"
        case "function":
            return draw(UNARY).replace("{}", draw(inner)).replace("{{", "{").replace("}}", "}")
    return f"({draw(CONDITIONS)} ? {draw(inner)} : {draw(inner)})"


def fits(value: Any, wanted: Type) -> bool:
    """Whether a JSON value is of a type."""
    if wanted.is_any:
        return True
    match value:
        case None:
            return "null" in wanted.kinds
        case bool():
            return "bool" in wanted.kinds
        case int():
            return "int" in wanted.kinds
        case float():
            return "double" in wanted.kinds
        case str():
            return "string" in wanted.kinds
        case list():
            return "list" in wanted.kinds and all(fits(item, wanted.item or ANY) for item in value)
    fields = wanted.fields
    if "map" not in wanted.kinds or fields is None:
        return "map" in wanted.kinds
    return all((below := fields.get(name)) is not None and fits(item, below) for name, item in value.items())


def compiled(source: str) -> Program:
    try:
        return compile_expression(source, ["params"])
    except InvalidExpression:
        assume(False)
        raise


@given(schema=parameters(), source=expressions(), data=st.data())
@settings(max_examples=EXAMPLES, deadline=None)
@example(
    schema={"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}, source="params.a + 1.5", data=None
)
def test_what_is_said_without_data_holds_for_all_data(schema: Schema, source: str, data: st.DataObject | None) -> None:
    program = compiled(source)
    given_type, complaints = infer(program, {"params": type_of_schema(schema)})
    values = [{"a": 4.0}] if data is None else [data.draw(values_of(schema)) for _ in range(3)]
    for value in values:
        found = canonical(value)
        assert fits(found, type_of_schema(schema))
        try:
            answer = program.evaluate({"params": found})
        except EvaluationError:
            continue
        assert not [complaint.message for complaint in complaints if complaint.is_certain], (found, answer)
        assert fits(answer, given_type), (found, answer, str(given_type))


@given(value=values_of({}), other=values_of({}))
@settings(max_examples=EXAMPLES // 5, deadline=None)
def test_what_is_said_to_be_never_equal_is_never_equal(value: Any, other: Any) -> None:
    program = compile_expression("params.a == params.b", ["params"])
    _, complaints = infer(program, {"params": map_of({"a": of_value(value), "b": of_value(other)})})
    if complaints:
        assert program.evaluate({"params": {"a": canonical(value), "b": canonical(other)}}) is False


@given(one=schemas(), other=schemas(), data=st.data())
@settings(max_examples=EXAMPLES // 5, deadline=None)
def test_a_type_that_is_joined_from_two_takes_the_values_of_both(one: Schema, other: Schema, data: st.DataObject) -> None:
    both = join(type_of_schema(one), type_of_schema(other))
    for schema in (one, other):
        assert fits(canonical(data.draw(values_of(schema))), both)


def test_every_kind_has_words() -> None:
    assert str(scalar(INT)) == "a whole number"
    assert str(NUMBER) == "a number"
    assert str(scalar(INT, DOUBLE, "null", "string")) == "a number, text or null"
    assert all(str(scalar(kind)) == words for kind, words in WORDS.items())
