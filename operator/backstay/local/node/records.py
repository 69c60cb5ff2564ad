"""Which pods were begun here: written, and on the disk, before a pod's first command is executed. No pod is begun twice."""

import asyncio
import os
from pathlib import Path


class Records:
    """One empty file for each pod that was begun, named by its UID."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._begun = {entry.name for entry in folder.iterdir()}

    def has_begun(self, uid: str) -> bool:
        return uid in self._begun

    async def begin(self, uid: str) -> None:
        """Write it down; returns when it would survive a power cut."""
        if uid not in self._begun:
            self._begun.add(uid)
            await asyncio.to_thread(self._write, uid)

    def forget(self, uid: str) -> None:
        """Drop the record of a pod that is gone from the API server, so that nobody can ask for it again."""
        self._begun.discard(uid)
        (self._folder / uid).unlink(missing_ok=True)

    def all(self) -> set[str]:
        return set(self._begun)

    def _write(self, uid: str) -> None:
        (self._folder / uid).touch()
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
