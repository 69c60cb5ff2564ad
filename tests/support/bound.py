"""`python bound.py STARTER COMMAND…`: become COMMAND, which the kernel kills when process STARTER, which started it, dies, however that dies. Linux only."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def spawn_bound(command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, with its output in `log`; it does not outlive us. `environment` comes on top of ours.

    The kernel goes by the thread that starts it: call this from one that stays.
    """
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, __file__, str(os.getpid()), *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )


def _become(command: Sequence[str], starter: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != starter:
        sys.exit("the process that started this one is gone")
    os.execvp(command[0], command)


if __name__ == "__main__":
    _become(sys.argv[2:], int(sys.argv[1]))
