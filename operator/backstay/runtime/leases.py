"""The Leases of an installation (coordination.k8s.io/v1), as one process sees and writes them: who works, and until when.

    take     a Lease that nobody holds, or whose holder has not renewed it for as long as it says, over the version at which that was seen
    renew    ours, every quarter of its length, over the version that we wrote: where that works, nobody else has held it in between
    valid    for three quarters of its length after the last renewal was asked for; from then on we do nothing under it until it is renewed
    release  at the end: the next one need not wait

How long a Lease of another has not been renewed is measured here, from the moment at which its record was last seen to change: clocks of
machines differ (k8s.io/client-go/tools/leaderelection does the same). The gap between the last quarter and the end is what two clocks may
differ by in speed. No Lease can keep a request from arriving late: what is done under one is safe twice in any case (DESIGN, promise 2).
"""

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from backstay.errors import Conflict, NotFound, Unavailable
from backstay.kube.client import Client, Object
from backstay.kube.informer import Informer
from backstay.kube.resources import LEASES
from backstay.names import LABEL_LEASES, LABEL_MANAGED_BY, MANAGER, label_value

log = logging.getLogger(__name__)

VALID_SHARE: Final = 0.75
"""For which part of a Lease's length its holder works without having renewed it."""
RENEW_SHARE: Final = 0.25
"""After which part of its length it is renewed; a renewal that has no answer by then is asked for anew."""


@dataclass(frozen=True, slots=True)
class SeenLease:
    """What is kept of a Lease. `renewed` is as its holder wrote it, by its own clock: only that it changes means anything."""

    namespace: str
    name: str
    uid: str
    resource_version: int = field(compare=False)
    holder: str
    seconds: float
    renewed: str
    transitions: int = 0
    run_uid: str = ""


def seen(manifest: Object) -> SeenLease:
    """Read a Lease. One without a holder is nobody's."""
    meta, spec = manifest["metadata"], manifest.get("spec") or {}
    return SeenLease(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=int(meta["resourceVersion"]),
        holder=str(spec.get("holderIdentity") or ""),
        seconds=float(spec.get("leaseDurationSeconds") or 0),
        renewed=str(spec.get("renewTime") or ""),
        transitions=int(spec.get("leaseTransitions") or 0),
    )


def slot_of(holder: str) -> str:
    """Return which place a holder has: the part of its identity that a process keeps that is started again in the same pod."""
    return holder.rpartition("_")[0]


