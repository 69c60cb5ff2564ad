"""Who keeps the slots: every Semaphore has a desk here, at which runs ask for slots and give them back.

    ask, leave   noted, without I/O; the desk is woken
    settle       one look at a desk: what was given back, who is next → ONE write for all of it, conditional on the version it was made for
    written      those who got a slot are woken; the slot is theirs because it stands in the Semaphore, not because we think so

While a write is under way whatever comes is gathered for the next one, so a busy Semaphore costs about one write for each slot that changes
hands, and fewer the busier it is. Two operators alive at once do no harm: the version lets only one of them write, and the other looks again.

Nothing leaks. A holder that no run here has asked for (its run went while no operator was there, or with force) is a stranger: after a while
its run is read, and where that does not want the slot, it is taken off. And a step that has begun is a holder, whatever somebody did to the
Semaphore meanwhile.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from backstay.api.base import format_duration
from backstay.engine.codec import state_from_status
from backstay.engine.model import LockFact
from backstay.engine.paths import is_within
from backstay.engine.policies.lock import is_far, wants
from backstay.engine.policies.queueing import Claim, Lines, Slots, Starts, counting, next_in_turn, noted
from backstay.errors import AlreadyExists, ApiError, Conflict, NotFound, TamperedState
from backstay.executors import semaphore
from backstay.executors.semaphore import SeenSemaphore
from backstay.kube import resources
from backstay.kube.client import Client
from backstay.kube.informer import Informer
from backstay.names import ANNOTATION_DETACHED, ANNOTATION_PATH, LABEL_PARENT, workflow_semaphore
from backstay.observe.metrics import Limit, Metrics
from backstay.runtime.queue import Key, KeyedQueue
from backstay.runtime.store import RunStore
from backstay.runtime.view import Object, is_finished, wish_of

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
SHOWN_HOLDERS: Final = 3
MOST_CALLERS: Final = 64
ONE: Final = Slots(1)
"""What a lock is whose name no Semaphore has."""


@dataclass(slots=True)
class _Want:
    """One who wants a slot, or has one. `told` is the place that its run was told."""

    claim: Claim
    run: Key | None
    """The run to wake; None for one that was only read from the Semaphore, and that its run has not asked for here yet."""
    has_begun: bool = False
    family: tuple[tuple[str, str], ...] = ()
    """UID and path of each step that waits for this run to end, or for one that does: a slot of theirs is a slot of its own."""
    told: LockFact | None = None


@dataclass(slots=True)
class _Desk:
    """What is known here of one Semaphore besides what stands in it."""

    slots: Slots
    """What one of ours is to allow; somebody else's Semaphore says so itself."""
    wanted: dict[str, _Want] = field(default_factory=dict)
    lines: Lines = field(default_factory=Lines)
    """Those of them who hold nothing."""
    leaving: set[str] = field(default_factory=set)
    strangers: dict[str, float] = field(default_factory=dict)
    """Holders nobody here has asked for, and when to read their runs."""
    new: list[str] = field(default_factory=list)
    """Those who have not been told their place."""
    line_changed: bool = False
    line_written_at: float = float("-inf")
    told_at: float = float("-inf")
    used_at: float = 0.0


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
    ) -> None:
        self._client = client
        self._store = store
        self._wake = wake
        self._trouble = trouble
        self._metrics = metrics
        self._now = now
        self._queue = KeyedQueue()
        self._desks: dict[_Place, _Desk] = {}
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
        family: tuple[tuple[str, str], ...] = (),
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
        desk.wanted[claim.id] = _Want(claim, run, has_begun or bool(want and want.has_begun), family, told)
        self._asked.setdefault(claim.uid, {})[claim.path] = place
        if claim.id not in self._holders(place):
            desk.lines.add(claim)
            desk.line_changed = True
            desk.new.append(claim.id)
        self._wake_desk(place)

    def _open(self, place: _Place, slots: Slots) -> _Desk:
        """Open a desk; those who stand in line already, as an operator before this one has written, keep their order."""
        desk = self._desks[place] = _Desk(slots, used_at=_loop_time())
        found = self._seen(place)
        if found is not None:
            _take_in(desk, found)
        return desk

    def leave(self, uid: str, path: str) -> None:
        """Give a slot back, or leave the line."""
        place = self._asked.get(uid, {}).pop(path, None)
        desk = self._desks.get(place) if place else None
        if desk is None or place is None:
            return
        if not self._asked[uid]:
            del self._asked[uid]
        id_ = f"{uid}/{path}"
        desk.wanted.pop(id_, None)
        desk.line_changed = desk.line_changed or id_ in desk.lines
        desk.lines.remove(id_)
        desk.leaving.add(id_)
        self._wake_desk(place)

    def forget(self, uid: str) -> None:
        """A run is finished or gone: whatever it holds is given back."""
        for path in list(self._asked.get(uid, ())):
            self.leave(uid, path)

    # ----------------------------------------------------------------------------------------------------- reading

    def facts(self, uid: str) -> dict[str, LockFact]:
        """Return what is seen of the locks of a run's steps, by path."""
        return {path: self._fact(place, f"{uid}/{path}") for path, place in self._asked.get(uid, {}).items() if path}

    def slot(self, uid: str) -> LockFact | None:
        """Return what is seen of the slot of a run as a whole; None where it has asked for none."""
        place = self._asked.get(uid, {}).get("")
        return None if place is None else self._fact(place, f"{uid}/")

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
        informer = self._informers.get(place[0]) or self._informers.get("")
        return informer.get(*place) if informer else None

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
        place = (key.namespace, key.name)
        try:
            await self._settle(key, place)
            self._queue.succeeded(key)
        except (Conflict, AlreadyExists):
            self._queue.retry(key)  # the newer version is on its way here, and wakes the desk
        except ApiError as error:
            delay = self._queue.retry(key, error.retry_after_seconds or 0.0, 10.0)
            log.warning("Semaphore %s cannot be written, trying again in %.1f s: %s", key, delay, error)
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

    async def _as_it_should_be(self, place: _Place, desk: _Desk, found: SeenSemaphore | None) -> SeenSemaphore | None:
        """Make the Semaphore that somebody wants and nobody has made; keep one of ours in line with what it is for."""
        if found is None:
            return self._remember(await semaphore.make(self._client, *place, desk.slots)) if desk.wanted else None
        if found.is_ours and desk.wanted and found.slots != desk.slots:
            return self._remember(await semaphore.change(self._client, found, desk.slots))
        return found

    def _remember(self, found: SeenSemaphore) -> SeenSemaphore:
        informer = self._informers.get(found.namespace) or self._informers[""]
        informer.remember(found)
        return found

    async def _recognise(self, key: Key, desk: _Desk, found: SeenSemaphore) -> None:
        """Take in those who stand in the Semaphore and have not asked here; find out about holders that stay strangers."""
        _take_in(desk, found)
        now = _loop_time()
        for id_ in [id_ for id_ in desk.strangers if id_ not in found.holders or self._is_known(desk, id_)]:
            del desk.strangers[id_]
        for id_, claim in found.holders.items():
            if self._is_known(desk, id_) or id_ in desk.leaving:
                continue
            due = desk.strangers.setdefault(id_, now + STRANGER_SECONDS)
            if due <= now:
                await self._ask_after(desk, found.namespace, claim)
        if desk.strangers:
            self._queue.wake_in(key, min(desk.strangers.values()) - _loop_time() + 0.001)

    @staticmethod
    def _is_known(desk: _Desk, id_: str) -> bool:
        want = desk.wanted.get(id_)
        return want is not None and want.run is not None

    async def _ask_after(self, desk: _Desk, namespace: str, claim: Claim) -> bool:
        """Read the run of somebody who has not asked here, and tell whether it wants the slot; where it does not, the slot is taken away."""
        if await self._is_wanted(namespace, claim):
            desk.strangers[claim.id] = _loop_time() + 6 * STRANGER_SECONDS
            return True
        log.info("%s/%s: %s does not want its slot any more", namespace, claim.run, claim.path or "the run")
        desk.strangers.pop(claim.id, None)
        desk.wanted.pop(claim.id, None)
        desk.lines.remove(claim.id)
        desk.leaving.add(claim.id)
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
        try:
            state = state_from_status(run.get("status") or {})
        except TamperedState:
            return True  # a person has to look at that run; until then nobody knows what it holds
        return any(want.path == claim.path and want.key == claim.key for want in wants(state, wish_of(run)))

    # ----------------------------------------------------------------------------------------------------- writing

    async def _write(self, key: Key, place: _Place, desk: _Desk, found: SeenSemaphore) -> SeenSemaphore:
        """Write who has left and who is next, where anything is to be written. Returns the Semaphore as it is then."""
        now, gone = self._now(), frozenset(desk.leaving)
        holders = self._line_up(desk, found, now)
        starts = counting(found.starts, found.slots.rate, now)
        granted = await self._grant(key, desk, found, holders, starts, now)
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
            self._granted(desk, claim.id)
        return found

    def _granted(self, desk: _Desk, id_: str) -> None:
        """Somebody in line has a slot: whoever asked for it here may go on."""
        desk.lines.remove(id_)
        want = desk.wanted.get(id_)
        if want is not None and want.run is not None:
            self._wake(want.run)

    def _line_up(self, desk: _Desk, found: SeenSemaphore, now: datetime) -> dict[str, Claim]:
        """Return who holds a slot before anybody new gets one. Everybody else who wants one stands in line: nobody falls between."""
        holders = {id_: claim for id_, claim in found.holders.items() if id_ not in desk.leaving}
        for id_ in holders:
            if id_ in desk.lines:  # another operator gave it, or the answer to our own write was lost
                self._granted(desk, id_)
        for id_, want in desk.wanted.items():
            if id_ in holders:
                continue
            if want.has_begun:
                holders[id_] = replace(want.claim, since=now)
                desk.lines.remove(id_)
            elif id_ not in desk.lines:
                desk.lines.add(want.claim)
        return holders

    async def _grant(
        self, key: Key, desk: _Desk, found: SeenSemaphore, holders: Mapping[str, Claim], starts: list[Starts], now: datetime
    ) -> list[Claim]:
        """Return who gets a slot now. Of one that is only known from the Semaphore the run is read first: it may be gone."""
        while True:
            held = Counter(claim.key for claim in holders.values())
            guests = [want.claim for id_, want in desk.wanted.items() if want.family and id_ in desk.lines and _is_guest(want, holders)]
            granted, due = next_in_turn(found.slots, held, desk.lines, starts, now)
            unsure = [claim for claim in granted if not self._is_known(desk, claim.id)]
            answers = [await self._ask_after(desk, found.namespace, claim) for claim in unsure]
            if all(answers):
                break
        if due is not None:
            self._queue.wake_in(key, (due - now).total_seconds() + 0.001)
        return list({claim.id: claim for claim in (*guests, *granted) if claim.id in desk.lines}.values())

    def _is_line_due(self, key: Key, desk: _Desk) -> bool:
        """Tell whether a line that has changed is to be written although no slot changes hands."""
        if not desk.line_changed:
            return False
        left = desk.line_written_at + LINE_SECONDS - _loop_time()
        if left > 0:
            self._queue.wake_in(key, left)
        return left <= 0

    # ----------------------------------------------------------------------------------------------------- telling

    def _tell(self, key: Key, desk: _Desk, found: SeenSemaphore) -> None:
        """Tell those who wait their places: those who have just come at once, all others seldom, and only where it has changed much."""
        now = _loop_time()
        fresh, desk.new = [id_ for id_ in desk.new if id_ in desk.lines], []
        words = _Words(found)
        for id_ in fresh:
            self._tell_one(desk, id_, words)
        if not desk.lines:
            return
        if now - desk.told_at >= TELL_SECONDS:
            desk.told_at = now
            for claim in desk.lines:
                self._tell_one(desk, claim.id, words)
        self._queue.wake_in(key, max(0.0, desk.told_at + TELL_SECONDS - now))

    def _tell_one(self, desk: _Desk, id_: str, words: "_Words") -> None:
        want = desk.wanted[id_]
        place, waiting = desk.lines.place(id_)
        if want.told is not None and not is_far(want.told.place, place):
            return
        holders, why = words.of(want.claim.key)
        want.told = LockFact(has_begun=want.has_begun, place=place, waiting=waiting, holders=holders, why=why)
        if want.run is not None:
            self._wake(want.run)

    # ---------------------------------------------------------------------------------------------------- clearing

    async def _remove_if_idle(self, key: Key, place: _Place, desk: _Desk, found: SeenSemaphore) -> None:
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


