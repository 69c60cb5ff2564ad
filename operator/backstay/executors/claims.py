"""Claims of workspaces: made before the first Job that mounts them. Making one twice is the same claim."""

from collections.abc import Mapping
from typing import Any

from backstay import errors, names
from backstay.executors.resource.acts import whose
from backstay.kube import manifests
from backstay.kube.client import Client
from backstay.kube.manifests import RunRef
from backstay.kube.resources import CLAIMS


async def ensure(client: Client, run: RunRef, claims: list[Mapping[str, Any]], made: set[str]) -> None:
    """Make the claims that are not among those that were `made`, and add them there.

    Raises Invalid where one is refused for good, also where somebody else's has its name; Forbidden for now, as with a Job; Unavailable where
    nobody can tell yet whether it was made: calling again is safe.
    """
    for wanted in claims:
        name = str(wanted["name"])
        if name in made:
            continue
        try:
            await client.create(CLAIMS, run.namespace, manifests.claim(run, wanted), strict=True)
        except errors.AlreadyExists:
            await _check_ours(client, run, name)
        made.add(name)


async def _check_ours(client: Client, run: RunRef, name: str) -> None:
    found = await client.get(CLAIMS, run.namespace, name)
    if (found["metadata"].get("labels") or {}).get(names.LABEL_MADE_BY) != run.uid:
        words = f"the PersistentVolumeClaim {run.namespace}/{name}, which a workspace needs, is there already, {whose(found)}"
        raise errors.Invalid(409, "AlreadyExists", f"{words}; choose another name, or mount it as existingClaim")
    if found["metadata"].get("deletionTimestamp"):
        raise errors.Invalid(
            409, "Conflict", f"somebody is deleting the PersistentVolumeClaim {run.namespace}/{name}, which a workspace needs"
        )
