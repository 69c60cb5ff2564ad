"""What a status holds: the newest entries and the steps that matter most, and never more than fits (DESIGN, promise 8)."""

from datetime import timedelta
from functools import cache
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from backstay.api.validate import parse_workflow
from backstay.engine import bounds
from backstay.engine.codec import record_to_json
from backstay.engine.model import Entry, Phase, RunRecord, State, StepRecord
from backstay.engine.program import Program, compile_program
from backstay.engine.status import render
from backstay.errors import BackstayError
from tests.support.world import START

KILOBYTE = "x" * 1000


def entries(count: int, text: str = "", first: int = 1) -> list[dict[str, Any]]:
    return [
        {"sequence": first + place, "time": "2026-11-23T09:00:00.000000Z", "kind": "StepSucceeded", "reason": text}
        for place in range(count)
    ]


@pytest.mark.parametrize(
    ("written", "new", "moved"),
    [
        pytest.param(entries(0), entries(500), 0, id="nothing is written yet"),
        pytest.param(entries(390), entries(10), 0, id="400 fit"),
        pytest.param(entries(390), entries(11), 201, id="401 do not: the oldest leave until 200 are left"),
        pytest.param(entries(400), entries(500), 400, id="what is new stays, however much it is"),
        pytest.param(entries(90), entries(350), 0, id="fewer than a hundred are not worth a write"),
        pytest.param(entries(90, KILOBYTE), entries(350), 90, id="but many bytes are"),
        pytest.param(entries(20, KILOBYTE * 14), entries(1), 16, id="more than 256 KiB do not fit: they leave until 64 KiB are left"),
        pytest.param(entries(2, KILOBYTE * 132), entries(1, KILOBYTE), 2, id="a few that are huge leave as well"),
        pytest.param(entries(3), entries(1, KILOBYTE * 280), 0, id="a huge one that is new stays, and small ones with it"),
    ],
)
def test_the_oldest_entries_are_moved_when_they_grow_too_many(written: list[Any], new: list[Any], moved: int) -> None:
    assert bounds.surplus(written, new) == moved


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 1200)), max_size=80))
def test_ordinary_entries_cost_at_most_one_write_in_a_hundred_and_never_more_stand_in_the_status_than_fit(
    turns: list[tuple[int, int]],
) -> None:
    """Each turn writes a few entries of some size; a turn takes no more than 150 KB."""
    written: list[dict[str, Any]] = []
    total = writes = 0
    for count, size in turns * 5:
        new = entries(count, "x" * size, total + 1)
        if moved := bounds.surplus(written, new):
            writes += 1
            written = written[moved:]
        written = written + new
        total += count
        assert len(orjson.dumps(written)) <= bounds.KEEP_BYTES + 40_000
        assert len(written) <= bounds.KEEP_ENTRIES + 30
    assert writes <= total // 100


def test_entries_that_stand_in_a_journal_object_leave_the_status_and_are_counted() -> None:
    new = [Entry(7, START, "StepSucceeded", "a"), Entry(8, START, "RunSucceeded")]
    before = {"entries": entries(4, first=3), "archived": 2, "head": "old"}
    found = bounds.shown_journal(before, new, "h", bounds.Moved(5))
    assert (found["head"], found["archived"], [one["sequence"] for one in found["entries"]]) == ("h", 5, [6, 7, 8])
    assert "dropped" not in found


def test_the_count_of_archived_entries_never_goes_back() -> None:
    before = {"entries": entries(4, first=3), "archived": 2}
    assert bounds.shown_journal(before, [], "h", bounds.NOTHING_MOVED)["archived"] == 2
    assert bounds.shown_journal(before, [], "h", bounds.Moved(1))["archived"] == 2


def test_entries_that_can_be_moved_nowhere_are_counted_as_dropped() -> None:
    before = {"entries": entries(4, first=3), "archived": 2}
    found = bounds.shown_journal(before, [], "h", bounds.Moved(4, lost=True))
    assert (found["dropped"], [one["sequence"] for one in found["entries"]]) == (4, [5, 6])
    assert "archived" not in found


def test_a_run_of_an_older_release_that_dropped_entries_archives_those_that_are_left() -> None:
    before = {"entries": entries(4, first=11), "dropped": 10}
    found = bounds.shown_journal(before, [], "h", bounds.Moved(12))
    assert (found["dropped"], found["archived"], [one["sequence"] for one in found["entries"]]) == (10, 2, [13, 14])


# ------------------------------------------------------------------------------------------------------------- the steps


@pytest.fixture(scope="module")
def program() -> Program:
    steps: list[dict[str, Any]] = [
        {"name": f"u{place}", "job": {"image": "i"}, "compensate": {"job": {"image": "i"}}} for place in range(200)
    ]
    steps += [{"name": f"s{place}", "job": {"image": "i"}} for place in range(600)]
    return compile_program(parse_workflow(yaml.safe_load(yaml.safe_dump({"dag": {"steps": steps}}))))


