"""What is known of work that was cut off, or that nobody answered for: whether it may have been done all the same.

work          may have been done                                    certainly was not
Job           a container may have started; the Job, or its pod,    it was never made, was refused or held back; its pod could not
              is gone before it said how it ended; no pod was       start, and what kept it is known; its container said itself
              seen, and nobody knows why                            that it failed
HTTP call     it goes on; no answer came; 502 and 504, by which a   no connection came about; any other answer
              gateway says that it had no answer
resource      it goes on, and changes something                     it only reads or waits; the API server refused it
child run     it is gone before its end was known                   it has ended: it undoes itself
any of these  it ended well, and what it left cannot be taken

A step keeps the outcome Unknown through later attempts that fail, for the first one may have done the work; success clears it.
"""

from typing import Any, Final

from backstay.engine.model import UNKNOWN, CallState, Fault, JobState, Phase, StepRecord
from backstay.engine.turn import Turn

_READS: Final = frozenset({"get", "wait"})


def after_cutting_off(turn: Turn, record: StepRecord, fault: Fault | None) -> dict[str, Any]:
    """Return what changes of a step of which the latest attempt is cut off now; `fault` says why, where it is to fail."""
    return unknown(turn) if record.phase is Phase.RUNNING and _may_be_done(turn, record, fault) else {}


def unknown(turn: Turn) -> dict[str, Any]:
    """Return what changes of a step whose latest attempt may have done its work: its place in the order of undoing is here, before any handler."""
    return {"outcome": UNKNOWN, "sequence": turn.sequence + 1}


def note_unknown(turn: Turn, record: StepRecord, why: str) -> None:
    """Write that the latest attempt may have done its work, and that nobody can know."""
    turn.change_step("OutcomeUnknown", record.path, reason=why, **unknown(turn))


def _may_be_done(turn: Turn, record: StepRecord, fault: Fault | None) -> bool:
    if record.job is not None:
        return _job_may_be_done(turn, record, fault)
    if record.call is not None:
        call = turn.observations.calls.get(record.call)
        return (record.inputs or {}).get("act") not in _READS and (call is None or call.state is not CallState.FAILED or call.unanswered)
    if record.child is not None:
        child = turn.observations.children.get(record.child)
        return child is not None and (child.is_gone or record.child_uid not in (None, child.uid))
    return False


def _job_may_be_done(turn: Turn, record: StepRecord, fault: Fault | None) -> bool:
    assert record.job is not None
    fact = turn.observations.jobs.get(record.job)
    if fact is None or record.job_uid not in (None, fact.uid):
        return record.job_uid is not None or record.job in turn.observations.vanished
    if fact.state is JobState.FAILED and not fact.deleting:
        return False
    if fact.started or fact.state is JobState.SUCCEEDED:
        return True
    if fault is not None and fault.type == "StartTimeout":
        return False
    return fact.stuck is None or fact.stuck.type == "StartTimeout"  # nothing but that no pod was seen: a watch may have fallen silent
