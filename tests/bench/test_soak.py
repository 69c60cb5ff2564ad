"""Half the load for an hour: `make soak MINUTES=60`. Does the operator's memory stay flat, and do its file handles and threads?"""

from collections import Counter

import pytest

from tests.bench.arena import Arena
from tests.bench.figures import Figures, Report
from tests.bench.sampling import Samples, Trend
from tests.bench.sizes import Sizes
from tests.bench.steady import STEPS, Rate, carry

pytestmark = [pytest.mark.bench, pytest.mark.long, pytest.mark.timeout(0)]

_SAMPLE_SECONDS = 10
_TTL = "5m"
"""Finished runs leave: what stays for ever would grow for ever. They are looked for every five minutes."""
_WARM_SHARE = 1 / 4
"""Of the time after the ramp: until then caches fill, and the first runs have not left yet."""
_ROOM = {"rss_mb": 15.0, "handles": 10.0, "threads": 4.0}
"""How much more there may be at the end for what comes and goes: connections are opened when many answers are awaited."""


async def test_memory_and_handles_stay_flat_under_half_the_load(sizes: Sizes, arena: Arena, report: Report) -> None:
    rate = Rate(sizes.soak_per_minute, sizes.soak_active, sizes.soak_minutes, ttl=_TTL)
    place = arena.place("soak", STEPS, seconds=rate.step_seconds)
    load = await carry(arena, place, rate, every_seconds=_SAMPLE_SECONDS)
    trends = {name: trend(load.samples, name, rate) for name in _ROOM}
    flat = {name: found.is_flat(share=0.1 if name == "rss_mb" else 0, room=_ROOM[name]) for name, found in trends.items()}
    report.parts["soak"] = load.figures() | told(trends, flat)
    report.series["soak"] = load.samples.series()
    assert Counter(load.ends.phases.values()) == {"Succeeded": rate.runs}
    assert load.record.wrong(rate.runs, STEPS) == []
    assert all(flat.values()), f"{[name for name, is_flat in flat.items() if not is_flat]} grew: {trends}"


def trend(samples: Samples, name: str, rate: Rate) -> Trend:
    """Find how something changed from when the load was steady until the last run came."""
    first = rate.ramp_seconds + rate.minutes * 60 * _WARM_SHARE
    seconds = [moment for moment in samples.seconds if first <= moment <= rate.seconds]
    return Trend.of(seconds, samples.between(name, first, rate.seconds))


def told(trends: dict[str, Trend], flat: dict[str, bool]) -> Figures:
    """Return the verdict as figures: 1 is flat."""
    found: Figures = {}
    for name, trend in trends.items():
        found |= {
            f"{name}_first_quarter": trend.first_quarter,
            f"{name}_last_quarter": trend.last_quarter,
            f"{name}_slope_per_hour": trend.slope_per_hour,
            f"{name}_is_flat": float(flat[name]),
        }
    return found