def _take_in(desk: _Desk, found: SeenSemaphore) -> None:
    """Take in those who stand in line in the Semaphore, and have not asked here."""
    for claim in found.waiting:
        if claim.id not in desk.wanted and claim.id not in desk.leaving and claim.id not in found.holders:
            desk.wanted[claim.id] = _Want(claim, None)
            desk.lines.add(claim)


class _Words:
    """What is told of the holders of a key, worked out once for all who wait for it."""

    def __init__(self, found: SeenSemaphore) -> None:
        self._found = found
        self._known: dict[str, tuple[tuple[str, ...], str]] = {}

    def of(self, key: str) -> tuple[tuple[str, ...], str]:
        """Return who holds the slots of a key, and what else keeps its line waiting."""
        if key not in self._known:
            holders = [claim for claim in self._found.holders.values() if claim.key == key]
            slots = self._found.slots
            is_full = slots.limit is not None and len(holders) >= slots.limit
            shown = tuple(map(_holder_words, holders[:SHOWN_HOLDERS]))
            if len(holders) > SHOWN_HOLDERS:
                shown = (*shown, f"{len(holders) - SHOWN_HOLDERS} more")
            self._known[key] = (shown if is_full else ()), _why(slots, is_full=is_full)
        return self._known[key]


def _why(slots: Slots, *, is_full: bool) -> str:
    if slots.limit == 0:
        return "its limit is 0"
    if not is_full and slots.rate is not None:
        return f"{slots.rate.limit} may begin in {format_duration(slots.rate.per)}"
    return ""


