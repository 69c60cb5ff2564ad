"""`backstay history`: the journal as a story, and whether it can be believed."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest

from backstay.cli.views.seen import read_run
from backstay.cli.views.story import Story, read_story, story, story_data
from tests.support.world import World
from tests.unit.cli.runs import manifest_of, run_of, texts

SAGA = """
steps:
- {name: reserve, job: {image: stock}, compensate: {job: {image: stock}}}
- {name: charge, job: {image: pay}, timeout: 1h, retry: {maxAttempts: 2, interval: 1s, jitter: None}, catch: [{errors: [Odd], steps: [{name: note, set: {odd: true}}]}]}
- {name: nap, wait: {duration: 10m}}
- {name: never, if: "${ false }", job: {image: x}}
"""

LIVES: dict[str, Callable[[], World]] = {
    "all goes well": lambda: World(SAGA).succeed("reserve").fail("charge").pass_time("1s").succeed("charge").pass_time("10m"),
    "an error is caught": lambda: World(SAGA).succeed("reserve").fail("charge", output='{"error": {"type": "Odd", "message": "m"}}'),
    "it fails": lambda: World(SAGA).succeed("reserve").fail("charge", "Permanent").succeed("reserve:compensate"),
    "it is held and cancelled": lambda: World(SAGA).succeed("reserve").wants(suspend=True).wants(suspend=False).wants(cancel=True),
    "it is deleted and let go": lambda: World(SAGA).succeed("reserve").wants(delete=True).wants(release=True),
    "it cannot begin": lambda: World("steps: [{name: a, set: {x: 1}}]\nparameters: [{name: p, schema: {type: string}}]"),
}


def told(world: World) -> list[str]:
    run = run_of(world)
    return texts(story(read_story(run)))


@pytest.mark.parametrize("live", LIVES.values(), ids=LIVES.keys())
def test_every_kind_of_entry_has_words_of_its_own(live: Callable[[], World]) -> None:
    world = live()
    lines = told(world)
    assert len(lines) == len(world.entries) + 2
    camel_case = {entry.kind for entry in world.entries}
    for entry, text in zip(world.entries, lines[1:], strict=False):
        fallback = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", entry.kind).lower()
        assert fallback not in text, f"{entry.kind} has no words in views/story.py"
        assert not any(kind in text for kind in camel_case)
        assert (entry.path if entry.path != "/" else "the body") in text
        assert entry.reason.split("\n")[0][:40] in text
    assert "is exactly what follows from it" in lines[-1]


def test_what_people_asked_for_is_told_with_their_hand_in_it() -> None:
    lines = told(LIVES["it is held and cancelled"]())
    assert any("the run is suspended" in text and text.endswith("by user") for text in lines)
    assert any("the run is cancelled" in text and text.endswith("by user") for text in lines)


def test_a_story_begins_with_its_day_and_counts_from_its_beginning() -> None:
    lines = told(World(SAGA).pass_time("90s").succeed("reserve"))
    assert lines[0] == "2026-11-23 (UTC)"
    assert lines[1] == "  09:00:00.000     +0.0s  the run begins"
    assert "  09:01:30.000    +1m30s  reserve has succeeded" in lines


def test_entries_that_are_no_longer_kept_are_counted() -> None:
    world = World(SAGA).succeed("reserve")
    manifest = copy.deepcopy(manifest_of(world))
    journal = manifest["status"]["journal"]
    journal["dropped"] = 3
    journal["entries"] = journal["entries"][3:]
    lines = texts(story(read_story(read_run(manifest))))
    assert lines[0] == "(3 older entries are no longer kept; the story begins at entry 4)"
    assert "unbroken chain" in lines[-1]


def tampered(change: Callable[[dict[str, Any]], None]) -> Story:
    manifest = copy.deepcopy(manifest_of(World(SAGA).succeed("reserve", {"id": 1})))
    change(manifest["status"])
    return read_story(read_run(manifest))


@pytest.mark.parametrize(
    "change",
    [
        lambda status: status["steps"][1].update(phase="Failed"),
        lambda status: status["steps"][1]["outputs"].update(id=2),
        lambda status: status["steps"].pop(),
        lambda status: status.update(phase="Succeeded"),
        lambda status: status["journal"]["entries"].pop(),
        lambda status: status["journal"]["entries"].pop(1),
        lambda status: status["journal"]["entries"][2].update(reason="nothing happened"),
        lambda status: status["journal"].update(head="0" * 32),
        lambda status: status["journal"].update(dropped=1),
        lambda status: status["journal"]["entries"][0].update(time="yesterday"),
        lambda status: status["journal"].update(entries="none"),
        lambda status: status.update(journal=None),
        lambda status: status.update(journal="x"),
        lambda status: status["journal"].update(dropped="many"),
    ],
)
def test_a_status_or_a_journal_changed_by_hand_is_not_to_be_trusted(change: Callable[[dict[str, Any]], None]) -> None:
    found = tampered(change)
    assert (found.is_sound, found.verdict.startswith("NOT TO BE TRUSTED")) == (False, True)


def test_a_run_to_which_nothing_has_happened_has_an_empty_story() -> None:
    run = read_run({**manifest_of(World(SAGA)), "status": {}})
    assert texts(story(read_story(run))) == ["nothing has happened yet"]


def test_the_data_holds_the_entries_as_they_are_written_and_the_verdict() -> None:
    world = World(SAGA).succeed("reserve")
    run = run_of(world)
    data = story_data(run, read_story(run))
    assert data["entries"] == world.status["journal"]["entries"]
    assert (data["verified"], data["dropped"]) == (True, 0)
