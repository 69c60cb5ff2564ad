"""A turn is bounded: what it writes, and what it keeps for attempts that are not confirmed, fits into a status (DESIGN, promise 8)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
import yaml

from backstay.engine import bounds, codec
from backstay.engine.model import Entry, Fault, Hold, JobState, State, Wish
from backstay.engine.turn import INPUTS_BYTES, MOST_BYTES
from tests.support.world import World

JOB = {"job": {"image": "i", "args": ["${params.text}"]}}
HUGE = "x" * 50_000


class Watched(World):
    """A world in which every status fits, and that notes how much each turn adds."""

    def _move(self, new: Sequence[Entry]) -> bounds.Moved:
        self.turns = [*getattr(self, "turns", []), sum(len(orjson.dumps(codec.entry_to_json(entry))) for entry in new)]
        assert len(orjson.dumps(self.status)) < 700_000
        return super()._move(new)

    @property
    def state(self) -> State:
        """Read once a status: what follows looks at it often."""
        known: tuple[Any, State] | None = getattr(self, "_known", None)
        if known is None or known[0] is not self.status:
            known = self._known = (self.status, super().state)
        return known[1]

    def all_succeed(self) -> None:
        """Every Job that goes on ends, before anybody looks."""
        for path in self.running:
            self.ends(path, JobState.SUCCEEDED)
        self.look()

    def ends(self, path: str, state: JobState) -> None:
        name = self.step(path).job or ""
        output = '{"v": "' + "x" * 4000 + '"}' if state is JobState.SUCCEEDED else None
        self.jobs[name] = replace(self.jobs[name], state=state, output=output, fault=Fault("Permanent"))

    @property
    def unconfirmed(self) -> int:
        """How many attempts have begun whose Jobs are not confirmed."""
        return sum(1 for record in self.state.steps.values() if record.inputs is not None)


def many(count: int, step: dict[str, Any] = JOB, text: str = "", wish: Wish | None = None, **modifiers: Any) -> Watched:
    """A world of so many steps that all begin at the same time."""
    steps = [{"name": f"s{place}", **step, **modifiers} for place in range(count)]
    parameters = [{"name": "text", "schema": {"type": "string"}}]
    return Watched(yaml.dump({"parameters": parameters, "dag": {"steps": steps}}, Dumper=yaml.CSafeDumper), {"text": text}, wish=wish)


def test_attempts_with_large_inputs_begin_as_there_is_room_and_all_go_through() -> None:
    world = many(30, text=HUGE)
    assert (len(world.made), world.unconfirmed * len(HUGE) <= INPUTS_BYTES + len(HUGE)) == (30, True)
    assert max(world.turns) <= MOST_BYTES + len(HUGE) + 1000
    world.all_succeed()
    assert world.phase == "Succeeded"


def test_while_a_quota_holds_them_back_no_more_begin_than_there_is_room_for_and_later_they_do() -> None:
    world = many(30, text=HUGE, wish=Wish(suspend=True))
    world.obstruct(Hold("Quota", "Waiting for quota", "exceeded quota")).wants(suspend=False)
    begun, writes = len(world.state.steps), world.writes
    assert begun < 7
    world.pass_time("30s")
    assert (len(world.state.steps), world.writes) == (begun, writes)
    world.obstruct(None).pass_time("2s").all_succeed()
    assert (world.phase, len(world.made)) == ("Succeeded", 30)


def test_a_retry_waits_for_room_like_a_first_attempt() -> None:
    world = many(12, text=HUGE, retry={"maxAttempts": 2, "interval": "1s", "errors": ["*"]})
    for path in world.running:
        world.ends(path, JobState.FAILED)
    world.look()
    world.pass_time("20s")
    assert (len(world.made), world.unconfirmed * len(HUGE) <= INPUTS_BYTES + len(HUGE)) == (24, True)
    world.all_succeed()
    assert world.phase == "Succeeded"


def test_many_small_attempts_are_confirmed_at_once_and_few_as_ever() -> None:
    few, crowd = many(20), many(800, text="x" * 200)
    assert (few.unconfirmed, len(crowd.made)) == (20, 800)
    assert crowd.unconfirmed < 700


def test_many_child_runs_with_large_parameters_are_confirmed_as_soon_as_they_are_there() -> None:
    """Without that each handful would wait for the time after which a child is confirmed by a write of its own."""
    world = many(30, text=HUGE, step={"workflow": {"name": "order", "params": {"text": "${params.text}"}}})
    assert (len(world.children), world.unconfirmed * len(HUGE) <= INPUTS_BYTES + len(HUGE)) == (30, True)


def test_what_many_jobs_left_behind_while_nobody_looked_is_taken_in_over_several_turns() -> None:
    world = many(120)
    before = len(world.turns)
    world.all_succeed()
    assert world.phase == "Succeeded"
    assert len(world.turns) - before > 2
    assert max(world.turns) <= MOST_BYTES + 10_000


def test_a_fault_among_them_is_still_a_fault() -> None:
    world = many(120)
    for path in world.running[:-1]:
        world.ends(path, JobState.SUCCEEDED)
    world.ends("s119", JobState.FAILED)
    world.look()
    assert (world.phase, world.state.run.error and world.state.run.error.step) == ("Failed", "s119")


ASKS: dict[str, tuple[Callable[[World], World], str]] = {
    "cancelled": (lambda world: world.wants(cancel=True), "Cancelled"),
    "deleted": (lambda world: world.wants(delete=True), "Cancelled"),
    "timed out": (lambda world: world.pass_time("3h"), "Failed"),
}


@pytest.mark.parametrize(("ask", "phase"), ASKS.values(), ids=ASKS.keys())
def test_hundreds_of_steps_are_stopped_turn_by_turn(ask: Callable[[World], World], phase: str) -> None:
    world = many(600, timeout="2h")
    ask(world)
    assert (world.phase, world.running) == (phase, [])
    assert max(world.turns) <= MOST_BYTES + 10_000


def test_the_deadlines_of_hundreds_of_steps_move_with_one_entry() -> None:
    world = many(600, timeout="2h").wants(suspend=True).pass_time("1h")
    before, count = world.step("s7").deadline_at, len(world.entries)
    world.wants(suspend=False)
    after = world.step("s7").deadline_at
    assert before is not None
    assert after is not None
    assert (after - before).total_seconds() == 3600
    assert [entry.kind for entry in world.entries[count:]] == ["DeadlinesMoved", "RunResumed"]


def test_what_is_not_undone_is_named_as_far_as_a_person_reads() -> None:
    done = [{"name": f"s{place}", "set": {"x": 1}, "compensate": {"job": {"image": "i"}}} for place in range(250)]
    world = World(yaml.dump({"dag": {"steps": [*done, {"name": "hold", "wait": {"duration": "1h"}}]}}, Dumper=yaml.CSafeDumper))
    world.terminating = True
    world.wants(delete=True)
    told = next(entry.reason for entry in world.entries if entry.kind == "CompensationAbandoned")
    assert told.startswith("the namespace is being deleted and refuses new Jobs; not undone: s249, s248, ")
    assert told.endswith("s150 and 150 more")
