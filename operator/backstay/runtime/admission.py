"""Whether a run may begin now: the limit of its workflow, then those of its namespace and of the installation.

A run that goes on, or wants to begin, is by itself the written want of a slot; nothing else has to be written before it is asked for. The
slots of a workflow are kept in a Semaphore like those of locks, made and removed by us, so they hold across operators (`semaphores.py`);
those of a namespace and of the installation are counted (`active_runs.py`). Where there is no limit, nothing here costs anything.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from pydantic import ValidationError

from backstay.api.actions.lock import MAX_KEY_LENGTH
from backstay.api.base import format_duration
from backstay.api.semaphore import Concurrency, OnConflict
from backstay.api.validate import check_parameters
from backstay.engine.codec import time_from_json
from backstay.engine.model import Fault, LockFact, State, broken_expression
from backstay.engine.policies.lock import wants
from backstay.engine.policies.queueing import Claim, Rate, Slots, ordinal
from backstay.engine.program import Program
from backstay.engine.turn import parameters
from backstay.errors import Conflict, EvaluationError, InvalidExpression, NotFound
from backstay.expressions.template import Template, compile_template
from backstay.kube import resources
from backstay.kube.client import Client
from backstay.names import workflow_semaphore
from backstay.runtime.active_runs import ActiveRuns
from backstay.runtime.desk import family_of
from backstay.runtime.pending import queued_since
from backstay.runtime.programs import Programs, Resolution
from backstay.runtime.queue import Key, KeyedQueue
from backstay.runtime.semaphores import Semaphores
from backstay.runtime.store import Known, RunStore
from backstay.runtime.view import Object, has_begun, identity_of, key_of, priority_of, wish_of, workflow_of

log = logging.getLogger(__name__)

KEY_SEES: Final = ("params", "run")


@dataclass(frozen=True, slots=True)
class Queued:
    """A run waits. `words` tell its place in line, once that is known; `what` is what it waits for."""

    words: str = ""
    place: int = 0


@dataclass(frozen=True, slots=True)
class _Limit:
    """The limit of a run's workflow, and which runs it counts together."""

    concurrency: Concurrency
    key: str

    @property
    def slots(self) -> Slots:
        rate = self.concurrency.rate
        return Slots(self.concurrency.limit, Rate(rate.limit, rate.per) if rate else None)


