"""One turn of deciding: the working copy of the state, and the one way to change it, which is to write a journal entry."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson

from backstay.engine import codec, journal
from backstay.engine.compensation.order import line_of
from backstay.engine.compensation.pending import has_completed
from backstay.engine.model import (
    UNKNOWN,
    Decision,
    Entry,
    Fault,
    Identity,
    Json,
    Observations,
    Phase,
    RunRecord,
    State,
    StepRecord,
)
from backstay.engine.paths import ROOT, finished_by, handled_by, in_lap, is_within, iteration_of, join, lap_of, prefix_of, undone_by
from backstay.engine.recovering import state_of
from backstay.engine.scopes import ENDING, INDEX, STATE, Bound, Scope, step_view
from backstay.errors import EvaluationError
from backstay.expressions.cel import picked
from backstay.names import idempotency_key

if TYPE_CHECKING:
    from backstay.engine.node import Node
    from backstay.engine.program import Program


MOST_BYTES: Final = 150_000
"""What the entries of one turn may take before nothing new begins in it."""
LAPS: Final = "laps"
_LAP: Final = re.compile(r"[^~:\[]*~(\d+)")
INPUTS_BYTES: Final = 150_000
"""What the inputs of unconfirmed attempts may take before no other begins: they stand in the status, and in memory."""
LOOK_AGAIN: Final = timedelta(seconds=1)
"""How soon to look whether there is room again, where nothing that was begun just now makes it."""
ENTRY_BYTES: Final = 250
"""What an entry takes besides its changes, about."""


class Turn:
    """What the machines of the steps see and do while a decision is made. Lives for one call of `decide`."""

    def __init__(self, program: "Program", identity: Identity, state: State, observations: Observations, now: datetime) -> None:
        self.program = program
        self.identity = identity
        self.observations = observations
        self.now = now
        self.run = state.run
        self.steps = dict(state.steps)
        self.sequence = state.sequence
        self.head = state.head
        self.entries: list[Entry] = []
        self.wake_at: datetime | None = None
        self._ending = False
        self.lets_go = ""
        """While the run ends: why nobody waits for a finally any more; empty as long as somebody does."""
        self._bytes = 0
        self._waiting_bytes = sum(_size_of_inputs(record) for record in self.steps.values() if record.inputs is not None)
        """What the inputs take of attempts that are not confirmed: they stand in the records, so that the deed can be repeated."""
        self._has_begun = False
        """Whether an attempt has begun in this turn."""
        self.memory: dict[object, Any] = {}
        """What was worked out in this turn and would be again: never more than a cache."""
        self.params: Mapping[str, Json] = parameters(program, identity)

    # ------------------------------------------------------------------------------------------------------- changing

    def change_run(self, event: str, /, *, reason: str = "", actor: str = "operator", **changes: Any) -> None:
        """Write an entry that changes the run's own record."""
        entry = self._entry(event, "", 0, reason, actor, codec.changes_to_json(RunRecord, _different(self.run, changes)))
        self.run = journal.changed_run(self.run, entry)

    def change_step(self, event: str, path: str, /, *, reason: str = "", actor: str = "operator", **changes: Any) -> StepRecord:
        """Write an entry that changes, or begins, a step's record. Raises IllegalTransition for a bug in a machine."""
        record = self.steps.get(path)
        attempt = changes.get("attempt", record.attempt if record else 0)
        different = _different(record, changes) if record else {name: value for name, value in changes.items() if value is not None}
        if record is None and "~" in path and (visit := self._visit(path)):
            different["visit"] = visit
        entry = self._entry(event, path, attempt, reason, actor, codec.changes_to_json(StepRecord, different))
        after = journal.changed_step(record, entry)
        self.steps[path] = after
        if "inputs" in different:
            self._has_begun = self._has_begun or after.inputs is not None
            self._waiting_bytes += _size_of_inputs(after) - (_size_of_inputs(record) if record else 0)
        if record is None and LAPS in self.memory:
            _note_lap(self.memory[LAPS], path)
        return after

    def visits(self, prefix: str, name: str) -> int:
        """Return how often a step of the list at `prefix` has begun so far."""
        record = self.steps.get(self.newest(prefix, name))
        return 0 if record is None else record.visit or 1

    def _visit(self, path: str) -> int:
        """Return which visit of a step begins at a path that has a lap; 0 where it is the step's first, or the path is inside such a step."""
        prefix, _, name = path.rpartition("/")
        before = self.visits(prefix, name.partition("~")[0]) if _LAP.fullmatch(name) else 0
        return before + 1 if before else 0

    def forget(self, prefix: str) -> None:
        """Write an entry that drops the records of all steps in the list at `prefix`: a long ended iteration."""
        self._entry(journal.FORGOTTEN, prefix, 0, "", "operator", {})
        self.steps = journal.without(self.steps, prefix)

    def move_deadlines(self, reason: str) -> None:
        """Write an entry that moves the deadlines of all steps that go on by the time for which the run was suspended."""
        entry = self._entry(journal.DEADLINES_MOVED, "", 0, reason, "operator", {})
        self.steps = journal.moved_deadlines(self.run, self.steps, entry)

    def _entry(self, kind: str, path: str, attempt: int, reason: str, actor: str, changes: Mapping[str, Json]) -> Entry:
        entry = Entry(self.sequence + 1, self.now, kind, path, attempt, actor, reason, changes, self.head)
        self.sequence, self.head = entry.sequence, journal.hash_of(entry)
        self.entries.append(entry)
        self._bytes += ENTRY_BYTES + len(orjson.dumps(changes))
        return entry

    def wake(self, moment: datetime) -> None:
        """Ask to be called again at a moment at the latest."""
        if self.wake_at is None or moment < self.wake_at:
            self.wake_at = moment

    def decision(self) -> Decision:
        """What this turn came to."""
        return Decision(State(self.run, self.steps, self.sequence, self.head), tuple(self.entries), self.wake_at)

    # -------------------------------------------------------------------------------------------------------- reading

    @property
    def is_suspended(self) -> bool:
        """Nothing new may start. Cancelling or deleting a run lifts its suspension: it must be able to end."""
        wish = self.observations.wish
        return wish.suspend and not wish.cancel and not wish.delete

    def ends_by(self) -> datetime | None:
        """Return until when a run that begins to stop now waits for the finallys of its steps; None where there are none."""
        return self.now + self.program.spec.compensation_timeout if self.program.finishing else None

    @property
    def is_full(self) -> bool:
        """This turn has written so much that what may begin has to wait for the next one, which follows at once (DESIGN, promise 8)."""
        if self._bytes > MOST_BYTES:
            self.wake(self.now)
            return True
        return False

    @property
    def has_room(self) -> bool:
        """Whether one more attempt may begin: not while too much is kept for those that have begun and are not confirmed."""
        if self._waiting_bytes <= INPUTS_BYTES:
            return True
        self.wake(self.now if self._has_begun else self.now + LOOK_AGAIN)
        return False

    @property
    def is_short_of_room(self) -> bool:
        """Whether attempts should be confirmed as soon as may be."""
        return 2 * self._waiting_bytes > INPUTS_BYTES

    @property
    def may_begin(self) -> bool:
        """Whether a step may begin now."""
        return not self.is_suspended and not self.is_full and not self._ending

    @property
    def is_ending(self) -> bool:
        """An `end` has just ended the run: nothing more begins in this pass."""
        return self._ending

    def begin_pass(self) -> None:
        """Look at the whole run from the top, as often as something has changed."""
        self._ending = False

    def end(self, event: str, /, **changes: Any) -> None:
        """End the run from within a step; what still runs is stopped from the next pass on."""
        self.change_run(event, **changes)
        self._ending = True

    def is_due(self, moment: datetime | None) -> bool:
        """Tell whether a timer has fallen due; ask to be woken at its time otherwise. A suspended run's timers wait."""
        if moment is None or self.is_suspended:
            return False
        if moment <= self.now:
            return True
        self.wake(moment)
        return False

    def evaluate(self, bound: Bound, path: str, **values: Json) -> Json:
        """Evaluate a template for the step at `path`; `values` are those of names that only the caller knows. Raises EvaluationError."""
        return bound.template.render(self._data(bound, path, values))

    def holds(self, bound: Bound, path: str, what: str, **values: Json) -> bool:
        """Evaluate a condition; `what` names it where it is none. Raises EvaluationError."""
        answer = self.evaluate(bound, path, **values)
        if not isinstance(answer, bool):
            raise EvaluationError(f"{what}: {answer!r} is neither true nor false")
        return answer

    def evaluate_text(self, bound: Bound, path: str) -> str:
        """Evaluate a template to text. Raises EvaluationError."""
        return bound.template.render_text(self._data(bound, path, {}))

    def seen(self, bound: Bound, path: str) -> dict[str, Json]:
        """Return what a template refers to, for one that is evaluated elsewhere, where more is known."""
        return picked((source for _, source in bound.template.expressions), self._data(bound, path, {}))

    def _data(self, bound: Bound, path: str, values: Mapping[str, Json]) -> dict[str, Json]:
        if bound.template.is_constant:
            return {}
        data: dict[str, Json] = {
            "params": dict(self._params(bound.scope, path)),
            "vars": dict(self.run.vars),
            "run": {
                "name": self.identity.name,
                "namespace": self.identity.namespace,
                "uid": self.identity.uid,
                "startedAt": codec.time_to_json(self.run.started_at or self.now),
            },
            "steps": {name: self._view(scope.segments, node, path) for name, scope, node in bound.steps()},
        }
        for name in bound.scope.extras():
            data[name] = values[name] if name in values else self._extra(name, bound.scope, path)
        return data

    def _params(self, scope: Scope, path: str) -> Mapping[str, Json]:
        """Return the run's parameters, or inside a template those that it was given."""
        template = scope.template()
        if template is None:
            return self.params
        record = self.steps.get(prefix_of(path, template.segments))
        return (record.params if record else None) or {}

    def lap(self, prefix: str) -> int:
        """Return how many laps the list at `prefix` is in: the latest one in which a step of it has begun."""
        if not self.program.leads_back:
            return 1
        laps: dict[str, int] | None = self.memory.get(LAPS)
        if laps is None:
            laps = self.memory[LAPS] = {}
            for path in self.steps:
                _note_lap(laps, path)
        return laps.get(prefix, 1)

    def newest(self, prefix: str, name: str, lap: int | None = None) -> str:
        """Return the path of the latest visit of a step of the list at `prefix`, up to a lap (None: the list's own)."""
        for number in range(lap or self.lap(prefix), 1, -1):
            if (path := in_lap(prefix, name, number)) in self.steps:
                return path
        return join(prefix, name)

    def _view(self, segments: int, node: "Node", path: str) -> Json:
        prefix = prefix_of(path, segments)
        record = self.steps.get(self.newest(prefix, node.name, lap_of(path, segments)))
        if record is None:
            return step_view("Pending", None, 0, None)
        error = codec.fault_to_json(record.error) if record.error else None
        return step_view(record.phase, self.outputs(node, record.path), record.attempt, error)

    def outputs(self, node: "Node", path: str) -> Json:
        """What a step produced; a structure's outputs are those of the steps in it, by name."""
        record = self.steps.get(path)
        if record is not None and record.phase in (Phase.CAUGHT, Phase.SKIPPED):
            return record.outputs or {}
        if record is None or not (record.is_joined or record.has_succeeded):
            return {}
        return node.machine.outputs(self, node, record)

    def undone(self, path: str) -> dict[str, str]:
        """What a compensation is told of the step that it undoes, besides its outputs: whether it was done, and its idempotency key."""
        record = self.steps.get(undone_by(path) or "")
        if record is None:
            return {}
        outcome = "Succeeded" if has_completed(record) else UNKNOWN
        return {"outcome": outcome, "key": idempotency_key(self.identity.uid, record.path)}

    def _extra(self, name: str, scope: Scope, path: str) -> Json:
        """The value of `item` or `index` (of an iteration), of `self` (the step that is being undone), or of the error that is handled."""
        home = scope.home_of(name)
        if home is not None and home.iterated is not None:
            owner, index = iteration_of(prefix_of(path, home.segments))
            return index if name == INDEX else home.iterated(self, owner, index)
        if home is not None and home.gives is not None:
            return home.gives(self, path, name)
        if name == ENDING and home is not None:
            return self._ending_of(finished_by(prefix_of(path, home.segments)) or "")
        if name == STATE and home is not None:
            return state_of(self)
        if name == "self":
            return self._undone_view(path)
        if home is not None and "self" in home.extra:
            return shown_fault(self.run.error or self._undone_for(path))
        handled = handled_by(prefix_of(path, home.segments)) if home is not None else None
        record = self.steps.get(handled) if handled else None
        return shown_fault(record.error if record else self.run.error)

    def _undone_view(self, path: str) -> Json:
        """What a compensation sees of the step that it undoes: nothing of its outputs where nobody knows whether it was done."""
        record = self.steps.get(undone_by(path) or "")
        node = self.program.node(record.path) if record else None
        if record is None or node is None:
            return {}
        outputs = node.machine.outputs(self, node, record) if has_completed(record) else {}
        return {**step_view(record.phase, outputs, record.attempt, None), **self.undone(path)}

    def _undone_for(self, path: str) -> Fault | None:
        """Return the error that is handled where an `undo` step has a step undone while the run goes on; of several, the latest that began."""
        undone = undone_by(path) or ""
        asking = [record for record in self.steps.values() if record.kind == "undo" and record.phase is Phase.RUNNING]
        asking = [record for record in asking if not (line := line_of(self.program, record.path)) or is_within(undone, line)]
        owners = (handled_by(record.path) for record in sorted(asking, key=lambda record: -record.sequence))
        return next((self.steps[owner].error for owner in owners if owner in self.steps), None)

    def _ending_of(self, path: str) -> Json:
        """What a finally sees of the end that it comes before: of the step at `path`, or of the run."""
        record = None if path == ROOT else self.steps.get(path)
        phase, fault = (record.finishing or record.phase, record.error) if record else (self.run.result or self.run.phase, self.run.error)
        return {"phase": str(phase), "error": shown_fault(fault)}


def shown_fault(fault: Fault | None) -> dict[str, Json]:
    """Return an error as expressions see it: all its members are there, also where there is none."""
    return {"type": "", "title": "", "detail": "", "step": "", "attempt": 0} | (codec.fault_to_json(fault) if fault else {})


def _note_lap(laps: dict[str, int], path: str) -> None:
    prefix, _, name = path.rpartition("/")
    if found := _LAP.match(name):
        laps[prefix] = max(laps.get(prefix, 1), int(found[1]))


def _size_of_inputs(record: StepRecord) -> int:
    return 0 if record.inputs is None else len(orjson.dumps(record.inputs))


def _different(record: RunRecord | StepRecord, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what stays as it is: the journal tells what changed."""
    return {name: value for name, value in changes.items() if getattr(record, name) != value}


def parameters(program: "Program", identity: Identity) -> dict[str, Json]:
    """Return the run's parameters with the workflow's defaults; they were checked when the run began."""
    found = {item.name: item.default for item in program.spec.parameters if not item.is_required}
    found.update(identity.parameters)
    return found
