"""workflow: run another workflow to its end, as a WorkflowRun of its own. Each attempt is another child run, made exactly once.

    state     on         becomes    then
    (new)     start      Running    what to run stands in the status until the child is known to exist
    Running   made       Succeeded  with `wait: false`: the child is there, and nobody waits for it
    Running   succeeded  Succeeded  with the child's outputs
    Running   failed     Retrying   where the retry policy says so: another child; else a catch or Failed, with the child's own error
    Retrying  due        Running    the next attempt
    Running   gone       Failed     ChildFailed: the child was there and is no more
    Running   timeout    Stopping   attemptTimeout or timeout is over: the child is cancelled and undoes itself, then the step failed
    Running   stop       Stopping   the child is cancelled and undoes itself
    Stopping  ended      Cancelled  the child has ended, and what it did is undone
    Stopping  succeeded  Succeeded  it was done before it could be cancelled; what was done counts, and can be undone
    Stopping  gone       Cancelled  with outcome Unknown, as where it was to be undone and stays as it is: a person may be needed

A child that succeeds after its step has timed out, or with outputs that the step does not accept, is undone at once: nobody would know
of what it did.

A step that has succeeded is undone by undoing its child, unless the step says another way in `compensate`:

    (new)     undo       Running    the child is asked to undo what it did
    Running   undone     Succeeded  all that the child did is undone
    Running   given up   Failed     the child let go of what it could not undo, or is gone: a person is needed

Example:
    - name: fulfil
      workflow: {name: "ship-${params.country}", params: {order: "${params.orderId}"}}
      timeout: 2d
      catch: [{errors: [OutOfStock], steps: [{name: tell, job: {image: "shop/mail:1"}}]}]
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from backstay.api.actions.child import WorkflowAction
from backstay.api.base import format_duration
from backstay.engine.lifecycle import begin_stopping, begun, fail, note_unknown, succeed
from backstay.engine.model import UNKNOWN, Fault, Json, Phase, RunFact, StepRecord
from backstay.engine.node import Nesting, Node
from backstay.engine.outputs import accepted
from backstay.engine.paths import RECOVERY, undone_by
from backstay.engine.policies import attempts, editing
from backstay.engine.policies.sizes import too_large
from backstay.engine.scopes import Bound, Scope, bind
from backstay.engine.turn import Turn
from backstay.errors import EvaluationError
from backstay.names import child_name

UNDO: Final = "undoChild"
"""Kind of the step that undoes a child run."""
CONFIRM_AFTER: Final = timedelta(seconds=10)
"""The child's UID enters the status with the next write; a write of its own is made for a child that goes on for longer."""
_OBJECT_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Body:
    """The action with its expressions bound."""

    name: Bound
    version: Bound | None
    template: str | None
    params: Bound
    wait: bool
    undo: bool
    """Whether it is undone with the run that started it."""


