"""What a universe holds, read off choices: workflows and runs, how work goes, what fails and when, and what people do.

The first bytes are for all that happens around the runs, so that the workflow stays the same while a failing universe is made smaller.
"""

import zlib
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tests.simulation.universe.choices import Choices
from tests.simulation.universe.cluster import DECLINES, FAILS, GARBAGE, GOOD, HANGS, OOM, Fate
from tests.simulation.universe.outside import ANSWERS
from tests.simulation.universe.processes import process
from tests.simulation.universe.wire import CALL_FAULTS, WATCH_FAULTS

AROUND: Final = 40
"""So many bytes are for what happens around the runs."""
PEOPLE: Final = (
    *("cancel", "suspend", "delete", "keep", "stop", "foreground", "orphan", "undo-step"),
    *("steal-job", "kill-pod", "tamper", "squat", "steal-unseen", "squat", "steal-unseen"),
)
STALLED: Final = ("retry", "skip", "give-up", "release")


class Deed(NamedTuple):
    """What a person does, when, in seconds, and for how long where it ends again."""

    what: str
    at: float
    lasts: float = 0.0


class Death(NamedTuple):
    """After how many steps an operator dies, how (`kill` or `term`), and after how many seconds the next one begins."""

    after: int
    how: str
    pause: float


@dataclass
class Scenario:
    """One universe before it begins."""

    data: bytes
    runs: list[dict[str, Any]] = field(default_factory=list)
    """Specs of the runs."""
    bad: int = 0
    """How many attempts of 256 go wrong."""
    lag: float = 0.0
    lagging: str = ""
    calls: dict[int, str] = field(default_factory=dict)
    watches: dict[int, str] = field(default_factory=dict)
    deaths: list[Death] = field(default_factory=list)
    shards: int = 1
    """How many Leases the operators share; 0: they know nothing of one another, and all of them work on everything."""
    second_at: float = -1.0
    """When a second operator begins; never where that is negative."""
    stops: list[tuple[float, float]] = field(default_factory=list)
    """When the operator is stopped (SIGSTOP), and for how long."""
    jumps: list[tuple[float, float]] = field(default_factory=list)
    """When the wall clock jumps, and how far."""
    outages: list[tuple[float, float]] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)
    stalled: tuple[str, ...] = STALLED

    def dice(self, *what: object) -> bytes:
        """Bytes that are always the same for the same question."""
        first = zlib.crc32(repr(what).encode(), zlib.crc32(self.data[:8]))
        return b"".join(zlib.crc32(bytes((part,)), first).to_bytes(4, "big") for part in range(3))

    def fate(self, run: str, path: str, attempt: int, again: int) -> Fate:
        """How the pods of an attempt go. What goes wrong for ever would never end: from the fifth attempt on all is well."""
        dice = self.dice(run, path, attempt, again)
        takes, lingers = 0.05 + dice[0] * dice[0] / 30_000, 0.01 + dice[1] / 300
        how = GOOD
        if dice[2] < self.bad and attempt < 5:
            how = (FAILS, DECLINES, HANGS, FAILS, OOM, GARBAGE)[dice[3] % 6]
        disruptions = 1 if dice[4] < self.bad // 4 else 0
        late = 6.0 if dice[5] < self.bad // 16 else 0.0
        return Fate(how, takes, lingers, {"n": dice[6] % 4} if dice[7] < 200 else None, disruptions, late)

    def answer(self, run: str, path: str, before: int) -> str:
        """How the world outside answers a call that was made so often before."""
        dice = self.dice("outside", run, path, before)
        return ANSWERS[dice[1] % len(ANSWERS)] if dice[0] < self.bad and before < 4 else "ok"


def scenario(data: bytes) -> Scenario:
    """Read a universe off bytes."""
    choices = Choices(data[:AROUND])
    found = Scenario(data)
    found.bad = choices.pick((0, 24, 60, 130))
    found.shards = choices.pick((1, 0, 1, 0, 2))
    found.lag = choices.pick((0.0, 0.05, 0.7))
    found.lagging = choices.pick(("", "pods", "jobs", "workflowruns"))
    found.calls = {1 + choices.number(90): choices.pick(CALL_FAULTS) for _ in range(choices.pick((0, 1, 3, 5)))}
    found.watches = {1 + choices.number(60): choices.pick(WATCH_FAULTS) for _ in range(choices.pick((0, 0, 1, 2)))}
    found.deaths = [
        Death(1 + choices.number(700), choices.pick(("kill", "kill", "term")), choices.pick((0.1, 3.0, 31.0)))
        for _ in range(choices.pick((0, 1, 0, 2)))
    ]
    if choices.often(40):
        found.second_at = choices.pick((0.0, 0.5, 2.0))
    if choices.often(40):
        found.stops = [(0.02 * choices.byte(), choices.pick((0.5, 12.0, 60.0)))]
    if choices.often(24):
        found.jumps = [(0.02 * choices.byte(), choices.pick((7.0, -7.0, 90.0, -60.0)))]
    if choices.often(16):
        found.outages = [(0.02 * choices.byte(), choices.pick((0.5, 8.0, 40.0)))]
    found.deeds = [Deed(choices.pick(PEOPLE), 0.02 * choices.byte(), choices.pick((1.0, 5.0))) for _ in range(choices.pick((0, 0, 1, 2)))]
    found.stalled = tuple(choices.pick(STALLED) for _ in range(3))
    found.runs = [{"workflow": {"inline": process(Choices(data[AROUND:]))}}]
    if choices.often(30):
        found.runs.append({"workflow": {"name": "one-at-a-time"}})
        found.runs.append({"workflow": {"name": "one-at-a-time"}})
    elif choices.often(30):
        found.runs.append(found.runs[0])
    return found
