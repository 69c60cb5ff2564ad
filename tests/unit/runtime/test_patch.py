"""The status patch: as little as possible on the wire, exactly the status that was meant, and only on the version it was made for."""

import json
from typing import Any

import jsonpatch
from hypothesis import given
from hypothesis import strategies as st

from backstay.runtime.patch import status_patch


def applied(run: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = jsonpatch.apply_patch(run, status_patch(run, status))
    return found


def run_with(status: dict[str, Any] | None) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "7"}, **({} if status is None else {"status": status})}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
statuses = st.fixed_dictionaries(
    {},
    optional={
        "phase": st.text(max_size=3),
        "vars": st.dictionaries(st.text(max_size=3), json_values, max_size=3),
        "outputs": json_values,
        "steps": st.lists(json_values, max_size=5),
    },
)


@given(st.none() | statuses, statuses)
def test_the_patch_leads_to_the_status(before: dict[str, Any] | None, after: dict[str, Any]) -> None:
    # As text, for Python takes True for 1.
    assert json.dumps(applied(run_with(before), after)["status"], sort_keys=True) == json.dumps(after, sort_keys=True)


def test_the_patch_holds_the_version_it_was_made_for() -> None:
    assert status_patch(run_with({}), {"phase": "Running"})[0] == {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}


def test_what_stays_is_not_sent() -> None:
    before = {"phase": "Running", "steps": [{"path": "a", "phase": "Running"}, {"path": "b", "phase": "Running"}]}
    after = {
        "phase": "Running",
        "steps": [{"path": "a", "phase": "Running"}, {"path": "b", "phase": "Succeeded"}, {"path": "c", "phase": "Running"}],
    }
    assert [(op["op"], op["path"]) for op in status_patch(run_with(before), after)[1:]] == [
        ("replace", "/status/steps/1"),
        ("add", "/status/steps/-"),
    ]


def test_what_equals_in_python_and_not_in_json_is_sent() -> None:
    assert len(status_patch(run_with({"vars": {"paid": True}}), {"vars": {"paid": 1}})) == 2
    assert len(status_patch(run_with({"steps": [{"outputs": 0}]}), {"steps": [{"outputs": False}]})) == 2
