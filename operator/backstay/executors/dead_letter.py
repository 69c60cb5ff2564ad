"""DeadLetters as they stand in the cluster: written, read, settled; and the run that is started from one.

Writing one is idempotent: its name comes from run, path and the journal entry with which the step gave up, so a second time finds the first.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson

from backstay import errors, names
from backstay.api.dead_letter import MOST_BYTES, LetterPhase
from backstay.engine.codec import fault_to_json, time_from_json
from backstay.engine.letters import Resolution
from backstay.engine.model import CreateDeadLetter, DeadLetterFact
from backstay.engine.paths import static
from backstay.kube.client import Client, Object
from backstay.kube.manifests import RunRef
from backstay.kube.resources import DEAD_LETTERS, RUNS

_FROM_RUN: Final = ("serviceAccountName", "jobLabels", "priority", "timeout", "ttl")
"""What a letter keeps of its run's spec besides what it runs, and what a run that is started from it gets."""
_SETTLED: Final = (LetterPhase.REPLAYED, LetterPhase.DISCARDED)


@dataclass(frozen=True, slots=True)
class SeenLetter:
    """What is kept of a DeadLetter: inputs and parameters are read where they are needed."""

    namespace: str
    name: str
    uid: str
    resource_version: int = field(compare=False)
    generation: int
    run_name: str
    uid_of_run: str
    path: str
    workflow: str
    revision: str
    """Name of the ControllerRevision that its run is pinned to; empty for a definition in the run itself."""
    error: str
    resolution: Resolution | None
    status: Mapping[str, Any]

    @property
    def run_uid(self) -> str:
        """What letters are found by: the place of their run. One that was restored from a backup has the place, and another UID."""
        return place_of(self.namespace, self.run_name)

    @property
    def phase(self) -> str:
        """Where it stands; Waiting before anybody has looked at it."""
        return str(self.status.get("phase") or LetterPhase.WAITING)

    @property
    def is_settled(self) -> bool:
        """Nothing more happens to it."""
        return self.phase in _SETTLED

    @property
    def open_resolution(self) -> Resolution | None:
        """What is to become of it, unless that has failed already."""
        found = self.resolution
        failed = found is not None and self.phase == LetterPhase.FAILED and self.status.get("resolution") == found.id
        return None if failed else found

    @property
    def settled_at(self) -> datetime | None:
        """When it was settled."""
        try:
            return time_from_json(str(self.status["settledAt"]))
        except (KeyError, ValueError):
            return None


def place_of(namespace: str, run_name: str) -> str:
    """Return the word for the place of a run."""
    return f"{namespace}/{run_name}"


def seen(manifest: Object) -> SeenLetter | None:
    """Read a DeadLetter; None where it does not say of which run and step it is."""
    meta, spec = manifest["metadata"], manifest.get("spec") or {}
    run = spec.get("run") or {}
    if not run.get("uid") or not spec.get("step"):
        return None
    return SeenLetter(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=int(meta["resourceVersion"]),
        generation=meta.get("generation", 0),
        run_name=str(run.get("name") or ""),
        uid_of_run=str(run["uid"]),
        path=str(spec["step"]),
        workflow=str((spec.get("workflow") or {}).get("name") or "inline"),
        revision=str((spec.get("revision") or {}).get("name") or ""),
        error=str((spec.get("error") or {}).get("type") or ""),
        resolution=_resolution(spec.get("resolution")),
        status=manifest.get("status") or {},
    )


def _resolution(given: Any) -> Resolution | None:
    if not isinstance(given, Mapping) or not given.get("id"):
        return None
    return Resolution(
        str(given["id"]), str(given.get("action") or ""), given.get("edit"), given.get("parameters"), str(given.get("reason") or "")
    )


def fact(letter: SeenLetter) -> DeadLetterFact:
    """Return what its run is told of a letter: what is to become of it, where that is for the run to do."""
    wanted = letter.open_resolution
    if wanted is None or wanted.parameters is not None or letter.is_settled:
        return DeadLetterFact(letter.name, letter.uid)
    return DeadLetterFact(letter.name, letter.uid, wanted.id, wanted.action, wanted.edit, wanted.reason)


# ------------------------------------------------------------------------------------------------------------- writing


def manifest(run: RunRef, given: Mapping[str, Any], effect: CreateDeadLetter) -> Object:
    """Return the DeadLetter of a step that gave up. `given` is its run as it stands in the cluster."""
    spec, status = given.get("spec") or {}, given.get("status") or {}
    workflow = spec.get("workflow") or {}
    omitted = ["inputs"] if effect.is_cut else []
    parameters = spec.get("parameters") or {}
    if len(orjson.dumps(parameters)) > MOST_BYTES:
        parameters, omitted = None, [*omitted, "parameters"]
    found: Object = {
        "run": {"name": run.name, "uid": run.uid},
        "workflow": {key: workflow[key] for key in ("name", "template") if workflow.get(key)},
        "revision": status.get("revision"),
        "step": effect.path,
        "kind": effect.kind,
        "attempts": effect.attempt,
        "error": fault_to_json(effect.error),
        "gaveUpAt": effect.at,
        "inputs": effect.inputs,
        "parameters": parameters,
        "omitted": omitted or None,
        "previous": effect.previous or None,
        **{key: copy.deepcopy(spec.get(key)) for key in _FROM_RUN},
    }
    started_by = (given["metadata"].get("annotations") or {}).get(names.ANNOTATION_STARTED_BY)
    annotations = {names.ANNOTATION_STARTED_BY: started_by} if started_by else {}
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.DEAD_LETTER,
        "metadata": {"name": effect.name, "namespace": run.namespace, "labels": _labels(run, effect), "annotations": annotations},
        "spec": {key: value for key, value in found.items() if value is not None},
    }


