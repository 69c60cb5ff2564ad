"""Large runs go through, and at no moment does the status take 700 KB, does a write move fewer than a hundred ordinary entries, or does what
is kept in memory grow with what has been (DESIGN, promise 8).

The engine is driven as the reconciler drives it, status and archive included, and at the end all of it is read back.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import orjson
import pytest

from backstay.api.validate import parse_workflow
from backstay.engine import bounds, codec, journal
from backstay.engine.decide import decide
from backstay.engine.effects import effects_of
from backstay.engine.model import CreateJob, Decision, DeleteJob, Identity, JobFact, JobState, Observations, Phase, State
from backstay.engine.program import compile_program
from backstay.engine.status import render
from backstay.runtime.patch import status_patch
from tests.support.world import START

LIMIT_BYTES = 700_000


class Large:
    """One large run: what is written of it, and what is measured at every write. Its Jobs leave `output_bytes` behind."""

    def __init__(self, workflow: dict[str, Any], parameters: Mapping[str, Any] | None = None, output_bytes: int = 0) -> None:
        self.program = compile_program(parse_workflow(workflow))
        self.identity = Identity("uid-1", "large", "shop", parameters or {})
        self.output = orjson.dumps({"v": "x" * (output_bytes - 8)}).decode() if output_bytes else ""
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

    def run(self, at_once: int = 1) -> "Large":
        """Look until the run has ended; so many Jobs end between two looks."""
        while not self.state.run.is_finished:
            before = self.state.sequence
            self.look()
            for name in self.going[:at_once]:
                self.jobs[name] = JobFact(name, f"uid-{name}", JobState.SUCCEEDED, started=True, output=self.output)
            assert self.state.sequence > before or self.going, "nothing goes on, and the run has not ended"
            self.now += timedelta(milliseconds=100)
        assert self.state.run.phase is Phase.SUCCEEDED, self.state.run.error
        assert self.read_back() == self.state
        return self

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

    def _write(self, decision: Decision) -> None:
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
        assert len(text) < LIMIT_BYTES
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


def jobs(count: int, width: int = 0) -> dict[str, Any]:
    """A dag of Jobs, each of which waits for the one so many before it."""
    waits = [{"dependsOn": [f"s{number - width}"]} if width and number >= width else {} for number in range(count)]
    return {
        "dag": {
            "steps": [{"name": f"s{number}", "job": {"image": "i", "args": ["${run.name}"]}, **wait} for number, wait in enumerate(waits)]
        }
    }


def test_a_dag_of_2000_jobs_goes_through_with_a_kilobyte_left_behind_by_each() -> None:
    large = Large(jobs(2000, width=50), output_bytes=1000).run(at_once=10)
    assert len(large.state.steps) == 2001
    assert large.status["stepsOmitted"] > 1500
    assert len(large.archive) <= large.state.sequence // 100
    assert large.sent / large.writes < 100_000, "a write costs what has changed, not what has been"


def test_2000_jobs_that_end_at_the_same_time_with_all_they_may_leave_behind_are_taken_in_turn_by_turn() -> None:
    large = Large(jobs(2000), output_bytes=4000).run(at_once=2000)
    assert len(large.state.steps) == 2001
    assert min(sum(len(orjson.dumps(entry)) for entry in part) for part in large.archive) > bounds.LEAVE_BYTES


def test_500_branches_with_50_kilobytes_of_arguments_each_go_through() -> None:
    branch = [{"name": "s", "job": {"image": "i", "args": ["${params.text}"]}}]
    branches = [{"name": f"b{number}", "steps": branch} for number in range(500)]
    workflow = {
        "parameters": [{"name": "text", "schema": {"type": "string"}}],
        "steps": [{"name": "all", "parallel": {"branches": branches}}],
    }
    large = Large(workflow, {"text": "x" * 50_000}).run(at_once=20)
    assert sum(1 for record in large.state.steps.values() if record.kind == "job") == 500


TEN_THOUSAND = {
    "a loop": {
        "while": {"condition": "${vars.n < 10000}", "maxIterations": 10_000, "steps": [{"name": "add", "set": {"n": "${vars.n + 1}"}}]}
    },
    "a forEach": {
        "forEach": {"count": 10_000, "maxItems": 10_000, "parallelism": 50, "steps": [{"name": "add", "set": {"n": "${index}"}}]}
    },
}


@pytest.mark.parametrize("step", TEN_THOUSAND.values(), ids=TEN_THOUSAND.keys())
def test_ten_thousand_iterations_leave_a_small_status_a_small_state_and_the_whole_story_elsewhere(step: dict[str, Any]) -> None:
    large = Large({"steps": [{"name": "begin", "set": {"n": 0}}, {"name": "again", **step}]}).run()
    assert large.state.sequence >= 40_000
    assert large.most_records < 100
    assert large.largest < 300_000
    assert len(large.archive) <= large.state.sequence // 100
    assert large.writes <= large.state.sequence // 100
