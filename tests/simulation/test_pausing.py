"""Kill the operator at any write of a run that pauses and is steered by a person: each attempt is made once, each request met once."""

from typing import Any

import orjson
import pytest
from prometheus_client import generate_latest

from backstay import names
from backstay.engine import journal
from backstay.runtime.operator import Operator
from tests.support.fake_api import FakeApi
from tests.support.operating import ended, eventually, operating

PAY = {"name": "pay", "job": {"image": "fails"}, "onExhausted": "Pause", "retry": {"maxAttempts": 2, "interval": "1ms", "jitter": "None"}}
SPEC = {"steps": [PAY, {"name": "ship", "job": {"image": "ok", "args": ["${ steps.pay.phase }"]}}]}
RETRY = {"id": "r1", "step": "pay", "action": "Retry", "edit": {"image": "ok"}}
SKIP = {"id": "r1", "step": "pay", "action": "Skip", "outputs": {"v": 1}}
GIVE_UP = {"id": "r1", "step": "pay", "action": "GiveUp"}


def outcome(job: dict[str, Any]) -> tuple[int, str]:
    image = job["spec"]["template"]["spec"]["containers"][0]["image"]
    return (1, "") if image == "fails" else (0, orjson.dumps({"v": 7}).decode())


def is_paused(api: FakeApi) -> bool:
    steps = ((api.run() or {}).get("status") or {}).get("steps") or ()
    return any(step["phase"] == "Paused" for step in steps)


def ask(api: FakeApi, request: dict[str, Any]) -> None:
    """A person asks, once the step is paused; nothing is asked twice."""
    if is_paused(api) and not (api.run() or {})["spec"].get("requests"):
        api.edit_run(lambda run: run["spec"].update(requests=[request]))


async def run_to_the_end(request: dict[str, Any], fault: str | None, at: int) -> FakeApi:
    api = FakeApi(outcome)
    api.fault = lambda number, verb, plural: fault if number == at else None
    api.apply_run({"workflow": {"inline": SPEC}})
    for _ in range(2):
        async with operating(api):
            await eventually(lambda: ask(api, request) or ended(api) or api.hung.is_set())
        api.hung.clear()
        if ended(api):
            return api
    raise AssertionError("it does not end")


def made(api: FakeApi) -> list[str]:
    jobs = {job["metadata"]["name"]: job["metadata"]["annotations"] for job in api.all("jobs")}
    return [f"{jobs[name][names.ANNOTATION_PATH]}#{jobs[name][names.ANNOTATION_ATTEMPT]}" for name in api.created if name in jobs]


@pytest.mark.parametrize("fault", ["hang", "hang-after", "conflict", "unavailable", "lost"])
@pytest.mark.parametrize(
    ("request_", "jobs", "phase"),
    [
        (RETRY, ["pay#1", "pay#2", "pay#3", "ship#1"], "Succeeded"),
        (SKIP, ["pay#1", "pay#2", "ship#1"], "Succeeded"),
        (GIVE_UP, ["pay#1", "pay#2"], "Failed"),
    ],
    ids=["retry", "skip", "give-up"],
)
async def test_whenever_the_operator_dies_a_person_is_heard_once(request_: dict[str, Any], jobs: list[str], phase: str, fault: str) -> None:
    writes = sum(1 for _, plural in (await run_to_the_end(request_, None, 0)).writes if plural != "events")
    for at in range(writes + 1):
        api = await run_to_the_end(request_, fault, at)
        where = f"{fault} at write {at}"
        assert made(api) == jobs, where
        status = (api.run() or {})["status"]
        assert (status["phase"], status["answers"]) == (phase, {"r1": "Done"}), where
        kinds = [entry["kind"] for entry in status["journal"]["entries"]]
        assert (kinds.count("StepPaused"), kinds.count("RequestMet")) == (1, 1), where
        journal.verify(status)


def counted(operator: Operator) -> list[str]:
    """How many runs the operator counts, by workflow and phase; without those of which there are none."""
    lines = generate_latest(operator.metrics.registry).decode().splitlines()
    return [line for line in lines if line.startswith("backstay_runs{") and not line.endswith(" 0.0")]


async def test_a_run_that_needs_a_person_is_counted_as_stalled_by_the_next_operator_as_well() -> None:
    api = FakeApi(outcome)
    api.apply_run({"workflow": {"inline": SPEC}})
    for _ in range(2):
        async with operating(api) as operator:
            await eventually(lambda operator=operator: counted(operator) == ['backstay_runs{phase="Stalled",workflow="inline"} 1.0'])  # type: ignore[misc]
    async with operating(api) as operator:
        ask(api, RETRY)
        await eventually(lambda: ended(api))
        await eventually(lambda: counted(operator) == [])


async def test_a_run_that_is_deleted_while_it_is_paused_is_not_counted_any_more() -> None:
    api = FakeApi(outcome)
    api.apply_run({"workflow": {"inline": SPEC}})
    async with operating(api) as operator:
        await eventually(lambda: is_paused(api) and counted(operator))
        api.remove("workflowruns", api.run() or {})
        await eventually(lambda: api.run() is None and counted(operator) == [])