@dataclass(slots=True)
class Admission:
    """Asked at every look at a run."""

    client: Client
    store: RunStore
    queue: KeyedQueue
    programs: Programs
    semaphores: Semaphores
    active: ActiveRuns
    limits: dict[tuple[str, str], tuple[Object, Concurrency]] = field(default_factory=dict)
    """The limits that were read, by namespace and name of the Workflow."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    introduced: set[str] = field(default_factory=set)
    """UIDs of the runs whose locks are known here."""

    async def look(self, known: Known, resolution: Resolution, state: State) -> Queued | Fault | None:
        """Return why a run may not begin: it waits, or is refused. None where it may, or where that is not the question."""
        if state.run.is_finished or resolution.program is None:
            return None
        self.semaphores.rank(known.run["metadata"]["uid"], priority_of(known.run))
        if state.run.phase is not None:
            self._introduce(known.run, state)
            self._begun(known.run, resolution.program)
            return None
        limit = self._limit_of(known.run, resolution.program)
        if limit is None and not self.active.is_limited:
            self.semaphores.leave(known.run["metadata"]["uid"], "")
            return None
        wish = wish_of(known.run)
        if wish.cancel or wish.delete or self._is_misfit(known.run, resolution.program):
            return None
        if wish.suspend:
            self._stand_back(key_of(known.run))
            return None
        if isinstance(limit, Fault):
            return limit
        waits = await self._slot(known, limit) or self._room(known)
        if isinstance(waits, Queued) and (fault := self._overdue(known.run, resolution.program, waits)):
            self._stand_back(key_of(known.run))
            return fault
        return waits

    def _overdue(self, run: Object, program: Program, waits: Queued) -> Fault | None:
        """Return the error of a run that has waited for its turn for too long; see to it that it is looked at in time."""
        limit = program.spec.queue_timeout
        since = queued_since(run)
        if limit is None or since is None:
            return None
        left = since + limit - self.now()
        if left > timedelta():
            self.queue.wake_in(key_of(run), left.total_seconds())
            return None
        detail = f"its turn has not come within {format_duration(limit)} ({waits.words or 'it waits in line'}); see queueTimeout"
        return Fault("QueueTimeout", "The run waited too long for its turn", detail)

    def forget(self, key: Key) -> None:
        """A run is finished or gone: what it holds is given back."""
        self._stand_back(key)
        self.semaphores.forget(key.uid)
        self.introduced.discard(key.uid)

    def disown(self, key: Key) -> None:
        """Another process looks at a run from now on: what it holds stays its own."""
        known = self.store.get(key)
        self.active.disown(key, has_begun=known is not None and has_begun(known.run))
        self.semaphores.disown(key.uid)
        self.introduced.discard(key.uid)

    def workflow_changed(self, workflow: Object, before: Object | None) -> None:
        """A Workflow has another limit: all its runs are looked at."""
        if (workflow.get("spec") or {}).get("concurrency") == ((before or {}).get("spec") or {}).get("concurrency"):
            return
        meta = workflow["metadata"]
        for key in self.store:
            known = self.store.get(key)
            if known is not None and key.namespace == meta["namespace"] and workflow_of(known.run) == meta["name"]:
                self.queue.wake(key)

    # ---------------------------------------------------------------------------------------------------------- runs

    def _introduce(self, run: Object, state: State) -> None:
        """At the first look at a run, say which locks are its own that an operator before this one took for it: so that they are given back
        at once where this look ends their steps."""
        uid = run["metadata"]["uid"]
        if uid in self.introduced:
            return
        self.introduced.add(uid)
        for want in wants(state, wish_of(run)):
            claim = Claim(run["metadata"]["name"], uid, want.path, want.key, want.since, priority_of(run))
            if want.has_begun and self.semaphores.is_held(run["metadata"]["namespace"], want.name, claim):
                self.semaphores.ask(key_of(run), want.name, claim, has_begun=True, family=family_of(run, self.store))

    def _begun(self, run: Object, program: Program) -> None:
        """A run that goes on has its slots, whatever its limits have become meanwhile."""
        self.active.begun(key_of(run))
        fact = self.semaphores.slot(run["metadata"]["uid"])
        if fact is not None and fact.has_begun:
            return
        limit = self._limit_of(run, program)
        if isinstance(limit, _Limit):
            self._ask(run, limit, has_begun=True)

    def _stand_back(self, key: Key) -> None:
        self.semaphores.leave(key.uid, "")
        self.active.forget(key)

    @staticmethod
    def _is_misfit(run: Object, program: Program) -> bool:
        """Tell whether its parameters do not fit: then it fails at once, and need not wait for that."""
        return bool(check_parameters(program.spec, (run.get("spec") or {}).get("parameters") or {})[1])

    # ------------------------------------------------------------------------------------------------- workflow's slot

    def _limit_of(self, run: Object, program: Program) -> "_Limit | Fault | None":
        """Return the limit of the run's Workflow as it is now, not as it was in the revision that the run is pinned to."""
        where = run["metadata"]["namespace"], workflow_of(run)
        workflow = self.programs.workflows.get(where)
        if workflow is None or not (workflow.get("spec") or {}).get("concurrency"):
            return None
        try:
            concurrency = self._read(where, workflow)
            return _Limit(concurrency, _key(concurrency.key, run, program))
        except ValidationError as error:
            return Fault("InvalidWorkflow", "The limit of the workflow cannot be read", f"concurrency: {error.errors()[0]['msg']}")
        except (EvaluationError, InvalidExpression) as error:
            return broken_expression(f"concurrency.key: {error}")

    def _read(self, where: tuple[str, str], workflow: Object) -> Concurrency:
        """Read the limit of a Workflow, once for each of its versions. Raises ValidationError."""
        known = self.limits.get(where)
        if known is None or known[0] is not workflow:
            known = self.limits[where] = workflow, Concurrency.model_validate(workflow["spec"]["concurrency"])
        return known[1]

    def _ask(self, run: Object, limit: _Limit, *, has_begun: bool = False) -> None:
        name = workflow_semaphore(workflow_of(run))
        family = family_of(run, self.store)
        self.semaphores.ask(key_of(run), name, claim_of(run, limit.key), has_begun=has_begun, slots=limit.slots, family=family)

    async def _slot(self, known: Known, limit: _Limit | None) -> Queued | Fault | None:
        uid = known.run["metadata"]["uid"]
        if limit is None:
            self.semaphores.leave(uid, "")
            return None
        self._ask(known.run, limit)
        fact = self.semaphores.slot(uid)
        if fact is None or not fact.place:
            return None if fact is not None and fact.held else Queued()
        words = (
            f"Workflow {workflow_of(known.run)}" + (f', key "{limit.key}"' if limit.key else "") + f" ({_limit_words(limit.concurrency)})"
        )
        match limit.concurrency.on_conflict:
            case OnConflict.REFUSE:
                detail = f"{words}: {_held_by(fact) or 'no slot is free'}; concurrency.onConflict refuses runs beyond the limit"
                return Fault("ConcurrencyLimit", "The workflow is at its limit", detail)
            case OnConflict.CANCEL_OLDEST:
                await self._cancel_oldest(known.run, limit)
        return _queued(fact, words)

    async def _cancel_oldest(self, run: Object, limit: _Limit) -> None:
        """Cancel the oldest runs of a key, as many as are too many. Those that end already make room by themselves."""
        meta = run["metadata"]
        claims = self.semaphores.members(meta["namespace"], workflow_semaphore(workflow_of(run)), limit.key)
        staying = [claim for claim in claims if not self._is_ending(claim)]
        reason = f"run {meta['name']} takes its place (concurrency of Workflow {workflow_of(run)}: CancelOldest)"
        for claim in staying[: max(0, len(staying) - (limit.concurrency.limit or 0))]:
            if claim.uid == meta["uid"]:
                continue
            body = {"metadata": {"uid": claim.uid}, "spec": {"cancel": {"reason": reason}}}
            try:
                cancelled = await self.client.patch(resources.RUNS, meta["namespace"], claim.run, body)
            except (NotFound, Conflict):
                continue
            log.info("%s/%s: cancelled, because %s", meta["namespace"], claim.run, reason)
            self.queue.wake(self.store.remember(cancelled))

    def _is_ending(self, claim: Claim) -> bool:
        key = self.store.key_of_uid(claim.uid)
        known = self.store.get(key) if key is not None else None
        return known is not None and (wish_of(known.run).cancel or wish_of(known.run).delete)

    # ------------------------------------------------------------------------------------- namespace and installation

    def _room(self, known: Known) -> Queued | None:
        run = known.run
        fact = self.active.ask(key_of(run), claim_of(run, run["metadata"]["namespace"]), is_exempt=bool(family_of(run, self.store)))
        return None if fact is None else _queued(fact, fact.why) if fact.place else Queued()


