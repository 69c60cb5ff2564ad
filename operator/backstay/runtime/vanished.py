"""A run is gone: was it there to go? One that our finalizer held, and that had not ended, leaves something behind that nobody undoes any more."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from backstay.engine import codec
from backstay.engine.model import JobState, State
from backstay.engine.vanished import left_behind
from backstay.errors import TamperedState
from backstay.runtime.announcing import Announcer
from backstay.runtime.jobs import JobWatches
from backstay.runtime.ownership import Ownership
from backstay.runtime.queue import Key
from backstay.runtime.runs import RunWatches
from backstay.runtime.store import Known
from backstay.runtime.view import Object, is_finished

MOST_UNSURE: Final = 1000


@dataclass(slots=True)
class Vanished:
    """Tells of runs that went although they may not. Only of what is certain: how a run was at its very end the watch tells, for another process
    may have ended it meanwhile."""

    runs: RunWatches
    jobs: JobWatches
    announcer: Announcer
    shards: Ownership
    _unsure: OrderedDict[Key, Known] = field(default_factory=OrderedDict)
    """Runs that the API server does not have any more, and of whose end the watch has not told yet."""

    def gone(self, key: Key, known: Known) -> None:
        """A run is there no longer. Does no I/O."""
        if known.final is None and self.runs.has(key):
            self._unsure[key] = known
            if len(self._unsure) > MOST_UNSURE:
                self._unsure.popitem(last=False)
        else:
            self._look(key, known)

    def left(self, key: Key, final: Object | None) -> None:
        """The watch has told of the end of a run that was gone already."""
        known = self._unsure.pop(key, None)
        if known is not None:
            known.final = final
            self._look(key, known)

    def _look(self, key: Key, known: Known) -> None:
        last = known.final or (known.run if known.wrote else None)  # a list that lacks it does not tell how it was
        if not known.guarded or last is None or is_finished(last) or is_finished(known.run) or not self.shards.owns(key):
            return
        left = left_behind(known.program, _state(known, last.get("status") or {}), self._staying(key))
        if left:
            self.announcer.vanished(known.run, left)

    def _staying(self, key: Key) -> list[str]:
        seen = self.jobs.of(key.namespace).jobs.of(key.uid)
        return [job.name for job in seen if job.unowned and job.state is JobState.ACTIVE and not job.deleting]


def _state(known: Known, status: Mapping[str, Any]) -> State:
    """Return the state that the run was in at its end, also where another process has written it."""
    if known.state is not None and status == known.status:
        return known.state
    try:
        return codec.state_from_status(status)
    except TamperedState:
        return known.state or State()
