"""docs/failures.md is what its catalogue says, and every row of that is shown by a test that is there."""

import ast
import inspect
from pathlib import Path

import pytest

from tests.scenarios import failures, suite
from tests.scenarios.catalogue.all import CATALOGUE, ROWS, SCENARIOS
from tests.scenarios.catalogue.rows import MINE
from tests.support.failures_page import PAGE, page

ROOT = Path(__file__).parents[3]
WANTED = 60
"""So many failures are there at least."""


def names_in(file: Path) -> set[str]:
    """The names of the tests in a file."""
    found = ast.parse(file.read_text()).body
    return {node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")}


def test_the_page_is_what_the_catalogue_says() -> None:
    assert PAGE.read_text() == page(), "run `make failures`"


def test_the_catalogue_is_long_enough_and_no_name_stands_twice() -> None:
    assert len(ROWS) >= WANTED
    assert len(ROWS) == sum(len(rows) for rows in CATALOGUE.values())


@pytest.mark.parametrize("name", ROWS)
def test_each_failure_is_shown_by_a_test_that_is_there(name: str) -> None:
    row = ROWS[name]
    assert row.scenario is not None or row.tests, "nothing shows it"
    missing = [test for test in row.tests if not _is_there(*test.split("::"))]
    assert missing == []


def _is_there(file: str, name: str) -> bool:
    return (ROOT / file).exists() and name in names_in(ROOT / file)


def test_the_scenarios_are_played_on_both_clusters() -> None:
    file, _, name = MINE.partition("::")
    assert ROOT / file == Path(inspect.getfile(failures))
    assert hasattr(suite, name)
    for tests in ("tests/embedded/test_scenarios.py", "tests/e2e/test_scenarios.py"):
        assert "from tests.scenarios.suite import *" in (ROOT / tests).read_text()


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_scenario_says_what_is_to_be_seen(name: str) -> None:
    scenario = SCENARIOS[name]
    seen = (scenario.error, scenario.undone, scenario.ends, scenario.attempts, scenario.outputs, scenario.events, scenario.journal)
    assert any(item not in (None, "", {}, ()) for item in seen)
    assert scenario.phase != "Failed" or scenario.error or scenario.goes, "a run that fails has an error"
