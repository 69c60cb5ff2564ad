"""Entries leave the status for WorkflowJournals: whatever happens in between, each stands in one of the two, and no outcome changes.

The bounds are made tiny, so that a dozen steps do what thousands do. The operator is the real one; the API server is modelled.
"""

import copy
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from backstay.engine import bounds, journal
from backstay.engine.codec import entry_from_json
from backstay.engine.model import Entry, State
from backstay.kube import journals
from tests.simulation.test_crashes import outcome, steps_done
from tests.support.fake_api import FakeApi
from tests.support.operating import ended, eventually, operating

JOB = {"image": "ok", "args": ["${steps.b.outputs.v}"]}
LONG = {
    "steps": [
        {"name": "a", "job": {"image": "ok"}, "compensate": {"job": {"image": "ok"}}},
        {"name": "b", "job": {"image": "ok"}, "compensate": {"job": {"image": "ok"}}},
        *({"name": f"s{place}", "set": {"x": place}} for place in range(6)),
        {"name": "c", "job": {"image": "ok", "args": ["${string(steps.b.outputs.v)}"]}},
        {"name": "d", "job": {"image": "fails"}},
    ]
}
ORDER = ["a#1", "b#1", "c#1", "d#1", "b:compensate#1", "a:compensate#1"]


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"KEEP_ENTRIES": 6, "LEAVE_ENTRIES": 3, "WORTH_ENTRIES": 2, "STEPS_BYTES": 900}.items():
        monkeypatch.setattr(bounds, name, value)


def status_of(api: FakeApi) -> dict[str, Any]:
    return (api.run() or {}).get("status") or {}


def archived(api: FakeApi) -> list[Entry]:
    """What stands in WorkflowJournals, in order."""
    parts = sorted((journals.part_of(one) for one in api.all("workflowjournals")), key=lambda part: part.first)
    return [entry for part in parts for entry in part.entries]


def whole(api: FakeApi) -> State:
    """Put the journal together from both places, and hold the status against it: nothing is missing, and what is in both is the same."""
    status, moved = status_of(api), archived(api)
    told = [entry_from_json(data) for data in (status.get("journal") or {}).get("entries") or ()]
    assert [entry.sequence for entry in moved] == list(range(1, len(moved) + 1)), "an entry is archived twice, or one is missing"
    begin = (status.get("journal") or {}).get("archived", 0)
    assert begin <= len(moved), "entries have left the status that stand nowhere"
    assert moved[begin:] == told[: len(moved) - begin], "what stands in both places differs"
    return journal.verify(status, journal.fold(moved[:begin]))


def watched(fault: Callable[[FakeApi, int], str | None]) -> FakeApi:
    """An API server at which the whole journal is looked at before every write."""
    api = FakeApi(outcome)

    def before_a_write(number: int, verb: str, plural: str) -> str | None:
        if status_of(api):
            whole(api)
        return fault(api, number)

    api.fault = before_a_write
    api.apply_run({"workflow": {"inline": LONG}})
    return api


async def to_the_end(fault: str | None, at: int) -> FakeApi:
    api = watched(lambda _, number: fault if number == at else None)
    async with operating(api):
        await eventually(lambda: ended(api) or api.hung.is_set())
    if not ended(api):
        async with operating(api):
            await eventually(lambda: ended(api))
    return api


async def test_a_long_run_leaves_its_older_entries_in_journal_objects_that_are_its_own() -> None:
    api = await to_the_end(None, 0)
    assert (status_of(api)["phase"], steps_done(api)) == ("Failed", ORDER)
    assert whole(api).run.is_finished
    assert status_of(api)["stepsOmitted"] > 0
    first = api.all("workflowjournals")[0]
    assert first["metadata"]["labels"]["backstay.dev/run"] == "run-r1"
    assert first["metadata"]["ownerReferences"] == [
        {"apiVersion": "backstay.dev/v1alpha1", "kind": "WorkflowRun", "name": "r1", "uid": "run-r1"}
    ]
    assert {key: first["spec"][key] for key in ("run", "first")} == {"run": {"name": "r1", "uid": "run-r1"}, "first": 1}
    assert first["spec"]["count"] == first["spec"]["last"] == len(first["spec"]["entries"])
    api.remove("workflowruns", api.run() or {})
    assert api.all("workflowjournals") == []


