"""A steady load for many minutes: `make bench-sustained`. Told are times; asserted are counts only."""

from collections import Counter

import pytest

from tests.bench.arena import Arena
from tests.bench.figures import Report
from tests.bench.sizes import Sizes
from tests.bench.steady import STEPS, Rate, carry

pytestmark = [pytest.mark.bench, pytest.mark.long, pytest.mark.timeout(0)]

_SAMPLE_SECONDS = 5


async def test_runs_that_come_at_a_steady_rate_all_succeed_with_one_job_a_step(sizes: Sizes, arena: Arena, report: Report) -> None:
    rate = Rate(sizes.sustained_per_minute, sizes.sustained_active, sizes.sustained_minutes)
    place = arena.place("sustained", STEPS, seconds=rate.step_seconds)
    load = await carry(arena, place, rate, every_seconds=_SAMPLE_SECONDS)
    report.parts["sustained"] = load.figures()
    report.series["sustained"] = load.samples.series()
    assert Counter(load.ends.phases.values()) == {"Succeeded": rate.runs}
    assert load.record.wrong(rate.runs, STEPS) == []
