"""A nursery of operators: it has imported all that the operator needs, and forks one in milliseconds, so that hundreds can be killed in minutes.

What runs in a forked operator is `backstay operator` from its first line on, in a process of its own that holds nothing but imported modules;
importing is all that it need not do again. A cold one is started as a user starts it, by the interpreter.

    nursery = await Nursery.open(folder)
    pid = await nursery.start(["--kubeconfig", "…"], log, environment, cold=False)
    await nursery.kill(pid)

Requests and answers are JSON lines over the nursery's standard input and output. All operators die with the nursery, and that with us.
"""

import asyncio
import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

_BOUND: Final = Path(__file__).parents[1] / "support" / "bound.py"
_PRELOADED: Final = (
    "backstay.cli.main",
    "backstay.cli.preflight",
    "backstay.handlers.app",
    "backstay.kube.login",
    "backstay.observe.logs",
    "backstay.observe.server",
    "kopf",
    "uvloop",
)
_PR_SET_PDEATHSIG: Final = 1
_OPEN_LIMIT_SECONDS: Final = 60
_END_LIMIT_SECONDS: Final = 15


class Nursery:
    """Starts operators and kills them. `ended` holds those that ended although nobody killed them, with their exit code."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._born: asyncio.Queue[int] = asyncio.Queue()
        self._gone: dict[int, asyncio.Event] = {}
        self._killed: set[int] = set()
        self._one_at_a_time = asyncio.Lock()
        self._reading = asyncio.create_task(self._read())
        self.ended: dict[int, int] = {}

    @classmethod
    async def open(cls, folder: Path, fault: str = "") -> Self:
        """Start the nursery, and wait until it has imported everything. `fault` is planted into each operator that it forks: see faults.py."""
        with (folder / "nursery.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(_BOUND), str(os.getpid()), sys.executable, "-m", "tests.chaos.nursery", fault),
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_OPEN_LIMIT_SECONDS):
                ready = await process.stdout.readline()
        except TimeoutError:
            ready = b""
        if not ready:
            if process.returncode is None:
                process.kill()
            await process.wait()
            raise AssertionError(f"the nursery has not opened; it says\n{(folder / 'nursery.log').read_text(errors='replace')}")
        return cls(process)

    async def start(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str], *, cold: bool = False) -> int:
        """Start `backstay operator` with its output at the end of `log`; return its process id."""
        async with self._one_at_a_time:
            self._send({"arguments": list(arguments), "log": str(log), "environment": dict(environment), "cold": cold})
            return await self._born.get()

    async def kill(self, pid: int) -> None:
        """Send SIGKILL, and wait until the process is gone; its process id cannot be another's before that, as its parent has not asked for it."""
        self._killed.add(pid)
        if pid not in self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(_END_LIMIT_SECONDS):
            await self._gone[pid].wait()

    async def close(self) -> None:
        """End the nursery, and with it all operators."""
        self._process.kill()
        await self._process.wait()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    def _send(self, request: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            pid = told["pid"]
            if told["what"] == "born":
                self._gone[pid] = asyncio.Event()
                self.ended.pop(pid, None)
                self._killed.discard(pid)
                self._born.put_nowait(pid)
                continue
            if pid not in self._killed:
                self.ended[pid] = told["code"]
            self._gone[pid].set()


# ----------------------------------------------------------------------------------------------------- the process


def main() -> None:
    """Serve requests until standard input closes."""
    for module in _PRELOADED:
        importlib.import_module(module)
    if fault := "".join(sys.argv[1:2]):
        from tests.chaos import faults

        faults.plant(fault)
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        sys.exit(f"the nursery has {threads} threads after its imports; forked operators would have only this one of them")
    gc.collect()
    gc.freeze()
    _say(what="open", pid=os.getpid())
    _serve()


def _serve() -> None:
    children: dict[int, int] = {}
    buffer = b""
    while True:
        readable, _, _ = select.select([0, *children], [], [])
        for ended in readable:
            if ended:
                _, status = os.waitpid(children[ended], 0)
                _say(what="gone", pid=children.pop(ended), code=os.waitstatus_to_exitcode(status))
                os.close(ended)
        if 0 in readable:
            read = os.read(0, 1 << 16)
            if not read:
                return
            *lines, buffer = (buffer + read).split(b"\n")
            for line in lines:
                pid = _fork(json.loads(line))
                children[os.pidfd_open(pid)] = pid
                _say(what="born", pid=pid)


def _say(**told: object) -> None:
    os.write(1, json.dumps(told).encode() + b"\n")


def _fork(request: Mapping[str, Any]) -> int:
    parent = os.getpid()
    if pid := os.fork():
        return pid
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        os.setsid()
        log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for number, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
            os.dup2(source, number)
        os.closerange(3, 256)
        os.environ.update(request["environment"])
        _become_operator(request["arguments"], cold=request["cold"])
    except SystemExit as ended:
        os._exit(ended.code if isinstance(ended.code, int) else 1)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(70)
    os._exit(0)


def _become_operator(arguments: Sequence[str], *, cold: bool) -> None:
    if cold:
        os.execv(sys.executable, [sys.executable, "-m", "backstay.cli.main", "operator", *arguments])
    sys.argv = ["backstay", "operator", *arguments]
    importlib.import_module("backstay.cli.main").main()


if __name__ == "__main__":
    main()
