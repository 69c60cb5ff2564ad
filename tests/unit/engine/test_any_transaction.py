"""Random faults at random moments of random transactions: never some committed and some aborted, and nothing before it is decided.

The world checks at every moment that the state is the fold of its journal, that what was written reads back, that deciding twice changes
nothing, and that no Job is made twice.
"""

import os
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from backstay.engine.model import JobState, Phase
from backstay.engine.transactions import owner_of
from tests.support.world import World

EXAMPLES = int(os.environ.get("BACKSTAY_TRANSACTIONS", "40"))
STEPS = 14
FIRST, COMMIT, ABORT = "prepare", "commit", "abort"

participants = st.lists(
    st.builds(
        lambda retry, limit: {"retry": retry, "limit": limit},
        st.sampled_from([None, {"maxAttempts": 2, "interval": "1s", "errors": ["*"]}]),
        st.sampled_from([None, "20s"]),
    ),
    min_size=1,
    max_size=3,
)


def workflow(members: list[dict[str, Any]], timeout: str | None, undo: bool, inside: str) -> str:
    def phase(first: bool, member: dict[str, Any]) -> str:
        more = f", retry: {member['retry']}" if first and member["retry"] else ""
        more += f", attemptTimeout: {member['limit']}" if member["limit"] else ""
        return f"{{job: {{image: i}}{more}}}"

    items = ", ".join(
        f"{{name: p{index}, prepare: {phase(True, member)}, commit: {phase(False, member)}, abort: {phase(False, member)}}}"
        for index, member in enumerate(members)
    )
    book = f"{{name: book, {f'timeout: {timeout}, ' if timeout else ''}transaction: {{decisionTimeout: 40s, participants: [{items}]}}"
    book += ", compensate: {job: {image: i}}}" if undo else "}"
    if inside == "forEach":
        return f"steps: [{{name: each, forEach: {{count: 2, tolerate: 1, steps: [{book}]}}}}]"
    beside = "{name: beside, job: {image: i}}"
    return f"dag: {{steps: [{beside}, {book}]}}" if inside == "dag" else f"steps: [{book}, {beside}]"


def check(world: World) -> None:
    """What must hold at any moment, by the journal alone."""
    decided: dict[str, str] = {}
    begun: Counter[str] = Counter()
    phases: dict[str, str] = {}
    for entry in world.entries:
        phase = entry.changes.get("phase")
        if entry.kind == "TransactionDecided":
            assert entry.path not in decided, "it is decided once"
            decided[entry.path] = str(entry.changes["decision"])
            if decided[entry.path] == "Commit":
                firsts = {path: how for path, how in phases.items() if path.endswith(f"/{FIRST}") and owner_of(path)[0] == entry.path}
                assert set(firsts.values()) == {"Succeeded"}, f"{entry.path} is committed with {firsts}"
        if phase and entry.path.endswith((f"/{FIRST}", f"/{COMMIT}", f"/{ABORT}")):
            phases[entry.path] = str(phase)
        if entry.kind != "AttemptStarted" or entry.path.endswith((":compensate", "beside")):
            continue
        transaction, participant = owner_of(entry.path)
        begun[entry.path] += 1
        if entry.path.endswith(FIRST):
            assert transaction not in decided, f"{entry.path} began after the decision"
        else:
            assert decided.get(transaction) == ("Commit" if entry.path.endswith(COMMIT) else "Abort"), (
                f"{entry.path} is not what was decided"
            )
            first = f"{transaction}/{participant}/{FIRST}"
            assert begun[first], f"{entry.path}: the participant had never begun"
            assert phases[first] in ("Succeeded", "Failed", "Cancelled"), f"{entry.path} began while {first} was {phases[first]}"


def jobs(world: World) -> list[str]:
    """The steps of which a Job goes on, or is being stopped."""
    active = {name for name, fact in world.jobs.items() if fact.state is JobState.ACTIVE}
    return sorted(record.path for record in world.state.steps.values() if not record.has_ended and record.job in active)


@settings(max_examples=EXAMPLES)
@given(
    participants,
    st.sampled_from([None, None, "30s"]),
    st.booleans(),
    st.sampled_from(["steps", "dag", "forEach"]),
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=STEPS, max_size=STEPS),
)
def test_whatever_happens_all_participants_go_the_way_that_was_decided(
    members: list[dict[str, Any]], timeout: str | None, undo: bool, inside: str, choices: list[tuple[int, int]]
) -> None:
    world = World(workflow(members, timeout, undo, inside))
    for what, which in choices:
        world.stops_at_once = which % 2 == 0
        happens(world, what, which)
        check(world)
    to_the_end(world)
    check(world)
    for record in world.state.steps.values():
        if record.kind != "transaction":
            continue
        seconds = {
            path: str(step.phase)
            for path, step in world.state.steps.items()
            if path.startswith(f"{record.path}/") and not path.endswith(FIRST)
        }
        assert set(seconds.values()) <= {"Succeeded"}, "phase two is carried through everywhere"
        if record.decision == "Commit":
            assert len(seconds) == len(members) and record.phase in (Phase.SUCCEEDED, Phase.COMPENSATED)
        else:
            assert record.phase in (Phase.FAILED, Phase.CANCELLED)
            may_be = {
                path
                for path, step in world.state.steps.items()
                if path.startswith(f"{record.path}/") and path.endswith(FIRST) and step.phase is Phase.SUCCEEDED
            }
            assert {path.replace(FIRST, ABORT) for path in may_be} <= set(seconds), "whoever was prepared is told of the abort"


def happens(world: World, what: int, which: int) -> None:
    """One thing happens: a Job ends, is lost or takes its time; somebody wants something."""
    going = jobs(world)
    path = going[which % len(going)] if going else ""
    if what < 40 and path:
        world.succeed(path, {"n": which})
    elif what < 55 and path:
        world.fail(path)
    elif what < 62 and path:
        world.end(path, JobState.SUCCEEDED, '{"error": {"type": "NoTruck"}}')
    elif what < 68 and path:
        world.lose_job(path)
    elif what < 82:
        world.pass_time(f"{which % 30}s")
    elif what < 86:
        world.wants(suspend=not world.wish.suspend)
    elif what < 90:
        world.wants(cancel=True)
    elif what < 93:
        world.wants(delete=True)
    elif what < 96 and path:
        world.sees(path, deleting=world.jobs[world.step(path).job or ""].deleting, started=True)


def to_the_end(world: World) -> None:
    """From now on everything succeeds."""
    world.stops_at_once = True
    world.wants(suspend=False)
    for _ in range(200):
        going = jobs(world)
        if world.state.run.is_finished and not going:
            return
        if going and not world.jobs[world.step(going[0]).job or ""].deleting:
            world.succeed(going[0])
        elif going:
            world.gone(going[0])
        else:
            world.pass_time("10s")
    raise AssertionError(f"it does not end: {world.phases()}")
