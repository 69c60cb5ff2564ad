"""Workflow: the definition of a process. Applying a changed one makes a new revision; runs keep the one they started with."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field, model_validator

from backstay.api.actions.child import RecoveryWorkflow
from backstay.api.actions.structures import Dag
from backstay.api.base import Duration, Identifier, Json, JsonObject, Model, Name, Text, unique
from backstay.api.meta import Condition
from backstay.api.policies import Catch, Retry
from backstay.api.semaphore import Concurrency
from backstay.api.steps import UNTYPED, Steps
from backstay.api.workspaces import Workspaces


class Parameter(Model):
    """A value that a run is started with."""

    name: Identifier = Field(description="Expressions see it as params.NAME.")
    description: Text | None = Field(default=None, description="What it is for, in words.")
    schema_: JsonObject = Field(default_factory=dict, alias="schema", description="JSON Schema (2020-12) that its value must satisfy.")
    default: Json = Field(default=None, description="Its value where the run gives none. Without a default the run must give one.")

    @property
    def is_required(self) -> bool:
        return "default" not in self.model_fields_set


class Output(Model):
    """A value that a run leaves behind when it succeeds."""

    name: Identifier = Field(description="Its key in the run's status.outputs.")
    value: Json = Field(description="Its value; may hold expressions in ${ }.")


class Template(Model):
    """Steps with parameters and outputs of their own, for `template` steps of this workflow and `workflow` steps of others."""

    name: Name = Field(description="Its name, unique among the templates.")
    description: Text | None = Field(default=None, description="What it is for, in words.")
    parameters: Annotated[tuple[Parameter, ...], unique("parameter", lambda item: item.name)] = Field(
        default=(), max_length=256, description="The values that its steps see as params, and nothing else of what is around them."
    )
    steps: Steps = Field(description="Its steps, in order.")
    outputs: Annotated[tuple[Output, ...], unique("output", lambda item: item.name)] = Field(
        default=(), max_length=256, description="The values that the step leaves behind that uses it: steps.NAME.outputs."
    )


class Defaults(Model):
    """What steps that do work (job) get where they say nothing themselves."""

    timeout: Duration | None = Field(default=None, description="How long a step may take, all attempts together.")
    attempt_timeout: Duration | None = Field(default=None, description="How long one attempt may take.")
    start_timeout: Duration | None = Field(default=None, description="How long a pod may take to start.")
    retry: Retry | None = Field(default=None, description="Another attempt after an error.")


class OnFailure(Model):
    """What happens when an error is caught by nobody."""

    compensate: bool = Field(default=True, description="Undo the completed steps that say how, in reverse order.")
    parallel: bool = Field(
        default=False,
        description="Undo steps at the same time that are independent of each other: those of different branches of a parallel, of different "
        "iterations of a forEach, and those of a dag without a path of dependencies between them. All others come in reverse order still.",
    )
    workflow: RecoveryWorkflow | None = Field(
        default=None,
        description="A Workflow that is run, by itself, once this run has failed: after it is undone and its finally has ended.",
    )


class WorkflowSpec(Model):
    """The definition of a process: parameters, steps, and what happens when it fails."""

    description: Text | None = Field(default=None, description="What the process is for, in words.")
    parameters: Annotated[tuple[Parameter, ...], unique("parameter", lambda item: item.name)] = Field(
        default=(), max_length=256, description="The values a run is started with."
    )
    workspaces: Workspaces = Field(
        default=(), max_length=64, description="Volumes that jobs share, and Secrets and ConfigMaps that they see as files."
    )
    defaults: Defaults = Field(default_factory=Defaults, description="What steps that do work get where they say nothing themselves.")
    timeout: Duration | None = Field(
        default=None, description="How long a run may take, compensation not included; then it fails with DeadlineExceeded."
    )
    concurrency: Concurrency | None = Field(
        default=None, description="How many runs of it go on at the same time, or begin within a time; what becomes of a run beyond that."
    )
    queue_timeout: Duration | None = Field(
        default=None,
        description="How long a run may wait for its turn where more may not go on at the same time; then it fails with QueueTimeout, before it "
        "has begun.",
    )
    compensation_timeout: Duration = Field(
        default=timedelta(days=1),
        description="How long undoing a run may take in all; then the run is let go with what is not undone recorded (default 1d).",
    )
    on_failure: OnFailure = Field(default_factory=OnFailure, description="What happens when an error is caught by nobody.")
    catch: tuple[Catch, ...] = Field(default=(), max_length=32, description="Handlers for errors that no step has caught.")
    finally_: Steps | None = Field(
        default=None,
        alias="finally",
        description="Steps that run before a run ends, whatever its end, and after what was done is undone. They see ending.phase and ending.error, "
        "have compensationTimeout as long as there is nothing shorter, and are never undone.",
        json_schema_extra=UNTYPED,
    )
    steps: Steps | None = Field(default=None, description="The body: steps in order.")
    dag: Dag | None = Field(default=None, description="The body: steps that start as soon as those they depend on are done.")
    outputs: Annotated[tuple[Output, ...], unique("output", lambda item: item.name)] = Field(
        default=(), max_length=256, description="The values a run leaves behind when it succeeds."
    )

    templates: Annotated[tuple[Template, ...], unique("template", lambda item: item.name)] = Field(
        default=(),
        max_length=256,
        description="Lists of steps with parameters, to be used as often as wanted. A Workflow may consist of templates alone: a library.",
    )

    @model_validator(mode="after")
    def _one_body(self) -> "WorkflowSpec":
        if (self.steps is None) == (self.dag is None) and not self.is_library:
            raise ValueError("give exactly one of steps and dag: the body of the workflow")
        return self

    @property
    def is_library(self) -> bool:
        """Whether it has templates and no body."""
        return bool(self.templates) and self.steps is None and self.dag is None

    def of_template(self, name: str) -> "WorkflowSpec | None":
        """Return the workflow whose body is one of the templates, as it is run by itself; None where there is none of that name."""
        found = next((template for template in self.templates if template.name == name), None)
        if found is None:
            return None
        own = {
            "parameters": found.parameters,
            "steps": found.steps,
            "dag": None,
            "outputs": found.outputs,
            "catch": (),
            "finally_": None,
            "on_failure": self.on_failure.model_copy(update={"workflow": None}),
            "concurrency": None,
        }
        return self.model_copy(update=own)


class RevisionRef(Model):
    """An immutable snapshot of a Workflow's spec (apps/v1 ControllerRevision)."""

    name: str = Field(description="Name of the ControllerRevision.")
    number: int = Field(description="Its number: 1 for the first, one more with each change.")


class WorkflowStatus(Model):
    """What the operator found out about the definition."""

    observed_generation: int = Field(default=-1, description="The metadata.generation that this status speaks of.")
    revision: RevisionRef | None = Field(default=None, description="The newest revision; what a new run starts with.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        description="Valid: the definition can be run. Ready: its newest revision is there for new runs.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