@pytest.mark.parametrize("fault", ["hang", "hang-after", "conflict", "unavailable", "lost", "busy"])
async def test_a_fault_at_or_beside_any_write_of_a_journal_loses_no_entry_and_changes_no_outcome(fault: str) -> None:
    right = await to_the_end(None, 0)
    parts = len(right.all("workflowjournals"))
    moves = [number for number, (_, plural) in enumerate(right.writes) if plural == "workflowjournals"]
    for at in sorted({number + beside for number in moves for beside in (-1, 0, 1)}):
        api = await to_the_end(fault, at)
        where = f"{fault} at write {at}"
        assert steps_done(api) == ORDER, where
        assert len(set(api.created)) == len(api.created), where
        assert status_of(api)["phase"] == "Failed", where
        assert whole(api).run.is_finished, where
        assert abs(len(api.all("workflowjournals")) - parts) <= 1, where


async def test_two_operators_at_once_archive_the_same() -> None:
    api = watched(lambda *_: None)
    async with operating(api), operating(api):
        await eventually(lambda: ended(api))
    assert (steps_done(api), status_of(api)["phase"]) == (ORDER, "Failed")
    assert whole(api).run.is_finished


async def test_an_operator_that_is_started_between_all_writes_goes_on_from_both_places() -> None:
    """It dies after each of its writes: every look begins with reading what the one before has left."""
    api = watched(lambda api, number: None if api.hung.is_set() else "hang-after")
    for _ in range(60):
        api.hung.clear()
        async with operating(api):
            await eventually(lambda: ended(api) or api.hung.is_set())
        if ended(api):
            break
    assert (steps_done(api), status_of(api)["phase"]) == (ORDER, "Failed")
    assert whole(api).run.is_finished


# --------------------------------------------------------------------------------------------------- what goes wrong for good


async def halfway(api: FakeApi) -> None:
    """Let an operator run until some steps are left out and the third Job is made, which goes on; then it is gone."""
    api.outcome = lambda job: None if len(api.created) >= 3 else outcome(job)
    async with operating(api):
        await eventually(lambda: len(api.created) == 3 and status_of(api).get("stepsOmitted"))


def warnings(api: FakeApi, reason: str) -> list[str]:
    return [event["note"] for event in api.all("events") if event["reason"] == reason]


async def test_without_its_journals_a_run_that_leaves_out_steps_waits_and_says_which_entries_are_missing() -> None:
    api = watched(lambda *_: None)
    await halfway(api)
    kept = copy.deepcopy(api.all("workflowjournals"))
    for one in kept:
        del api.objects["workflowjournals", "shop", one["metadata"]["name"]]
    api.fault = lambda *_: None
    before = status_of(api)
    async with operating(api):
        await eventually(lambda: warnings(api, "JournalIncomplete"))
    count = before["journal"]["archived"]
    told = warnings(api, "JournalIncomplete")[0]
    assert f"the entries 1 to {count} of its journal are in no WorkflowJournal of this run (UID run-r1)" in told
    assert "restore the run together with its WorkflowJournals" in told
    assert status_of(api) == before
    for one in kept:
        api.put("workflowjournals", one)
    api.outcome = outcome
    async with operating(api):
        api.finish_job(2, (0, '{"v": 7}'))
        await eventually(lambda: ended(api))
    assert (steps_done(api), whole(api).run.is_finished) == (ORDER, True)


async def test_a_run_that_was_restored_as_a_copy_is_told_apart_from_the_run_whose_journals_are_there() -> None:
    api = watched(lambda *_: None)
    await halfway(api)
    run = copy.deepcopy(api.run() or {})
    api.fault = lambda *_: None
    api.forget("workflowruns", "r1")
    run["metadata"]["uid"] = "another"
    api.put("workflowruns", run)
    async with operating(api):
        await eventually(lambda: warnings(api, "JournalIncomplete"))
    told = warnings(api, "JournalIncomplete")[0]
    assert "in no WorkflowJournal of this run (UID another)" in told
    assert "of a run of this name with the UID run-r1: this one is a copy, restored under a UID of its own" in told


