"""A bound process has the output and environment that it was given, and goes with whoever started it."""

import subprocess
import sys
from pathlib import Path

from tests.cluster.processes import end_child, runs
from tests.support.bound import spawn_bound
from tests.support.waiting import wait_for


def test_it_is_the_command_itself_with_its_environment_and_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = spawn_bound(["sh", "-c", "echo $$ $WORD"], log, {"WORD": "hello"})
    assert process.wait(20) == 0
    assert log.read_text() == f"{process.pid} hello\n"


STARTER = """
import sys, time
from pathlib import Path
from tests.support.bound import spawn_bound
print(spawn_bound(["sleep", "600"], Path(sys.argv[1])).pid, flush=True)
time.sleep(600)
"""


def test_it_is_killed_when_the_process_that_started_it_is(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        wait_for(lambda: runs(pid, "sleep"), what="it did not start")
        starter.kill()
        wait_for(lambda: not runs(pid, "sleep"), what="it lives on")
    finally:
        end_child(starter)
        starter.stdout.close()
