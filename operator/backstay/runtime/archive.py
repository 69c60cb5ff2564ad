"""A run's WorkflowJournals: where the older entries of its journal go, and what they are read for.

Written first, then left out of the status: an entry stands in one of the two at every moment, and in both for a moment; its number says which
entry it is. Only entries that stand in a written status are moved: they cannot change any more, so whoever moves them moves the same.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from backstay.engine import bounds, journal
from backstay.engine.model import Entry, State
from backstay.errors import (
    AlreadyExists,
    ApiError,
    ArchiveIncomplete,
    ArchiveNeeded,
    Conflict,
    Forbidden,
    IllegalTransition,
    NotFound,
    TamperedState,
)
from backstay.kube import journals
from backstay.kube.client import Client
from backstay.kube.journals import Part
from backstay.kube.manifests import RunRef
from backstay.kube.resources import JOURNALS
from backstay.names import LABEL_RUN, journal_name
from backstay.runtime.store import Known, Reading, read_state
from backstay.runtime.view import Object, ref_of

PAGE: Final = 20
"""WorkflowJournals that are read at a time: each takes some 60 KB, and at most some 400 KB."""


class Overtaken(Conflict):
    """More entries were moved than the status knows that it was moved from."""


class Archive:
    """Moves entries to WorkflowJournals, and reads them where a status alone does not tell what a run's state is."""

    def __init__(self, client: Client) -> None:
        self._client = client

    # ---------------------------------------------------------------------------------------------------------- moving

    async def move(self, run: RunRef, written: Sequence[Mapping[str, Any]], count: int) -> bounds.Moved:
        """Move the oldest `count` of the entries that stand in a run's written status. Doing so again is the same deed.

        Raises Overtaken where more was moved than this status knows: it is not the newest. ArchiveIncomplete where something else has the
        name, and what the API server answers otherwise.
        """
        wanted = journals.manifest(run, written[:count])
        try:
            await self._client.create(JOURNALS, run.namespace, wanted, strict=True)
        except AlreadyExists:
            return await self._moved_before(run, written)
        except Forbidden as error:
            if not error.is_terminating_namespace:
                raise
            return bounds.Moved(wanted["spec"]["last"], lost=True)
        except NotFound as error:
            raise _unserved(error) from error
        return bounds.Moved(wanted["spec"]["last"])

    async def _moved_before(self, run: RunRef, written: Sequence[Mapping[str, Any]]) -> bounds.Moved:
        """Somebody was here before, perhaps this operator itself: what was moved then counts, if it is what the status holds."""
        name = journal_name(run.name, run.uid, written[0]["sequence"])
        page = await self._client.list(JOURNALS, run.namespace, field_selector=f"metadata.name={name}")
        found = next((item for item in page.items if item["metadata"]["name"] == name), None)
        if found is None:
            raise Conflict(409, "Conflict", f"WorkflowJournal {name} was there and was deleted just now")
        part = journals.part_of(found)
        known = journal.window_of({"journal": {"entries": list(written), "archived": part.first - 1}}).entries
        if part.run_uid != run.uid or _seals(part.entries[: len(known)]) != _seals(known[: len(part.entries)]):
            raise ArchiveIncomplete(f"WorkflowJournal {name} holds other entries than those that are to be moved to it")
        if part.last > known[-1].sequence:
            raise Overtaken(
                409, "Conflict", f"WorkflowJournal {name} holds entries up to {part.last}, and the status ends with {known[-1].sequence}"
            )
        return bounds.Moved(part.last)

    # --------------------------------------------------------------------------------------------------------- reading

    async def read(self, known: Known) -> Reading:
        """Return the state to go on from: from the status where that tells, else from the WorkflowJournals as well.

        Raises TamperedState where nothing that can be believed is left; ArchiveIncomplete where WorkflowJournals are missing.
        """
        base = None
        while True:
            run = known.run
            try:
                return read_state(known, base)
            except ArchiveNeeded:
                window = journal.window_of(run.get("status") or {})
            try:
                base = await self.fold(ref_of(run), window.before, base or known.state)
            except ArchiveIncomplete as error:
                if not run["metadata"].get("deletionTimestamp"):
                    raise
                return _without(run, window, error)

    async def fold(self, run: RunRef, last: int, base: State | None = None) -> State:
        """Return the state after entry number `last`, from WorkflowJournals and what is known already. Raises ArchiveIncomplete."""
        found = journal.Fold(base)
        async with aclosing(self.parts(run, found.sequence + 1)) as parts:
            async for part in parts:
                _add(found, part, last)
                if found.sequence >= last:
                    return found.state
                await asyncio.sleep(0)  # other runs go on meanwhile
        if found.sequence < last:
            raise ArchiveIncomplete(await self.missing(run, found.sequence + 1, last))
        return found.state

    async def parts(self, run: RunRef, first: int = 1) -> AsyncGenerator[Part, None]:
        """Yield a run's WorkflowJournals in order, from the one with entry `first` on, for as long as there is no gap."""
        early: dict[int, Part] = {}
        pages = self._client.pages(JOURNALS, run.namespace, label_selector=f"{LABEL_RUN}={run.uid}", limit=PAGE)
        async with aclosing(pages):
            async for page in _served(pages):
                for part in map(journals.part_of, page.items):
                    if part.run_uid == run.uid and part.last >= first:
                        early[part.first] = part
                while (begin := next((begin for begin in early if begin <= first), None)) is not None:
                    part = early.pop(begin)
                    first = max(first, part.last + 1)
                    yield part

    async def missing(self, run: RunRef, first: int, last: int) -> str:
        """Say which entries are missing; and where there are those of a run of the same name, that this one seems to be a copy of it."""
        words = f"the entries {first} to {last} of its journal are in no WorkflowJournal of this run (UID {run.uid})"
        page = await self._client.list(JOURNALS, run.namespace, field_selector=f"spec.run.name={run.name}")
        others = sorted({str(item["spec"]["run"]["uid"]) for item in page.items if item["spec"]["run"]["name"] == run.name} - {run.uid})
        if others:
            words += f"; there are some of a run of this name with the UID {', '.join(others)}: this one is a copy, restored under a UID of its own"
        return words


