"""The audit: a journal that is whole proves its status; anything that was changed in either is found, and named with the object it stands in."""

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backstay.engine import bounds
from backstay.engine.audit import Audit, Kind, Verdict, extends
from backstay.engine.audit.standing import canonical
from backstay.engine.codec import entry_from_json
from backstay.engine.journal import hash_of
from tests.support.audited import Held, at, leaves, put, told
from tests.support.random_workflows import workflow
from tests.support.world import World
from tests.unit.engine.test_any_workflow import NoAliases, finish, moves, play

SAGA = """
steps:
- {name: a, job: {image: i}, compensate: {job: {image: i}}}
- {name: b, set: {x: {deep: [1, null, "é", 1.5, true]}, ok: true}}
- {name: each, forEach: {count: 3, steps: [{name: s, set: {n: "${ index }"}}]}}
- {name: c, job: {image: i}, retry: {maxAttempts: 2, interval: 1s, jitter: None}}
"""
CUTS = (9, 17)


@cache
def life() -> World:
    world = World(SAGA)
    world.succeed("a", {"id": 1, "paid": False, "list": [1, None]}).fail("c").pass_time("1s")
    return world.wants(suspend=True).wants(suspend=False).fail("c").succeed("a:compensate")


def held(cuts: tuple[int, ...] = CUTS) -> Held:
    return Held.of(life(), cuts)


def newest() -> int:
    return len(life().entries)


# ------------------------------------------------------------------------------------------------------------ it is sound


@pytest.mark.parametrize("cuts", [(), (1,), CUTS, (5, 6, 7)])
def test_a_whole_journal_proves_the_status_wherever_its_entries_stand(cuts: tuple[int, ...]) -> None:
    found = held(cuts).audit()
    assert (found.findings, found.notes, found.verdict, len(found.entries)) == ((), (), Verdict.PROVEN, newest())
    assert found.state == life().state


def test_entries_that_stand_in_a_workflowjournal_and_still_in_the_status_count_once() -> None:
    """The moment between the two writes of a move."""
    one = held()
    moved = one.volumes.pop()
    entries = moved["spec"]["entries"]
    one.status["journal"] |= {"archived": CUTS[0], "entries": [*entries, *one.status["journal"]["entries"]]}
    assert one.audit().is_proven
    one.volumes.append(moved)
    found = one.audit()
    assert (found.findings, len(found.entries)) == ((), newest())


def test_a_run_that_has_not_begun_is_proven() -> None:
    assert Held("r", "u", {}).audit().is_proven
    waiting = {"observedGeneration": 1, "status": "Pending", "conditions": [{"type": "Complete", "status": "False"}]}
    assert Held("r", "u", waiting).audit().is_proven


@settings(max_examples=12, deadline=None)
@given(st.binary(min_size=96, max_size=96), st.lists(st.tuples(moves, st.integers(0, 100)), max_size=20))
def test_the_journal_of_any_workflow_proves_its_status_at_every_moment(seed: bytes, script: list[tuple[str, int]]) -> None:
    spec, _, _ = workflow(seed)
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {"KEEP_ENTRIES": 12, "LEAVE_ENTRIES": 6, "WORTH_ENTRIES": 3, "STEPS_BYTES": 1500}.items():
            patched.setattr(bounds, name, value)
        world = World(yaml.dump({**spec, "compensationTimeout": "1h"}, Dumper=NoAliases))
        for move, pick in (*script, ("end", 0)):
            play(world, move, pick) if move != "end" else finish(world)
            found = Held.of(world, cuts=(4, 9, 30)).audit()
            assert (found.findings, found.notes) == ((), ())
            assert found.state == world.state


# ------------------------------------------------------------------------------------------- one thing was changed by hand


def edited(entries: list[Any], place: int) -> None:
    entries[place] = {**entries[place], "reason": "because"}


def moved_in_time(entries: list[Any], place: int) -> None:
    entries[place] = {**entries[place], "time": "2026-11-23T08:59:59.000000Z"}


def relinked(entries: list[Any], place: int) -> None:
    entries[place] = {**entries[place], "previous": "0" * 32}


