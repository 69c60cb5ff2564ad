"""Child runs: make one, ask it to end or to undo what it did, and what is seen of it.

Making one is idempotent: its name comes from run, path and attempt (`names.child_name`), so a second creation finds the first.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from backstay import errors, names
from backstay.engine import codec
from backstay.engine.model import CancelRun, CreateRun, Phase, RunFact, UndoRun
from backstay.executors.job_seen import controller_uid
from backstay.kube import manifests
from backstay.kube.client import Client, Object
from backstay.kube.manifests import RunRef
from backstay.kube.resources import RUNS

SEPARATOR: Final = " > "


async def start(client: Client, run: RunRef, caller: Mapping[str, Any], effect: CreateRun, callers: Sequence[str]) -> Object:
    """Create the child run of an attempt, or find the one that was created before.

    Raises Invalid where it is refused for good (Denied by whom else has a say), also where a run of somebody else has its name;
    Forbidden where it is refused, for now or for good; Conflict where it has just been deleted; Unavailable where nobody can tell yet
    whether it was created: calling again is safe.
    """
    try:
        return await client.create(RUNS, run.namespace, manifests.child_run(run, caller, effect, callers), strict=True)
    except errors.AlreadyExists as error:
        gone = errors.Conflict(409, "Conflict", f"{error.message}, and was deleted just now")
        return await _existing(client, run, effect, otherwise=gone)
    except errors.Unavailable as error:
        if error.is_failed_webhook:
            raise
        return await _existing(client, run, effect, otherwise=error)


async def cancel(client: Client, namespace: str, effect: CancelRun) -> Object | None:
    """Ask a child run to end early; returns it as it is then, or None where it is gone."""
    return await _ask(client, namespace, effect.name, effect.uid, {"cancel": {"reason": effect.reason, "compensate": effect.compensate}})


async def undo(client: Client, namespace: str, effect: UndoRun) -> Object | None:
    """Ask a child run to undo what it did; returns it as it is then, or None where it is gone."""
    return await _ask(client, namespace, effect.name, effect.uid, {"compensate": {"reason": effect.reason}})


async def _ask(client: Client, namespace: str, name: str, uid: str, spec: Object) -> Object | None:
    try:
        return await client.patch(RUNS, namespace, name, {"metadata": {"uid": uid}, "spec": spec})
    except errors.NotFound:
        return None
    except errors.Conflict:
        found = await find(client, namespace, name)
        if found is not None and found["metadata"]["uid"] == uid:
            raise
        return None  # a run of this name is there and has another UID: ours is gone


async def find(client: Client, namespace: str, name: str) -> Object | None:
    """Ask the API server for a run; None where there is none of that name."""
    try:
        return await client.get(RUNS, namespace, name)
    except errors.NotFound:
        return None


def parent_uid(run: Mapping[str, Any]) -> str:
    """Return the UID of the run that a run is a child of; empty where it is nobody's."""
    return str((run["metadata"].get("labels") or {}).get(names.LABEL_PARENT, ""))


def parent_name(run: Mapping[str, Any]) -> str:
    """Return the name of the run that a child run is of."""
    return str((run["metadata"].get("annotations") or {}).get(names.ANNOTATION_RUN_NAME, ""))


def is_detached(run: Mapping[str, Any]) -> bool:
    """Tell whether nobody waits for a child run, or answers for it."""
    return (run["metadata"].get("annotations") or {}).get(names.ANNOTATION_DETACHED) in ("true", "undo")


def is_undone_with_caller(run: Mapping[str, Any]) -> bool:
    """Tell whether a child run is undone where the run is that started it: unless that did not wait for it, and said nothing else."""
    return (run["metadata"].get("annotations") or {}).get(names.ANNOTATION_DETACHED) != "true"


def callers(run: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the runs run that a run is a child of, the outermost first."""
    text = (run["metadata"].get("annotations") or {}).get(names.ANNOTATION_CALLERS, "")
    return tuple(text.split(SEPARATOR)) if text else ()


def belongs(run: Mapping[str, Any], uid: str) -> bool:
    """Tell whether a run is a child of the run with a UID: by its label, and by its controller unless it has none."""
    return parent_uid(run) == uid and controller_uid(run["metadata"]) in ("", uid)


def fact(run: Mapping[str, Any]) -> RunFact:
    """Return what a caller is told of a child run. A status that cannot be read tells nothing: the child's own look puts it right."""
    meta, spec, status = run["metadata"], run.get("spec") or {}, run.get("status") or {}
    stalled = next((item for item in status.get("conditions") or () if item["type"] == "Stalled" and item["status"] == "True"), None)
    kept = next(
        (item for item in status.get("conditions") or () if (item["type"], item.get("reason")) == ("Compensated", "PivotPassed")), None
    )
    try:
        phase = Phase(status["phase"]) if status.get("phase") else None
        error = codec.fault_from_json(status["error"]) if status.get("error") else None
    except (KeyError, TypeError, ValueError):
        phase, error = None, None
    finished = bool(status.get("finishedAt")) and phase is not None
    return RunFact(
        name=meta["name"],
        uid=meta["uid"],
        phase=phase,
        is_finished=finished,
        outputs=status.get("outputs") if finished else None,
        error=error if finished else None,
        stalled=str(stalled.get("message") or "it is stalled") if stalled and not finished else "",
        cancelling=spec.get("cancel") is not None or bool(meta.get("deletionTimestamp")),
        undoing=spec.get("compensate") is not None,
        detached=is_detached(run),
        kept=str(kept.get("message") or "it is past its pivot") if kept and phase is Phase.SUCCEEDED else "",
    )


async def _existing(client: Client, run: RunRef, effect: CreateRun, *, otherwise: errors.ApiError) -> Object:
    """Return the run that is there if it is ours; raise `otherwise` where none is there, or where that cannot be found out."""
    try:
        found = await client.get(RUNS, run.namespace, effect.name)
    except (errors.NotFound, errors.Unavailable, errors.TooManyRequests):
        raise otherwise from None
    if not belongs(found, run.uid):
        raise errors.Invalid(409, "AlreadyExists", _stands_in_the_way(found, run))
    return found


def _stands_in_the_way(found: Object, run: RunRef) -> str:
    meta = found["metadata"]
    return (
        f"the WorkflowRun {meta['namespace']}/{meta['name']} (UID {meta['uid']}, created {meta.get('creationTimestamp')}) has the name that this "
        f"attempt needs and is no child of run {run.name} ({run.uid}); delete it, or run the workflow anew"
    )
