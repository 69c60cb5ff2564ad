"""What the engine knows of a run: phases, errors, records, journal entries, and the state that is the fold of these."""

from collections.abc import Mapping, Sequence
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
    PAUSED = "Paused"
    CATCHING = "Catching"
    FINISHING = "Finishing"
    COMPENSATING = "Compensating"
    SUCCEEDED = "Succeeded"
    CAUGHT = "Caught"
    SKIPPED = "Skipped"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    COMPENSATED = "Compensated"


UNKNOWN = "Unknown"
"""What `StepRecord.outcome` says of work that may have been done."""
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


def broken_expression(words: object, step: str = "") -> Fault:
    """Return the error of an expression that could not be evaluated; `words` say why."""
    return Fault("ExpressionError", "An expression failed", str(words), step)


@dataclass(frozen=True, slots=True)
class Hold(Fault):
    """What stands in the way of an attempt, is no fault of its own and passes by itself: a quota, say. Its startTimeout does not run."""


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
    boundary: int | None = None
    """Which boundary event has interrupted it: its steps run, or ran, in the place of the step's own."""
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
    circuit: str | None = None
    """The circuit breaker that it waits for; while an attempt is under way, the one that has let it through as a probe."""
    starting_since: datetime | None = None
    """From when its startTimeout counts, where that is not the beginning of the attempt."""
    goto: str | None = None
    """Where the run goes on after it, where that is not the next step: the path, without a lap, of a step in this list or one around it."""
    visit: int = 0
    """Of a step that a goto has led back to: how often it has begun."""
    outcome: str | None = None
    """Unknown where an attempt may have done its work and nobody knows: it was cut off, or no answer came. Success clears it, a later failure does not."""
    undoing: bool | None = None
    """True of a step that was cancelled so that what was completed inside it is undone before the run goes on."""
    edits: Sequence[Mapping[str, Json]] | None = None
    """What people have changed of its action: JSON merge patches (RFC 7396) over what it resolves to, for every later attempt."""
    resumed_at: datetime | None = None
    """When a person last had it tried again: its timeout and its retries count from then."""
    tries: Mapping[str, int] | None = None
    """How many attempts have failed for each rule of its retry, by position; and `before` a person had it tried again."""
    decision: str | None = None
    """Of a transaction: Commit or Abort, once it is decided. Nothing changes it any more."""
    finishing: Phase | None = None
    """The phase that it ends in once its `finally` has ended. Succeeded, too, of one that has Failed because that failed: its work was done."""
    letter: Mapping[str, str] | None = None
    """The DeadLetter that it wrote last: its `name`, that of the `previous` one, when it gave up (`at`), what of it was `omitted`, its `uid` once
    it is there; the id of a resolution that was `refused`, and `why`; and its `outcome`, `by` whom, once the step has gone on or was given up."""

    @property
    def is_done(self) -> bool:
        """What follows may begin: it did what it was for, was skipped, or the workflow itself cancelled it."""
        return self.phase in DONE or (self.phase is Phase.CANCELLED and self.then is Phase.SKIPPED)

    @property
    def is_joined(self) -> bool:
        """Its join is met, so what follows has begun; the rest of it goes on, or its `finally`."""
        if self.phase is Phase.FINISHING:
            return self.finishing is Phase.SUCCEEDED and self.sequence > 0
        return self.phase is Phase.RUNNING and self.then is Phase.SUCCEEDED

    @property
    def has_succeeded(self) -> bool:
        """It did what it was for, whatever became of its `finally`, and whether it was undone since."""
        return self.phase in (Phase.SUCCEEDED, Phase.COMPENSATED) or self.finishing is Phase.SUCCEEDED

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
    pivot: str = ""
    """The pivot that has succeeded first: from then on nothing is undone any more."""
    recovery: str | None = None
    """The run that was started because this one has failed."""

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
