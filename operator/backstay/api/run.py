"""WorkflowRun: one execution of a Workflow. Its status is the whole state of the execution."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from backstay.api.base import Duration, Json, JsonObject, Model, Name, Text, unique
from backstay.api.meta import Condition
from backstay.api.policies import Fault
from backstay.api.workflow import RevisionRef, WorkflowSpec


class WorkflowRef(Model):
    """What to run: a Workflow of the same namespace by name, or a definition written in place."""

    name: str | None = Field(default=None, min_length=1, max_length=253, description="Name of a Workflow in the run's namespace.")
    revision: int | None = Field(default=None, ge=1, description="Number of the revision to run; the newest where it is missing.")
    template: Name | None = Field(default=None, description="Run one of the Workflow's templates instead of its body.")
    inline: WorkflowSpec | None = Field(default=None, description="The definition itself, for runs without a Workflow object.")

    @model_validator(mode="after")
    def _one_of(self) -> "WorkflowRef":
        if (self.name is None) == (self.inline is None):
            raise ValueError("give exactly one of name and inline")
        if self.revision is not None and self.name is None:
            raise ValueError("revision goes with name; an inline definition has none")
        if self.template is not None and self.name is None:
            raise ValueError("template goes with name; an inline definition runs its body")
        return self


class Cancel(Model):
    """Ask for the run to end early."""

    reason: Text = Field(default="", description="Why, in words; it goes into the journal.")
    compensate: bool = Field(default=True, description="Undo the completed steps that say how.")


class Undo(Model):
    """Ask for a run that has succeeded to be undone; one that still goes is cancelled and undone."""

    reason: Annotated[str, Field(min_length=1, max_length=8192)] = Field(description="Why, in words; it goes into the journal.")


class TimeToLive(Model):
    """How long a finished run is kept; 0s keeps it for ever."""

    succeeded: Duration = Field(default=timedelta(hours=24), description="After success (default 24h).")
    failed: Duration = Field(default=timedelta(days=7), description="After failure or cancellation (default 7d).")


class RequestAction(StrEnum):
    """What can be asked of a step that goes on."""

    CANCEL = "Cancel"
    COMPLETE = "Complete"
    ADD_ITEMS = "AddItems"
    RETRY = "Retry"
    SKIP = "Skip"
    GIVE_UP = "GiveUp"


class Request(Model):
    """Something that is asked of one step while it goes on. It is answered once: see status.answers and the journal."""

    id: Name = Field(description="Names the request; give each one of its own.")
    step: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        description="The path of the step, as the status shows it: pack, pack[3], pack[3]/box."
    )
    action: RequestAction = Field(
        description="Cancel ends the step or iteration, and the flow goes on after it; Complete ends a forEach, while or wait well; "
        "AddItems gives a forEach more items. Of a step that is Paused or Retrying: Retry makes another attempt now, Skip goes on after it, "
        "GiveUp lets it fail."
    )
    items: tuple[Json, ...] = Field(default=(), max_length=1000, description="The items to add.")
    edit: JsonObject | None = Field(
        default=None,
        description="With Retry: what to change of the step's action, for this and every later attempt. A JSON merge patch over the action as it "
        "is resolved, as in {args: [charge, a-17]}; null removes a field.",
    )
    outputs: JsonObject | None = Field(default=None, description="With Skip: what the step is to show as its outputs.")
    compensate: bool = Field(
        default=False, description="With Cancel: undo what was completed inside the step, or iteration, before the run goes on after it."
    )
    reason: Text = Field(default="", description="Why, in words; it goes into the journal.")

    @model_validator(mode="after")
    def _items_to_add(self) -> "Request":
        if bool(self.items) != (self.action is RequestAction.ADD_ITEMS):
            raise ValueError("items go with AddItems, and AddItems needs at least one")
        if self.edit is not None and self.action is not RequestAction.RETRY:
            raise ValueError("edit goes with Retry: it changes the next attempt")
        if self.outputs is not None and self.action is not RequestAction.SKIP:
            raise ValueError("outputs go with Skip: a step that is tried again has its own")
        if self.compensate and self.action is not RequestAction.CANCEL:
            raise ValueError("compensate goes with Cancel: to undo a whole run, use spec.cancel or spec.compensate")
        return self


class WorkflowRunSpec(Model):
    """What to run, with what; and what people ask of a run while it goes."""

    workflow: WorkflowRef = Field(description="What to run. It cannot change after creation.")
    parameters: JsonObject = Field(
        default_factory=dict, description="Values for the workflow's parameters. They cannot change after creation."
    )
    service_account_name: str | None = Field(
        default=None,
        max_length=253,
        description="Service account of the run's pods (default: the namespace's default). It cannot change after creation.",
    )
    timeout: Duration | None = Field(default=None, description="How long the run may take, instead of the workflow's own timeout.")
    ttl: TimeToLive | None = Field(default=None, description="How long the finished run is kept.")
    job_labels: dict[str, str] = Field(default_factory=dict, description="Labels for the run's Jobs and pods besides Backstay's own.")
    priority: int = Field(
        default=0,
        ge=-1000,
        le=1000,
        description="Where runs and their steps wait for a slot, a level more is worth a minute of waiting: a higher priority goes first among "
        "those that came at about the same time.",
    )
    suspend: bool = Field(default=False, description="Start nothing new while this is true. What runs goes on; timers that fall due wait.")
    cancel: Cancel | None = Field(default=None, description="End the run early. Once it is asked for, it cannot be taken back.")
    requests: Annotated[tuple[Request, ...], unique("request", lambda item: item.id)] = Field(
        default=(),
        max_length=100,
        description="What is asked of single steps while they go on. Requests are only ever added, never changed or taken back.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]},
    )
    compensate: Undo | None = Field(
        default=None, description="Undo what the run did, although it has succeeded. Once it is asked for, it cannot be taken back."
    )


class StepStatus(Model):
    """What is known of one step that has begun."""

    path: str = Field(description="Where it is: names from the outside in, as in pack[3]/box.")
    kind: str = Field(description="Its action: job, wait, steps, …")
    phase: str = Field(
        description="Where it stands: Running, Waiting, Retrying, Paused, Stopping, Catching, Finishing, Succeeded, Caught, Skipped, Failed, "
        "Cancelled, Compensated."
    )
    attempt: int = Field(default=0, description="The latest attempt, from 1; 0 where there are none.")
    started_at: datetime | None = Field(default=None, description="When it began.")
    attempt_started_at: datetime | None = Field(default=None, description="When the latest attempt began.")
    finished_at: datetime | None = Field(default=None, description="When it ended.")
    due_at: datetime | None = Field(default=None, description="When what it waits for falls due.")
    deadline_at: datetime | None = Field(default=None, description="When it times out.")
    sequence: int = Field(default=0, description="The journal entry that completed it; compensation goes by this number.")
    inputs: Json = Field(default=None, description="The resolved action, until its Job is known to exist.")
    outputs: Json = Field(default=None, description="What it produced.")
    error: Fault | None = Field(default=None, description="What went wrong with the latest attempt.")
    job: str | None = Field(default=None, description="The Job of the latest attempt; kubectl logs job/NAME shows its output.")
    job_uid: str | None = Field(default=None, description="UID of that Job, once it is known to exist.")
    call: str | None = Field(default=None, description="The call of the latest attempt: work that the operator does itself.")
    choice: str | None = Field(
        default=None,
        description="Which cases of a switch were taken; which event of a race was the first; which branches of a parallel that is joined have ended.",
    )
    handler: int | None = Field(default=None, description="Which catch handled its error, from 0.")
    boundary: int | None = Field(default=None, description="Which boundary event has interrupted it, from 0.")
    then: str | None = Field(default=None, description="While it is being stopped: the phase that follows.")
    message: str | None = Field(default=None, description="What it waits for, in words.")
    disruptions: int = Field(default=0, description="How often the infrastructure has disrupted the latest attempt, which used up none.")
    child: str | None = Field(default=None, description="The child run of the latest attempt; backstay tree NAME shows it.")
    child_uid: str | None = Field(default=None, description="UID of that run, once it is known to exist.")
    stalled: bool | None = Field(default=None, description="True where what it waits for needs a person; message says what.")
    params: JsonObject | None = Field(default=None, description="What a template was given: params to the steps in it.")
    lost_pod: str | None = Field(default=None, description="UID of the newest pod that was lost to a disruption.")
    held_since: datetime | None = Field(
        default=None, description="Since when it waits for something that passes by itself, such as a quota: its startTimeout does not run."
    )
    iterations: JsonObject | None = Field(
        default=None,
        description="How far a forEach or while is: total, next, succeeded, failed, cancelled; active and kept iterations; the first failures.",
    )
    items: Json = Field(default=None, description="What a forEach iterates over, where that could not be worked out again.")
    added: JsonObject | None = Field(default=None, description="Items that came while it ran, by index.")
    collected: JsonObject | None = Field(default=None, description="What its iterations left behind, by index.")
    lock: dict[str, str] | None = Field(
        default=None, description="The lock that it wants or has: name, and key and scope where they are not the default."
    )
    locked_at: datetime | None = Field(default=None, description="Since when it has its lock; without it, it waits for it.")
    circuit: str | None = Field(
        default=None,
        description="The circuit breaker that it waits for; while an attempt is under way, the one that has let it through as a probe.",
    )
    starting_since: datetime | None = Field(
        default=None, description="From when its startTimeout counts, where that is not the beginning of the attempt."
    )
    goto: str | None = Field(default=None, description="Where the run goes on after it, where that is not the next step: a path.")
    visit: int = Field(default=0, description="Of a step that a goto has led back to: how often it has begun.")
    outcome: str | None = Field(
        default=None, description="Unknown where an attempt may have done its work and nobody knows: it was cut off, or no answer came."
    )
    undoing: bool | None = Field(
        default=None, description="True of a step that was cancelled so that what was completed inside it is undone before the run goes on."
    )
    edits: tuple[JsonObject, ...] | None = Field(
        default=None,
        description="What people have changed of its action, as JSON merge patches in the order in which they came: they go for every later attempt.",
    )
    resumed_at: datetime | None = Field(
        default=None, description="When a person last had it tried again: its timeout and its retries count from then."
    )
    tries: dict[str, int] | None = Field(
        default=None,
        description="How many attempts have failed for each rule of its retry, by the rule's position; before: how many it had before a person "
        "had it tried again.",
    )
    finishing: str | None = Field(
        default=None,
        description="The phase that it ends in once its finally has ended; Succeeded, too, where it failed because that failed: its work was done.",
    )
    letter: dict[str, str] | None = Field(
        default=None,
        description="The DeadLetter that it wrote last: name, previous, at, omitted, uid; refused and why; outcome and by.",
    )
    decision: str | None = Field(default=None, description="Of a transaction: Commit or Abort, once that is decided.")


class JournalEntry(Model):
    """One thing that happened: the state is the fold of these."""

    sequence: int = Field(description="Its number, from 1, without gaps.")
    time: datetime = Field(description="When it was decided.")
    kind: str = Field(description="What happened, as StepSucceeded or RunSuspended.")
    path: str = Field(default="", description="The step it happened to; empty for the run itself.")
    attempt: int = Field(default=0, description="The attempt it happened in.")
    actor: str = Field(default="operator", description="Who caused it.")
    reason: str = Field(default="", description="Why, in words.")
    changes: Json = Field(default=None, description="The fields that it changed, with their new values; null removes one.")
    previous: str = Field(default="", description="Hash of the entry before.")


class Journal(Model):
    """The newest entries, and the hash that seals them."""

    head: str = Field(default="", description="Hash of the newest entry, which covers all entries before it.")
    archived: int = Field(default=0, description="How many older entries stand in the run's WorkflowJournals: kubectl get wfjournal.")
    dropped: int = Field(default=0, description="How many of the oldest entries are kept nowhere.")
    entries: tuple[JournalEntry, ...] = Field(default=(), description="The newest entries, oldest first.")


class WorkflowRunStatus(Model):
    """The whole state of the run. Written by the operator alone; a change by hand is undone or refused."""

    observed_generation: int = Field(default=-1, description="The metadata.generation that this status speaks of.")
    phase: str | None = Field(
        default=None,
        description="For eyes: Running, Stopping, Compensating, Succeeded, Failed, Cancelled, Compensated. Conditions are the truth.",
    )
    status: str | None = Field(
        default=None, description="What the STATUS column shows: the phase, or Suspended, Waiting, Retrying, InDoubt, Stalled."
    )
    revision: RevisionRef | None = Field(default=None, description="The revision that this run is pinned to.")
    progress: str | None = Field(default=None, description="Steps done and steps known, as 2/6.")
    step: str | None = Field(default=None, description="What is going on now.")
    started_at: datetime | None = Field(default=None, description="When the run began.")
    finished_at: datetime | None = Field(default=None, description="When it ended.")
    deadline_at: datetime | None = Field(default=None, description="When it times out, or when undoing it is given up.")
    suspended_at: datetime | None = Field(default=None, description="Since when it is suspended.")
    result: str | None = Field(default=None, description="The phase that it will end in, once that is decided.")
    compensate: bool | None = Field(default=None, description="Whether ending undoes the completed steps.")
    pivot: str | None = Field(
        default=None, description="The pivot that has succeeded first: from then on nothing is undone any more, the run only goes forward."
    )
    message: str | None = Field(default=None, description="Why it ends, or ended, in words.")
    vars: Annotated[dict[str, Json], Field(description="The variables.")] = Field(default_factory=dict)
    outputs: dict[str, Json] | None = Field(default=None, description="What the run produced.")
    error: Fault | None = Field(default=None, description="Why it failed.")
    recovery: str | None = Field(default=None, description="The run that was started because this one has failed (onFailure.workflow).")
    answers: dict[str, str] = Field(default_factory=dict, description="What became of each request in the spec, by its id.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        description="Succeeded, Complete, Suspended, Compensated, InDoubt, Stalled, Reconciling.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    steps: tuple[StepStatus, ...] = Field(default=(), description="The steps that have begun, in the order in which they did.")
    steps_omitted: int = Field(
        default=0, description="How many steps that have begun are not shown, because they do not fit; backstay tree shows them."
    )
    journal: Journal | None = Field(default=None, description="What happened, newest last, sealed by a hash chain.")
