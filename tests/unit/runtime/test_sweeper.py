"""When a finished run leaves, and when the sweeper goes round."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backstay.kube.client import ListPage
from backstay.kube.resources import RUNS, Resource
from backstay.runtime.sweeper import LATEST_SECONDS, is_over
from tests.support.fake_api import FakeApi
from tests.support.operating import operating
from tests.support.virtual_time import virtually

END = datetime(2026, 11, 23, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("phase", "ttl", "after", "over"),
    [
        ("Succeeded", None, timedelta(hours=23), False),
        ("Succeeded", None, timedelta(hours=24), True),
        ("Failed", None, timedelta(days=6), False),
        ("Failed", None, timedelta(days=7), True),
        ("Cancelled", None, timedelta(days=7), True),
        ("Succeeded", {"succeeded": "1m"}, timedelta(minutes=1), True),
        ("Failed", {"succeeded": "1m"}, timedelta(hours=1), False),
        ("Failed", {"failed": "0s"}, timedelta(days=999), False),
    ],
)
def test_a_finished_run_leaves_when_its_time_to_live_is_over(phase: str, ttl: Any, after: timedelta, over: bool) -> None:
    run = {"metadata": {}, "spec": {} if ttl is None else {"ttl": ttl}, "status": {"phase": phase, "finishedAt": END.isoformat()}}
    assert is_over(run, END + after) is over


# ------------------------------------------------------------------------------------------------------ its first round


class Watched(FakeApi):
    """Notes when all runs are listed, finished or not, as only the sweeper does: the loop's time, and how many runs had been looked at by then."""

    def __init__(self) -> None:
        super().__init__(lambda job: (0, ""))
        self.rounds: list[tuple[float, int]] = []

    async def pages(self, resource: Resource, namespace: str | None = None, **selectors: Any) -> AsyncGenerator[ListPage, None]:
        if resource is RUNS and not selectors.get("field_selector"):
            looked_at = sum(bool(run.get("status")) for run in self.all("workflowruns"))
            self.rounds.append((asyncio.get_running_loop().time(), looked_at))
        async for page in super().pages(resource, namespace, **selectors):
            yield page


WAITING = {"workflow": {"inline": {"steps": [{"name": "w", "wait": {"duration": "1h"}}]}}}
MANY = 60


def begin(hangs: bool = False, **settings: Any) -> list[tuple[float, int]]:
    """Start an operator beside many runs, in virtual time; return when it listed them all, counted from the start."""
    api = Watched()

    async def work() -> None:
        for number in range(MANY):
            api.apply_run(WAITING, f"r{number}")
        if hangs:
            api.fault = lambda number, verb, plural: "hang" if plural == "workflowruns" else None
        began = asyncio.get_running_loop().time()
        async with operating(api, **settings):
            await asyncio.sleep(LATEST_SECONDS + 5)
        api.rounds = [(at - began, looked_at) for at, looked_at in api.rounds]

    virtually(work())
    return api.rounds


def test_runs_that_go_on_are_looked_at_before_the_first_round_begins() -> None:
    ((at, looked_at),) = begin()
    assert looked_at == MANY
    assert at < 1


def test_the_first_round_does_not_wait_for_ever() -> None:
    ((at, looked_at),) = begin(hangs=True)
    assert looked_at == 0
    assert LATEST_SECONDS <= at < LATEST_SECONDS + 1


def test_under_a_limit_nothing_begins_before_all_are_counted_so_the_first_round_comes_at_once() -> None:
    ((at, looked_at),) = begin(max_active_runs=1000)
    assert (at, looked_at) == (0, 0)
