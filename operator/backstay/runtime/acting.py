"""Doing what the written state wants: one effect at a time, each of which may be repeated without harm."""

import logging
from typing import Any, Final

from backstay.engine.decide import NAMESPACE_TERMINATING
from backstay.engine.model import (
    AcquireLock,
    AddFinalizer,
    AskCircuit,
    CancelRun,
    CreateDeadLetter,
    CreateJob,
    CreateRun,
    DeleteJob,
    Effect,
    Fault,
    LeaveCircuit,
    Refusal,
    ReleaseLock,
    RemoveFinalizer,
    StartCall,
    StopCall,
    UndoRun,
)
from backstay.engine.policies.queueing import Claim
from backstay.errors import Denied, Forbidden, Invalid, Unavailable
from backstay.executors import claims, job, refusals
from backstay.kube import resources
from backstay.kube.client import Client
from backstay.names import FINALIZER
from backstay.runtime.calls import Calls
from backstay.runtime.children import Children
from backstay.runtime.circuits import Circuits
from backstay.runtime.dead_letters import DeadLetters
from backstay.runtime.desk import family_of
from backstay.runtime.gates import Gates
from backstay.runtime.jobs import JobWatches
from backstay.runtime.queue import KeyedQueue
from backstay.runtime.semaphores import Semaphores
from backstay.runtime.store import Known, RunStore
from backstay.runtime.view import key_of, priority_of, ref_of

log = logging.getLogger(__name__)

RUN_AGAIN_SECONDS: Final = 5.0
"""After how long a child run is tried again that was refused for now."""


