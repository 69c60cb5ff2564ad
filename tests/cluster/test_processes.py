"""Processes of a test cluster end, all of them, and nobody else's does."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.processes import end_child, end_others, free_ports, runs, spawn, tail

_FOREVER = "import sys, time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has come up, with the test's folder in its command line."""
    log = tmp_path / "log"
    process = spawn([sys.executable, "-c", _FOREVER, str(tmp_path)], log, bound=False)
    deadline = time.monotonic() + 20
    while not log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield process
    end_child(process)


def test_an_ended_child_is_gone_when_the_call_returns(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert runs(sleeper.pid, str(tmp_path))
    end_child(sleeper)
    assert not runs(sleeper.pid, str(tmp_path))
    assert not Path("/proc", str(sleeper.pid)).exists()


def test_ending_a_child_twice_does_no_harm(sleeper: subprocess.Popen[bytes]) -> None:
    end_child(sleeper)
    end_child(sleeper)
    assert sleeper.returncode == -9


def test_a_process_of_an_earlier_command_is_ended_by_its_id(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    end_others([sleeper.pid], mark=str(tmp_path))
    assert not runs(sleeper.pid, str(tmp_path))


def test_a_process_id_that_now_belongs_to_somebody_else_is_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    end_others([sleeper.pid], mark="/the/folder/of/another/cluster")
    assert sleeper.poll() is None


def test_a_bound_process_sees_its_standard_input_end_with_its_parent(tmp_path: Path) -> None:
    parent_code = (
        "import sys; from pathlib import Path; from tests.cluster.processes import spawn\n"
        "child = spawn([sys.executable, '-c', 'import sys; print(1, flush=True); sys.stdin.read()', sys.argv[1]], Path(sys.argv[1], 'log'), bound=True)\n"
        "while not Path(sys.argv[1], 'log').read_text(): pass\n"
        "print(child.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert parent.stdin and parent.stdout
    with parent.stdin, parent.stdout:
        child = int(parent.stdout.readline())
        assert runs(child, str(tmp_path))
        parent.kill()
        parent.wait(timeout=10)
    _wait_until_gone(child, str(tmp_path))


def _wait_until_gone(pid: int, mark: str) -> None:
    """Wait on the process itself: a pidfd becomes readable when it ends."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        readable, _, _ = select.select([handle], [], [], 10)
    finally:
        os.close(handle)
    assert readable, f"process {pid} outlived its parent"
    assert not runs(pid, mark)


def test_free_ports_are_distinct() -> None:
    assert len(set(free_ports(20))) == 20


def test_the_tail_of_a_log_is_its_end_and_an_absent_log_is_told_as_empty(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("\n".join(f"line {number}" for number in range(100)))
    assert tail(log, lines=2) == "    line 98\n    line 99"
    assert tail(tmp_path / "none.log") == "    (it is empty)"
