"""What is believed of a status: what we wrote, what follows from its journal, and nothing else."""

import copy
import tracemalloc
from typing import Any

import orjson
import pytest

from backstay.engine.codec import state_from_status
from backstay.errors import TamperedState
from backstay.kube.limiter import Priority
from backstay.runtime.store import Known, RunStore, read_state
from tests.support.world import World


def run_with(status: dict[str, Any], version: int = 1, name: str = "r") -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": name, "uid": "u1", "resourceVersion": str(version)}, "spec": {}, "status": status}


@pytest.fixture
def status() -> dict[str, Any]:
    return World("steps: [{name: a, job: {image: i}}, {name: b, job: {image: i}}]").succeed("a").status


def forged(status: dict[str, Any]) -> dict[str, Any]:
    found = copy.deepcopy(status)
    found["phase"] = "Succeeded"
    return found


def test_an_older_object_changes_nothing() -> None:
    store = RunStore()
    key = store.remember(run_with({"phase": "new"}, 10))
    store.remember(run_with({"phase": "old"}, 9))
    assert store.get(key).run["status"] == {"phase": "new"}  # type: ignore[union-attr]


def test_a_late_event_of_a_run_that_has_left_is_no_news() -> None:
    store = RunStore()
    key = store.remember(run_with({"phase": "Succeeded"}, 10))
    store.forget(key)
    store.remember(run_with({"phase": "Running"}, 9))
    assert store.get(key) is None
    store.remember(run_with({"phase": "Running"}, 11))
    assert store.get(key) is not None


def test_a_status_that_follows_from_its_journal_is_believed(status: dict[str, Any]) -> None:
    reading = read_state(Known(run_with(status)))
    assert (reading.state, reading.tampered) == (state_from_status(status), "")


def test_a_status_changed_by_hand_after_a_write_without_an_answer_is_restored_from_its_journal(status: dict[str, Any]) -> None:
    """What we know is older than what we wrote: the journal must go on from the write, not begin anew from what was known before."""
    world = World("steps: [{name: a, job: {image: i}}, {name: b, job: {image: i}}]")
    before = copy.deepcopy(world.status)
    store = RunStore()
    key = store.remember(run_with({}, 1))
    store.wrote(key, run_with(before, 2), state_from_status(before))
    after = world.succeed("a").status
    store.remember(run_with(forged(after), 4))
    reading = read_state(store.get(key))  # type: ignore[arg-type]
    assert reading.state == state_from_status(after)
    assert "phase is not what its journal says" in reading.tampered


def test_a_status_changed_by_hand_is_restored_from_what_we_wrote(status: dict[str, Any]) -> None:
    store = RunStore()
    key = store.remember(run_with({}, 1))
    store.wrote(key, run_with(status, 2), state_from_status(status))
    store.remember(run_with(forged(status), 3))
    reading = read_state(store.get(key))  # type: ignore[arg-type]
    assert reading.state == state_from_status(status)
    assert "phase is not what its journal says" in reading.tampered


def test_a_status_changed_by_hand_is_restored_from_its_journal_after_a_restart(status: dict[str, Any]) -> None:
    reading = read_state(Known(run_with(forged(status))))
    assert reading.state == state_from_status(status)
    assert reading.tampered


def test_a_status_that_was_emptied_is_restored_from_what_we_wrote(status: dict[str, Any]) -> None:
    reading = read_state(Known(run_with({}, 3), state_from_status(status), status))
    assert reading.state == state_from_status(status)
    assert "older" in reading.tampered


def test_nothing_is_believed_where_the_journal_was_changed_too(status: dict[str, Any]) -> None:
    bad = forged(status)
    bad["journal"]["entries"][1]["reason"] = "forged"
    with pytest.raises(TamperedState):
        read_state(Known(run_with(bad)))


# ------------------------------------------------------------------------------------ what is derived, and changed by hand


def says(kind: str, status: str) -> Any:
    def change(found: dict[str, Any]) -> None:
        next(one for one in found["conditions"] if one["type"] == kind)["status"] = status

    return change


