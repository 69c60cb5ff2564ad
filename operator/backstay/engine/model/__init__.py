"""The engine's words: what it is told (observations), what it knows (state), and what it answers (decision, effects).

Plain frozen data, no behaviour beyond reading it. Times are aware UTC datetimes, lengths of time are timedeltas.
"""

from backstay.engine.model.answers import (
    AcquireLock,
    AddFinalizer,
    CancelRun,
    CreateJob,
    CreateRun,
    Decision,
    DeleteJob,
    Effect,
    ReleaseLock,
    RemoveFinalizer,
    StartCall,
    StopCall,
    UndoRun,
)
from backstay.engine.model.observed import CallFact, CallState, JobFact, JobState, LockFact, Observations, Refusal, Request, RunFact, Wish
from backstay.engine.model.state import DONE, ENDED, Entry, Fault, Hold, Identity, Json, Phase, RunRecord, State, StepRecord

__all__ = [
    "DONE",
    "ENDED",
    "AcquireLock",
    "AddFinalizer",
    "CallFact",
    "CallState",
    "CancelRun",
    "CreateJob",
    "CreateRun",
    "Decision",
    "DeleteJob",
    "Effect",
    "Entry",
    "Fault",
    "Hold",
    "Identity",
    "JobFact",
    "JobState",
    "Json",
    "LockFact",
    "Observations",
    "Phase",
    "Refusal",
    "ReleaseLock",
    "RemoveFinalizer",
    "Request",
    "RunFact",
    "RunRecord",
    "StartCall",
    "State",
    "StepRecord",
    "StopCall",
    "UndoRun",
    "Wish",
]
