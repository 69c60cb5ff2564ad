"""Runs that have succeeded and that somebody wants undone (`spec.compensate`). A finished run is in nobody's watch, so these have one of their own.

The server chooses by field selector: a run is sent only while it has succeeded and such a wish is written, so that in normal operation this
watch is silent and its list empty (docs/decisions/0018-child-runs.md has the figures).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from backstay.kube.client import Client
from backstay.kube.informer import Informer
from backstay.kube.resources import RUNS

SELECTOR: Final = "status.phase=Succeeded,spec.compensate.reason!="


@dataclass(frozen=True, slots=True)
class SeenRun:
    """A run that is to be undone, whole: there are few of them, and none for long."""

    namespace: str
    name: str
    uid: str
    resource_version: int = field(compare=False)
    run: Mapping[str, Any] = field(compare=False)

    @property
    def run_uid(self) -> str:
        """The UID of the run itself."""
        return self.uid


class UndoRequests:
    """The watches of runs to undo: one for every namespace that is looked after, or a single one for all. `asked` is told of each run."""

    def __init__(self, client: Client, namespaces: tuple[str, ...], asked: Callable[[Mapping[str, Any]], None]) -> None:
        self._asked = asked
        self.informers = [
            Informer(client, RUNS, namespace=name or None, field_selector=SELECTOR, trim=_trim, on_change=self._changed)
            for name in namespaces or ("",)
        ]

    def _changed(self, event: str, new: SeenRun, _old: SeenRun | None) -> None:
        if event != "DELETED":
            self._asked(new.run)


def _trim(run: dict[str, Any]) -> SeenRun | None:
    meta = run["metadata"]
    wanted = (run.get("status") or {}).get("phase") == "Succeeded" and (run.get("spec") or {}).get("compensate")
    return SeenRun(meta["namespace"], meta["name"], meta["uid"], int(meta["resourceVersion"]), run) if wanted else None
