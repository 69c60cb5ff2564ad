"""The acts of a resource step. Each may be repeated: whoever restarts the operator in between gets the same object, once.

create   made, or found again where this step of this run made it; anything else of that name is in the way
apply    server-side apply; what is new, or is this run's, carries the run's marks, what is somebody else's only the fields
patch    as it stands: a JSON Patch that must not be repeated says so itself, with a test
delete   gone, or never there
get      read
"""

import asyncio
import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

from backstay import errors, names
from backstay.executors.resource.doing import Doing
from backstay.executors.resource.seen import Verdict
from backstay.executors.resource.waiting import Place, wait_until
from backstay.kube.client import Object
from backstay.kube.manifests import RunRef
from backstay.kube.resources import Resource

FIELD_MANAGER: Final = "backstay-run"
_MANAGER_LENGTH: Final = 128
RACE_SECONDS: Final = 0.2
"""How long to wait where an object is there for one request and not for the next: somebody makes and deletes it at this moment."""


def field_manager(run: RunRef) -> str:
    """Return who looks after the fields that runs of a workflow apply: one run takes them over from the one before, and from nobody else."""
    return f"{FIELD_MANAGER}:{run.workflow_name}"[:_MANAGER_LENGTH] if run.workflow_name else FIELD_MANAGER


async def create(doing: Doing, place: Place, inputs: Mapping[str, Any]) -> Object:
    """Make an object, or find the one that this step made before. Raises AlreadyExists naming whose it is."""
    manifest = _marked(doing, place, inputs["manifest"], own=_owns(doing, place, inputs))
    while True:
        try:
            return await doing.ask(
                lambda: doing.client.create(place.resource, place.namespace, manifest, strict=True, field_manager=field_manager(doing.run))
            )
        except errors.AlreadyExists:
            found = await _find(doing, place)
        if found is None:
            await asyncio.sleep(RACE_SECONDS)
            continue
        if await _is_leaving(doing, place, found):
            continue
        if _made_by(found) != (doing.run.uid, doing.call.path):
            raise errors.AlreadyExists(409, "AlreadyExists", f"it is there already, {whose(found)}; choose another name, or delete it")
        return found


async def apply(doing: Doing, place: Place, inputs: Mapping[str, Any]) -> Object:
    """Apply a manifest. What is new becomes the run's, and what a run of this workflow applied before; what is somebody else's stays theirs.

    Raises AlreadyExists where it must be owned and cannot be.
    """
    found = await _find(doing, place)
    while found is not None and await _is_leaving(doing, place, found):
        found = await _find(doing, place)
    is_ours = found is None or _made_by(found)[0] == doing.run.uid or _is_marked_by(found, field_manager(doing.run))
    if not is_ours and inputs.get("own"):
        mend = "remove own: true, so that only the fields are applied, or choose another name"
        raise errors.AlreadyExists(409, "AlreadyExists", f"it is there already, {whose(found or {})}, and cannot become this run's; {mend}")
    manifest = _marked(doing, place, inputs["manifest"], own=_owns(doing, place, inputs)) if is_ours else inputs["manifest"]
    assert place.name is not None
    name = place.name
    return await doing.ask(
        lambda: doing.client.patch(
            place.resource,
            place.namespace,
            name,
            manifest,
            kind="apply",
            force=bool(inputs.get("force")),
            strict=True,
            field_manager=field_manager(doing.run),
        )
    )


async def patch(doing: Doing, place: Place, inputs: Mapping[str, Any]) -> Object:
    """Change an object and return it as it is then."""
    kind, body, subresource = inputs["patchKind"], inputs["patch"], inputs.get("subresource")
    assert place.name is not None
    name = place.name
    changed = await doing.ask(
        lambda: doing.client.patch(
            place.resource,
            place.namespace,
            name,
            body,
            kind=kind,
            subresource=subresource,
            strict=True,
            field_manager=field_manager(doing.run),
        ),
        repeatable=kind == "merge",
    )
    return await get(doing, place) if subresource == "scale" else changed


async def delete(doing: Doing, place: Place, inputs: Mapping[str, Any]) -> None:
    """Delete an object, and wait until it is gone unless told otherwise."""
    propagation = inputs.get("propagation")
    if not inputs.get("wait", True):
        await _delete(doing, place, None, propagation)
        return
    while (found := await _find(doing, place)) is not None:
        uid = found["metadata"]["uid"]
        if await _delete(doing, place, uid, propagation):
            await gone(doing, place, uid)
            return
        await asyncio.sleep(RACE_SECONDS)


async def _delete(doing: Doing, place: Place, uid: str | None, propagation: str | None) -> bool:
    """Have an object deleted. Returns False where another of that name has taken its place: that one is to go as well."""
    assert place.name is not None
    name = place.name
    try:
        await doing.ask(lambda: doing.client.delete(place.resource, place.namespace, name, uid=uid, propagation=propagation))
    except errors.NotFound:
        return True
    except errors.Conflict:
        if uid is None:
            raise
        return False
    return True


