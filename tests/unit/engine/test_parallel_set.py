"""Branches that set the same variable: the order of the journal decides, and it is the same however often the run is worked out again."""

from dataclasses import replace
from itertools import permutations

import pytest

from backstay.engine.decide import decide
from backstay.engine.journal import fold
from backstay.engine.model import JobState
from tests.support.world import World

BRANCHES = ("north", "south", "west")
ORDERS = list(permutations(BRANCHES))


def workflow(value: str) -> str:
    branches = "\n".join(
        f"      - {{name: {name}, steps: [{{name: ask, job: {{image: x}}}}, {{name: note, set: {{who: {value.replace('NAME', name)}}}}}]}}"
        for name in BRANCHES
    )
    return f"""
steps:
- {{name: begin, set: {{who: ""}}}}
- name: p
  parallel:
    branches:
{branches}
outputs: [{{name: who, value: "${{ vars.who }}"}}]
"""


LAST = workflow("NAME")
ALL = workflow("\"${ vars.who + 'NAME ' }\"")


def order_of(world: World) -> list[str]:
    """The branches in the order in which the journal has their variables."""
    return [entry.path.split("/")[1] for entry in world.entries if entry.kind == "StepSucceeded" and entry.path.endswith("/note")]


@pytest.mark.parametrize("order", ORDERS)
def test_the_last_one_of_the_journal_wins(order: tuple[str, ...]) -> None:
    world = World(LAST)
    for name in order:
        world.succeed(f"p/{name}/ask")
    assert (order_of(world), world.status["outputs"]) == (list(order), {"who": order[-1]})


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_added_is_never_lost(order: tuple[str, ...]) -> None:
    world = World(ALL)
    for name in order:
        world.succeed(f"p/{name}/ask")
    assert world.status["outputs"] == {"who": "".join(f"{name} " for name in order)}


@pytest.mark.parametrize("source", [LAST, ALL])
@pytest.mark.parametrize("order", ORDERS)
def test_what_is_seen_in_one_turn_is_taken_in_the_order_of_the_definition_whatever_order_it_was_seen_in(
    order: tuple[str, ...], source: str
) -> None:
    world = World(source)
    names = {name: world.step(f"p/{name}/ask").job or "" for name in BRANCHES}
    world.jobs = {names[name]: replace(world.jobs[names[name]], state=JobState.SUCCEEDED) for name in order}
    world.look()
    assert order_of(world) == list(BRANCHES)
    assert world.status["outputs"] == {"who": "west" if source is LAST else "north south west "}


def test_the_variables_are_those_of_the_journal_at_every_replay() -> None:
    world = World(ALL)
    for name in ("south", "west", "north"):
        world.succeed(f"p/{name}/ask")
    for _ in range(5):
        assert fold(world.entries).run.vars == {"who": "south west north "}
    again = decide(world.program, world.identity, world.state, world.observations, world.now)
    assert not again.entries
