"""A step: a name, exactly one action, and modifiers. The fields of `Step` marked as actions are the table of kinds.

To add a kind of step: its model here, its field in `Step`, its machine in `engine/steps/` and its row in the registry there.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel

from backstay.api.actions.child import TemplateAction, WorkflowAction
from backstay.api.actions.control import CancelAction, GotoAction
from backstay.api.actions.http import HttpAction
from backstay.api.actions.iteration import ForEach, While
from backstay.api.actions.lock import Lock
from backstay.api.actions.resource import ResourceAction
from backstay.api.base import (
    ANY_JSON,
    NAME_PATTERN,
    Duration,
    ErrorType,
    Expression,
    Identifier,
    Json,
    JsonObject,
    Model,
    Name,
    Quantity,
    Text,
    unique,
)
from backstay.api.policies import Catch, Retry
from backstay.api.workspaces import EnvFrom, Mounts
from backstay.expressions.words import quoted

MAX_STEPS = 5000
PERCENTAGE = "([1-9][0-9]?|100)%"
ENV_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.-]*$"
WORK: dict[str, Any] = {"x-backstay-action": "work"}
"""Marks a field as an action that does work which can fail and be tried again."""
WAITING: dict[str, Any] = {"x-backstay-action": "waiting"}
STRUCTURE: dict[str, Any] = {"x-backstay-action": "structure"}
"""Marks an action that consists of other steps."""
INSTANT: dict[str, Any] = {"x-backstay-action": "instant"}
"""Marks an action that is over as soon as it begins."""
DEFAULT_CASE: Final = "default"
"""What the steps where no case is true are called in paths."""


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
    env_from: tuple[EnvFrom, ...] = Field(
        default=(), max_length=64, description="Environment variables from all keys of Secrets and ConfigMaps; those of env win."
    )
    workspaces: Mounts = Field(default=(), max_length=64, description="Which of the workflow's workspaces the container sees, and where.")
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
    """Let time pass: for a while, until a moment, or until something holds."""

    duration: Text | None = Field(default=None, description="How long to wait, as in 10m; may be an expression.")
    until: Text | None = Field(
        default=None, description="The moment to wait for, in RFC 3339, as in 2027-01-31T09:00:00Z; may be an expression."
    )

    condition: Expression | None = Field(
        default=None,
        description="Wait until this is true; looked at whenever something in the run has changed. The step's timeout is its expiry.",
    )

    @model_validator(mode="after")
    def _one_of(self) -> "WaitAction":
        if [self.duration, self.until, self.condition].count(None) != 2:
            raise ValueError("give exactly one of duration, until and condition")
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


class Awaited(StrEnum):
    """How a step of a dag must end for another one that depends on it to begin."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    DONE = "Done"


class Dependency(Model):
    """What a step of a dag waits for. A bare name stands for one that must succeed."""

    step: Name = Field(description="The step of the same dag.")
    outcome: Awaited = Field(
        default=Awaited.SUCCEEDED,
        description="How it must end: Succeeded (or be skipped by its own if), Failed, Skipped, or Done, which is any of these.",
    )


