"""Which runs this process looks at: all of them, those of its shards, or none while it stands by.

The runs are divided into as many shards as the installation says, by a hash of the UID of the outermost run of a family, so that a run and its
child runs wake each other within one process. Whoever holds the Lease of a shard works on it. Who is to hold which follows from the Leases
alone, by one rule that every process applies for itself (`share_out`), so nobody has to be asked, and no shard moves without need.

    starts        its informers fill; then it takes what is free, or stands by
    joins         where there are several shards it has a Lease of its own, so that the others see it, and give up what is its share
    holds         a shard: its runs are looked at; what is another's is heard of and kept, so that taking over costs no list
    lapses        not renewed in time: nothing is looked at until it is renewed; what goes on goes on
    loses         another holds it: whatever was begun here for its runs is dropped; the other has taken over from what is written
    stops         its Leases are released after all work has ended, so that the next one begins at once
"""

import asyncio
import logging
import re
import socket
import zlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from datetime import datetime
from os import getpid
from typing import Any, Final

from backstay.errors import AlreadyExists, ApiError, Conflict, NotFound
from backstay.kube.client import Client
from backstay.kube.limiter import Priority, at
from backstay.names import ANNOTATION_DETACHED, ANNOTATION_ROOT, LABEL_PARENT, digest
from backstay.runtime.desk import MOST_CALLERS
from backstay.runtime.leases import RENEW_SHARE, Leases, slot_of
from backstay.runtime.ownership import Ownership
from backstay.runtime.queue import Key
from backstay.runtime.store import RunStore
from backstay.runtime.view import Object
from backstay.settings import Settings

log = logging.getLogger(__name__)

FIRST: Final = 0
"""The shard whose holder does what is done once for all: it lets runs begin under the limits of the installation, and clears away."""
_SOON_SECONDS: Final = 0.25
_LATER_SECONDS: Final = 1.0
_USELESS_AFTER: Final = 10
"""After how many lengths without a word a Lease that nobody needs is deleted."""


