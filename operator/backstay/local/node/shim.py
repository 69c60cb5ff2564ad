"""The processes between the node agent and the containers: a small spawner, and one shim for each container.

    agent ── spawner ─┬─ shim ── the container's command ── whatever that starts
                      └─ shim ── ...

Run by its path, with nothing but the standard library: every fork copies this process, so it has to stay small. The spawner forks a shim
whenever the agent sends it a socket (SCM_RIGHTS); from then on agent and shim speak over that socket alone, in lines of JSON:

    agent → shim   {"argv": [...], "env": {...}, "cwd": "...", "log": "...", "log_limit": bytes, "exit_file": "..."}   once, first
                   {"signal": 15}    to the container's process group; 9 goes to every descendant
    shim → agent   {"started": pid}
                   {"exit": code, "since": nanoseconds, "at": nanoseconds, "error": "why it could not be started"}
                   the second when the command has ended and nothing that it started is left

Nothing outlives its keeper. When the agent dies, however it dies, each shim reads the end of its socket and kills what it runs. A shim is the
parent of all orphans among its descendants (PR_SET_CHILD_SUBREAPER), so it finds what left the process group of its command. When a shim is
killed, what it ran falls to the spawner, which kills it. This is Linux's; elsewhere a process that leaves the process group is not found.

An exit is written to `exit_file` before it is told, so that an agent that was restarted knows how the container ended.
"""

import contextlib
import ctypes
import errno
import gc
import json
import os
import re
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
READ_BYTES = 65536
CRI_LINE_LIMIT = 16384
DRAIN_SECONDS = 2.0
"""How long output is awaited after the last known process has gone; only a process that was not found can hold it open."""
KILL_SECONDS = 30.0
START_ERROR_CODE = 128
INHERITED_SIGNALS = [signal.SIGPIPE, signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXFSZ]
"""Ignored here or by the interpreter; a command begins with them as the system has them."""


# --------------------------------------------------------------------------------------------------------------- processes


_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


def adopt_orphans() -> None:
    """Become the parent of descendants that lose theirs, where the system knows that."""
    if _prctl is not None:
        _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children_of(pid: int) -> list[int]:
    """Return the children of a process, from /proc; empty where there is none."""
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
        for task in tasks:
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    except FileNotFoundError:
        if Path(f"/proc/{pid}/stat").exists():
            return _children_by_parent(pid)
    except OSError:
        pass
    return found


