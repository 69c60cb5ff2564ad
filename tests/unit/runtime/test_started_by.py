"""Who started a run: from the annotation that the API server vouches for into the first entry of the journal."""

from typing import Any

import pytest

from backstay.api.validate import parse_workflow
from backstay.engine.decide import decide
from backstay.engine.model import Observations, State
from backstay.engine.program import compile_program
from backstay.names import ANNOTATION_STARTED_BY
from backstay.runtime.view import identity_of
from tests.support.world import START

PROGRAM = compile_program(parse_workflow({"steps": [{"name": "a", "set": {"x": 1}}]}))


@pytest.mark.parametrize(
    ("annotations", "actor"), [({ANNOTATION_STARTED_BY: "alice"}, "alice"), ({"other": "x"}, "operator"), (None, "operator")]
)
def test_the_journal_begins_with_who_started_the_run(annotations: dict[str, str] | None, actor: str) -> None:
    meta: dict[str, Any] = {"uid": "u", "name": "r", "namespace": "shop", "annotations": annotations}
    decision = decide(PROGRAM, identity_of({"metadata": meta, "spec": {}}), State(), Observations(), START)
    first = decision.entries[0]
    assert (first.kind, first.actor) == ("RunStarted", actor)