def _dependency(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not re.fullmatch(NAME_PATTERN, value) or len(value) > 63:
        raise ValueError(f"{quoted(value)} is no name; write lower-case letters, digits and dashes, as in card-check")
    return Dependency(step=value)


def _written_dependency(value: Dependency) -> Any:
    return value.step if value.outcome is Awaited.SUCCEEDED else {"step": value.step, "outcome": str(value.outcome)}


Dependencies = tuple[
    Annotated[Dependency, BeforeValidator(_dependency), PlainSerializer(_written_dependency), WithJsonSchema(ANY_JSON)],
    ...,
]
"""What a step of a dag waits for: names, or names with an outcome."""


class Dag(Model):
    """Steps that start as soon as those they depend on have ended as they should."""

    fail_fast: bool = Field(
        default=True,
        description="Stop the other steps at the first failure that no step deals with; false lets those go on that do not depend on it.",
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
        default=True,
        description="Stop the other branches once enough have succeeded; false lets them go on while what follows begins. "
        "The list of steps around it ends when they have ended, too.",
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
    when: Expression = Field(description="A condition in ${ }; the first case that is true is taken, or every one, as mode says.")
    steps: "Steps" = Field(description="The steps for this case.")


class SwitchMode(StrEnum):
    """How many cases are taken."""

    FIRST = "First"
    EVERY = "Every"


class Switch(Model):
    """One of several ways, or every one that is open."""

    mode: SwitchMode = Field(
        default=SwitchMode.FIRST,
        description="First: the first case that is true. Every: all that are true, at the same time; the step ends when all of them have.",
    )
    cases: tuple[Case, ...] = Field(min_length=1, max_length=500, description="The cases, tried in order.")
    default: "Steps | None" = Field(default=None, description="The steps where no case is true; nothing happens where it is missing.")

    @model_validator(mode="after")
    def _told_apart(self) -> "Switch":
        _told_apart("case", [case.name for case in self.cases], [DEFAULT_CASE])
        return self


class RaceBranch(Model):
    """One of several events, and the steps for when it is the first."""

    name: Name | None = Field(default=None, description="Its name in paths; its position where it has none.")
    wait: WaitAction | None = Field(
        default=None, description="Wins when the time has passed, or the condition is true.", json_schema_extra=WAITING
    )
    steps: "Steps | None" = Field(default=None, description="The steps for when its event is the first, in order.")

    @model_validator(mode="after")
    def _one_event(self) -> "RaceBranch":
        _exactly_one(self)
        return self


def _branches_told_apart(branches: tuple[RaceBranch, ...]) -> tuple[RaceBranch, ...]:
    if len(branches) < 2:
        raise ValueError("a race needs two branches at least; write a single event as a step of its own")
    _told_apart("branch", [branch.name for branch in branches])
    return branches


def _told_apart(what: str, given: Sequence[str | None], taken: Sequence[str] = ()) -> None:
    """Raise ValueError where two of several have the same name; one without a name is called by its position."""
    names = [*taken, *(name or str(index) for index, name in enumerate(given))]
    for name in given:
        if name is not None and names.count(name) > 1:
            raise ValueError(
                f"two are called {quoted(name)} (a {what} without a name is called by its position); give each {what} a name of its own"
            )


class Compensate(Model):
    """How to undo a completed step: one action, run when the run fails, is cancelled or is deleted."""

    job: JobAction | None = Field(default=None, description="Undo it by running a container.", json_schema_extra=WORK)
    http: HttpAction | None = Field(default=None, description="Undo it by an HTTP request.", json_schema_extra=WORK)
    resource: ResourceAction | None = Field(
        default=None, description="Undo it by making, changing or deleting an object of Kubernetes.", json_schema_extra=WORK
    )
    steps: "Steps | None" = Field(default=None, description="Undo it by several steps, in order.", json_schema_extra=STRUCTURE)
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

    job: JobAction | None = Field(default=None, description="Run a container to its end.", json_schema_extra=WORK)
    http: HttpAction | None = Field(
        default=None, description="Make an HTTP request to a host that the installation allows.", json_schema_extra=WORK
    )
    resource: ResourceAction | None = Field(
        default=None,
        description="Make, change, delete, read or wait for any object of Kubernetes, as the run's service account.",
        json_schema_extra=WORK,
    )
    set: dict[str, Json] | None = Field(
        default=None,
        description="Give variables values; seen as vars.NAME by the steps that follow. Values may hold expressions.",
        json_schema_extra=INSTANT,
    )
    wait: WaitAction | None = Field(
        default=None, description="Let time pass: for a while, until a moment, or until something holds.", json_schema_extra=WAITING
    )
    steps: "Steps | None" = Field(
        default=None, description="A block: steps in order, with modifiers of their own.", json_schema_extra=STRUCTURE
    )
    dag: Dag | None = Field(
        default=None, description="Steps that start as soon as those they depend on are done.", json_schema_extra=STRUCTURE
    )
    parallel: Parallel | None = Field(default=None, description="Branches that run at the same time.", json_schema_extra=STRUCTURE)
    switch: Switch | None = Field(default=None, description="One of several ways, or every one that is open.", json_schema_extra=STRUCTURE)
    race: Annotated[tuple[RaceBranch, ...], Field(max_length=100), AfterValidator(_branches_told_apart)] | None = Field(
        default=None,
        description="Several events: the first one wins, and no other can happen any more.",
        json_schema_extra=STRUCTURE,
    )
    goto: GotoAction | None = Field(
        default=None, description="Go on at another step of this list, or of one around it.", json_schema_extra=INSTANT
    )
    cancel: CancelAction | None = Field(
        default=None, description="Cancel a step that goes on, with all that is in it.", json_schema_extra=INSTANT
    )
    for_each: ForEach | None = Field(
        default=None, description="The same steps for every item of a list or map, several at a time.", json_schema_extra=STRUCTURE
    )
    while_: While | None = Field(
        default=None,
        alias="while",
        description="The same steps again and again, while a condition holds or until one does.",
        json_schema_extra=STRUCTURE,
    )
    workflow: WorkflowAction | None = Field(
        default=None, description="Run another workflow to its end, as a run of its own.", json_schema_extra=WORK
    )
    template: TemplateAction | None = Field(
        default=None, description="Run the steps of a template of this workflow in place.", json_schema_extra=STRUCTURE
    )
    fail: FailAction | None = Field(default=None, description="Raise an error.", json_schema_extra=INSTANT)
    end: EndAction | None = Field(default=None, description="End the whole run here.", json_schema_extra=INSTANT)

    if_: Expression | None = Field(default=None, alias="if", description="Skip the step where this is false.")
    depends_on: Dependencies = Field(
        default=(),
        max_length=500,
        description="In a dag: the steps that must succeed, or be skipped, before this one: names, or {step: NAME, outcome: Failed}. "
        "Outcomes: Succeeded (default), Failed, Skipped, Done (any of these).",
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
    outputs: JsonObject | None = Field(
        default=None,
        description="What a step that does work produces: a JSON Schema (2020-12) of its outputs. Outputs that do not satisfy it are the error "
        "InvalidOutput, and backstay lint follows their types through expressions.",
    )
    lock: Lock | None = Field(
        default=None, description="Begin only when the step holds a slot of a Semaphore, and hold it until it has ended."
    )

    @model_validator(mode="after")
    def _one_action(self) -> "Step":
        _exactly_one(self)
        return self

    @property
    def kind(self) -> str:
        """Which action this step has: the name of its field, as users write it."""
        return kind_of(self)

    @property
    def action(self) -> Any:
        """The model of its action."""
        return action_of(self)


Steps = Annotated[tuple[Step, ...], Field(min_length=1, max_length=MAX_STEPS), unique("step", lambda item: item.name)]
"""A list of steps, in order, each name once. The same list everywhere, nested as deep as wanted."""

VariableName = Identifier


def actions(model: type[Model], group: str | None = None) -> tuple[str, ...]:
    """Return the kinds that a step can be of: the names, as users write them, of a model's fields that are actions (of a group)."""
    return tuple(name for name, of in _actions(model).items() if group in (None, of[1]))


@cache
def _actions(model: type[Model]) -> dict[str, tuple[str, str]]:
    """Return by kind: the field's name in Python, and its group."""
    found = {}
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and (group := extra.get("x-backstay-action")):
            given = to_camel(name) if field.alias is None else field.alias
            found[given] = (name, str(group))
    return found


def kind_of(model: Model) -> str:
    """Return which action a step or compensation has."""
    return next(kind for kind, (name, _) in _actions(type(model)).items() if getattr(model, name) is not None)


def action_of(model: Model) -> Any:
    """Return the model of the action of a step or compensation."""
    return getattr(model, _actions(type(model))[kind_of(model)][0])


def _exactly_one(model: Model) -> None:
    given = [kind for kind, (name, _) in _actions(type(model)).items() if getattr(model, name) is not None]
    if len(given) != 1:
        known = ", ".join(actions(type(model)))
        found = f"has {' and '.join(given)}" if given else "has no action"
        raise ValueError(f"{found}; give exactly one of {known}")


for _model in (Catch, Dag, Branch, Case, Switch, RaceBranch, Parallel, ForEach, While, Compensate, Step):
    _model.model_rebuild(_types_namespace={"Steps": Steps, "Step": Step, **globals()})
