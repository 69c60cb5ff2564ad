"""What the records tell of transactions: who was prepared, what was decided, and who has not carried it out yet.

A phase of a participant is a step of its own at `TRANSACTION/PARTICIPANT/PHASE`, as in `book/truck/prepare`. The decision stands in the
record of the transaction, written before any participant is told of it (Gray and Lamport, "Consensus on Transaction Commit", 2006); nothing
written is Abort (Mohan, Lindsay and Obermarck, "Transaction Management in the R* Distributed Database Management System", 1986).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from backstay.api.faults import BUILT_IN
from backstay.engine.model import ENDED, UNKNOWN, Fault, Identity, Phase, StepRecord
from backstay.names import transaction_id

if TYPE_CHECKING:
    from backstay.engine.node import Node
    from backstay.engine.program import Program

TRANSACTION: Final = "transaction"
"""The kind of a transaction."""
HEURISTICS: Final = ("HeuristicCommit", "HeuristicRollback", "HeuristicMixed")
"""What a participant reports that has decided by itself, against the decision (X/Open, "Distributed Transaction Processing: The XA
Specification", 1991: XA_HEURCOM, XA_HEURRB, XA_HEURMIX)."""
SAID_NO: Final = frozenset(
    """AdmissionDenied CircuitOpen ExpressionError Forbidden HostForbidden HttpStatus ImagePull InvalidJob InvalidParameters InvalidRequest
    InvalidWorkflow LimitExceeded LockTimeout SecretNotFound StartTimeout Unschedulable WorkflowNotFound""".split()  # noqa: SIM905
)
"""Built-in errors of an attempt that certainly prepared nothing: it never started, or was answered with a refusal."""


class Decision(StrEnum):
    """What becomes of all participants together."""

    COMMIT = "Commit"
    ABORT = "Abort"


class Prepared(StrEnum):
    """What is known of a participant once its first phase is over."""

    SUCCEEDED = "Succeeded"
    UNKNOWN = "Unknown"
    NOT = "Failed"


def phase_path(transaction: str, participant: str, phase: str) -> str:
    """Return the path of a phase: `book/truck/prepare`."""
    return f"{transaction}/{participant}/{phase}"


def owner_of(path: str) -> tuple[str, str]:
    """Return the path of the transaction that a phase is of, and the participant."""
    transaction, participant, _ = path.rsplit("/", 2)
    return transaction, participant


# ------------------------------------------------------------------------------------------------------------ phase one


def is_unsure(record: StepRecord) -> bool:
    """Tell whether a first phase that did not succeed may have prepared something all the same.

    Besides what is known of any work (`lifecycle/outcomes.py`): an error that a container names says No; its exit code says nothing, for
    whoever kills a process does not ask how far it was. A child run that failed need not have undone all.
    """
    if record.outcome == UNKNOWN:
        return True
    fault = record.error
    if not record.attempt or record.kind == "http":
        return False
    if fault is None or (fault.type in SAID_NO and fault.step in ("", record.path)):
        return record.kind == "workflow" and fault is None
    return record.kind == "workflow" or record.disruptions > 0 or fault.type in BUILT_IN


def prepared(record: StepRecord | None) -> Prepared:
    """Return what is known of a participant, given the record of its first phase (None: it never began)."""
    if record is None:
        return Prepared.NOT
    if record.phase is Phase.SUCCEEDED:
        return Prepared.SUCCEEDED
    return Prepared.UNKNOWN if is_unsure(record) else Prepared.NOT


# ------------------------------------------------------------------------------------------------------------ phase two


@dataclass(frozen=True, slots=True)
class Doubt:
    """A transaction that is decided, and of which some participants have not carried the decision out."""

    path: str
    decision: Decision
    left: tuple[str, ...]
    """The participants that have not, by name."""
    troubles: tuple[StepRecord, ...]
    """Their phases that have failed so far, or wait for a person."""
    by_calls: bool = False
    """Whether the operator itself can carry out some of it, by calls."""

    @property
    def words(self) -> str:
        """Say it in a line."""
        what = "is to be committed" if self.decision is Decision.COMMIT else "is to be aborted"
        return f"{self.path} {what}, and not so yet at {', '.join(self.left)}{''.join(map(_trouble_words, self.troubles))}"


def _trouble_words(record: StepRecord) -> str:
    fault = record.error or Fault("Unknown")
    _, participant = owner_of(record.path)
    times = f"{record.attempt} attempt{'s' if record.attempt > 1 else ''}"
    waits = ", waits for a person" if record.phase is Phase.PAUSED else ""
    return f"; {participant}: {fault.type}: {fault.detail or fault.title} ({times}{waits})"


def doubts(program: "Program", steps: Mapping[str, StepRecord]) -> Iterator[Doubt]:
    """Yield the transactions that are decided and not carried out."""
    if TRANSACTION not in program.kinds:
        return
    for record in steps.values():
        if record.kind == TRANSACTION and record.decision is not None and not record.has_ended:
            node = program.node(record.path)
            if node is not None:
                yield _doubt(node, record, steps)


def _doubt(node: "Node", record: StepRecord, steps: Mapping[str, StepRecord]) -> Doubt:
    decision = Decision(record.decision or "")
    left: list[str] = []
    troubles: list[StepRecord] = []
    by_calls = False
    for member in node.body.members:
        first = steps.get(phase_path(record.path, member.name, member.first.name))
        second = member.second(decision)
        found = steps.get(phase_path(record.path, member.name, second.name))
        needs = decision is Decision.COMMIT or (first is not None and (first.phase not in ENDED or prepared(first) is not Prepared.NOT))
        if needs and (found is None or found.phase not in ENDED):
            left.append(member.name)
            by_calls = by_calls or second.kind == "http"
            if found is not None and found.error is not None:
                troubles.append(found)
    return Doubt(record.path, decision, tuple(left), tuple(troubles), by_calls)


def troubled(program: "Program", steps: Mapping[str, StepRecord]) -> list[Doubt]:
    """Return the transactions in doubt that somebody should know of: a participant has failed to carry the decision out so far."""
    return [doubt for doubt in doubts(program, steps) if doubt.troubles]


def is_in_doubt(steps: Mapping[str, StepRecord]) -> bool:
    """Tell whether a participant has failed so far to carry a decision out, from the records alone."""
    decided = [record.path for record in steps.values() if record.kind == TRANSACTION and record.decision and not record.has_ended]
    return any(
        record.error is not None and not record.has_ended and record.path.startswith(f"{path}/")
        for path in decided
        for record in steps.values()
    )


def in_doubt_words(program: "Program", steps: Mapping[str, StepRecord]) -> str:
    """Return what is in doubt, in words; empty where nothing is."""
    return "; ".join(doubt.words for doubt in doubts(program, steps) if doubt.left)


def cannot_go_on(program: "Program", steps: Mapping[str, StepRecord]) -> bool:
    """Tell whether, in a namespace that is being deleted, all that is left to do of the transactions in doubt needs Jobs or child runs."""
    found = list(doubts(program, steps))
    return bool(found) and not any(doubt.by_calls for doubt in found)


def refusal(node: "Node", record: StepRecord, action: str) -> str:
    """Return why something cannot be asked of a phase, or nothing."""
    transaction, _ = owner_of(record.path)
    if action == "Cancel":
        return f"{record.path} is a phase of the transaction {transaction}; ask that of {transaction}"
    if action == "Skip" and not node.is_retriable:
        return f"nobody can be prepared by hand; give {record.path} up, and the transaction is aborted"
    return ""


def id_of(identity: Identity, transaction: str) -> str:
    """Return the name of a transaction, under which its participants know it."""
    return transaction_id(identity.uid, transaction)
