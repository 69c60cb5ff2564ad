"""A session that leaves out the tests on the real control plane says so, and in CI it fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_TESTS = """
import pytest

def test_plain():
    pass

@pytest.mark.e2e
def test_on_the_real_one(real_control_plane):
    pass
"""


@pytest.fixture
def session(tmp_path: Path):
    """Return a function that runs pytest with the plugin on one plain and one e2e test, where there is neither Go nor a binary built before."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = e2e: needs the real control plane\n")
    (tmp_path / "test_it.py").write_text(_TESTS)
    root = Path(__file__).parents[2]

    def run(*arguments: str, ci: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": str(root), "CI": ci}
        command = [sys.executable, "-m", "pytest", "-p", "tests.support.control_plane_fixture", "-p", "no:cacheprovider", "-rs"]
        return subprocess.run(
            [*command, *arguments],
            cwd=tmp_path,
            env=os.environ | environment | {"XDG_CACHE_HOME": ""},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_tests_that_were_not_selected_are_told_with_how_to_run_them(session) -> None:
    result = session("-m", "not e2e", ci="")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "left out: 1 tests on the real control plane, which is built with Go, and there is none" in result.stdout
    assert "then `make e2e` runs them" in result.stdout


def test_in_ci_a_session_that_can_never_run_them_fails(session) -> None:
    result = session("-m", "not e2e", ci="true")
    assert result.returncode == 1
    assert "with CI=true that is a failure" in result.stdout


def test_without_go_they_are_skipped_with_the_reason(session) -> None:
    result = session(ci="")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 passed, 1 skipped" in result.stdout
    assert "left out, as the real control plane cannot be built" in result.stdout


def test_without_go_they_fail_in_ci_with_what_to_install(session) -> None:
    result = session(ci="true")
    assert result.returncode == 1
    assert "1 passed, 1 error" in result.stdout
    assert "install Go 1.26 or newer" in result.stdout


def test_a_session_without_such_tests_says_nothing(session) -> None:
    result = session("test_it.py::test_plain", ci="true")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "left out" not in result.stdout
