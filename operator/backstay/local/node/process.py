"""The agent's side of shim.py: start a command whose every descendant is accounted for, signal it, learn how it ended."""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import orjson

from backstay.errors import BackstayError
from backstay.local.node import shim

LOG_LIMIT_BYTES = 10 * 1024 * 1024
"""What a container may keep as log; older output goes. The kubelet's default is the same, in five files instead of two."""
SPAWNER_STOP_SECONDS = 10.0
AGENT_SECONDS = 1.0
"""How long an agent that was asked to end may take to leave, once it is no longer needed."""
LOCK_SECONDS = 35.0
"""How long the containers of a killed agent may take to go; a little more than shim.KILL_SECONDS."""
LOCK_POLL_SECONDS = 0.05


class NodeBusy(BackstayError):
    """The folder belongs to a node that is alive."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to execute, and where its output and the record of its end go. `log` and `exit_file` lie in folders that exist."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    exit_file: Path
    log_limit_bytes: int = LOG_LIMIT_BYTES

    def message(self) -> bytes:
        """Return the line that a shim expects first."""
        return orjson.dumps(
            {
                "argv": list(self.argv),
                "env": dict(self.env),
                "cwd": str(self.cwd),
                "log": str(self.log),
                "log_limit": self.log_limit_bytes,
                "exit_file": str(self.exit_file),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )


@dataclass(frozen=True, slots=True)
class Exit:
    """How a command ended: `code` as a shell says it (128 + signal), `fault` where it could not be started at all.

    `lost` means that the shim was killed, so that nobody knows more than that the command is gone.
    """

    code: int
    since: datetime
    at: datetime
    fault: str = ""
    lost: bool = False

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Self:
        """Read what a shim tells, or has written into an exit file."""
        since, at = (datetime.fromtimestamp(message[key] / 1e9, UTC) for key in ("since", "at"))
        return cls(message["exit"], since, at, message["error"], message.get("lost", False))


class ContainerProcess:
    """A command that was given to a shim. It counts as running until `wait` returns, and then nothing of it is left."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        loop = asyncio.get_running_loop()
        self._started: asyncio.Future[datetime | None] = loop.create_future()
        self._ended: asyncio.Future[Exit] = loop.create_future()
        self.pid: int | None = None
        self._task = asyncio.create_task(self._listen())

    async def started(self) -> datetime | None:
        """Wait until the command is executed; returns when, or None when it could not be: then `wait` tells why."""
        return await asyncio.shield(self._started)

    async def wait(self) -> Exit:
        """Wait until the command and everything that it started is gone. Safe to cancel and to call again."""
        return await asyncio.shield(self._ended)

    @property
    def ended(self) -> bool:
        return self._ended.done()

    @property
    def is_closed(self) -> bool:
        return self._task.done()

    @property
    def exit(self) -> Exit:
        """How it ended; only once `ended` is true."""
        return self._ended.result()

    def signal(self, number: int) -> None:
        """Send a signal to the process group; SIGKILL reaches every descendant, whatever group it is in."""
        if not self._ended.done():
            self._writer.write(orjson.dumps({"signal": number}, option=orjson.OPT_APPEND_NEWLINE))

    def abandon(self) -> None:
        """Hang up: the shim kills the command and whatever it started, and nobody hears how it ended."""
        self._writer.close()

    async def closed(self) -> None:
        """Wait until the connection to the shim is closed, by either side."""
        await asyncio.wait({self._task})

    async def _listen(self) -> None:
        """Take the shim's messages to the two futures. A shim that goes without a word is an end as well."""
        try:
            async for line in self._reader:
                self._take(orjson.loads(line))
        except OSError:
            pass
        finally:
            now = datetime.now(UTC).timestamp() * 1e9
            self._take({"exit": 128 + signal.SIGKILL, "since": now, "at": now, "error": "", "lost": True})
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def _take(self, message: dict[str, Any]) -> None:
        if "started" in message:
            self.pid = message["started"]
            self._started.set_result(datetime.now(UTC))
        elif not self._ended.done():
            self._ended.set_result(Exit.of(message))
            if not self._started.done():
                self._started.set_result(None)


class Launcher:
    """Starts commands through one spawner process, which it starts at need and anew should it die.

    It holds two locks on the folder: one is its own, the other is shared by the spawner and every shim. While one container of a killed
    agent is left, no new agent begins.
    """

    def __init__(self) -> None:
        self._connected: set[ContainerProcess] = set()
        self._agent_lock: int | None = None
        self._lock: int | None = None
        self._spawner: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    async def open(self, folder: Path) -> None:
        """Take the folder, waiting until the containers of a former agent are gone.

        Raises:
            NodeBusy: another agent works in the folder, or containers of a killed one do not end.
        """
        self._agent_lock = await _locked(
            folder / "agent.lock", AGENT_SECONDS, "another node works in this folder; stop it, or use another folder"
        )
        self._lock = await _locked(folder / "containers.lock", LOCK_SECONDS, "containers of a killed node do not end")

    async def start(self, command: Command, *, after: Awaitable[None]) -> ContainerProcess:
        """Give the command to a new shim, which forks meanwhile; nothing is executed before `after` is done.

        Raises:
            OSError: the spawner cannot be started, or this process has no file descriptors left.
        """
        mine, theirs = socket.socketpair()
        try:
            with theirs:
                await self._send(theirs)
            mine.setblocking(False)
            reader, writer = await asyncio.open_unix_connection(sock=mine)
            await after
        except BaseException:
            mine.close()
            raise
        writer.write(command.message())
        process = ContainerProcess(reader, writer)
        self._connected = {process, *(other for other in self._connected if not other.is_closed)}
        return process

    async def _send(self, end: socket.socket) -> None:
        while True:
            try:
                socket.send_fds(self._open(), [b"+"], [end.fileno()])
                return
            except BlockingIOError:
                await asyncio.sleep(0.001)
            except BrokenPipeError:
                self._forget()

    def _open(self) -> socket.socket:
        if self._spawner is not None and self._spawner.poll() is not None:
            self._forget()
        if self._lock is None:
            raise RuntimeError("the Launcher is used before `open`")
        if self._requests is None:
            mine, theirs = socket.socketpair()
            with theirs:
                self._spawner = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(Path(shim.__file__)), str(theirs.fileno()), str(self._lock)],
                    pass_fds=[theirs.fileno(), self._lock],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={},
                )
            mine.setblocking(False)
            self._requests = mine
        return self._requests

    def _forget(self) -> None:
        if self._requests is not None:
            self._requests.close()
        if self._spawner is not None:
            self._spawner.poll()
        self._requests = self._spawner = None

    async def close(self) -> None:
        """Kill what still runs, end the spawner, and give the locks back."""
        for process in self._connected:
            process.abandon()
        for process in self._connected:
            await process.closed()
        spawner = self._spawner
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if spawner is not None:
            try:
                await asyncio.to_thread(spawner.wait, SPAWNER_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                spawner.kill()
                await asyncio.to_thread(spawner.wait)
            self._spawner = None
        for lock in (self._lock, self._agent_lock):
            if lock is not None:
                os.close(lock)
        self._lock = self._agent_lock = None


async def _locked(file: Path, limit_seconds: float, why_not: str) -> int:
    """Return the file descriptor of a lock that is held from now on. Raises NodeBusy after the limit."""
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(int(limit_seconds / LOCK_POLL_SECONDS)):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(LOCK_POLL_SECONDS)
        else:
            return lock
    os.close(lock)
    raise NodeBusy(f"{file} is locked: {why_not}")