class Leases:
    """Single-threaded. `changed()` is called when the record of a Lease has changed. Times are those of the loop's clock, in seconds."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        installation: str,
        slot: str,
        seconds: float,
        changed: Callable[[], None],
        now: Callable[[], datetime],
    ) -> None:
        """`slot` names the place where this process runs: no other process has it at the same time, and the next one here has it again."""
        self.identity = f"{slot}_{secrets.token_hex(4)}"
        self.seconds = seconds
        self._client = client
        self._namespace = namespace
        self._label = {LABEL_MANAGED_BY: MANAGER, LABEL_LEASES: label_value(installation)}
        self._changed = changed
        self._wall_clock = now
        self._heard_at: dict[str, float] = {}
        self._before: set[str] = set()
        """Who had our place before us, as was seen at the start. Whoever takes it later is beside us, by mistake: the last one started goes on."""
        self._until: dict[str, tuple[float, float]] = {}
        """Until when those of ours are valid: by the loop's clock, and by the one that goes on while the machine sleeps."""
        self.late: set[str] = set()
        """Those of ours that were renewed after they had ceased to be valid, be it for a moment: what was to be done meanwhile was left alone.
        Whoever sees to it takes them out."""
        self.informer: Informer[SeenLease] = Informer(
            client,
            LEASES,
            namespace=namespace,
            label_selector=f"{LABEL_LEASES}={label_value(installation)}",
            trim=seen,
            on_change=self._told,
        )

    # ---------------------------------------------------------------------------------------------------------- looking

    def is_valid(self, name: str) -> bool:
        """Tell whether we may work under a Lease now. A process that was stopped or a machine that has slept finds out here."""
        until = self._until.get(name)
        return until is not None and _now() < until[0] and _awake() < until[1]

    def get(self, name: str) -> SeenLease | None:
        """Return what is known of a Lease."""
        return self.informer.get(self._namespace, name)

    def is_ours(self, name: str) -> bool:
        """Tell whether a Lease names us, valid or not."""
        found = self.get(name)
        return found is not None and found.holder == self.identity

    def left_seconds(self, name: str) -> float:
        """Return how long the holder of a Lease has to renew it yet; 0 where nobody holds it, or where it is over."""
        found = self.get(name)
        if found is None or not found.holder or found.holder in self._before:
            return 0.0
        return max(0.0, self._heard_at.get(name, _now()) + found.seconds - _now())

    def silent_seconds(self, name: str) -> float:
        """Return for how long nothing was heard of a Lease."""
        return _now() - self._heard_at.get(name, _now())

    def names(self) -> list[str]:
        """Return the names of all Leases of this installation, in order."""
        return sorted(lease.name for lease in self.informer.objects())

    def _told(self, event: str, new: SeenLease, _before: SeenLease | None) -> None:
        if event == "DELETED":
            self._heard_at.pop(new.name, None)
        else:
            self._heard_at[new.name] = _now()
        if not self.informer.synced.is_set() and slot_of(new.holder) == slot_of(self.identity):
            self._before.add(new.holder)
        self._changed()

    # ---------------------------------------------------------------------------------------------------------- writing

    async def take(self, name: str) -> bool:
        """Take a Lease that is free, or over; tell whether it is ours now. Raises ApiError; where somebody was faster, it is Conflict."""
        found, now = self.get(name), self._moment()
        spec = {"holderIdentity": self.identity, "leaseDurationSeconds": math.ceil(self.seconds), "acquireTime": now, "renewTime": now}
        if found is None:
            meta = {"name": name, "namespace": self._namespace, "labels": self._label}
            body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": meta, "spec": {**spec, "leaseTransitions": 0}}
            return await self._written(name, lambda: self._client.create(LEASES, self._namespace, body))
        return await self._write(found, {**spec, "leaseTransitions": found.transitions + 1})

    async def renew(self, name: str) -> bool:
        """Renew one of ours; tell whether that has worked. Where it has not, the watch tells whose it is, or time does. Raises ApiError."""
        found = self.get(name)
        if found is None or found.holder != self.identity:
            return False
        return await self._write(found, {"leaseDurationSeconds": math.ceil(self.seconds), "renewTime": self._moment()})

    async def release(self, name: str) -> None:
        """Give one of ours back: whoever wants it may take it at once. Raises ApiError."""
        self._until.pop(name, None)
        found = self.get(name)
        if found is not None and found.holder == self.identity:
            await self._write(found, {"holderIdentity": None, "renewTime": self._moment()})
            self._until.pop(name, None)

    async def remove(self, name: str) -> None:
        """Delete a Lease that is of no use any more, as it was seen. Raises ApiError."""
        self._until.pop(name, None)
        found = self.get(name)
        if found is None:
            return
        try:
            await self._client.delete(LEASES, self._namespace, name, uid=found.uid, resource_version=str(found.resource_version))
        except (Conflict, NotFound):
            return

    def _moment(self) -> str:
        """Return the time as a Lease holds it (metav1.MicroTime)."""
        return self._wall_clock().isoformat(timespec="microseconds").replace("+00:00", "Z")

    async def _write(self, lease: SeenLease, spec: dict[str, Any]) -> bool:
        body = {"metadata": {"resourceVersion": str(lease.resource_version)}, "spec": spec}
        return await self._written(lease.name, lambda: self._client.patch(LEASES, self._namespace, lease.name, body))

    async def _written(self, name: str, write: Callable[[], Any]) -> bool:
        """Write, and note until when the Lease is valid: counted from before it was asked for."""
        asked, awake = _now(), _awake()
        try:
            async with asyncio.timeout(max(0.5, self.seconds * RENEW_SHARE)):
                found = seen(await write())
        except TimeoutError as error:
            raise Unavailable(0, "Timeout", f"Lease {name} was not written in time") from error
        self.informer.remember(found)
        self._heard_at[name] = _now()
        if found.holder != self.identity:
            return False
        if name in self._until and not self.is_valid(name):
            self.late.add(name)
        valid = self.seconds * VALID_SHARE
        self._until[name] = (asked + valid, awake + valid)
        return True


def _now() -> float:
    return asyncio.get_running_loop().time()


def _awake() -> float:
    """The clock that goes on while the machine sleeps, where there is one: the loop's clock does not (clock_gettime(2))."""
    return time.clock_gettime(_BOOT_CLOCK) if _BOOT_CLOCK is not None else 0.0


_BOOT_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)
