"""The operator put together: client, informers, queue, reconciler. kopf's handlers feed it and it does the rest."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from backstay.api.dead_letter import LetterPhase
from backstay.executors.job import SeenJob
from backstay.kube.client import Client
from backstay.kube.informer import Informer
from backstay.kube.limiter import Limiter, Priority
from backstay.observe.events import Announcer as Events
from backstay.observe.health import Health
from backstay.observe.metrics import Metrics
from backstay.runtime import clock, liveness
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
from backstay.runtime.ownership import ALONE, Ownership
from backstay.runtime.programs import Programs
from backstay.runtime.queue import Key, KeyedQueue
from backstay.runtime.reconciler import Reconciler, utc_now
from backstay.runtime.runs import RunWatches
from backstay.runtime.semaphores import Semaphores
from backstay.runtime.shards import Shards
from backstay.runtime.store import RunStore
from backstay.runtime.sweeper import Sweeper
from backstay.runtime.terminating import Namespaces
from backstay.runtime.undo_requests import UndoRequests
from backstay.runtime.vanished import Vanished
from backstay.runtime.view import has_begun, has_finalizer, is_finished, place
from backstay.settings import Settings

log = logging.getLogger(__name__)


class Operator:
    """One running operator. `start` after the loop runs, `stop` before it ends; in between it is told of runs and workflows."""

    def __init__(
        self, client: Client, settings: Settings, metrics: Metrics, health: Health | None = None, now: Callable[[], datetime] = utc_now
    ) -> None:
        """`now` is the wall clock: all that is written of time, or waits for a moment, goes by it."""
        self.settings = settings
        self.client = client
        self.metrics = metrics
        self.health = health or Health()
        self.store = RunStore()
        self.shards = self._shared_by(settings, now)
        self.queue = KeyedQueue(priority_of=self._turn_of, taken=metrics.queue_waited, owns=self.shards.owns)
        self.runs = RunWatches(client, settings.namespaces, self.run_seen, self.run_left)
        self.programs = Programs(client)
        self.jobs = JobWatches(client, settings.namespaces, self._wake_uid, self._vanished)
        self.calls = Calls(client, settings, self._wake_uid, owns_uid=self.shards.owns_uid)
        self.children = Children(client, self.store, self.queue)
        self.requests = UndoRequests(client, settings.namespaces, self._undo_requested)
        self.events = Events(client, dropped=metrics.event_dropped, now=now)
        announcer = Announcer(self.events, metrics)
        self.semaphores = Semaphores(client, settings.namespaces, self.store, self.queue.wake, announcer.trouble, metrics, now, self.shards)
        self.circuits = Circuits(
            client, settings.namespaces, self.store, self.queue.wake, announcer.trouble, self.events, metrics, now, self.shards
        )
        ttl = timedelta(seconds=settings.dead_letter_ttl_seconds)
        self.letters = DeadLetters(client, settings.namespaces, self.store, self._wake_uid, self.events, metrics, now, ttl, self.shards)
        self.active = ActiveRuns(settings.max_active_runs, settings.max_active_runs_per_namespace, self.queue.wake, metrics, now)
        self.admission = Admission(client, self.store, self.queue, self.programs, self.semaphores, self.active, now=now)
        self.reconciler = Reconciler(
            client=client,
            store=self.store,
            queue=self.queue,
            runs=self.runs,
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
            vanished=Vanished(self.runs, self.jobs, announcer, self.shards),
            metrics=metrics,
            missing_workflow_seconds=settings.missing_workflow_seconds,
            max_child_depth=settings.max_child_depth,
            shards=self.shards,
            now=now,
        )
        self.sweeper = Sweeper(self.reconciler, settings.namespaces, settings.sweep_seconds)
        self._when_gained: list[Callable[[], None]] = []
        self._tasks: list[asyncio.Task[None]] = []
        liveness.register(self.health, self.informers, self.queue, lambda: bool(self._tasks))

    # -------------------------------------------------------------------------------------------------- what is heard of

    def run_seen(self, run: Mapping[str, Any]) -> None:
        """A run was added, or has changed. What is known already, as our own writes are, is no reason to look again. Does no I/O."""
        if not self.store.is_news(run):
            return
        key = self.store.remember(run)
        if has_begun(run) and not is_finished(run):
            self.active.begun(key)
        if not self.shards.keeps(key):
            self.reconciler.disown(key)
        known = self.store.get(key)
        if known is not None and not self.shards.owns(key):
            known.rest()  # until somebody looks at it, which at the start, and where another does, is not soon
        self.queue.wake(key)

    def run_left(self, key: Key, final: Mapping[str, Any] | None = None) -> None:
        """A run is gone for good; or out of the watch's field selector, because it has finished, or because somebody wrote so by hand.

        Only the API server can tell these apart, so it is asked about a run that was not finished as far as we know. `final` is how it was when
        it left, where the watch has told.
        """
        known = self.store.get(key)
        is_ours = self.shards.keeps(key)
        if known is not None and is_ours and not (is_finished(known.run) and not has_finalizer(known.run)):
            known.has_left, known.final = True, final
            self.queue.wake(key)
            return
        if not is_ours:
            self.reconciler.disown(key)
        self.reconciler.drop(key)
        self.reconciler.vanished.left(key, final)

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
        if self.shards.owns_run(run):
            self.queue.wake(self.store.recall(run))

    # --------------------------------------------------------------------------------------------- what is ours to do

    def _shared_by(self, settings: Settings, now: Callable[[], datetime]) -> Ownership:
        if not settings.shards:
            return ALONE
        return Shards(self.client, settings, self.store, self._gained, self._lost, now, lambda: self.active.is_limited)

    def when_gained(self, look: Callable[[], None]) -> None:
        """Have something called whenever there are things to look at that were not ours before."""
        self._when_gained.append(look)

    def _gained(self) -> None:
        """Runs are ours that were not, or that could not be looked at for a while: look at all of them, and at all that goes with them."""
        for key in self.store:
            self.queue.wake(key)
        for watch in self.requests.informers:
            for request in watch.objects():
                self._undo_requested(request.run)
        for look in (
            self.semaphores.look_at_all,
            self.circuits.look_at_all,
            self.letters.look_at_all,
            self.sweeper.soon,
            *self._when_gained,
        ):
            look()

    def _lost(self) -> None:
        """Runs are another process's now."""
        for key in self.store:
            if not self.shards.keeps(key):
                self.reconciler.disown(key)
        self.semaphores.lost()
        self.circuits.lost()

    # ------------------------------------------------------------------------------------------------------- life

    async def start(self) -> None:
        """Bring up the informers, wait for their first lists, then begin to look at runs."""
        self.client.calls = self.metrics.api_call
        self.metrics.watch_clock(lambda: self.client.clock_skew_seconds)
        self._limit_requests()
        self.metrics.watch_queue(self.queue)
        for name, informer in self.informers():
            self.metrics.watch_informer(name, informer)
            self.spawn(informer.run(), f"informer of {name}")
        for phase in LetterPhase:
            self.metrics.watch_letters(phase, partial(self._count_letters, phase))
        self.metrics.watch_slots("lock", lambda: self.semaphores.counts("lock"))
        self.metrics.watch_slots("workflow", lambda: self.semaphores.counts("workflow"))
        self.metrics.watch_slots("installation", self.active.counts)
        self.metrics.watch_shards(lambda: self.shards.is_first, lambda: self.shards.held())
        self.spawn(self.semaphores.serve(), "semaphores")
        self.spawn(self.circuits.serve(), "circuit breakers")
        self.spawn(self.letters.serve(), "dead letters")
        self.spawn(self.events.run(), "events")
        self.spawn(clock.watch(lambda: self.client.clock_skew_seconds), "clock")
        self.spawn(self._work(), "queue")

    def informers(self) -> list[tuple[str, Informer[Any]]]:
        """Return all informers with the names of what they list."""
        groups: tuple[tuple[str, Iterable[Informer[Any]]], ...] = (
            ("", self.runs.informers()),
            ("", self.jobs.informers()),
            ("workflowruns to undo", self.requests.informers),
            ("", self.semaphores.informers()),
            ("", self.letters.informers()),
            ("", self.circuits.informers()),
            ("", [self.shards.leases.informer] if isinstance(self.shards, Shards) else []),
        )
        return [(name or informer.resource.plural, informer) for name, informers in groups for informer in informers]

    async def _work(self) -> None:
        for _, informer in self.informers():
            if informer not in self.requests.informers:  # what they tell of is rare, and can wait
                await informer.synced.wait()
        log.info("ready: Jobs and Pods are known")
        self.spawn(self.sweeper.run(), "sweeper")
        if isinstance(self.shards, Shards):
            self.spawn(self.shards.run(), "leases")
        else:
            self._gained()
        await self.queue.serve(self.reconciler, self.settings.workers)

    def _limit_requests(self) -> None:
        limiter = Limiter(
            self.settings.api_qps,
            self.settings.api_burst,
            waited=self.metrics.request_waited,
            paused=self.metrics.requests_paused,
        )
        self.client.limiter = limiter
        self.metrics.watch_limiter(limiter)

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
        if isinstance(self.shards, Shards):
            await self.shards.release()

    # ---------------------------------------------------------------------------------------------------- informers

    def _count_letters(self, phase: LetterPhase) -> int:
        """Return how many DeadLetters there are; one process tells, for all see the same."""
        return self.letters.count(phase) if self.shards.is_first else 0

    def _turn_of(self, key: Key) -> Priority:
        known = self.store.get(key)
        return Priority.NEW if known is None else known.turn

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
