"""Reading a WorkflowRun as the API server gives it: who it is, what people ask of it, what is written of it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backstay.api.base import parse_duration
from backstay.engine.model import Identity, Request, Wish
from backstay.engine.steps.workflow import title_of
from backstay.executors import child_run
from backstay.kube.limiter import Priority
from backstay.kube.manifests import RunRef
from backstay.names import ANNOTATION_RELEASE, ANNOTATION_STARTED_BY, FINALIZER
from backstay.runtime.queue import Key
from backstay.settings import MAX_CHILD_DEPTH

Object = Mapping[str, Any]


def key_of(run: Object) -> Key:
    """Return the key under which a run is queued."""
    meta = run["metadata"]
    return Key(meta["namespace"], meta["name"], meta["uid"])


def light(run: Object) -> Object:
    """Return a run without its `managedFields`: they are as large as all the rest, and nobody here looks at them."""
    meta = run["metadata"]
    if "managedFields" not in meta:
        return run
    return {**run, "metadata": {name: value for name, value in meta.items() if name != "managedFields"}}


def version_of(run: Object) -> int:
    """Return the resourceVersion as a number; versions of one kind can be compared (KEP-5504)."""
    return int(run["metadata"].get("resourceVersion") or 0)


def is_finished(run: Object) -> bool:
    """Tell whether the status says that the run has ended."""
    return bool((run.get("status") or {}).get("finishedAt"))


def has_finalizer(run: Object) -> bool:
    """Tell whether our finalizer keeps the run from vanishing."""
    return FINALIZER in (run["metadata"].get("finalizers") or ())


def identity_of(run: Object, most_depth: int = MAX_CHILD_DEPTH) -> Identity:
    """Return what never changes about a run. `most_depth` is how deep child runs may nest."""
    meta, spec = run["metadata"], run.get("spec") or {}
    timeout = seconds_of(spec.get("timeout"))
    started_by = (meta.get("annotations") or {}).get(ANNOTATION_STARTED_BY, "")
    return Identity(
        meta["uid"],
        meta["name"],
        meta["namespace"],
        spec.get("parameters") or {},
        timeout,
        started_by,
        workflow=title_of(spec.get("workflow") or {}),
        callers=child_run.callers(run),
        most_depth=most_depth,
    )


def seconds_of(duration: object) -> float | None:
    """Return the length of a duration in a run's spec; None where there is none, or none that can be read (the run is refused for that)."""
    try:
        return None if duration is None else parse_duration(duration).total_seconds()
    except ValueError:
        return None


def wish_of(run: Object) -> Wish:
    """Return what people ask of a run."""
    meta, spec = run["metadata"], run.get("spec") or {}
    cancel = spec.get("cancel")
    return Wish(
        suspend=bool(spec.get("suspend")),
        cancel=cancel is not None,
        cancel_reason=str((cancel or {}).get("reason") or ""),
        cancel_compensates=bool((cancel or {}).get("compensate", True)),
        delete=bool(meta.get("deletionTimestamp")),
        release=(meta.get("annotations") or {}).get(ANNOTATION_RELEASE) == "true",
        undo=spec.get("compensate") is not None,
        undo_reason=str((spec.get("compensate") or {}).get("reason") or ""),
        requests=tuple(_requests(spec.get("requests") or ())),
    )


def _requests(given: Sequence[Mapping[str, Any]]) -> Iterator[Request]:
    for item in given:
        items, reason = tuple(item.get("items") or ()), str(item.get("reason") or "")
        given_id, step, action = (str(item.get(name)) for name in ("id", "step", "action"))
        yield Request(given_id, step, action, items, reason, item.get("edit"), item.get("outputs"), bool(item.get("compensate")))


def ref_of(run: Object) -> RunRef:
    """Return what a Job must know of its run."""
    meta, spec = run["metadata"], run.get("spec") or {}
    return RunRef(
        uid=meta["uid"],
        name=meta["name"],
        namespace=meta["namespace"],
        service_account=spec.get("serviceAccountName") or "",
        workflow_name=(spec.get("workflow") or {}).get("name") or "",
        job_labels=spec.get("jobLabels") or {},
    )


def workflow_of(run: Object) -> str:
    """Return the name of a run's Workflow; `inline` where the definition is its own."""
    return str(((run.get("spec") or {}).get("workflow") or {}).get("name") or "inline")


def priority_of(run: Object) -> int:
    """Return a run's priority."""
    found = (run.get("spec") or {}).get("priority")
    return found if isinstance(found, int) else 0


def has_begun(run: Object) -> bool:
    """Tell whether the status says that the run has begun, or has ended without."""
    return bool((run.get("status") or {}).get("startedAt")) or is_finished(run)


def turn_of(run: Object) -> Priority:
    """Return what goes before what: runs that have begun before those that are to. A child is work of the run that waits for it."""
    has_begun = (run.get("status") or {}).get("startedAt") or child_run.parent_uid(run)
    return Priority.RUNNING if has_begun else Priority.NEW


def place(item: Object) -> tuple[str, str]:
    """Return namespace and name of an object."""
    return item["metadata"]["namespace"], item["metadata"]["name"]


def revision_of(run: Object) -> str:
    """Return the name of the revision that a run is pinned to; empty before it has begun, and for inline definitions."""
    return str(((run.get("status") or {}).get("revision") or {}).get("name") or "")