def claim_of(run: Object, key: str) -> Claim:
    """Return what a run as a whole asks a slot with: since it was created, with its own priority."""
    meta = run["metadata"]
    return Claim(meta["name"], meta["uid"], "", key, time_from_json(meta["creationTimestamp"]), priority_of(run))


@lru_cache(maxsize=256)
def _template(text: str) -> Template:
    return compile_template(text, KEY_SEES)


def _key(text: str, run: Object, program: Program) -> str:
    """Return which runs a run counts together with. Raises EvaluationError, InvalidExpression."""
    if "${" not in text:
        return text
    identity = identity_of(run)
    of_run = {"name": identity.name, "namespace": identity.namespace, "uid": identity.uid}
    found = _template(text).render_text({"params": parameters(program, identity), "run": of_run})
    if len(found) > MAX_KEY_LENGTH:
        raise EvaluationError(f"it has {len(found)} characters, at most {MAX_KEY_LENGTH}; use a hash of it")
    return found


def _queued(fact: LockFact, what: str) -> Queued:
    held = _held_by(fact)
    return Queued(f"{ordinal(fact.place)} of {fact.waiting} that wait for {what}" + (f"; {held}" if held else ""), fact.place)


def _held_by(fact: LockFact) -> str:
    return f"held by {', '.join(fact.holders)}" if fact.holders else ""


def _limit_words(concurrency: Concurrency) -> str:
    parts = [f"limit {concurrency.limit}"] if concurrency.limit is not None else []
    if concurrency.rate is not None:
        parts.append(f"{concurrency.rate.limit} in {format_duration(concurrency.rate.per)}")
    return ", ".join(parts)
