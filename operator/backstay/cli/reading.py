"""Asking the cluster for runs and what they run. Everything here waits for an API server; what it means is worked out in `views/`."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from backstay.cli.archive import whole_state
from backstay.cli.failures import CommandFailed, Exit, Usage
from backstay.cli.views.seen import Run, read_run
from backstay.engine.steps.workflow import UNDO
from backstay.errors import Forbidden, Gone, InvalidDefinition, NotFound, Unavailable
from backstay.expressions.words import suggestion, there_are
from backstay.kube import resources
from backstay.names import GROUP, RUN, RUNS, WORKFLOW, WORKFLOWS

if TYPE_CHECKING:
    from backstay.engine.program import Program
    from backstay.kube.client import Client
    from backstay.kube.resources import Resource

Object = dict[str, Any]

_RUN_PREFIXES: Final = ("wfrun", RUN.lower(), RUNS, f"{RUNS}.{GROUP}", f"{RUN.lower()}.{GROUP}")
_WORKFLOW_PREFIXES: Final = (WORKFLOW.lower(), WORKFLOWS, f"{WORKFLOWS}.{GROUP}", f"{WORKFLOW.lower()}.{GROUP}")
_WATCH_SECONDS: Final = 300
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 10.0
_PARTING_SECONDS: Final = 0.05
MOST_CHILDREN: Final = 100
"""Child runs that are asked for one by one, with all of theirs."""


def run_name(text: str) -> str:
    """Return the name of a run from what was typed: `order-7f2`, or as kubectl writes it `wfrun/order-7f2`. Raises Usage."""
    return _bare(text, _RUN_PREFIXES, "run")


def workflow_name(text: str) -> str:
    """Return the name of a Workflow from what was typed. Raises Usage."""
    return _bare(text, _WORKFLOW_PREFIXES, "workflow")


def _bare(text: str, prefixes: tuple[str, ...], what: str) -> str:
    kind, slash, name = text.rpartition("/")
    if slash and kind.lower() not in prefixes:
        raise Usage(f"{text!r} is no {what}", f"write its name alone, or {prefixes[0]}/NAME")
    if not name:
        raise Usage(f"{text!r} names no {what}", f"write the name of a {what}")
    return name


async def get_run(client: "Client", namespace: str, name: str) -> Object:
    """Return a run. Raises CommandFailed where there is none, with what there is."""
    return await _get(client, resources.RUNS, namespace, name, "run", f"kubectl get {_RUN_PREFIXES[0]}")


async def get_workflow(client: "Client", namespace: str, name: str) -> Object:
    """Return a Workflow. Raises CommandFailed where there is none, with what there is."""
    return await _get(client, resources.WORKFLOWS, namespace, name, "Workflow", f"kubectl get {WORKFLOWS}")


async def _get(client: "Client", resource: "Resource", namespace: str, name: str, what: str, look: str) -> Object:
    try:
        return await client.get(resource, namespace, name)
    except NotFound as error:
        if not _is_of(error, name):
            raise
    known = [item["metadata"]["name"] for item in (await client.list(resource, namespace, limit=500)).items]
    mend = (
        f"{there_are(known)}{suggestion(name, known)}"
        if known
        else f"there is none at all; is {namespace} the right namespace? choose with -n"
    )
    raise CommandFailed(f'there is no {what} "{name}" in namespace "{namespace}"', mend or look, Exit.CLUSTER)


def _is_of(error: NotFound, name: str) -> bool:
    """The object is missing, and not its whole kind."""
    return name in error.message


# ------------------------------------------------------------------------------------------------------------- the program


async def read_whole(client: "Client", manifest: Object) -> Run:
    """Read a run together with the program that it runs."""
    program, note = await program_of(client, manifest)
    return await read_steps(client, manifest, program, (note,) if note else ())


async def read_steps(
    client: "Client", manifest: Object, program: "Program | None" = None, notes: tuple[str, ...] = (), before: Run | None = None
) -> Run:
    """Read a run with all its steps, also those that its status leaves out. `before` is what was read of it earlier."""
    whole, note = await whole_state(client, manifest, before.state if before is not None else None)
    return read_run(manifest, program, (*notes, note) if note else notes, whole)


async def read_family(client: "Client", manifest: Object, most: int = MOST_CHILDREN) -> Run:
    """Read a run with its child runs, theirs included, so many at most; a note tells what was left out."""
    run = await read_whole(client, manifest)
    names = [record.child for record in run.state.steps.values() if record.child is not None and record.kind != UNDO]
    children: dict[str, Run] = {}
    for name in names:
        if most <= 0:
            words = f"{len(names) - len(children)} child runs of {run.name} are not shown; look at them with `backstay tree NAME`"
            return replace(run, children=children, notes=(*run.notes, words))
        with suppress(NotFound, Forbidden):
            children[name] = await read_family(client, await client.get(resources.RUNS, run.namespace, name), most - 1)
            most -= 1 + _count(children[name])
    return replace(run, children=children)


def _count(run: Run) -> int:
    return sum(1 + _count(child) for child in run.children.values())


async def program_of(client: "Client", manifest: Mapping[str, Any]) -> "tuple[Program | None, str]":
    """Return the program that a run runs; None and the reason where it cannot be had."""
    from backstay.api.validate import parse_workflow
    from backstay.engine.program import compile_program

    try:
        spec = await definition_of(client, manifest)
        if spec is None:
            return None, ""
        template = _map(_map(manifest.get("spec")).get("workflow")).get("template")
        parsed = parse_workflow(spec)
        return compile_program((parsed.of_template(str(template)) if template else None) or parsed), ""
    except InvalidDefinition as error:
        return (
            None,
            f"steps that have not begun are not shown: the definition cannot be read by this version of backstay ({error.problems[0]})",
        )
    except NotFound:
        return None, "steps that have not begun are not shown: the definition that the run started with is gone"
    except Forbidden as error:
        return None, f"steps that have not begun are not shown: {error.message}"


async def definition_of(client: "Client", manifest: Mapping[str, Any]) -> Object | None:
    """Return the workflow spec of a run: its own, that of its pinned revision, or that which it would begin with; None where there is none yet."""
    reference = _map(_map(manifest.get("spec")).get("workflow"))
    if isinstance(reference.get("inline"), Mapping):
        return dict(reference["inline"])
    namespace = manifest["metadata"]["namespace"]
    pinned = _map(_map(manifest.get("status")).get("revision")).get("name")
    if pinned:
        return dict((await client.get(resources.CONTROLLER_REVISIONS, namespace, str(pinned)))["data"])
    if _map(manifest.get("status")).get("finishedAt") or not reference.get("name"):
        return None
    try:
        workflow = await client.get(resources.WORKFLOWS, namespace, str(reference["name"]))
    except NotFound:
        return None
    number = reference.get("revision")
    return await revision_spec(client, workflow, number) if number else dict(workflow["spec"])


async def revision_spec(client: "Client", workflow: Mapping[str, Any], number: int) -> Object | None:
    """Return the spec of a numbered revision of a Workflow; None where there is none of that number."""
    from backstay.names import LABEL_WORKFLOW, label_value

    meta = workflow["metadata"]
    selector = f"{LABEL_WORKFLOW}={label_value(meta['name'])}"
    page = await client.list(resources.CONTROLLER_REVISIONS, meta["namespace"], label_selector=selector)
    return next((dict(item["data"]) for item in page.items if item.get("revision") == number), None)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


# ---------------------------------------------------------------------------------------------------------------- watching


async def follow_run(client: "Client", manifest: Object) -> AsyncGenerator[tuple[Object, bool], None]:
    """Yield a run now and at every change, with whether it is gone; then it ends. An API server that is away for a while is waited for."""
    version = manifest["metadata"]["resourceVersion"]
    pause = _FIRST_PAUSE_SECONDS
    yield manifest, False
    while True:
        try:
            async with aclosing(_changes(client, manifest, version)) as changes:
                async for kind, seen in changes:
                    pause = _FIRST_PAUSE_SECONDS
                    yield seen, kind == "DELETED"
                    manifest = seen
                    if kind == "DELETED":
                        return
        except (Unavailable, Gone):
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        with suppress(Unavailable, Gone):
            newest, version = await _newest(client, manifest)
            if newest is None:
                yield manifest, True
                return
            if newest["metadata"]["resourceVersion"] != manifest["metadata"]["resourceVersion"]:
                manifest = newest
                yield manifest, False


async def _changes(client: "Client", manifest: Object, version: str) -> AsyncGenerator[tuple[str, Object], None]:
    """Yield the changes of one run after a version, until the server ends the watch."""
    meta = manifest["metadata"]
    stream = client.watch(
        resources.RUNS,
        meta["namespace"],
        field_selector=f"metadata.name={meta['name']}",
        resource_version=version,
        timeout_seconds=_WATCH_SECONDS,
    )
    async with aclosing(stream) as events:
        async for kind, seen in events:
            if kind != "BOOKMARK" and seen["metadata"]["uid"] == meta["uid"]:
                yield kind, seen


async def _newest(client: "Client", manifest: Object) -> tuple[Object | None, str]:
    """Return the run as it is now, None where it is gone, and the version to watch from: that of the list, for the run's own may be too old."""
    meta = manifest["metadata"]
    page = await client.list(resources.RUNS, meta["namespace"], field_selector=f"metadata.name={meta['name']}")
    same = (item for item in page.items if item["metadata"]["uid"] == meta["uid"])
    return next(same, None), page.resource_version


async def part() -> None:
    """Give connections that were cut in the middle of a stream the moment that TLS takes to close them, before the loop ends."""
    await asyncio.sleep(_PARTING_SECONDS)


def outcome(run: Run) -> Exit:
    """Return the exit code for a run that has ended."""
    return {"Succeeded": Exit.OK, "Failed": Exit.FAILED, "Cancelled": Exit.CANCELLED, "Compensated": Exit.CANCELLED}.get(
        str(run.state.run.phase), Exit.FAILED
    )
