"""What of a run does not stand in its status: steps that it leaves out, and older entries of its journal. Read from the run's WorkflowJournals."""

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backstay.engine import journal
from backstay.engine.model import Entry, State
from backstay.errors import ApiError, IllegalTransition, TamperedState
from backstay.kube.manifests import RunRef

if TYPE_CHECKING:
    from backstay.kube.client import Client

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Older:
    """Entries that are no longer in the status, oldest first, and what keeps them from being had; empty where nothing does."""

    entries: tuple[Entry, ...] = ()
    trouble: str = ""


NOTHING_OLDER = Older()


async def whole_state(client: "Client", manifest: Object, known: State | None = None) -> tuple[State | None, str]:
    """Return a run's state where its status leaves out steps; None where it shows them all, or where they cannot be had, with the reason.

    `known` is the state at an earlier look: what came since is mostly in the status, and nothing else has to be asked for.
    """
    status = manifest.get("status") or {}
    omitted = status.get("stepsOmitted")
    if not omitted:
        return None, ""
    try:
        window = journal.window_of(status)
        base = known if known is not None and known.sequence >= window.before else await _fold(client, manifest, window.before)
        return journal.verify(status, base), ""
    except (TamperedState, IllegalTransition) as error:
        return None, f"{omitted} steps are not shown: {error}"
    except ApiError as error:
        return None, f"{omitted} steps are not shown: {_words(error)}"


async def older_entries(client: "Client", manifest: Object) -> Older:
    """Return the entries of a run's journal that its status does not hold any more."""
    from backstay.runtime.archive import Archive

    entries: list[Entry] = []
    try:
        window = journal.window_of(manifest.get("status") or {})
        dropped, count = window.dropped, window.archived
        if not count:
            return Older()
        async with aclosing(Archive(client).parts(_ref(manifest), dropped + 1)) as parts:
            async for part in parts:
                entries += [entry for entry in part.entries if dropped + len(entries) < entry.sequence <= dropped + count]
                if len(entries) == count:
                    return Older(tuple(entries))
        begin = dropped + len(entries) + 1
        return Older(tuple(entries), await Archive(client).missing(_ref(manifest), begin, dropped + count))
    except TamperedState as error:
        return Older(tuple(entries), str(error))
    except ApiError as error:
        return Older(tuple(entries), _words(error))


async def _fold(client: "Client", manifest: Object, last: int) -> State:
    from backstay.runtime.archive import Archive

    return await Archive(client).fold(_ref(manifest), last)


def _ref(manifest: Object) -> RunRef:
    meta = manifest["metadata"]
    return RunRef(str(meta.get("uid") or ""), meta["name"], meta["namespace"])


def _words(error: ApiError) -> str:
    return f"the run's WorkflowJournals cannot be read ({error.message})"
