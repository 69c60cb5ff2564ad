"""Runs as the operator hears of them: an informer of its own, which the server spares all runs that have ended.

kopf's handlers would cost several times as much (docs/decisions/0028): kopf copies each object for each event. A run that has ended leaves the
watch, so that it costs nothing any more; what of it is still to be done the sweeper finds.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from backstay.kube.client import Client
from backstay.kube.client import Object as Manifest
from backstay.kube.informer import Informer
from backstay.kube.resources import RUNS
from backstay.runtime.queue import Key
from backstay.runtime.view import Object, version_of

UNFINISHED: Final = ",".join(f"status.phase!={phase}" for phase in ("Succeeded", "Failed", "Cancelled", "Compensated"))
"""Finished runs cost the operator nothing: the server leaves them out (CRD selectableFields, stable since Kubernetes 1.32)."""


@dataclass(slots=True, eq=False)
class SeenRun:
    """Which run it is. What it says goes on to the store of runs, and is kept there alone; no two are equal, for every change is news."""

    namespace: str
    name: str
    uid: str
    resource_version: int
    manifest: Manifest | None
    run_uid: str = ""

    @property
    def key(self) -> Key:
        """The key that the run is queued by."""
        return Key(self.namespace, self.name, self.uid)

    def take(self) -> Manifest | None:
        """Return what was just heard of the run, once; None where nothing was, as of one that a list lacks."""
        manifest, self.manifest = self.manifest, None
        return manifest


def seen_run(manifest: Manifest) -> SeenRun:
    """Return which run a manifest is of."""
    meta = manifest["metadata"]
    return SeenRun(meta["namespace"], meta["name"], meta["uid"], int(meta["resourceVersion"]), manifest)


class RunWatches:
    """One informer of the runs of every namespace that is looked after, or a single one of all of them.

    `seen(run)` is called with every run that is new or has changed; `left(key, run)` when one is gone, or has ended, or whose phase somebody has
    set by hand: only the API server can tell these apart. `run` is how it was then, or None where a list lacked it.
    """

    def __init__(
        self, client: Client, namespaces: Iterable[str], seen: Callable[[Object], None], left: Callable[[Key, Object | None], None]
    ) -> None:
        self._seen = seen
        self._left = left
        self._informers = {
            name: Informer(client, RUNS, namespace=name or None, field_selector=UNFINISHED, trim=seen_run, on_change=self._changed)
            for name in tuple(namespaces) or ("",)
        }

    def informers(self) -> list[Informer[SeenRun]]:
        """Return all informers, to be run."""
        return list(self._informers.values())

    def has(self, key: Key) -> bool:
        """Tell whether a run is there, as far as the watch has told."""
        informer = self._informers.get(key.namespace, self._informers.get(""))
        seen = None if informer is None else informer.get(key.namespace, key.name)
        return seen is not None and seen.uid == key.uid

    def wrote(self, run: Object) -> None:
        """A run was written: how long until its watch tells so is the watch's lag."""
        informer = self._informers.get(run["metadata"]["namespace"], self._informers.get(""))
        if informer is not None:
            informer.expect(version_of(run))

    def _changed(self, event: str, new: SeenRun, _old: SeenRun | None) -> None:
        run = new.take()
        if event == "DELETED" or run is None:
            self._left(new.key, run)
        else:
            self._seen(run)
