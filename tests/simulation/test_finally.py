"""Kill the operator at every call to the API server while a run tidies up and starts its recovery: the outcome is always the same, no Job runs
twice, and exactly one recovery run is there. The operator is the real one; the API server is modelled."""

from typing import Any

import pytest

from backstay import names
from backstay.engine import journal
from tests.simulation.test_crashes import outcome, steps_done
from tests.support.fake_api import FakeApi, Object
from tests.support.operating import eventually, operating, run_through

TIDY = [{"name": "tidy", "job": {"image": "ok"}}]
SPEC: dict[str, Any] = {
    "steps": [
        {"name": "a", "job": {"image": "ok"}, "compensate": {"job": {"image": "ok"}}, "finally": TIDY},
        {"name": "b", "job": {"image": "fails"}, "finally": TIDY},
    ],
    "finally": TIDY,
    "onFailure": {"workflow": {"name": "mend", "params": {"error": "${ error.type }"}}},
}
STEPS = ["a#1", "a:finally/tidy#1", "b#1", "b:finally/tidy#1", "a:compensate#1", "/:finally/tidy#1"]


def recoveries(api: FakeApi) -> list[Object]:
    return [run for run in api.all("workflowruns") if names.ANNOTATION_DETACHED in (run["metadata"].get("annotations") or {})]


async def run_to_the_end(fault: str | None, at: int) -> FakeApi:
    return await run_through(outcome, SPEC, fault, at)


def check(api: FakeApi, where: str) -> None:
    assert steps_done(api) == STEPS, where
    status = (api.run() or {})["status"]
    (made,) = recoveries(api)
    assert (status["phase"], status["recovery"]) == ("Failed", made["metadata"]["name"]), where
    assert made["spec"]["parameters"] == {"error": "ExitCode"}
    assert not made["metadata"].get("ownerReferences")
    journal.verify(status)


@pytest.mark.parametrize("fault", ["hang", "hang-after", "conflict", "lost"])
async def test_a_fault_at_any_write_changes_nothing_of_what_comes_last(fault: str) -> None:
    right = await run_to_the_end(None, 0)
    check(right, "no fault")
    writes = sum(1 for _, plural in right.writes if plural != "events")
    for at in range(writes + 1):
        check(await run_to_the_end(fault, at), f"{fault} at write {at}")


async def test_a_run_that_is_deleted_tidies_up_before_it_goes_whenever_the_operator_dies() -> None:
    spec = {"steps": [{"name": "hold", "wait": {"duration": "1h"}, "finally": TIDY}], "finally": TIDY}
    for at in range(12):
        api = FakeApi(outcome)
        api.fault = lambda number, verb, plural, at=at: "hang-after" if number == at else None  # type: ignore[misc]
        api.apply_run({"workflow": {"inline": spec}})
        async with operating(api):
            await eventually(lambda api=api: api.hung.is_set() or "hold" in str((api.run() or {}).get("status", {}).get("step")))
            run = api.run()
            if run is not None:
                api.remove("workflowruns", run)
            await eventually(lambda api=api: api.run() is None or api.hung.is_set())
        async with operating(api):
            await eventually(lambda api=api: api.run() is None)
        began = any("hold" in name for name in api.created)
        expected = ["hold:finally/tidy", "/:finally/tidy"] if began else []
        made = [name for name in api.created if "finally-tidy" in name]
        assert len(made) == len(set(made)) == len(expected), f"at write {at}: {api.created}"
        assert api.all("jobs") == [], "Jobs have outlived the run"
