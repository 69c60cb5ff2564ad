"""Starting and ending the processes of a test cluster, by process id, so that none is left over. Linux only, as the control plane is."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

_POLL_SECONDS = 0.02
_TAIL_LINES = 15


class ProcessesLeft(RuntimeError):
    """Processes are still there after they were killed."""


def spawn(command: Sequence[str | Path], log: Path, *, bound: bool) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own (Ctrl-C is not for it), with its output at the end of `log`.

    A `bound` process gets a pipe as its standard input, whose other end only this process holds: the pipe closes with us, however we die.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE if bound else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def end_child(process: subprocess.Popen[bytes], limit_seconds: float = 15) -> None:
    """Kill a process that we started and wait until it is gone."""
    if process.poll() is None:
        process.kill()
    try:
        process.wait(timeout=limit_seconds)
    except subprocess.TimeoutExpired:
        raise ProcessesLeft(f"process {process.pid} is still there {limit_seconds:.0f} s after it was killed") from None
    finally:
        if process.stdin:
            process.stdin.close()


def end_others(pids: Iterable[int], mark: str, limit_seconds: float = 15) -> None:
    """Kill those of `pids` that still are ours, and wait until they are gone; raises ProcessesLeft.

    Ours is a process whose command line contains `mark`: the system gives a process id to somebody else once its owner has ended.
    """
    left = [pid for pid in pids if runs(pid, mark)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + limit_seconds
    while left := [pid for pid in left if runs(pid, mark)]:
        if time.monotonic() > deadline:
            raise ProcessesLeft(f"processes {left} are still there {limit_seconds:.0f} s after they were killed")
        time.sleep(_POLL_SECONDS)


def runs(pid: int, mark: str) -> bool:
    """Tell whether `pid` is alive and has `mark` in its command line; a zombie has no command line any more."""
    try:
        return mark.encode() in Path("/proc", str(pid), "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on. Somebody may take one before it is used: be ready to try again."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def tail(log: Path, lines: int = _TAIL_LINES) -> str:
    """Return the last lines of `log`, indented, or a word that there are none."""
    content = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"    {line[:500]}" for line in content[-lines:]) or "    (it is empty)"
