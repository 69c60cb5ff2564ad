"""A step: a name, exactly one action, and modifiers. The fields of `Step` marked as actions are the table of kinds.

To add a kind of step: its model here, its field in `Step`, its machine in `engine/steps/` and its row in the registry there.
"""

import re
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from backstay.api.base import Duration, ErrorType, Expression, Identifier, Json, JsonObject, Model, Name, Quantity, Text, unique
from backstay.api.policies import Catch, Retry
from backstay.expressions.words import quoted

MAX_STEPS = 5000
PERCENTAGE = "([1-9][0-9]?|100)%"
ENV_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.-]*$"
ACTION: dict[str, Any] = {"x-backstay-action": True}


class SecretKey(Model):
    """One key of a Secret or ConfigMap of the run's namespace."""

    name: str = Field(min_length=1, max_length=253, description="Name of the Secret or ConfigMap.")
    key: str = Field(min_length=1, max_length=253, description="The key in it.")
    optional: bool = Field(default=False, description="Start without the variable where the object or the key is missing.")


class EnvSource(Model):
    """Where the value of an environment variable comes from. It reaches the pod as a reference and never passes through Backstay."""

    secret_key_ref: SecretKey | None = Field(default=None, description="A key of a Secret.")
    config_map_key_ref: SecretKey | None = Field(default=None, description="A key of a ConfigMap.")

    @model_validator(mode="after")
    def _one_source(self) -> "EnvSource":
        if (self.secret_key_ref is None) == (self.config_map_key_ref is None):
            raise ValueError("give exactly one of secretKeyRef and configMapKeyRef")
        return self


class EnvVar(Model):
    """An environment variable of the container."""

    name: str = Field(
        pattern=ENV_NAME_PATTERN, max_length=253, description="Name of the variable. Names that begin with BACKSTAY_ are ours."
    )
    value: Text | None = Field(default=None, description="Its value; may hold expressions in ${ }.")
    value_from: EnvSource | None = Field(default=None, description="Take the value from a Secret or ConfigMap.")

    @model_validator(mode="after")
    def _one_value(self) -> "EnvVar":
        if self.value is not None and self.value_from is not None:
            raise ValueError("give value or valueFrom, not both")
        if self.name.startswith("BACKSTAY_"):
            raise ValueError(f"{quoted(self.name)} begins with BACKSTAY_, which Backstay sets itself; choose another name")
        return self


class Resources(Model):
    """Compute resources of the container, as in a Pod."""

    requests: dict[str, Quantity] = Field(default_factory=dict, description="What the pod is placed by, as in {cpu: 100m, memory: 64Mi}.")
    limits: dict[str, Quantity] = Field(default_factory=dict, description="What the container may use at most.")


class JobAction(Model):
    """Run a container to its end, as a Kubernetes Job with one pod. Each attempt is a Job of its own."""

    image: Text = Field(min_length=1, description="The container image; may hold expressions in ${ }.")
    command: tuple[Text, ...] = Field(
        default=(), max_length=256, description="Replaces the image's entry point; may hold expressions in ${ }."
    )
    args: tuple[Text, ...] = Field(
        default=(), max_length=256, description="Arguments; may hold expressions in ${ }. Numbers and objects become JSON text."
    )
    env: Annotated[tuple[EnvVar, ...], unique("variable", lambda item: item.name)] = Field(
        default=(), max_length=256, description="Environment variables besides Backstay's own."
    )
    working_dir: Text | None = Field(default=None, description="Where the command starts.")
    resources: Resources | None = Field(default=None, description="Requests and limits of the container.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="When to pull the image, as in a Pod."
    )
    service_account_name: str | None = Field(
        default=None, max_length=253, description="Service account of the pod instead of the run's. Its token is not mounted."
    )
    start_timeout: Duration | None = Field(
        default=None,
        description="How long a pod may take to be placed and to start, pulling its image included (default 5m); then the attempt fails.",
    )
    template: JsonObject | None = Field(
        default=None,
        description="A pod template (metadata and spec) that Backstay's own is merged over: volumes, node selectors, security settings.",
    )


