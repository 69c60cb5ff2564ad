"""How many runs go on at the same time in a namespace, and in the whole installation: counted in memory, no write for it.

What is promised: never more runs begin than are allowed, also right after a start, because nothing begins under a limit until every run has
been counted once. Of several processes the one that holds the first shard lets runs begin (`shards.py`); one that was cut off and has not
noticed yet may let some begin, and what is over the limit then ends by itself. A run that another waits for counts, and never waits: its
caller would wait for ever.
"""

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime
from sys import maxsize
from typing import Final

from backstay.engine.model import LockFact
from backstay.engine.policies.lock import is_far
from backstay.engine.policies.queueing import Claim, Lines, Slots, next_in_turn
from backstay.observe.metrics import Metrics
from backstay.runtime.queue import Key

TELL_SECONDS: Final = 5.0
"""How often those who wait are told a new place, at most."""


class ActiveRuns:
    """Who goes on and who waits. A limit of 0 is none. Single-threaded; nothing here waits."""

    def __init__(
        self, most: int, most_per_namespace: int, wake: Callable[[Key], None], metrics: Metrics, now: Callable[[], datetime]
    ) -> None:
        self.most = most
        self.most_per_namespace = most_per_namespace
        self._wake = wake
        self._metrics = metrics
        self._now = now
        self._active: dict[str, set[Key]] = {}
        self._lines = Lines()
        self._keys: dict[str, Key] = {}
        self._told: dict[str, LockFact] = {}
        self._is_counted = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit at all."""
        return bool(self.most or self.most_per_namespace)

    def begun(self, key: Key) -> None:
        """A run goes on."""
        if self.is_limited:
            self._active.setdefault(key.namespace, set()).add(key)

    def counted(self, known: Collection[Key]) -> None:
        """Every run that goes on is among those that are known: from now on others may begin."""
        for key in [key for keys in self._active.values() for key in keys if key not in known]:
            self.forget(key)
        self._is_counted = True
        self._let()

    def ask(self, key: Key, claim: Claim, *, is_exempt: bool) -> LockFact | None:
        """Return None where a run may begin now; it counts from then on. Otherwise it waits, and this is what it is to be told."""
        if not self.is_limited or key in self._active.get(key.namespace, ()):
            return None
        if is_exempt:
            self.begun(key)
            return None
        if claim.id not in self._lines:
            self._keys[claim.id] = key
            self._lines.add(claim)
            self._let()
        if claim.id not in self._lines:
            return None
        if self._is_counted and claim.id not in self._told:
            self._tell_one(claim, self._lines.place(claim.id))
        self._set_timer()
        return self._told.get(claim.id, LockFact())

    def disown(self, key: Key, *, has_begun: bool) -> None:
        """Another process looks at a run from now on. It counts for as long as it goes on, and only that process may let it begin."""
        self._leave(key)
        if not has_begun:
            self._active.get(key.namespace, set()).discard(key)

    def forget(self, key: Key) -> None:
        """A run has ended, is gone, or does not want to begin for now."""
        self._leave(key)
        active = self._active.get(key.namespace)
        if active is not None and key in active:
            active.discard(key)
            if not active:
                del self._active[key.namespace]
            self._let()

    def _leave(self, key: Key) -> None:
        id_ = f"{key.uid}/"
        self._lines.remove(id_)
        self._keys.pop(id_, None)
        self._told.pop(id_, None)

    def counts(self) -> tuple[int, int]:
        """Return how many go on and how many wait."""
        return sum(map(len, self._active.values())), len(self._lines)

    def close(self) -> None:
        """Nobody is told anything any more."""
        if self._timer is not None:
            self._timer.cancel()

    # ------------------------------------------------------------------------------------------------------- in turn

    def _let(self) -> None:
        """Let those begin whose turn it is, as many as there is room for."""
        if not self._is_counted or not len(self._lines):
            return
        held = {namespace: len(keys) for namespace, keys in self._active.items()}
        slots, now = Slots(self.most_per_namespace or None), self._now()
        granted, _ = next_in_turn(slots, held, self._lines, (), now, self.most or maxsize)
        for claim in granted:
            key = self._keys.pop(claim.id)
            self._lines.remove(claim.id)
            self._told.pop(claim.id, None)
            self.begun(key)
            self._metrics.slot_granted("installation", (now - claim.since).total_seconds())
            self._wake(key)

    def _tell_one(self, claim: Claim, place: tuple[int, int]) -> bool:
        """Work out what a run is to be told; return whether that is news."""
        is_full = self.most_per_namespace and len(self._active.get(claim.key, ())) >= self.most_per_namespace
        if is_full or not self.most:
            why = f"namespace {claim.key} (limit {self.most_per_namespace})"
        else:
            place = (next(index for index, other in enumerate(self._lines, 1) if other.id == claim.id), len(self._lines))
            why = f"this installation (limit {self.most})"
        told = self._told.get(claim.id)
        if told is not None and told.why == why and not is_far(told.place, place[0]):
            return False
        self._told[claim.id] = LockFact(place=place[0], waiting=place[1], why=why)
        return True

    def _set_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell)

    def _tell(self) -> None:
        """Tell those who wait their places, seldom, and only where they have changed much."""
        self._timer = None
        overall = 0
        for claim in self._lines:
            overall += 1
            if self._is_counted and self._tell_one(claim, self._lines.place(claim.id)):
                self._wake(self._keys[claim.id])
        if overall:
            self._set_timer()
