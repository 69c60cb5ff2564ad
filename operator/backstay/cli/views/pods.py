"""Which pods of a run somebody wants to read, and what to say where there are none. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from backstay.cli.views.outline import outline
from backstay.cli.views.seen import Run
from backstay.cli.views.text import clean
from backstay.engine.paths import ROOT, static
from backstay.executors.pod_verdict import has_begun
from backstay.expressions.words import suggestion, there_are
from backstay.names import ANNOTATION_ATTEMPT, ANNOTATION_PATH

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants to read: a step by its path, with all in it, or the whole run; one attempt, or all."""

    step: str | None = None
    attempt: int | None = None
    previous: bool = False
    is_gone: bool = False

    def gone(self) -> "Wanted":
        """Return the same, knowing that the run is gone."""
        return replace(self, is_gone=True)

    def covers(self, path: str) -> bool:
        """Tell whether a step's pods are wanted."""
        if self.step is None:
            return True
        return path == self.step or path.startswith((f"{self.step}/", f"{self.step}:", f"{self.step}["))

    def has_ended(self, run: Run) -> bool:
        """Tell whether no more pods can come."""
        if self.is_gone or run.is_finished:
            return True
        record = run.state.steps.get(self.step) if self.step is not None else None
        return record is not None and record.has_ended


@dataclass(frozen=True, slots=True)
class Options:
    """How logs are asked for: the parameters of the API (`pods/log`)."""

    container: str
    tail: int | None = None
    timestamps: bool = False

    def query(self, *, follow: bool) -> dict[str, str]:
        """Return the query parameters."""
        query = {"container": self.container}
        if self.tail is not None:
            query["tailLines"] = str(self.tail)
        if self.timestamps:
            query["timestamps"] = "true"
        return query | ({"follow": "true"} if follow else {})


@dataclass(frozen=True, slots=True)
class Writer:
    """A pod whose logs are wanted."""

    namespace: str
    pod: str
    step: str
    attempt: int

    @property
    def path(self) -> str:
        """Where the API server has the logs."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.pod}/log"

    @property
    def prefix(self) -> str:
        """What stands before each line where several are mixed."""
        return f"[{clean(self.step)}{f' #{self.attempt}' if self.attempt > 1 else ''}] "


def choose(pods: Sequence[Object], run: Run, wanted: Wanted, *, started: bool = False) -> list[Writer]:
    """Return the pods that are wanted, oldest first; with `started` only those that have something to say.

    Pods tell the second in which they were made. Within one, the order is that in which the run's steps began.
    """
    begun = {path: place for place, path in enumerate(run.state.steps)}
    made = []
    for pod in pods:
        writer = _writer(pod)
        if writer is not None and wanted.covers(writer.step) and (not started or has_begun(pod.get("status") or {})):
            time = str(pod["metadata"].get("creationTimestamp") or "")
            made.append((time, begun.get(writer.step, len(begun)), writer.attempt, writer.pod, writer))
    found = [writer for *_, writer in sorted(made, key=lambda item: item[:4])]
    if wanted.attempt is not None:
        return [writer for writer in found if writer.attempt == wanted.attempt]
    if wanted.previous:
        return [writer for writer in found if writer.attempt == _latest(found, writer.step) - 1]
    return found


def prefixes(writers: Sequence[Writer]) -> list[str]:
    """Return what stands before the lines of each: nothing where there is only one."""
    return [writer.prefix if len(writers) > 1 else "" for writer in writers]


def _writer(pod: Object) -> Writer | None:
    metadata = pod["metadata"]
    annotations = metadata.get("annotations") or {}
    path = annotations.get(ANNOTATION_PATH)
    if path is None:
        return None
    attempt = str(annotations.get(ANNOTATION_ATTEMPT) or "")
    return Writer(metadata["namespace"], metadata["name"], str(path), int(attempt) if attempt.isdecimal() else 0)


def _latest(writers: Sequence[Writer], step: str) -> int:
    return max(writer.attempt for writer in writers if writer.step == step)


# ------------------------------------------------------------------------------------------------------------- none at all


def nothing_to_show(run: Run, wanted: Wanted) -> tuple[str, str]:
    """Say why there are no logs, and what to do: (message, mend)."""
    if wanted.step is None:
        return _whole_run(run, wanted)
    step = clean(wanted.step)
    if not _is_known(run, wanted.step):
        known = [clean(path) for path in _paths(run)]
        return f'run {run.name} has no step "{step}"', f"{there_are(known)}{suggestion(step, known)}"
    record = run.state.steps.get(wanted.step)
    if record is None:
        return f"step {step} has not begun", f"`backstay tree {run.name}` shows where the run is"
    if record.job is None and not _has_jobs(run, wanted):
        return f"step {step} ({record.kind}) runs no container and has no logs", "name a step that has a job"
    return _no_pods(run, wanted, f"step {step}")


def _whole_run(run: Run, wanted: Wanted) -> tuple[str, str]:
    if not _has_jobs(run, wanted):
        return f"run {run.name} has not run any container", f"`backstay why {run.name}` says what it waits for"
    return _no_pods(run, wanted, f"run {run.name}")


def _no_pods(run: Run, wanted: Wanted, what: str) -> tuple[str, str]:
    if wanted.attempt is not None or wanted.previous:
        attempts = max((record.attempt for path, record in run.state.steps.items() if wanted.covers(path)), default=0)
        which = f"attempt {wanted.attempt}" if wanted.attempt is not None else "the attempt before the latest"
        return f"there are no logs of {which} of {what}", f"the latest attempt is {attempts}; pods of earlier ones may be gone"
    mend = (
        "logs go with their pods; `backstay history` tells what is known"
        if run.is_finished
        else f"`backstay why {run.name}` says what it waits for"
    )
    return f"no pod of {what} is there", mend


def _is_known(run: Run, path: str) -> bool:
    return path in run.state.steps or (run.program is not None and static(path) in run.program.nodes)


def _has_jobs(run: Run, wanted: Wanted) -> bool:
    return any(record.job is not None for path, record in run.state.steps.items() if wanted.covers(path))


def _paths(run: Run) -> list[str]:
    items = outline(run.program, run.state.steps).walk()
    return [item.path for item in items if item.path != ROOT and (item.record is not None or item.node is not None)]
