"""Workspaces: what a job mounts of them, resolved to the references that its pod gets. What is in them never comes by here.

A claim of a run has a name that follows from run and workspace, so that all steps find the same one, and making it twice is the same claim.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from backstay.api.workspaces import Mount, Workspace
from backstay.engine.model import Json
from backstay.engine.scopes import Bound, Scope, bind
from backstay.engine.turn import Turn
from backstay.errors import EvaluationError, InvalidExpression
from backstay.expressions.format import to_text
from backstay.names import claim_name

VOLUME_PREFIX: Final = "workspace-"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a workspace comes from: which of the four, and what it says, with its expressions bound."""

    name: str
    kind: str
    what: Bound
    is_read_only: bool


@dataclass(frozen=True, slots=True)
class Mounted:
    """One mount of a job."""

    source: Source
    path: str
    sub_path: Bound | None
    read_only: bool


def compile_workspaces(workspaces: Iterable[Workspace]) -> dict[str, Source]:
    """Bind the expressions of a workflow's workspaces, which see parameters and the run. Raises InvalidExpression."""
    found = {}
    for workspace in workspaces:
        written = workspace.model_dump(mode="json", by_alias=True, exclude_none=True)
        kind = next(key for key in written if key != "name")
        found[workspace.name] = Source(workspace.name, kind, bind(written[kind], Scope(0)), workspace.is_read_only)
    return found


def compile_mounts(mounts: Iterable[Mount], workspaces: Mapping[str, Source], scope: Scope) -> tuple[Mounted, ...]:
    """Bind what a job mounts. Raises InvalidExpression where there is no workspace of a name."""
    unknown = [mount.name for mount in mounts if mount.name not in workspaces]
    if unknown:
        raise InvalidExpression(f'there is no workspace "{unknown[0]}"; the workflow declares it in spec.workspaces')
    return tuple(
        Mounted(
            workspaces[mount.name],
            mount.mount_path,
            None if mount.sub_path is None else bind(mount.sub_path, scope),
            mount.read_only or workspaces[mount.name].is_read_only,
        )
        for mount in mounts
    )


def resolve(turn: Turn, mounts: Iterable[Mounted], path: str) -> dict[str, Json]:
    """Return what a Job needs to know: `workspaces`, each a mount with its volume, and `claims`, which are made before it. Raises EvaluationError."""
    found: list[Json] = []
    claims: dict[str, Json] = {}
    for mount in mounts:
        volume, claim = _volume(turn, mount.source, path)
        item: dict[str, Json] = {"name": mount.source.name, "mountPath": mount.path, "volume": volume}
        if mount.sub_path is not None:
            item["subPath"] = _inside(turn.evaluate_text(mount.sub_path, path))
        if mount.read_only:
            item["readOnly"] = True
        if claim is not None:
            claims[mount.source.name] = claim
        found.append(item)
    inputs: dict[str, Json] = {"workspaces": found} if found else {}
    return inputs | ({"claims": list(claims.values())} if claims else {})


def _volume(turn: Turn, source: Source, path: str) -> tuple[Json, Json]:
    """Return the volume as a pod has it, and the claim to be made for it, if any."""
    what: Any = turn.evaluate(source.what, path)
    match source.kind:
        case "claim":
            claim = _claim(turn, source, what)
            return {"persistentVolumeClaim": {"claimName": claim["name"]}}, claim
        case "existingClaim":
            return {"persistentVolumeClaim": {"claimName": to_text(what)}}, None
        case kind:
            name = "secretName" if kind == "secret" else "name"
            files = {key: what[key] for key in ("items", "optional") if what.get(key)}
            return {kind: {name: to_text(what["name"]), **files}}, None


def _claim(turn: Turn, source: Source, what: Mapping[str, Any]) -> dict[str, Any]:
    spec: dict[str, Json] = {"accessModes": what["accessModes"], "resources": {"requests": {"storage": to_text(what["storage"])}}}
    if what.get("storageClassName") is not None:
        spec["storageClassName"] = to_text(what["storageClassName"])
    given = what.get("name")
    name = claim_name(turn.identity.name, turn.identity.uid, source.name) if given is None else to_text(given)
    return {"name": name, "workspace": source.name, "spec": spec}


def _inside(sub_path: str) -> str:
    if sub_path.startswith("/") or ".." in sub_path.split("/"):
        raise EvaluationError(f"workspaces: subPath {sub_path!r} leaves the workspace; name a folder in it")
    return sub_path