def renumbered(entries: list[Any], place: int) -> None:
    entries[place] = {**entries[place], "sequence": entries[place]["sequence"] + 40}


def unreadable(entries: list[Any], place: int) -> None:
    entries[place] = {**entries[place], "time": "yesterday"}


def dropped(entries: list[Any], place: int) -> None:
    del entries[place]


def repeated(entries: list[Any], place: int) -> None:
    entries.insert(place, copy.deepcopy(entries[place]))


CHANGES: dict[Callable[[list[Any], int], None], tuple[Kind, ...]] = {
    edited: (Kind.EDITED, Kind.SEAL),
    moved_in_time: (Kind.EDITED, Kind.SEAL),
    relinked: (Kind.EDITED,),
    renumbered: (Kind.EDITED, Kind.SEAL),
    unreadable: (Kind.EDITED,),
    dropped: (Kind.MISSING, Kind.TRUNCATED),
    repeated: (Kind.REPEATED,),
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda one: one.__name__)
def test_an_entry_that_was_changed_is_named_with_its_number_and_the_object_it_stands_in(change: Callable[[list[Any], int], None]) -> None:
    """Every entry in turn, the first and the last of every object among them."""
    for place, entries in enumerate(held().places):
        for index in range(len(entries)):
            one = held()
            number = one.places[place][index]["sequence"]
            change(one.places[place], index)
            ((kind, sequence, where),) = told(one.audit())
            assert (sequence, where) == (number, one.where(place))
            assert kind in CHANGES[change]
            assert (kind in ("Seal", "Truncated")) <= (number == newest())


def test_entries_in_another_order_are_named() -> None:
    for place, entries in enumerate(held().places):
        for index in range(1, len(entries)):
            one = held()
            here = one.places[place]
            here[index], here[index - 1] = here[index - 1], here[index]
            ((kind, sequence, where),) = told(one.audit())
            assert (kind, where) == ("Reordered", one.where(place))
            assert sequence in (here[index]["sequence"], here[index - 1]["sequence"])


def test_an_entry_that_was_moved_far_is_the_one_that_is_named() -> None:
    one = held()
    entries = one.places[1]
    entries.insert(0, entries.pop(5))
    assert told(one.audit()) == [("Reordered", CUTS[0] + 6, one.where(1))]


def test_two_entries_that_changed_places_are_both_named() -> None:
    one = held()
    entries = one.places[1]
    entries[1], entries[6] = entries[6], entries[1]
    assert told(one.audit()) == [("Reordered", CUTS[0] + 7, one.where(1)), ("Reordered", CUTS[0] + 2, one.where(1))]


def test_an_entry_that_was_put_in_besides_is_named() -> None:
    for place, entries in enumerate(held().places):
        for index in range(len(entries)):
            one = held()
            forged = {**one.places[place][index], "reason": "forged"}
            one.places[place].insert(index, forged)
            ((kind, sequence, where),) = told(one.audit())
            assert (kind, sequence, where) == ("Inserted", forged["sequence"], one.where(place))


def test_an_entry_that_stands_in_the_place_of_another_is_named_and_so_is_the_other() -> None:
    one = held()
    one.places[1][4] = copy.deepcopy(one.places[1][1])
    assert told(one.audit()) == [("Repeated", CUTS[0] + 2, one.where(1)), ("Missing", CUTS[0] + 5, one.where(1))]


def test_an_entry_in_the_wrong_object_is_found() -> None:
    one = held()
    one.places[1].insert(0, one.places[0].pop())
    found = one.audit()
    assert ("Edited", None, one.where(0)) in told(found)
    assert 'it says last 9, count 9, head "' in found.findings[0].message


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(2**70), st.floats(allow_nan=False), st.text(), st.just([]), st.just({}), st.just("5")
)


