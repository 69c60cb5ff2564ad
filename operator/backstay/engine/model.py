"""The engine's words: what it is told (observations), what it knows (state), and what it answers (decision, effects).

Plain frozen data, no behaviour beyond reading it. Times are aware UTC datetimes, lengths of time are timedeltas.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

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
class Refusal:
    """The API server would not create an attempt's Job, and repeating it does not help."""

    type: str
    detail: str


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
    held: Mapping[str, Fault] = field(default_factory=dict)
    """Jobs that could not be created yet and are tried again: what stands in the way, mostly a Hold, by name."""


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
    handler: int | None = None
    """Which catch is, or was, handling its error."""
    then: Phase | None = None
    """What a step that is being stopped becomes: Failed (then retries and handlers are looked at), Cancelled or Succeeded. Of one that is
    Retrying: Running where the same attempt runs again."""
    message: str | None = None
    disruptions: int = 0
    """How often the infrastructure has disrupted the latest attempt."""
    lost_pod: str | None = None
    """UID of the newest pod that was lost to a disruption: each counts once."""
    held_since: datetime | None = None
    """Since when it waits for something that passes by itself, such as a quota."""
    starting_since: datetime | None = None
    """From when its startTimeout counts, where that is not the beginning of the attempt."""

    @property
    def is_done(self) -> bool:
        return self.phase in DONE

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
class AddFinalizer:
    """Keep the run from vanishing before it is undone."""


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Let the run go; Jobs that it does not own go first."""


Effect = CreateJob | DeleteJob | StartCall | StopCall | AddFinalizer | RemoveFinalizer
