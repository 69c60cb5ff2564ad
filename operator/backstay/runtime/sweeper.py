"""The slow round: finished runs whose time is over leave, a finalizer that a crash left behind is taken off, and runs that went
while nobody watched are forgotten. Off the path of running work: one page at a time, nothing held. Of several processes each goes round for its own
shards; one that stands by does not."""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from backstay.api.run import TimeToLive
from backstay.engine.codec import time_from_json
from backstay.errors import ApiError, Conflict, NotFound
from backstay.executors.job import SeenJob
from backstay.kube import resources
from backstay.kube.backoff import Backoff
from backstay.kube.limiter import Priority, at
from backstay.names import LABEL_MANAGED_BY, MANAGER, RUN
from backstay.runtime.queue import Key
from backstay.runtime.reconciler import Reconciler
from backstay.runtime.revisions import expendable
from backstay.runtime.view import Object, has_finalizer, is_finished, key_of, place, revision_of, seconds_of

log = logging.getLogger(__name__)
_KEEP = TimeToLive()
LATEST_SECONDS: Final = 20.0
"""How long a round waits at most until nothing else is to be done: less than what recovery may take from any point (DESIGN, promise 3)."""
_ASK_SECONDS: Final = 0.25


@dataclass(slots=True)
class Sweeper:
    """Goes round soon after the start, when the runs that go on have been looked at, and then every so many seconds."""

    reconciler: Reconciler
    namespaces: tuple[str, ...]
    every_seconds: float
    _due: asyncio.Event = field(default_factory=asyncio.Event)

    def soon(self) -> None:
        """Go round as soon as may be: there are runs to look after that were another's, or nobody's."""
        self._due.set()

    async def run(self) -> None:
        """Go round until cancelled, from the first time that it is due; an API error ends a round, and the next one comes sooner."""
        await self._due.wait()
        with at(Priority.BACKGROUND):
            await self._go_round()

    async def _go_round(self) -> None:
        backoff = Backoff()
        while True:
            await self._let_others_go_first()
            self._due.clear()
            pause = self.every_seconds
            try:
                for namespace in self.namespaces or (None,):
                    await self.round(namespace)
                self.reconciler.admission.active.counted(set(self.reconciler.store))
                backoff.reset()
            except ApiError as error:
                pause = min(self.every_seconds, max(backoff.next(), error.retry_after_seconds or 0))
                log.warning("sweeping finished runs: %s; the next round is in %.0f s", error, pause)
            await self._rest(pause)

    async def _let_others_go_first(self) -> None:
        """At the start, and where shards are gained, all runs that go on are looked at: what they need is not listed beside that. Not for long: what
        a crash has left of runs that have ended waits for this round. Under limits new runs wait for it, so it comes at once (active_runs.py)."""
        queue, until = self.reconciler.queue, asyncio.get_running_loop().time() + LATEST_SECONDS
        while (len(queue) or queue.busy()) and asyncio.get_running_loop().time() < until:
            if self.reconciler.admission.active.is_limited:
                return
            await asyncio.sleep(_ASK_SECONDS)

    async def _rest(self, seconds: float) -> None:
        """Wait until the next round is due, and there is something to look after."""
        try:
            async with asyncio.timeout(seconds):
                await self._due.wait()
        except TimeoutError:
            if not self.reconciler.shards.is_at_work:
                await self._due.wait()

    async def round(self, namespace: str | None) -> None:
        """Look at every run once, finished or not; then at what none of them needs."""
        before = [key for key in self.reconciler.store if namespace in (None, key.namespace)]
        unowned = self.reconciler.jobs.of(namespace or "").unowned()
        seen = set()
        pinned = set(self.reconciler.letters.pinned())
        pages = self.reconciler.client.pages(resources.RUNS, namespace)
        async with aclosing(pages):
            async for page in pages:
                for run in page.items:
                    seen.add(key_of(run))
                    pinned.add((run["metadata"]["namespace"], revision_of(run)))
                    await self._look(run)
        for key in before:
            if key not in seen:
                self.reconciler.gone(key)
        await self._sweep_jobs(unowned, {key.uid for key in seen})
        await self._sweep_revisions(namespace, pinned)

    async def _sweep_jobs(self, unowned: Iterable[SeenJob], runs: Collection[str]) -> None:
        """Take away Jobs whose run is gone and that no garbage collector takes: it was being deleted when they were made, and was forced away; or
        they were made by an operator that was stopped just before, for so long that the run has ended. They were there before the runs were listed."""
        for job in unowned:
            if job.run_uid not in runs and self.reconciler.shards.owns_uid(job.run_uid):
                await self._delete(resources.JOBS, {"namespace": job.namespace, "name": job.name, "uid": job.uid})
                log.info("%s/%s: the run that this Job was made for is gone", job.namespace, job.name)

    async def _sweep_revisions(self, namespace: str | None, pinned: set[tuple[str, str]]) -> None:
        client, workflows = self.reconciler.client, self.reconciler.programs.workflows
        before = list(workflows)
        there = {place(item) for item in (await client.list(resources.WORKFLOWS, namespace)).items}
        for known in before:
            if namespace in (None, known[0]) and known not in there:
                workflows.pop(known, None)
        if not self.reconciler.shards.is_first:
            return
        page = await client.list(resources.CONTROLLER_REVISIONS, namespace, label_selector=f"{LABEL_MANAGED_BY}={MANAGER}")
        for revision in expendable(page.items, pinned, there, self.reconciler.now()):
            meta = revision["metadata"]
            await self._delete(resources.CONTROLLER_REVISIONS, meta)
            log.info("%s/%s: no run and no workflow needs this revision any more", meta["namespace"], meta["name"])

    async def _look(self, run: Object) -> None:
        if is_finished(run) and not has_finalizer(run) and self.reconciler.store.get(key_of(run)) is None:
            self._forget_jobs(run)
        if is_finished(run) and not self.reconciler.shards.owns_run(run):
            return
        if not is_finished(run) or has_finalizer(run):
            key = await self._take_in(run)
            if (run.get("status") or {}).get("startedAt") and not is_finished(run):
                self.reconciler.admission.active.begun(key)
            self.reconciler.queue.wake(key, Priority.BACKGROUND)
            return
        if run["metadata"].get("deletionTimestamp") or not is_over(run, self.reconciler.now()) or _goes_with_its_caller(run):
            return
        meta = run["metadata"]
        await self._delete(resources.RUNS, meta)
        log.info("%s/%s: its time to live is over", meta["namespace"], meta["name"])

    async def _take_in(self, run: Object) -> Key:
        """One that was looked at and left, as it is now, is looked at once more; but no child that is kept for as long as its caller goes on."""
        store = self.reconciler.store
        is_kept = is_finished(run) and await self.reconciler.children.is_kept(run)
        return store.remember(run) if is_kept else store.recall(run)

    def _forget_jobs(self, run: Object) -> None:
        """A finished run's Jobs are there as long as it is, and come with every list of Jobs; of them nothing is kept."""
        meta = run["metadata"]
        self.reconciler.jobs.of(meta["namespace"]).forget(meta["uid"])

    async def _delete(self, resource: resources.Resource, meta: Mapping[str, Any]) -> None:
        try:
            await self.reconciler.client.delete(resource, meta["namespace"], meta["name"], uid=meta["uid"], propagation="Background")
        except (NotFound, Conflict):
            return


def _goes_with_its_caller(run: Object) -> bool:
    """Tell whether the garbage collector takes a run away with the run that it is a child of: it has no time to live of its own."""
    return any(owner.get("kind") == RUN and owner.get("controller") for owner in run["metadata"].get("ownerReferences") or ())


def is_over(run: Object, now: datetime) -> bool:
    """Tell whether a finished run's time to live is over. 0s keeps it for ever."""
    status: Mapping[str, Any] = run.get("status") or {}
    ttl = (run.get("spec") or {}).get("ttl") or {}
    good = status.get("phase") == "Succeeded"
    default = _KEEP.succeeded if good else _KEEP.failed
    seconds = seconds_of(ttl.get("succeeded" if good else "failed"))
    keep = default if seconds is None else timedelta(seconds=seconds)
    return keep > timedelta(0) and time_from_json(status["finishedAt"]) + keep <= now
