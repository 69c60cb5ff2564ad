"""A world for the pure engine: virtual time, Jobs that a test ends by hand, and a journal that must fold to the state at every moment.

world = World(WORKFLOW_YAML, {"orderId": "a-17"})
world.succeed("reserve", {"reservation": "r-9"})
assert world.phase == "Running" and world.running == ["charge"]
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import yaml

from backstay.api.base import parse_duration
from backstay.api.validate import parse_workflow
from backstay.engine import bounds, codec, journal
from backstay.engine.conditions import conditions
from backstay.engine.decide import decide
from backstay.engine.effects import effects_of
from backstay.engine.model import (
    AcquireLock,
    AddFinalizer,
    AskCircuit,
    CallFact,
    CallState,
    CancelRun,
    CircuitFact,
    CreateDeadLetter,
    CreateJob,
    CreateRun,
    DeadLetterFact,
    DeleteJob,
    Entry,
    Fault,
    Identity,
    JobFact,
    JobState,
    LeaveCircuit,
    LockFact,
    Observations,
    PermitFact,
    Phase,
    Refusal,
    ReleaseLock,
    RemoveFinalizer,
    Request,
    RunFact,
    StartCall,
    State,
    StepRecord,
    StopCall,
    UndoRun,
    Wish,
)
from backstay.engine.policies import circuit
from backstay.engine.policies.circuit import Report
from backstay.engine.program import compile_program
from backstay.engine.status import render

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


class World:
    """One run and everything around it. Every change is decided, written (through JSON, as in reality), then done."""

    def __init__(
        self,
        workflow: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        wish: Wish | None = None,
        callers: tuple[str, ...] = (),
        taken: Mapping[str, LockFact] | None = None,
    ) -> None:
        self.program = compile_program(parse_workflow(yaml.load(workflow, Loader=LOADER)))
        self.identity = Identity("uid-1", "order-7f2", "shop", parameters or {}, timeout, workflow="order", callers=callers)
        self.now = START
        self.wish = wish or Wish()
        self.status: dict[str, Any] = {}
        self.entries: list[Entry] = []
        self.archive = journal.Fold()
        """What the entries lead to that are no longer in the status."""
        self.jobs: dict[str, JobFact] = {}
        self.made: list[CreateJob] = []
        self.refused: dict[str, Refusal] = {}
        self.held: dict[str, Fault] = {}
        """By the name of a Job: what keeps it from being made for now."""
        self.holds_back: Fault | None = None
        """While it is there, no Job can be made."""
        self.vanished: set[str] = set()
        self.calls: dict[str, CallFact] = {}
        """The calls that the operator makes, by name."""
        self.called: list[StartCall] = []
        """The calls that were begun, in order; one is begun again where an operator has died meanwhile."""
        self.children: dict[str, RunFact] = {}
        self.born: list[CreateRun] = []
        """The child runs that were made, in order."""
        self.told: list[CancelRun | UndoRun] = []
        """What was asked of child runs, in order."""
        self.taken = dict(taken or {})
        """Locks by name that others hold: what who asks for one is told. All others are to be had at once."""
        self.asked: dict[str, AcquireLock] = {}
        """By path: the locks that were asked for and not given back."""
        self.letters: dict[str, DeadLetterFact] = {}
        self.written: list[CreateDeadLetter] = []
        """The DeadLetters that were written, in order."""
        self.loses_letters = False
        """While it is true, no DeadLetter is written, as where the operator dies first."""
        self.breakers: dict[str, CircuitFact] = {}
        """What is seen of circuit breakers, by name; all others are closed."""
        self.asking: dict[str, AskCircuit] = {}
        """By path: who has asked a breaker and has not left."""
        self.probing: set[str] = set()
        """The paths that a breaker has let through as probes."""
        self.refusing = False
        """Whether a breaker has answered those whom it does not let through."""
        self.probes: list[AskCircuit | LeaveCircuit] = []
        """What breakers were asked, in order."""
        self.reports: list[Report] = []
        """What was told to breakers, in order."""
        self.finalizer = False
        self.terminating = False
        """Whether the run's namespace is being deleted."""
        self.writes = 0
        self.wake_at: datetime | None = None
        self.stops_at_once = True
        self.look()

    # ------------------------------------------------------------------------------------------------------- the loop

    @property
    def observations(self) -> Observations:
        return Observations(
            self.wish,
            dict(self.jobs),
            dict(self.refused),
            frozenset(self.vanished),
            self.finalizer,
            self.terminating,
            held=dict(self.held),
            calls=dict(self.calls),
            children=dict(self.children),
            locks={path: self._seen(effect) for path, effect in self.asked.items()},
            circuits=dict(self.breakers),
            permits={path: PermitFact(path in self.probing, self.refusing) for path in self.asking},
            letters=dict(self.letters),
        )

    def _seen(self, effect: AcquireLock) -> LockFact:
        return self.taken.get(effect.name) or LockFact(held=True, has_begun=effect.has_begun)

    def look(self) -> "World":
        """Observe, decide, persist, act; as often as what was done changes what is seen."""
        for _ in range(50):
            decision = decide(self.program, self.identity, self.state, self.observations, self.now, ("order-6d4f", 3))
            if decision.entries:
                self.writes += 1
                self.reports.extend(circuit.reports(self.program, self.state, decision.entries))
                self.entries.extend(decision.entries)
                rendered = render(self.program, decision.state, decision.entries, self.status, 1, self.now, self._move(decision.entries))
                self.status = orjson.loads(orjson.dumps(rendered))
                assert journal.fold(self.entries) == decision.state, "the state is not the fold of its journal"
                assert self.state == decision.state, "what was written does not read back"
            if decision.entries and decision.wake_at is not None and decision.wake_at <= self.now:
                self._act()
                continue  # the turn was full: the next one follows at once
            again = decide(self.program, self.identity, self.state, self.observations, self.now)
            assert not again.entries, f"deciding twice changes something: {again.entries}"
            self.wake_at = decision.wake_at
            if not self._act():
                return self
        raise AssertionError("the world does not settle")

    def _move(self, new: Sequence[Entry]) -> bounds.Moved:
        """Move entries to the archive where the status has no room for them any more."""
        written = (self.status.get("journal") or {}).get("entries") or ()
        count = bounds.surplus(written, [codec.entry_to_json(entry) for entry in new])
        for data in written[:count]:
            self.archive.add(codec.entry_from_json(data))
        return bounds.Moved(self.archive.sequence)

    def _act(self) -> bool:
        changed = False
        for effect in effects_of(self.program, self.state, self.observations):
            match effect:
                case CreateJob() if self.holds_back is not None:
                    changed = changed or self.held.get(effect.name) != self.holds_back
                    self.held[effect.name] = self.holds_back
                case CreateJob():
                    self.held.pop(effect.name, None)
                    assert effect.name not in {made.name for made in self.made}, f"{effect.name} is made twice"
                    self.made.append(effect)
                    self.jobs[effect.name] = JobFact(effect.name, f"job-{len(self.made)}", started=True, owned=effect.owned)
                    changed = True
                case DeleteJob():
                    if self.stops_at_once:
                        del self.jobs[effect.name]
                        self.vanished.add(effect.name)
                    else:
                        self.jobs[effect.name] = replace(self.jobs[effect.name], deleting=True)
                    changed = True
                case StartCall():
                    self.called.append(effect)
                    self.calls[effect.name] = CallFact(effect.name)
                    changed = True
                case StopCall():
                    del self.calls[effect.name]
                    changed = True
                case CreateRun() if self.holds_back is not None:
                    changed = changed or self.held.get(effect.name) != self.holds_back
                    self.held[effect.name] = self.holds_back
                case CreateRun():
                    assert effect.name not in {made.name for made in self.born}, f"{effect.name} is made twice"
                    self.born.append(effect)
                    detached = bool(effect.inputs.get("detached"))
                    self.children[effect.name] = RunFact(effect.name, f"run-{len(self.born)}", detached=detached)
                    changed = True
                case CancelRun():
                    self.told.append(effect)
                    self.children[effect.name] = replace(self.children[effect.name], cancelling=True)
                    changed = True
                case UndoRun():
                    self.told.append(effect)
                    self.children[effect.name] = replace(self.children[effect.name], undoing=True)
                    changed = True
                case AcquireLock():
                    self.asked[effect.path], changed = effect, True
                case ReleaseLock():
                    del self.asked[effect.path]
                    changed = True
                case CreateDeadLetter() if not self.loses_letters:
                    assert effect.name not in {letter.name for letter in self.written}, f"{effect.name} is written twice"
                    self.written.append(effect)
                    self.letters[effect.name] = DeadLetterFact(effect.name, f"letter-{len(self.written)}")
                    changed = True
                case AskCircuit():
                    self.asking[effect.path], changed = effect, True
                    self.probes.append(effect)
                case LeaveCircuit():
                    del self.asking[effect.path]
                    self.probing.discard(effect.path)
                    self.probes.append(effect)
                    changed = True
                case AddFinalizer():
                    self.finalizer = changed = True
                case RemoveFinalizer():
                    self.finalizer, changed = False, True
        return changed

    # --------------------------------------------------------------------------------------------- what a test may do

    def succeed(self, path: str, outputs: Any = None) -> "World":
        """The Job of a step ends well."""
        return self.end(path, JobState.SUCCEEDED, "" if outputs is None else orjson.dumps(outputs).decode())

    def fail(self, path: str, error: str = "ExitCode", *, output: str | None = None) -> "World":
        """The Job of a step fails: as Kubernetes sees it, or with a business error in its output."""
        return self.end(path, JobState.FAILED, output, Fault(error, detail=f"{error} happened"))

    def end(self, path: str, state: JobState, output: str | None = None, fault: Fault | None = None) -> "World":
        name = self.step(path).job
        assert name in self.jobs, f"{path} has no Job that goes on"
        self.jobs[name] = replace(self.jobs[name], state=state, output=output, fault=fault, started=True)
        return self.look()

    def answer(self, path: str, outputs: Any = None, fault: Fault | None = None, retry_after_seconds: float | None = None) -> "World":
        """The call of a step has ended: with outputs, or with an error."""
        name = self.step(path).call or ""
        assert name in self.calls, f"{path} makes no call"
        state = CallState.FAILED if fault else CallState.SUCCEEDED
        self.calls[name] = replace(self.calls[name], state=state, outputs=outputs, fault=fault, retry_after_seconds=retry_after_seconds)
        return self.look()

    def call_waits(self, path: str, message: str | None) -> "World":
        """The call of a step says what it waits for."""
        name = self.step(path).call or ""
        self.calls[name] = replace(self.calls[name], message=message)
        return self.look()

    def restart(self) -> "World":
        """Another operator takes over: what the one before did itself is gone."""
        self.calls.clear()
        return self.look()

    def child(self, path: str, phase: str, **changes: Any) -> "World":
        """The child run of a step has come so far: `outputs`, `error`, `stalled` and so on are what is seen of it besides."""
        name = self.step(path).child or ""
        over = Phase(phase) in (Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED, Phase.COMPENSATED)
        self.children[name] = replace(self.children[name], phase=Phase(phase), is_finished=over, **changes)
        return self.look()

    def lose_job(self, path: str) -> "World":
        """Somebody deletes the Job of a step."""
        name = self.step(path).job or ""
        del self.jobs[name]
        self.vanished.add(name)
        return self.look()

    def gone(self, path: str) -> "World":
        """The Job of a step that is being stopped is gone at last."""
        return self.lose_job(path)

    def pass_time(self, text: str) -> "World":
        """Let time pass, looking whenever the engine asked to be woken."""
        end = self.now + parse_duration(text)
        while self.wake_at is not None and self.wake_at <= end:
            self.now = max(self.now, self.wake_at)
            before = self.wake_at
            self.look()
            if self.wake_at is not None and self.wake_at <= before:
                self.wake_at = before + timedelta(milliseconds=1)
        self.now = end
        return self.look()

    def wants(self, **changes: Any) -> "World":
        """People ask for something: suspend=True, cancel=True, delete=True, release=True."""
        self.wish = replace(self.wish, **changes)
        return self.look()

    def ask(self, path: str, action: str, **more: Any) -> "World":
        """A person asks something of one step: `more` is the rest of the request."""
        request = Request(f"r{len(self.wish.requests)}", path, action, **more)
        return self.wants(requests=(*self.wish.requests, request))

    def refuse(self, path: str, type_: str, detail: str) -> "World":
        """The API server refuses the Job of a step, which was not made."""
        name = self.step(path).job or ""
        self.jobs.pop(name, None)
        self.refused[name] = Refusal(type_, detail)
        return self.look()

    def refuse_run(self, path: str, type_: str, detail: str) -> "World":
        """The API server refuses the child run of a step, which was not made."""
        self.refused[self.step(path).child or ""] = Refusal(type_, detail)
        return self.look()

    def resolve(self, path: str, action: str, edit: Mapping[str, Any] | None = None, reason: str = "", id_: str = "r1") -> "World":
        """A person says what is to become of the DeadLetter of a step."""
        name = (self.step(path).letter or {})["name"]
        self.letters[name] = replace(self.letters[name], resolution=id_, action=action, edit=edit, reason=reason)
        return self.look()

    def take(self, name: str, fact: LockFact | None) -> "World":
        """Others hold a lock from now on, and this is what is told of it; None: it is to be had."""
        if fact is None:
            del self.taken[name]
        else:
            self.taken[name] = fact
        return self.look()

    def breaker(self, name: str, fact: CircuitFact) -> "World":
        """A circuit breaker stands so from now on."""
        self.breakers[name] = fact
        return self.look()

    def let_through(self, *paths: str) -> "World":
        """A breaker lets steps through that have asked, as probes; all others have their answer."""
        self.probing.update(paths)
        self.refusing = True
        return self.look()

    def obstruct(self, fault: Fault | None) -> "World":
        """From now on no Job can be made, for this reason; None: from now on they can."""
        self.holds_back = fault
        return self.look()

    def sees(self, path: str, **changes: Any) -> "World":
        """Something else is seen of the Job of a step."""
        name = self.step(path).job or ""
        self.jobs[name] = replace(self.jobs[name], **changes)
        return self.look()

    # ------------------------------------------------------------------------------------------- what a test may read

    @property
    def state(self) -> State:
        return journal.verify(self.status, self.archive.state) if self.status else State()

    @property
    def phase(self) -> str:
        return str(self.state.run.phase)

    def step(self, path: str) -> StepRecord:
        return self.state.steps[path]

    def phases(self) -> dict[str, str]:
        """Every step that has begun and its phase, without the body itself."""
        return {path: str(record.phase) for path, record in self.state.steps.items() if path != "/"}

    @property
    def running(self) -> list[str]:
        """The steps whose Jobs go on."""
        active = {name for name, fact in self.jobs.items() if fact.state is JobState.ACTIVE}
        return [record.path for record in self.state.steps.values() if record.job in active and not record.has_ended]

    @property
    def story(self) -> list[str]:
        """What happened: kind and path of every entry but the body's own."""
        return [f"{entry.kind} {entry.path}".strip() for entry in self.entries if entry.path != "/"]

    def condition(self, kind: str) -> tuple[str, str] | None:
        found = conditions(self.program, self.state, [], 1, self.now)
        return next(((item["status"], item["reason"]) for item in found if item["type"] == kind), None)

    def message(self, kind: str) -> str:
        """What a condition says in words."""
        found = conditions(self.program, self.state, [], 1, self.now)
        return next((str(item["message"]) for item in found if item["type"] == kind), "")

    def made_for(self, path: str) -> list[CreateJob]:
        return [made for made in self.made if made.path == path]
