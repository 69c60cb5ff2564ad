"""The engine alone with a Script: virtual time, Jobs that end as the script says, and the same Account of it as the reference gives.

Lighter than `world.World`, for very many runs: what World checks at every look is checked here once, at the end.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from backstay.api.workflow import WorkflowSpec
from backstay.engine import journal
from backstay.engine.decide import decide
from backstay.engine.effects import effects_of
from backstay.engine.model import (
    ENDED,
    AddFinalizer,
    CreateJob,
    DeleteJob,
    Entry,
    Fault,
    Identity,
    JobFact,
    JobState,
    Observations,
    RemoveFinalizer,
    State,
    Wish,
)
from backstay.engine.program import compile_program
from tests.support.reference import Account, Fate, Script

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
_LONGEST = timedelta(days=30)
CRASH = frozenset({"ExitCode", "OOMKilled"})
"""Errors that Kubernetes tells; all others a container names in its output."""


def play(spec: Mapping[str, Any], script: Script, *, cancel_at: timedelta | None = None) -> Account:
    """Run a workflow to its end."""
    return Scripted(spec, script, cancel_at).play()


class Scripted:
    """One run and the world around it."""

    def __init__(self, spec: Mapping[str, Any], script: Script, cancel_at: timedelta | None) -> None:
        self.program = compile_program(WorkflowSpec.model_validate(spec))
        self.identity = Identity("uid-1", "order-7f2", "shop")
        self.script, self.cancel_at = script, cancel_at
        self.now = START
        self.state = State()
        self.entries: list[Entry] = []
        self.jobs: dict[str, JobFact] = {}
        self.events: dict[tuple[str, str], datetime] = {}
        """What will happen to which Job, and when."""
        self.fates: dict[str, Fate] = {}
        self.vanished: set[str] = set()
        self.finalizer = False

    def play(self) -> Account:
        while True:
            wake_at = self._look()
            if self.state.run.is_finished:
                break
            cancel = None if self.cancel_at is None else START + self.cancel_at
            moments = [*self.events.values(), *(moment for moment in (wake_at, cancel) if moment is not None)]
            later = [moment for moment in moments if moment > self.now]
            assert later, "nothing happens any more, and the run has not ended"
            self.now = min(later)
            assert self.now - START < _LONGEST, "the run does not end"
            self._happen()
        self._check()
        return self._account()

    def _look(self) -> datetime | None:
        """Observe, decide, act; as often as what was done changes what is seen."""
        for _ in range(50):
            cancel = self.cancel_at is not None and START + self.cancel_at <= self.now
            seen = Observations(Wish(cancel=cancel), dict(self.jobs), {}, frozenset(self.vanished), self.finalizer)
            decision = decide(self.program, self.identity, self.state, seen, self.now)
            self.state = decision.state
            self.entries += decision.entries
            effects = effects_of(self.program, self.state, seen)
            for effect in effects:
                self._act(effect)
            if not effects:
                return decision.wake_at
        raise AssertionError("the world does not settle")

    def _act(self, effect: Any) -> None:
        match effect:
            case CreateJob():
                assert effect.name not in self.fates, f"{effect.name} is made twice"
                fate = self.fates[effect.name] = self.script(effect.path, effect.attempt)
                self.jobs[effect.name] = JobFact(effect.name, f"job-{len(self.fates)}", started=True, owned=effect.owned)
                self.events[effect.name, "ends"] = self.now + fate.takes
            case DeleteJob():
                self.jobs[effect.name] = replace(self.jobs[effect.name], deleting=True)
                self.events[effect.name, "gone"] = self.now + self.fates[effect.name].lingers
            case AddFinalizer():
                self.finalizer = True
            case RemoveFinalizer():
                self.finalizer = False

    def _happen(self) -> None:
        """What happens to Jobs at this moment."""
        for name, what in [key for key, moment in self.events.items() if moment <= self.now]:
            del self.events[name, what]
            fate = self.fates[name]
            if what == "gone":
                self.jobs.pop(name, None)
                self.vanished.add(name)
                self.events.pop((name, "ends"), None)
            elif fate.error in CRASH:
                self.jobs[name] = replace(self.jobs[name], state=JobState.FAILED, fault=Fault(fate.error))
            else:
                output = {"error": {"type": fate.error}} if fate.error else fate.outputs
                text = None if output is None else orjson.dumps(output).decode()
                self.jobs[name] = replace(self.jobs[name], state=JobState.SUCCEEDED, output=text)

    def _check(self) -> None:
        """The state is the fold of its journal (which takes long, so one run in four is looked at), and nothing is left behind."""
        assert len(self.entries) % 4 or journal.fold(self.entries) == self.state, "the state is not the fold of its journal"
        assert not self.finalizer

    def _account(self) -> Account:
        """Told from the journal, for the state forgets the steps of early iterations."""
        run = self.state.run
        account = Account(str(run.phase), (run.error.type, run.error.step) if run.error else None, dict(run.vars), run.outputs)
        account.took = self.now - START
        for entry in self.entries:
            if entry.kind == "StepCompensated" and not entry.path:
                account.undone.append(entry.reason.partition(": undone")[0])  # its outcome was not known: it keeps its phase
            if not entry.path:
                continue
            path, moment = entry.path, entry.time - START
            account.began.setdefault(path, moment)
            if entry.attempt:
                account.attempts[path] = entry.attempt
            if entry.kind == "StepCompensated":
                account.undone.append(path)
                account.ended[path] = "Compensated", account.ended[path][1]
            elif entry.changes.get("phase") in ENDED:
                account.ended[path] = entry.changes["phase"], moment
        return account