def _children_by_parent(pid: int) -> list[int]:
    """Find children where the kernel was built without /proc/PID/task/TID/children."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            parent = re.match(r".*\) \S (\d+) ", entry.joinpath("stat").read_text(), re.DOTALL) if entry.name.isdigit() else None
        except OSError:
            continue
        if parent and int(parent[1]) == pid:
            found.append(int(entry.name))
    return found


def send_signal(pid: int, number: int, *, group: bool = False) -> None:
    try:
        (os.killpg if group else os.kill)(pid, number)
    except OSError as fault:
        if fault.errno not in (errno.ESRCH, errno.EPERM):
            raise


def kill_descendants(pid: int) -> None:
    """Kill everything below `pid`, top down, so that a parent is gone before it can replace a child."""
    for child in children_of(pid):
        send_signal(child, signal.SIGKILL)
        kill_descendants(child)


def reap_all(deadline: float) -> None:
    """Kill and wait until this process has no child left, or until the deadline: a process stuck in the kernel cannot be waited for."""
    while time.monotonic() < deadline:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        kill_descendants(os.getpid())
        time.sleep(0.001)


# --------------------------------------------------------------------------------------------------------------------- logs


class LogFile:
    """A container's output in the CRI's format, `TIME stdout|stderr F|P TEXT`, kept below a number of bytes.

    When half of the limit is written, the file becomes `NAME.1`, in the place of an older one. A full disk loses output, not the container.
    """

    def __init__(self, path: str, limit: int) -> None:
        self._path, self._half, self._size = path, max(limit // 2, 1), 0
        self._file = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def write(self, stream: str, lines: list[bytes], *, partial: bool = False) -> None:
        now = time.time_ns()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000_000)) + f".{now % 1_000_000_000:09d}Z {stream} "
        full, part = f"{stamp}F ".encode(), f"{stamp}P ".encode()
        out = bytearray()
        for line in lines:
            while len(line) > CRI_LINE_LIMIT:
                out += part + line[:CRI_LINE_LIMIT] + b"\n"
                line = line[CRI_LINE_LIMIT:]
            out += (part if partial else full) + line + b"\n"
        try:
            if self._size + len(out) > self._half and self._size:
                os.close(self._file)
                os.replace(self._path, self._path + ".1")  # noqa: PTH105
                self._file, self._size = self._open(), 0
            self._size += os.write(self._file, out)
        except OSError:
            pass


class Stream:
    """One of the two outputs: whole lines go to the log, the unfinished last one waits."""

    def __init__(self, name: str, read_end: int, log: LogFile) -> None:
        self.name, self.fd, self._log, self._rest = name, read_end, log, b""

    def pump(self) -> bool:
        """Copy what is there; False at the end."""
        try:
            data = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return True
        if not data:
            self.finish()
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines:
            self._log.write(self.name, lines)
        if len(self._rest) > CRI_LINE_LIMIT:
            self.finish()
        return True

    def finish(self) -> None:
        if self._rest:
            self._log.write(self.name, [self._rest], partial=True)
            self._rest = b""


# --------------------------------------------------------------------------------------------------------------------- shim


class Shim:
    """Start one command, keep its output, pass signals on, and tell how it ended once nothing of it is left."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._received = b""
        self._agent_lost = False
        self._has_news = False

    def run(self) -> None:
        spec = self._first_message()
        if spec is None:
            return
        self._spec = spec
        log = LogFile(spec["log"], spec["log_limit"])
        ends = [os.pipe(), os.pipe()]
        self._streams = {end[0]: Stream(name, end[0], log) for name, end in zip(("stdout", "stderr"), ends, strict=True)}
        since = time.time_ns()
        pid, fault = self._start([end[1] for end in ends])
        for read_end, write_end in ends:
            os.close(write_end)
            os.set_blocking(read_end, False)
        self._pid = pid
        if fault:
            self._finish(START_ERROR_CODE, since, time.time_ns(), fault)
            return
        self._tell({"started": pid})
        status = self._supervise()
        ended = time.time_ns()
        reap_all(time.monotonic() + KILL_SECONDS)
        self._drain()
        if not self._agent_lost:
            code = os.waitstatus_to_exitcode(status)
            self._finish(code if code >= 0 else 128 - code, since, ended)

    def _start(self, outputs: list[int]) -> tuple[int, str]:
        """Execute the command in a session of its own; returns its pid or, where it could not be executed, why.

        posix_spawn shares this process's memory until the execution, which costs a tenth of a fork. Folder and PATH are this process's: it
        serves nothing else.
        """
        spec = self._spec
        files = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            *((os.POSIX_SPAWN_DUP2, end, 1 + n) for n, end in enumerate(outputs)),
        ]
        try:
            os.chdir(spec["cwd"])
            os.environ["PATH"] = spec["env"].get("PATH", os.defpath)
            return os.posix_spawnp(
                spec["argv"][0], spec["argv"], spec["env"], file_actions=files, setsid=True, setsigdef=INHERITED_SIGNALS
            ), ""
        except (OSError, ValueError) as fault:
            return 0, _why_not_started(spec, fault)

    def _supervise(self) -> int:
        """Copy output and pass on signals until the command ends; returns its wait status."""
        wake_r, wake_w = socket.socketpair()
        wake_w.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_w.fileno(), warn_on_full_buffer=False)
        poll = select.poll()
        for fd in (*self._streams, self._control.fileno(), wake_r.fileno()):
            poll.register(fd, select.POLLIN)
        self._carry_out()
        while True:
            ended, status = os.waitpid(self._pid, os.WNOHANG)
            if ended:
                signal.set_wakeup_fd(-1)
                return status
            self._reap_orphans()
            for fd, _ in poll.poll():
                if fd in self._streams:
                    if not self._streams[fd].pump():
                        poll.unregister(fd)
                elif fd == wake_r.fileno():
                    wake_r.recv(READ_BYTES)
                    self._has_news = True
                elif not self._obey():
                    poll.unregister(fd)

    def _reap_orphans(self) -> None:
        """Collect grandchildren that ended after their parent; the command itself is left to `_supervise`."""
        for child in children_of(os.getpid()) if self._has_news else ():
            if child != self._pid:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(child, os.WNOHANG)
        self._has_news = False

    def _obey(self) -> bool:
        """Do what the agent asks; False when it is gone, and then nothing may go on."""
        data = self._hear()
        if not data:
            self._agent_lost = True
            self._signal(signal.SIGKILL)
            return False
        self._received += data
        self._carry_out()
        return True

    def _carry_out(self) -> None:
        *lines, self._received = self._received.split(b"\n")
        for line in lines:
            self._signal(json.loads(line)["signal"])

    def _signal(self, number: int) -> None:
        send_signal(self._pid, number, group=True)
        if number == signal.SIGKILL:
            kill_descendants(os.getpid())

    def _drain(self) -> None:
        """Take the output that is still in the pipes."""
        deadline = time.monotonic() + DRAIN_SECONDS
        for fd, stream in self._streams.items():
            while (left := deadline - time.monotonic()) > 0 and select.select([fd], [], [], left)[0] and stream.pump():
                pass
            stream.finish()

    def _first_message(self) -> dict[str, Any] | None:
        """Return what to execute. What comes with it, as a signal does where this machine is busy, is left for `_supervise`."""
        while b"\n" not in self._received:
            data = self._hear()
            if not data:
                return None
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def _hear(self) -> bytes:
        """Receive from the agent; nothing when it is gone. It resets the connection if it goes without having read everything."""
        try:
            return self._control.recv(READ_BYTES)
        except ConnectionError:
            return b""

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the agent is gone; the exit file tells the next one
            self._control.sendall(json.dumps(message).encode() + b"\n")

    def _finish(self, code: int, since: int, ended: int, fault: str = "") -> None:
        message = {"exit": code, "since": since, "at": ended, "error": fault}
        target = self._spec["exit_file"]
        with contextlib.suppress(OSError):  # a full disk; the agent is told all the same
            file = os.open(f"{target}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.write(file, json.dumps(message).encode())
            os.close(file)
            os.rename(f"{target}.new", target)  # noqa: PTH104
        self._tell(message)


def _why_not_started(spec: dict[str, Any], fault: BaseException) -> str:
    """Say it in the words of a container runtime where it has some; the tests of users look for them."""
    command = spec["argv"][0]
    if isinstance(fault, FileNotFoundError):
        where = "no such file or directory" if "/" in command else "executable file not found in $PATH"
        return f'exec: "{command}": {where}'
    if isinstance(fault, PermissionError):
        return f'exec: "{command}": permission denied'
    if isinstance(fault, OSError) and fault.errno == errno.E2BIG:
        return f'exec: "{command}": argument list too long: a single argument or variable may have 128 KiB'
    return f'exec: "{command}": {(fault.strerror or str(fault)).lower() if isinstance(fault, OSError) else fault}'


# ------------------------------------------------------------------------------------------------------------------ spawner


def spawn_shims(requests: socket.socket) -> None:
    """Fork a shim for each socket that arrives, until the agent closes its end; then see all of them out."""
    adopt_orphans()
    shims: set[int] = set()
    wake_r, wake_w = socket.socketpair()
    wake_w.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_w.fileno(), warn_on_full_buffer=False)
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    poll.register(wake_r, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == wake_r.fileno():
                wake_r.recv(READ_BYTES)
                _reap_shims(shims)
                continue
            data, fds, _, _ = socket.recv_fds(requests, 1, 1)
            if not data:
                _see_out(shims)
                return
            os.set_inheritable(fds[0], False)
            shims.add(_fork_shim(fds[0], [requests, wake_r, wake_w]))


def _fork_shim(control: int, not_its_own: list[socket.socket]) -> int:
    pid = os.fork()
    if pid:
        os.close(control)
        return pid
    try:
        signal.set_wakeup_fd(-1)
        for other in not_its_own:
            other.close()
        adopt_orphans()
        Shim(socket.socket(fileno=control)).run()
    except BaseException as fault:
        os.write(2, f"backstay shim: {type(fault).__name__}: {fault}\n".encode())
        os._exit(1)  # the spawner sees it, and kills what is left of the container
    os._exit(0)


def _reap_shims(shims: set[int]) -> None:
    """Collect ended shims. Where one was killed, what it ran has become a child of this process, and is killed."""
    orphaned = False
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            orphaned = orphaned or pid not in shims or status != 0
            shims.discard(pid)
    except ChildProcessError:
        return
    for child in children_of(os.getpid()) if orphaned else ():
        if child not in shims:
            kill_descendants(child)
            send_signal(child, signal.SIGKILL)


def _see_out(shims: set[int]) -> None:
    """The agent is gone, and each shim knows it: wait for them, then make sure."""
    deadline = time.monotonic() + KILL_SECONDS
    while shims and time.monotonic() < deadline:
        _reap_shims(shims)
        time.sleep(0.005)
    reap_all(time.monotonic() + KILL_SECONDS)


def main() -> None:
    """Entry point: `shim.py FD LOCK`: the socket on which the agent asks for shims, and a locked file.

    Spawner and shims share the lock and never use it. It is free again when the last of them, and so the last container, is gone.
    """
    os.setsid()
    for inherited in sys.argv[1:]:
        os.set_inheritable(int(inherited), False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.disable()
    gc.freeze()
    spawn_shims(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
