"""One look at one run: observe → decide → persist → act → announce. Nothing else writes a run's status.

What was decided is written before the world is touched, in one PATCH that fails when anybody else has written meanwhile; what is
done follows from the written state. So a crash anywhere in between is made good by the next look (DESIGN, promises 1 to 3).
"""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from backstay.engine import bounds, codec
from backstay.engine.decide import decide, is_terminating, refuse
from backstay.engine.effects import effects_of, given_up_unseen, may_be_undone_yet
from backstay.engine.model import ENDED, CreateJob, Decision, Effect, Fault, JobState, Observations, State
from backstay.engine.policies import circuit
from backstay.engine.program import NOTHING, Program
from backstay.engine.status import render
from backstay.errors import ApiError, ArchiveIncomplete, Conflict, Invalid, NotFound, TamperedState, TooManyRequests, Unavailable
from backstay.kube import resources
from backstay.kube.backoff import jittered
from backstay.kube.client import Client
from backstay.kube.limiter import at
from backstay.observe.metrics import Metrics
from backstay.runtime import pending
from backstay.runtime.acting import Actor
from backstay.runtime.admission import Admission, Queued
from backstay.runtime.announcing import Announcer
from backstay.runtime.archive import Archive, Overtaken
from backstay.runtime.calls import Calls
from backstay.runtime.children import Children
from backstay.runtime.circuits import Circuits
from backstay.runtime.dead_letters import DeadLetters
from backstay.runtime.jobs import JobWatches
from backstay.runtime.ownership import ALONE, Ownership
from backstay.runtime.patch import Patch, status_patch
from backstay.runtime.programs import NOT_READY, Programs, Resolution
from backstay.runtime.queue import Key, KeyedQueue
from backstay.runtime.runs import RunWatches
from backstay.runtime.store import Known, Reading, RunStore
from backstay.runtime.terminating import ASK_SECONDS, Namespaces
from backstay.runtime.vanished import Vanished
from backstay.runtime.view import Object, has_finalizer, identity_of, is_finished, key_of, ref_of, turn_of, wish_of
from backstay.settings import MAX_CHILD_DEPTH

log = logging.getLogger(__name__)