def _labels(run: RunRef, effect: CreateDeadLetter) -> dict[str, str]:
    step = static(effect.path).rpartition("/")[2]
    labels = {
        names.LABEL_MANAGED_BY: names.MANAGER,
        names.LABEL_RUN: run.uid,
        names.LABEL_STEP: names.label_value(step),
        names.LABEL_ERROR: names.label_value(effect.error.type),
    }
    return labels | ({names.LABEL_WORKFLOW: names.label_value(run.workflow_name)} if run.workflow_name else {})


async def write(client: Client, run: RunRef, given: Mapping[str, Any], effect: CreateDeadLetter) -> SeenLetter:
    """Write a letter, or find the one that was written before. Raises Invalid where something else has its name, and what the API server says."""
    try:
        made = await client.create(DEAD_LETTERS, run.namespace, manifest(run, given, effect), strict=True)
    except errors.NotFound as error:
        words = f"DeadLetters are not served ({error.message}); install the custom resources of this version"
        raise errors.ApiError(error.status, error.reason, words) from error
    except errors.AlreadyExists as error:
        found = await _found(client, run.namespace, effect.name)
        if found is None:
            raise errors.Conflict(409, "Conflict", f"{error.message}, and was deleted just now") from error
        if (found.uid_of_run, found.path) != (run.uid, effect.path):
            words = f"the DeadLetter {run.namespace}/{effect.name} has the name that this step's needs and is of run {found.run_name}; delete it"
            raise errors.Invalid(409, "AlreadyExists", words) from error
        return found
    return _read(made)


async def _found(client: Client, namespace: str, name: str) -> SeenLetter | None:
    try:
        return seen(await client.get(DEAD_LETTERS, namespace, name))
    except errors.NotFound:
        return None


def _read(manifest: Object) -> SeenLetter:
    found = seen(manifest)
    assert found is not None, "a letter that we wrote says of which run and step it is"
    return found


async def read(client: Client, letter: SeenLetter) -> Object | None:
    """Ask the API server for a letter; None where it is gone, or another one is there by now."""
    try:
        found = await client.get(DEAD_LETTERS, letter.namespace, letter.name)
    except errors.NotFound:
        return None
    return found if found["metadata"]["uid"] == letter.uid else None


async def settle(client: Client, letter: SeenLetter, status: Mapping[str, Any]) -> SeenLetter:
    """Write a letter's status over the version it was judged by. Raises Conflict where there is a newer one."""
    version = {"op": "replace", "path": "/metadata/resourceVersion", "value": str(letter.resource_version)}
    patch = [version, {"op": "add", "path": "/status", "value": status}]
    return _read(await client.patch(DEAD_LETTERS, letter.namespace, letter.name, patch, subresource="status", kind="json"))


async def remove(client: Client, letter: SeenLetter) -> None:
    """Delete a letter whose time is over."""
    try:
        await client.delete(DEAD_LETTERS, letter.namespace, letter.name, uid=letter.uid)
    except (errors.NotFound, errors.Conflict):
        return


# -------------------------------------------------------------------------------------------------------------- replaying


def replay(letter: Mapping[str, Any], workflow: Mapping[str, Any], parameters: Mapping[str, Any]) -> Object:
    """Return the run that is started from a letter. `workflow` is what it runs, as a run's spec has it."""
    meta, spec = letter["metadata"], letter["spec"]
    annotations = {names.ANNOTATION_DEAD_LETTER: meta["name"]}
    if started_by := (meta.get("annotations") or {}).get(names.ANNOTATION_STARTED_BY):
        annotations[names.ANNOTATION_STARTED_BY] = started_by
    labels = {names.LABEL_MANAGED_BY: names.MANAGER, names.LABEL_REPLAYS: meta["uid"]}
    if workflow.get("name"):
        labels[names.LABEL_WORKFLOW] = names.label_value(str(workflow["name"]))
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.RUN,
        "metadata": {
            "name": names.replay_name(spec["run"]["name"], meta["uid"]),
            "namespace": meta["namespace"],
            "labels": labels,
            "annotations": annotations,
        },
        "spec": {key: copy.deepcopy(spec[key]) for key in _FROM_RUN if spec.get(key) is not None}
        | {"workflow": dict(workflow), "parameters": dict(parameters)},
    }


async def start(client: Client, run: Object) -> Object:
    """Start the run of a letter, or find the one that was started before. Raises Invalid where a run of somebody else has its name."""
    meta = run["metadata"]
    try:
        return await client.create(RUNS, meta["namespace"], run, strict=True)
    except errors.AlreadyExists:
        found = await client.get(RUNS, meta["namespace"], meta["name"])
        if (found["metadata"].get("labels") or {}).get(names.LABEL_REPLAYS) != meta["labels"][names.LABEL_REPLAYS]:
            words = f"the WorkflowRun {meta['namespace']}/{meta['name']} has the name that this replay needs and is another; delete it, and replay again"
            raise errors.Invalid(409, "AlreadyExists", words) from None
        return found