def edited(one: dict[str, Any]) -> None:
    one["spec"]["entries"][1]["reason"] = "because"


def shortened(one: dict[str, Any]) -> None:
    del one["spec"]["entries"][1]


def emptied(one: dict[str, Any]) -> None:
    one["spec"] = {}


@pytest.mark.parametrize(
    ("change", "words"), [(edited, "entry 3 does not follow entry 2"), (shortened, "and does not"), (emptied, "cannot be read")]
)
async def test_a_journal_that_was_changed_is_named_and_not_believed(change: Callable[[dict[str, Any]], None], words: str) -> None:
    api = watched(lambda *_: None)
    await halfway(api)
    api.fault = lambda *_: None
    name = min(one["metadata"]["name"] for one in api.all("workflowjournals"))
    change(api.objects["workflowjournals", "shop", name])
    async with operating(api):
        await eventually(lambda: warnings(api, "JournalIncomplete"))
    assert name in warnings(api, "JournalIncomplete")[0]
    assert words in warnings(api, "JournalIncomplete")[0]


async def test_something_else_under_the_name_of_a_journal_is_told_and_left_alone() -> None:
    api = FakeApi(outcome)
    run = api.apply_run({"workflow": {"inline": LONG}})
    right = await to_the_end(None, 0)
    foreign = copy.deepcopy(right.all("workflowjournals")[0])
    foreign["spec"]["entries"][0]["reason"] = "somebody else's"
    assert run["metadata"]["uid"] == foreign["spec"]["run"]["uid"]
    api.put("workflowjournals", foreign)
    async with operating(api):
        await eventually(lambda: warnings(api, "JournalIncomplete"))
    assert "holds other entries than those that are to be moved to it" in warnings(api, "JournalIncomplete")[0]
    assert len(status_of(api)["journal"]["entries"]) <= bounds.KEEP_ENTRIES


async def test_a_run_that_is_deleted_goes_on_without_its_journals_undoes_what_it_knows_and_goes() -> None:
    """Foreground deletion takes away what a run owns before the run itself; so does the end of a namespace."""
    api = watched(lambda *_: None)
    await halfway(api)
    api.fault = lambda *_: None
    api.outcome = outcome
    for one in api.all("workflowjournals"):
        api.remove("workflowjournals", one)
    api.remove("workflowruns", api.run() or {})
    shown = {step["path"] for step in status_of(api)["steps"]}
    assert "b" in shown
    history: list[dict[str, Any]] = []
    api.fault = lambda *_: history.append(status_of(api))  # type: ignore[func-returns-value]
    async with operating(api):
        await eventually(lambda: api.run() is None)
    told = [
        entry for status in history for entry in (status.get("journal") or {}).get("entries") or () if entry["kind"] == "StatusRestored"
    ]
    assert "others are not known any more" in told[0]["reason"]
    undone = [name for name in api.created if "compensate" in name]
    assert len(undone) == len({"a", "b"} & shown), "what the status shows is undone"


async def test_where_a_namespace_ends_entries_that_find_no_place_are_dropped_and_the_run_goes() -> None:
    api = watched(lambda *_: None)
    await halfway(api)
    api.fault = lambda *_: None
    api.terminating.add("shop")
    api.remove("workflowruns", api.run() or {})
    async with operating(api):
        await eventually(lambda: api.run() is None)


async def test_the_status_is_at_no_moment_larger_than_it_may_be() -> None:
    sizes: list[int] = []
    api = watched(lambda api, _: sizes.append(len(orjson.dumps(status_of(api).get("steps") or []))))  # type: ignore[func-returns-value]
    async with operating(api):
        await eventually(lambda: ended(api))
    assert max(sizes) <= 900
