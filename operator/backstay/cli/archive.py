"""Steps that a run's status leaves out: read from its WorkflowJournals. (`verifying` reads the whole journal.)"""

from typing import TYPE_CHECKING, Any

from backstay.engine import journal
from backstay.engine.model import State
from backstay.errors import ApiError, IllegalTransition, TamperedState
from backstay.kube.manifests import RunRef

if TYPE_CHECKING:
    from backstay.kube.client import Client

Object = dict[str, Any]


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
        return None, f"{omitted} steps are not shown: {unreadable(error)}"


async def _fold(client: "Client", manifest: Object, last: int) -> State:
    from backstay.runtime.archive import Archive

    return await Archive(client).fold(_ref(manifest), last)


def _ref(manifest: Object) -> RunRef:
    meta = manifest["metadata"]
    return RunRef(str(meta.get("uid") or ""), meta["name"], meta["namespace"])


def unreadable(error: ApiError) -> str:
    """Say that WorkflowJournals cannot be read."""
    return f"the run's WorkflowJournals cannot be read ({error.message})"
