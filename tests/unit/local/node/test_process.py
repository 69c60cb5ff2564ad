"""Commands through the spawner: how they end, and that nothing of them stays."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backstay.local.node import shim
from backstay.local.node.process import Command, ContainerProcess, Launcher, NodeBusy
from tests.unit.local.node.polling import until


@pytest.fixture
async def launcher(tmp_path: Path) -> AsyncIterator[Launcher]:
    found = Launcher()
    await found.open(tmp_path)
    try:
        yield found
    finally:
        await found.close()


def open_files(pid: int | None) -> set[str]:
    return {entry.name for entry in Path(f"/proc/{pid}/fd").iterdir()}


async def start(launcher: Launcher, folder: Path, *argv: str, number: int = 0, **env: str) -> ContainerProcess:
    command = Command(argv, {"PATH": os.environ["PATH"], **env}, folder, folder / f"{number}.log", folder / f"{number}.exit")
    return await launcher.start(command, after=asyncio.sleep(0))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -KILL $$", 137), ("kill -SEGV $$", 139), ("kill -TERM $$", 143)],
)
async def test_an_end_is_told_as_a_shell_tells_it(launcher: Launcher, tmp_path: Path, script: str, code: int) -> None:
    process = await start(launcher, tmp_path, "sh", "-c", script)
    end = await asyncio.wait_for(process.wait(), 10)
    assert (end.code, end.fault, end.lost) == (code, "", False)
    assert end.since <= end.at
    assert json.loads((tmp_path / "0.exit").read_text())["exit"] == code


async def test_a_command_that_is_stopped_before_its_shim_has_begun_ends_by_that_signal(launcher: Launcher, tmp_path: Path) -> None:
    """The machine is busy: the shim reads the command and the signal at once."""
    await asyncio.wait_for((await start(launcher, tmp_path, "true")).wait(), 10)
    assert launcher._spawner is not None
    launcher._spawner.send_signal(signal.SIGSTOP)
    process = await start(launcher, tmp_path, "sleep", "600", number=1)
    process.signal(signal.SIGTERM)
    launcher._spawner.send_signal(signal.SIGCONT)
    end = await asyncio.wait_for(process.wait(), 10)
    assert (end.code, end.fault, end.lost) == (128 + signal.SIGTERM, "", False)


async def test_a_signal_that_the_interpreter_ignores_still_ends_a_command(launcher: Launcher, tmp_path: Path) -> None:
    process = await start(launcher, tmp_path, "sh", "-c", "kill -PIPE $$; exit 0")
    assert (await asyncio.wait_for(process.wait(), 10)).code == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    ("argv", "env", "why"),
    [
        (["no-such-command"], {}, 'exec: "no-such-command": executable file not found in $PATH'),
        (["./no-such-file"], {}, 'exec: "./no-such-file": no such file or directory'),
        (["./plain"], {}, 'exec: "./plain": permission denied'),
        (["./garbage"], {}, 'exec: "./garbage": exec format error'),
        (["true"], {"LONG": "x" * 200_000}, "argument list too long"),
        (["true", "a\0b"], {}, "embedded null"),
        (["true"], {"PATH": "/nowhere"}, "executable file not found in $PATH"),
    ],
)
async def test_a_command_that_cannot_be_executed_says_why(
    launcher: Launcher, tmp_path: Path, argv: list[str], env: dict[str, str], why: str
) -> None:
    for name, mode in (("plain", 0o644), ("garbage", 0o755)):
        (tmp_path / name).write_bytes(b"\0\1\2")
        (tmp_path / name).chmod(mode)
    process = await start(launcher, tmp_path, *argv, **env)
    assert await asyncio.wait_for(process.started(), 10) is None
    end = await process.wait()
    assert end.code == 128
    assert why in end.fault


async def test_a_relative_command_is_found_in_the_working_directory(launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "tool.sh").write_text("#!/bin/sh\necho $1 > told\n")
    (tmp_path / "tool.sh").chmod(0o755)
    process = await start(launcher, tmp_path, "./tool.sh", "hello")
    assert (await asyncio.wait_for(process.wait(), 10)).code == 0
    assert (tmp_path / "told").read_text() == "hello\n"


async def test_nothing_of_the_command_is_left_when_its_end_is_told(launcher: Launcher, tmp_path: Path) -> None:
    started = "sleep 100 & echo $! >> pids"
    script = (
        f"(setsid sh -c '{started}; echo $$ >> pids; exec sleep 100' &); {started}; while [ $(wc -l < pids) -lt 3 ]; do sleep 0.01; done"
    )
    process = await start(launcher, tmp_path, "sh", "-c", script)
    assert (await asyncio.wait_for(process.wait(), 10)).code == 0
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 3
    assert not any(map(is_alive, pids))


async def test_a_term_signal_reaches_the_group_and_a_kill_signal_everything(launcher: Launcher, tmp_path: Path) -> None:
    script = "trap '' TERM; (setsid sh -c 'echo $$ > hidden; exec sleep 100' &); sleep 100 & echo $! > plain; while :; do sleep 0.02; done"
    process = await start(launcher, tmp_path, "sh", "-c", script)
    await until(lambda: all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in ("hidden", "plain")))
    hidden, plain = (int((tmp_path / name).read_text()) for name in ("hidden", "plain"))
    process.signal(signal.SIGTERM)
    assert not process.ended and is_alive(hidden)
    process.signal(signal.SIGKILL)
    assert (await asyncio.wait_for(process.wait(), 10)).code == 137
    assert not is_alive(hidden) and not is_alive(plain)


async def test_waiting_can_be_given_up_and_taken_up_again(launcher: Launcher, tmp_path: Path) -> None:
    process = await start(launcher, tmp_path, "sh", "-c", "until [ -e go ]; do sleep 0.01; done; exit 4")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(process.wait(), 0.05)
    (tmp_path / "go").touch()
    assert (await asyncio.wait_for(process.wait(), 10)).code == 4


async def test_nothing_is_executed_before_it_may_be(launcher: Launcher, tmp_path: Path) -> None:
    may = asyncio.Event()

    async def allowed() -> None:
        await may.wait()

    command = Command(["touch", "ran"], {"PATH": os.environ["PATH"]}, tmp_path, tmp_path / "l", tmp_path / "e")
    starting = asyncio.create_task(launcher.start(command, after=allowed()))
    other = await start(launcher, tmp_path, "true", number=1)
    await asyncio.wait_for(other.wait(), 10)
    assert not (tmp_path / "ran").exists()
    may.set()
    await asyncio.wait_for((await starting).wait(), 10)
    assert (tmp_path / "ran").exists()


async def test_many_commands_at_a_time_all_end(launcher: Launcher, tmp_path: Path) -> None:
    async def one(number: int) -> int:
        process = await start(launcher, tmp_path, "sh", "-c", f"exit {number % 256}", number=number)
        return (await process.wait()).code

    async with asyncio.timeout(60):
        assert await asyncio.gather(*map(one, range(60))) == [number % 256 for number in range(60)]


async def test_a_second_agent_is_refused_while_the_first_holds_the_folder(launcher: Launcher, tmp_path: Path) -> None:
    with pytest.raises(NodeBusy, match="another node works in this folder"):
        await Launcher().open(tmp_path)


async def test_a_folder_is_free_again_after_its_agent_closed(tmp_path: Path) -> None:
    for _ in range(2):
        launcher = Launcher()
        await launcher.open(tmp_path)
        process = await start(launcher, tmp_path, "sleep", "100")
        await asyncio.wait_for(process.started(), 10)
        pid = process.pid
        process.signal(signal.SIGKILL)
        await asyncio.wait_for(process.wait(), 10)
        await launcher.close()
        assert pid is not None
        await until(lambda pid=pid: not is_alive(pid))


async def test_an_agent_that_closes_without_waiting_leaves_nothing(tmp_path: Path) -> None:
    launcher = Launcher()
    await launcher.open(tmp_path)
    process = await start(launcher, tmp_path, "sleep", "100")
    await asyncio.wait_for(process.started(), 10)
    process.abandon()
    await launcher.close()
    await until(lambda: not is_alive(process.pid or 0))
    assert not (tmp_path / "0.exit").exists(), "how it would have ended is not known"


async def test_a_command_inherits_its_three_standard_streams_and_nothing_else(launcher: Launcher, tmp_path: Path) -> None:
    processes = [await start(launcher, tmp_path, "sleep", "100", number=number) for number in range(2)]
    for process in processes:
        await asyncio.wait_for(process.started(), 10)
        await until(lambda pid=process.pid: open_files(pid) == {"0", "1", "2"})  # not before its libraries are loaded
        process.signal(signal.SIGKILL)
        await asyncio.wait_for(process.wait(), 10)


async def test_an_agent_that_dies_without_having_read_what_it_was_told_leaves_nothing(tmp_path: Path) -> None:
    requests, theirs = socket.socketpair()
    with requests, theirs, (tmp_path / "lock").open("w") as lock:
        inherited = [theirs.fileno(), lock.fileno()]
        spawner = await asyncio.create_subprocess_exec(sys.executable, "-I", "-S", shim.__file__, *map(str, inherited), pass_fds=inherited)
        mine, its = socket.socketpair()
        with mine, its:
            socket.send_fds(requests, [b"+"], [its.fileno()])
            command = Command(
                ["sh", "-c", "echo $$ > pid; exec sleep 100"], {"PATH": os.environ["PATH"]}, tmp_path, tmp_path / "l", tmp_path / "e"
            )
            mine.sendall(command.message())
            await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"))
        pid = int((tmp_path / "pid").read_text())
        await until(lambda: not is_alive(pid))
        requests.close()
        assert await asyncio.wait_for(spawner.wait(), 10) == 0