@given(st.data())
def test_no_single_value_of_any_entry_can_be_changed_without_its_being_found(data: st.DataObject) -> None:
    one = held(tuple(data.draw(st.lists(st.integers(1, newest() - 1), max_size=3))))
    place = data.draw(st.sampled_from([index for index, entries in enumerate(one.places) if entries]))
    index = data.draw(st.integers(0, len(one.places[place]) - 1))
    path = data.draw(st.sampled_from(leaves(one.places[place][index])))
    new = data.draw(VALUES)
    assume(canonical(at(one.places[place][index], path)) != canonical(new))
    number = one.places[place][index]["sequence"]
    put(one.places[place], (index, *path), new)
    found = one.audit()
    assert found.verdict is Verdict.BROKEN
    assert is_named(number, found), told(found)


def is_named(number: int, found: Audit) -> bool:
    """Of the newest entry the audit may say that it, or one after it, is not what was sealed."""
    return any(
        one.sequence == number or (one.kind is Kind.TRUNCATED and number == newest() == (one.sequence or 0) - 1) for one in found.findings
    )


@given(st.data())
def test_no_field_of_any_entry_can_be_taken_away_or_added_without_its_being_found(data: st.DataObject) -> None:
    one = held()
    place = data.draw(st.integers(0, 2))
    entries = one.places[place]
    index = data.draw(st.integers(0, len(entries) - 1))
    where = data.draw(st.sampled_from([entries[index], entries[index].get("changes", entries[index])]))
    number = entries[index]["sequence"]
    if data.draw(st.booleans()):
        del where[data.draw(st.sampled_from(sorted(where)))]
    else:
        name = data.draw(st.one_of(st.text(), st.sampled_from(["attempt", "actor", "path", "reason", "message", "outputs"])))
        assume(name not in where)
        where[name] = data.draw(VALUES)
    assert is_named(number, one.audit())


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_whatever_is_made_of_the_objects_the_audit_answers_and_believes_none_of_it(data: st.DataObject) -> None:
    """Several changes of any kind: it never fails, and it never calls proven what is not what was written."""
    one = held()
    for _ in range(data.draw(st.integers(1, 4))):
        whole = {"status": one.status, "volumes": [volume["spec"] for volume in one.volumes]}
        everything = [path for path in leaves(whole) if len(path) > 1 and not _is_for_eyes(path)]
        put(whole, data.draw(st.sampled_from(everything)), data.draw(VALUES))
    untouched = held()
    same = canonical(_what_counts(one)) == canonical(_what_counts(untouched))
    assert one.audit().is_proven == same


def _is_for_eyes(path: tuple[Any, ...]) -> bool:
    """What is derived for people, and never read back."""
    shown = ("observedGeneration", "status", "progress", "step", "conditions")
    return (path[0] == "status" and path[1] in shown) or (path[0] == "volumes" and path[2:4] == ("run", "name"))


def _what_counts(one: Held) -> Any:
    return [one.status, [volume["spec"] for volume in one.volumes]]


# ------------------------------------------------------------------------------------------------------------- the ends


def test_entries_that_are_gone_from_the_end_are_missed_by_what_the_status_shows() -> None:
    for count in range(1, newest() - CUTS[1] + 1):
        one = held()
        del one.places[2][-count:]
        ((kind, sequence, where),) = told(one.audit())
        assert (kind, sequence, where) == ("Truncated", newest() - count + 1, "the status")


def test_a_seal_that_was_changed_is_told_apart_from_entries_that_are_gone() -> None:
    one = held()
    one.status["journal"]["head"] = "0" * 32
    found = one.audit()
    assert told(found) == [("Seal", newest(), "the status")]
    assert "nothing that changed it is missing" in found.findings[0].message


def test_a_status_that_was_put_back_is_older_than_a_workflowjournal() -> None:
    one = held()
    early = World(SAGA)
    one.status = copy.deepcopy(early.status)
    ((kind, sequence, where),) = told(one.audit())
    assert (kind, sequence, where) == ("Truncated", len(early.entries) + 1, "the status")
    one.status = {}
    found = one.audit()
    assert told(found) == [("Truncated", 1, "the status")]
    assert f"it ends with entry 0, and {one.where(1)} goes on to entry {CUTS[1]}" in found.findings[0].message


def test_a_status_without_any_journal_proves_nothing() -> None:
    one = held(())
    del one.status["journal"]
    assert told(one.audit()) == [("Truncated", 1, "the status")]


