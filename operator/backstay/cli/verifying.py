"""Auditing runs of a cluster: what has to be asked for, and in which order, so that a run that goes on meanwhile is not taken for a forged one."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from backstay.engine.audit import Audit, Kind, Place, Subject, audit, volume
from backstay.errors import NotFound
from backstay.kube import resources
from backstay.names import LABEL_RUN

if TYPE_CHECKING:
    from backstay.kube.client import Client

Object = dict[str, Any]
LOOKS: Final = 5
"""How often a run that goes on is looked at anew before what was found is believed."""
PAGE: Final = 20
"""WorkflowJournals that are read at a time: each takes some 60 KB, and at most some 400 KB."""
RUNS_PAGE: Final = 50
AT_ONCE: Final = 8
"""Runs of a namespace that are audited at a time."""


async def audited(client: "Client", manifest: Object) -> tuple[Object, Audit] | None:
    """Audit a run: its status, then its WorkflowJournals. Returns the object that was audited, and what was found; None where it is gone meanwhile.

    The operator may write between the two requests. So what was found counts where a second look finds the run as it was at the first.
    """
    found = await _look(client, manifest)
    for _ in range(LOOKS - 1):
        if not found.findings:
            break
        meta = manifest["metadata"]
        try:
            newest = await client.get(resources.RUNS, meta["namespace"], meta["name"])
        except NotFound:
            return None
        if newest["metadata"]["uid"] != meta["uid"]:
            return None
        is_same = newest["metadata"]["resourceVersion"] == meta["resourceVersion"]
        manifest, found = newest, await _look(client, newest)
        if is_same:
            break
    return manifest, found


async def _look(client: "Client", manifest: Object) -> Audit:
    meta, status = manifest["metadata"], manifest.get("status") or {}
    subject = Subject(str(meta["name"]), str(meta["uid"]))
    volumes = await _volumes(client, meta["namespace"], label_selector=f"{LABEL_RUN}={subject.uid}")
    found = audit(subject, status, [place for _, place in volumes])
    if not any(one.kind is Kind.MISSING for one in found.findings):
        return found
    return await _with_strays(client, manifest, found, volumes)


async def _volumes(client: "Client", namespace: str, **selector: str) -> list[tuple[str, Place]]:
    """Return WorkflowJournals with the UID of the run that they say to be of."""
    found = []
    async with aclosing(client.pages(resources.JOURNALS, namespace, limit=PAGE, **selector)) as pages:
        async for page in pages:
            for item in page.items:
                spec = item.get("spec") or {}
                found.append((str((spec.get("run") or {}).get("uid")), volume(str(item["metadata"]["name"]), spec)))
    return found


async def _with_strays(client: "Client", manifest: Object, found: Audit, volumes: list[tuple[str, Place]]) -> Audit:
    """Entries are missing: look for WorkflowJournals that have lost their label, and for those of another run of this name."""
    meta, subject = manifest["metadata"], found.subject
    named = await _volumes(client, meta["namespace"], field_selector=f"spec.run.name={subject.name}")
    known = {place.name for _, place in volumes}
    strays = [place for uid, place in named if uid == subject.uid and place.name not in known]
    if strays:
        again = audit(subject, manifest.get("status") or {}, [*(place for _, place in volumes), *strays])
        lost = f"{', '.join(place.name for place in strays)} has lost its label {LABEL_RUN}: an operator does not find it; give it back, {subject.uid}"
        return replace(again, notes=(*again.notes, lost))
    others = sorted({uid for uid, _ in named} - {subject.uid})
    if others:
        copy = (
            f"there are WorkflowJournals of a run of this name with the UID {', '.join(others)}: this run may be a copy that was restored"
        )
        return replace(found, notes=(*found.notes, copy))
    return found


async def audited_all(client: "Client", namespace: str) -> AsyncGenerator[tuple[Object, Audit], None]:
    """Audit every run of a namespace, in the order of their names."""
    async with aclosing(client.pages(resources.RUNS, namespace, limit=RUNS_PAGE)) as pages:
        async for page in pages:
            for begin in range(0, len(page.items), AT_ONCE):
                for found in await asyncio.gather(*(audited(client, run) for run in page.items[begin : begin + AT_ONCE])):
                    if found is not None:
                        yield found
