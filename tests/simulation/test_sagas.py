"""Kill the operator at every call while a run is undone, let writes conflict and answers be lost: each step is undone by exactly one Job, in order.

The operator is the real one; the API server is modelled, as in `test_crashes`.
"""

from typing import Any

import orjson
import pytest

from backstay import names
from backstay.api.workflow import WorkflowSpec
from backstay.engine import codec, journal
from backstay.engine.program import compile_program
from tests.support.fake_api import FakeApi
from tests.support.operating import ended, eventually, operating, run_through
from tests.support.saga_rules import check_saga

OK = {"image": "ok"}
UNDO = {"job": {"image": "undo"}}


def done(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "job": OK, "compensate": UNDO, **more}


FAILS = {"name": "fails", "job": {"image": "fails"}}
BRANCHES = [{"name": "x", "steps": [done("s")]}, {"name": "y", "steps": [done("s")]}]
SAGAS: dict[str, dict[str, Any]] = {
    "one after the other": {"steps": [done("a"), done("b"), FAILS]},
    "side by side": {"onFailure": {"parallel": True}, "steps": [done("a"), {"name": "p", "parallel": {"branches": BRANCHES}}, FAILS]},
    "a part, and then the rest": {"steps": [done("a"), done("b"), {"name": "back", "undo": {"to": "a"}}, done("c"), FAILS]},
    "a step that is left": {
        "steps": [done("a"), done("b", compensate={"job": {"image": "fails"}, "retry": {"maxAttempts": 1}, "onExhausted": "Skip"}), FAILS]
    },
}
UNDONE = {
    "one after the other": ["b", "a"],
    "side by side": ["p/x/s", "p/y/s", "a"],
    "a part, and then the rest": ["b", "c", "a"],
    "a step that is left": ["b", "a"],
}


def outcome(job: dict[str, Any]) -> tuple[int, str]:
    image = job["spec"]["template"]["spec"]["containers"][0]["image"]
    return (1, "") if image == "fails" else (0, orjson.dumps({"v": 7}).decode())


def undone(api: FakeApi) -> list[str]:
    """The steps for which a compensation was made, in that order; each made at most one Job."""
    paths = {job["metadata"]["name"]: job["metadata"]["annotations"][names.ANNOTATION_PATH] for job in api.all("jobs")}
    made = [paths[name].removesuffix(":compensate") for name in api.created if ":compensate" in paths.get(name, "")]
    assert len(made) == len(set(made)), f"undone twice: {made}"
    return made


async def run_to_the_end(spec: dict[str, Any], fault: str | None, at: int) -> FakeApi:
    return await run_through(outcome, spec, fault, at)


def check(api: FakeApi, spec: dict[str, Any]) -> None:
    status: dict[str, Any] = api.run()["status"]  # type: ignore[index]
    journal.verify(status)
    entries = [codec.entry_from_json(entry) for entry in status["journal"]["entries"]]
    check_saga(compile_program(WorkflowSpec.model_validate(spec)), entries)


@pytest.mark.parametrize("fault", ["hang", "hang-after", "conflict", "lost"])
@pytest.mark.parametrize("name", SAGAS)
async def test_each_step_is_undone_by_one_job_whatever_happens_at_any_write(name: str, fault: str) -> None:
    spec = SAGAS[name]
    right = await run_to_the_end(spec, None, 0)
    assert sorted(undone(right)) == sorted(UNDONE[name])
    writes = [place for place, (verb, plural) in enumerate(right.writes) if plural != "events"]
    first = next(place for place, name_ in enumerate(right.created) if "compensate" in name_)
    for at in range(first, len(writes) + 1):
        api = await run_to_the_end(spec, fault, at)
        where = f"{fault} at write {at}"
        assert sorted(undone(api)) == sorted(UNDONE[name]), where
        assert api.run()["status"]["phase"] == "Failed", where  # type: ignore[index]
        check(api, spec)


@pytest.mark.parametrize("fault", ["hang", "hang-after", "lost"])
async def test_a_run_that_is_cancelled_while_it_undoes_a_part_is_undone_once_whenever_the_operator_dies(fault: str) -> None:
    """What was cut off is undone as well, and told that nobody knows."""
    spec = {"steps": [done("a"), done("b"), {"name": "back", "undo": {"to": "a"}}, {**done("c"), "job": {"image": "waits"}}]}
    for at in range(4, 14):
        api = FakeApi(lambda job: None if job["spec"]["template"]["spec"]["containers"][0]["image"] == "waits" else (0, ""))
        api.fault = lambda number, verb, plural, at=at: fault if number == at else None  # type: ignore[misc]
        api.apply_run({"workflow": {"inline": spec}})
        async with operating(api):
            await eventually(lambda api=api: api.hung.is_set() or any("-c-" in name for name in api.created))
        api.edit_run(lambda run: run["spec"].update(cancel={"reason": "rain"}))
        async with operating(api):
            await eventually(lambda api=api: ended(api) or api.hung.is_set())
        if not ended(api):
            async with operating(api):
                await eventually(lambda api=api: ended(api))
        where = f"{fault} at write {at}"
        assert [path for path in undone(api) if path != "c"] in (["b", "a"], ["a"]), where
        check(api, spec)