def record(path: str, phase: Phase = Phase.SUCCEEDED, outputs: Any = KILOBYTE) -> StepRecord:
    return StepRecord(path, "job", phase, 1, START, outputs=outputs)


def state_of(*records: StepRecord) -> State:
    return State(RunRecord(Phase.RUNNING, START), {one.path: one for one in records})


def shown(program: Program, state: State, before: dict[str, Any] | None = None, *changed: str) -> tuple[list[Any], int]:
    return bounds.shown_steps(program, state, [Entry(1, START, "StepChanged", path) for path in changed], before or {}, {})


def paths(items: list[Any]) -> list[str]:
    return [item["path"] for item in items]


def test_while_all_steps_fit_all_are_shown_in_the_order_in_which_they_began(program: Program) -> None:
    state = state_of(record("/", Phase.RUNNING, None), record("s2"), record("s1"), record("u0"))
    items, omitted = shown(program, state)
    assert (paths(items), omitted) == (["/", "s2", "s1", "u0"], 0)


def test_what_matters_least_is_left_out_first_and_the_newest_of_each_sort_stays(program: Program) -> None:
    ended = [record(f"s{place}") for place in range(300)]
    failed = [record(f"s{place}", Phase.FAILED) for place in range(300, 320)]
    undoable = [record(f"u{place}") for place in range(50)]
    going = [record(f"s{place}", Phase.RUNNING) for place in range(320, 350)]
    items, omitted = shown(program, state_of(record("/", Phase.RUNNING, None), *ended, *failed, *undoable, *going))
    found = paths(items)
    assert len(items) + omitted == 401
    assert {one.path for one in (*failed, *undoable, *going)} | {"/"} <= set(found)
    assert [path for path in found if path in {one.path for one in ended}] == [one.path for one in ended[-(len(found) - 101) :]]
    assert len(orjson.dumps(items)) <= bounds.STEPS_BYTES * 2 // 3


def test_where_not_even_what_goes_on_fits_the_structures_around_it_do(program: Program) -> None:
    going = [record(f"s{place}", Phase.RUNNING) for place in range(600)]
    items, omitted = shown(program, state_of(record("/", Phase.RUNNING, None), *going))
    assert (paths(items)[:2], len(items) + omitted) == (["/", "s0"], 601)
    assert len(orjson.dumps(items)) <= bounds.STEPS_BYTES


def test_a_step_that_does_not_fit_by_itself_makes_no_others_leave(program: Program) -> None:
    huge = record("s0", Phase.RUNNING, KILOBYTE * 320)
    items, omitted = shown(program, state_of(record("/", Phase.RUNNING, None), huge, record("s1"), record("s2")))
    assert (paths(items), omitted) == (["/", "s1", "s2"], 1)


def test_what_was_shown_is_shown_on_as_it_is_and_what_was_left_out_stays_out_until_it_changes(program: Program) -> None:
    state = state_of(record("s0"), record("s1"), record("s2"), record("s3"))
    before = {"steps": [record_to_json(record("s0")), record_to_json(record("s2", outputs=1))], "stepsOmitted": 2}
    items, omitted = shown(program, state, before, "s3")
    assert (paths(items), omitted) == (["s0", "s2", "s3"], 1)
    assert items[0] is before["steps"][0]
    assert items[1] is before["steps"][1]
    items, omitted = shown(program, state, before, "s1", "s2")
    assert (paths(items), omitted, items[2]["outputs"]) == (["s0", "s1", "s2"], 1, KILOBYTE)


def test_steps_that_were_forgotten_are_no_longer_shown(program: Program) -> None:
    before = {"steps": [record_to_json(record("s0")), record_to_json(record("s1"))], "stepsOmitted": 1}
    items, omitted = shown(program, state_of(record("s1"), record("s2")), before, "s0")
    assert (paths(items), omitted) == (["s1"], 1)


@given(st.integers(0, 600_000), st.integers(0, 400))
def test_however_much_the_rest_takes_the_whole_status_fits(others: int, steps: int) -> None:
    program = _any_program()
    state = state_of(record("/", Phase.RUNNING, None), *(record(f"s{place}") for place in range(steps)))
    run = RunRecord(Phase.RUNNING, START, vars={"v": "x" * others})
    status = render(program, State(run, state.steps, 1, "h"), [], {}, 1, START + timedelta(hours=1))
    assert len(orjson.dumps(status)) <= bounds.STATUS_BYTES + 1_000
    assert len(status["steps"]) + (status.get("stepsOmitted") or 0) == steps + 1


@cache
def _any_program() -> Program:
    return compile_program(parse_workflow({"steps": [{"name": "s0", "set": {"x": 1}}]}))


def test_a_status_that_would_be_too_large_without_any_step_is_never_made() -> None:
    run = RunRecord(Phase.RUNNING, START, vars={"v": "x" * bounds.STATUS_BYTES})
    with pytest.raises(BackstayError, match="690,000 bytes without any step"):
        render(_any_program(), State(run), [], {}, 1, START)
