"""Policies that any step may carry: retries, catching errors, and the shape of an error."""

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from backstay.api.base import Duration, ErrorType, Expression, Identifier, JsonObject, Model, Text

if TYPE_CHECKING:
    from backstay.api.steps import Steps


class Jitter(StrEnum):
    """How a delay between attempts is spread, so that many runs do not retry at the same moment (AWS Architecture Blog, 2015)."""

    FULL = "Full"
    EQUAL = "Equal"
    NONE = "None"


class Backoff(StrEnum):
    """How the delays between attempts grow."""

    EXPONENTIAL = "Exponential"
    LINEAR = "Linear"
    CONSTANT = "Constant"


class RetryRule(Model):
    """What is different for some types of error; what a rule does not say is as the retry says."""

    errors: Annotated[tuple[ErrorType, ...], Field(min_length=1, max_length=32)] = Field(
        description="Error types or classes (Transient, Permanent) that the rule is for; * is any."
    )
    max_attempts: PositiveInt | None = Field(
        default=None, le=1000, description="So many attempts may fail with these errors, the last of them for good; 1: no other attempt."
    )
    interval: Duration | None = Field(default=None, description="Delay after the first of these errors.")
    backoff: Backoff | None = Field(default=None, description="How the delays grow from one of these errors to the next.")
    backoff_rate: float | None = Field(default=None, ge=1, le=100, description="Each delay is the one before times this.")
    max_delay: Duration | None = Field(default=None, description="No delay is longer than this.")
    jitter: Jitter | None = Field(default=None, description="How the delays are spread.")


class Retry(Model):
    """Another attempt after an error: how many, how far apart, and for which errors."""

    max_attempts: PositiveInt = Field(default=3, le=1000, description="Attempts in all, the first one included.")
    interval: Duration = Field(default=timedelta(seconds=1), description="Delay before the second attempt.")
    backoff: Backoff = Field(
        default=Backoff.EXPONENTIAL,
        description="How the delays grow. Exponential: each is the one before times backoffRate. Linear: by the interval each time. Constant: "
        "not at all.",
    )
    backoff_rate: float = Field(default=2.0, ge=1, le=100, description="Each delay is the one before times this; 1 keeps it constant.")
    max_delay: Duration = Field(default=timedelta(minutes=1), description="No delay is longer than this.")
    jitter: Jitter = Field(
        default=Jitter.FULL, description="Full: between 0 and the delay. Equal: between half of it and all. None: exactly the delay."
    )
    errors: Annotated[tuple[ErrorType, ...], Field(max_length=32)] = Field(
        default=("Transient", "Timeout"),
        description="Error types or classes (Transient, Permanent) that are worth another attempt; * is any.",
    )
    within: Duration | None = Field(
        default=None, description="Time for all attempts, from the beginning of the first one: no attempt begins later."
    )
    rules: Annotated[tuple[RetryRule, ...], Field(max_length=16)] = Field(
        default=(),
        description="What is different for some types of error. The first rule that matches is taken, before errors; each rule counts the "
        "attempts that failed with its errors by itself.",
    )

    def under(self, rule: int | None) -> "Retry":
        """Return the retry as one of its rules makes it; None is the retry itself."""
        if rule is None:
            return self
        given = {name: value for name in RetryRule.model_fields if (value := getattr(self.rules[rule], name)) is not None}
        return self.model_copy(update=given)


class OnExhausted(StrEnum):
    """What becomes of a step that does work, once no attempt is left and no catch of its own takes the error."""

    FAIL = "Fail"
    PAUSE = "Pause"
    DEAD_LETTER = "DeadLetter"


class Catch(Model):
    """What to do instead of failing, for some types of error."""

    errors: Annotated[tuple[ErrorType, ...], Field(min_length=1, max_length=32)] = Field(
        default=("*",), description="Error types or classes (Transient, Permanent) that this handler is for; * is any."
    )
    as_: Identifier = Field(default="error", alias="as", description="The name under which the handler's expressions see the error.")
    when: Expression | None = Field(
        default=None,
        description="Take this handler only where this is true; it sees the error under its name. Where it is false the next catch is looked at.",
    )
    steps: "Steps" = Field(description="The steps that handle it. When they succeed, the run goes on after the step that failed.")
    outputs: JsonObject | None = Field(
        default=None,
        description="What the step produced after all, once the handler has succeeded: seen as steps.NAME.outputs, as if the step had. Values "
        "may hold expressions, which see the error and the handler's steps. Of the workflow's own catch: the outputs of the run.",
    )


class Fault(Model):
    """An error as it stands in a status: the members of RFC 9457 that mean something here, and two of our own (its section 3.2).

    `type` is a name and no URI: it is what `catch` and `retry` match on. `step` stands for RFC 9457's `instance`. Its class, Transient or
    Permanent, follows from its type (`api/faults.py`) and is not stored.
    """

    type: str = Field(description="What kind of error it is; catch and retry match on it.")
    title: str = Field(default="", description="The error in a few words.")
    detail: Text = Field(default="", description="What was found this time, where, and what to do about it.")
    step: str = Field(default="", description="Path of the step that raised it; of a child run's, after the path of the step that runs it.")
    attempt: int = Field(default=0, description="The attempt that raised it; 0 where there are none.")
