"""The journal: every state follows from it, and what was changed by hand is found (DESIGN, promise 5)."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from backstay.engine import journal
from backstay.engine.codec import entry_from_json, entry_to_json, state_from_status
from backstay.engine.model import State
from backstay.errors import TamperedState
from tests.support.world import World

SAGA = """
steps:
- {name: a, job: {image: i}, compensate: {job: {image: i}}}
- {name: b, set: {x: {deep: [1, null, "é", 1.5]}}}
- {name: c, job: {image: i}}
"""


def finished() -> dict[str, Any]:
    world = World(SAGA)
    world.succeed("a", {"id": None, "list": [1, None]}).fail("c").succeed("a:compensate")
    assert world.phase == "Failed"
    return world.status


def test_the_fold_of_the_journal_is_the_state() -> None:
    status = finished()
    entries = [entry_from_json(data) for data in status["journal"]["entries"]]
    assert journal.fold(entries) == state_from_status(status)
    assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))


def test_an_entry_survives_json() -> None:
    for data in finished()["journal"]["entries"]:
        assert entry_to_json(entry_from_json(data)) == data


def set_phase(status: dict[str, Any]) -> None:
    status["phase"] = "Succeeded"


def set_output(status: dict[str, Any]) -> None:
    status["steps"][1]["outputs"] = {"id": "forged"}


def add_step(status: dict[str, Any]) -> None:
    status["steps"].append({"path": "zz", "kind": "job", "phase": "Succeeded"})


def drop_step(status: dict[str, Any]) -> None:
    del status["steps"][-1]


def unknown_phase(status: dict[str, Any]) -> None:
    status["steps"][0]["phase"] = "Dancing"


def wrong_type(status: dict[str, Any]) -> None:
    status["steps"] = {"a": 1}


def edit_entry(status: dict[str, Any]) -> None:
    status["journal"]["entries"][3]["reason"] = "because"


def drop_entry(status: dict[str, Any]) -> None:
    del status["journal"]["entries"][3]


def drop_newest(status: dict[str, Any]) -> None:
    del status["journal"]["entries"][-1]


def repeat_entry(status: dict[str, Any]) -> None:
    status["journal"]["entries"].insert(3, status["journal"]["entries"][3])


def swap_entries(status: dict[str, Any]) -> None:
    entries = status["journal"]["entries"]
    entries[3], entries[4] = entries[4], entries[3]


def forge_head(status: dict[str, Any]) -> None:
    status["journal"]["head"] = "0" * 32


def empty_entry(status: dict[str, Any]) -> None:
    status["journal"]["entries"][2] = {}


def no_journal(status: dict[str, Any]) -> None:
    del status["journal"]


TAMPERINGS = [
    set_phase,
    set_output,
    add_step,
    drop_step,
    unknown_phase,
    wrong_type,
    edit_entry,
    drop_entry,
    drop_newest,
    repeat_entry,
    swap_entries,
    forge_head,
    empty_entry,
    no_journal,
]


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda one: one.__name__)
def test_what_was_changed_by_hand_is_found(tamper: Callable[[dict[str, Any]], None]) -> None:
    status = copy.deepcopy(finished())
    tamper(status)
    with pytest.raises(TamperedState):
        journal.verify(status)


KEEPS_ITS_JOURNAL = [
    one for one in TAMPERINGS if one not in (drop_step, add_step, unknown_phase, wrong_type, no_journal, drop_entry, empty_entry)
]


@pytest.mark.parametrize("tamper", KEEPS_ITS_JOURNAL, ids=lambda one: one.__name__)
def test_it_is_found_also_when_old_entries_were_dropped(tamper: Callable[[dict[str, Any]], None]) -> None:
    status = copy.deepcopy(finished())
    status["journal"]["entries"] = status["journal"]["entries"][2:]
    status["journal"]["dropped"] = 2
    journal.verify(status)
    tamper(status)
    with pytest.raises(TamperedState):
        journal.verify(status)


def test_an_empty_status_is_a_run_that_has_not_begun() -> None:
    assert journal.verify({}) == State()


def test_the_newest_entries_are_kept_and_the_dropped_ones_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MAX_ENTRIES", 5)
    status = finished()["journal"]
    entries = [entry_from_json(data) for data in status["entries"]]
    kept = journal.kept({"entries": [entry_to_json(one) for one in entries[:6]], "dropped": 3}, entries[6:], status["head"])
    assert [one["sequence"] for one in kept["entries"]] == [one.sequence for one in entries[-5:]]
    assert kept["dropped"] == 3 + len(entries) - 5


def test_the_bytes_of_the_journal_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "ALWAYS_FIT", 0)
    monkeypatch.setattr(journal, "MAX_BYTES", 600)
    status = finished()["journal"]
    kept = journal.kept({}, [entry_from_json(data) for data in status["entries"]], status["head"])
    assert 1 <= len(kept["entries"]) < 5
    assert kept["entries"][-1] == status["entries"][-1]
