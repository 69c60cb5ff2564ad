"""Logs, as shims write them and kubelets read them."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backstay.local.node.logs import LogQuery, read_log, tail_text
from backstay.local.node.shim import LogFile, Stream
from tests.unit.local.node.polling import until


async def read(path: Path, query: LogQuery | None = None) -> bytes:
    return b"".join([chunk async for chunk in read_log(path, query or LogQuery(), lambda: False)])


async def test_lines_come_back_as_they_were_written(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), 1000)
    log.write("stdout", [b"one", b"", b"two words"])
    log.write("stdout", [b"tail"], partial=True)
    assert await read(tmp_path / "log") == b"one\n\ntwo words\ntail"
    assert tail_text(tmp_path / "log", lines=2, limit_bytes=100) == "two words\ntail"
    assert tail_text(tmp_path / "log", lines=9, limit_bytes=4) == "tail"


async def test_a_line_that_is_too_long_for_the_format_is_cut_and_comes_back_whole(tmp_path: Path) -> None:
    long = b"x" * 50_000
    LogFile(str(tmp_path / "log"), 10**6).write("stderr", [long])
    assert (tmp_path / "log").read_bytes().count(b" stderr P ") == 3
    assert await read(tmp_path / "log") == long + b"\n"


async def test_a_log_stays_below_its_limit_and_keeps_the_newest(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), 10_000)
    for number in range(1000):
        log.write("stdout", [b"line %d" % number])
    assert sum((tmp_path / name).stat().st_size for name in ("log", "log.1")) <= 10_000
    lines = (await read(tmp_path / "log")).split()
    assert lines[-1] == b"999"
    assert len(lines) > 100


async def test_timestamps_and_times_are_told_apart_from_the_text(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), 1000)
    before = datetime.now(UTC)
    log.write("stdout", [b"text"])
    stamped = await read(tmp_path / "log", LogQuery(timestamps=True))
    stamp, _, text = stamped.partition(b" ")
    assert text == b"text\n"
    assert before - timedelta(seconds=1) < datetime.fromisoformat(stamp[:26].decode() + "+00:00") < before + timedelta(seconds=5)
    assert await read(tmp_path / "log", LogQuery(since=before - timedelta(seconds=1))) == b"text\n"
    assert await read(tmp_path / "log", LogQuery(since=before + timedelta(seconds=5))) == b""


async def test_a_log_is_followed_through_a_rotation_without_a_gap(tmp_path: Path) -> None:
    log, ended = LogFile(str(tmp_path / "log"), 2000), False
    log.write("stdout", [b"0"])
    seen: list[bytes] = []

    async def follow() -> None:
        async for chunk in read_log(tmp_path / "log", LogQuery(follow=True), lambda: not ended):
            seen.extend(chunk.split())

    reader = asyncio.create_task(follow())
    for last in range(10, 61, 10):
        for number in range(last - 9, last + 1):
            log.write("stdout", [b"%d" % number])
        await until(lambda last=last: seen[-1:] == [b"%d" % last])
    ended = True
    await asyncio.wait_for(reader, 5)
    assert [int(line) for line in seen] == list(range(61))


def test_output_that_does_not_end_in_a_newline_is_kept_when_the_stream_ends(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    stream = Stream("stdout", read_end, LogFile(str(tmp_path / "log"), 1000))
    os.write(write_end, b"half a")
    assert stream.pump()
    assert (tmp_path / "log").read_bytes() == b""
    os.write(write_end, b" line")
    os.close(write_end)
    assert stream.pump()
    assert not stream.pump()
    os.close(read_end)
    assert (tmp_path / "log").read_bytes().endswith(b" stdout P half a line\n")


async def test_a_log_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert await read(tmp_path / "none") == b""