class WaitAction(Model):
    """Let time pass: for a while, or until a moment."""

    duration: Text | None = Field(default=None, description="How long to wait, as in 10m; may be an expression.")
    until: Text | None = Field(
        default=None, description="The moment to wait for, in RFC 3339, as in 2027-01-31T09:00:00Z; may be an expression."
    )

    @model_validator(mode="after")
    def _one_of(self) -> "WaitAction":
        if (self.duration is None) == (self.until is None):
            raise ValueError("give exactly one of duration and until")
        return self


class FailAction(Model):
    """Raise an error."""

    error: ErrorType = Field(description="Its type, which catch matches on; CamelCase.")
    message: Text = Field(default="", description="Words for people; may hold expressions in ${ }.")

    @model_validator(mode="after")
    def _a_type(self) -> "FailAction":
        if self.error in ("*", "Transient", "Permanent"):
            raise ValueError(f"{quoted(self.error)} is a class of errors; raise one type, as in PaymentOverdue")
        return self


class EndResult(StrEnum):
    """How `end` ends the run."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class EndAction(Model):
    """End the whole run here, whatever else is going on; what still runs is stopped."""

    result: EndResult = Field(
        default=EndResult.SUCCEEDED, description="Succeeded keeps what was done; Failed undoes it where the workflow says so."
    )
    message: Text = Field(default="", description="Why; may hold expressions in ${ }.")


class Dag(Model):
    """Steps that start as soon as those they depend on have succeeded or were skipped."""

    fail_fast: bool = Field(
        default=True, description="Stop the other steps at the first failure; false lets those go on that do not depend on it."
    )
    steps: "Steps" = Field(description="The steps; dependsOn says what each one waits for.")


class Branch(Model):
    """One of several lists of steps that run at the same time."""

    name: Name = Field(description="Its name, unique among the branches.")
    steps: "Steps" = Field(description="Its steps, in order.")


class Parallel(Model):
    """Branches that run at the same time, and how many of them are awaited."""

    join: int | str = Field(
        default="All",
        description='How many branches must succeed: All, Any, a number, or a percentage such as "50%".',
        json_schema_extra={"x-kubernetes-int-or-string": True, "pattern": f"^(All|Any|{PERCENTAGE})$"},
    )
    cancel_rest: bool = Field(
        default=True, description="Stop the other branches once enough have succeeded; false lets them run to their end first."
    )
    branches: Annotated[tuple[Branch, ...], unique("branch", lambda item: item.name)] = Field(
        min_length=1, max_length=500, description="The branches."
    )

    @model_validator(mode="after")
    def _join_can_be_met(self) -> "Parallel":
        self.needed()
        return self

    def needed(self) -> int:
        """Return how many branches must succeed. Raises ValueError where the join can never be met."""
        count = len(self.branches)
        if self.join == "All":
            return count
        if self.join == "Any":
            return 1
        if isinstance(self.join, str):
            if not re.fullmatch(PERCENTAGE, self.join):
                raise ValueError(f'{quoted(self.join)} is no join; write All, Any, a number of branches, or a percentage such as "50%"')
            return -(-count * int(self.join[:-1]) // 100)
        if isinstance(self.join, bool) or not 1 <= self.join <= count:
            raise ValueError(f"join {self.join} can never be met with {count} branch{'es' * (count > 1)}; write a number from 1 to {count}")
        return self.join


class Case(Model):
    """A condition and the steps for it."""

    name: Name | None = Field(default=None, description="Its name in paths; its position where it has none.")
    when: Expression = Field(description="A condition in ${ }; the first case that is true is taken.")
    steps: "Steps" = Field(description="The steps for this case.")


class Switch(Model):
    """Exactly one of several ways."""

    cases: tuple[Case, ...] = Field(min_length=1, max_length=500, description="The cases, tried in order.")
    default: "Steps | None" = Field(default=None, description="The steps where no case is true; nothing happens where it is missing.")


class Compensate(Model):
    """How to undo a completed step: one action, run when the run fails, is cancelled or is deleted."""

    job: JobAction | None = Field(default=None, description="Undo it by running a container.", json_schema_extra=ACTION)
    steps: "Steps | None" = Field(default=None, description="Undo it by several steps, in order.", json_schema_extra=ACTION)
    timeout: Duration | None = Field(default=None, description="How long undoing this step may take, all attempts together.")
    attempt_timeout: Duration | None = Field(default=None, description="How long one attempt may take.")
    retry: Retry | None = Field(
        default=None,
        description="Attempts at undoing, for each step of it that does work and says nothing itself (default: 5, on any error).",
    )

    @model_validator(mode="after")
    def _one_action(self) -> "Compensate":
        _exactly_one(self)
        return self


class Step(Model):
    """A name and exactly one action, with modifiers that any step may carry."""

    name: Name = Field(description="Its name: a DNS label, unique in its list. Expressions see its outputs as steps.NAME.outputs.")
    description: Text | None = Field(default=None, description="What the step is for, in words.")

    job: JobAction | None = Field(default=None, description="Run a container to its end.", json_schema_extra=ACTION)
    set: dict[str, Json] | None = Field(
        default=None,
        description="Give variables values; seen as vars.NAME by the steps that follow. Values may hold expressions.",
        json_schema_extra=ACTION,
    )
    wait: WaitAction | None = Field(default=None, description="Let time pass: for a while, or until a moment.", json_schema_extra=ACTION)
    steps: "Steps | None" = Field(
        default=None, description="A block: steps in order, with modifiers of their own.", json_schema_extra=ACTION
    )
    dag: Dag | None = Field(
        default=None, description="Steps that start as soon as those they depend on are done.", json_schema_extra=ACTION
    )
    parallel: Parallel | None = Field(default=None, description="Branches that run at the same time.", json_schema_extra=ACTION)
    switch: Switch | None = Field(default=None, description="Exactly one of several ways.", json_schema_extra=ACTION)
    fail: FailAction | None = Field(default=None, description="Raise an error.", json_schema_extra=ACTION)
    end: EndAction | None = Field(default=None, description="End the whole run here.", json_schema_extra=ACTION)

    if_: Expression | None = Field(default=None, alias="if", description="Skip the step where this is false.")
    depends_on: tuple[Name, ...] = Field(
        default=(), max_length=500, description="In a dag: the steps that must succeed, or be skipped, before this one."
    )
    timeout: Duration | None = Field(
        default=None, description="How long the step may take, all attempts together; then it fails with Timeout."
    )
    attempt_timeout: Duration | None = Field(
        default=None, description="How long one attempt may take; then the attempt fails with Timeout."
    )
    retry: Retry | None = Field(default=None, description="Another attempt after an error; for steps that do work.")
    catch: tuple[Catch, ...] = Field(default=(), max_length=32, description="Handlers for errors; the first that matches is taken.")
    compensate: Compensate | None = Field(default=None, description="How to undo this step once it has succeeded.")

    @model_validator(mode="after")
    def _one_action(self) -> "Step":
        _exactly_one(self)
        return self

    @property
    def kind(self) -> str:
        """Which action this step has: the name of its field."""
        return action_of(self)


Steps = Annotated[tuple[Step, ...], Field(min_length=1, max_length=MAX_STEPS), unique("step", lambda item: item.name)]
"""A list of steps, in order, each name once. The same list everywhere, nested as deep as wanted."""

VariableName = Identifier


def actions(model: type[Model]) -> tuple[str, ...]:
    """Return the names of a model's fields that are actions: the kinds a step can be of."""
    return tuple(name for name, field in model.model_fields.items() if field.json_schema_extra == ACTION)


def action_of(model: Model) -> str:
    """Return which action a step or compensation has."""
    return next(name for name in actions(type(model)) if getattr(model, name) is not None)


def _exactly_one(model: Model) -> None:
    given = [name for name in actions(type(model)) if getattr(model, name) is not None]
    if len(given) != 1:
        known = ", ".join(actions(type(model)))
        found = f"has {' and '.join(given)}" if given else "has no action"
        raise ValueError(f"{found}; give exactly one of {known}")


for _model in (Catch, Dag, Branch, Case, Switch, Parallel, Compensate, Step):
    _model.model_rebuild(_types_namespace={"Steps": Steps, "Step": Step, **globals()})
