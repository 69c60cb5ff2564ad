"""How soon the next operator is at work, from what was heard of runs while operators were killed. Pure.

starts     from the start of a process that comes up where one was killed until the first change of a run is heard of
goes on    from the kill until every run has moved of which a pod had ended while no operator was there
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.lane import Life
from tests.chaos.rules import Line


@dataclass
class Recoveries:
    """Seconds, one figure for each kill after which the next operator lived long enough."""

    starts_cold: list[float] = field(default_factory=list)
    starts_warm: list[float] = field(default_factory=list)
    goes_on_cold: list[float] = field(default_factory=list)
    goes_on_warm: list[float] = field(default_factory=list)


def recoveries(lives: Sequence[Life], changes: Sequence[tuple[float, str]], lines: Sequence[Line]) -> Recoveries:
    """Measure every kill. `changes` are the times at which runs changed, with their names; `lines` those of the same namespace; both in order."""
    found = Recoveries()
    moments: dict[str, list[float]] = {}
    for at, run in changes:
        moments.setdefault(run, []).append(at)
    ends = [line for line in lines if line.by == "pod" and line.what in ("done", "failed")]
    times = [line.at for line in ends]
    for before, after in pairwise(lives):
        if before.killed is None or after.wrote is None:
            continue
        (found.starts_cold if after.cold else found.starts_warm).append(after.wrote - before.killed)
        news = ends[bisect_left(times, before.killed) : bisect_right(times, after.wrote)]
        moved = [_next(moments.get(line.run, []), max(line.at, after.wrote)) for line in news]
        known = [at for at in moved if at is not None]
        last = max(known, default=None)
        if last is not None and len(known) == len(moved) and (after.killed is None or last <= after.killed):
            (found.goes_on_cold if after.cold else found.goes_on_warm).append(last - before.killed)
    return found


def _next(moments: Sequence[float], after: float) -> float | None:
    place = bisect_left(moments, after)
    return moments[place] if place < len(moments) else None