@pytest.mark.parametrize("place", [0, 1])
def test_a_workflowjournal_that_is_missing_is_named(place: int) -> None:
    one = held()
    gone = one.volumes.pop(place)["metadata"]["name"]
    first, last = ((1, CUTS[0]), (CUTS[0] + 1, CUTS[1]))[place]
    found = one.audit()
    assert told(found) == [("Missing", first, f"WorkflowJournal {gone}")]
    assert f"the entries {first} to {last} are missing" in found.findings[0].message


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("says_it_is_ours", [False, True])
def test_a_workflowjournal_of_another_run_in_the_place_of_ours_is_named(place: int, says_it_is_ours: bool) -> None:
    one = held()
    world = World(SAGA)
    world.pass_time("1s").succeed("a", {"id": 2, "paid": True, "list": []}).fail("c").pass_time("1s")
    world.wants(suspend=True).wants(suspend=False).fail("c").succeed("a:compensate")
    other = Held.of(world, CUTS).volumes[place]
    if not says_it_is_ours:
        other["spec"]["run"]["uid"] = "uid-2"
    one.volumes[place] = other
    assert other["metadata"]["name"] == held().volumes[place]["metadata"]["name"]
    found = one.audit()
    assert (str(Kind.EXCHANGED), one.where(place)) in {(kind, where) for kind, _, where in told(found)}
    assert {where for _, _, where in told(found)} == {one.where(place)}


CLAIMS: dict[str, Callable[[Held], None]] = {
    "how many entries are archived": lambda one: one.status["journal"].update(archived=CUTS[1] + 1),
    "that none is": lambda one: one.status["journal"].pop("archived") and None,
    "that the oldest are dropped": lambda one: one.status["journal"].update(archived=CUTS[1] - 2, dropped=2),
    "a count that is none": lambda one: one.status["journal"].update(archived="many"),
    "where a WorkflowJournal ends": lambda one: one.volumes[0]["spec"].update(last=CUTS[0] + 1),
    "where it begins": lambda one: one.volumes[1]["spec"].update(first=CUTS[0]),
    "how many it holds": lambda one: one.volumes[0]["spec"].update(count=3),
    "its seal": lambda one: one.volumes[1]["spec"].update(head="0" * 32),
    "its link": lambda one: one.volumes[1]["spec"].update(previous="0" * 32),
}


@pytest.mark.parametrize("change", CLAIMS.values(), ids=CLAIMS.keys())
def test_what_objects_say_of_their_entries_is_held_against_these(change: Callable[[Held], None]) -> None:
    one = held()
    change(one)
    assert one.audit().verdict is Verdict.BROKEN


# ------------------------------------------------------------------------------------------------------------ the status

STATUSES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "an output": (lambda status: step(status, "a")["outputs"].update(id=2), "outputs of step a"),
    "true where there was 1": (lambda status: step(status, "a")["outputs"].update(id=True), "outputs of step a"),
    "0 where there was false": (lambda status: step(status, "a")["outputs"].update(paid=0), "outputs of step a"),
    "a variable": (lambda status: status["vars"].update(ok=1), "vars is"),
    "the phase": (lambda status: status.update(phase="Succeeded"), 'phase is "Succeeded", and the journal says "Failed", since entry'),
    "a step that never was": (lambda status: status["steps"].append({"path": "z", "kind": "job", "phase": "Failed"}), "it shows step z"),
    "a step that is gone": (lambda status: status["steps"].pop(), "it leaves out 1 steps"),
    "a step twice": (lambda status: status["steps"].append(status["steps"][1]), "step a stands in it twice"),
    "how many are left out": (lambda status: status.update(stepsOmitted=3), "it leaves out 0 steps, and says 3"),
    "a condition": (lambda status: status["conditions"][0].update(status="True"), 'condition Succeeded is "True"'),
    "a phase that there is not": (lambda status: status.update(phase="Dancing"), "cannot be read"),
    "the revision": (lambda status: status["revision"].update(number=7), "revisionNumber is 7"),
}