class ChildRun:
    """The machine of `workflow`."""

    works = True

    def compile(self, action: WorkflowAction, path: str, scope: Scope, nesting: Nesting) -> Body:
        version = None if action.version is None else bind(action.version, scope)
        return Body(bind(action.name, scope), version, action.template, bind(action.params, scope), action.wait, action.is_undone)

    # ------------------------------------------------------------------------------------------------------ beginning

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        self._attempt(turn, node, path, 1, begun(turn, node, path))

    def _attempt(self, turn: Turn, node: Node, path: str, attempt: int, changes: dict[str, Any]) -> None:
        inputs = self._inputs(turn, node, path)
        fault = _too_deep(turn, inputs) or _in_a_circle(turn, path, inputs) or too_large("child run", inputs)
        if fault is not None:
            fail(turn, node, path, fault)
            return
        record = turn.change_step(
            "AttemptStarted",
            path,
            phase=Phase.RUNNING,
            attempt=attempt,
            attempt_started_at=turn.now,
            inputs=inputs,
            child=child_name(turn.identity.name, turn.identity.uid, path, attempt),
            child_uid=None,
            due_at=None,
            **changes,
        )
        turn.wake(turn.now + CONFIRM_AFTER)
        attempts.wake_at_end(turn, node, record)

    def _inputs(self, turn: Turn, node: Node, path: str) -> dict[str, Json]:
        """Resolve the action: what a deed needs stands in the written state until the deed is confirmed."""
        action = editing.edited(turn, "workflow", path, self.resolved(turn, node, path))
        name = str(action["name"])
        if not _OBJECT_NAME.fullmatch(name):
            raise EvaluationError(
                f"workflow.name: {name[:80]!r} is no name of a Workflow; names have lower-case letters, digits, '-' and '.'"
            )
        workflow: dict[str, Json] = {"name": name}
        if "version" in action:
            workflow["revision"] = _number(action["version"])
        if "template" in action:
            workflow["template"] = action["template"]
        found: dict[str, Json] = {"workflow": workflow, "parameters": action.get("params", {})}
        return found if node.body.wait else {**found, "detached": "undo" if node.body.undo else True}

    def resolved(self, turn: Turn, node: Node, path: str) -> dict[str, Json]:
        body: Body = node.body
        found: dict[str, Json] = {"name": turn.evaluate_text(body.name, path), "params": turn.evaluate(body.params, path)}
        if body.version is not None:
            found["version"] = turn.evaluate(body.version, path)
        return found if body.template is None else {**found, "template": body.template}

    # ------------------------------------------------------------------------------------------------------ going on

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        if record.phase is Phase.RETRYING:
            self._attempt(turn, node, record.path, record.attempt + 1, {})
            return
        fact = own_fact(turn, record)
        refusal = turn.observations.refused.get(record.child or "") if fact is None else None
        if refusal is not None:
            fail(turn, node, record.path, Fault(refusal.type, "The child run was refused", refusal.detail))
        elif fact is not None and not node.body.wait and not fact.is_gone:
            succeed(turn, record.path, outputs={"run": record.child}, child_uid=fact.uid, error=None)
        elif fact is not None and fact.is_over:
            self._ended(turn, node, record, fact)
        elif fault := _overdue(turn, node, record):
            begin_stopping(turn, node, record, Phase.FAILED, fault)
        else:
            record = watch(turn, record, fact)
            attempts.wake_at_end(turn, node, record)

    def _ended(self, turn: Turn, node: Node, record: StepRecord, fact: RunFact) -> None:
        if fact.is_gone:
            _note_gone(turn, record, fact)
        if fact.phase is not Phase.SUCCEEDED or fact.is_gone:
            fail(turn, node, record.path, _fault_of(record, fact))
            return
        outputs, fault = accepted(node.declared, fact.outputs)
        if fault is None:
            succeed(turn, record.path, outputs=outputs, child_uid=fact.uid, error=None)
        else:
            begin_stopping(turn, node, record, Phase.FAILED, fault)

    # ------------------------------------------------------------------------------------------------------- stopping

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        fact = own_fact(turn, record)
        if fact is None:
            return True
        if not node.body.wait and not fact.is_gone:
            succeed(turn, record.path, outputs={"run": record.child}, child_uid=fact.uid)
            return True
        if fact.phase is Phase.SUCCEEDED and not fact.is_gone and not fact.undoing and record.then is not Phase.FAILED:
            succeed(turn, record.path, outputs=fact.outputs, child_uid=fact.uid)
            return True
        if fact.is_gone or fact.kept or (fact.is_finished and fact.phase is not Phase.SUCCEEDED):
            _tell_what_stays(turn, record, fact)
            return True
        watch(turn, record, fact)
        return False

    def outputs(self, turn: Turn, node: Node, record: StepRecord) -> Json:
        return record.outputs


class UndoChild:
    """The machine that undoes a child run. It stands at `undo_path` of its step."""

    works = False

    def compile(self, action: Any, path: str, scope: Scope, nesting: Nesting) -> None:
        """Nothing is written for it."""

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        done = turn.steps[undone_by(path) or ""]
        record = turn.change_step("StepStarted", path, phase=Phase.RUNNING, child=done.child, child_uid=done.child_uid, **begun(turn, node))
        self.proceed(turn, node, record)

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        fact = own_fact(turn, record)
        if fact is not None and fact.phase is Phase.COMPENSATED and not fact.is_gone:
            succeed(turn, record.path)
        elif fact is not None and fact.detached and fact.is_finished and fact.phase in (Phase.FAILED, Phase.CANCELLED) and not fact.is_gone:
            succeed(turn, record.path, reason=f"run {fact.name} has ended as {fact.phase}: it has undone itself")
        elif fact is not None and fact.kept and not fact.is_gone:
            detail = f"run {fact.name} stays as it is: {fact.kept}"
            fail(turn, node, record.path, Fault("ChildFailed", "The child run is not undone", detail, record.path))
        elif fact is not None and (fact.is_gone or (fact.is_finished and fact.phase is not Phase.SUCCEEDED)):
            fail(turn, node, record.path, _not_undone(record, fact))
        elif fact is not None:
            watch(turn, record, fact)

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        """Undoing is stopped by nobody but the run's end; then the child goes on by itself."""
        return True

    def outputs(self, turn: Turn, node: Node, record: StepRecord) -> Json:
        return {}


UNDO_CHILD: Final = UndoChild()


def own_fact(turn: Turn, record: StepRecord) -> RunFact | None:
    """Return what is seen of an attempt's child. One of the same name and another UID is not it: ours was deleted."""
    fact = turn.observations.children.get(record.child or "")
    if fact is None or record.child_uid in (None, fact.uid):
        return fact
    return RunFact(fact.name, record.child_uid or "", is_gone=True)


