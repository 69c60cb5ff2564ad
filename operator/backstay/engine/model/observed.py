"""What the engine is told: the world at one moment, as plain facts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from backstay.api.circuit import CircuitState
from backstay.engine.model.state import Fault, Json, Phase


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
    exit_code: int | None = None
    """How the container ended, where its exit code is why the Job failed."""
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
    unanswered: bool = False
    """Whether it failed after it may have reached the other side, and no answer came: what it asked for may have been done."""


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
    kept: str = ""
    """Why it will not be undone although it was asked to: it is past its pivot."""
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
class DeadLetterFact:
    """What is seen of a DeadLetter of the run: that it is there, and what is to become of it."""

    name: str
    uid: str
    resolution: str = ""
    """Id of its resolution; empty while nobody has said what is to become of it."""
    action: str = ""
    edit: Mapping[str, Json] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CircuitFact:
    """What is seen of a circuit breaker. One that is not there yet is made, and lets everything through.

    `until` is when it lets probes through, of one that is open; `room` whether it would let another through, of one that is half open; `waits`
    what becomes of who is not let through, where the step does not say; `why` is for people.
    """

    state: CircuitState = CircuitState.CLOSED
    until: datetime | None = None
    room: bool = False
    waits: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class PermitFact:
    """What became of a step's asking to be let through as a probe: it may, or it was `answered` and may not, or nobody knows yet."""

    granted: bool = False
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """Something that is asked of one step: `action` is one of `api.run.RequestAction`."""

    id: str
    step: str
    action: str
    items: tuple[Json, ...] = ()
    reason: str = ""
    edit: Mapping[str, Json] | None = None
    """With Retry: a JSON merge patch (RFC 7396) over the resolved action, for every later attempt."""
    outputs: Mapping[str, Json] | None = None
    """With Skip: what the step shows as its outputs."""
    compensate: bool = False
    """With Cancel: whether what was completed inside the step is undone before the run goes on."""


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
    letters: Mapping[str, DeadLetterFact] = field(default_factory=dict)
    """The DeadLetters of the run by name."""
    circuits: Mapping[str, CircuitFact] = field(default_factory=dict)
    """The circuit breakers that the run's workflow names, by name."""
    permits: Mapping[str, PermitFact] = field(default_factory=dict)
    """What became of asking a breaker, by the path of the step that asked."""
