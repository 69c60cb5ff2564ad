"""An operator that looks after some namespaces has an informer for each: everything that runs share is found there from the first of its kind on."""

import logging
from typing import Any

import pytest

from tests.support.fake_api import FakeApi
from tests.support.operating import ended, eventually, working

WORK: dict[str, Any] = {"job": {"image": "ok"}}
SHARING: dict[str, Any] = {
    "steps": [
        {"name": "print", "lock": {"name": "printer"}, **WORK},
        {"name": "ask", "circuit": "bank", **WORK},
        {"name": "pay", "onExhausted": "DeadLetter", "job": {"image": "fails"}},
    ]
}


def waits(api: FakeApi) -> bool:
    return any(letter.get("status") for letter in api.all("deadletters"))


async def test_locks_circuits_and_dead_letters_work_for_an_operator_of_one_namespace(caplog: pytest.LogCaptureFixture) -> None:
    api = FakeApi(lambda job: (int(job["spec"]["template"]["spec"]["containers"][0]["image"] == "fails"), ""))
    api.apply_run({"workflow": {"inline": SHARING}})
    async with working(api, namespaces=("shop",)):
        await eventually(lambda: waits(api), "no DeadLetter stands in the namespace")
        api.edit_run(lambda run: run["spec"].update(cancel={"reason": "enough"}))
        await eventually(lambda: ended(api))
    run = api.run() or {}
    assert [(step["path"], step["phase"]) for step in run["status"]["steps"]] == [
        ("/", "Cancelled"),
        ("print", "Succeeded"),
        ("ask", "Succeeded"),
        ("pay", "Cancelled"),
    ]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
