"""What the operator does is counted, each deed once: the real operator on a modelled API server."""

from typing import Any

import pytest

from tests.support.fake_api import FakeApi
from tests.support.operating import ended, eventually, working

THREE = {"steps": [{"name": name, "job": {"image": "ok"}} for name in ("a", "b", "c")]}


def jobs_in_parallel(*names: str) -> dict[str, Any]:
    return {"parallel": {"branches": [{"name": name, "steps": [{"name": "s", "job": {"image": "ok"}}]} for name in names]}}


class Counted:
    """An operator that has taken a run to its end, and what its metrics say."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.api = FakeApi(lambda job: (0, ""))
        self._spec = spec

    async def __call__(self, name: str, **labels: str) -> float:
        """Take the run to its end; return a sample."""
        self.api.apply_run({"workflow": {"inline": self._spec}})
        async with working(self.api) as operator:
            await eventually(lambda: ended(self.api))
            self.metrics = operator.metrics
            return self.sample(name, **labels)

    def sample(self, name: str, **labels: str) -> float:
        """Return another sample."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_each_part_of_a_pass_is_timed() -> None:
    counted = Counted(THREE)
    persisted = await counted("backstay_pass_seconds_count", part="persist")
    assert persisted == counted.api.writes.count(("patch", "workflowruns")) == 4
    assert counted.sample("backstay_pass_seconds_count", part="act") == 3
    looks = sum(counted.sample("backstay_queue_wait_seconds_count", priority=priority) for priority in ("running", "new", "background"))
    assert counted.sample("backstay_pass_seconds_count", part="observe") >= 4
    assert looks >= counted.sample("backstay_pass_seconds_count", part="observe")
    assert counted.sample("backstay_queue_wait_seconds_count", priority="new") >= 1


async def test_each_job_that_follows_a_step_is_timed_from_the_news_that_the_step_has_ended() -> None:
    counted = Counted(THREE)
    assert await counted("backstay_step_to_step_seconds_count") == 2, "the first follows nothing"
    assert 0 < counted.sample("backstay_step_to_step_seconds_sum") < 60


async def test_all_jobs_that_follow_one_step_are_timed() -> None:
    counted = Counted({"steps": [{"name": "a", "job": {"image": "ok"}}, {"name": "p", **jobs_in_parallel("x", "y", "z")}]})
    assert await counted("backstay_step_to_step_seconds_count") == 3


@pytest.mark.parametrize(("fault", "error"), [("unavailable", "Unavailable"), ("busy", "TooManyRequests"), ("conflict", "Conflict")])
async def test_a_pass_that_fails_is_counted_by_its_error_and_what_it_delays_is_timed_all_the_same(fault: str, error: str) -> None:
    counted = Counted(THREE)
    jobs: list[int] = []

    def second_job(number: int, verb: str, plural: str) -> str | None:
        if (verb, plural) == ("create", "jobs"):
            jobs.append(number)
        return fault if (verb, plural) == ("create", "jobs") and len(jobs) == 2 else None

    counted.api.fault = second_job
    assert await counted("backstay_passes_failed_total", error=error) == 1
    assert counted.sample("backstay_step_to_step_seconds_count") == 2


async def test_how_late_the_watch_tells_of_our_own_writes_is_measured() -> None:
    counted = Counted(THREE)
    assert await counted("backstay_informer_lag_seconds_count", resource="jobs") == 3
    assert counted.sample("backstay_informer_lag_seconds_count", resource="workflowruns") >= 3
