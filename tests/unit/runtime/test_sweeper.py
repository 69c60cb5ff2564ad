"""When a finished run leaves."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backstay.runtime.sweeper import is_over

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
