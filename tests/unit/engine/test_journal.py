"""The journal: every state follows from it, and what was changed by hand is found (DESIGN, promise 5)."""

import copy
from collections.abc import Callable, Collection
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.engine import journal
from backstay.engine.codec import entry_from_json, entry_to_json, record_to_json, state_from_status
from backstay.engine.model import Entry, Identity, Observations, Phase, State
from backstay.engine.program import NOTHING
from backstay.engine.turn import Turn
from backstay.errors import ArchiveNeeded, IllegalTransition, TamperedState
from tests.support.world import START, World

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


def set_true_for_one(status: dict[str, Any]) -> None:
    status["vars"]["x"]["deep"][0] = True


def set_one_for_true(status: dict[str, Any]) -> None:
    status["compensate"] = 1


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
    set_true_for_one,
    set_one_for_true,
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


# ------------------------------------------------------------------------------------- some entries stand in an archive


def split(status: dict[str, Any], at: int, leave_out: Collection[int] = ()) -> tuple[dict[str, Any], list[Entry]]:
    """Move the first entries to an archive, and leave some steps out of the status."""
    found = copy.deepcopy(status)
    entries = found["journal"]["entries"]
    archive, found["journal"]["entries"] = entries[:at], entries[at:]
    if at:
        found["journal"]["archived"] = at
    found["steps"] = [step for place, step in enumerate(found["steps"]) if place not in leave_out]
    if leave_out:
        found["stepsOmitted"] = len(leave_out)
    return found, [entry_from_json(data) for data in archive]


@st.composite
def splits(draw: st.DrawFn) -> tuple[dict[str, Any], list[Entry]]:
    status = finished_once()
    at = draw(st.integers(0, len(status["journal"]["entries"]) - 1))
    left_out = draw(st.sets(st.integers(0, len(status["steps"]) - 1)))
    return split(status, at, left_out)


@cache
def finished_once() -> dict[str, Any]:
    return finished()


@given(splits())
def test_however_entries_and_steps_are_divided_the_same_state_is_read(parts: tuple[dict[str, Any], list[Entry]]) -> None:
    status, archive = parts
    assert journal.verify(status, journal.fold(archive)) == journal.verify(finished_once())


@given(splits(), st.integers(0, 60))
def test_what_was_already_known_needs_not_be_read_again(parts: tuple[dict[str, Any], list[Entry]], known: int) -> None:
    """An operator that knows the state up to some entry reads on from there, as long as the status holds what follows."""
    status, archive = parts
    entries = [*archive, *(entry_from_json(data) for data in status["journal"]["entries"])]
    base = journal.fold(entries[: max(len(archive), min(known, len(entries)))])
    assert journal.verify(status, base) == journal.verify(finished_once())


def edited(entries: list[Any], place: int) -> None:
    entries[place] = {**entries[place], "reason": "because"}


def dropped(entries: list[Any], place: int) -> None:
    del entries[place]


def repeated(entries: list[Any], place: int) -> None:
    entries.insert(place, entries[place])


def swapped(entries: list[Any], place: int) -> None:
    entries[place], entries[place - 1] = entries[place - 1], entries[place]


@pytest.mark.parametrize("change", [edited, dropped, repeated, swapped], ids=lambda one: one.__name__)
@given(st.data())
def test_an_entry_that_is_not_what_it_was_is_found_wherever_it_stands_and_named(
    change: Callable[[list[Any], int], None], data: st.DataObject
) -> None:
    status = copy.deepcopy(finished_once())
    entries = status["journal"]["entries"]
    at, place = data.draw(st.integers(0, len(entries) - 1)), data.draw(st.integers(1, len(entries) - 1))
    change(entries, place)
    found, archive = split(status, at)
    with pytest.raises(TamperedState, match=r"entry \d+|begins at entry|seals it|elsewhere|not what its journal says|cannot be read"):
        journal.verify(found, journal.fold(archive))


def test_a_step_that_is_left_out_and_not_counted_is_found() -> None:
    status, archive = split(finished(), 5, {1, 2})
    status["stepsOmitted"] = 1
    with pytest.raises(TamperedState, match="shows 3 steps and leaves out 1; its journal tells of 5"):
        journal.verify(status, journal.fold(archive))


def test_a_step_that_was_changed_by_hand_is_found_also_where_others_are_left_out() -> None:
    status, archive = split(finished(), 5, {0})
    status["steps"][0]["outputs"] = {"id": "forged"}
    with pytest.raises(TamperedState, match="step a is not what its journal says"):
        journal.verify(status, journal.fold(archive))


def test_without_the_archive_a_status_is_read_that_shows_all_steps_and_one_that_leaves_some_out_asks_for_it() -> None:
    status, _ = split(finished(), 5)
    assert journal.verify(status) == journal.verify(finished())
    status, _ = split(finished(), 5, {1})
    with pytest.raises(ArchiveNeeded, match="leaves out 1 steps; entries 1 to 5 tell of them"):
        journal.verify(status)


def test_a_status_that_is_older_than_what_is_known_is_refused() -> None:
    status = finished()
    base = journal.verify(status)
    older = {**status, "journal": {**status["journal"], "entries": status["journal"]["entries"][:-1]}}
    with pytest.raises(TamperedState, match="older"):
        journal.verify(older, base)


@pytest.mark.parametrize("count", [-1, "3", 1.5, True])
def test_a_count_of_entries_that_is_none_is_refused(count: Any) -> None:
    status = finished()
    status["journal"]["archived"] = count
    with pytest.raises(TamperedState):
        journal.verify(status)


# ----------------------------------------------------------------------------------------------------------- forgetting


def test_what_is_forgotten_is_gone_with_all_that_is_below_it_and_nothing_else() -> None:
    turn = turn_with("pack", "pack[3]/box", "pack[3]/box:catch0/x", "pack[3]/in/y", "pack[30]/box", "ask~2", "ask~2/z", "ask~20")
    turn.forget("pack[3]")
    turn.forget("ask~2")
    assert list(turn.steps) == ["pack", "pack[30]/box", "ask~20"]
    assert journal.fold(turn.entries) == turn.decision().state


def test_what_goes_on_may_not_be_forgotten() -> None:
    turn = turn_with("pack[3]/box", phase=Phase.RUNNING)
    with pytest.raises(IllegalTransition, match=r"'pack\[3\]/box' goes on"):
        turn.forget("pack[3]")


def test_entries_about_what_was_forgotten_later_are_not_held_against_a_status_whose_older_entries_are_elsewhere() -> None:
    turn = turn_with("pack", "pack[3]/box", "pack[4]/box")
    turn.forget("pack[3]")
    state = turn.decision().state
    status = {
        "steps": [record_to_json(record) for record in state.steps.values()],
        "journal": {"archived": 1, "head": state.head, "entries": [entry_to_json(entry) for entry in turn.entries[1:]]},
    }
    assert journal.verify(status) == state


def turn_with(*paths: str, phase: Phase = Phase.SUCCEEDED) -> Turn:
    """A turn in which some steps have begun, and perhaps ended."""
    turn = Turn(NOTHING, Identity("u", "r", "n"), State(), Observations(), START)
    for path in paths:
        turn.change_step("StepBegan", path, kind="job", phase=phase)
    return turn
