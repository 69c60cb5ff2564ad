"""DeadLetter: a step that gave up, with all that it takes to go on with it. It survives its run."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, model_validator

from backstay.api.base import Duration, JsonObject, Model, Name, Text
from backstay.api.meta import Condition
from backstay.api.policies import Fault
from backstay.api.run import TimeToLive
from backstay.api.workflow import RevisionRef

MOST_BYTES: Final = 16 * 1024
"""What the inputs of a letter may take as JSON, and its parameters likewise; what takes more is left out."""


class LetterOf(Model):
    """The run that a letter is of, or that was started from it."""

    name: str = Field(min_length=1, max_length=253, description="Its name.")
    uid: str = Field(default="", max_length=128, description="Its UID: another run of the same name is another run.")


class LetterWorkflow(Model):
    """What the run runs."""

    name: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="Name of its Workflow; missing where the definition stands in the run itself.",
    )
    template: Name | None = Field(default=None, description="The template of the Workflow that it runs, where it does not run the body.")


class LetterAction(StrEnum):
    """What can be done with a letter."""

    REPLAY = "Replay"
    DISCARD = "Discard"


class LetterResolution(Model):
    """What is to become of a letter. Set once; another one only after this one has failed (status.phase is Failed)."""

    id: Name = Field(description="Names the resolution; give each one of its own.")
    action: LetterAction = Field(
        description="Replay goes on with the step where its run still waits, and starts a new run where that has ended or is gone; "
        "Discard lets the step fail with the error that it has."
    )
    edit: JsonObject | None = Field(
        default=None, description="Changes of the step's inputs, as a JSON merge patch (RFC 7396); only for a run that still waits."
    )
    parameters: JsonObject | None = Field(
        default=None, description="Changes of the run's parameters, as a JSON merge patch; only for a new run."
    )
    reason: Text = Field(default="", description="Why, in words; it goes into the journal. Discard needs one.")

    @model_validator(mode="after")
    def _as_its_action_wants(self) -> "LetterResolution":
        if self.action is LetterAction.DISCARD and not self.reason:
            raise ValueError("Discard needs a reason")
        if self.action is LetterAction.DISCARD and (self.edit is not None or self.parameters is not None):
            raise ValueError("edit and parameters go with Replay")
        return self


class DeadLetterSpec(Model):
    """What gave up, why, and with what. Written by the operator; only `resolution` is for people to set."""

    run: LetterOf = Field(description="The run that waits, or waited, at the step.")
    workflow: LetterWorkflow = Field(description="What it runs.")
    revision: RevisionRef | None = Field(default=None, description="The revision that it is pinned to.")
    step: Annotated[str, Field(min_length=1, max_length=8192)] = Field(description="Path of the step, as in pack[3]/box.")
    kind: Annotated[str, Field(max_length=63)] = Field(description="Its action: job, http, …")
    attempts: int = Field(default=0, ge=0, description="How many attempts were made.")
    error: Fault = Field(description="The error of the last one.")
    gave_up_at: datetime = Field(description="When it gave up.")
    inputs: JsonObject | None = Field(
        default=None, description="The resolved action, as another attempt would be made. Secrets are not in it, only where they stand."
    )
    parameters: JsonObject | None = Field(default=None, description="What the run was started with.")
    omitted: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=8)] = Field(
        default=(), description="What is left out of this, because it takes more than 16 KiB: inputs, parameters."
    )
    service_account_name: str | None = Field(default=None, max_length=253, description="Service account of the run's pods.")
    job_labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=256)] = Field(
        default_factory=dict, description="Labels for the run's Jobs and pods."
    )
    priority: int = Field(default=0, description="The run's priority.")
    timeout: Duration | None = Field(default=None, description="The run's own timeout.")
    ttl: TimeToLive | None = Field(default=None, description="How long the run is kept once it is finished.")
    previous: str | None = Field(
        default=None, max_length=253, description="The letter that the same step wrote before this one: it was replayed, and gave up again."
    )
    resolution: LetterResolution | None = Field(default=None, description="What is to become of it; set by a person, or a program.")


class LetterPhase(StrEnum):
    """Where a letter stands."""

    WAITING = "Waiting"
    REPLAYING = "Replaying"
    REPLAYED = "Replayed"
    DISCARDED = "Discarded"
    FAILED = "Failed"


class DeadLetterStatus(Model):
    """What has become of it. Written by the operator alone."""

    observed_generation: int = Field(default=-1, description="The metadata.generation that this status speaks of.")
    phase: str | None = Field(
        default=None,
        description="Waiting; Replaying; Replayed: the step goes on, or a new run does; Discarded; Failed: the resolution cannot be carried "
        "out, message says why, and another one may be set.",
    )
    message: str | None = Field(default=None, description="What it waits for, what became of it, or what is wrong, in words.")
    resolution: str | None = Field(default=None, description="Id of the resolution that this speaks of.")
    run: LetterOf | None = Field(default=None, description="The run that goes on with it: its own, or the new one.")
    run_ended: bool = Field(default=False, description="Whether its own run has ended, or is gone: then a replay starts a new run.")
    settled_at: datetime | None = Field(default=None, description="When it was replayed or discarded.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        description="Settled: it was replayed or discarded.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
