"""Long runs at the command line: what a status leaves out is read from the run's WorkflowJournals, and what cannot be read is told."""

import copy
from typing import Any, cast

import pytest

from backstay import errors
from backstay.cli.archive import unreadable, whole_state
from backstay.cli.reading import read_steps
from backstay.cli.verifying import audited
from backstay.cli.views.seen import Run
from backstay.cli.views.story import Story, read_story, story, story_data
from backstay.cli.views.tree import tree
from backstay.engine import bounds
from backstay.kube.client import Client
from tests.simulation.test_archive import LONG, outcome
from tests.support.fake_api import FakeApi
from tests.support.operating import ended, eventually, operating
from tests.support.world import START
from tests.unit.cli.runs import texts


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """A cluster in which a long run has ended: it leaves out steps, and most of its entries stand elsewhere."""
    for name, value in {"KEEP_ENTRIES": 6, "LEAVE_ENTRIES": 3, "WORTH_ENTRIES": 2, "STEPS_BYTES": 900}.items():
        monkeypatch.setattr(bounds, name, value)
    found = FakeApi(outcome)
    found.apply_run({"workflow": {"inline": LONG}})
    async with operating(found):
        await eventually(lambda: ended(found))
    assert status(found)["stepsOmitted"] > 0
    return found


def status(api: FakeApi) -> dict[str, Any]:
    return cast(dict[str, Any], (api.run() or {})["status"])


async def read(api: FakeApi) -> tuple[Run, Story]:
    manifest, client = api.run() or {}, cast(Client, api)
    run = await read_steps(client, manifest)
    try:
        pair = await audited(client, manifest)
    except errors.ApiError as error:
        return run, read_story(run, None, unreadable(error))
    assert pair is not None
    return run, read_story(run, pair[1])


async def test_the_tree_shows_every_step_and_the_story_tells_all_from_the_beginning(api: FakeApi) -> None:
    run, told = await read(api)
    shown = "\n".join(texts(tree(run, START)))
    assert [name for name in ("a", "b", *(f"s{place}" for place in range(6)), "c", "d") if f" {name} " not in shown] == []
    assert len(run.state.steps) == len(status(api)["steps"]) + status(api)["stepsOmitted"]
    assert (told.is_sound, told.dropped, [entry.sequence for entry in told.entries]) == (True, 0, list(range(1, len(told.entries) + 1)))
    assert f"the chain of all {len(told.entries)} entries is unbroken" in told.verdict
    assert "the run begins" in texts(story(told))[1]
    assert story_data(run, told)["entries"][0]["kind"] == "RunStarted"


async def test_a_later_look_needs_only_what_came_since(api: FakeApi) -> None:
    run, _ = await read(api)
    api.silent.add("workflowjournals")
    again = await read_steps(cast(Client, api), api.run() or {}, before=run)
    assert again.state == run.state


async def test_without_the_right_to_read_journals_a_note_says_what_is_not_shown(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    forbidden = errors.Forbidden(403, "Forbidden", 'workflowjournals.backstay.dev is forbidden: User "ada" cannot list')

    async def pages(*_: Any, **__: Any) -> Any:
        raise forbidden
        yield

    monkeypatch.setattr(api, "pages", pages)
    run, told = await read(api)
    assert any("steps are not shown: the run's WorkflowJournals cannot be read" in words for words in run.notes)
    assert {step["path"] for step in status(api)["steps"]} == set(run.state.steps)
    assert (told.is_sound, told.verdict.startswith("NOT CHECKED")) == (False, True)
    assert "older entries are not told here: the run's WorkflowJournals cannot be read" in texts(story(told))[0]


async def test_a_journal_that_is_missing_or_changed_is_named(api: FakeApi) -> None:
    first = min(one["metadata"]["name"] for one in api.all("workflowjournals"))
    kept = copy.deepcopy(api.objects["workflowjournals", "shop", first])
    api.objects["workflowjournals", "shop", first]["spec"]["entries"][1]["reason"] = "because"
    run, told = await read(api)
    assert first in " ".join(run.notes)
    assert (told.is_sound, told.verdict.startswith("NOT TO BE TRUSTED: Edited, entry 2 of ")) == (False, True)
    del api.objects["workflowjournals", "shop", first]
    run, told = await read(api)
    assert f"the entries 1 to {status(api)['journal']['archived']} of its journal are in no WorkflowJournal" in " ".join(run.notes)
    assert told.is_sound is False
    assert (
        texts(story(told))[0] == f"({kept['spec']['last']} older entries are missing; the story begins at entry {kept['spec']['last'] + 1})"
    )
    api.put("workflowjournals", kept)
    assert (await read(api))[1].is_sound


async def test_a_run_that_shows_all_its_steps_asks_for_nothing(api: FakeApi) -> None:
    small = {**(api.run() or {}), "status": {"steps": [], "journal": {"head": "", "entries": []}}}
    api.silent.add("workflowjournals")
    assert await whole_state(cast(Client, api), small) == (None, "")
