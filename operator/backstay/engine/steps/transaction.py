"""transaction: several participants do something together or not at all, by two-phase commit, or by try, confirm and cancel.

    state     on         becomes    then
    (new)     start      Running    phase one of every participant begins, all at the same time
    Running   prepared   Running    all are prepared: the decision Commit is written, and with it the beginning of phase two
    Running   committed  Succeeded  every participant has committed
    Running   refused    Stopping   phase one of a participant has failed: the decision is Abort
    Running   too late   Stopping   decisionTimeout, or the step's timeout, is over: the decision is Abort
    Running   stop       Stopping   without a decision: Abort; after Commit: phase two goes on, whoever wants the step to end
    Stopping  aborted    Failed     with the error that decided; or Cancelled
    Stopping  committed  Succeeded  it was decided before it could be stopped; what was done counts, and can be undone
    Running   heuristic  Failed     a participant has decided by itself, against the decision, and a person has given it up

The decision is in the record of this step before anybody is told of it: entry and first attempts of phase two are one write, and what is done
follows from what is written. Without a decision the transaction is aborted (presumed abort). Abort is told to those who are prepared, and
to those of whom nobody knows; never while phase one still goes on there. Phase two is tried until it succeeds. A participant that
reports HeuristicCommit, HeuristicRollback or HeuristicMixed is not asked again: its phase is Paused until a person has dealt with it.

Example:
    - name: book
      transaction:
        mode: TwoPhase
        decisionTimeout: 30s
        participants:
        - name: truck
          prepare: {job: {image: "fleet/truck:1", args: [prepare, "${ self.transaction }"]}}
          commit: {job: {image: "fleet/truck:1", args: [commit, "${ self.transaction }"]}}
          abort: {job: {image: "fleet/truck:1", args: [abort, "${ self.transaction }"]}}
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from backstay.api.actions.transaction import Participant, PhaseAction, Transaction
from backstay.api.base import format_duration
from backstay.api.policies import OnExhausted, Retry
from backstay.engine import lifecycle, transactions
from backstay.engine.lifecycle import advance, begun, outcomes, succeed
from backstay.engine.model import UNKNOWN, Fault, Json, Phase, StepRecord
from backstay.engine.node import Nesting, Node
from backstay.engine.paths import join
from backstay.engine.scopes import Scope
from backstay.engine.transactions import HEURISTICS, Decision, Prepared, phase_path
from backstay.engine.turn import Turn

SELF: Final = "self"
PARTICIPANTS: Final = "participants"


@dataclass(frozen=True, slots=True)
class Member:
    """A participant: what it does before the decision, after Commit and after Abort. The nodes are named as the phases are."""

    name: str
    first: Node
    commit: Node
    abort: Node

    def second(self, decision: str | None) -> Node:
        """Return what it does after a decision."""
        return self.commit if decision == Decision.COMMIT else self.abort


@dataclass(frozen=True, slots=True)
class Body:
    """The participants, and how long they may take until all are prepared."""

    members: tuple[Member, ...]
    decision_timeout: timedelta


class TransactionStep:
    """The machine of `transaction`."""

    works = False

    # ------------------------------------------------------------------------------------------------------ compiling

    def compile(self, action: Transaction, path: str, scope: Scope, nesting: Nesting) -> Body:
        return Body(tuple(self._member(item, path, scope, nesting) for item in action.participants), action.decision_timeout)

    def _member(self, item: Participant, path: str, scope: Scope, nesting: Nesting) -> Member:
        (first, one), (commit, two), (abort, three) = item.phases()
        outside = join(path, item.name)
        knowing = Scope(scope.segments, scope, (SELF,), gives=_seen)
        all_knowing = Scope(scope.segments, scope, (SELF, PARTICIPANTS), gives=_seen)
        return Member(
            item.name,
            _first(one, first, join(outside, first), knowing, nesting),
            _second(two, commit, join(outside, commit), all_knowing, nesting),
            _second(three, abort, join(outside, abort), knowing, nesting),
        )

    # ------------------------------------------------------------------------------------------------------ phase one

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        due = turn.now + node.body.decision_timeout
        record = turn.change_step("StepStarted", path, phase=Phase.RUNNING, due_at=due, **begun(turn, node))
        self.proceed(turn, node, record)

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        if record.decision is None:
            record = self._prepare(turn, node, record)
        if record.decision == Decision.COMMIT and self._carried_out(turn, node, record):
            fault = _heuristic(turn, node, record)
            if fault is None:
                succeed(turn, record.path, error=None)
            else:
                lifecycle.fail(turn, node, record.path, fault)

    def _prepare(self, turn: Turn, node: Node, record: StepRecord) -> StepRecord:
        """Bring phase one as far as it goes, and decide as soon as that can be done."""
        found: list[StepRecord | None] = []
        for member in node.body.members:
            found.append(advance(turn, member.first, _at(record, member, member.first)))
            _note_the_unsure(turn, found[-1])
        if turn.is_ending:
            return record
        refused = next((first for first in found if first is not None and first.has_ended and first.phase is not Phase.SUCCEEDED), None)
        if refused is not None:
            fault = refused.error or Fault("Cancelled", "A participant was stopped", f"{refused.path} was stopped", refused.path)
            return _decide(turn, record, Decision.ABORT, fault)
        if all(first is not None and first.has_ended for first in found):
            return _decide(turn, record, Decision.COMMIT)
        return _decide(turn, record, Decision.ABORT, _too_late(node, record, found)) if turn.is_due(record.due_at) else record

    # ------------------------------------------------------------------------------------------------------ phase two

    def _carried_out(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        """Bring the second phase of all who need one as far as it goes. Returns whether every one of them is over."""
        ended = [self._carried_out_at(turn, record, member) for member in node.body.members]
        return all(ended)

    def _carried_out_at(self, turn: Turn, record: StepRecord, member: Member) -> bool:
        if record.decision == Decision.ABORT:
            first = turn.steps.get(_at(record, member, member.first))
            if first is not None and not first.has_ended:
                _note_the_unseen(turn, first)
                lifecycle.stop(turn, member.first, turn.steps[first.path])
                first = turn.steps[first.path]
                if not first.has_ended:
                    return False
            if transactions.prepared(first) is Prepared.NOT:
                return True
        second = member.second(record.decision)
        doing = advance(turn, second, _at(record, member, second))
        return doing is not None and doing.has_ended

    # ------------------------------------------------------------------------------------------------------- stopping

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        if record.decision is None:
            record = _decide(turn, record, Decision.ABORT)
        if not self._carried_out(turn, node, record):
            return False
        fault = _heuristic(turn, node, record)
        if fault is not None:
            turn.change_step("HeuristicOutcome", record.path, error=fault, reason=fault.detail)
        elif record.decision == Decision.COMMIT:
            succeed(turn, record.path, error=None)
        return True

    def outputs(self, turn: Turn, node: Node, record: StepRecord) -> Json:
        """What each participant left behind, by its name and the name of the phase."""
        return {
            member.name: {phase.name: turn.outputs(phase, _at(record, member, phase)) for phase in (member.first, member.commit)}
            for member in node.body.members
        }


# -------------------------------------------------------------------------------------------------------------- compiling


def _first(phase: PhaseAction, name: str, path: str, scope: Scope, nesting: Nesting) -> Node:
    """Compile a phase before the decision: it may fail, and be tried again as it says."""
    node = nesting.event(phase.kind, phase.action, name, path, scope)
    limits = {"timeout": phase.timeout or node.timeout, "attempt_timeout": phase.attempt_timeout or node.attempt_timeout}
    return nesting.place(path, node, retry=phase.retry or node.retry, on_exhausted=OnExhausted.FAIL, is_phase=True, tells=_told, **limits)


def _second(phase: PhaseAction, name: str, path: str, scope: Scope, nesting: Nesting) -> Node:
    """Compile a phase after the decision: it is tried until it succeeds, or a person has dealt with it."""
    node = nesting.event(phase.kind, phase.action, name, path, scope)
    limits = {"timeout": None, "attempt_timeout": phase.attempt_timeout or node.attempt_timeout}
    tried = {
        "retry": phase.retry or node.retry or Retry(),
        "is_retriable": True,
        "never_again": HEURISTICS,
        "on_exhausted": OnExhausted.PAUSE,
    }
    return nesting.place(path, node, is_phase=True, tells=_told, **limits, **tried)


# --------------------------------------------------------------------------------------------------------------- deciding


def _at(record: StepRecord, member: Member, phase: Node) -> str:
    return phase_path(record.path, member.name, phase.name)


def _note_the_unsure(turn: Turn, first: StepRecord | None) -> None:
    """An attempt has failed and is followed by another: remember whether it may have prepared something, for a later No does not take that back."""
    if first is None or first.phase is not Phase.RETRYING or first.then is not None or first.outcome == UNKNOWN:
        return
    if transactions.is_unsure(first):
        outcomes.note_unknown(turn, first, f"attempt {first.attempt} may have prepared something")


def _note_the_unseen(turn: Turn, first: StepRecord) -> None:
    """A Job or child run that was to be made before this turn, and that nobody sees, may have been made all the same, by an operator that died."""
    seen = turn.observations
    name = first.job or first.child
    if first.phase is not Phase.RUNNING or name is None or first.attempt_started_at == turn.now or first.outcome == UNKNOWN:
        return
    if not any(name in known for known in (seen.jobs, seen.children, seen.refused, seen.held)):
        outcomes.note_unknown(turn, first, f"{name} may have been made, and was not seen")


def _decide(turn: Turn, record: StepRecord, decision: Decision, fault: Fault | None = None) -> StepRecord:
    """Write the decision. From now on nothing changes it: no timeout, nobody who wants the step to end."""
    changes: dict[str, Any] = {"decision": str(decision), "due_at": None, "deadline_at": None}
    if fault is not None:
        changes |= {"phase": Phase.STOPPING, "then": Phase.FAILED, "error": fault}
    why = f"{fault.type}: {fault.detail or fault.title}".rstrip(": ") if fault else ""
    words = (
        "all participants are prepared" if decision is Decision.COMMIT else why or "it was stopped before all participants were prepared"
    )
    return turn.change_step("TransactionDecided", record.path, reason=f"{decision}: {words}", **changes)


def _too_late(node: Node, record: StepRecord, found: list[StepRecord | None]) -> Fault:
    missing = [
        member.name for member, first in zip(node.body.members, found, strict=True) if first is None or first.phase is not Phase.SUCCEEDED
    ]
    took = format_duration(node.body.decision_timeout)
    detail = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not prepared within {took}; see decisionTimeout"
    return Fault("Timeout", "The participants were not prepared in time", detail, record.path)


def _heuristic(turn: Turn, node: Node, record: StepRecord) -> Fault | None:
    """Return the error of a transaction of which some participants went another way, and a person has given them up."""
    seconds = [turn.steps.get(_at(record, member, member.second(record.decision))) for member in node.body.members]
    told = [second for second in seconds if second is not None]
    against = [second for second in told if second.phase is Phase.FAILED]
    if not against:
        return None
    other = "HeuristicRollback" if record.decision == Decision.COMMIT else "HeuristicCommit"
    is_whole = len(against) == len(told) and all(second.error is None or second.error.type != "HeuristicMixed" for second in against)
    names = ", ".join(transactions.owner_of(second.path)[1] for second in against)
    reasons = "; ".join(f"{second.error.type}: {second.error.detail}".rstrip(": ") for second in against if second.error)
    detail = (
        f"the decision was {record.decision}, and it was not carried out at {names} ({reasons}); see that by hand the participants agree"
    )
    return Fault(other if is_whole else "HeuristicMixed", "Participants went another way than was decided", detail, record.path)


# ---------------------------------------------------------------------------------------------------------------- telling


def _told(turn: Turn, path: str) -> dict[str, Json]:
    """Tell the attempts of a phase of which transaction they are part, and those of the last phase whether the first one is known to be done."""
    view = _view(turn, path)
    return {"transaction": {name: view[name] for name in ("transaction", "prepared") if view[name]}}


def _seen(turn: Turn, path: str, name: str) -> Json:
    """Return what expressions of a phase see as `self` and as `participants`."""
    if name == SELF:
        return _view(turn, path)
    transaction, _ = transactions.owner_of(path)
    node = turn.program.node(transaction)
    members = node.body.members if node else ()
    return {member.name: _view(turn, phase_path(transaction, member.name, member.first.name)) for member in members}


def _member_at(turn: Turn, path: str) -> Member:
    transaction, participant = transactions.owner_of(path)
    node = turn.program.node(transaction)
    assert node is not None
    found: Member = next(member for member in node.body.members if member.name == participant)
    return found


def _view(turn: Turn, path: str) -> dict[str, Json]:
    transaction, participant = transactions.owner_of(path)
    first = _member_at(turn, path).first
    record = turn.steps.get(phase_path(transaction, participant, first.name))
    ended = record if record is not None and record.has_ended else None
    return {
        "name": participant,
        "transaction": transactions.id_of(turn.identity, transaction),
        "prepared": "" if ended is None else str(transactions.prepared(ended)),
        "outputs": turn.outputs(first, ended.path) if ended is not None else {},
    }
