"""Jobs and Pods as the engine is told of them: two informers, and the runs that their news wakes."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from backstay.engine.model import JobFact, JobState
from backstay.errors import ApiError, NotFound
from backstay.executors import job
from backstay.kube import resources
from backstay.kube.client import Client, Object
from backstay.kube.informer import Informer
from backstay.names import ANNOTATION_UNOWNED, LABEL_RUN
from backstay.runtime.podless import PodlessJobs

Key = tuple[str, str]
"""Namespace and name."""
MAX_FORGOTTEN: Final = 20_000


@dataclass(slots=True)
class _Picture:
    """What is seen of one run, kept up to date with every piece of news: what a look costs goes by what is open, not by what has ended."""

    facts: dict[Key, JobFact] = field(default_factory=dict)
    told: dict[Key, JobFact] = field(default_factory=dict)
    """The facts that wake-ups were for. Most of what Kubernetes says of a Job changes none of them."""
    open: set[Key] = field(default_factory=set)
    """Jobs that have not ended, or whose last pod is not in the picture."""
    keys: dict[str, Key] = field(default_factory=dict)
    """By the Job's UID."""
    pods: dict[str, dict[str, job.SeenPod]] = field(default_factory=dict)
    """By the UID of their Job and their own."""
    gone: dict[str, job.SeenPod] = field(default_factory=dict)
    """By the UID of the Job: the newest pod that is there no longer. The Job controller lets a failed pod that was deleted go before it says
    that the Job has failed, and then nobody else knows what it died of."""
    settled: set[str] = field(default_factory=set)
    """UIDs of Jobs whose end stands in the status: nothing that is said of them matters any more, so nothing of it is kept."""
    is_followed: bool = False
    """Whether the run is looked at: only then is kept what is there no longer."""

    def pods_of(self, job_uid: str) -> list[job.SeenPod]:
        """Return the pods of a Job, the last one of those that are gone included."""
        found = list(self.pods.get(job_uid, {}).values())
        return [*found, self.gone[job_uid]] if job_uid in self.gone else found


