"""Who keeps the slots: every Semaphore has a desk here, at which runs ask for slots and give them back.

    ask, leave   noted, without I/O; the desk is woken
    settle       one look at a desk: what was given back, who is next → ONE write for all of it, conditional on the version it was made for
    written      those who got a slot are woken; the slot is theirs because it stands in the Semaphore, not because we think so

While a write is under way whatever comes is gathered for the next one, so a busy Semaphore costs about one write for each slot that changes
hands, and fewer the busier it is. Two operators alive at once do no harm: the version lets only one of them write, and the other looks again.

Several processes that share the runs (`shards.py`) keep a desk each: everyone sees the whole line, gives slots to the runs of its own shards, and
leaves the turn of another's run to that one.

Nothing leaks. A holder that no run here has asked for (its run went while no operator was there, or with force) is a stranger: after a while
its run is read, and where that does not want the slot, it is taken off. And a step that has begun is a holder, whatever somebody did to the
Semaphore meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from backstay.engine.codec import state_from_status
from backstay.engine.model import LockFact, State
from backstay.engine.policies.lock import wants
from backstay.engine.policies.queueing import Claim, Slots, Starts, counting, noted
from backstay.errors import AlreadyExists, ApiError, Conflict, NotFound, TamperedState, TooManyRequests, Unavailable
from backstay.executors import semaphore
from backstay.executors.semaphore import SeenSemaphore
from backstay.kube import resources
from backstay.kube.client import Client
from backstay.kube.informer import Informer
from backstay.names import workflow_semaphore
from backstay.observe.metrics import Limit, Metrics
from backstay.runtime.desk import Desk, Family, Want
from backstay.runtime.ownership import ALONE, Ownership
from backstay.runtime.queue import Key, KeyedQueue
from backstay.runtime.store import RunStore
from backstay.runtime.view import Object, is_finished, key_of, version_of, wish_of

log = logging.getLogger(__name__)

WORKERS: Final = 8
"""Semaphores that are written at the same time."""
LINE_SECONDS: Final = 2.0
"""How often a line that only grew is written: for eyes, and for an operator that takes over."""
TELL_SECONDS: Final = 5.0
"""How often those who wait are told a new place, at most."""
STRANGER_SECONDS: Final = 3.0
"""How long a holder that nobody here has asked for is left alone, and then, if it is right, until it is asked again six times as long."""
IDLE_SECONDS: Final = 600.0
"""How long one of ours is kept that nobody uses."""
ONE: Final = Slots(1)
"""What a lock is whose name no Semaphore has."""


_Place = tuple[str, str]


class Semaphores:
    """All desks. `wake(key)` has a run looked at; `trouble(run, error)` tells a run what keeps its slot from being written."""

    def __init__(
        self,
        client: Client,
        namespaces: tuple[str, ...],
        store: RunStore,
        wake: Callable[[Key], None],
        trouble: Callable[[Object, ApiError], None],
        metrics: Metrics,
        now: Callable[[], datetime],
        shards: Ownership = ALONE,
    ) -> None:
        self._client = client
        self._shards = shards
        self._store = store
        self._wake = wake
        self._trouble = trouble
        self._metrics = metrics
        self._now = now
        self._queue = KeyedQueue()
        self._desks: dict[_Place, Desk] = {}
        self._asked: dict[str, dict[str, _Place]] = {}
        """By the UID of a run and the path of a step: at which desk it has asked."""
        self._informers = {
            name: Informer(
                client, resources.SEMAPHORES, namespace=name or None, trim=semaphore.seen, on_change=lambda _, new, __: self._changed(new)
            )
            for name in namespaces or ("",)
        }

    def informers(self) -> list[Informer[SeenSemaphore]]:
        """Return the informers, to be run."""
        return list(self._informers.values())

    async def serve(self) -> None:
        """Write what was asked for, until cancelled."""
        for informer in self._informers.values():
            await informer.synced.wait()
        await self._queue.serve(self._settle_or_wait, WORKERS)

    # ------------------------------------------------------------------------------------------------------ asking

    def ask(
        self,
        run: Key,
        name: str,
        claim: Claim,
        *,
        has_begun: bool = False,
        slots: Slots = ONE,
        family: Family = (),
    ) -> None:
        """Ask for a slot, or say that a step which has one has begun. Asking twice is asking once. Where there is no such Semaphore, it is made
        with `slots`; one of ours is kept in line with them."""
        place = (run.namespace, name)
        desk = self._desks.get(place) or self._open(place, slots)
        want = desk.wanted.get(claim.id)
        is_same = want is not None and want.run is not None and (want.claim, want.has_begun) == (claim, has_begun)
        if is_same and desk.slots == slots:
            return
        desk.slots = slots
        desk.leaving.discard(claim.id)
        desk.strangers.pop(claim.id, None)
        told = want.told if want else None
        desk.wanted[claim.id] = Want(claim, run, has_begun or bool(want and want.has_begun), family, told)
        self._asked.setdefault(claim.uid, {})[claim.path] = place
        if claim.id not in self._holders(place):
            desk.lines.add(claim)
            desk.line_changed = True
            desk.new.append(claim.id)
        self._wake_desk(place)

    def _open(self, place: _Place, slots: Slots) -> Desk:
        """Open a desk; those who stand in line already, as an operator before this one has written, keep their order."""
        desk = self._desks[place] = Desk(slots, used_at=_loop_time())
        found = self._seen(place)
        if found is not None:
            desk.take_in(found)
        return desk

    def rank(self, uid: str, priority: int) -> None:
        """A run has another priority than when it asked: it stands elsewhere in line from now on."""
        for path, place in self._asked.get(uid, {}).items():
            desk = self._desks[place]
            want = desk.wanted[f"{uid}/{path}"]
            if want.claim.priority != priority:
                want.claim = replace(want.claim, priority=priority)
                if want.claim.id in desk.lines:
                    desk.lines.add(want.claim)
                    desk.line_changed = True
                    self._wake_desk(place)

    def leave(self, uid: str, path: str) -> None:
        """Give a slot back, or leave the line."""
        place = self._asked.get(uid, {}).pop(path, None)
        desk = self._desks.get(place) if place else None
        if desk is None or place is None:
            return
        if not self._asked[uid]:
            del self._asked[uid]
        desk.forget(f"{uid}/{path}")
        self._wake_desk(place)

    def forget(self, uid: str) -> None:
        """A run is finished or gone: whatever it holds is given back."""
        for path in list(self._asked.get(uid, ())):
            self.leave(uid, path)

    def disown(self, uid: str) -> None:
        """Another process looks at a run from now on: what it holds stays its own, and its place in line stands in the Semaphore."""
        for path, place in self._asked.pop(uid, {}).items():
            self._desks[place].disown(f"{uid}/{path}")

    def lost(self) -> None:
        """Runs are another's now: who has given a slot back, and may have one again from there, is not for us to say any more."""
        for desk in self._desks.values():
            desk.leaving = {id_ for id_ in desk.leaving if self._knows_as_own(id_)}

    def _knows_as_own(self, id_: str) -> bool:
        key = self._store.key_of_uid(id_.partition("/")[0])
        return key is not None and self._shards.keeps(key)

    def look_at_all(self) -> None:
        """Runs are ours that were not before: settle whatever they may hold or want."""
        for informer in self._informers.values():
            for found in informer.objects():
                self._changed(found)
        for place in self._desks:
            self._wake_desk(place)

    # ----------------------------------------------------------------------------------------------------- reading

    def facts(self, uid: str) -> dict[str, LockFact]:
        """Return what is seen of the locks of a run's steps, by path."""
        return {path: self._fact(place, f"{uid}/{path}") for path, place in self._asked.get(uid, {}).items() if path}

    def slot(self, uid: str) -> LockFact | None:
        """Return what is seen of the slot of a run as a whole; None where it has asked for none."""
        place = self._asked.get(uid, {}).get("")
        return None if place is None else self._fact(place, f"{uid}/")

    def is_held(self, namespace: str, name: str, claim: Claim) -> bool:
        """Tell whether a slot is somebody's own, as its Semaphore says."""
        return claim.id in self._holders((namespace, name))

    def members(self, namespace: str, name: str, key: str) -> list[Claim]:
        """Return all who hold or want a slot of a key, the oldest first. Of a holder, `since` is when it asked, where that is known here."""
        desk = self._desks.get((namespace, name))
        wanted = desk.wanted if desk else {}
        held = [
            wanted[id_].claim if id_ in wanted else claim for id_, claim in self._holders((namespace, name)).items() if claim.key == key
        ]
        waiting = [claim for _, claim in desk.lines.line(key)] if desk else []
        return sorted((*held, *waiting), key=lambda claim: claim.since)

    def counts(self, limit: Limit) -> tuple[int, int]:
        """Return how many slots are held and how many wait: of locks, or of workflows."""
        places = [place for place in self._desks if _kind(place) == limit]
        return sum(len(self._holders(place)) for place in places), sum(len(self._desks[place].lines) for place in places)

    def _fact(self, place: _Place, id_: str) -> LockFact:
        want = self._desks[place].wanted[id_]
        if id_ in self._holders(place):
            return LockFact(held=True, has_begun=want.has_begun)
        return want.told or LockFact(has_begun=want.has_begun)

    def _seen(self, place: _Place) -> SeenSemaphore | None:
        informer = self._informers.get(place[0], self._informers.get(""))
        return informer.get(*place) if informer is not None else None

    def _holders(self, place: _Place) -> Mapping[str, Claim]:
        found = self._seen(place)
        return found.holders if found is not None else {}

    # ---------------------------------------------------------------------------------------------------- settling

    def _changed(self, new: SeenSemaphore) -> None:
        self._wake_desk((new.namespace, new.name))

    def _wake_desk(self, place: _Place) -> None:
        self._queue.wake(Key(*place, ""))

    async def _settle_or_wait(self, key: Key) -> None:
        """Settle a desk; what the API server does not let us write is tried again, and told to those who wait."""
        if not self._shards.is_at_work:
            return
        place = (key.namespace, key.name)
        try:
            await self._settle(key, place)
            self._queue.succeeded(key)
        except (Conflict, AlreadyExists):
            self._queue.retry(key)  # the newer version is on its way here, and wakes the desk
        except ApiError as error:
            delay = self._queue.retry(key, error.retry_after_seconds or 0.0, 10.0)
            log.warning("Semaphore %s cannot be written, trying again in %.1f s: %s", key, delay, error)
            if not isinstance(error, (Unavailable, TooManyRequests)):  # an outage is told once, by whoever meets it first
                for run in self._waiting_runs(place):
                    self._trouble(run, error)

    def _waiting_runs(self, place: _Place) -> Iterator[Object]:
        desk = self._desks.get(place)
        for want in list(desk.wanted.values())[:20] if desk else ():
            known = self._store.get(want.run) if want.run else None
            if known is not None:
                yield known.run

    async def _settle(self, key: Key, place: _Place) -> None:
        found = self._seen(place)
        desk = self._desks.get(place)
        if desk is None:
            if found is None or not (found.holders or found.waiting or found.is_ours):
                return
            desk = self._open(place, found.slots)
        if desk.wanted:
            desk.used_at = _loop_time()
        found = await self._as_it_should_be(place, desk, found)
        if found is None:
            if not desk.wanted:
                del self._desks[place]
            return
        await self._recognise(key, desk, found)
        found = await self._write(key, place, desk, found)
        self._tell(key, desk, found)
        await self._remove_if_idle(key, place, desk, found)

    async def _as_it_should_be(self, place: _Place, desk: Desk, found: SeenSemaphore | None) -> SeenSemaphore | None:
        """Make the Semaphore that somebody wants and nobody has made; keep one of ours in line with what it is for."""
        if found is None:
            return self._remember(await semaphore.make(self._client, *place, desk.slots)) if desk.wanted else None
        if found.is_ours and desk.wanted and found.slots != desk.slots:
            return self._remember(await semaphore.change(self._client, found, desk.slots))
        return found

    def _remember(self, found: SeenSemaphore) -> SeenSemaphore:
        informer = self._informers[found.namespace if found.namespace in self._informers else ""]
        informer.remember(found)
        return found

    async def _recognise(self, key: Key, desk: Desk, found: SeenSemaphore) -> None:
        """Take in those who stand in the Semaphore and have not asked here; find out about holders that stay strangers."""
        desk.take_in(found)
        for claim in desk.due_strangers(found, _loop_time(), STRANGER_SECONDS, self._owns):
            await self._ask_after(desk, found.namespace, claim)
        if desk.strangers:
            self._queue.wake_in(key, min(desk.strangers.values()) - _loop_time() + 0.001)

    def _owns(self, claim: Claim) -> bool:
        return self._shards.owns_uid(claim.uid)

    async def _ask_after(self, desk: Desk, namespace: str, claim: Claim) -> bool:
        """Read the run of somebody who has not asked here, and tell whether it wants the slot; where it does not, the slot is taken away."""
        if await self._is_wanted(namespace, claim) or desk.is_known(claim.id):
            desk.strangers[claim.id] = _loop_time() + 6 * STRANGER_SECONDS
            return True
        log.info("%s/%s: %s does not want its slot any more", namespace, claim.run, claim.path or "the run")
        desk.forget(claim.id)
        return False

    async def _is_wanted(self, namespace: str, claim: Claim) -> bool:
        try:
            run = await self._client.get(resources.RUNS, namespace, claim.run)
        except NotFound:
            return False
        if run["metadata"]["uid"] != claim.uid or is_finished(run):
            return False
        if not claim.path:
            return True
        state = self._state_of(run)
        return state is None or any(want.path == claim.path and want.key == claim.key for want in wants(state, wish_of(run)))

    def _state_of(self, run: Object) -> State | None:
        """Return a run's state; None where its status does not tell it, because it was changed by hand or shows only a part of the steps."""
        key = key_of(run)
        known = self._store.get(key)
        if known is not None and known.state is not None and version_of(known.run) == version_of(run):
            return known.state
        status = run.get("status") or {}
        try:
            return None if status.get("stepsOmitted") else state_from_status(status)
        except TamperedState:
            return None

    # ----------------------------------------------------------------------------------------------------- writing

    async def _write(self, key: Key, place: _Place, desk: Desk, found: SeenSemaphore) -> SeenSemaphore:
        """Write who has left and who is next, where anything is to be written. Returns the Semaphore as it is then."""
        now, gone = self._now(), frozenset(desk.leaving)
        holders, news = desk.line_up(found, now)
        self._wake_all(desk, news)
        starts = counting(found.starts, found.slots.rate, now)
        granted = await self._next(key, desk, found, holders, starts, now)
        for claim in granted:
            holders[claim.id] = replace(claim, since=now)
            starts = noted(starts, claim.key, found.slots.rate, now)
        if holders.keys() != found.holders.keys() or found.observed != found.generation or self._is_line_due(key, desk):
            status = semaphore.status_of(found.generation, holders, desk.lines, {claim.id for claim in granted}, starts)
            desk.line_changed, desk.line_written_at = False, _loop_time()
            found = self._remember(await semaphore.write(self._client, found, status))
        desk.leaving -= gone
        for claim in granted:
            self._metrics.slot_granted(_kind(place), (now - claim.since).total_seconds())
            desk.lines.remove(claim.id)
        self._wake_all(desk, [claim.id for claim in granted])
        return found

    def _wake_all(self, desk: Desk, ids: Sequence[str]) -> None:
        """Those have a slot: whoever asked for it here may go on."""
        for id_ in ids:
            want = desk.wanted.get(id_)
            if want is not None and want.run is not None:
                self._wake(want.run)

    async def _next(
        self, key: Key, desk: Desk, found: SeenSemaphore, holders: Mapping[str, Claim], starts: list[Starts], now: datetime
    ) -> list[Claim]:
        """Return who gets a slot now. Of one that is only known from the Semaphore the run is read first: it may be gone. To the run of another
        process that one gives its slot: it holds its place in line until then."""
        while True:
            everybody, due = desk.next(found, holders, starts, now)
            granted = [claim for claim in everybody if desk.is_known(claim.id) or self._owns(claim)]
            unsure = [claim for claim in granted if not desk.is_known(claim.id)]
            if all([await self._ask_after(desk, found.namespace, claim) for claim in unsure]):
                break
        if due is not None:
            self._queue.wake_in(key, (due - now).total_seconds() + 0.001)
        return [claim for claim in granted if claim.id in desk.lines]

    def _is_line_due(self, key: Key, desk: Desk) -> bool:
        """Tell whether a line that has changed is to be written although no slot changes hands."""
        if not desk.line_changed:
            return False
        left = desk.line_written_at + LINE_SECONDS - _loop_time()
        if left > 0:
            self._queue.wake_in(key, left)
        return left <= 0

    def _tell(self, key: Key, desk: Desk, found: SeenSemaphore) -> None:
        """Have the runs told that wait, where their places have changed much."""
        now = _loop_time()
        for run in desk.tell(found, now, TELL_SECONDS):
            self._wake(run)
        if desk.lines:
            self._queue.wake_in(key, max(0.0, desk.told_at + TELL_SECONDS - now))

    # ---------------------------------------------------------------------------------------------------- clearing

    async def _remove_if_idle(self, key: Key, place: _Place, desk: Desk, found: SeenSemaphore) -> None:
        """Forget a desk that nobody needs; take one of ours away after a while."""
        if desk.wanted or desk.leaving or found.holders or desk.lines:
            desk.used_at = _loop_time()
            return
        left = desk.used_at + IDLE_SECONDS - _loop_time()
        if found.is_ours and left > 0:
            self._queue.wake_in(key, left)
            return
        if found.is_ours:
            await semaphore.remove(self._client, found)
            log.info("%s: nobody has used it for a while, so it is taken away", key)
        if not desk.wanted and not desk.leaving:
            del self._desks[place]


def _kind(place: _Place) -> Limit:
    return "workflow" if place[1].startswith(workflow_semaphore("")) else "lock"


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
