"""Child runs as their callers are told of them. No polling, and no write: what a child's own look has established, its caller hears at once.

A child is a run like any other and is looked at by itself; only what that look believed or wrote becomes a fact here. A finished run leaves
the watch, so its caller is woken by the write that finished it. What ended while no operator was there is found by asking for the child, by
its name, once: whoever waits for a child that nobody has told of asks.

A child that has succeeded keeps its finalizer while its caller goes on, since it may have to be undone yet, whoever deletes it meanwhile; it
is let go when its caller has ended. What a crash leaves undone of that, the sweeper finds.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from backstay.engine.model import CancelRun, CreateRun, RunFact, State, StepRecord, UndoRun
from backstay.engine.steps.workflow import UNDO, title_of
from backstay.executors import child_run
from backstay.kube.client import Client
from backstay.runtime.queue import KeyedQueue
from backstay.runtime.store import RunStore
from backstay.runtime.view import Object, has_finalizer, is_finished, ref_of

log = logging.getLogger(__name__)


class Children:
    """What is known of the child runs of the runs that go on. Single-threaded."""

    def __init__(self, client: Client, store: RunStore, queue: KeyedQueue) -> None:
        self._client = client
        self._store = store
        self._queue = queue
        self._facts: dict[str, dict[str, RunFact]] = {}
        """By UID of the caller, by name."""
        self._free: dict[str, set[str]] = {}
        """By UID of the caller: children that have ended, and that no finalizer holds."""

    # ------------------------------------------------------------------------------------------------------- the caller

    async def of(self, run: Object, state: State) -> dict[str, RunFact]:
        """Return what is seen of a run's children: of those that go on, and of those that a step waits for. Raises ApiError."""
        uid = run["metadata"]["uid"]
        wanted = _awaited(state)
        known = self._facts.get(uid, {})
        for name, record in wanted.items():
            if name not in known:
                await self._ask(run, record)
        known = self._facts.get(uid, {})
        for name in [name for name, fact in known.items() if name not in wanted and (fact.is_over or fact.detached)]:
            del known[name]
        return dict(known)

    def lacks(self, run: Object, state: State) -> bool:
        """Tell whether a step waits for a child that nobody has told of: what it wants in the world is known only when that was asked for."""
        known = self._facts.get(run["metadata"]["uid"], {})
        return any(name not in known for name in _awaited(state))

    async def _ask(self, run: Object, record: StepRecord) -> None:
        """Ask the API server for a child that nobody has told of; its own look then says how it stands."""
        meta = run["metadata"]
        name = str(record.child)
        found = await child_run.find(self._client, meta["namespace"], name)
        if name in self._facts.get(meta["uid"], {}):
            return  # it was looked at while the server was asked, and may have ended: the answer may be from before
        if found is None:
            if record.child_uid is not None or record.kind == UNDO:
                self._note(meta["uid"], RunFact(name, record.child_uid or "", is_gone=True))
        elif child_run.belongs(found, meta["uid"]):
            self._note(meta["uid"], _unproven(child_run.fact(found)))
            self._wake(found)

    def forget(self, uid: str) -> None:
        """A run is finished or gone: nothing of its children matters to it any more."""
        self._facts.pop(uid, None)
        self._free.pop(uid, None)

    # -------------------------------------------------------------------------------------------------------- the child

    def seen(self, run: Object) -> None:
        """A run was looked at, and its status is believed: tell its caller where that is news."""
        uid = child_run.parent_uid(run)
        if not uid:
            return
        name = run["metadata"]["name"]
        if is_finished(run) and not has_finalizer(run):
            self._free.setdefault(uid, set()).add(name)
        else:
            self._free.get(uid, set()).discard(name)
        if child_run.is_undone_with_caller(run):
            self._tell(uid, child_run.fact(run))

    def gone(self, run: Object) -> None:
        """A run is there no longer."""
        uid = child_run.parent_uid(run)
        if uid and child_run.is_undone_with_caller(run):
            self._tell(uid, replace(child_run.fact(run), is_gone=True))

    async def is_kept(self, run: Object) -> bool:
        """Tell whether a child may have to be undone yet: its caller goes on. Raises ApiError."""
        uid = child_run.parent_uid(run)
        if not uid or not child_run.is_undone_with_caller(run) or not has_finalizer(run):
            return False
        key = self._store.key_of_uid(uid)
        known = self._store.get(key) if key is not None else None
        if known is not None:
            return not is_finished(known.run)
        found = await child_run.find(self._client, run["metadata"]["namespace"], child_run.parent_name(run))
        return found is not None and found["metadata"]["uid"] == uid and not is_finished(found)

    async def release(self, run: Object, state: State) -> None:
        """A run has ended: let its children go that were kept for the case that they have to be undone. Raises ApiError."""
        meta = run["metadata"]
        free = self._free.get(meta["uid"], set())
        for record in state.steps.values():
            if record.child is None or record.kind == UNDO or record.child in free:
                continue  # whatever became of the step: one that somebody else has undone, or that was let go, has a child that is kept as well
            found = await child_run.find(self._client, meta["namespace"], record.child)
            if found is not None and child_run.belongs(found, meta["uid"]) and is_finished(found) and has_finalizer(found):
                self._wake(found)

    # ------------------------------------------------------------------------------------------------------------ deeds

    async def create(self, run: Object, effect: CreateRun) -> None:
        """Make the child run of an attempt. Raises what `child_run.start` does."""
        callers = (*child_run.callers(run), title_of((run.get("spec") or {}).get("workflow") or {}))
        made = await child_run.start(self._client, ref_of(run), run, effect, callers)
        known, fact = self._facts.get(run["metadata"]["uid"], {}).get(effect.name), _unproven(child_run.fact(made))
        if known is None or known.uid != fact.uid:  # it may have been looked at, and have ended, before the answer came
            self._note(run["metadata"]["uid"], fact)
        self._wake(made)

    async def cancel(self, run: Object, effect: CancelRun) -> None:
        """Ask a child to end early."""
        self._asked(run, effect, await child_run.cancel(self._client, run["metadata"]["namespace"], effect))

    async def undo(self, run: Object, effect: UndoRun) -> None:
        """Ask a child that has succeeded to undo what it did."""
        self._asked(run, effect, await child_run.undo(self._client, run["metadata"]["namespace"], effect))

    def _asked(self, run: Object, effect: CancelRun | UndoRun, child: Mapping[str, Any] | None) -> None:
        uid = run["metadata"]["uid"]
        fact = self._facts.get(uid, {}).get(effect.name) or RunFact(effect.name, effect.uid)
        if child is None:
            self._tell(uid, replace(fact, is_gone=True))
            return
        asked = replace(fact, undoing=True) if isinstance(effect, UndoRun) else replace(fact, cancelling=True)
        self._note(uid, asked)
        self._wake(child)

    # ---------------------------------------------------------------------------------------------------------- pieces

    def _wake(self, run: Object) -> None:
        self._queue.wake(self._store.recall(run))

    def _note(self, uid: str, fact: RunFact) -> None:
        self._facts.setdefault(uid, {})[fact.name] = fact

    def _tell(self, uid: str, fact: RunFact) -> None:
        """Note a fact, and wake the caller where it is news to it. Of a caller that is not known nothing is kept: it asks when it comes."""
        key = self._store.key_of_uid(uid)
        if key is None:
            return
        before = self._facts.get(uid, {}).get(fact.name)
        self._note(uid, fact)
        if before is None or _news(before) != _news(fact):
            self._queue.wake(key)


def _awaited(state: State) -> dict[str, StepRecord]:
    """Return the steps that wait for a child run, by its name."""
    return {record.child: record for record in state.steps.values() if record.child is not None and not record.has_ended}


def _unproven(fact: RunFact) -> RunFact:
    """Return a fact without what only the child's own look may say: how it stands."""
    return replace(fact, phase=None, is_finished=False, outputs=None, error=None, stalled="")


def _news(fact: RunFact) -> tuple[object, ...]:
    """Return what of a fact makes a difference to the caller."""
    return fact.uid, fact.is_over, fact.is_gone, fact.phase if fact.is_finished else None, fact.stalled, fact.kept
