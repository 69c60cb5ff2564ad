"""Policies that any step may carry: retries, catching errors, and the shape of an error."""

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from backstay.api.base import Duration, ErrorType, Identifier, Model, Text

if TYPE_CHECKING:
    from backstay.api.steps import Steps


class Jitter(StrEnum):
    """How a delay between attempts is spread, so that many runs do not retry at the same moment (AWS Architecture Blog, 2015)."""

    FULL = "Full"
    EQUAL = "Equal"
    NONE = "None"


class Retry(Model):
    """Another attempt after an error: how many, how far apart, and for which errors."""

    max_attempts: PositiveInt = Field(default=3, le=1000, description="Attempts in all, the first one included.")
    interval: Duration = Field(default=timedelta(seconds=1), description="Delay before the second attempt.")
    backoff_rate: float = Field(default=2.0, ge=1, le=100, description="Each delay is the one before times this; 1 keeps it constant.")
    max_delay: Duration = Field(default=timedelta(minutes=1), description="No delay is longer than this.")
    jitter: Jitter = Field(
        default=Jitter.FULL, description="Full: between 0 and the delay. Equal: between half of it and all. None: exactly the delay."
    )
    errors: Annotated[tuple[ErrorType, ...], Field(max_length=32)] = Field(
        default=("Transient", "Timeout"),
        description="Error types or classes (Transient, Permanent) that are worth another attempt; * is any.",
    )


class Catch(Model):
    """What to do instead of failing, for some types of error."""

    errors: Annotated[tuple[ErrorType, ...], Field(min_length=1, max_length=32)] = Field(
        default=("*",), description="Error types or classes (Transient, Permanent) that this handler is for; * is any."
    )
    as_: Identifier = Field(default="error", alias="as", description="The name under which the handler's expressions see the error.")
    steps: "Steps" = Field(description="The steps that handle it. When they succeed, the run goes on after the step that failed.")


class Fault(Model):
    """An error as it stands in a status: a type to match on, and words for people (after RFC 9457)."""

    type: str = Field(description="What kind of error it is; catch and retry match on it.")
    title: str = Field(default="", description="The error in a few words.")
    detail: Text = Field(default="", description="What was found, where, and what to do about it.")
    step: str = Field(default="", description="Path of the step that raised it.")
    attempt: int = Field(default=0, description="The attempt that raised it; 0 where there are none.")
