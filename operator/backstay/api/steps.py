"""A step: a name, exactly one action, and modifiers. The fields of `Step` marked as actions are the table of kinds.

To add a kind of step: its model here, its field in `Step`, its machine in `engine/steps/` and its row in the registry there.
"""

from enum import StrEnum
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator
from pydantic.alias_generators import to_camel

from backstay.api.actions.boundary import Boundary, EscalateAction
from backstay.api.actions.child import TemplateAction, WorkflowAction
from backstay.api.actions.control import CancelAction, GotoAction
from backstay.api.actions.http import HttpAction
from backstay.api.actions.iteration import ForEach, While
from backstay.api.actions.job import JobAction
from backstay.api.actions.lock import Lock
from backstay.api.actions.resource import ResourceAction
from backstay.api.actions.structures import Branch, Case, Dag, Dependencies, Parallel, Switch, told_apart
from backstay.api.actions.transaction import Transaction
from backstay.api.actions.undo import UndoAction
from backstay.api.base import (
    Duration,
    ErrorType,
    Expression,
    Identifier,
    Json,
    JsonObject,
    Model,
    Name,
    Text,
    unique,
)
from backstay.api.circuit import WhenOpen
from backstay.api.policies import Catch, OnExhausted, Retry
from backstay.expressions.words import quoted

MAX_STEPS = 5000
WORK: dict[str, Any] = {"x-backstay-action": "work"}
"""Marks a field as an action that does work which can fail and be tried again."""
WAITING: dict[str, Any] = {"x-backstay-action": "waiting"}
STRUCTURE: dict[str, Any] = {"x-backstay-action": "structure"}
"""Marks an action that consists of other steps."""
UNTYPED: dict[str, Any] = {"x-backstay-untyped": True}
"""Marks a list of steps that the CRD does not type: every typed list makes the schema larger by as much as that of a step."""
INSTANT: dict[str, Any] = {"x-backstay-action": "instant"}
"""Marks an action that is over as soon as it begins."""
UNDOING: dict[str, Any] = {"x-backstay-action": "undoing"}
"""Marks an action that consists of the compensations of other steps."""


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
    """Raise an error: one of the workflow's own, or in a handler the one that it handles."""

    error: ErrorType | None = Field(default=None, description="Its type, which catch matches on; CamelCase.")
    message: Text = Field(default="", description="Words for people; may hold expressions in ${ }.")
    rethrow: bool = Field(
        default=False, description="In a catch: raise the error that is handled again, as it was: type, title, detail, step and attempt."
    )

    @model_validator(mode="after")
    def _a_type(self) -> "FailAction":
        if self.rethrow and (self.error is not None or self.message):
            raise ValueError("rethrow raises the error that is handled as it was; leave error and message out, or raise one of your own")
        if not self.rethrow and self.error is None:
            raise ValueError("give error: the type that is raised; or, in a catch, rethrow: true")
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
    told_apart("branch", [branch.name for branch in branches])
    return branches


def _events_told_apart(events: tuple[Boundary, ...]) -> tuple[Boundary, ...]:
    told_apart("boundary event", [event.name for event in events])
    return events


class NotUndone(StrEnum):
    """What becomes of undoing a step that cannot be done."""

    PAUSE = "Pause"
    SKIP = "Skip"


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
    on_exhausted: NotUndone = Field(
        default=NotUndone.PAUSE,
        description="When no attempt is left: Pause waits for a person, who has it tried again or skips it; Skip leaves the step as it is, tells "
        "that, and goes on with the others.",
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
    undo: UndoAction | None = Field(
        default=None, description="Undo a part of what the run has done, while it goes on.", json_schema_extra=UNDOING
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
    transaction: Transaction | None = Field(
        default=None,
        description="Several participants do something together or not at all: two-phase commit, or try, confirm and cancel.",
        json_schema_extra=STRUCTURE,
    )
    fail: FailAction | None = Field(default=None, description="Raise an error.", json_schema_extra=INSTANT)
    escalate: EscalateAction | None = Field(
        default=None, description="Tell a boundary event of a step around this one, and go on; no error.", json_schema_extra=INSTANT
    )
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
    retriable: bool = Field(
        default=False,
        description="Of a step that does work: it is tried until it succeeds, whatever the error, at the intervals of its retry; "
        "for what must come to pass, as after the pivot of a saga.",
    )
    on_exhausted: OnExhausted | None = Field(
        default=None,
        description="Of a step that does work, when no attempt is left and no catch takes its error: Fail (default), Pause (it waits for a person, "
        "who retries, edits, skips or gives up), or DeadLetter (it waits, and a DeadLetter tells of it).",
    )
    catch: tuple[Catch, ...] = Field(default=(), max_length=32, description="Handlers for errors; the first that matches is taken.")
    boundary: Annotated[tuple[Boundary, ...], AfterValidator(_events_told_apart)] = Field(
        default=(),
        max_length=32,
        description="Events that may happen while the step goes on, timers, conditions and escalations, with the steps for them. Errors: see catch.",
    )
    finally_: "Steps | None" = Field(
        default=None,
        alias="finally",
        description="Steps that run before this one ends, whatever its end: success, an error, a handler, a cancellation, a goto out of it. They "
        "see ending.phase and ending.error, and are never undone.",
        json_schema_extra=UNTYPED,
    )
    compensate: Compensate | None = Field(
        default=None,
        description="How to undo this step once it has succeeded, or may have: where its work was cut off, its outcome is unknown.",
    )
    pivot: bool = Field(
        default=False,
        description="The point of no return: once this step has succeeded nothing is undone any more, neither before nor after it, and steps that "
        "do work and would fail pause until a person looks.",
    )
    outputs: JsonObject | None = Field(
        default=None,
        description="What a step that does work produces: a JSON Schema (2020-12) of its outputs. Outputs that do not satisfy it are the error "
        "InvalidOutput, and backstay lint follows their types through expressions.",
    )
    circuit: Name | None = Field(
        default=None,
        description="Of a step that does work: the CircuitBreaker of the run's namespace that each of its attempts asks first. Where there is none, "
        "one with the default settings is made.",
    )
    when_open: WhenOpen | None = Field(
        default=None,
        description="What becomes of an attempt that the circuit breaker does not let through, where that is not what the breaker says. Fail: the "
        "step fails with CircuitOpen at once, without a retry. Wait: it waits until it is let through.",
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


for _model in (Catch, Boundary, Dag, Branch, Case, Switch, RaceBranch, Parallel, ForEach, While, Compensate, Step):
    _model.model_rebuild(_types_namespace={"Steps": Steps, "Step": Step, **globals()})
