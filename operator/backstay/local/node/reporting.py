"""Writing a pod's status to the API server: the newest state, in order, until the server has it."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Final

from backstay import errors
from backstay.local.node.api import TRANSIENT, Api, Obj, version_of
from backstay.local.node.state import PodState, status_of

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = (0.05, 5.0)


class Reporter:
    """Holds the newest known version of a pod and merges the node's view of it into its status.

    `gone` is true once the object, or at least the one with this UID, is no more.
    """

    def __init__(self, pod: Obj, state: PodState, api: Api) -> None:
        metadata = pod["metadata"]
        self.pod = pod
        self.state = state
        self.gone = False
        self.path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        self._api, self._uid = api, metadata["uid"]
        self._lock = asyncio.Lock()
        self._timer: asyncio.Task[None] | None = None
        self._writing: set[asyncio.Task[None]] = set()

    def take(self, pod: Obj) -> bool:
        """Remember a version that the watch or an answer brought; False when it is none newer than the known one."""
        if version_of(pod) <= version_of(self.pod):
            return False
        self.pod = pod
        return True

    def report_later(self, seconds: float) -> None:
        """Report in a while, unless something is reported before: an end that comes soon saves a write."""
        self._forget_timer()
        self._timer = asyncio.create_task(self._after(seconds))
        self._writing.add(self._timer)
        self._timer.add_done_callback(self._writing.discard)

    async def report(self) -> None:
        """Write the state as it is now; returns when the server has it, or when the pod is gone."""
        self._forget_timer()
        async with self._lock:
            await self._write()

    async def _after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._timer = None
        async with self._lock:
            await self._write()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _write(self) -> None:
        pause, longest = RETRY_SECONDS
        while not self.gone:
            status = status_of(self.pod, self.state, datetime.now(UTC))
            if status.items() <= (self.pod.get("status") or {}).items():
                return
            preconditions = {"uid": self._uid, "resourceVersion": self.pod["metadata"]["resourceVersion"]}
            try:
                self.take(await self._api.patch(f"{self.path}/status", {"metadata": preconditions, "status": status}))
                return
            except (errors.NotFound, errors.Conflict):
                await self._refresh()
            except TRANSIENT:
                pass
            except errors.ApiError as fault:
                log.error("pod %s: the server refuses its status: %s", self.path, fault)
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    async def _refresh(self) -> None:
        """Look what became of the pod: changed by someone else, or gone, perhaps with another in its place."""
        try:
            pod = await self._api.get(self.path)
        except errors.NotFound:
            self.gone = True
        except TRANSIENT:
            return
        else:
            self.gone = self.gone or pod["metadata"]["uid"] != self._uid
            self.take(pod)
