"""What tests build or download once and keep: in the user's cache folder, by one maker at a time, never half-made."""

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_SECONDS = 0.2


class CacheBusy(RuntimeError):
    """Another process has been making the same thing for longer than the limit."""


def cache_folder(*parts: str) -> Path:
    """Return the folder `parts` below the user's cache folder for Backstay, which need not exist yet.

    A relative `XDG_CACHE_HOME` is ignored, as the XDG base directory specification demands.
    """
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    root = chosen if chosen.is_absolute() else Path.home() / ".cache"
    return root.joinpath("backstay", *parts)


def made_once(target: Path, make: Callable[[Path], None], *, limit_seconds: float) -> Path:
    """Return `target`, a file or a folder, after `make(unfinished)` has made it if it was not there.

    `unfinished` is a path in the same folder that becomes `target` by a rename once `make` has returned, so that nobody ever sees half of
    it; when `make` raises, nothing stays behind. Raises CacheBusy when another process holds the making for more than `limit_seconds`.
    """
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _only_maker(target.with_name(f".{target.name}.lock"), limit_seconds):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
                unfinished = Path(scratch, target.name)
                make(unfinished)
                unfinished.rename(target)
    return target


@contextmanager
def _only_maker(lock: Path, limit_seconds: float) -> Iterator[None]:
    """Hold `lock`, which the kernel frees with the process, so that a killed maker blocks nobody.

    The empty file stays: removing it would let a second process lock a new file while a third waits for the old one.
    """
    deadline = time.monotonic() + limit_seconds
    with lock.open("w") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise CacheBusy(
                        f"another process has held {lock} for more than {limit_seconds:.0f} s; wait for it or end it, then try again"
                    ) from None
                time.sleep(_POLL_SECONDS)
        yield
