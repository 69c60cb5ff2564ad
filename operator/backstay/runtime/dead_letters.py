"""DeadLetters: written for steps that gave up, and settled by what their runs have written of them.

    a run's look    asks for the letters of its steps (CreateDeadLetter), and is told of their resolutions (`facts`)
    a letter's look what has its run written of it? (`engine/letters.py` judges) → its status, in one write over the version it was judged by
    a new run       Replaying is written first, with its name; then the run is made, under a name that comes from the letter's UID; then Replayed

A letter is looked at when it changes, when its run has written something that concerns it, and when this operator has started: so whatever a
crash leaves undone is done by the next one. Two operators alive at once do no harm: the version lets only one of them write, and a run of
that name is made once.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from backstay.api.dead_letter import LetterPhase
from backstay.engine import codec, journal, letters
from backstay.engine.conditions import condition
from backstay.engine.letters import Seen, Standing, Verdict
from backstay.engine.model import CreateDeadLetter, DeadLetterFact, Decision, State
from backstay.errors import ApiError, Conflict, Forbidden, Invalid, NotFound, TamperedState, TooManyRequests, Unavailable
from backstay.executors import child_run, dead_letter, refusals
from backstay.executors.dead_letter import SeenLetter
from backstay.kube import resources
from backstay.kube.client import Client
from backstay.kube.informer import Informer
from backstay.names import DEAD_LETTER
from backstay.observe.events import Announcer as Events
from backstay.observe.metrics import Metrics
from backstay.runtime.archive import Archive
from backstay.runtime.ownership import ALONE, Ownership
from backstay.runtime.queue import Key, KeyedQueue
from backstay.runtime.replays import Refused, run_of
from backstay.runtime.store import Known, RunStore
from backstay.runtime.view import Object, is_finished, ref_of

log = logging.getLogger(__name__)

WORKERS: Final = 8
"""Letters that are looked at at the same time."""
TRY_AGAIN_SECONDS: Final = 5.0
"""After how long a run is made again that was refused for now."""
LONGEST_TIMER: Final = timedelta(hours=1)


class DeadLetters:
    """All letters. `wake_run(uid)` has a run looked at. A letter that is settled is kept for `ttl`; zero keeps it for ever."""

    def __init__(
        self,
        client: Client,
        namespaces: tuple[str, ...],
        store: RunStore,
        wake_run: Callable[[str], object],
        events: Events,
        metrics: Metrics,
        now: Callable[[], datetime],
        ttl: timedelta,
        shards: Ownership = ALONE,
    ) -> None:
        self._client = client
        self._store = store
        self._archive = Archive(client)
        self._wake_run = wake_run
        self._events = events
        self._metrics = metrics
        self._now = now
        self._ttl = ttl
        self._shards = shards
        self._queue = KeyedQueue(owns=self._owns)
        self._informers = {
            name: Informer(client, resources.DEAD_LETTERS, namespace=name or None, trim=dead_letter.seen, on_change=self._changed)
            for name in namespaces or ("",)
        }

    def informers(self) -> list[Informer[SeenLetter]]:
        """Return the informers, to be run."""
        return list(self._informers.values())

    async def serve(self) -> None:
        """Look at letters until cancelled."""
        for informer in self._informers.values():
            await informer.synced.wait()
        await self._queue.serve(self._look_or_wait, WORKERS)

    def look_at_all(self) -> None:
        """Runs are ours that were not before, and their letters with them."""
        for letter in self._all():
            self._queue.wake(_key(letter))

    def _owns(self, key: Key) -> bool:
        letter = self._informer(key.namespace).get(key.namespace, key.name)
        return letter is not None and self._shards.owns_uid(letter.uid_of_run)

    # ------------------------------------------------------------------------------------------------------- for runs

    def facts(self, run: Key) -> dict[str, DeadLetterFact]:
        """Return what is seen of a run's letters, by name."""
        return {letter.name: dead_letter.fact(letter) for letter in self._of(run)}

    async def write(self, run: Object, effect: CreateDeadLetter) -> None:
        """Write the letter of a step that gave up; its run is looked at again. A namespace that is being deleted takes none, and needs none."""
        try:
            made = await dead_letter.write(self._client, ref_of(run), run, effect)
        except Forbidden as error:
            if not error.is_terminating_namespace:
                raise
            return
        self._informer(made.namespace).remember(made)
        self._metrics.dead_letter_written(made.workflow)
        self._wake_run(made.uid_of_run)
        self._queue.wake(_key(made))

    def told(self, run: Key, decision: Decision) -> None:
        """A run has written something: look at those of its letters that it concerns."""
        found = self._of(run)
        changed = {entry.path for entry in decision.entries} if found else set()
        for letter in found:
            if letter.path in changed:
                self._queue.wake(_key(letter))

    def left(self, run: Key) -> None:
        """A run has ended, or is gone, whoever has written so."""
        for letter in self._of(run):
            if not letter.is_settled:
                self._queue.wake(_key(letter))

    def pinned(self) -> Iterator[tuple[str, str]]:
        """Yield namespace and name of the revisions that letters may need yet."""
        for letter in self._all():
            if letter.revision and not letter.is_settled:
                yield letter.namespace, letter.revision

    def count(self, phase: LetterPhase) -> int:
        """Return how many letters there are in a phase."""
        return sum(1 for letter in self._all() if letter.phase == phase)

    # -------------------------------------------------------------------------------------------------------- pictures

    def _changed(self, event: str, new: SeenLetter, _old: SeenLetter | None) -> None:
        if event == "DELETED":
            self._queue.forget(_key(new))
            return
        self._queue.wake(_key(new))
        if new.open_resolution is not None and not new.is_settled:
            self._wake_run(new.uid_of_run)

    def _informer(self, namespace: str) -> Informer[SeenLetter]:
        return self._informers[namespace if namespace in self._informers else ""]

    def _of(self, run: Key) -> list[SeenLetter]:
        place = dead_letter.place_of(run.namespace, run.name)
        return [letter for informer in self._informers.values() for letter in informer.of(place)]

    def _all(self) -> Iterator[SeenLetter]:
        for informer in self._informers.values():
            yield from informer.objects()

    # --------------------------------------------------------------------------------------------------------- looking

    async def _look_or_wait(self, key: Key) -> None:
        """Look at a letter; what the API server does not let us do is tried again."""
        letter = self._informer(key.namespace).get(key.namespace, key.name)
        if letter is None or letter.uid != key.uid or not self._owns(key):
            return
        try:
            await self._look(key, letter)
            self._queue.succeeded(key)
        except Conflict:
            self._queue.retry(key)  # the newer version is on its way here, and wakes the letter
        except NotFound:
            return  # it is gone, and the watch tells
        except ApiError as error:
            delay = self._queue.retry(key, error.retry_after_seconds or 0.0, 30.0)
            log.warning("DeadLetter %s cannot be settled, trying again in %.1f s: %s", key, delay, error)
            if not isinstance(error, (Unavailable, TooManyRequests)):  # an outage is told once, by whoever meets it first
                self._tell(letter, "Warning", "Waiting", str(error))

    async def _look(self, key: Key, letter: SeenLetter) -> None:
        if letter.is_settled:
            await self._expire(key, letter)
            return
        run = await self._run_of(letter)
        seen = await self._seen(letter, run)
        if seen is None:
            return
        verdict = letters.judge(letter.run_name, letter.open_resolution, seen)
        if letter.phase == LetterPhase.FAILED and letter.open_resolution is None and not seen.outcome:
            if seen.standing is not Standing.GOING and not letter.status.get("runEnded"):
                await self._write(letter, Verdict(LetterPhase.FAILED, str(letter.status.get("message") or "")), seen, None)
            return  # what somebody wanted has failed, and nobody wants anything else yet
        if verdict.starts:
            await self._start(letter, verdict, seen, run)
            return
        if verdict.phase is LetterPhase.REPLAYING and run is not None:
            self._wake_run(run["metadata"]["uid"])
        own = {"name": letter.run_name, "uid": run["metadata"]["uid"]} if verdict.is_own_run and run is not None else None
        await self._write(letter, verdict, seen, own)

    async def _run_of(self, letter: SeenLetter) -> Object | None:
        """Return the run of a letter: as this operator knows it while it goes on, else as the API server has it now. None where it is gone.

        A run that was restored from a backup is the run of its letters, too: it has its name and its record, and another UID.
        """
        if known := self._known(letter.uid_of_run):
            return known.run
        found = await child_run.find(self._client, letter.namespace, letter.run_name)
        if found is None or found["metadata"]["uid"] == letter.uid_of_run or await self._knows(found, letter):
            return found
        return None

    def _known(self, uid: str) -> Known | None:
        """Return what this operator knows of a run that goes on, and that it has looked at."""
        key = self._store.key_of_uid(uid)
        known = self._store.get(key) if key is not None else None
        return known if known is not None and known.state is not None and not is_finished(known.run) else None

    async def _knows(self, run: Object, letter: SeenLetter) -> bool:
        """Tell whether a run has written of a letter; also where that cannot be told."""
        try:
            record = (await self._state_of(run)).steps.get(letter.path)
            if record is not None and (record.letter or {}).get("name") == letter.name:
                return True
            return bool(_newest(letter, journal.window_of(run.get("status") or {}).entries))
        except TamperedState:
            return True

    async def _seen(self, letter: SeenLetter, run: Object | None) -> Seen | None:
        """Return what the run of a letter has written of it; None where that cannot be read now, and its own look will put it right."""
        if run is None:
            return Seen(Standing.GONE)
        phase = str((run.get("status") or {}).get("phase") or "")
        standing = Standing.ENDED if is_finished(run) else Standing.GOING
        try:
            state = await self._state_of(run)
            written = letters.written_of(state, letter.path, letter.name) or await self._in_the_journal(letter, run)
        except TamperedState as error:
            return None if standing is Standing.GOING else Seen(standing, phase, unknown=f"its record cannot be read: {error}")
        return Seen(
            standing,
            phase,
            is_waiting=bool(written.get("waits")),
            outcome=written.get("outcome", ""),
            by=written.get("by", ""),
            refused=written.get("refused", ""),
            why=written.get("why", ""),
        )

    async def _state_of(self, run: Object) -> State:
        known = self._known(run["metadata"]["uid"])
        if known is not None and known.state is not None and known.run is run:
            return known.state
        return (await self._archive.read(Known(run))).state

    async def _in_the_journal(self, letter: SeenLetter, run: Object) -> Mapping[str, str]:
        """The record of the step was dropped, with its iteration: read in the journal what was written last of the letter. Raises TamperedState."""
        window = journal.window_of(run.get("status") or {})
        found: Mapping[str, str] = {}
        async for part in self._archive.parts(ref_of(run)):
            found = _newest(letter, part.entries) or found
        found = _newest(letter, window.entries) or found
        if window.dropped and "outcome" not in found:
            raise TamperedState(f"the entries up to {window.dropped} of its journal are lost")
        return found

    # --------------------------------------------------------------------------------------------------------- settling

    async def _write(
        self, letter: SeenLetter, verdict: Verdict, seen: Seen, run: Mapping[str, Any] | None, generation: int | None = None
    ) -> SeenLetter:
        """Write what becomes of a letter, where it does not say so already."""
        status = self._status(letter, verdict, seen, run, letter.generation if generation is None else generation)
        if status == letter.status:
            return letter
        written = await dead_letter.settle(self._client, letter, status)
        self._informer(letter.namespace).remember(written)
        if verdict.is_settled:
            self._metrics.dead_letter_settled(letter.workflow, verdict.phase)
            self._queue.wake(_key(letter))
        if verdict.phase != letter.phase and verdict.phase not in (LetterPhase.WAITING, LetterPhase.REPLAYING):
            kind = "Warning" if verdict.phase is LetterPhase.FAILED else "Normal"
            self._tell(letter, kind, "ReplayFailed" if kind == "Warning" else str(verdict.phase), verdict.message)
        return written

    def _status(self, letter: SeenLetter, verdict: Verdict, seen: Seen, run: Mapping[str, Any] | None, generation: int) -> dict[str, Any]:
        now = self._now()
        holds = "True" if verdict.is_settled else "False"
        before = letter.status.get("conditions") or ()
        status: dict[str, Any] = {
            "observedGeneration": generation,
            "phase": str(verdict.phase),
            "message": verdict.message,
            "conditions": [condition("Settled", holds, str(verdict.phase), verdict.message, generation, before, now)],
        }
        if letter.resolution is not None:
            status["resolution"] = letter.resolution.id
        if run is not None:
            status["run"] = dict(run)
        if seen.standing is not Standing.GOING:
            status["runEnded"] = True
        if verdict.is_settled:
            status["settledAt"] = codec.time_to_json(now)
        return status

    async def _start(self, letter: SeenLetter, verdict: Verdict, seen: Seen, old: Object | None) -> None:
        """Start a new run: what is decided is written, then done. That it is written proves that nobody was faster."""
        newest = await dead_letter.read(self._client, letter)
        if newest is None:
            return
        if int(newest["metadata"]["resourceVersion"]) != letter.resource_version:
            raise Conflict(409, "Conflict", "the letter was changed meanwhile")
        try:
            wanted = await run_of(self._client, newest, old)
            name = {"name": wanted["metadata"]["name"]}
            if (letter.status.get("run") or {}).get("name") != name["name"]:
                letter = await self._write(letter, verdict, seen, name)
            made = await dead_letter.start(self._client, wanted)
        except Refused as error:
            await self._write(letter, Verdict(LetterPhase.FAILED, str(error)), seen, None)
            return
        except Invalid as error:
            words = f"the new run is refused: {refusals.reason(error.message)}"
            await self._write(letter, Verdict(LetterPhase.FAILED, words), seen, None)
            return
        except Forbidden as error:
            if error.is_terminating_namespace:
                await self._write(
                    letter, Verdict(LetterPhase.FAILED, "the namespace is being deleted: no run can be started in it"), seen, None
                )
                return
            await self._hold(letter, seen, name, error)
            return
        run = {"name": made["metadata"]["name"], "uid": made["metadata"]["uid"]}
        await self._write(letter, Verdict(LetterPhase.REPLAYED, f"run {run['name']} was started from it"), seen, run)

    async def _hold(self, letter: SeenLetter, seen: Seen, name: Mapping[str, str], error: Forbidden) -> None:
        """A quota or a lack of rights: say so, and try again in a while."""
        words = f"the new run cannot be made yet: {refusals.of_job(error.message).detail}"
        await self._write(letter, Verdict(LetterPhase.REPLAYING, words), seen, name)
        self._tell(letter, "Warning", "Waiting", words)
        self._queue.wake_in(_key(letter), TRY_AGAIN_SECONDS)

    def _tell(self, letter: SeenLetter, kind: Any, reason: str, words: str) -> None:
        self._events.announce_about(DEAD_LETTER, letter, kind, reason, words)

    async def _expire(self, key: Key, letter: SeenLetter) -> None:
        """A settled letter leaves when its time is over."""
        if not self._ttl or letter.settled_at is None:
            return
        left = letter.settled_at + self._ttl - self._now()
        if left > timedelta(0):
            self._queue.wake_in(key, min(left, LONGEST_TIMER).total_seconds())
            return
        await dead_letter.remove(self._client, letter)
        log.info("%s: it was settled, and its time to live is over", key)
        await asyncio.sleep(0)


def _newest(letter: SeenLetter, entries: Any) -> Mapping[str, str]:
    """Return what entries wrote last of a letter; nothing where they say nothing."""
    found: Mapping[str, str] = {}
    for entry in entries:
        written = entry.changes.get("letter") if entry.path == letter.path else None
        if isinstance(written, Mapping) and written.get("name") == letter.name:
            found = written
    return found


def _key(letter: SeenLetter) -> Key:
    return Key(letter.namespace, letter.name, letter.uid)
