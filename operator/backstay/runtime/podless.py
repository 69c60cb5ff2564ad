"""Jobs that go on without a pod: why there is none is only in the Events of the Job controller, which are asked for sparingly."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from backstay.engine.model import Fault
from backstay.errors import ApiError
from backstay.executors import job
from backstay.kube.client import Client

FIRST_PAUSE_SECONDS: Final = 2.5
LONGEST_PAUSE_SECONDS: Final = 300.0
"""A Job's Events are read again after a pause, each twice as long: the API server finds them by reading all those of the namespace."""
SPACING_SECONDS: Final = 0.1
"""Between two such readings, whatever the Jobs: at most ten a second."""


@dataclass(slots=True)
class _Podless:
    """What is known of one Job without a pod. Times are this machine's (`time.monotonic`), in seconds."""

    next_at: float
    pause: float
    fault: Fault | None = None
    timer: asyncio.TimerHandle | None = None


class PodlessJobs:
    """Asks why Jobs have no pod. `wake(run_uid)` is called when it is time to ask again."""

    def __init__(self, client: Client, wake: Callable[[str], bool]) -> None:
        self._client = client
        self._wake = wake
        self._jobs: dict[str, _Podless] = {}
        self._next_reading = 0.0

    def __len__(self) -> int:
        return len(self._jobs)

    async def look(self, seen: job.SeenJob, pods: Sequence[job.SeenPod]) -> bool:
        """Find out why a Job has no pod, where it has none for some time and was not asked about just now; tell whether a reason was found now."""
        if not job.is_podless(seen, pods):
            self.forget(seen.uid)
            return False
        now = time.monotonic()
        known = self._jobs.get(seen.uid)
        if known is None:
            known = self._jobs[seen.uid] = _Podless(seen.noticed_at + job.NO_POD_AFTER.total_seconds(), FIRST_PAUSE_SECONDS)
        if now >= known.next_at and now < self._next_reading:
            known.next_at = self._next_reading
        if now < known.next_at:
            self._wake_at(seen, known)
            return False
        self._next_reading = now + SPACING_SECONDS
        known.next_at, known.pause = now + known.pause, min(LONGEST_PAUSE_SECONDS, known.pause * 2)
        known.fault = await self._ask(seen, pods)
        self._wake_at(seen, known)
        return known.fault is not None

    def why(self, uids: Sequence[str]) -> dict[str, Fault]:
        """Return what is known, by the Jobs' UIDs."""
        if not self._jobs:
            return {}
        return {uid: known.fault for uid in uids if (known := self._jobs.get(uid)) is not None and known.fault is not None}

    def forget(self, uid: str) -> None:
        """A Job has a pod, or has ended, or is gone."""
        known = self._jobs.pop(uid, None)
        if known is not None and known.timer is not None:
            known.timer.cancel()

    async def _ask(self, seen: job.SeenJob, pods: Sequence[job.SeenPod]) -> Fault | None:
        """Events that are older than the newest pod tell why that one came late. After a pod was lost, the next one takes its time."""
        own = [pod for pod in pods if pod.job_uid == seen.uid]
        try:
            told = await job.why_no_pod(self._client, seen, max((pod.created_at for pod in own), default=""))
        except ApiError as error:
            return Fault("StartTimeout", "no pod was created", f"the Job has no pod yet, and its Events cannot be read: {error}")
        return told or (None if any(pod.lost for pod in own) else job.unexplained(seen))

    def _wake_at(self, seen: job.SeenJob, known: _Podless) -> None:
        if known.timer is not None:
            known.timer.cancel()
        delay = max(0.0, known.next_at - time.monotonic())
        known.timer = asyncio.get_running_loop().call_later(delay, self._wake, seen.run_uid)
