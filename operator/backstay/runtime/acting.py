"""Doing what the written state wants: one effect at a time, each of which may be repeated without harm."""

import logging
from typing import Any

from backstay.engine.decide import NAMESPACE_TERMINATING
from backstay.engine.model import (
    AddFinalizer,
    CreateJob,
    DeleteJob,
    Effect,
    Fault,
    Refusal,
    RemoveFinalizer,
    StartCall,
    StopCall,
)
from backstay.errors import Denied, Forbidden, Invalid, Unavailable
from backstay.executors import job, refusals
from backstay.kube import resources
from backstay.kube.client import Client
from backstay.names import FINALIZER
from backstay.runtime.calls import Calls
from backstay.runtime.gates import Gates
from backstay.runtime.jobs import JobWatches
from backstay.runtime.queue import KeyedQueue
from backstay.runtime.store import Known, RunStore
from backstay.runtime.view import key_of, ref_of

log = logging.getLogger(__name__)


class Actor:
    """The only place from which a run's effects reach the world."""

    def __init__(self, client: Client, store: RunStore, queue: KeyedQueue, jobs: JobWatches, calls: Calls) -> None:
        self._client = client
        self._store = store
        self._queue = queue
        self._jobs = jobs
        self._calls = calls
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
            case AddFinalizer():
                await self._finalizers(known, [*_others(known), FINALIZER])
            case RemoveFinalizer():
                await self._finalizers(known, _others(known))

    async def _create_job(self, known: Known, effect: CreateJob) -> None:
        if fault := self.gates.closed(known.run):
            self._hold(known, effect, fault)
            return
        try:
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

    def _made(self, known: Known, effect: CreateJob, seen: job.SeenJob) -> None:
        self._jobs.of(seen.namespace).remember(seen)
        self.gates.through(known.run)
        if known.held.pop(effect.name, None) is not None:
            self._queue.wake(key_of(known.run))

    def _refuse(self, known: Known, effect: CreateJob, refusal: Refusal) -> None:
        log.info("%s: Job %s is refused: %s", key_of(known.run), effect.name, refusal.detail)
        known.refused[effect.name] = refusal
        self._queue.wake(key_of(known.run))

    def _refuse_for_now(self, known: Known, effect: CreateJob, fault: Fault) -> None:
        log.info("%s: Job %s is refused for now: %s", key_of(known.run), effect.name, fault.detail)
        self.gates.refused(known.run, fault)
        self._hold(known, effect, fault)

    def _hold(self, known: Known, effect: CreateJob, fault: Fault) -> None:
        """Note what a Job waits for; look again where that is news."""
        before = known.held.get(effect.name)
        known.held[effect.name] = fault
        if before is None or before.type != fault.type:
            self._queue.wake(key_of(known.run))

    async def _finalizers(self, known: Known, finalizers: list[str]) -> None:
        meta = known.run["metadata"]
        body: dict[str, Any] = {"metadata": {"resourceVersion": meta["resourceVersion"], "finalizers": finalizers}}
        written = await self._client.patch(resources.RUNS, meta["namespace"], meta["name"], body)
        self._store.remember(written)


def _others(known: Known) -> list[str]:
    return [name for name in known.run["metadata"].get("finalizers") or () if name != FINALIZER]
