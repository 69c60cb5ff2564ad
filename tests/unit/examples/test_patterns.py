"""The workflow patterns at the speed of the pure engine: virtual time, and Jobs that are run by the shell at once; those that only sleep take their time."""

import os
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.api.validate import check_workflow, parse_workflow
from backstay.engine.model import CreateJob, JobState, Phase, Request
from tests.support.cluster import EXAMPLES, documents
from tests.support.shown import End, deeds, promised, shown, wrong
from tests.support.world import World

PATTERNS = sorted((EXAMPLES / "patterns").glob("*.yaml"))
ALL = {*range(1, 8), 9, 10, 11, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 29, 30, 32, 34, 35, 39, 40, 43}
"""The numbers of CAPABILITIES row 1, by van der Aalst's catalogue."""
CLUSTER_ONLY = {"22-recursion"}
"""Needs runs of its own for its children."""
HERE = [path for path in PATTERNS if path.stem not in CLUSTER_ONLY]
TAKES = timedelta(milliseconds=20)
"""How long a Job takes that does not sleep."""


def test_there_is_one_manifest_for_each_pattern() -> None:
    assert sorted(int(path.name[:2]) for path in PATTERNS) == sorted(ALL)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda path: path.stem)
def test_a_manifest_says_which_pattern_it_is_and_what_is_to_be_seen(pattern: Path) -> None:
    text = pattern.read_text()
    assert text.startswith(f"# Pattern {int(pattern.name[:2])}, ")
    assert shown(pattern)
    assert promised(pattern).phase in ("Succeeded", "Cancelled")
    (run,) = [document for document in documents(pattern) if document["kind"] == "WorkflowRun"]
    assert run["metadata"]["name"] == pattern.stem[3:]


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda path: path.stem)
def test_the_linter_has_nothing_to_say_of_a_pattern(pattern: Path) -> None:
    for document in documents(pattern):
        if document["kind"] == "Workflow":
            assert list(map(str, check_workflow(parse_workflow(document["spec"])))) == []


@pytest.mark.parametrize("pattern", HERE, ids=lambda path: path.stem)
def test_the_journal_of_a_pattern_shows_its_order(pattern: Path, tmp_path: Path) -> None:
    world = Played(pattern, tmp_path).play()
    run = world.state.run
    assert End(world.phase, run.outputs, run.error.type if run.error else None) == promised(pattern), run.error
    assert list(wrong(shown(pattern), world.entries)) == []


class Played:
    """A manifest in a World of its own."""

    def __init__(self, manifest: Path, folder: Path) -> None:
        workflow, run = documents(manifest)
        self.folder = folder
        self.deeds = deeds(manifest)
        self.world = World(yaml.safe_dump(workflow["spec"]), run["spec"].get("parameters"))
        self.ends: dict[str, Any] = {}
        """When each Job ends, by name."""

    def play(self) -> World:
        world = self.world
        for _ in range(1000):
            self._meddle()
            self._note_jobs()
            if world.state.run.is_finished:
                return world
            soonest = min([moment for moment in (*self.ends.values(), world.wake_at) if moment is not None])
            due = [name for name, moment in self.ends.items() if moment <= soonest]
            world.now = max(world.now, soonest)
            for name in due:
                del self.ends[name]
                self._end(next(made for made in world.made if made.name == name))
            world.look()
        raise AssertionError(f"it does not end: {world.phases()}")

    def _note_jobs(self) -> None:
        for made in self.world.made:
            fact = self.world.jobs.get(made.name)
            if fact is None or fact.state is not JobState.ACTIVE:
                self.ends.pop(made.name, None)
            elif made.name not in self.ends:
                command = made.inputs["command"]
                seconds = float(command[1]) if command[0] == "sleep" else 0
                self.ends[made.name] = self.world.now + (timedelta(seconds=seconds) or TAKES)

    def _end(self, made: CreateJob) -> None:
        if self.world.state.steps[made.path].phase is not Phase.RUNNING:
            return
        output = self.folder / "output"
        output.write_text("")
        environment = {"PATH": os.environ["PATH"], "BACKSTAY_OUTPUT": str(output)}
        command = ["true"] if made.inputs["command"][0] == "sleep" else made.inputs["command"]
        code = subprocess.run(command, env=environment, check=False, capture_output=True, timeout=20).returncode
        self.world.end(made.path, JobState.FAILED if code else JobState.SUCCEEDED, output.read_text())

    def _meddle(self) -> None:
        """Do what the manifest says is done from outside."""
        while deed := next((deed for deed in self.deeds if any(entry.path == deed.step for entry in self.world.entries)), None):
            self.deeds.remove(deed)
            if deed.kind == "cancel":
                self.world.wants(cancel=True, cancel_reason=deed.what["reason"])
            else:
                request = Request(deed.what["id"], deed.what["step"], deed.what["action"], (), deed.what.get("reason", ""))
                self.world.wants(requests=(*self.world.wish.requests, request))
