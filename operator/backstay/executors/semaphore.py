"""Semaphores as they stand in the cluster: read, made, changed and removed. Every change of a status is conditional on the version it was made for."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from backstay.api.base import parse_duration
from backstay.api.semaphore import SHORTEST_RATE
from backstay.engine.codec import time_from_json, time_to_json
from backstay.engine.policies.queueing import Claim, Lines, Rate, Slots, Starts
from backstay.kube.client import Client, Object
from backstay.kube.resources import SEMAPHORES
from backstay.names import API_VERSION, LABEL_MANAGED_BY, MANAGER, SEMAPHORE

SHOWN: Final = 50
"""How many of those who wait stand in the status: for eyes, and so that an operator that takes over goes on in the same order."""


@dataclass(frozen=True, slots=True)
class SeenSemaphore:
    """What is kept of a Semaphore. `holders` and `waiting` are claims by id; of a holder, `since` is when it got its slot."""

    namespace: str
    name: str
    uid: str
    resource_version: int = field(compare=False)
    generation: int
    slots: Slots
    is_ours: bool
    """Whether the operator made it, keeps it in line with what it is for, and takes it away again."""
    holders: Mapping[str, Claim]
    waiting: tuple[Claim, ...]
    starts: tuple[Starts, ...]
    queued: int = 0
    observed: int = -1
    run_uid: str = ""

    def held(self) -> Counter[str]:
        """Return how many slots are held, by key."""
        return Counter(claim.key for claim in self.holders.values())


def seen(manifest: Object) -> SeenSemaphore:
    """Read a Semaphore. What in its status cannot be read is left out: it is no claim to anything."""
    meta, spec, status = manifest["metadata"], manifest.get("spec") or {}, manifest.get("status") or {}
    holders = _claims(status.get("holders"))
    return SeenSemaphore(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=int(meta["resourceVersion"]),
        generation=meta.get("generation", 0),
        slots=slots_of(spec),
        is_ours=(meta.get("labels") or {}).get(LABEL_MANAGED_BY) == MANAGER,
        holders={claim.id: claim for claim in holders},
        waiting=tuple(_claims(status.get("waiting"))),
        starts=tuple(_starts(status.get("starts"))),
        queued=int(status.get("queued") or 0),
        observed=int(status.get("observedGeneration", -1)),
    )


def slots_of(spec: Mapping[str, Any]) -> Slots:
    """Read limit and rate of a Semaphore's spec, or of the concurrency of a Workflow."""
    rate, limit = spec.get("rate"), spec.get("limit")
    found = Rate(int(rate["limit"]), max(parse_duration(rate["per"]), SHORTEST_RATE)) if rate else None
    return Slots(None if limit is None else int(limit), found)


def _claims(items: Any) -> Iterable[Claim]:
    for item in items if isinstance(items, list) else ():
        try:
            since = time_from_json(item["since"])
            yield Claim(item["run"], item["uid"], item.get("step", ""), item.get("key", ""), since, int(item.get("priority") or 0))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue


def _starts(items: Any) -> Iterable[Starts]:
    for item in items if isinstance(items, list) else ():
        try:
            yield Starts(item.get("key", ""), time_from_json(item["at"]), int(item.get("count", 1)))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue


def status_of(
    generation: int, holders: Mapping[str, Claim], lines: Lines, without: Collection[str], starts: Sequence[Starts]
) -> dict[str, Any]:
    """Return the status to write: who holds it, and the first of those who wait: those in `lines` without those who have just got a slot."""
    waiting = list(islice((claim for claim in lines if claim.id not in without), SHOWN))
    found = {
        "holders": [_to_json(claim) for claim in holders.values()],
        "waiting": [_to_json(claim) | ({"priority": claim.priority} if claim.priority else {}) for claim in waiting],
        "starts": [_without_empty({"key": start.key, "at": time_to_json(start.at), "count": start.count}) for start in starts],
    }
    counts = {"observedGeneration": generation, "held": len(holders), "queued": len(lines) - len(without)}
    return counts | {key: value for key, value in found.items() if value}


def _to_json(claim: Claim) -> dict[str, Any]:
    return _without_empty({"key": claim.key, "run": claim.run, "uid": claim.uid, "step": claim.path, "since": time_to_json(claim.since)})


def _without_empty(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if value != ""}


async def write(client: Client, semaphore: SeenSemaphore, status: Mapping[str, Any]) -> SeenSemaphore:
    """Write a status over the version it was made for. Raises Conflict where there is a newer one."""
    patch = [_precondition(semaphore), {"op": "add", "path": "/status", "value": status}]
    return seen(await client.patch(SEMAPHORES, semaphore.namespace, semaphore.name, patch, subresource="status", kind="json"))


async def make(client: Client, namespace: str, name: str, slots: Slots) -> SeenSemaphore:
    """Make one of ours. Raises AlreadyExists."""
    meta = {"name": name, "namespace": namespace, "labels": {LABEL_MANAGED_BY: MANAGER}}
    body = {"apiVersion": API_VERSION, "kind": SEMAPHORE, "metadata": meta, "spec": spec_of(slots)}
    return seen(await client.create(SEMAPHORES, namespace, body))


async def change(client: Client, semaphore: SeenSemaphore, slots: Slots) -> SeenSemaphore:
    """Give one of ours other limits."""
    patch = [_precondition(semaphore), {"op": "add", "path": "/spec", "value": spec_of(slots)}]
    return seen(await client.patch(SEMAPHORES, semaphore.namespace, semaphore.name, patch, kind="json"))


async def remove(client: Client, semaphore: SeenSemaphore) -> None:
    """Take one of ours away, unless it was used meanwhile: then Conflict."""
    version = str(semaphore.resource_version)
    await client.delete(SEMAPHORES, semaphore.namespace, semaphore.name, uid=semaphore.uid, resource_version=version)


def spec_of(slots: Slots) -> dict[str, Any]:
    """Write limit and rate as a spec."""
    found: dict[str, Any] = {} if slots.limit is None else {"limit": slots.limit}
    if slots.rate is not None:
        found["rate"] = {"limit": slots.rate.limit, "per": f"{round(slots.rate.per.total_seconds() * 1000)}ms"}
    return found


def _precondition(semaphore: SeenSemaphore) -> dict[str, Any]:
    return {"op": "replace", "path": "/metadata/resourceVersion", "value": str(semaphore.resource_version)}
