"""The engine's words: what it is told (observations), what it knows (state), and what it answers (decision, effects).

Plain frozen data, no behaviour beyond reading it. Times are aware UTC datetimes, lengths of time are timedeltas.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from backstay.settings import MAX_CHILD_DEPTH

Json = Any


class Phase(StrEnum):
    """Where a step, or the run itself, stands. `transitions.py` says which may follow which."""

    RUNNING = "Running"
    WAITING = "Waiting"
    RETRYING = "Retrying"
    STOPPING = "Stopping"
    CATCHING = "Catching"
    COMPENSATING = "Compensating"
    SUCCEEDED = "Succeeded"
    CAUGHT = "Caught"
    SKIPPED = "Skipped"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    COMPENSATED = "Compensated"


DONE = frozenset({Phase.SUCCEEDED, Phase.CAUGHT, Phase.SKIPPED, Phase.COMPENSATED})
"""The step is behind us, and what comes after it may begin."""
ENDED = DONE | {Phase.FAILED, Phase.CANCELLED}
"""Nothing more happens to the step by itself."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An error: `type` to match on, the rest for people (after RFC 9457)."""

    type: str
    title: str = ""
    detail: str = ""
    step: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Hold(Fault):
    """What stands in the way of an attempt, is no fault of its own and passes by itself: a quota, say. Its startTimeout does not run."""


# ---------------------------------------------------------------------------------------------- what the engine is told


class JobState(StrEnum):
    """What became of an attempt's Job, as far as Kubernetes tells."""

    ACTIVE = "Active"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class JobFact:
    """What is seen of one Job and its newest Pod.

    `output` is the container's termination message (at most 4,096 bytes), present once it has ended. `fault` says why a failed
    Job failed, as far as Kubernetes knows. `started` tells whether a container has begun to run; while it has not, `stuck`
    holds what stands in the way (type ImagePull, Unschedulable, AdmissionDenied or InvalidJob, with the detail that a user needs, or a
    Hold). `lost` says why the newest Pod that a disruption took away was taken, and `lost_pod` is its UID.
    """

    name: str
    uid: str
    state: JobState = JobState.ACTIVE
    started: bool = False
    output: str | None = None
    fault: Fault | None = None
    stuck: Fault | None = None
    lost: Fault | None = None
    lost_pod: str = ""
    unexplained: bool = False
    """Whether it has no Pod, and nobody has been asked yet why: too early to give it up."""
    deleting: bool = False
    owned: bool = True
    """Whether the run owns it, so that the garbage collector takes it away with the run, or leaves it where the run was deleted so (orphan)."""


class CallState(StrEnum):
    """What became of a call: work of an attempt that the operator does itself, such as an HTTP request."""

    ACTIVE = "Active"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class CallFact:
    """What is seen of one call. `message` says what one that goes on waits for.

    `retry_after_seconds` is how long the other side asks to be left alone before another attempt.
    """

    name: str
    state: CallState = CallState.ACTIVE
    outputs: Json = None
    fault: Fault | None = None
    retry_after_seconds: float | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class RunFact:
    """What is seen of a child run: the WorkflowRun of one attempt of a `workflow` step.

    `outputs` are there once it has succeeded, `error` once it has not. `stalled` says why it needs a person, where it does.
    """

    name: str
    uid: str
    phase: Phase | None = None
    is_finished: bool = False
    outputs: Mapping[str, Json] | None = None
    error: Fault | None = None
    stalled: str = ""
    cancelling: bool = False
    """Whether it was asked to end early."""
    undoing: bool = False
    """Whether it was asked to undo what it did."""
    detached: bool = False
    """Whether nobody waits for it, once it is there."""
    is_gone: bool = False
    """It was there and is there no longer; nothing more will be known of it."""

    @property
    def is_over(self) -> bool:
        """Nothing more happens to it by itself."""
        return self.is_finished or self.is_gone


@dataclass(frozen=True, slots=True)
class Refusal:
    """The API server would not create an attempt's Job, and repeating it does not help."""

    type: str
    detail: str


