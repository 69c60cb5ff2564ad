"""The one table of phases: what is not in it is raised; what the kinds say of themselves agrees with it."""

import importlib
import pkgutil
import re

import pytest

from backstay.api.steps import Compensate, Step, actions
from backstay.engine import steps, transitions
from backstay.engine.model import DONE, ENDED, Phase
from backstay.engine.steps import KINDS
from backstay.errors import IllegalTransition

PAIRS = [(before, after) for before in (None, *Phase) for after in Phase]


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_a_step_changes_only_as_the_table_says(before: Phase | None, after: Phase) -> None:
    allowed = after in transitions.STEP.get(before, frozenset()) or (before == after and before not in ENDED)
    if before in transitions.STEP and allowed:
        transitions.check_step("a", before, after)
    elif before in transitions.STEP:
        with pytest.raises(IllegalTransition, match="may not go from"):
            transitions.check_step("a", before, after)


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_a_run_changes_only_as_the_table_says(before: Phase | None, after: Phase) -> None:
    if before not in transitions.RUN or before == after:
        return
    if after in transitions.RUN[before]:
        transitions.check_run(before, after)
    else:
        with pytest.raises(IllegalTransition, match="may not go from"):
            transitions.check_run(before, after)


def test_what_has_ended_stays_ended() -> None:
    for phase in ENDED:
        assert transitions.STEP[phase] <= {Phase.COMPENSATED}
    assert DONE < ENDED


def kind_modules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(steps.__path__)]


@pytest.mark.parametrize("name", kind_modules())
def test_a_kind_opens_with_its_table_and_the_table_agrees(name: str) -> None:
    doc = importlib.import_module(f"backstay.engine.steps.{name}").__doc__ or ""
    assert "Example:" in doc, "a kind shows how it is written"
    header, rows = re.search(r"( +state +on +becomes +then\n)((?: {4}\S.*\n)+)", doc).groups()  # type: ignore[union-attr]
    at = header.index("becomes")
    on = header.index(" on ")
    assert rows
    for row in rows.splitlines():
        before, after = row[:on].strip(), row[at:].split()[0]
        start = None if before == "(new)" else Phase(before)
        assert Phase(after) == start or Phase(after) in transitions.STEP[start], row


def test_every_action_has_a_kind_and_every_kind_an_action() -> None:
    assert set(actions(Step)) == set(KINDS)
    assert set(actions(Compensate)) <= set(KINDS)
