"""CircuitBreaker: when what steps call fails too often, they leave it alone for a while (Nygard, "Release It!", 2007; resilience4j's CircuitBreaker)."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, PositiveInt, field_validator, model_validator

from backstay.api.base import Duration, ErrorType, Model, Text, format_duration
from backstay.api.meta import Condition

MOST_CALLS: Final = 1000
MOST_PROBES: Final = 100
SHORTEST: Final = timedelta(milliseconds=100)
LONGEST: Final = timedelta(days=1)
MINIMUM_CALLS: Final = 10
WINDOW_COUNT: Final = 20
SHARE_PATTERN: Final = r"^([1-9][0-9]?|100)%$"


class CircuitState(StrEnum):
    """Whether attempts are let through: Closed all, Open none, HalfOpen a few, to find out."""

    CLOSED = "Closed"
    OPEN = "Open"
    HALF_OPEN = "HalfOpen"


class WhenOpen(StrEnum):
    """What becomes of an attempt that is not let through."""

    FAIL = "Fail"
    WAIT = "Wait"


def _sensible(value: timedelta) -> timedelta:
    if not SHORTEST <= value <= LONGEST:
        raise ValueError(f"{format_duration(value)} is out of bounds; write a duration from 100ms to 1d, as in 30s")
    return value


class CircuitWindow(Model):
    """Which results count: the latest so many, or those of the latest time."""

    count: PositiveInt | None = Field(default=None, le=MOST_CALLS, description="The latest so many results.")
    duration: Duration | None = Field(default=None, description="The results of so long, from 100ms to 1d, as in 1m.")

    @model_validator(mode="after")
    def _one_of(self) -> "CircuitWindow":
        if (self.count is None) == (self.duration is None):
            raise ValueError("give exactly one of count and duration")
        if self.duration is not None:
            _sensible(self.duration)
        return self


class CircuitProbes(Model):
    """How the breaker finds out whether calls go well again, once it has been open for long enough."""

    probes: PositiveInt = Field(
        default=1, le=MOST_PROBES, description="How many attempts are let through at a time, and must go well for it to close again."
    )
    within: Duration = Field(
        default=timedelta(minutes=1),
        description="How long an attempt keeps its place among these, from 100ms to 1d; then another may have it. Its result still counts.",
    )

    @field_validator("within")
    @classmethod
    def _a_length(cls, value: timedelta) -> timedelta:
        return _sensible(value)


class ForcedState(StrEnum):
    """What a person can hold a breaker at."""

    OPEN = "Open"
    CLOSED = "Closed"


class CircuitForce(Model):
    """Held at a state by a person, whatever is counted."""

    state: ForcedState = Field(description="Open lets nothing through (maintenance); Closed lets everything through.")
    reason: Text = Field(default="", description="Why.")


class CircuitReset(Model):
    """Closed by a person, who knows that all is well again. Asked once: another id asks again."""

    id: str = Field(min_length=1, max_length=63, description="Tells it from those before; any text that was not used before.")
    reason: Text = Field(default="", description="Why.")


class CircuitBreakerSpec(Model):
    """When to leave alone what fails, for how long, and how to find out whether it goes well again."""

    description: Text | None = Field(default=None, description="What it protects, in words.")
    window: CircuitWindow = Field(
        default=CircuitWindow(count=WINDOW_COUNT),
        description="Which results count: the latest so many (default: 20), or those of the latest time.",
    )
    minimum_calls: PositiveInt | None = Field(
        default=None,
        le=MOST_CALLS,
        description="It never opens before so many results are in the window (default: 10, or window.count where that is less).",
    )
    failure_rate: str | None = Field(
        default=None,
        pattern=SHARE_PATTERN,
        description='Opens where at least so many of the results are failures, as in "50%" (the default where failures is not given).',
    )
    failures: PositiveInt | None = Field(
        default=None, le=MOST_CALLS, description="Opens where at least so many results are failures, however many went well."
    )
    errors: Annotated[tuple[ErrorType, ...], Field(min_length=1, max_length=32)] = Field(
        default=("Transient", "Timeout"),
        description="Error types or classes (Transient, Permanent) that count as failures; * is any. A business error that is none of them "
        "counts as a success: whoever says no has answered.",
    )
    open_for: Duration = Field(default=timedelta(seconds=30), description="How long it stays open, from 100ms to 1d.")
    half_open: CircuitProbes = Field(default=CircuitProbes(), description="How it finds out whether calls go well again.")
    when_open: WhenOpen = Field(
        default=WhenOpen.FAIL,
        description="What becomes of an attempt that is not let through, where its step does not say. Fail: it fails with CircuitOpen at "
        "once, without a retry. Wait: it waits until it is let through.",
    )
    forced: CircuitForce | None = Field(
        default=None, description="Held at a state by a person. Without it, the breaker goes on by itself: from Open by way of HalfOpen."
    )
    reset: CircuitReset | None = Field(default=None, description="Closed by a person, once for each id.")

    @field_validator("open_for")
    @classmethod
    def _a_length(cls, value: timedelta) -> timedelta:
        return _sensible(value)

    @model_validator(mode="after")
    def _can_open(self) -> "CircuitBreakerSpec":
        most = self.window.count
        if self.failure_rate is not None and self.failures is not None:
            raise ValueError("give failureRate or failures, not both")
        for name, wanted in (("minimumCalls", self.minimum_calls), ("failures", self.failures)):
            if most is not None and wanted is not None and wanted > most:
                raise ValueError(f"{name} is {wanted}, and the window holds {most} results: it would never open; raise window.count")
        return self

    @property
    def calls_needed(self) -> int:
        """How many results must be in the window before it opens."""
        if self.minimum_calls is not None:
            return self.minimum_calls
        wanted = self.failures if self.failures is not None else MINIMUM_CALLS
        return min(wanted, self.window.count or wanted)


class CircuitError(Model):
    """The latest failure."""

    type: str = Field(description="The type of the error.")
    detail: Text = Field(default="", description="What was found.")
    run: str = Field(default="", description="Name of the run.")
    step: str = Field(default="", description="Path of the step.")
    attempt: int = Field(default=0, description="The attempt.")
    at: datetime | None = Field(default=None, description="When.")


class CircuitProbe(Model):
    """An attempt that was let through to find out."""

    run: str = Field(description="Name of the run.")
    uid: str = Field(description="UID of the run.")
    step: str = Field(description="Path of the step.")
    attempt: int = Field(default=0, description="The attempt.")
    since: datetime = Field(description="Since when.")


class CircuitBreakerStatus(Model):
    """Where the breaker stands. Written by the operator alone: at every change of state, and every few seconds where only counts have changed."""

    observed_generation: int = Field(default=-1, description="The metadata.generation that this status speaks of.")
    state: CircuitState = Field(default=CircuitState.CLOSED, description="Closed, Open or HalfOpen.")
    forced: bool = Field(default=False, description="Whether a person holds it at this state.")
    since: datetime | None = Field(default=None, description="Since when it is in this state.")
    open_until: datetime | None = Field(default=None, description="When probes are let through, of one that is open.")
    transitions: int = Field(default=0, description="How often its state has changed.")
    calls: int = Field(default=0, description="How many results are in the window.")
    failures: int = Field(default=0, description="How many of them are failures.")
    failed: str = Field(default="", description='Failures of results, as in "12/20".')
    counted_at: datetime | None = Field(default=None, description="When these were counted.")
    probes: tuple[CircuitProbe, ...] = Field(default=(), description="The attempts that are let through at the moment to find out.")
    succeeded: int = Field(default=0, description="How many probes have gone well since it is half open.")
    reset: str = Field(default="", description="The id of the latest reset that was done.")
    last_error: CircuitError | None = Field(default=None, description="The latest failure that counted.")
    conditions: tuple[Condition, ...] = Field(
        default=(), description="Ready: the operator has taken the spec in, and it can be used. Closed: attempts are let through."
    )


def share_of(percentage: str) -> float:
    """Return a percentage such as "50%" as a share of 1."""
    return int(percentage.removesuffix("%")) / 100