@dataclass(frozen=True, slots=True)
class LockFact:
    """What is seen of the lock that a step wants: whether the slot is its own, or else where it stands in line.

    `place` counts from 1 among `waiting`, and is 0 while nobody knows; `holders` says in words who keeps it waiting, `why` what else does.
    """

    held: bool = False
    has_begun: bool = False
    """Whether who keeps the slots knows that the step has begun: then nobody takes its slot away."""
    place: int = 0
    waiting: int = 0
    holders: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """Something that is asked of one step: `action` is Cancel, Complete or AddItems (`api.run.RequestAction`)."""

    id: str
    step: str
    action: str
    items: tuple[Json, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """What people ask of the run, read from its spec and metadata."""

    suspend: bool = False
    cancel: bool = False
    cancel_reason: str = ""
    cancel_compensates: bool = True
    delete: bool = False
    release: bool = False
    """The annotation that lets the finalizer go without further compensation."""
    requests: tuple[Request, ...] = ()
    """What is asked of single steps, in the order of the spec; answered ones included."""
    undo: bool = False
    """Undo what the run did, although it has succeeded."""
    undo_reason: str = ""


@dataclass(frozen=True, slots=True)
class Observations:
    """Everything that the engine is told about the world at one moment."""

    wish: Wish = field(default_factory=Wish)
    jobs: Mapping[str, JobFact] = field(default_factory=dict)
    """The run's Jobs by name."""
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    """Jobs that could not be created, by name."""
    vanished: frozenset[str] = frozenset()
    """Names of Jobs that were seen, and are there no longer."""
    has_finalizer: bool = False
    terminating: bool = False
    """Whether the run's namespace is being deleted: no Job can be created in it any more."""
    calls: Mapping[str, CallFact] = field(default_factory=dict)
    """The run's calls by name, as far as this operator makes them."""
    children: Mapping[str, RunFact] = field(default_factory=dict)
    """The run's child runs by name: those that go on, and those that a step waits for."""
    is_kept: bool = False
    """Whether the run has succeeded as the child of one that goes on, and so may have to be undone yet: its finalizer stays."""
    held: Mapping[str, Fault] = field(default_factory=dict)
    """Jobs that could not be created yet and are tried again: what stands in the way, mostly a Hold, by name."""
    locks: Mapping[str, LockFact] = field(default_factory=dict)
    """The locks that were asked for, by the path of the step."""


# ------------------------------------------------------------------------------------------------- what the engine knows


@dataclass(frozen=True, slots=True)
class Identity:
    """Which run this is: nothing here ever changes."""

    uid: str
    name: str
    namespace: str
    parameters: Mapping[str, Json] = field(default_factory=dict)
    """As the user gave them; defaults are the program's."""
    timeout_seconds: float | None = None
    started_by: str = ""
    """Who started it, as the API server knows them; empty where nobody knows."""
    workflow: str = ""
    """What it runs, in a word: the name of its Workflow, and of the template in it."""
    callers: tuple[str, ...] = ()
    """What the runs run that it is a child of, the outermost first; empty for a run that a person or a trigger started."""
    most_depth: int = MAX_CHILD_DEPTH
    """How deep child runs may nest: how many callers a run may have."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What is known of one step that has begun. The fields mean what their namesakes in `api.run.StepStatus` say."""

    path: str
    kind: str
    phase: Phase
    attempt: int = 0
    started_at: datetime | None = None
    attempt_started_at: datetime | None = None
    finished_at: datetime | None = None
    due_at: datetime | None = None
    deadline_at: datetime | None = None
    sequence: int = 0
    inputs: Json = None
    outputs: Json = None
    error: Fault | None = None
    job: str | None = None
    job_uid: str | None = None
    call: str | None = None
    choice: str | None = None
    """Which cases of a switch were taken, which event of a race was the first, or which branches have ended of a parallel whose rest goes on;
    with commas between."""
    handler: int | None = None
    """Which catch is, or was, handling its error."""
    then: Phase | None = None
    """What a step that is being stopped becomes: Failed (then retries and handlers are looked at), Cancelled, Skipped (Cancelled, and the run
    goes on after it) or Succeeded. Of one that is Retrying: Running where the same attempt runs again. Of one that is Running: Succeeded
    where its join is met, and the rest of it goes on. Of one that is Cancelled: Skipped where the run goes on after it."""
    message: str | None = None
    disruptions: int = 0
    """How often the infrastructure has disrupted the latest attempt."""
    child: str | None = None
    """The child run of the latest attempt."""
    child_uid: str | None = None
    stalled: bool | None = None
    """True where what it waits for needs a person; `message` says what."""
    params: Mapping[str, Json] | None = None
    """What a template was given: `params` to the steps in it."""
    lost_pod: str | None = None
    """UID of the newest pod that was lost to a disruption: each counts once."""
    held_since: datetime | None = None
    """Since when it waits for something that passes by itself, such as a quota."""
    iterations: Mapping[str, Json] | None = None
    """Of a structure that is run again and again: how far it is (`iterations.Progress`)."""
    items: Json = None
    """What a forEach iterates over, where that could not be worked out again."""
    added: Mapping[str, Json] | None = None
    """Items that came while it ran, by index. Entries add to these, as to what was collected."""
    collected: Mapping[str, Json] | None = None
    """What its iterations left behind, by index."""
    lock: Mapping[str, str] | None = None
    """The lock that it wants or has: name, and key and scope where they are not the default."""
    locked_at: datetime | None = None
    """Since when it has its lock; without it, it waits for it, or never got it."""
    starting_since: datetime | None = None
    """From when its startTimeout counts, where that is not the beginning of the attempt."""
    goto: str | None = None
    """Where the run goes on after it, where that is not the next step: the path, without a lap, of a step in this list or one around it."""
    visit: int = 0
    """Of a step that a goto has led back to: how often it has begun."""

    @property
    def is_done(self) -> bool:
        """What follows may begin: it did what it was for, was skipped, or the workflow itself cancelled it."""
        return self.phase in DONE or (self.phase is Phase.CANCELLED and self.then is Phase.SKIPPED)

    @property
    def is_joined(self) -> bool:
        """Its join is met, so what follows has begun; the rest of it goes on."""
        return self.phase is Phase.RUNNING and self.then is Phase.SUCCEEDED

    @property
    def has_ended(self) -> bool:
        return self.phase in ENDED


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is known of the run as a whole. `phase` is None before it has begun."""

    phase: Phase | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deadline_at: datetime | None = None
    suspended_at: datetime | None = None
    result: Phase | None = None
    """The phase that the run will end in, once that is decided."""
    compensate: bool = False
    message: str = ""
    """Why it ends, or ended, in words."""
    vars: Mapping[str, Json] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    """What became of each request, by its id."""
    outputs: Mapping[str, Json] | None = None
    error: Fault | None = None
    revision_name: str = ""
    revision_number: int = 0

    @property
    def is_finished(self) -> bool:
        return self.finished_at is not None


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened: the state is the fold of these (event sourcing, DESIGN promise 5).

    `changes` holds the fields of the record at `path` (the run's own for "") with their new values, as JSON.
    """

    sequence: int
    time: datetime
    kind: str
    path: str = ""
    attempt: int = 0
    actor: str = "operator"
    reason: str = ""
    changes: Mapping[str, Json] = field(default_factory=dict)
    previous: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """Everything that is written of a run: the fold of its journal."""

    run: RunRecord = field(default_factory=RunRecord)
    steps: Mapping[str, StepRecord] = field(default_factory=dict)
    """By path, in the order in which they began."""
    sequence: int = 0
    """Number of the newest journal entry."""
    head: str = ""
    """Hash of the newest journal entry."""


# ----------------------------------------------------------------------------------------------- what the engine answers


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
    | AddFinalizer
    | RemoveFinalizer
)