def _seals(entries: Sequence[Entry]) -> list[str]:
    return [journal.hash_of(entry) for entry in entries]


def _add(found: journal.Fold, part: Part, last: int) -> None:
    try:
        for entry in part.entries:
            if found.sequence < entry.sequence <= last:
                found.add(entry)
    except (TamperedState, IllegalTransition) as error:
        raise ArchiveIncomplete(f"WorkflowJournal {part.name}: {error}") from error


def _without(run: Object, window: journal.Window, error: ArchiveIncomplete) -> Reading:
    """A run that is being deleted goes on without its WorkflowJournals: foreground deletion, and a namespace that goes, take them away first.

    What its status shows is undone as ever; that something else is not known any more is told in the journal.
    """
    status = run["status"]
    kept = {key: value for key, value in status["journal"].items() if key != "archived"} | {"dropped": window.before}
    rest = {key: value for key, value in status.items() if key != "stepsOmitted"} | {"journal": kept}
    told = f"{error}; it is being deleted, and goes on with the steps that its status shows: {window.omitted} others are not known any more"
    return Reading(run, journal.remains(rest), rest, tampered=told)


async def _served(pages: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    try:
        async for page in pages:
            yield page
    except NotFound as error:
        raise _unserved(error) from error


def _unserved(error: NotFound) -> ApiError:
    """Not the run is missing, but the kind, or the namespace: that is no reason to read the run anew at once."""
    return ApiError(
        error.status, error.reason, f"WorkflowJournals are not served ({error.message}); install the custom resources of this version"
    )