async def gone(doing: Doing, place: Place, uid: str = "") -> None:
    """Wait until nothing of it is there, or, with `uid`, not that very object."""

    def judge(objects: Sequence[Object]) -> Verdict:
        left = [found for found in objects if uid in ("", found["metadata"]["uid"])]
        held = ", ".join(sorted({name for found in left for name in found["metadata"].get("finalizers") or ()}))
        words = f"Waiting for {place} to be gone" + (f": it is held by {held}" if held else "")
        return Verdict(is_done=not left, words=words)

    await wait_until(doing, place, judge)


async def get(doing: Doing, place: Place) -> Object:
    """Read an object."""
    assert place.name is not None
    name = place.name
    return await doing.ask(lambda: doing.client.get(place.resource, place.namespace, name))


# --------------------------------------------------------------------------------------------------------------- whose it is


def whose(found: Object) -> str:
    """Say in words whose an object is."""
    metadata = found.get("metadata") or {}
    notes, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    if _made_by(found)[0]:
        return f"made by step {notes.get(names.ANNOTATION_PATH, '?')} of run {notes.get(names.ANNOTATION_RUN_NAME, '?')}"
    owners = [f"{owner['kind']} {owner['name']}" for owner in metadata.get("ownerReferences") or () if owner.get("controller")]
    if owners:
        return f"controlled by {owners[0]}"
    manager = labels.get(names.LABEL_MANAGED_BY)
    return (
        f"managed by {manager}"
        if manager
        else f"not made by a run (UID {metadata.get('uid')}, created {metadata.get('creationTimestamp')})"
    )


def _made_by(found: Object) -> tuple[str, str]:
    """Return the UID of the run and the path of the step that made an object; empty where none did."""
    metadata = found.get("metadata") or {}
    run = (metadata.get("labels") or {}).get(names.LABEL_MADE_BY, "")
    return run, (metadata.get("annotations") or {}).get(names.ANNOTATION_PATH, "")


def _is_marked_by(found: Object, manager: str) -> bool:
    """Tell whether a manager has applied the marks of an object, so that they would go if it applied the object without."""
    for entry in (found.get("metadata") or {}).get("managedFields") or ():
        fields = ((entry.get("fieldsV1") or {}).get("f:metadata") or {}).get("f:labels") or {}
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and f"f:{names.LABEL_MADE_BY}" in fields:
            return True
    return False


def _owns(doing: Doing, place: Place, inputs: Mapping[str, Any]) -> bool:
    """Tell whether an object goes with the run. One of another namespace, or of none, cannot (kubernetes.io: Owners and Dependents)."""
    possible = place.resource.namespaced and place.namespace == doing.run.namespace
    wanted = inputs.get("own")
    if wanted and not possible:
        where = f"in namespace {place.namespace}" if place.resource.namespaced else "in no namespace"
        words = f"own: true: {place} is {where}, and a run owns objects of its own namespace only; set own: false, and delete it in a step"
        raise errors.Invalid(422, "Invalid", words)
    return possible if wanted is None else bool(wanted)


def _marked(doing: Doing, place: Place, manifest: Mapping[str, Any], *, own: bool) -> Object:
    """Return a manifest with what tells whose it is. It does not hold up the run's deletion: that would need a right on runs."""
    made = copy.deepcopy(dict(manifest))
    metadata = made["metadata"] = {**made["metadata"], "name": place.name}
    if place.namespace is not None:
        metadata["namespace"] = place.namespace
    metadata["labels"] = {**(metadata.get("labels") or {}), names.LABEL_MADE_BY: doing.run.uid}
    notes = {names.ANNOTATION_RUN_NAME: doing.run.name, names.ANNOTATION_PATH: doing.call.path}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **notes}
    if own:
        owner = {"apiVersion": names.API_VERSION, "kind": names.RUN, "name": doing.run.name, "uid": doing.run.uid}
        metadata["ownerReferences"] = [*(metadata.get("ownerReferences") or ()), owner]
    return made


async def _find(doing: Doing, place: Place) -> Object | None:
    try:
        return await get(doing, place)
    except errors.NotFound:
        return None


async def _is_leaving(doing: Doing, place: Place, found: Object) -> bool:
    """Where an object is being deleted, wait until it is gone: what follows is another."""
    if not found["metadata"].get("deletionTimestamp"):
        return False
    await gone(doing, place, found["metadata"]["uid"])
    return True


def place_of(doing: Doing, resource: Resource, target: Mapping[str, Any]) -> Place:
    """Return which objects a step is about; the run's namespace where it names none."""
    namespace = (target.get("namespace") or doing.run.namespace) if resource.namespaced else None
    return Place(resource, namespace, target.get("name"), target.get("selector") or "")
