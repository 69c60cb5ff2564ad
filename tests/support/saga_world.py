"""The engine alone in a world full of trouble: Jobs and child runs that fail, hang and vanish, an operator that dies and sees late, people.

Virtual time. What is decided may not be written (409), what is written may not be done (the operator dies), what is done may be asked for
again, and what has happened may be seen late. The `Ledger` is kept by the world.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from backstay.api.workflow import WorkflowSpec
from backstay.engine import codec, journal
from backstay.engine.conditions import conditions
from backstay.engine.decide import decide
from backstay.engine.effects import effects_of
from backstay.engine.model import (
    AddFinalizer,
    CancelRun,
    CreateJob,
    CreateRun,
    DeleteJob,
    Effect,
    Entry,
    Fault,
    Identity,
    JobFact,
    JobState,
    Observations,
    Phase,
    RemoveFinalizer,
    Request,
    RunFact,
    State,
    StepRecord,
    UndoRun,
    Wish,
)
from backstay.engine.paths import ROOT
from backstay.engine.program import compile_program
from tests.support.ledger import DONE, FAILED, LOST, Ledger, Work
from tests.support.random_sagas import DECLINES, FAILS, GOOD, HANGS, ROBBED, VANISHES, Fate, Saga

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LONGEST = timedelta(days=2)
MOMENT = timedelta(microseconds=3)
PATIENCE = timedelta(seconds=7)
"""How long a step waits for a person."""
NEVER = timedelta(days=1)


class SagaWorld:
    """One run and everything around it."""

    def __init__(self, saga: Saga) -> None:
        self.saga = saga
        self.program = compile_program(WorkflowSpec.model_validate(saga.spec))
        self.identity = Identity("uid-1", "order-7f2", "shop")
        self.now = START
        self.tick = 0
        self.state = State()
        self.entries: list[Entry] = []
        self.ledger = Ledger()
        self.wish = Wish()
        self.finalizer = False
        self.jobs: dict[str, JobFact] = {}
        """The Jobs that there are; what the operator knows of them is in `view`."""
        self.view: dict[str, JobFact] = {}
        self.vanished: set[str] = set()
        self.children: dict[str, RunFact] = {}
        self.fates: dict[str, Fate] = {}
        self.events: dict[tuple[str, str], datetime] = {}
        """What will happen to whom, and when."""
        self.happened = 0
        """How much has happened that the operator may act upon."""
        self.troubles = 0
        self.deeds = [(START + deed.when, deed.what) for deed in saga.deeds]
        self.asked = 0
        """How often a person was asked about a step that waits for one."""
        self.resolved: dict[str, str] = {}
        """By the id of a request: what it asks, and of which step."""
        self.called_at: datetime | None = None
        """When a person will come for a step that waits for one."""
        self.stopped: list[str] = []
        """Steps that a person has asked to be stopped."""
        self.undone: list[str] = []
        """Those of them that were to be undone as well."""

    # ---------------------------------------------------------------------------------------------------------- the loop

    def play(self) -> "SagaWorld":
        """Let everything happen until the run has ended, or waits for a person who does not come."""
        while True:
            wake_at = self._look()
            if self.state.run.is_finished:
                break
            self._call_a_person()
            moments = [*self.events.values(), *(moment for moment, _ in self.deeds), wake_at, self.called_at]
            later = [moment for moment in moments if moment is not None and moment > self.now]
            if not later:
                break
            self.now = min(later)
            assert self.now - START < LONGEST, "the run does not end"
            self.happened += wake_at is not None and wake_at <= self.now
            self._happen()
        assert len(self.entries) % 4 or journal.fold(self.entries) == self.state, "the state is not the fold of its journal"
        return self

    def _look(self) -> datetime | None:
        """Observe, decide, write, act; as often as what was done changes what is seen."""
        for _ in range(100):
            seen = Observations(self.wish, dict(self.view), {}, frozenset(self.vanished), self.finalizer, children=dict(self.children))
            decision = decide(self.program, self.identity, self.state, seen, self.now)
            trouble = self._trouble(("conflict", "dies before", "dies after")) if decision.entries else ""
            if trouble in ("conflict", "dies before"):
                self._restart(trouble == "dies before")
                continue
            self.state = decision.state
            self.entries += decision.entries
            self._note_what_was_seen()
            if trouble:
                self._restart(True)
                continue
            effects = effects_of(self.program, self.state, seen)
            if self._do_all(effects) and not (effects and self._trouble(("looks again",))):
                return decision.wake_at  # what was done tells nothing new
        raise AssertionError("the world does not settle")

    def _do_all(self, effects: Sequence[Effect]) -> bool:
        """Do what is to be done. Returns whether the operator has lived to do all of it."""
        for effect in effects:
            if self._trouble(("dies",)):
                self._restart(True)
                return False
            self._act(effect)
        return True

    def _trouble(self, kinds: tuple[str, ...]) -> str:
        if not self.saga.trouble:
            return ""
        self.troubles += 1
        dice = self.saga.chance("trouble", self.troubles)
        return kinds[dice[1] % len(kinds)] if dice[0] < self.saga.trouble else ""

    def _restart(self, died: bool) -> None:
        """Another operator: it knows what is written, and what there is now."""
        if not died:
            return
        self.state = reread(self.state)
        for key in [key for key in self.events if key[1].startswith("see")]:
            del self.events[key]
        self.view, self.vanished = dict(self.jobs), set()
        for work in self.ledger.works:
            work.is_forgotten = work.is_forgotten or (work.ended == LOST and work.seen is None)

    def _note_what_was_seen(self) -> None:
        """Note for all work whose end the operator now knows when it learned of it."""
        self.tick += 1
        fresh = [work for work in self.ledger.works if work.ended and work.seen is None and self._knows_the_end_of(work)]
        for work in fresh:
            work.seen = self.tick
            work.among_others = len(fresh) > 1 or work.happened != self.happened
        self.happened += len(fresh)  # to all others that have ended and were not seen

    def _knows_the_end_of(self, work: Work) -> bool:
        if self.ledger.by_name[work.name] is not work:
            return True
        fact = self.children.get(work.name)
        if fact is not None:
            return fact.is_over
        known = self.view.get(work.name)
        return known is None or known.state is not JobState.ACTIVE

    # ------------------------------------------------------------------------------------------------------------ deeds

    def _act(self, effect: Any) -> None:
        match effect:
            case CreateJob():
                self._create_job(effect)
            case DeleteJob():
                if effect.name in self.jobs and not self.jobs[effect.name].deleting:
                    self.jobs[effect.name] = replace(self.jobs[effect.name], deleting=True)
                    work = self.ledger.by_name[effect.name]
                    work.unwanted = work.unwanted or not work.ended or work.seen is None
                    self.events[effect.name, "gone"] = self.now + self.fates[effect.name].lingers
                self._show(effect.name)
            case CreateRun():
                self._create_run(effect)
            case CancelRun() if not self.children[effect.name].cancelling:
                self.children[effect.name] = replace(self.children[effect.name], cancelling=True)
                work = self.ledger.by_name[effect.name]
                work.unwanted = work.unwanted or not work.ended
                self.events[effect.name, "cancelled"] = self.now + self.fates[effect.name].lingers
            case UndoRun() if not self.children[effect.name].undoing:
                self.children[effect.name] = replace(self.children[effect.name], undoing=True)
                path = f"{self.ledger.by_name[effect.name].path}:compensate"
                self.ledger.begin(Work(path, 1, f"{effect.name} undone", self.tick))
                self.events[effect.name, "undone"] = self.now + self.saga.fate(path, 1, 0).takes
            case AddFinalizer():
                self.finalizer = True
            case RemoveFinalizer():
                self.finalizer = False

    def _create_job(self, effect: CreateJob) -> None:
        """Making what is there is the same deed; the operator then knows that it is there."""
        if effect.name not in self.jobs:
            told, output, *_ = *effect.inputs.get("args", ()), "", ""
            work = self.ledger.begin(Work(effect.path, effect.attempt, effect.name, self.tick, told, output))
            again = sum(other.attempt == effect.attempt for other in self.ledger.by_path[effect.path]) - 1
            fate = self.fates[effect.name] = self.saga.fate(effect.path, effect.attempt, again)
            work.gave = str(fate.output)
            uid = f"job-{len(self.ledger.works)}"
            self.jobs[effect.name] = JobFact(effect.name, uid, started=True, owned=effect.owned)
            self.events[effect.name, "ends"] = self.now + (NEVER if fate.how == HANGS else fate.takes)
        self._show(effect.name)

    def _create_run(self, effect: CreateRun) -> None:
        if effect.name in self.children:
            return
        self.ledger.begin(Work(effect.path, effect.attempt, effect.name, self.tick))
        fate = self.fates[effect.name] = self.saga.fate(effect.path, effect.attempt, 0)
        self.children[effect.name] = RunFact(effect.name, f"run-{len(self.ledger.works)}", Phase.RUNNING)
        self.events[effect.name, "ends"] = self.now + (NEVER if fate.how == HANGS else fate.takes)

    def _show(self, name: str) -> None:
        """The operator knows of a Job what there is of it."""
        if name in self.jobs:
            self.view[name] = self.jobs[name]
        elif name in self.view:
            del self.view[name]
            self.vanished.add(name)

    # ----------------------------------------------------------------------------------------------------- what happens

    def _happen(self) -> None:
        for name, what in [key for key, moment in self.events.items() if moment <= self.now]:
            del self.events[name, what]
            if what.startswith("see"):
                self._show(name)
            elif name in self.children:
                self._child(name, what)
            elif name in self.jobs:
                self._job(name, what)
        for moment, what in [deed for deed in self.deeds if deed[0] <= self.now]:
            self.deeds.remove((moment, what))
            self._do(what)
            self.happened += 1
        if self.called_at is not None and self.called_at <= self.now:
            self.called_at = None
            self._resolve()
            self.happened += 1

    def _job(self, name: str, what: str) -> None:
        """What fails while it is being stopped may fail because of that: nobody knows."""
        work, fact, how = self.ledger.by_name[name], self.jobs[name], self.fates[name].how
        if what == "gone" or how == VANISHES:
            del self.jobs[name]
            self.events.pop((name, "ends"), None)
            self._end(work, work.ended or LOST)
        elif how == GOOD:
            self._end(work, DONE)
            output = orjson.dumps({"n": self.fates[name].output}).decode()
            self.jobs[name] = replace(fact, state=JobState.SUCCEEDED, output=output)
        elif how == DECLINES:
            self._end(work, LOST if work.unwanted else FAILED)
            self.jobs[name] = replace(fact, state=JobState.SUCCEEDED, output='{"error": {"type": "CardDeclined"}}')
        else:
            self._end(work, LOST if how == ROBBED or work.unwanted else FAILED)
            self.jobs[name] = replace(fact, state=JobState.FAILED, fault=Fault("PodDeleted" if how == ROBBED else FAILS))
        if self.saga.lag and what != "gone":
            self.events[name, f"see {what}"] = self.now + self.saga.lag * (work.attempt + len(work.path) % 3) / 3
        else:
            self._show(name)

    def _child(self, name: str, what: str) -> None:
        fact, work, how = self.children[name], self.ledger.by_name[name], self.fates[name].how
        if what == "undone":
            undoing = self.ledger.by_name[f"{name} undone"]
            good = self.saga.fate(undoing.path, 1, 0).how == GOOD
            undoing.ended, undoing.seen = (DONE if good else FAILED), self.tick + 1
            phase = Phase.COMPENSATED if good else Phase.FAILED
            self.children[name] = replace(fact, phase=phase, is_finished=True, error=None if good else Fault("CompensationAbandoned"))
        elif work.ended:
            return
        elif what == "cancelled" or how in (FAILS, DECLINES, ROBBED):
            phase = Phase.CANCELLED if what == "cancelled" else Phase.FAILED
            self._end(work, FAILED)  # it has undone itself
            fault = Fault("Cancelled" if what == "cancelled" else FAILS)
            self.children[name] = replace(fact, phase=phase, is_finished=True, error=fault)
        elif how == VANISHES:
            self._end(work, LOST)
            self.children[name] = replace(fact, is_gone=True)
        else:
            self._end(work, DONE)
            self.children[name] = replace(fact, phase=Phase.SUCCEEDED, is_finished=True, outputs={"n": self.fates[name].output})

    def _end(self, work: Work, how: str) -> None:
        if not work.ended:
            self.happened += 1
            work.ended, work.happened = how, self.happened

    # ---------------------------------------------------------------------------------------------------------- people

    def _do(self, what: str) -> None:
        match what:
            case "suspend" | "resume":
                self.wish = replace(self.wish, suspend=what == "suspend")
            case "cancel" | "keep":
                self.wish = replace(self.wish, cancel=True, cancel_reason="a whim", cancel_compensates=what == "cancel")
            case "delete":
                self.wish = replace(self.wish, delete=True)
            case "stop" | "undo":
                going = [path for path, record in self.state.steps.items() if not record.has_ended and path != ROOT]
                if going and self.state.run.phase is Phase.RUNNING:
                    path = going[self.saga.chance("stop")[0] % len(going)]
                    self.stopped.append(path)
                    self.undone += [path] * (what == "undo")
                    self._ask("Cancel", path, compensate=what == "undo")

    def _ask(self, action: str, path: str, **more: Any) -> None:
        number = len(self.wish.requests) + 1
        self.resolved[f"r{number}"] = f"{action} {path}"
        self.wish = replace(self.wish, requests=(*self.wish.requests, Request(f"r{number}", path, action, reason="asked", **more)))

    def waiting(self) -> list[StepRecord]:
        """The steps that wait for a person."""
        return [record for record in self.state.steps.values() if record.phase is Phase.PAUSED]

    def _call_a_person(self) -> None:
        if self.called_at is None and self.asked < len(self.saga.stalled) and self.waiting():
            self.called_at = self.now + PATIENCE

    def _resolve(self) -> None:
        found = self.waiting()
        if not found:
            return
        what = self.saga.stalled[self.asked]
        self.asked += 1
        path = found[0].path
        match what:
            case "retry":
                self._ask("Retry", path)
            case "edit":
                self._ask("Retry", path, **EDIT)
            case "skip":
                self._ask("Skip", path)
            case "give-up":
                self._ask("GiveUp", path)
            case "release":
                self.wish = replace(self.wish, release=True)

    # --------------------------------------------------------------------------------------------------- what is seen

    def condition(self, kind: str) -> Mapping[str, Any]:
        """A condition of the run, as a user sees it; empty where it is not there."""
        found = conditions(self.program, self.state, [], 1, self.now)
        return next((item for item in found if item["type"] == kind), {})

    def answered(self, action: str) -> set[str]:
        """The steps of which something was asked that was done."""
        done = [what for id_, what in self.resolved.items() if self.state.run.answers.get(id_) == "Done"]
        return {path for what, _, path in (item.partition(" ") for item in done) if what == action}


EDIT: Final = {"edit": {"command": ["mended"]}}
"""What a person changes of a step."""


def reread(state: State) -> State:
    """What another operator reads of what was written."""
    status = {
        **codec.run_to_json(state.run),
        "steps": [codec.record_to_json(record) for record in state.steps.values()],
        "journal": {"entries": [{"sequence": state.sequence}] * bool(state.sequence), "head": state.head},
    }
    found = codec.state_from_status(orjson.loads(orjson.dumps(status)))
    assert found == state, "what was written does not read back"
    return found