def _holder_words(claim: Claim) -> str:
    return f"run {claim.run}" + (f" (step {claim.path})" if claim.path else "")


def _is_guest(want: _Want, holders: Mapping[str, Claim]) -> bool:
    """Tell whether a step that waits for this run holds a slot of its key: to wait for that one would be to wait for ever."""
    return any(
        holder.uid == uid and holder.key == want.claim.key and (not holder.path or is_within(path, holder.path))
        for uid, path in want.family
        for holder in holders.values()
    )


def family_of(run: Object, store: RunStore) -> tuple[tuple[str, str], ...]:
    """Return UID and path of each step that waits for a run to end, or for one that does. One that nobody waits for has no family."""
    found: list[tuple[str, str]] = []
    for _ in range(MOST_CALLERS):
        meta: Mapping[str, Any] = run["metadata"]
        parent = (meta.get("labels") or {}).get(LABEL_PARENT)
        notes = meta.get("annotations") or {}
        if not parent or notes.get(ANNOTATION_DETACHED) == "true":
            break
        found.append((parent, notes.get(ANNOTATION_PATH, "")))
        key = store.key_of_uid(parent)
        known = store.get(key) if key is not None else None
        if known is None:
            break
        run = known.run
    return tuple(found)


def _kind(place: _Place) -> Limit:
    return "workflow" if place[1].startswith(workflow_semaphore("")) else "lock"


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