DERIVED = {
    "Succeeded": (says("Succeeded", "True"), "conditions changed, and the journal did not"),
    "the word in a column": (lambda found: found.update(status="Succeeded"), "status changed"),
    "progress": (lambda found: found.update(progress="2/2"), "progress changed"),
    "a message": (lambda found: found["conditions"][0].update(message="all is well"), "conditions changed"),
    "all conditions": (lambda found: found.pop("conditions"), "conditions changed"),
    "what the run is at": (lambda found: found.pop("step"), "step changed"),
    "a field of its own": (lambda found: found.update(kilroy="was here"), "kilroy changed"),
}
ON_THE_FIRST_LOOK = {
    "Succeeded": (says("Succeeded", "True"), 'condition Succeeded is "True", and follows from the journal as Unknown'),
    "Complete": (says("Complete", "True"), 'condition Complete is "True"'),
    "Suspended": (says("Suspended", "True"), 'condition Suspended is "True"'),
    "all conditions": (lambda found: found.pop("conditions"), "condition Succeeded is missing"),
}


@pytest.mark.parametrize("name", DERIVED)
def test_what_is_derived_and_was_changed_by_hand_is_put_back_as_it_was(status: dict[str, Any], name: str) -> None:
    change, words = DERIVED[name]
    store = RunStore()
    key = store.remember(run_with({}, 1))
    store.wrote(key, run_with(status, 2), state_from_status(status))
    edited = copy.deepcopy(status)
    change(edited)
    store.remember(run_with(edited, 3))
    reading = read_state(store.get(key))  # type: ignore[arg-type]
    assert (reading.state, reading.status) == (state_from_status(status), status)
    assert words in reading.tampered


@pytest.mark.parametrize("name", ON_THE_FIRST_LOOK)
def test_plain_conditions_that_were_changed_while_nobody_watched_are_not_believed(status: dict[str, Any], name: str) -> None:
    change, words = ON_THE_FIRST_LOOK[name]
    edited = copy.deepcopy(status)
    change(edited)
    reading = read_state(Known(run_with(edited)))
    assert reading.state == state_from_status(status)
    assert words in reading.tampered


def test_what_another_release_derives_otherwise_is_left_as_it_is(status: dict[str, Any]) -> None:
    other = copy.deepcopy(status)
    other.update(status="Busy", progress="one of two")
    other["conditions"] = [{**one, "message": "in other words"} for one in other["conditions"]] + [{"type": "Novel", "status": "True"}]
    assert read_state(Known(run_with(other))).tampered == ""
    store = RunStore()
    key = store.remember(run_with({}, 1))
    before = World("steps: [{name: a, job: {image: i}}, {name: b, job: {image: i}}]").status
    store.wrote(key, run_with(before, 2), state_from_status(before))
    store.remember(run_with(other, 3))
    assert read_state(store.get(key)).tampered == "", "it has gone on with entries of its own"  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------ at rest, as text


def test_what_is_known_of_a_run_is_the_same_after_it_was_at_rest(status: dict[str, Any]) -> None:
    known = Known(run_with(status, 5))
    state, run = read_state(known).state, known.run
    known.rest()
    assert (known.version, known.metadata, known.turn) == (5, run["metadata"], Priority.RUNNING)
    assert (known.run, known.status, read_state(known).state) == (run, status, state)


def test_a_run_that_changes_while_it_is_at_rest_is_still_held_against_what_was_known_of_it(status: dict[str, Any]) -> None:
    known = Known(run_with(status, 5))
    state = read_state(known).state
    known.rest()
    known.run = run_with(forged(status), 6)
    assert known.status == status
    reading = read_state(known)
    assert (reading.state, bool(reading.tampered), known.version) == (state, True, 6)


def test_a_run_at_rest_takes_less_than_half_of_the_memory(status: dict[str, Any]) -> None:
    text = orjson.dumps(run_with(status, 5))

    def bytes_of(rests: bool) -> int:
        tracemalloc.start()
        try:
            known = [Known(orjson.loads(text)) for _ in range(200)]
            for one in known if rests else ():
                one.rest()
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    assert bytes_of(rests=True) < bytes_of(rests=False) / 2
