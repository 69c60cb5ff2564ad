"""The script that measures us and a peer in one go. No peer is needed here: what it would be given is tried, and the script is run on ourselves."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.arena import Arena
from tests.bench.compare import OURS, compare
from tests.bench.peers import ARGO, argo
from tests.bench.sizes import Sizes

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

FEW = Sizes(single_runs=1, one_step_runs=5, three_step_runs=3, at_once=3, at_most_seconds=20)


def test_the_script_measures_everybody_under_the_same_load(arena: Arena, tmp_path: Path) -> None:
    file = tmp_path / "compare.json"
    assert compare([replace(OURS, name="ours"), replace(OURS, name="theirs")], file, FEW) == []
    found = json.loads(file.read_text())
    for part, writes in (("one_step", 3), ("three_steps", 7)):
        assert (found[f"ours_{part}"]["runs"], found[f"theirs_{part}"]["runs"]) == (5 if part == "one_step" else 3,) * 2
        assert found[f"ours_{part}"]["writes_per_run"] == found[f"theirs_{part}"]["writes_per_run"] == writes
    assert set(found) == {"machine", *(f"{name}_{part}" for name in ("ours", "theirs") for part in ("single", "one_step", "three_steps"))}


def test_what_argo_needs_is_accepted_by_a_real_api_server(arena: Arena) -> None:
    delivered, tuned = argo(Path("workflow-controller"), ["--qps=50"])
    delivered.install(arena.cluster)
    place = arena.cluster.place("argo")
    for steps in (1, 3):
        kind = delivered.prepare(place, steps)
        workflow = kind.manifest(f"run-{steps}")
        place.kubectl("create", "-f", "-", given=workflow)
        stored = json.loads(place.kubectl("get", f"workflows.{ARGO.group}", f"run-{steps}", "-o", "json"))
        assert stored["spec"] == workflow["spec"]
        assert kind.phase_at_end(stored) is None
        assert kind.phase_at_end(stored | {"status": {"phase": "Succeeded"}}) == "Succeeded"
    assert list(tuned.arguments)[-1] == "--qps=50", "what the caller says comes last, and wins"
