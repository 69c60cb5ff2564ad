"""No expression hangs or takes the operator's memory: what could is refused when it is compiled, or fails at once on the data."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import EvaluationError
from backstay.expressions import compile_expression, regex
from tests.unit.expressions import hostile

_SECONDS, _MEGABYTES = 3.0, 100.0
"""The machine may be busy, so the limit on time is well above what an evaluation takes (half a second at most)."""


def run(source: str, data: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(Path(hostile.__file__))],
        input=json.dumps({"source": source, "data": data}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("name", hostile.WHATEVER_THE_DATA)
def test_what_hurts_whatever_the_data_is_refused_when_it_is_compiled(name: str) -> None:
    cost = run(hostile.WHATEVER_THE_DATA[name], {})
    assert cost["outcome"] == "InvalidExpression", cost
    assert cost["seconds"] < _SECONDS
    assert cost["megabytes"] < _MEGABYTES


@pytest.mark.parametrize("name", hostile.ON_LARGE_DATA)
def test_what_hurts_on_large_data_fails_at_once(name: str) -> None:
    cost = run(*hostile.ON_LARGE_DATA[name])
    assert cost["outcome"] == "EvaluationError", cost
    assert cost["seconds"] < _SECONDS
    assert cost["megabytes"] < _MEGABYTES


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ("params.lines.map(l, l.sku + ':' + string(l.qty))", {"lines": [{"sku": f"sku-{i}", "qty": i} for i in range(1000)]}),
        ("params.lines.filter(l, l.qty > 10).size()", {"lines": [{"sku": f"sku-{i}", "qty": i} for i in range(1000)]}),
        ("params.lines.all(l, l.sku.matches('^[a-z]+-[0-9]{1,6}$'))", {"lines": [{"sku": f"sku-{i}"} for i in range(1000)]}),
        ("params.ids.exists(i, i == params.id)", {"ids": [f"id-{i}" for i in range(9999)], "id": "id-9998"}),
        ("params.orders.map(o, o.lines.map(l, l.sku))", {"orders": [{"lines": [{"sku": "a"}] * 20}] * 100}),
        ("params.text.split('\\n').size()", {"text": "a line of text\n" * 10_000}),
        ("params.text.contains('needle')", {"text": "hay " * 100_000}),
        ("params.text + params.text", {"text": "x" * 100_000}),
        ("params.id.matches('^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$')", {"id": "123e4567-e89b-12d3-a456-426614174000"}),
        ("params.names.join(', ')", {"names": ["a name"] * 5000}),
        ("params.names.distinct().size()", {"names": [f"name-{i % 100}" for i in range(9000)]}),
        ("params.lines.sortBy(l, l.qty)[0].sku", {"lines": [{"sku": f"sku-{i}", "qty": -i} for i in range(1000)]}),
        ("params.numbers.sum()", {"numbers": list(range(9000))}),
        ("lists.range(params.names.size() + 1).size()", {"names": ["a name"] * 500}),
        ("lists.range(params.names.size()).map(i, params.names[i])", {"names": ["a name"] * 500}),
        ("sets.contains(params.ids, params.some)", {"ids": [f"id-{i}" for i in range(1000)], "some": ["id-1", "id-99"]}),
        ("json.decode(params.t).size()", {"t": "[" + "1," * 9_999 + "1]"}),
        ("json.encode(params.lines).size()", {"lines": [{"sku": f"sku-{i}", "qty": i} for i in range(1000)]}),
        ("regex.replace(params.text, '[0-9]+', '#')", {"text": "order 17 of 2027 " * 1000}),
        ("params.orders.map(o, o.lines).flatten().size()", {"orders": [{"lines": [1, 2, 3]}] * 1000}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_sensible_work_on_a_good_deal_of_data_is_done(source: str, data: dict[str, Any]) -> None:
    compile_expression(source, ["params"]).evaluate({"params": data})


def test_the_message_says_what_it_would_take_and_what_to_do() -> None:
    program = compile_expression("params.l.map(x, params.big + string(x))", ["params"])
    with pytest.raises(EvaluationError) as failed:
        program.evaluate({"params": {"l": hostile.NUMBERS[:1000], "big": hostile.BIG}})
    assert str(failed.value).startswith("params.l.map(x, params.big + string(x)): on this data it could take ")
    assert str(failed.value).endswith("and may take 64 MB; use smaller values or lists, or work it out in a job")


def test_a_list_that_is_too_long_to_loop_over_is_told_with_its_length() -> None:
    with pytest.raises(EvaluationError, match="may take 9,999 turns in all, and a list here has 10,000 elements"):
        compile_expression("params.l.exists(x, x == 1)", ["params"]).evaluate({"params": {"l": list(range(10_000))}})


def test_data_that_nests_a_thousand_deep_neither_crashes_nor_passes() -> None:
    deep: Any = 1
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(EvaluationError, match="nests deeper than 64 levels"):
        compile_expression("params.d + params.d", ["params"]).evaluate({"params": {"d": deep}})


@pytest.mark.parametrize(
    ("pattern", "least", "most"),
    [
        ("abc", 3, 10),
        ("a{100}", 100, 120),
        ("(a{1,100}){1,9}", 900, 1200),
        (r"\d{4}-\d{2}-\d{2}", 8, 50),
        (r"\pL{10}", 7000, 8000),
        ("((((", 1, 10),
        ("a{99999999}", 65_000, 65_000),
    ],
)
def test_counted_repetitions_of_a_regular_expression_multiply_its_states(pattern: str, least: int, most: int) -> None:
    assert least <= regex.states(pattern) <= most