class JobWatch:
    """Everything that is seen of the Jobs and Pods in a namespace, or in all of them.

    `wake(run_uid)` is called when the facts of a run's Jobs have changed, and tells whether the run is known;
    `vanished(run_uid, job)` when a Job is there no longer, be its run over or not.
    """

    def __init__(
        self, client: Client, namespace: str | None, wake: Callable[[str], bool], vanished: Callable[[str, job.SeenJob], None]
    ) -> None:
        self._client = client
        self._looked: set[str] = set()
        self._forgotten: OrderedDict[str, None] = OrderedDict()
        """UIDs of the Jobs of runs that have ended: they and their Pods change yet, and interest nobody."""
        self._wake = wake
        self._vanished = vanished
        self._pictures: dict[str, _Picture] = {}
        self._podless = PodlessJobs(client, wake)
        self.jobs: Informer[job.SeenJob] = Informer(
            client, resources.JOBS, namespace=namespace, label_selector=job.SELECTOR, trim=self._trim_job, on_change=self._job_changed
        )
        self.jobs.passed = self._passed
        self.pods: Informer[job.SeenPod] = Informer(
            client, resources.PODS, namespace=namespace, label_selector=job.SELECTOR, trim=self._trim_pod, on_change=self._pod_changed
        )

    async def facts(self, namespace: str, run_uid: str) -> Mapping[str, JobFact]:
        """Return what is seen of a run's Jobs, by name. What is not in the run's namespace is left out: a label can be put on anything.

        The two informers know nothing of each other: where a Job's end is seen before its pod's, the API server is asked, once.
        """
        run = self._picture(run_uid)
        run.is_followed = True
        for key in list(run.open):
            await self._look(run, key)
        return {name: fact for (where, name), fact in run.facts.items() if where == namespace}

    async def find(self, namespace: str, run_uid: str, name: str) -> bool:
        """Ask the API server for a Job of which the watch has not told; tell whether it was there. Raises ApiError."""
        try:
            found = await self._client.get(resources.JOBS, namespace, name)
        except NotFound:
            return False
        if not job.belongs(found, run_uid):
            return False
        self.remember(job.seen_job(found))
        return True

    async def _look(self, run: _Picture, key: Key) -> None:
        """Find out what the informers cannot tell of a Job."""
        seen = self.jobs.get(*key)
        if seen is None:
            return
        pods = run.pods_of(seen.uid)
        if self._needs_look(seen, run):
            for pod in await job.look(self._client, seen):
                known = run.pods.setdefault(seen.uid, {})
                if pod.uid not in known or pod.resource_version > known[pod.uid].resource_version:
                    known[pod.uid] = pod
            self._looked.add(seen.uid)  # not before: where the server could not be asked, nothing is known yet
        elif not job.is_podless(seen, pods):
            self._podless.forget(seen.uid)
            return
        if await self._podless.look(seen, run.pods_of(seen.uid)):
            await self._make_sure(run, seen)
        now = self.jobs.get(*key)
        if now is not None:  # it may have gone while the server was asked
            self._see(run, now)

    async def _make_sure(self, run: _Picture, seen: job.SeenJob) -> None:
        """Ask the API server for a Job's pods before it is said that there is none: a watch that has fallen silent tells of none either, and two
        operators that see differently would write against each other without end. Raises ApiError; then nothing is said."""
        try:
            found = await job.look(self._client, seen)
        except ApiError:
            self._podless.forget(seen.uid)
            raise
        for pod in found:
            known = self.pods.get(pod.namespace, pod.name)
            is_gone = known is None and self.pods.has_reached(pod.resource_version)
            is_news = known is None or known.resource_version < pod.resource_version
            if pod.job_uid == seen.uid and is_news and not is_gone:
                self.pods.remember(pod)
                run.pods.setdefault(seen.uid, {})[pod.uid] = pod
        if not job.is_podless(seen, run.pods_of(seen.uid)):
            self._podless.forget(seen.uid)

    def remember(self, seen: job.SeenJob) -> None:
        """What was just created is known at once, before the watch tells. That it was created wakes nobody; a pod that has ended already does.

        An answer may come late, after all that it tells of: a Job that is gone by then stays gone, and its run is woken.
        """
        run, key = self._picture(seen.run_uid), (seen.namespace, seen.name)
        if seen.uid not in self._forgotten and self.jobs.get(*key) is None and self.jobs.has_reached(seen.resource_version):
            self._wake(seen.run_uid)
            return
        self.jobs.remember(seen)
        run.settled.discard(seen.uid)
        self._forgotten.pop(seen.uid, None)
        self._see(run, self.jobs.get(*key) or seen)
        run.told[key] = job.fact(seen, ())
        self._tell(seen.run_uid, key)

    def settle(self, namespace: str, run_uid: str, names: Iterable[str]) -> None:
        """What became of these Jobs is written, and nothing is expected of them any more: free what they take, their outputs above all."""
        run = self._picture(run_uid)
        for key in [(namespace, name) for name in names]:
            fact = run.facts.pop(key, None)
            if fact is None:
                continue
            run.told.pop(key, None)
            run.open.discard(key)
            run.keys.pop(fact.uid, None)
            run.gone.pop(fact.uid, None)
            run.settled.add(fact.uid)
            self._looked.discard(fact.uid)
            self._podless.forget(fact.uid)
            for pod in run.pods.pop(fact.uid, {}).values():
                self.pods.drop(pod.namespace, pod.name)

    def forget(self, run_uid: str) -> None:
        """A run is finished or gone: free what its Jobs take. Those that it does not own stay known: nobody but us takes them away."""
        self._forgotten |= dict.fromkeys(seen.uid for seen in self.jobs.of(run_uid))
        while len(self._forgotten) > MAX_FORGOTTEN:
            self._forgotten.popitem(last=False)
        run = self._pictures.pop(run_uid, None)
        for uid in run.keys if run else ():
            self._looked.discard(uid)
            self._podless.forget(uid)
        for seen in self.jobs.of(run_uid):
            if not seen.unowned:
                self.jobs.drop(seen.namespace, seen.name)
        self.pods.forget(run_uid)

    def unowned(self) -> list[job.SeenJob]:
        """Return the Jobs that were made without an owner, and that nobody has told to go."""
        return [seen for seen in self.jobs.objects() if seen.unowned and not seen.deleting]

    # ------------------------------------------------------------------------------------------------------------- news

    def _trim_job(self, manifest: Object) -> job.SeenJob | None:
        meta = manifest["metadata"]
        is_over = meta["uid"] in self._forgotten and ANNOTATION_UNOWNED not in (meta.get("annotations") or ())
        return None if is_over else job.trim_job(manifest)

    def _trim_pod(self, manifest: Object) -> job.SeenPod | None:
        run = self._pictures.get((manifest["metadata"].get("labels") or {}).get(LABEL_RUN, ""))
        job_uid = job.controller_uid(manifest["metadata"])
        is_settled = run is not None and job_uid in run.settled
        return None if is_settled or job_uid in self._forgotten else job.trim_pod(manifest)

    def _job_changed(self, event: str, new: job.SeenJob, old: job.SeenJob | None) -> None:
        if old is not None and old.run_uid != new.run_uid:
            self._lose(old)
        if event == "DELETED":
            self._lose(new)
            self._vanished(new.run_uid, new)
        elif new.uid not in self._picture(new.run_uid).settled:
            self._see(self._picture(new.run_uid), new)
        self._tell(new.run_uid, (new.namespace, new.name))
        if event == "DELETED":
            self._tidy(new.run_uid)

    def _passed(self, manifest: Object) -> None:
        """A Job of a run that has ended is gone: what it took of a quota is free."""
        if (seen := job.trim_job(manifest)) is not None:
            self._vanished(seen.run_uid, seen)

    def _tidy(self, run_uid: str) -> None:
        """Free the picture of a run that is not looked at, once nothing is left in it."""
        run = self._picture(run_uid)
        if not (run.pods or run.facts or run.is_followed):
            self._pictures.pop(run_uid, None)

    def _pod_changed(self, event: str, new: job.SeenPod, _old: job.SeenPod | None) -> None:
        run = self._picture(new.run_uid)
        if new.job_uid in run.settled:
            return
        if event != "DELETED":
            run.pods.setdefault(new.job_uid, {})[new.uid] = new
        else:
            left = run.pods.get(new.job_uid, {})
            left.pop(new.uid, None)
            if not left:
                run.pods.pop(new.job_uid, None)
            if run.is_followed:
                run.gone[new.job_uid] = replace(new, gone=True)
        key = run.keys.get(new.job_uid)
        seen = self.jobs.get(*key) if key else None
        if key is not None and seen is not None and seen.uid == new.job_uid:
            self._see(run, seen)
            self._tell(new.run_uid, key)
        else:
            self._tidy(new.run_uid)

    def _see(self, run: _Picture, seen: job.SeenJob) -> None:
        """Take in a Job as it is now, with its pods."""
        key = seen.namespace, seen.name
        run.keys[seen.uid] = key
        run.facts[key] = job.fact(seen, run.pods_of(seen.uid), self._podless.why([seen.uid]).get(seen.uid))
        if seen.state is JobState.ACTIVE or self._needs_look(seen, run):
            run.open.add(key)
        else:
            run.open.discard(key)
            self._podless.forget(seen.uid)

    def _lose(self, seen: job.SeenJob) -> None:
        key, run = (seen.namespace, seen.name), self._picture(seen.run_uid)
        self._podless.forget(seen.uid)
        run.keys.pop(seen.uid, None)
        run.facts.pop(key, None)
        run.open.discard(key)

    def _needs_look(self, seen: job.SeenJob, run: _Picture) -> bool:
        return seen.uid not in self._looked and job.needs_look(seen, run.pods_of(seen.uid))

    def _tell(self, run_uid: str, key: Key) -> None:
        run = self._picture(run_uid)
        fact = run.facts.get(key)
        if fact == run.told.get(key) or not self._wake(run_uid):
            return
        if fact is None:
            run.told.pop(key, None)
        else:
            run.told[key] = fact

    def _picture(self, run_uid: str) -> _Picture:
        found = self._pictures.get(run_uid)
        if found is None:
            found = self._pictures[run_uid] = _Picture()
            for seen in self.jobs.of(run_uid):  # those that stayed known when the run was forgotten
                self._see(found, seen)
        return found


class JobWatches:
    """One JobWatch for every namespace that is looked after, or a single one for all of them; they answer as one."""

    def __init__(
        self, client: Client, namespaces: tuple[str, ...], wake: Callable[[str], bool], vanished: Callable[[str, job.SeenJob], None]
    ) -> None:
        self.watches = {name: JobWatch(client, name or None, wake, vanished) for name in namespaces or ("",)}

    def of(self, namespace: str) -> JobWatch:
        """Return the watch that sees a namespace."""
        return self.watches.get(namespace) or self.watches[""]

    def informers(self) -> list[Informer[job.SeenJob] | Informer[job.SeenPod]]:
        """Return all informers, to be run."""
        return [informer for watch in self.watches.values() for informer in (watch.jobs, watch.pods)]