class Actor:
    """The only place from which a run's effects reach the world."""

    def __init__(
        self,
        client: Client,
        store: RunStore,
        queue: KeyedQueue,
        jobs: JobWatches,
        calls: Calls,
        children: Children,
        semaphores: Semaphores,
        letters: DeadLetters,
        circuits: Circuits,
    ) -> None:
        self._client = client
        self._store = store
        self._queue = queue
        self._jobs = jobs
        self._calls = calls
        self._children = children
        self._semaphores = semaphores
        self._letters = letters
        self._circuits = circuits
        self.gates = Gates(queue)

    async def do(self, known: Known, effect: Effect) -> None:
        """Do one effect. That a Job is refused, for good or for now, becomes an observation; other API errors are raised."""
        match effect:
            case CreateJob():
                await self._create_job(known, effect)
            case DeleteJob():
                await job.stop(self._client, known.run["metadata"]["namespace"], effect)
            case StartCall():
                self._calls.start(ref_of(known.run), effect)
            case StopCall():
                self._calls.stop(known.run["metadata"]["uid"], effect.name)
            case CreateRun():
                await self._create_run(known, effect)
            case CancelRun():
                await self._children.cancel(known.run, effect)
            case UndoRun():
                await self._children.undo(known.run, effect)
            case AcquireLock():
                self._ask_for_lock(known, effect)
            case ReleaseLock():
                self._semaphores.leave(known.run["metadata"]["uid"], effect.path)
            case AskCircuit():
                self._circuits.ask(key_of(known.run), effect.name, effect.path, effect.attempt, effect.since)
            case LeaveCircuit():
                self._circuits.leave(known.run["metadata"]["uid"], effect.path, has_begun=effect.has_begun)
            case CreateDeadLetter():
                await self._letters.write(known.run, effect)
            case AddFinalizer():
                await self._finalizers(known, [*_others(known), FINALIZER])
            case RemoveFinalizer():
                await self._finalizers(known, _others(known))

    def _ask_for_lock(self, known: Known, effect: AcquireLock) -> None:
        meta = known.run["metadata"]
        claim = Claim(meta["name"], meta["uid"], effect.path, effect.key, effect.since, priority_of(known.run))
        family = family_of(known.run, self._store)
        self._semaphores.ask(key_of(known.run), effect.name, claim, has_begun=effect.has_begun, family=family)

    async def _create_job(self, known: Known, effect: CreateJob) -> None:
        if fault := self.gates.closed(known.run):
            self._hold(known, effect, fault)
            return
        try:
            await claims.ensure(self._client, ref_of(known.run), effect.inputs.get("claims") or [], known.claims)
            seen = await job.start(self._client, ref_of(known.run), effect)
        except Denied as error:
            self._refuse(known, effect, Refusal("AdmissionDenied", refusals.reason(error.message)))
        except Invalid as error:
            self._refuse(known, effect, Refusal("InvalidJob", error.message))
        except Forbidden as error:
            if error.is_terminating_namespace:
                self._refuse(known, effect, Refusal(NAMESPACE_TERMINATING, error.message))
            else:
                self._refuse_for_now(known, effect, refusals.of_job(error.message))
        except Unavailable as error:
            if not error.is_failed_webhook:
                raise
            self._refuse_for_now(known, effect, refusals.of_job(error.message))
        else:
            self._made(known, effect, seen)

    async def _create_run(self, known: Known, effect: CreateRun) -> None:
        try:
            await self._children.create(known.run, effect)
        except Denied as error:
            self._refuse(known, effect, Refusal("AdmissionDenied", refusals.reason(error.message)))
        except Invalid as error:
            self._refuse(known, effect, Refusal("InvalidRun", error.message))
        except Forbidden as error:
            if error.is_terminating_namespace:
                self._refuse(known, effect, Refusal(NAMESPACE_TERMINATING, error.message))
            else:
                self._refuse_run_for_now(known, effect, error.message)
        except Unavailable as error:
            if not error.is_failed_webhook:
                raise
            self._refuse_run_for_now(known, effect, error.message)
        else:
            known.held.pop(effect.name, None)
            if effect.inputs.get("detached"):
                self._queue.wake(key_of(known.run))

    def _refuse_run_for_now(self, known: Known, effect: CreateRun, words: str) -> None:
        """A quota, a lack of rights, or a webhook that is down: it is tried again, in a while."""
        log.info("%s: run %s is refused for now: %s", key_of(known.run), effect.name, words)
        self._hold(known, effect, refusals.of_job(words))
        self._queue.wake_in(key_of(known.run), RUN_AGAIN_SECONDS)

    def _made(self, known: Known, effect: CreateJob, seen: job.SeenJob) -> None:
        self._jobs.of(seen.namespace).remember(seen)
        self.gates.through(known.run)
        if known.held.pop(effect.name, None) is not None:
            self._queue.wake(key_of(known.run))

    def _refuse(self, known: Known, effect: CreateJob | CreateRun, refusal: Refusal) -> None:
        log.info("%s: %s is refused: %s", key_of(known.run), effect.name, refusal.detail)
        known.refused[effect.name] = refusal
        self._queue.wake(key_of(known.run))

    def _refuse_for_now(self, known: Known, effect: CreateJob, fault: Fault) -> None:
        log.info("%s: Job %s is refused for now: %s", key_of(known.run), effect.name, fault.detail)
        self.gates.refused(known.run, fault)
        self._hold(known, effect, fault)

    def _hold(self, known: Known, effect: CreateJob | CreateRun, fault: Fault) -> None:
        """Note what a Job waits for; look again where that is news."""
        before = known.held.get(effect.name)
        known.held[effect.name] = fault
        if before is None or before.type != fault.type:
            self._queue.wake(key_of(known.run))

    async def _finalizers(self, known: Known, finalizers: list[str]) -> None:
        meta = known.run["metadata"]
        body: dict[str, Any] = {"metadata": {"resourceVersion": meta["resourceVersion"], "finalizers": finalizers}}
        written = await self._client.patch(resources.RUNS, meta["namespace"], meta["name"], body)
        self._queue.wake(self._store.remember(written))


def _others(known: Known) -> list[str]:
    return [name for name in known.run["metadata"].get("finalizers") or () if name != FINALIZER]
