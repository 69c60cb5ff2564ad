"""How fast the operator asks the API server, and what goes first when it cannot ask as fast as it would.

    admit   a token is there and nobody waits: at once, else in line
    line    by priority, within one in the order of coming; every so-many-th goes to whoever has waited longest, so that nobody starves
    pause   the server said 429: nothing goes until the time that it named is over; then at the steady rate, and half as many at a time
    ease    five seconds without another 429: twice as many at a time, until there is no such limit any more

A token bucket as client-go has one (k8s.io/client-go/util/flowcontrol): `burst` tokens at most, `qps` new ones a second. The server's own
priority and fairness (KEP-1040) turns away by user: what one request of ours is told holds for all of them. It has so many seats for us,
which nobody tells us; were all that waited to come back at once, most would be turned away again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

LONGEST_PAUSE_SECONDS: Final = 60.0
"""A server that names a longer time is asked once before that is over."""
EASE_SECONDS: Final = 5.0
MOST_AT_ONCE: Final = 128
"""From here on no number is too many: there are fewer connections and workers."""
TO_THE_OLDEST: Final = 8
"""Every how-many-th request that leaves the line is the one that has waited longest, whatever its priority."""


class Priority(IntEnum):
    """What goes first. The same order, and the same words in metrics, as runs have in the queue."""

    EXEMPT = 0
    """Never waits: a Lease that is not renewed in time makes everything worse."""
    RUNNING = 1
    """Runs that have begun: what was promised is kept before more is promised."""
    NEW = 2
    """Runs that are to begin."""
    BACKGROUND = 3
    """Events, and the rounds of the sweeper."""


IN_LINE: Final = (Priority.RUNNING, Priority.NEW, Priority.BACKGROUND)
"""The priorities that may have to wait."""

_PRIORITY: Final[ContextVar[Priority]] = ContextVar("priority", default=Priority.RUNNING)


@contextmanager
def at(priority: Priority) -> Iterator[None]:
    """Make every request of this block, and of the tasks that are begun in it, one of this priority."""
    before = _PRIORITY.set(priority)
    try:
        yield
    finally:
        _PRIORITY.reset(before)


def current() -> Priority:
    """Return the priority of what is asked here and now."""
    return _PRIORITY.get()


Waited = Callable[[Priority, float], None]
"""Told of every request that had to wait: its priority, and for how many seconds."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """One request in line. Times are those of the loop's clock."""

    since: float
    turn: "asyncio.Future[None]"


class Limiter:
    """For one client, in one event loop. `qps` 0 sets no rate; a pause holds all the same."""

    def __init__(self, qps: float = 0.0, burst: int = 1, *, waited: Waited | None = None, paused: Callable[[], None] | None = None) -> None:
        """`paused` is told whenever the server turns us away and everything has to pause."""
        self._qps = qps
        self._burst = float(max(1, burst))
        self._waited = waited
        self._paused = paused
        self._tokens = self._burst
        self._filled_at = float("-inf")
        self._paused_until = float("-inf")
        self._under_way = 0
        self._at_once = _ANY
        self._eased_at = float("-inf")
        self._lines: dict[Priority, deque[_Waiting]] = {priority: deque() for priority in IN_LINE}
        self._count = 0
        self._left = 0
        self._timer: asyncio.TimerHandle | None = None

    def waiting(self, priority: Priority) -> int:
        """How many requests of a priority stand in line."""
        return len(self._lines[priority])

    def at_once(self) -> int:
        """How many requests may be under way at a time, since the server has turned us away; 0 where there is no such limit."""
        self._ease(_now())
        return 0 if self._at_once == _ANY else int(self._at_once)

    async def admit(self) -> None:
        """Return when a request may be sent. Whoever was admitted says `left` when it is answered, however that ends."""
        priority = _PRIORITY.get()
        if priority is not Priority.EXEMPT:
            now = _now()
            if self._count or not self._is_open(now) or not self._take(now):
                await self._stand_in_line(priority, now)
                return
        self._under_way += 1

    def left(self) -> None:
        """A request that was admitted is over: another may go."""
        self._under_way -= 1
        if self._count:
            self._serve()

    def pause(self, seconds: float) -> None:
        """The server turned us away: send nothing for so long. Times that overlap are one pause."""
        now = _now()
        until = now + min(seconds, LONGEST_PAUSE_SECONDS)
        if now >= self._paused_until:
            self._at_once = max(1.0, min(self._at_once, self._under_way) // 2)
            if self._paused is not None:
                self._paused()
        if until > self._paused_until:
            self._paused_until = until
            self._tokens, self._filled_at, self._eased_at = 1.0, until, until
            self._set_timer(now)

    # ------------------------------------------------------------------------------------------------------------ line

    async def _stand_in_line(self, priority: Priority, now: float) -> None:
        one = _Waiting(now, asyncio.get_running_loop().create_future())
        line = self._lines[priority]
        line.append(one)
        self._count += 1
        self._set_timer(now)
        try:
            await one.turn
        except asyncio.CancelledError:
            if one in line:
                line.remove(one)
                self._count -= 1
            elif not one.turn.cancelled():
                self._tokens += 1  # its turn had come, and nobody uses it
                self.left()
            raise
        if self._waited is not None:
            self._waited(priority, _now() - one.since)

    def _serve(self) -> None:
        """Let go who may go by now."""
        now = _now()
        while self._count and self._is_open(now) and self._take(now):
            one = self._next()
            self._count -= 1
            if one.turn.done():
                self._tokens += 1  # given up, and that is not yet known where it waits
            else:
                self._under_way += 1
                one.turn.set_result(None)
        self._set_timer(now)

    def _next(self) -> _Waiting:
        self._left += 1
        lines = [line for line in self._lines.values() if line]
        if self._left % TO_THE_OLDEST == 0:
            return min(lines, key=lambda line: line[0].since).popleft()
        return lines[0].popleft()

    # ---------------------------------------------------------------------------------------------------------- limits

    def _is_open(self, now: float) -> bool:
        """Tell whether there is no pause, and fewer requests are under way than may be."""
        if now < self._paused_until:
            return False
        if self._at_once != _ANY:
            self._ease(now)
        return self._under_way < self._at_once

    def _ease(self, now: float) -> None:
        while self._at_once != _ANY and now - self._eased_at >= EASE_SECONDS:
            self._eased_at += EASE_SECONDS
            self._at_once = self._at_once * 2 if self._at_once * 2 < MOST_AT_ONCE else _ANY

    def _take(self, now: float) -> bool:
        """Take a token where there is one."""
        if not self._qps:
            return True
        if now > self._filled_at:
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._qps)
            self._filled_at = now
        if self._tokens < 1.0 - _ROUNDING:
            return False
        self._tokens -= 1.0
        return True

    def _set_timer(self, now: float) -> None:
        """See to it that the next in line goes when there is a token, and no pause."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._count or (now >= self._paused_until and self._under_way >= self._at_once):
            return  # whoever is under way says when it has left
        lacking = max(0.0, 1.0 - self._tokens) / self._qps if self._qps else 0.0
        due = max(self._paused_until, self._filled_at + lacking, now)
        self._timer = asyncio.get_running_loop().call_at(due, self._serve)


_ROUNDING: Final = 1e-9
_ANY: Final = float("inf")


def _now() -> float:
    return asyncio.get_running_loop().time()
