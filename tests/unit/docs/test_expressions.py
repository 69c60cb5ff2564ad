"""docs/expressions.md is true: every row of its tables is evaluated, every function is in them, every limit is the one that is enforced."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.api.actions.iteration import ForEach
from backstay.api.validate.sees import FIELDS, INSIDE
from backstay.errors import EvaluationError
from backstay.expressions import compile_expression, cost, explain, format, limits, syntax

PAGE = (Path(__file__).parents[3] / "docs" / "expressions.md").read_text(encoding="utf-8")
VARIABLES = ("params", "vars", "run", "steps")
OPERATORS = ["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "!", "? :", "in", "[ ]"]
MACROS = ("all", "exists", "exists_one", "filter", "map", "sortBy", "has", "cel.bind", "optMap", "optFlatMap")


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every row of every table, without the heads."""
    for line in text.splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if line.startswith("| `") and cells:
            yield cells


def code(cell: str) -> str:
    return cell.removeprefix("`").removesuffix("`")


DATA: dict[str, Any] = yaml.safe_load(section("Functions").split("```yaml\n")[1].split("```")[0])
EXAMPLES = [(code(cells[0]), code(cells[1])) for cells in rows(section("Functions"))]
MISTAKES = [(code(cells[0]), cells[1]) for cells in rows(section("Errors"))]


@pytest.mark.parametrize(("source", "gives"), EXAMPLES, ids=[source for source, _ in EXAMPLES])
def test_an_example_gives_what_the_table_says(source: str, gives: str) -> None:
    found = compile_expression(source, VARIABLES).evaluate(DATA)
    assert json.dumps(found) == json.dumps(json.loads(gives))


@pytest.mark.parametrize(("source", "says"), MISTAKES, ids=[source for source, _ in MISTAKES])
def test_a_mistake_says_what_the_table_says(source: str, says: str) -> None:
    with pytest.raises(EvaluationError) as failed:
        compile_expression(source, VARIABLES).evaluate(DATA)
    assert str(failed.value) == says


def shown() -> set[str]:
    """The names of all functions, operators and macros that stand in the table."""
    found: set[str] = set()
    for source, _ in EXAMPLES:
        for node in syntax.walk(compile_expression(source, VARIABLES).tree):
            if isinstance(node, syntax.Call):
                found.add(explain.operator(node.function).removesuffix("()"))
        found |= {name for name in MACROS if re.search(rf"(?<![\w]){re.escape(name)}\(", source)}
        found |= {name for name in ("math.greatest", "math.least") if name in source}
    return found


def test_every_function_operator_and_macro_is_in_the_table() -> None:
    assert {*explain.FUNCTIONS, *OPERATORS} - shown() == set()


def test_no_function_is_in_the_table_that_suggestions_do_not_know() -> None:
    inner = {"@not_strictly_false", "@sortByAssociatedKeys", "math.@max", "math.@min", "[?_]", ".?"}
    assert {name for name in shown() if name[0].isalpha()} - {*explain.FUNCTIONS, *OPERATORS, *inner} == set()


def test_every_name_that_is_there_in_some_places_only_is_told() -> None:
    told = section("What is seen where")
    names = {name for look in FIELDS.values() for name, _ in look.names}
    names |= {name for given in INSIDE.values() for name, _ in given(ForEach.model_construct(as_="item"))}
    assert {name for name in {*names, "self", "error"} if f"`{name}`" not in told} == set()


def test_every_field_that_is_a_condition_is_told_with_what_it_sees() -> None:
    told = section("What is seen where")
    fields = {owner.model_fields[field].alias or field for (owner, field), look in FIELDS.items() if look.names or look.inside}
    assert {field for field in fields if f"`{field}`" not in told and field not in ("when", "message")} == set()


def test_the_limits_are_those_that_are_enforced() -> None:
    told = section("Limits")
    for number in (
        f"{limits.MAX_LENGTH:,} characters",
        f"{limits.MAX_COMPREHENSIONS} loops",
        f"{cost.MAX_TURNS:,} turns",
        f"{limits.MAX_MEMORY_BYTES / 1e6:.0f} MB",
        f"{limits.MAX_NANOSECONDS / 1e9:.1f} s",
        f"{format.MAX_RESULT_BYTES:,} bytes",
        f"{format.MAX_DEPTH} levels",
    ):
        assert number in told
