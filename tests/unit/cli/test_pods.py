"""`backstay logs`: which pods are meant, and what is said where there are none."""

from typing import Any

import pytest

from backstay.cli.views.pods import Options, Wanted, choose, nothing_to_show, prefixes
from tests.support.world import World
from tests.unit.cli.runs import run_of

SAGA = """
steps:
- {name: reserve, job: {image: stock}, compensate: {job: {image: stock}}}
- name: pair
  parallel: {branches: [{name: left, steps: [{name: x, job: {image: a}}]}, {name: right, steps: [{name: nap, wait: {duration: 1h}}]}]}
- {name: ship, job: {image: ship}}
"""


def pod(name: str, path: str | None, attempt: str = "1", *, created: str = "2026-11-23T09:00:00Z", running: bool = True) -> dict[str, Any]:
    annotations = {} if path is None else {"backstay.dev/path": path, "backstay.dev/attempt": attempt}
    state: dict[str, Any] = {"running": {}} if running else {"waiting": {"reason": "ContainerCreating"}}
    return {
        "metadata": {"name": name, "namespace": "shop", "annotations": annotations, "creationTimestamp": created},
        "status": {"containerStatuses": [{"name": "main", "state": state}]},
    }


PODS = [
    pod("ship-2", "ship", "2", created="2026-11-23T09:00:09Z", running=False),
    pod("reserve-1", "reserve"),
    pod("x-1", "pair/left/x", created="2026-11-23T09:00:03Z"),
    pod("ship-1", "ship", created="2026-11-23T09:00:05Z"),
    pod("undo-1", "reserve:compensate", created="2026-11-23T09:00:07Z"),
    pod("stranger", None),
]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (Wanted(), ["reserve-1", "x-1", "ship-1", "undo-1", "ship-2"]),
        (Wanted("reserve"), ["reserve-1", "undo-1"]),
        (Wanted("pair"), ["x-1"]),
        (Wanted("pair/left/x"), ["x-1"]),
        (Wanted("ship"), ["ship-1", "ship-2"]),
        (Wanted("ship", attempt=2), ["ship-2"]),
        (Wanted("ship", previous=True), ["ship-1"]),
        (Wanted(previous=True), ["ship-1"]),
        (Wanted("shi"), []),
        (Wanted("ship", attempt=9), []),
    ],
)
def test_pods_are_chosen_by_step_and_attempt_oldest_first(wanted: Wanted, names: list[str]) -> None:
    assert [writer.pod for writer in choose(PODS, run_of(World(SAGA)), wanted)] == names


def test_only_pods_that_have_begun_are_followed() -> None:
    assert [writer.pod for writer in choose(PODS, run_of(World(SAGA)), Wanted("ship"), started=True)] == ["ship-1"]


def test_pods_of_the_same_second_stand_in_the_order_in_which_their_steps_began() -> None:
    world = World(SAGA).succeed("reserve")
    pods = [pod("a", "ship"), pod("c", "reserve", "2"), pod("d", "reserve"), pod("b", "pair/left/x")]
    assert [writer.pod for writer in choose(pods, run_of(world), Wanted())] == ["d", "c", "b", "a"]


def test_lines_of_several_steps_say_where_they_are_from() -> None:
    assert prefixes(choose(PODS, run_of(World(SAGA)), Wanted("ship"))) == ["[ship] ", "[ship #2] "]
    assert prefixes(choose(PODS, run_of(World(SAGA)), Wanted("pair"))) == [""]


def test_the_api_is_asked_for_one_container() -> None:
    assert Options("main", 5, timestamps=True).query(follow=True) == {
        "container": "main",
        "tailLines": "5",
        "timestamps": "true",
        "follow": "true",
    }


@pytest.mark.parametrize(
    ("wanted", "message", "mend"),
    [
        (Wanted("shipp"), 'run order-7f2 has no step "shipp"', 'did you mean "ship"?'),
        (Wanted("ship"), "step ship has not begun", "backstay tree order-7f2"),
        (Wanted("pair/right/nap"), "step pair/right/nap (wait) runs no container and has no logs", "name a step that has a job"),
        (Wanted("reserve", attempt=4), "there are no logs of attempt 4 of step reserve", "the latest attempt is 1"),
        (Wanted("reserve", previous=True), "there are no logs of the attempt before the latest of step reserve", "the latest attempt is 1"),
        (Wanted("pair/left/x"), "no pod of step pair/left/x is there", "backstay why order-7f2"),
        (Wanted(), "no pod of run order-7f2 is there", "backstay why order-7f2"),
    ],
)
def test_where_there_are_no_logs_the_reason_is_told(wanted: Wanted, message: str, mend: str) -> None:
    found = nothing_to_show(run_of(World(SAGA).succeed("reserve")), wanted)
    assert (found[0], mend in found[1]) == (message, True)


def test_following_ends_with_the_run_or_with_the_step() -> None:
    world = World(SAGA)
    assert not Wanted().has_ended(run_of(world)) and not Wanted("reserve").has_ended(run_of(world))
    world.succeed("reserve")
    assert Wanted("reserve").has_ended(run_of(world)) and not Wanted().has_ended(run_of(world))
    assert Wanted().gone().has_ended(run_of(world))
    world.fail("pair/left/x", "Permanent").succeed("reserve:compensate")
    assert Wanted().has_ended(run_of(world))
