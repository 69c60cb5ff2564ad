""".ci/run stops at the first failure, ends what a step leaves behind, and cleans up after itself. `make` is a script of the test here."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cluster.processes import runs

_STEPS = ["lint", "images", "test", "simulate", "e2e", "containers", "chaos"]


@pytest.fixture
def ci(tmp_path: Path):
    """Return a function that runs .ci/run with a `make` of these shell commands, and with `$1` as the target."""
    for folder in ("checkout/.ci", "bin", "temporary"):
        (tmp_path / folder).mkdir(parents=True)
    script = shutil.copy(Path(__file__).parents[2] / ".ci" / "run", tmp_path / "checkout" / ".ci")

    def run(commands: str, path: str = "") -> subprocess.CompletedProcess[str]:
        make = tmp_path / "bin" / "make"
        make.write_text(f'#!/bin/bash\necho "$1" >>{tmp_path}/asked\n{commands}\n')
        make.chmod(0o755)
        environment = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "TMPDIR": str(tmp_path / "temporary"), "CI": ""}
        result = subprocess.run([script], env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert list((tmp_path / "temporary").iterdir()) == [], "temporary files are removed, however it ends"
        return result

    return run


def test_all_steps_run_as_in_ci_and_are_timed(ci, tmp_path: Path) -> None:
    result = ci('touch "$TMPDIR/file"; [[ $CI == true ]]')
    assert result.returncode == 0, result.stderr
    asked = (tmp_path / "asked").read_text().split()
    assert [*asked[:4], *asked[6:]] == [*_STEPS[:4], *_STEPS[6:]]
    assert sorted(asked[4:6]) == sorted(_STEPS[4:6]), "these two run side by side"
    for step in _STEPS:
        assert f"=== {step} passed in " in result.stdout
    assert "=== all passed in " in result.stdout


def test_it_stops_at_the_first_step_that_fails_with_its_code(ci, tmp_path: Path) -> None:
    result = ci("[[ $1 != test ]] || exit 3")
    assert result.returncode == 3
    assert (tmp_path / "asked").read_text().split() == ["lint", "images", "test"]
    assert "=== test failed with code 3" in result.stderr
    assert "=== FAILED with code 3" in result.stdout


def test_a_step_beside_another_is_shown_when_it_is_over_and_its_failure_counts(ci, tmp_path: Path) -> None:
    result = ci("[[ $1 != containers ]] || { echo told of later; exit 3; }")
    assert result.returncode == 3
    assert result.stdout.index("=== e2e passed") < result.stdout.index("told of later")
    assert "=== containers failed with code 3" in result.stderr


def test_a_process_that_a_step_leaves_behind_is_ended_and_fails_the_step(ci, tmp_path: Path) -> None:
    result = ci(f"setsid sleep 600 & echo $! >{tmp_path}/pid")
    assert result.returncode == 1
    assert "left behind: process" in result.stderr
    assert "sleep 600" in result.stderr
    assert "lint passed and left processes behind" in result.stderr
    assert not runs(int((tmp_path / "pid").read_text()), "sleep")


def test_a_step_that_does_not_end_is_stopped_at_its_limit(ci, tmp_path: Path) -> None:
    script = tmp_path / "checkout" / ".ci" / "run"
    script.write_text(script.read_text().replace("step lint 300", "step lint 1"))
    result = ci("sleep 600")
    assert result.returncode == 124
    assert "lint did not end within 1 s" in result.stderr