class Shards(Ownership):
    """Takes, keeps and gives up shards. Single-threaded.

    `gained()` is called when runs may be looked at that were not before, or whose wakes may have been missed; `lost()` when some are another's.
    With `is_limited` runs that have not begun are all the first shard's: one process alone lets runs begin, and counts.
    """

    def __init__(
        self,
        client: Client,
        settings: Settings,
        store: RunStore,
        gained: Callable[[], None],
        lost: Callable[[], None],
        now: Callable[[], datetime],
        is_limited: Callable[[], bool] = lambda: False,
    ) -> None:
        self.count = settings.shards
        namespace, name = settings.lease_place
        slot = settings.identity or f"{socket.gethostname()}-{getpid()}"
        self._slot = slot
        self._store = store
        self._gained = gained
        self._lost = lost
        self._is_limited = is_limited
        self._news = asyncio.Event()
        self.leases = Leases(client, namespace, name, slot, settings.lease_seconds, self._news.set, now)
        self._names = [name] if self.count == 1 else [f"{name}-{number}-of-{self.count}" for number in range(self.count)]
        self._members = f"{name}-of-{self.count}-"
        self._own = f"{self._members}{_as_name(slot)}" if self.count > 1 else ""
        self._held: set[int] = set()
        self._lapsed: set[int] = set()
        self._due: dict[str, float] = {}
        """When, by the loop's clock, a Lease is to be renewed, or tried again."""

    # ------------------------------------------------------------------------------------------------------- ownership

    @property
    def is_at_work(self) -> bool:  # type: ignore[override]
        """Whether any shard is held now."""
        return any(map(self.holds, self._held))

    @property
    def is_first(self) -> bool:  # type: ignore[override]
        """Whether the first shard is held now."""
        return self.holds(FIRST)

    def holds(self, shard: int) -> bool:
        """Tell whether we may work on a shard now."""
        return shard in self._held and self.leases.is_valid(self._names[shard])

    def held(self) -> int:
        """Return how many shards are held now."""
        return sum(map(self.holds, self._held))

    def owns(self, key: Key) -> bool:
        """Tell whether a run is this process's to look at, now."""
        return self.holds(self.shard_of(key))

    def owns_uid(self, run_uid: str) -> bool:
        """Tell the same of a run by its UID; one that nobody knows any more belongs where its own UID does."""
        key = self._store.key_of_uid(run_uid)
        return self.holds(self._number(run_uid) if key is None else self.shard_of(key))

    def owns_run(self, run: Object) -> bool:
        """Tell the same of a run that has ended, whether it is known or not."""
        return self.holds(self._number(root_of(run["metadata"], self._store)))

    def keeps(self, key: Key) -> bool:
        """Tell whether a run is not another's, as far as is known."""
        return self.shard_of(key) in self._held

    def owns_name(self, namespace: str, name: str) -> bool:
        """Tell whether something that is no run is this process's."""
        return self.holds(self._number(f"{namespace}/{name}"))

    def shard_of(self, key: Key) -> int:
        """Return the shard of a run."""
        if self.count == 1:
            return FIRST
        known = self._store.get(key)
        if known is None:
            return self._number(key.uid)
        if self._is_limited() and not known.has_begun and not _is_waited_for(known.metadata):
            return FIRST
        return self._number(root_of(known.metadata, self._store))

    def _number(self, text: str) -> int:
        return zlib.crc32(text.encode()) % self.count

    # ------------------------------------------------------------------------------------------------------------ life

    async def run(self) -> None:
        """Take part until cancelled."""
        with at(Priority.EXEMPT):
            await self.leases.informer.synced.wait()
            while True:
                self._news.clear()
                await self._round()
                await self._rest()

    async def release(self) -> None:
        """Give everything back, once no work goes on any more. What cannot be given back is over after its time."""
        held, self._held = sorted(self._held), set()
        with at(Priority.EXEMPT):
            await self._all(self.leases.release(self._names[shard]) for shard in held)
            if self._own and self.leases.is_ours(self._own):
                await self._all([self.leases.remove(self._own)])

    async def _round(self) -> None:
        """Renew what is ours, find out what is not any more, then give up what is another's share and take what is ours."""
        self._forget_what_is_past()
        await self._renew_what_is_due()
        self._find_out()
        wanted = self._wanted()
        if self._held - wanted:
            await self._give_up(self._held - wanted)
        free = [shard for shard in sorted(wanted - self._held) if self._is_free(shard)]
        if free:
            await self._all(map(self._take, free))
        if self.is_first:
            await self._clear_away()

    async def _rest(self) -> None:
        """Wait for news, for a renewal that is due, or for the end of somebody's time."""
        now = _now()
        ends = [left for left in map(self.leases.left_seconds, self.leases.names()) if left > 0]
        pause = min([*(due - now for due in self._due.values()), *ends, self.leases.seconds])
        try:
            async with asyncio.timeout(max(0.0, pause) + 0.001):
                await self._news.wait()
        except TimeoutError:
            return

    # ----------------------------------------------------------------------------------------------------------- ours

    def _forget_what_is_past(self) -> None:
        """Forget when to try again what another has meanwhile: a moment that is past would leave no rest for as long as it is remembered."""
        ours, now = {self._own, *(self._names[shard] for shard in self._held)}, _now()
        self._due = {name: due for name, due in self._due.items() if name in ours or due > now}

    async def _renew_what_is_due(self) -> None:
        for shard in self._held:
            if shard not in self._lapsed and not self.holds(shard):
                self._lapsed.add(shard)
                log.warning("Lease %s was not renewed in time: its runs are left alone until it is", self._names[shard])
        names = [self._names[shard] for shard in sorted(self._held)] + ([self._own] if self._own else [])
        now = _now()
        await self._all(self._renew(name) for name in names if self._due.get(name, now) <= now)

    async def _renew(self, name: str) -> None:
        self._due[name] = _now() + _SOON_SECONDS
        if not self.leases.is_ours(name):
            if name == self._own:
                await self._try(name, self.leases.take(name))
        else:
            await self._try(name, self.leases.renew(name))

    async def _try(self, name: str, write: Awaitable[bool]) -> bool:
        """Write a Lease; say when it is to be written again."""
        try:
            is_done = await write
        except (Conflict, AlreadyExists, NotFound) as error:  # the watch tells, or time does
            log.debug("Lease %s: %s", name, error)
            self._due[name] = _now() + _SOON_SECONDS
            return False
        except ApiError as error:
            log.warning("Lease %s cannot be written, trying again in %.0f s: %s", name, _LATER_SECONDS, error)
            self._due[name] = _now() + _LATER_SECONDS
            return False
        self._due[name] = _now() + self.leases.seconds * RENEW_SHARE
        return is_done

    def _find_out(self) -> None:
        """Tell of shards that are another's now, and of those that are ours again after a lapse."""
        lost = {shard for shard in self._held if not self.leases.is_ours(self._names[shard])}
        self._lapsed |= {shard for shard in self._held if self._names[shard] in self.leases.late}
        self.leases.late.clear()
        back = {shard for shard in self._lapsed - lost if self.holds(shard)}
        self._lapsed -= lost | back
        if lost:
            self._drop(lost)
            log.warning("%s: another process has it now", _listed(self._names[shard] for shard in lost))
        if back:
            log.info("%s renewed: its runs are looked at again", _listed(self._names[shard] for shard in back))
            self._gained()

    def _drop(self, shards: Collection[int]) -> None:
        self._held -= set(shards)
        for shard in shards:
            self._due.pop(self._names[shard], None)
        self._lost()

    async def _give_up(self, shards: Collection[int]) -> None:
        """Hand over what is another's share: first we stop, then it may begin."""
        self._drop(shards)
        log.info("%s handed over", _listed(self._names[shard] for shard in sorted(shards)))
        await self._all(self.leases.release(self._names[shard]) for shard in sorted(shards))

    # ---------------------------------------------------------------------------------------------------------- others

    def _wanted(self) -> set[int]:
        """Return the shards that are to be ours, as the Leases are now."""
        holders = {shard: slot for shard, name in enumerate(self._names) if (slot := self._holder(name))}
        members = {self._slot, *holders.values()}
        members |= {slot for name in self.leases.names() if name.startswith(self._members) and (slot := self._holder(name))}
        return {shard for shard, slot in share_out(self.count, members, holders).items() if slot == self._slot}

    def _holder(self, name: str) -> str:
        """Return who holds a Lease; nobody where its time is over."""
        found = self.leases.get(name)
        if found is None or not found.holder:
            return ""
        slot = slot_of(found.holder)
        return slot if slot == self._slot or self.leases.left_seconds(name) > 0 else ""

    def _is_free(self, shard: int) -> bool:
        name = self._names[shard]
        is_over = self.leases.is_ours(name) or self.leases.left_seconds(name) <= 0
        return is_over and self._due.get(name, 0.0) <= _now()

    async def _take(self, shard: int) -> None:
        name = self._names[shard]
        if not await self._try(name, self.leases.take(name)):
            return
        self._held.add(shard)
        log.info("Lease %s taken as %s", name, self.leases.identity)
        self._gained()

    async def _clear_away(self) -> None:
        """Delete Leases of processes that are gone, and of another number of shards."""
        needed = {*self._names, self._own}
        for name in self.leases.names():
            if name not in needed and self.leases.silent_seconds(name) > _USELESS_AFTER * self.leases.seconds:
                await self._all([self.leases.remove(name)])
                log.info("Lease %s deleted: nobody has renewed it for long", name)

    @staticmethod
    async def _all(works: Iterable[Awaitable[object]]) -> None:
        """Do all at the same time; what the API server refuses is tried again, or is over by itself."""
        for found in await asyncio.gather(*works, return_exceptions=True):
            if isinstance(found, ApiError):
                log.debug("a Lease could not be written: %s", found)
            elif isinstance(found, BaseException):
                raise found


