"""What the API server wrote down of a load: how long after the end of a step the next Job was there, and what was made how often.

Its audit log holds every write with the time at which it was answered, by one clock. That is the outside's view: neither our own status nor
our own metrics have a say.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import orjson

from tests.support.fake_kubelet import USER_AGENT as KUBELET

AGENT: Final = "backstay/"
"""In the user agent of the operator's requests."""
RUN_NAME: Final = re.compile(r"run-\d+(?=$|[-.])")
"""In the name of a run, of its Jobs and pods, and of Events about it."""

_WORK: Final = ("jobs", "pods")
"""What a step is: a Job of ours, whose pods the Job controller makes, which the log leaves out; a pod of a peer's."""


@dataclass(frozen=True, slots=True)
class Written:
    """One request that changes something, in the order of the answers."""

    moment: float
    """When it was answered: seconds since the epoch, by the API server's clock."""
    agent: str
    verb: str
    resource: str
    subresource: str
    name: str
    code: int

    @property
    def run(self) -> str:
        """The name of the run that it is about, or ""."""
        found = RUN_NAME.match(self.name)
        return found[0] if found else ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{f'/{self.subresource}' if self.subresource else ''} {self.name} → {self.code}"


def written(audit_log: Path, namespace: str) -> Iterator[Written]:
    """Yield what was written in a namespace; a line that is not yet whole ends it."""
    mark = f'"namespace":"{namespace}"'.encode()
    with audit_log.open("rb") as lines:
        for line in lines:
            if mark not in line or not line.endswith(b"\n"):
                continue
            event = orjson.loads(line)
            about = event.get("objectRef") or {}
            yield Written(
                moment=datetime.fromisoformat(event["stageTimestamp"]).timestamp(),
                agent=event.get("userAgent", ""),
                verb=event["verb"],
                resource=about.get("resource", ""),
                subresource=about.get("subresource", ""),
                name=about.get("name", ""),
                code=(event.get("responseStatus") or {}).get("code", 0),
            )


@dataclass
class Record:
    """What became of the runs of a namespace, as far as it was written until now."""

    gaps: list[tuple[float, float]] = field(default_factory=list)
    """(when, seconds): from the answer to the write that ended a step's pod to the answer to the one that made the next Job (or pod) of its run."""
    jobs: Counter[str] = field(default_factory=Counter)
    """How often a Job of each name was made."""
    steps: Counter[str] = field(default_factory=Counter)
    """How many Jobs were made for each run."""
    pods: int = 0
    """How many pods were given to a node."""
    writes: Counter[str] = field(default_factory=Counter)
    """What whoever is measured wrote for each run, also what was refused."""

    @classmethod
    def of(cls, audit_log: Path, namespace: str, agent: str = AGENT) -> "Record":
        """Read the log; `agent` is in the user agent of whoever is measured."""
        found = cls()
        ends: dict[str, float] = {}
        for write in written(audit_log, namespace):
            if agent in write.agent:
                found.writes[write.run] += 1
            if write.resource == "pods" and write.subresource == "status" and write.agent == KUBELET:
                ends[write.run] = write.moment
            elif write.resource == "pods" and write.subresource == "binding":
                found.pods += 1
            elif write.resource in _WORK and not write.subresource and (write.verb, write.code) == ("create", 201):
                found.jobs[write.name] += 1
                found.steps[write.run] += 1
                if write.run in ends:
                    found.gaps.append((write.moment, write.moment - ends[write.run]))
        return found

    def wrong(self, runs: int, steps: int) -> list[str]:
        """Say what is not as it should be where each of `runs` had `steps` steps in a row: one Job a step, one pod a Job."""
        counts: dict[int, int] = defaultdict(int)
        for count in self.steps.values():
            counts[count] += 1
        twice = [name for name, count in self.jobs.items() if count > 1]
        found = [f"Job {name} was made twice" for name in twice]
        if dict(counts) != {steps: runs}:
            found.append(f"of {runs} runs {dict(counts)} (Jobs: runs) had so many Jobs; each has {steps} steps")
        if self.pods != runs * steps:
            found.append(f"{self.pods} pods were given to a node for {runs * steps} steps")
        return found
