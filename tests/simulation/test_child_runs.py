"""Child runs under faults: whenever the operator dies or the API server fails, there is one child run an attempt, and caller and child go both ways
together. The operator is the real one; the API server is modelled."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from backstay import names
from backstay.engine import journal
from tests.support.fake_api import FakeApi
from tests.support.operating import define, ended, eventually, survive, working

OK = {"job": {"image": "ok"}}
UNDOABLE = {**OK, "compensate": OK}
CHILD = {
    "parameters": [{"name": "n"}],
    "steps": [{"name": "x", **UNDOABLE}, {"name": "y", "set": {"v": "${params.n + 1}"}}],
    "outputs": [{"name": "v", "value": "${vars.v}"}],
}
CALL: dict[str, Any] = {"name": "h", "workflow": {"name": "child", "params": {"n": 41}}}
GOOD = {"steps": [CALL], "outputs": [{"name": "v", "value": "${steps.h.outputs.v}"}]}
SAGA = {"steps": [{"name": "a", **UNDOABLE}, CALL, {"name": "c", **UNDOABLE}, {"name": "f", "job": {"image": "fails"}}]}
WAITS = {"steps": [{"name": "a", **UNDOABLE}, {"name": "h", "workflow": {"name": "waits"}}]}
WAITING_CHILD = {"steps": [{"name": "x", **UNDOABLE}, {"name": "z", "job": {"image": "never"}}]}


def outcome(job: dict[str, Any]) -> tuple[int, str] | None:
    image = job["spec"]["template"]["spec"]["containers"][0]["image"]
    return {"ok": (0, orjson.dumps({"v": 7}).decode()), "fails": (1, ""), "never": None}[image]


def shop(**workflows: dict[str, Any]) -> FakeApi:
    api = FakeApi(outcome)
    for name, spec in {"child": CHILD, "waits": WAITING_CHILD, **workflows}.items():
        define(api, name, spec)
    return api


def all_ended(api: FakeApi) -> bool:
    return all(ended(api, run["metadata"]["name"]) for run in api.all("workflowruns"))


def children(api: FakeApi) -> list[dict[str, Any]]:
    return [run for run in api.all("workflowruns") if names.LABEL_PARENT in (run["metadata"].get("labels") or {})]


def steps_done(api: FakeApi) -> list[str]:
    """Which attempts were made, of any run, in order."""
    made = {job["metadata"]["name"]: job["metadata"]["annotations"] for job in api.all("jobs")}
    return [f"{made[name][names.ANNOTATION_PATH]}#{made[name][names.ANNOTATION_ATTEMPT]}" for name in api.created if name in made]


def phase(api: FakeApi, name: str = "r1") -> str:
    return str(((api.run(name) or {}).get("status") or {}).get("phase"))


async def run_to_the_end(
    spec: dict[str, Any], fault: str | None = None, at: int = 0, act: Callable[[FakeApi], bool] | None = None
) -> FakeApi:
    """Run a caller until all is over. `act` does what somebody does meanwhile, as soon as it can, and tells whether it could."""
    api = shop()
    api.fault = lambda number, verb, plural: fault if number == at else None
    api.apply_run({"workflow": {"inline": spec}})
    acted = act is None

    def over() -> bool:
        nonlocal acted
        acted = acted or (act is not None and act(api))
        return acted and all_ended(api)

    await survive(api, over)
    return api


def cancel(api: FakeApi) -> bool:
    """Cancel the caller once its child waits for a Job that never ends."""
    if not any("-z-" in name for name in api.created):
        return False
    api.edit_run(lambda run: run["spec"].update(cancel={"reason": "a whim"}))
    return True


def delete(api: FakeApi) -> bool:
    """Delete the caller then."""
    run = api.run()
    if run is None or not any("-z-" in name for name in api.created):
        return False
    api.remove("workflowruns", run)
    return True


FORWARD = ["a#1", "x#1", "c#1", "f#1"]
BACK = ["c:compensate#1", "x:compensate#1", "a:compensate#1"]
FAULTS = ("hang", "hang-after", "conflict", "unavailable", "lost")


async def test_a_child_run_is_made_once_and_its_outputs_come_back() -> None:
    api = await run_to_the_end(GOOD)
    (child,) = children(api)
    assert api.run()["status"]["outputs"] == {"v": 42}  # type: ignore[index]
    assert (phase(api), child["status"]["phase"]) == ("Succeeded", "Succeeded")
    assert child["metadata"]["ownerReferences"][0]["uid"] == "run-r1"
    assert child["metadata"]["annotations"][names.ANNOTATION_CALLERS] == "inline"


async def test_what_a_child_run_costs() -> None:
    """The caller's two status writes and its finalizer on and off; the child's own; one creation. And one request to let the child go."""
    api = await run_to_the_end(GOOD)
    assert api.writes.count(("create", "workflowruns")) == 1
    assert api.writes.count(("patch", "workflowruns")) == 2 + 2 + 2 + 2


async def test_a_run_without_children_costs_nothing_more() -> None:
    api = await run_to_the_end({"steps": [{"name": "a", **OK}]})
    assert api.writes == [("patch", "workflowruns"), ("create", "jobs"), ("patch", "workflowruns")]


async def test_caller_and_child_are_undone_in_the_reverse_order_of_all_steps() -> None:
    api = await run_to_the_end(SAGA)
    assert steps_done(api) == FORWARD + BACK
    assert (phase(api), children(api)[0]["status"]["phase"]) == ("Failed", "Compensated")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("spec", "act", "done", "ends"),
    [
        (GOOD, None, ["x#1"], ("Succeeded", "Succeeded")),
        (SAGA, None, FORWARD + BACK, ("Failed", "Compensated")),
        (WAITS, cancel, ["a#1", "x#1", "z#1", "x:compensate#1", "a:compensate#1"], ("Cancelled", "Cancelled")),
    ],
    ids=["good", "saga", "cancelled"],
)
async def test_a_fault_at_any_write_changes_no_outcome_and_no_child_is_made_twice(
    spec: dict[str, Any], act: Callable[[FakeApi], bool] | None, done: list[str], ends: tuple[str, str], fault: str
) -> None:
    writes = sum(1 for _, plural in (await run_to_the_end(spec, act=act)).writes if plural != "events")
    for at in range(writes + 1):
        api = await run_to_the_end(spec, fault, at, act)
        where = f"{fault} at write {at}"
        ran = [one for one in steps_done(api) if not one.startswith("z")]
        assert ran == [one for one in done if not one.startswith("z")], where
        assert len(set(api.created)) == len(api.created), where
        (child,) = children(api)
        assert (phase(api), child["status"]["phase"]) == ends, where
        for run in api.all("workflowruns"):
            journal.verify(run["status"])


async def test_a_caller_that_is_deleted_takes_its_child_along_undone_whenever_the_operator_dies() -> None:
    for at in range(5, 22):
        for fault in ("hang", "hang-after"):
            api = await run_to_the_end(WAITS, fault, at, delete)
            undone = [name for name in api.created if "compensate" in name]
            assert api.all("workflowruns") == [], f"{fault} at write {at}: {[run['metadata'] for run in api.all('workflowruns')]}"
            assert len(undone) == 2, f"{fault} at write {at}: {api.created}"
            assert "-h-" in undone[0], "the child is undone first"


# --------------------------------------------------------------------------------------------------------------- what people do


async def test_a_child_that_ended_while_no_operator_was_there_is_heard_of() -> None:
    """Its last write was made by an operator that died before it could tell anybody."""
    api = shop()
    api.fault = lambda number, verb, plural: "hang-after" if (verb, plural) == ("patch", "workflowruns") and _has_ended(api) else None
    api.apply_run({"workflow": {"inline": GOOD}})
    async with working(api):
        await eventually(lambda: api.hung.is_set())
    api.fault = lambda number, verb, plural: None
    async with working(api):
        await eventually(lambda: all_ended(api))
    assert api.run()["status"]["outputs"] == {"v": 42}  # type: ignore[index]


def _has_ended(api: FakeApi) -> bool:
    return bool(children(api)) and phase(api, children(api)[0]["metadata"]["name"]) == "Succeeded"


async def test_a_child_that_somebody_deletes_undoes_itself_and_fails_its_step() -> None:
    api = shop()
    api.apply_run({"workflow": {"inline": {"steps": [{**CALL, "workflow": {"name": "waits"}}]}}})
    async with working(api):
        await eventually(lambda: any("-z-" in name for name in api.created))
        api.remove("workflowruns", children(api)[0])
        await eventually(lambda: ended(api))
    assert any("x-compensate" in name for name in api.created)
    assert (phase(api), api.run()["status"]["error"]["type"]) == ("Failed", "Cancelled")  # type: ignore[index]
    assert children(api) == []


async def test_a_child_whose_finalizer_is_torn_off_fails_its_step() -> None:
    api = shop()
    api.apply_run({"workflow": {"inline": {"steps": [{**CALL, "workflow": {"name": "waits"}}]}}})
    async with working(api):
        await eventually(lambda: any("-z-" in name for name in api.created))
        child = children(api)[0]
        child["metadata"].pop("finalizers")
        api.remove("workflowruns", child)
        await eventually(lambda: ended(api))
    assert api.run()["status"]["error"]["type"] == "ChildFailed"  # type: ignore[index]


async def test_a_child_that_has_succeeded_is_kept_while_its_caller_goes_on_whoever_deletes_it() -> None:
    api = shop()
    api.apply_run({"workflow": {"inline": {"steps": [CALL, {"name": "gate", "job": {"image": "never"}}]}}})
    async with working(api):
        await eventually(lambda: any("gate" in name for name in api.created))
        name = children(api)[0]["metadata"]["name"]
        api.remove("workflowruns", children(api)[0])
        assert api.run(name) is not None
        api.finish_job(1, (1, ""))
        await eventually(lambda: ended(api) and api.run(name) is None)
    assert any("x-compensate" in job for job in api.created)


async def test_a_run_that_has_succeeded_is_undone_with_its_child_when_somebody_asks() -> None:
    api = await run_to_the_end({"steps": [{"name": "a", **UNDOABLE}, CALL]})
    assert all_ended(api)
    async with working(api):
        api.edit_run(lambda run: run["spec"].update(compensate={"reason": "sent back"}))
        await eventually(lambda: phase(api) == "Compensated" and all_ended(api))
    assert steps_done(api) == ["a#1", "x#1", "x:compensate#1", "a:compensate#1"]
    assert children(api)[0]["status"]["phase"] == "Compensated"


async def test_a_run_of_somebody_else_that_has_the_name_is_left_alone_and_told() -> None:
    api = shop()
    spec = {"workflow": {"inline": {"steps": [CALL]}}}
    foreign = names.child_name("r1", "run-r1", "h", 1)
    api.apply_run({"workflow": {"inline": {"steps": [{"name": "w", "job": {"image": "never"}}]}}}, foreign)
    api.apply_run(spec)
    async with working(api):
        await eventually(lambda: ended(api))
    error = api.run()["status"]["error"]  # type: ignore[index]
    assert error["type"] == "InvalidRun"
    assert f"WorkflowRun shop/{foreign}" in error["detail"]
    assert phase(api, foreign) == "Running"


async def test_a_child_that_nobody_waits_for_lives_on_when_its_caller_is_deleted() -> None:
    api = shop()
    api.apply_run({"workflow": {"inline": {"steps": [{**CALL, "workflow": {"name": "waits", "wait": False}}]}}})
    async with working(api):
        await eventually(lambda: ended(api) and any("-z-" in name for name in api.created))
        api.remove("workflowruns", api.run())  # type: ignore[arg-type]
        (child,) = children(api)
        assert "ownerReferences" not in child["metadata"]
        assert child["status"]["phase"] == "Running"


async def test_a_workflow_that_calls_itself_ends_where_its_condition_says() -> None:
    again = {"name": "again", "if": "${params.n > 1}", "workflow": {"name": "countdown", "params": {"n": "${params.n - 1}"}}}
    api = shop(countdown={"parameters": [{"name": "n"}], "steps": [again], "outputs": [{"name": "n", "value": "${params.n}"}]})
    api.apply_run({"workflow": {"name": "countdown"}, "parameters": {"n": 5}})
    async with working(api):
        await eventually(lambda: all_ended(api) and len(children(api)) == 4)
    depths = sorted(run["metadata"]["annotations"][names.ANNOTATION_CALLERS].count("countdown") for run in children(api))
    assert depths == [1, 2, 3, 4]


async def test_a_workflow_that_calls_itself_for_ever_is_stopped_by_the_limit_and_undone() -> None:
    api = shop(forever={"steps": [{"name": "a", **UNDOABLE}, {"name": "again", "workflow": {"name": "forever"}}]})
    api.apply_run({"workflow": {"name": "forever"}})
    async with working(api, max_child_depth=3):
        await eventually(lambda: ended(api) and all_ended(api))
    error = api.run()["status"]["error"]  # type: ignore[index]
    assert (error["type"], len(children(api))) == ("LimitExceeded", 3)
    assert error["step"] == "again:child/again:child/again:child/again"
    assert "forever > forever > forever > forever > forever" in error["detail"]
    assert steps_done(api) == ["a#1"] * 4 + ["a:compensate#1"] * 4


async def test_two_operators_at_once_do_no_harm() -> None:
    api = shop()
    api.apply_run({"workflow": {"inline": SAGA}})
    async with working(api), working(api):
        await eventually(lambda: ended(api) and all_ended(api))
    assert steps_done(api) == FORWARD + BACK
    assert len(children(api)) == 1


# ------------------------------------------------------------------------------------------------------------ what is left behind


async def test_a_child_that_was_kept_is_let_go_by_the_next_operator_where_the_last_one_could_not() -> None:
    api = shop()
    api.fault = lambda number, verb, plural: "hang" if _is_letting_go(api, verb, plural) else None
    api.apply_run({"workflow": {"inline": GOOD}})
    async with working(api):
        await eventually(lambda: api.hung.is_set())
    assert (phase(api), ended(api, children(api)[0]["metadata"]["name"])) == ("Succeeded", False)
    api.fault = lambda number, verb, plural: None
    async with working(api):
        await eventually(lambda: all_ended(api))


async def test_a_child_that_its_callers_own_compensation_has_undone_is_let_go_too() -> None:
    api = shop()
    undone_otherwise = {"steps": [{**CALL, "compensate": OK}, {"name": "f", "job": {"image": "fails"}}]}
    api.apply_run({"workflow": {"inline": undone_otherwise}})
    async with working(api):
        await eventually(lambda: ended(api) and not children(api)[0]["metadata"].get("finalizers"))
    assert steps_done(api) == ["x#1", "f#1", "h:compensate#1"]
    assert phase(api, children(api)[0]["metadata"]["name"]) == "Succeeded"


async def test_a_child_whose_caller_was_forced_away_is_let_go_by_the_round_of_the_operator_that_kept_it() -> None:
    api = shop()
    api.apply_run({"workflow": {"inline": {"steps": [CALL, {"name": "gate", "job": {"image": "never"}}]}}})
    async with working(api) as operator:
        await eventually(lambda: any("gate" in name for name in api.created) and len(operator.store) == 1)
        (child,), caller = children(api), api.run()
        assert caller is not None
        child["metadata"]["ownerReferences"] = []
        caller["metadata"]["finalizers"] = []
        api.remove("workflowruns", caller)
        await eventually(lambda: api.run() is None and len(operator.store) == 0)
        assert children(api)[0]["metadata"]["finalizers"] == [names.FINALIZER]
        await operator.sweeper.round(None)
        await eventually(lambda: not children(api)[0]["metadata"].get("finalizers"))


def _is_letting_go(api: FakeApi, verb: str, plural: str) -> bool:
    caller_is_free = phase(api) == "Succeeded" and not api.run()["metadata"].get("finalizers")  # type: ignore[index]
    return caller_is_free and (verb, plural) == ("patch", "workflowruns")


async def test_a_child_leaves_with_its_caller_and_not_before() -> None:
    """Its own time to live, which is its caller's, is long over."""
    short = {"ttl": {"succeeded": "1s"}}
    api = shop()
    api.apply_run({"workflow": {"inline": {"steps": [CALL, {"name": "gate", "job": {"image": "never"}}]}}, **short})
    async with working(api):
        await eventually(lambda: any("gate" in name for name in api.created))
    (child,) = children(api)
    child["status"]["finishedAt"] = "2020-01-01T00:00:00Z"
    child["metadata"].pop("finalizers", None)
    async with working(api, sweep_seconds=0.01) as operator:
        await operator.sweeper.round(None)
        assert children(api) != []
        child["metadata"]["ownerReferences"] = []
        await eventually(lambda: children(api) == [])