OUTAGE_BACKOFF_SECONDS: Final = 10.0
"""How long a run waits at most for its next try while the API server does not answer: how late it goes on once the server is back."""
TELL_OUTAGE_SECONDS: Final = 10.0
FRESH_SECONDS: Final = 1.0
"""For how long, from when it was asked for, a write of ours proves that nobody else is ahead."""


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Reconciler:
    """Everything that a look needs. `now` is handed in so that tests can turn the clock."""

    client: Client
    store: RunStore
    queue: KeyedQueue
    runs: RunWatches
    programs: Programs
    jobs: JobWatches
    calls: Calls
    children: Children
    archive: Archive
    admission: Admission
    letters: DeadLetters
    circuits: Circuits
    namespaces: Namespaces
    actor: Actor
    announcer: Announcer
    vanished: Vanished
    metrics: Metrics
    missing_workflow_seconds: float = 60.0
    max_child_depth: int = MAX_CHILD_DEPTH
    shards: Ownership = ALONE
    outage_told_at: float = float("-inf")
    """When, by the loop's clock, it was last told that the API server does not serve us."""
    now: Callable[[], datetime] = utc_now

    async def __call__(self, key: Key) -> None:
        """Look at a run once. API errors are answered here; anything else that is raised is a bug."""
        known = self.store.get(key)
        if known is None or not self.shards.owns(key):
            return
        known.taken = True
        if known.has_left:
            known.has_left = False
            await self._refresh(key)
            return
        with at(turn_of(known.run)):
            try:
                await self._look(key, known)
                self.queue.succeeded(key)
                known.rest()
            except Exception as error:
                self.metrics.pass_failed(error)
                if not await self._made_good(key, known, error):
                    self.announcer.bug(known.run, error)
                    raise

    async def _made_good(self, key: Key, known: Known, error: Exception) -> bool:
        """See to it that a run whose look failed is looked at again in due time; tell whether what failed it is no bug."""
        match error:
            case Conflict() | NotFound():
                await self._refresh(key)
            case TooManyRequests():
                self._sit_out(key, error)
            case Unavailable():
                self._sit_out(key, error)
                await self._refresh(key, quiet=True)
            case ApiError():
                delay = self.queue.retry(key, 1.0)
                log.warning("%s: %s; will look again in %.1f s", key, error, delay)
                self.announcer.trouble(known.run, error)
            case ArchiveIncomplete():
                self.announcer.incomplete(known.run, str(error))
                self.queue.wake_in(key, 60)
            case TamperedState():
                self.announcer.tampered(known.run, str(error))
                self.queue.wake_in(key, 60)
            case _:
                return False
        return True

    def _sit_out(self, key: Key, error: ApiError) -> None:
        """The API server does not serve us: try again later. Told once in a while, for thousands of runs may suffer from the same outage."""
        delay = self.queue.retry(key, jittered(error.retry_after_seconds or 0), OUTAGE_BACKOFF_SECONDS, hold=True)
        now = self.loop_time()
        level = logging.DEBUG
        if now - self.outage_told_at >= TELL_OUTAGE_SECONDS:
            self.outage_told_at, level = now, logging.WARNING
        log.log(level, "%s, and perhaps others: %s; will look again in %.1f s", key, error, delay)

    async def _look(self, key: Key, known: Known) -> None:
        resolution = await self.programs.resolve(known.run)
        known.program = resolution.program
        reading = await self.archive.read(known)
        with self.metrics.timed("observe"):
            observations = await self._observe(known, reading, resolution.program or NOTHING)
        waits = await self.admission.look(known, resolution, reading.state)
        if isinstance(waits, Queued):
            await self._show_queued(key, known, waits)
            return
        resolution = Resolution(fault=waits) if waits is not None else resolution
        with self.metrics.timed("decide"):
            decision = self._decide(known, resolution, reading, observations)
        if decision is not None and await self._has_overlooked(known, given_up_unseen(reading.state, decision.state, observations)):
            observations = await self._observe(known, reading, resolution.program or NOTHING)
            decision = self._decide(known, resolution, reading, observations)
        program = resolution.program or NOTHING
        if decision is None:
            await self._show_pending(key, known, resolution)
            return
        basis, asked_at = reading.run, -math.inf
        if decision.entries:
            asked_at = self.loop_time()
            basis = await self._persist(key, program, decision, reading)
            self.jobs.of(key.namespace).settle(key.namespace, key.uid, _settled(decision.state, observations))
            self._note_end(key, known, decision)
            self.letters.told(key, decision)
            self.circuits.report(ref_of(known.run), circuit.reports(program, reading.state, decision.entries))
        effects = effects_of(program, decision.state, observations)
        proven_at = await self._proven(basis, asked_at) if effects else asked_at
        if proven_at is None:
            return
        try:
            await self._act(known, effects, basis, proven_at)
        finally:
            self.announcer.tell(known.run, decision, reading, namespace_goes=is_terminating(observations))
        self.children.seen(known.run)
        if decision.state.run.is_finished:
            await self.children.release(known.run, decision.state)
        self._plan(key, known, decision, observations)

    # -------------------------------------------------------------------------------------------------------- observe

    async def _observe(self, known: Known, reading: Reading, program: Program) -> Observations:
        meta, wish = known.run["metadata"], wish_of(known.run)
        if wish.delete and has_finalizer(known.run) and not reading.state.run.is_finished:
            await self.namespaces.find_out(known)
        return Observations(
            wish=wish,
            jobs=await self.jobs.of(meta["namespace"]).facts(meta["namespace"], meta["uid"]),
            refused=dict(known.refused),
            vanished=frozenset(known.vanished),
            has_finalizer=has_finalizer(known.run),
            terminating=known.terminating,
            held=dict(known.held),
            calls=self.calls.of(meta["uid"]),
            children=await self.children.of(known.run, reading.state),
            is_kept=await self.children.is_kept(known.run),
            locks=self.admission.semaphores.facts(meta["uid"]),
            circuits=self.circuits.facts(meta["namespace"], program.circuits),
            permits=self.circuits.permits(meta["uid"]),
            letters=self.letters.facts(key_of(known.run)),
        )

    async def _has_overlooked(self, known: Known, names: Sequence[str]) -> bool:
        """Ask the API server for Jobs that nobody has seen, and that are about to be given up; tell whether any of them was made.

        Another process may have made them, a moment ago or while this one stood still, or our own request may have gone through without an answer.
        Taken for one that was never made, a Job would go on for ever, and what it did would never be undone.
        """
        namespace, uid = known.metadata["namespace"], known.metadata["uid"]
        watch = self.jobs.of(namespace)
        found = {name for name in names if await watch.find(namespace, uid, name)}
        if found:
            known.vanished |= found - (await watch.facts(namespace, uid)).keys()
        return bool(found)

    # --------------------------------------------------------------------------------------------------------- decide

    def _decide(self, known: Known, resolution: Resolution, reading: Reading, observations: Observations) -> Decision | None:
        """Return what is true from now on; None while a run that has not begun waits for its workflow."""
        identity = identity_of(known.run, self.max_child_depth)
        fault = resolution.fault or self._given_up(known, resolution)
        begun = reading.state.run.phase is not None
        if resolution.program is not None:
            return decide(resolution.program, identity, reading.state, observations, self.now(), resolution.revision, reading.tampered)
        if reading.state.run.is_finished:
            return Decision(reading.state)
        if begun and (observations.wish.release or observations.terminating):
            return decide(NOTHING, identity, reading.state, observations, self.now())
        if begun or fault is None:
            return None
        return refuse(identity, reading.state, fault, self.now(), observations)

    async def _show_pending(self, key: Key, known: Known, resolution: Resolution) -> None:
        """Say in the status what a run waits for, once; look again when that may have changed."""
        self.queue.wake_in(key, min(5.0, self.missing_workflow_seconds))
        fault = resolution.missing
        if fault is None:
            return
        if (known.run.get("status") or {}).get("startedAt"):
            self.announcer.lost(known.run, fault)
            return
        waited = self.loop_time() - known.since
        if waited < pending.PATIENCE_SECONDS:
            self.queue.wake_in(key, pending.PATIENCE_SECONDS - waited + 0.01)
        elif not pending.says_already(known.run, fault):
            patch = status_patch(known.run, pending.waiting_status(known.run, fault, self.now()))
            await self._written(key, patch)

    async def _written(self, key: Key, patch: Patch) -> None:
        """Write the status of a run that has not begun; look at it again with what it says now, for that starts its clocks."""
        written = await self.client.patch(resources.RUNS, key.namespace, key.name, patch, subresource="status", kind="json")
        self.queue.wake(self.store.remember(written))

    async def _show_queued(self, key: Key, known: Known, waits: Queued) -> None:
        """Say in the status which turn a run has, seldom; whoever lets it begin wakes it."""
        if not waits.words or not pending.is_place_news(known.run, waits.place):
            return
        is_first = not pending.is_queued(known.run)
        patch = status_patch(known.run, pending.queued_status(known.run, waits.words, self.now()))
        await self._written(key, patch)
        if is_first:
            self.announcer.queued(known.run, waits.words)

    @staticmethod
    def loop_time() -> float:
        """The loop's clock in seconds: for waiting, never for what is written."""
        return asyncio.get_running_loop().time()

    def _given_up(self, known: Known, resolution: Resolution) -> Fault | None:
        """Say why a run cannot begin, once it has waited long enough for its workflow. One that is there and has not been looked at yet keeps
        its runs waiting however long that takes: it is the operator that is behind."""
        if resolution.missing is None:
            known.since = 0.0
            return None
        now = self.loop_time()
        known.since = known.since or now
        is_late = now - known.since >= self.missing_workflow_seconds
        return resolution.missing if is_late and resolution.missing.type != NOT_READY else None

    # -------------------------------------------------------------------------------------------------------- persist

    async def _persist(self, key: Key, program: Program, decision: Decision, reading: Reading) -> Object:
        """Write what was decided, and return the run as it is then."""
        generation = reading.run["metadata"].get("generation", 0)
        moved = await self._move(decision, reading)
        status = render(program, decision.state, decision.entries, reading.status, generation, self.now(), moved)
        patch = status_patch(reading.run, status)
        with self.metrics.timed("persist"):
            try:
                written = await self.client.patch(resources.RUNS, key.namespace, key.name, patch, subresource="status", kind="json")
            except Invalid as error:
                raise await self._conflict_or(error, reading.run) from error
        self.store.wrote(key, written, decision.state)
        self.runs.wrote(written)
        self.children.seen(written)
        return written

    async def _move(self, decision: Decision, reading: Reading) -> bounds.Moved:
        """Where the journal grows too long for the status, write its oldest entries elsewhere; only then does the status leave them out."""
        written = (reading.status.get("journal") or {}).get("entries") or ()
        count = bounds.surplus(written, [codec.entry_to_json(entry) for entry in decision.entries])
        if not count:
            return bounds.NOTHING_MOVED
        with self.metrics.timed("persist"):
            try:
                return await self.archive.move(ref_of(reading.run), written, count)
            except Overtaken as error:
                if await self._is_newest(reading.run):
                    raise ArchiveIncomplete(error.message) from error
                raise

    async def _conflict_or(self, error: Invalid, run: Object) -> ApiError:
        """Tell why a patch was refused: the API server applies it before it compares versions, so one that was made for an older
        version may not even fit (422) where it should conflict (409)."""
        meta = run["metadata"]
        newest = await self.client.get(resources.RUNS, meta["namespace"], meta["name"])
        if newest["metadata"]["resourceVersion"] == meta["resourceVersion"]:
            return error
        return Conflict(409, "Conflict", f"the run was changed meanwhile: {error.message}")

    # ------------------------------------------------------------------------------------------------------------ act

    async def _proven(self, basis: Object, since: float) -> float | None:
        """Return the moment at which the object that was decided on was the newest for certain, `since` or now; None where it no longer is."""
        now = self.loop_time()
        if now - since < FRESH_SECONDS:
            return since
        return now if await self._is_newest(basis) else None

    async def _is_newest(self, run: Object) -> bool:
        """Tell whether the object that was decided on is the newest. Where it is not, take in the newest and look again.

        A write that has just gone through proves it. Without one, the view may be stale: a late event, or another operator that is ahead; and
        what a stale view wants in the world has been overtaken (DESIGN, promise 2). So has what was written by an operator that got its answer
        late, or was stopped (SIGSTOP) before it acted.
        """
        meta = run["metadata"]
        newest = await self.client.get(resources.RUNS, meta["namespace"], meta["name"])
        if newest["metadata"]["uid"] != meta["uid"]:
            raise NotFound(404, "NotFound", f"run {meta['name']} is another one now")
        if newest["metadata"]["resourceVersion"] == meta["resourceVersion"]:
            return True
        self.queue.wake(self.store.remember(newest))
        return False

    async def _act(self, known: Known, effects: Sequence[Effect], basis: Object, proven_at: float) -> None:
        """Do one effect after the other. One may take long, so that what follows may be overtaken by then: it is asked again."""
        if effects:
            with self.metrics.timed("act"):
                for effect in effects:
                    if not self.shards.owns(key_of(known.run)):
                        log.debug("%s: left to the process that holds its Lease now", key_of(known.run))
                        return
                    if (moment := await self._proven(basis, proven_at)) is None:
                        return
                    proven_at = moment
                    await self.actor.do(known, effect)
                    if isinstance(effect, CreateJob) and known.ended_at is not None and effect.name not in known.held:
                        self.metrics.step_to_step(self.loop_time() - known.ended_at)
        known.ended_at = None

    def _note_end(self, key: Key, known: Known, decision: Decision) -> None:
        """Note when there was news of a step that has ended, for how soon the next one begins; until that is done, however often it is tried."""
        if known.ended_at is None and any(entry.path and entry.changes.get("phase") in ENDED for entry in decision.entries):
            known.ended_at = self.queue.ready_since(key)

    # ----------------------------------------------------------------------------------------------------------- plan

    def _plan(self, key: Key, known: Known, decision: Decision, observations: Observations) -> None:
        if is_finished(known.run) and (not has_finalizer(known.run) or may_be_undone_yet(decision.state, observations)):
            self.drop(key)
            return
        if decision.entries and self.children.lacks(known.run, decision.state):
            self.queue.wake(key)
        if decision.wake_at is not None:
            self.queue.wake_in(key, (decision.wake_at - self.now()).total_seconds())
        if known.run["metadata"].get("deletionTimestamp"):
            self.queue.wake_in(key, ASK_SECONDS)

    async def _refresh(self, key: Key, *, quiet: bool = False) -> None:
        """Read a run anew, because what is known of it is not the newest; then look at it again."""
        try:
            run = await self.client.get(resources.RUNS, key.namespace, key.name)
        except NotFound:
            self.gone(key)
            return
        except ApiError as error:
            if not quiet:
                self._sit_out(key, error)
            return
        if run["metadata"]["uid"] != key.uid:
            self.gone(key)
            return
        self.store.remember(run)
        if (known := self.store.get(key)) is not None:
            known.final = None
        if not quiet:
            self.queue.wake(key)

    def gone(self, key: Key) -> None:
        """A run is there no longer: tell whom it concerns, and forget all about it."""
        known = self.store.get(key)
        if known is not None:
            self.children.gone(known.run)
            self.vanished.gone(key, known)
        self.drop(key)

    def disown(self, key: Key) -> None:
        """Another process looks at a run from now on: forget what was begun here for it, and leave all that is written as it is."""
        known = self.store.get(key)
        if known is None or not known.taken:
            return
        known.disown()
        self.queue.forget(key)
        self.announcer.forget(key)
        self.admission.disown(key)
        self.circuits.disown(key.uid)
        self.actor.gates.forget(key)
        self.calls.forget(key.uid)
        self.children.forget(key.uid)

    def drop(self, key: Key) -> None:
        """A run is finished or gone: forget all about it."""
        self.queue.forget(key)
        self.store.forget(key)
        self.announcer.forget(key)
        self.admission.forget(key)
        self.circuits.forget(key.uid)
        self.actor.gates.forget(key)
        self.calls.forget(key.uid)
        self.children.forget(key.uid)
        self.jobs.of(key.namespace).forget(key.uid)
        self.letters.left(key)


def _settled(written: State, observations: Observations) -> list[str]:
    """Return the Jobs of which nothing is expected any more once a state is written that was decided on what was seen of them.

    Only what was seen before the write: a later Job may be one that a still newer state wants. A Job that its run does not own has to be deleted
    by us in the end, so it stays known.
    """
    wanted = {record.job for record in written.steps.values() if not record.has_ended}
    return [
        fact.name for fact in observations.jobs.values() if fact.state is not JobState.ACTIVE and fact.owned and fact.name not in wanted
    ]
