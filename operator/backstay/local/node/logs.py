"""Reading container logs in the CRI's format: the last lines, since when, and as they grow."""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

FOLLOW_SECONDS: Final = 0.1
"""How often a log that is followed is looked at."""
CHUNK_BYTES: Final = 65536


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What `kubectl logs` asks for: `tail_lines` None is all; `since` leaves out what is older; `limit_bytes` None is no limit."""

    tail_lines: int | None = None
    since: datetime | None = None
    timestamps: bool = False
    follow: bool = False
    limit_bytes: int | None = None

    def render(self, record: bytes) -> bytes:
        """Return what a record of the log shows: its text, with its time in front if wanted; empty where it is too old."""
        stamp, _, rest = record.partition(b" ")
        _, _, rest = rest.partition(b" ")
        tag, _, text = rest.partition(b" ")
        if self.since is not None and _time(stamp) < self.since:
            return b""
        shown = text.removesuffix(b"\n") if tag == b"P" else text
        return stamp + b" " + shown if self.timestamps else shown


def _time(stamp: bytes) -> datetime:
    return datetime.fromisoformat(stamp[:26].decode() + "+00:00")


def tail_text(path: Path, *, lines: int, limit_bytes: int) -> str:
    """Return the end of a log as text, at most so many lines and bytes."""
    shown = b"".join(map(LogQuery().render, deque(_records(path), lines)))
    return shown[-limit_bytes:].decode(errors="replace")


def _records(path: Path) -> Iterator[bytes]:
    """Yield the whole log, the part that was rotated away first."""
    for part in (Path(f"{path}.1"), path):
        try:
            with part.open("rb") as file:
                yield from (record for record in file if record.endswith(b"\n"))
        except FileNotFoundError:
            continue


async def read_log(path: Path, query: LogQuery, is_running: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Yield chunks of a container's log; when following, until the container has ended and everything is told."""
    left = query.limit_bytes
    async for chunk in _rendered(path, query, is_running):
        if left is not None:
            chunk = chunk[:left]
            left -= len(chunk)
        if chunk:
            yield chunk
        if left == 0:
            return


async def _rendered(path: Path, query: LogQuery, is_running: Callable[[], bool]) -> AsyncIterator[bytes]:
    with contextlib.closing(_Follower(path)) as follower:
        async for chunk in _followed(follower, query, is_running):
            yield chunk


async def _followed(follower: "_Follower", query: LogQuery, is_running: Callable[[], bool]) -> AsyncIterator[bytes]:
    records: Iterable[bytes] = follower.read()
    if query.tail_lines is not None:
        records = deque(records, query.tail_lines)
    chunk = bytearray()
    for record in records:
        chunk += query.render(record)
        if len(chunk) > CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)
    while query.follow:
        running = is_running()
        yield b"".join(map(query.render, follower.read()))
        if not running:
            return
        await asyncio.sleep(FOLLOW_SECONDS)


class _Follower:
    """Reads whole records from where it stopped before, through one rotation at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""

    def read(self) -> Iterator[bytes]:
        if self._file is None:
            self._file = self._try_open(self._path)
            rotated = self._try_open(Path(f"{self._path}.1"))
            if rotated is not None:
                with rotated:
                    if self._file is None or not os.path.samestat(os.fstat(rotated.fileno()), os.fstat(self._file.fileno())):
                        yield from rotated
        while self._file is not None:
            yield from self._lines(self._file)
            if not self._rotated():
                return
            yield from self._lines(self._file)
            self._file.close()
            self._file, self._rest = self._try_open(self._path), b""

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _lines(self, file: BinaryIO) -> Iterator[bytes]:
        for line in file:
            whole = self._rest + line
            if whole.endswith(b"\n"):
                self._rest = b""
                yield whole
            else:
                self._rest = whole

    def _rotated(self) -> bool:
        try:
            return self._file is not None and not os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False

    @staticmethod
    def _try_open(path: Path) -> BinaryIO | None:
        try:
            return path.open("rb")
        except FileNotFoundError:
            return None