def step(status: dict[str, Any], path: str) -> dict[str, Any]:
    return next(one for one in status["steps"] if one["path"] == path)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("change", "words"), STATUSES.values(), ids=STATUSES.keys())
def test_a_status_that_was_changed_is_named_field_by_field(change: Callable[[dict[str, Any]], None], words: str) -> None:
    one = held()
    change(one.status)
    found = one.audit()
    assert {(str(finding.kind), finding.where) for finding in found.findings} == {("Status", "the status")}
    assert any(words in finding.message for finding in found.findings)


def test_a_field_of_the_status_is_told_with_the_entry_that_wrote_it() -> None:
    one = held()
    step(one.status, "a")["outputs"]["id"] = 7
    (finding,) = one.audit().findings
    wrote = next(entry for entry in life().entries if "outputs" in entry.changes)
    assert (finding.sequence, finding.time) == (wrote.sequence, wrote.time)


def test_steps_that_the_status_leaves_out_are_no_fault_where_it_counts_them() -> None:
    one = held()
    del one.status["steps"][2]
    one.status["stepsOmitted"] = 1
    assert one.audit().is_proven


def test_hashes_that_were_all_worked_out_anew_do_not_make_the_impossible_happen() -> None:
    """Who forges the whole chain still has to keep to the transition table, and to what the status shows."""
    one = held(())
    entries = one.places[0]
    place = next(index for index, entry in enumerate(entries) if entry["kind"] == "StepSucceeded")
    entries[place]["changes"]["phase"] = "Compensated"
    reseal(one)
    ((kind, sequence, _),) = told(one.audit())
    assert (kind, sequence) == ("Edited", entries[place]["sequence"])


def reseal(one: Held) -> None:
    """Work out all hashes anew, as somebody would who forges a journal with all that it takes."""
    head = ""
    for entry in one.places[-1]:
        entry.pop("previous", None)
        if head:
            entry["previous"] = head
        head = hash_of(entry_from_json(entry))
    one.status["journal"]["head"] = head


def test_a_journal_that_was_forged_with_all_its_hashes_is_found_by_an_earlier_export() -> None:
    one = held(())
    early = one.audit()
    for entry in one.places[0]:
        if entry["kind"] == "RunStarted":
            entry["actor"] = "mallory"
    reseal(one)
    forged = one.audit()
    assert forged.is_proven
    (finding,) = extends(forged, early)
    assert (finding.kind, finding.sequence) == (Kind.EDITED, 1)
    assert extends(early, early) == []


def test_a_journal_that_is_shorter_than_an_earlier_export_of_it_was_cut() -> None:
    early = Held.of(World(SAGA)).audit()
    late = held().audit()
    assert extends(late, early) == []
    (finding,) = extends(early, late)
    assert (finding.kind, finding.sequence) == (Kind.TRUNCATED, len(early.entries) + 1)


# --------------------------------------------------------------------------------------------- what cannot be proven


def test_entries_that_are_kept_nowhere_any_more_leave_a_journal_unproven_and_the_rest_is_still_checked() -> None:
    one = held()
    one.volumes = []
    one.status["journal"] |= {"archived": 0, "dropped": CUTS[1]}
    found = one.audit()
    assert (found.verdict, found.findings) == (Verdict.UNPROVEN, ())
    assert f"entries 1 to {CUTS[1]} are kept nowhere any more" in found.notes[0]
    one.status["phase"] = "Succeeded"
    assert told(one.audit()) == [("Status", None, "the status")]


def test_a_copy_of_a_run_under_another_uid_is_noted() -> None:
    one = held(())
    one.uid = "uid-2"
    found = one.audit()
    assert found.is_proven
    assert "is not named for this run (UID uid-2): the run is a copy" in found.notes[0]


def test_the_seal_of_an_entry_is_the_sha_256_of_its_json_with_sorted_keys() -> None:
    """What docs/journal.md says, so that others can check it in any language."""
    import hashlib

    for entry in held(()).places[0]:
        text = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
        assert hashlib.sha256(text).hexdigest()[:32] == hash_of(entry_from_json(entry))
