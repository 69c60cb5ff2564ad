"""Transactions under faults: whenever the operator dies or the API server fails, all participants commit or all abort, and what is told to them
was written before. The operator is the real one; the API server is modelled, and participants keep books of what they are told."""

from typing import Any

import orjson
import pytest

from backstay import names
from backstay.engine import journal
from backstay.names import transaction_id
from tests.support.fake_api import FakeApi
from tests.support.operating import ended, survive

FAULTS = ("hang", "hang-after", "unavailable", "lost")
QUICK = {"interval": "1ms", "jitter": "None"}
UNDO = {"job": {"image": "ok"}}


def spec(*prepares: str, commit: str = "ok") -> dict[str, Any]:
    """A transaction whose participants prepare with these images, and a step after it."""
    members = [
        {
            "name": f"p{index}",
            "prepare": {"job": {"image": image}},
            "commit": {"job": {"image": commit}, "retry": QUICK},
            "abort": {"job": {"image": "ok"}, "retry": QUICK},
        }
        for index, image in enumerate(prepares)
    ]
    book = {"name": "book", "transaction": {"decisionTimeout": "10s", "participants": members}, "compensate": UNDO}
    return {"steps": [book, {"name": "after", "job": {"image": "ok"}}]}


GOOD = spec("ok", "ok")
BAD = spec("ok", "no")
LATE = spec("ok", "ok", commit="second")


class Books:
    """What the participants were told, and by what the status said when they were."""

    def __init__(self) -> None:
        self.api = FakeApi(self.outcome)
        self.told: list[str] = []
        self.tries: dict[str, int] = {}

    def outcome(self, job: dict[str, Any]) -> tuple[int, str] | None:
        path = job["metadata"]["annotations"][names.ANNOTATION_PATH]
        container = job["spec"]["template"]["spec"]["containers"][0]
        if path.startswith("book/"):
            self._check(path, {item["name"]: item["value"] for item in container["env"]})
            self.told.append(path.removeprefix("book/"))
        image = container["image"]
        if image == "second":
            self.tries[path] = self.tries.get(path, 0) + 1
            return (1, "") if self.tries[path] == 1 else (0, "")
        return (0, orjson.dumps({"error": {"type": "NoTruck"}} if image == "no" else {"v": 1}).decode())

    def _check(self, path: str, variables: dict[str, str]) -> None:
        """A phase is told of its transaction; and what is done was written before."""
        run = self.api.run() or {}
        assert variables["BACKSTAY_TRANSACTION"] == transaction_id(run["metadata"]["uid"], "book")
        phase = path.rpartition("/")[2]
        if phase == "prepare":
            return
        written = next(step for step in run["status"]["steps"] if step["path"] == "book")
        assert written["decision"] == phase.capitalize(), f"{path} is done, and {written.get('decision')} is written"
        assert variables["BACKSTAY_PREPARED"] in (("Succeeded",) if phase == "commit" else ("Succeeded", "Unknown"))

    @property
    def second(self) -> set[str]:
        return {path.rpartition("/")[2] for path in self.told} - {"prepare"}


async def run_to_the_end(workflow: dict[str, Any], fault: str | None, at: int, *, delete: bool = False) -> Books:
    books = Books()
    api = books.api
    api.fault = lambda number, verb, plural: fault if number == at else None
    api.apply_run({"workflow": {"inline": workflow}})
    gone = False

    def over() -> bool:
        nonlocal gone
        if delete and not gone and any("-prepare-" in name for name in api.created) and (run := api.run()):
            gone = True
            api.remove("workflowruns", run)
        return ended(api) and (gone or not delete)

    await survive(api, over)
    return books


async def count_writes(workflow: dict[str, Any]) -> int:
    found = await run_to_the_end(workflow, None, 0)
    return sum(1 for verb, plural in found.api.writes if plural != "events")


async def test_a_transaction_that_goes_well_costs_two_writes_more_than_its_jobs_in_a_row_would() -> None:
    books = await run_to_the_end(GOOD, None, 0)
    assert books.told == ["p0/prepare", "p1/prepare", "p0/commit", "p1/commit"]
    assert books.api.run()["status"]["phase"] == "Succeeded"  # type: ignore[index]
    assert books.api.writes.count(("create", "jobs")) == 5
    assert books.api.writes.count(("patch", "workflowruns")) <= 7 + 2, "as many as seven steps, and the finalizer on and off"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("workflow", "second", "phase"),
    [(GOOD, "commit", "Succeeded"), (BAD, "abort", "Failed"), (LATE, "commit", "Succeeded")],
    ids=["good", "refused", "tried again"],
)
async def test_a_fault_at_any_write_leaves_all_participants_where_they_belong(
    workflow: dict[str, Any], second: str, phase: str, fault: str
) -> None:
    for at in range(await count_writes(workflow) + 1):
        books = await run_to_the_end(workflow, fault, at)
        where = f"{fault} at write {at}: {books.told}"
        status = books.api.run()["status"]  # type: ignore[index]
        assert (status["phase"], books.second) == (phase, {second}), where
        assert len(set(books.api.created)) == len(books.api.created), where
        committed = {path for path in books.told if path.endswith("/commit")}
        assert committed in (set(), {"p0/commit", "p1/commit"}), where
        journal.verify(status)


@pytest.mark.parametrize("fault", ["hang", "hang-after"])
async def test_a_run_that_is_deleted_while_it_prepares_goes_only_when_all_have_committed_or_all_have_aborted(fault: str) -> None:
    for at in range(12):
        books = await run_to_the_end(GOOD, fault, at, delete=True)
        where = f"{fault} at write {at}: {books.told}"
        assert len(books.second) == 1, where
        if books.second == {"commit"}:
            assert {"p0/commit", "p1/commit"} <= set(books.told), where
        else:
            prepared = {path.replace("prepare", "abort") for path in books.told if path.endswith("/prepare")}
            assert prepared <= set(books.told), where
        assert books.api.run() is None, where
        assert books.api.all("jobs") == [], "Jobs have outlived the run"
