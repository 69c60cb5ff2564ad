"""A journey that is booked step by step, for tests of what goes wrong on the way: what was done and undone stands in a book, in order."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.scenarios.manifests import shell
from tests.support.api import Object
from tests.support.cluster import Place
from tests.support.waiting import wait_for

ONCE: Final[Object] = {"maxAttempts": 1}
FAST: Final[Object] = {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}
"""A shell does not mind being told to stop; nobody wants to wait for that."""


@dataclass(frozen=True)
class Trip:
    """Each step and each undoing of one writes its name into the book, and may wait at its gate. `folder` is on the machine that runs the pods."""

    place: Place
    folder: Path

    @property
    def book(self) -> list[str]:
        """What was written, in order."""
        return _words(self.folder / "book")

    def writes(self, word: str, gate: str = "") -> Object:
        """A job that writes a word, after its gate is open."""
        waits = f"while [ ! -e {self.folder}/{gate} ]; do sleep 0.05; done; " if gate else ""
        return shell(f"echo {word} >> {self.folder}/begun; {waits}echo {word} >> {self.folder}/book", **FAST)

    def step(self, name: str, gate: str = "", undo_gate: str = "") -> Object:
        """A step that writes its name and, when it is undone, `no-` before it; undoing has a single attempt."""
        undo = {"job": self.writes(f"no-{name}", undo_gate), "retry": ONCE}
        return {"name": name, "job": self.writes(name, gate), "compensate": undo}

    def open(self, gate: str) -> None:
        """Let pass what waits at a gate."""
        (self.folder / gate).touch()

    def begun(self, word: str, times: int = 1) -> None:
        """Wait until a job has begun so many times."""
        wait_for(lambda: _words(self.folder / "begun").count(word) >= times, what=lambda: f"{word} has not begun {times} times")


def _words(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []
