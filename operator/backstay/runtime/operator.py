"""The operator put together: client, informers, queue, reconciler. kopf's handlers feed it and it does the rest."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from backstay.api.dead_letter import LetterPhase
from backstay.executors.job import SeenJob
from backstay.kube.client import Client
from backstay.observe.events import Announcer as Events
from backstay.observe.metrics import Metrics
from backstay.runtime import clock
from backstay.runtime.acting import Actor
from backstay.runtime.active_runs import ActiveRuns
from backstay.runtime.admission import Admission
from backstay.runtime.announcing import Announcer
from backstay.runtime.archive import Archive
from backstay.runtime.calls import Calls
from backstay.runtime.children import Children
from backstay.runtime.circuits import Circuits
from backstay.runtime.dead_letters import DeadLetters
from backstay.runtime.jobs import JobWatches
from backstay.runtime.programs import Programs
from backstay.runtime.queue import KeyedQueue
from backstay.runtime.reconciler import Reconciler, utc_now
from backstay.runtime.semaphores import Semaphores
from backstay.runtime.store import RunStore
from backstay.runtime.sweeper import Sweeper
from backstay.runtime.terminating import Namespaces
from backstay.runtime.undo_requests import UndoRequests
from backstay.runtime.view import has_finalizer, is_finished, key_of, place
from backstay.settings import Settings

log = logging.getLogger(__name__)


class Operator:
    """One running operator. `start` after the loop runs, `stop` before it ends; in between it is told of runs and workflows."""

    def __init__(self, client: Client, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.client = client
        self.metrics = metrics
        self.store = RunStore()
        self.queue = KeyedQueue()
        self.programs = Programs(client)
        self.jobs = JobWatches(client, settings.namespaces, self._wake_uid, self._vanished)
        self.calls = Calls(client, settings, self._wake_uid)
        self.children = Children(client, self.store, self.queue)
        self.requests = UndoRequests(client, settings.namespaces, self._undo_requested)
        self.events = Events(client, dropped=metrics.event_dropped)
        announcer = Announcer(self.events, metrics)
        self.semaphores = Semaphores(client, settings.namespaces, self.store, self.queue.wake, announcer.trouble, metrics, utc_now)
        self.circuits = Circuits(client, settings.namespaces, self.store, self.queue.wake, announcer.trouble, self.events, metrics, utc_now)
        ttl = timedelta(seconds=settings.dead_letter_ttl_seconds)
        self.letters = DeadLetters(client, settings.namespaces, self.store, self._wake_uid, self.events, metrics, utc_now, ttl)
        self.active = ActiveRuns(settings.max_active_runs, settings.max_active_runs_per_namespace, self.queue.wake, metrics, utc_now)
        self.admission = Admission(client, self.store, self.queue, self.programs, self.semaphores, self.active)
        self.reconciler = Reconciler(
            client=client,
            store=self.store,
            queue=self.queue,
            programs=self.programs,
            jobs=self.jobs,
            calls=self.calls,
            children=self.children,
            archive=Archive(client),
            namespaces=Namespaces(client),
            admission=self.admission,
            letters=self.letters,
            circuits=self.circuits,
            actor=Actor(client, self.store, self.queue, self.jobs, self.calls, self.children, self.semaphores, self.letters, self.circuits),
            announcer=announcer,
            metrics=metrics,
            missing_workflow_seconds=settings.missing_workflow_seconds,
            max_child_depth=settings.max_child_depth,
        )
        self.sweeper = Sweeper(self.reconciler, settings.namespaces, settings.sweep_seconds)
        self._tasks: list[asyncio.Task[None]] = []

    # ---------------------------------------------------------------------------------------------- what kopf tells us

    def run_seen(self, event: str | None, run: Mapping[str, Any]) -> None:
        """A run was added, has changed, or is gone. Does no I/O."""
        if event == "DELETED":
            self._run_left(run)
            return
        self.queue.wake(self.store.remember(run))

    def _run_left(self, run: Mapping[str, Any]) -> None:
        """Gone for good; or out of the watch's field selector, because it has finished, or because somebody wrote so by hand.

        Only the API server can tell these apart, so it is asked about a run that was not finished as far as we know.
        """
        key = key_of(run)
        known = self.store.get(key)
        if known is not None and not (is_finished(known.run) and not has_finalizer(known.run)):
            known.has_left = True
            self.queue.wake(key)
        else:
            self.reconciler.drop(key)

    def workflow_seen(self, event: str | None, workflow: Mapping[str, Any]) -> None:
        """A Workflow was added, has changed, or is gone: runs that wait for it may go on."""
        where = place(workflow)
        if event == "DELETED":
            self.programs.workflows.pop(where, None)
            return
        before = self.programs.workflows.get(where)
        self.programs.workflows[where] = workflow
        self.admission.workflow_changed(workflow, before)
        for key in self.store:
            known = self.store.get(key)
            if known is not None and known.since and key.namespace == where[0]:
                self.queue.wake(key)

    def _undo_requested(self, run: Mapping[str, Any]) -> None:
        """Somebody asks for a run that has succeeded to be undone; it had left the watch."""
        self.queue.wake(self.store.recall(run))

    # ------------------------------------------------------------------------------------------------------- life

    async def start(self) -> None:
        """Bring up the informers, wait for their first lists, then begin to look at runs."""
        self.client.calls = self.metrics.api_call
        self.metrics.watch_clock(lambda: self.client.clock_skew_seconds)
        self.metrics.watch_queue(self.queue.__len__, self.queue.oldest_seconds, self.queue.timers)
        for informer in self.jobs.informers():
            self.metrics.watch_informer(informer.resource.plural, informer)
            self.spawn(informer.run(), f"informer {informer.resource.plural}")
        for watch in self.requests.informers:
            self.metrics.watch_informer("workflowruns to undo", watch)
            self.spawn(watch.run(), "informer of runs to undo")
        for slots in self.semaphores.informers():
            self.metrics.watch_informer(slots.resource.plural, slots)
            self.spawn(slots.run(), f"informer {slots.resource.plural}")
        for letters in self.letters.informers():
            self.metrics.watch_informer(letters.resource.plural, letters)
            self.spawn(letters.run(), f"informer {letters.resource.plural}")
        for phase in LetterPhase:
            self.metrics.watch_letters(phase, partial(self.letters.count, phase))
        for breakers in self.circuits.informers():
            self.metrics.watch_informer(breakers.resource.plural, breakers)
            self.spawn(breakers.run(), f"informer {breakers.resource.plural}")
        self.metrics.watch_slots("lock", lambda: self.semaphores.counts("lock"))
        self.metrics.watch_slots("workflow", lambda: self.semaphores.counts("workflow"))
        self.metrics.watch_slots("installation", self.active.counts)
        self.spawn(self.semaphores.serve(), "semaphores")
        self.spawn(self.circuits.serve(), "circuit breakers")
        self.spawn(self.letters.serve(), "dead letters")
        self.spawn(self.events.run(), "events")
        self.spawn(clock.watch(lambda: self.client.clock_skew_seconds), "clock")
        self.spawn(self._work(), "queue")

    async def _work(self) -> None:
        for informer in (*self.jobs.informers(), *self.semaphores.informers(), *self.letters.informers(), *self.circuits.informers()):
            await informer.synced.wait()
        log.info("ready: Jobs and Pods are known")
        self.spawn(self.sweeper.run(), "sweeper")
        await self.queue.serve(self.reconciler, self.settings.workers)

    def spawn(self, work: Any, name: str) -> None:
        """Run a coroutine until `stop`; should it end by itself, the process ends."""
        task = asyncio.get_running_loop().create_task(work, name=f"backstay {name}")
        task.add_done_callback(_report)
        self._tasks.append(task)

    async def stop(self) -> None:
        """End all tasks and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self.active.close()
        await self.calls.close()

    # ---------------------------------------------------------------------------------------------------- informers

    def _wake_uid(self, run_uid: str) -> bool:
        key = self.store.key_of_uid(run_uid)
        if key is not None:
            self.queue.wake(key)
        return key is not None

    def _vanished(self, run_uid: str, job: SeenJob) -> None:
        self.reconciler.actor.gates.freed(job.namespace)
        key = self.store.key_of_uid(run_uid)
        known = self.store.get(key) if key else None
        if known is not None:
            known.vanished.add(job.name)


def _report(task: "asyncio.Task[None]") -> None:
    """A task that ends by itself is a bug: say so, and end the process, so that Kubernetes starts a fresh one."""
    if task.cancelled():
        return
    log.critical("%s ended: %r", task.get_name(), task.exception())
    asyncio.get_running_loop().call_soon(_abort)


def _abort() -> None:
    raise SystemExit(1)