def watch(turn: Turn, record: StepRecord, fact: RunFact | None) -> StepRecord:
    """Nothing has ended: say what keeps the child from being made or from going on, and note its UID in good time."""
    changes: dict[str, Any] = {}
    held = turn.observations.held.get(record.child or "") if fact is None else None
    if fact is not None and fact.stalled:
        words: str | None = f"child run {fact.name} needs a person: {fact.stalled}"
    else:
        words = f"{held.title}: {held.detail}" if held is not None else None
    if words != record.message:
        changes = {"message": words, "stalled": True if fact is not None and words else None}
    if fact is not None and record.child_uid is None:
        confirm_at = (record.attempt_started_at or turn.now) + CONFIRM_AFTER
        if changes or confirm_at <= turn.now or turn.is_short_of_room:
            changes |= {"child_uid": fact.uid, "inputs": None}
        else:
            turn.wake(confirm_at)
    if not changes:
        return record
    return turn.change_step(
        "ChildSeen" if fact is not None else "ChildHeld",
        record.path,
        reason=changes.get("message") or ("" if "child_uid" in changes else "it goes on"),
        **changes,
    )


# ------------------------------------------------------------------------------------------------------------------ faults


def _fault_of(record: StepRecord, fact: RunFact) -> Fault:
    """Hand on the child's own error, so that a catch by its type works here as it would there."""
    if fact.is_gone:
        return Fault("ChildFailed", "The child run is gone", f"run {fact.name} was there and is no more; how it ended is not known")
    if fact.phase is Phase.COMPENSATED:
        return Fault("ChildFailed", "The child run was undone", f"run {fact.name} had succeeded and was undone on request")
    error = fact.error or Fault("ChildFailed", "The child run failed")
    has_named_itself = ":child/" in error.step
    detail = error.detail if has_named_itself else f"{error.detail or error.title} (run {fact.name})"
    step = f"{record.path}:child/{error.step}" if error.step else record.path
    return Fault(error.type, error.title, detail, step, record.attempt)


def _note_gone(turn: Turn, record: StepRecord, fact: RunFact) -> None:
    note_unknown(turn, record, f"run {fact.name} is gone, and with it how it ended")


def _tell_what_stays(turn: Turn, record: StepRecord, fact: RunFact) -> None:
    """A child that was stopped has ended, and what it did is not undone for certain: the run is told, so that it does not end as if it were."""
    if record.outcome == UNKNOWN:
        return
    if fact.is_gone:
        _note_gone(turn, record, fact)
    elif fact.kept:
        note_unknown(turn, record, f"run {fact.name} stays as it is: {fact.kept}")
    elif fact.undoing and fact.phase is not Phase.COMPENSATED:
        note_unknown(turn, record, f"run {fact.name} could not be undone wholly: it is {fact.phase}")


def _not_undone(record: StepRecord, fact: RunFact) -> Fault:
    if fact.is_gone:
        detail = f"run {fact.name} is gone; what it did can no longer be undone through it"
        return Fault("ChildFailed", "The child run is gone", detail, record.path)
    why = (fact.error and (fact.error.detail or fact.error.title)) or f"it is {fact.phase}"
    return Fault("ChildFailed", "The child run is not undone", f"run {fact.name} could not be undone wholly: {why}", record.path)


def _too_deep(turn: Turn, inputs: dict[str, Json]) -> Fault | None:
    identity = turn.identity
    chain = (*identity.callers, identity.workflow)
    if len(chain) <= identity.most_depth:
        return None
    names = [*chain, title_of(inputs["workflow"])]
    shown = " > ".join(names if len(names) <= 12 else [*names[:6], "…", *names[-5:]])
    detail = f"child runs may nest {identity.most_depth} deep (setting max_child_depth), and this one would be the next: {shown}"
    return Fault("LimitExceeded", "Child runs nest too deep", detail)


def _in_a_circle(turn: Turn, path: str, inputs: dict[str, Json]) -> Fault | None:
    """Return the fault of a recovery that is, or is a part of, what has failed: it would fail again, and start itself for ever."""
    chain = (*turn.identity.callers, turn.identity.workflow)
    title = title_of(inputs["workflow"])
    if path != RECOVERY or title not in chain:
        return None
    detail = f"{title} has failed itself, or in a run that this one is a part of ({' > '.join(chain)}); recover with another workflow"
    return Fault("LimitExceeded", "The recovery would go round in a circle", detail)


def title_of(workflow: Json) -> str:
    """Return what a run runs, in a word: the name of its Workflow, and of the template in it."""
    name, template = workflow.get("name") or "inline", workflow.get("template")
    return f"{name}/{template}" if template else str(name)


def _number(value: Json) -> int:
    """Read the number of a revision. Raises EvaluationError."""
    text = str(value)
    if isinstance(value, bool) or not text.removesuffix(".0").isdecimal() or int(float(text)) < 1:
        raise EvaluationError(f"workflow.version: {text[:80]!r} is no number of a revision; numbers begin at 1")
    return int(float(text))


# ------------------------------------------------------------------------------------------------------------------ timers


def _overdue(turn: Turn, node: Node, record: StepRecord) -> Fault | None:
    if node.attempt_timeout is None or not attempts.is_overdue(turn, node, record):
        return None
    detail = f"run {record.child} has not ended within {format_duration(node.attempt_timeout)}; see its attemptTimeout"
    return Fault("Timeout", "The attempt took too long", detail)
