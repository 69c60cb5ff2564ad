"""Large runs: a dag of 2,000 steps, a loop of 10,000 iterations and a forEach of 10,000 items go through, and at no moment does the status
take 700 KB, does a write move fewer than a hundred entries, or does what is kept in memory grow with what has been (DESIGN, promise 8).

The engine is driven as the reconciler drives it, status and archive included, and at the end all of it is read back.
"""

import time
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import orjson
import pytest

from backstay.api.validate import parse_workflow
from backstay.engine import bounds, codec, journal
from backstay.engine.decide import decide
from backstay.engine.effects import effects_of
from backstay.engine.model import CreateJob, DeleteJob, Identity, JobFact, JobState, Observations, State
from backstay.engine.program import compile_program
from backstay.engine.status import render
from backstay.runtime.patch import status_patch
from tests.support.world import START

LIMIT_BYTES = 700_000
OUTPUT = orjson.dumps({"v": "x" * 1000}).decode()


class Large:
    """One large run: what is written of it, and what is measured at every write."""

    def __init__(self, workflow: dict[str, Any], output: str = OUTPUT) -> None:
        self.program = compile_program(parse_workflow(workflow))
        self.identity = Identity("uid-1", "large", "shop")
        self.output = output
        self.state = State()
        self.status: dict[str, Any] = {}
        self.jobs: dict[str, JobFact] = {}
        self.now = START
        self.archive: list[list[dict[str, Any]]] = []
        self.writes = 0
        self.largest = self.most_records = 0
        self.sent = 0
        """Bytes of all patches."""

    @property
    def going(self) -> list[str]:
        """The Jobs that go on."""
        return [name for name, fact in self.jobs.items() if fact.state is JobState.ACTIVE]

    def run(self, at_once: int) -> None:
        """Look until the run has ended; so many Jobs end between two looks."""
        while not self.state.run.is_finished:
            before = self.state.sequence
            self.look()
            for name in self.going[:at_once]:
                self.jobs[name] = JobFact(name, f"uid-{name}", JobState.SUCCEEDED, started=True, output=self.output)
            assert self.state.sequence > before or self.going, "nothing goes on, and the run has not ended"
            self.now += timedelta(milliseconds=100)

    def look(self) -> None:
        """Observe, decide, move, write, act: once."""
        observations = Observations(jobs=dict(self.jobs))
        decision = decide(self.program, self.identity, self.state, observations, self.now, ("large-1", 1))
        if decision.entries:
            self._write(decision)
        self.state = decision.state
        for effect in effects_of(self.program, self.state, observations):
            if isinstance(effect, CreateJob):
                self.jobs[effect.name] = JobFact(effect.name, f"uid-{effect.name}", started=True)
            elif isinstance(effect, DeleteJob):
                del self.jobs[effect.name]
        wanted = {record.job for record in self.state.steps.values() if not record.has_ended}
        self.jobs = {name: fact for name, fact in self.jobs.items() if name in wanted}

    def _write(self, decision: Any) -> None:
        written = (self.status.get("journal") or {}).get("entries") or []
        new = [codec.entry_to_json(entry) for entry in decision.entries]
        moved = bounds.NOTHING_MOVED
        if count := bounds.surplus(written, new):
            self.archive.append(written[:count])
            moved = bounds.Moved(written[count - 1]["sequence"])
        status = render(self.program, decision.state, decision.entries, self.status, 1, self.now, moved)
        run = {"metadata": {"resourceVersion": "1"}, **({"status": self.status} if self.status else {})}
        self.sent += len(orjson.dumps(status_patch(run, status)))
        text = orjson.dumps(status)
        self.status = orjson.loads(text)
        self.writes += 1
        self.largest = max(self.largest, len(text))
        self.most_records = max(self.most_records, len(decision.state.steps))

    def read_back(self) -> State:
        """Read the state as an operator does that knows nothing."""
        found = journal.Fold()
        for part in self.archive:
            for data in part:
                found.add(codec.entry_from_json(data))
        return journal.verify(self.status, found.state)