def share_out(count: int, members: Collection[str], holders: Mapping[int, str]) -> dict[int, str]:
    """Return who is to hold which of `count` shards: as many each as may be (the numbers differ by one at most), and whoever holds one now
    keeps it unless it holds too many. Whoever is asked, with the same Leases before its eyes, says the same."""
    least, more = divmod(count, len(members))
    numbers = {member: sum(holder == member for holder in holders.values()) for member in members}
    ranked = sorted(members, key=lambda member: (-numbers[member], member))
    room = {member: least + (rank < more) for rank, member in enumerate(ranked)}
    shared: dict[int, str] = {}
    for shard in sorted(holders):
        holder = holders[shard]
        if room.get(holder, 0) > 0:
            shared[shard] = holder
            room[holder] -= 1
    free = (shard for shard in range(count) if shard not in shared)
    takers = (member for member in sorted(members) for _ in range(room[member]))
    return shared | dict(zip(free, takers, strict=True))


def root_of(meta: Mapping[str, Any], store: RunStore) -> str:
    """Return the UID of the outermost run that a run is a child of, or its own. A child run from before this was written down on it is found by
    way of its callers, which go on while somebody waits for it."""
    for _ in range(MOST_CALLERS):
        if root := (meta.get("annotations") or {}).get(ANNOTATION_ROOT):
            return str(root)
        parent = (meta.get("labels") or {}).get(LABEL_PARENT)
        key = store.key_of_uid(parent) if parent else None
        known = store.get(key) if key is not None else None
        if known is None:
            return str(parent or meta["uid"])
        meta = known.metadata
    return str(meta["uid"])


def _is_waited_for(meta: Mapping[str, Any]) -> bool:
    """Tell whether a run is a child that its caller waits for: it counts under the limits, and never waits for them (active_runs.py)."""
    return bool((meta.get("labels") or {}).get(LABEL_PARENT)) and not (meta.get("annotations") or {}).get(ANNOTATION_DETACHED)


def _as_name(slot: str) -> str:
    """Return an identity as a part of an object's name."""
    cleaned = re.sub(r"[^a-z0-9.-]+", "-", slot.lower()).strip("-.")[:100].strip("-.")
    return cleaned if cleaned == slot else f"{cleaned}-{digest(slot, length=8)}".lstrip("-")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"Lease {name}" for name in names)


def _now() -> float:
    return asyncio.get_running_loop().time()
