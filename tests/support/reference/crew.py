"""Several steps or lists that go on at the same time."""

from collections.abc import Callable, Generator, Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.support.reference.words import Fault, Going, Json, Jump, Stop

if TYPE_CHECKING:
    from tests.support.reference.run import Reference


class Crew:
    """Lists or steps that go on at the same time, by name, and how those ended that do no longer."""

    def __init__(self, reference: "Reference", members: Mapping[str, Going] | None = None) -> None:
        self.reference = reference
        self.live = dict(members or {})
        self.done: dict[str, Json] = {}
        self.failed: dict[str, Fault] = {}
        self.failed_at: dict[str, timedelta] = {}
        self.stop: Stop | None = None
        self.jump: Jump | None = None
        self.is_cancelled = False

    def go_on(self, *names: str) -> None:
        """Bring every member, or those named, as far as it goes now."""
        for name in names or list(self.live):
            if name in self.live and not self.reference.halted:
                self._resume(name, lambda member: next(member))

    def tell(self) -> None:
        """Tell every member that it is no longer wanted."""
        for name in list(self.live):
            self._resume(name, lambda member: member.throw(Stop()))

    def _resume(self, name: str, how: Callable[[Going], object]) -> None:
        try:
            how(self.live[name])
            return
        except StopIteration as end:
            self.done[name] = end.value
        except Fault as fault:
            self.failed[name], self.failed_at[name] = fault, self.reference.now
        except Stop as stop:
            self.stop = stop
        except Jump as jump:
            self.jump = self.jump or jump  # of several at one moment, the one that is written first
        self.live.pop(name)

    def stopped(self) -> Generator[None, None, bool]:
        """Stop what goes on, and wait until nothing does. Returns whether whoever waited was stopped meanwhile."""
        asked = False
        self.tell()
        while self.live:
            asked = (yield from pause()) or asked
            for name in list(self.live):
                self._resume(name, lambda member: next(member))
        return asked

    def fault(self, number: int) -> Fault:
        """The failure of this number, counted from 0, as they happened."""
        return list(self.failed.values())[number]

    def failures(self, names: Iterable[str]) -> list[str]:
        """Those that failed, in the order of time; of the same moment, in the order in which they are written."""
        return sorted((name for name in names if name in self.failed), key=self.failed_at.__getitem__)


def pause() -> Generator[None, None, bool]:
    """Wait for whatever happens next; returns whether that was being stopped."""
    try:
        yield
    except Stop:
        return True
    return False
