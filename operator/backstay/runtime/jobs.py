"""Jobs and Pods as the engine is told of them: two informers, and the runs that their news wakes."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from backstay.engine.model import JobFact
from backstay.executors import job
from backstay.kube import resources
from backstay.kube.client import Client
from backstay.kube.informer import Informer
from backstay.runtime.podless import PodlessJobs


class JobWatch:
    """Everything that is seen of the Jobs and Pods in a namespace, or in all of them.

    `wake(run_uid)` is called when the facts of a run's Jobs have changed, and tells whether the run is known;
    `vanished(run_uid, job)` when a Job that was seen is there no longer.
    """

    def __init__(
        self, client: Client, namespace: str | None, wake: Callable[[str], bool], vanished: Callable[[str, job.SeenJob], None]
    ) -> None:
        self._client = client
        self._looked: set[str] = set()
        self._told: dict[str, Mapping[str, JobFact]] = {}
        """By run: the facts that the last wake-up was for. Most of what Kubernetes says of a Job changes none of them."""
        self._wake = wake
        self._vanished = vanished
        self._followed: set[str] = set()
        """Runs that are looked at: only of these is kept what is there no longer."""
        self._gone: dict[str, dict[str, job.SeenPod]] = {}
        """By run, by Job: the newest pod that is there no longer. The Job controller lets a failed pod that was deleted go before it says
        that the Job has failed, and then nobody else knows what it died of."""
        self._podless = PodlessJobs(client, wake)
        self.jobs: Informer[job.SeenJob] = Informer(
            client, resources.JOBS, namespace=namespace, label_selector=job.SELECTOR, trim=job.trim_job, on_change=self._job_changed
        )
        self.pods: Informer[job.SeenPod] = Informer(
            client, resources.PODS, namespace=namespace, label_selector=job.SELECTOR, trim=job.trim_pod, on_change=self._pod_changed
        )

    async def facts(self, namespace: str, run_uid: str) -> Mapping[str, JobFact]:
        """Return what is seen of a run's Jobs, by name.

        The two informers know nothing of each other: where a Job's end is seen before its pod's, the API server is asked, once.
        """
        self._followed.add(run_uid)
        jobs, pods = self.jobs.of(run_uid), self._pods(run_uid)
        for seen in jobs:
            if seen.uid not in self._looked and job.needs_look(seen, pods):
                self._looked.add(seen.uid)
                pods.extend(await job.look(self._client, seen))
            await self._podless.look(seen, pods)
        return job.facts(namespace, jobs, pods, self._podless.why([seen.uid for seen in jobs]))

    def remember(self, seen: job.SeenJob) -> None:
        """What was just created is known at once, before the watch tells."""
        self.jobs.remember(seen)
        self._told[seen.run_uid] = self._facts(seen.namespace, seen.run_uid)

    def forget(self, run_uid: str) -> None:
        """A run is finished or gone: free what its Jobs take."""
        for seen in self.jobs.of(run_uid):
            self._looked.discard(seen.uid)
            self._podless.forget(seen.uid)
        self._told.pop(run_uid, None)
        self._gone.pop(run_uid, None)
        self._followed.discard(run_uid)
        self.jobs.forget(run_uid)
        self.pods.forget(run_uid)

    def _job_changed(self, event: str, new: job.SeenJob, _old: job.SeenJob | None) -> None:
        if event == "DELETED":
            self._podless.forget(new.uid)
            self._vanished(new.run_uid, new)
        self._tell(new.namespace, new.run_uid)

    def _pod_changed(self, event: str, new: job.SeenPod, _old: job.SeenPod | None) -> None:
        if event == "DELETED" and new.run_uid in self._followed:
            self._gone.setdefault(new.run_uid, {})[new.job_uid] = replace(new, gone=True)
        self._tell(new.namespace, new.run_uid)

    def _tell(self, namespace: str, run_uid: str) -> None:
        facts = self._facts(namespace, run_uid)
        if facts != self._told.get(run_uid, {}) and self._wake(run_uid):
            self._told[run_uid] = facts

    def _facts(self, namespace: str, run_uid: str) -> Mapping[str, JobFact]:
        jobs = self.jobs.of(run_uid)
        return job.facts(namespace, jobs, self._pods(run_uid), self._podless.why([seen.uid for seen in jobs]))

    def _pods(self, run_uid: str) -> list[job.SeenPod]:
        return [*self.pods.of(run_uid), *self._gone.get(run_uid, {}).values()]


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
