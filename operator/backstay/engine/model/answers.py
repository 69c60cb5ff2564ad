"""What the engine answers: what is true from now on, and what the written state wants in the world."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from backstay.engine.model.state import Entry, Fault, Json, State


@dataclass(frozen=True, slots=True)
class Decision:
    """What is true from now on, what happened to make it so, and when to look again without being woken."""

    state: State
    entries: tuple[Entry, ...] = ()
    wake_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Create the Job of an attempt. `inputs` is the resolved action; creating it twice is the same Job."""

    name: str
    path: str
    attempt: int
    inputs: Mapping[str, Json]
    timeout_seconds: float | None = None
    owned: bool = True
    """Whether the run owns it: not while the run is being deleted, or the garbage collector would take it away."""


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Delete a Job and its pods; it is gone when it is no longer seen."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class StartCall:
    """Make the call of an attempt: `kind` is the step's. Making it again under the same name is the same deed, told by its idempotency key."""

    name: str
    kind: str
    path: str
    attempt: int
    inputs: Mapping[str, Json]
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class StopCall:
    """End a call that nobody wants any more, and forget what came of it."""

    name: str


@dataclass(frozen=True, slots=True)
class CreateRun:
    """Create the child run of an attempt. `inputs` is the resolved action; creating it twice is the same run."""

    name: str
    path: str
    attempt: int
    inputs: Mapping[str, Json]
    owned: bool = True
    """Whether the run owns it: not while the run is being deleted, and not where it does not wait for it."""


@dataclass(frozen=True, slots=True)
class CancelRun:
    """Ask a child run to end early."""

    name: str
    uid: str
    reason: str
    compensate: bool = True


@dataclass(frozen=True, slots=True)
class UndoRun:
    """Ask a child run that has succeeded to undo what it did."""

    name: str
    uid: str
    reason: str


@dataclass(frozen=True, slots=True)
class AcquireLock:
    """Ask for a slot for the step at `path`, in its turn; of one that `has_begun`, see to it that it is told to have it."""

    path: str
    name: str
    key: str
    since: datetime
    has_begun: bool = False


@dataclass(frozen=True, slots=True)
class ReleaseLock:
    """Give back the slot of a step, or leave the line."""

    path: str


@dataclass(frozen=True, slots=True)
class CreateDeadLetter:
    """Write the DeadLetter of a step that gave up. Writing it twice is the same letter; `previous` names the one before, if there was one."""

    name: str
    path: str
    kind: str
    attempt: int
    error: Fault
    at: str
    inputs: Mapping[str, Json] | None = None
    """The resolved action, where it is known and not too large."""
    is_cut: bool = False
    """Whether the inputs are left out because they are too large."""
    previous: str = ""


@dataclass(frozen=True, slots=True)
class AskCircuit:
    """Ask a circuit breaker to let the next attempt at the step at `path` through; it has waited `since` then."""

    path: str
    name: str
    attempt: int
    since: datetime


@dataclass(frozen=True, slots=True)
class LeaveCircuit:
    """A step asks its circuit breaker no longer: its attempt is under way as a probe (`has_begun`), or it wants none any more."""

    path: str
    has_begun: bool = False


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Keep the run from vanishing before it is undone."""


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Let the run go; Jobs that it does not own go first."""


Effect = (
    CreateJob
    | DeleteJob
    | StartCall
    | StopCall
    | CreateRun
    | CancelRun
    | UndoRun
    | AcquireLock
    | ReleaseLock
    | AskCircuit
    | LeaveCircuit
    | CreateDeadLetter
    | AddFinalizer
    | RemoveFinalizer
)
