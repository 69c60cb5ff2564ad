"""Semaphore: slots that steps of different runs share; and the limits of a Workflow, which are kept in the same way."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from pydantic import Field, PositiveInt, model_validator

from backstay.api.base import Duration, Model, Text
from backstay.expressions.words import quoted

MOST_SLOTS: Final = 1000
SHORTEST_RATE: Final = timedelta(milliseconds=100)
LONGEST_RATE: Final = timedelta(days=1)


class Rate(Model):
    """How many may begin within any stretch of time of a length, however soon they end."""

    limit: PositiveInt = Field(le=MOST_SLOTS, description="How many may begin, for each key.")
    per: Duration = Field(description="Within how long, from 100ms to 1d, as in 1m.")

    @model_validator(mode="after")
    def _a_length(self) -> "Rate":
        if not SHORTEST_RATE <= self.per <= LONGEST_RATE:
            raise ValueError(f"per is {quoted(self.to_json()['per'])}; write a duration from 100ms to 1d")
        return self


class SemaphoreSpec(Model):
    """How many steps may go on at the same time, or begin within a time, for each key."""

    description: Text | None = Field(default=None, description="What it protects, in words.")
    limit: int | None = Field(
        default=None,
        ge=0,
        le=MOST_SLOTS,
        description="How many may hold it at the same time, for each key. 0 holds everybody back. Without it only the rate counts.",
    )
    rate: Rate | None = Field(default=None, description="How many may begin within a time, for each key.")

    @model_validator(mode="after")
    def _a_limit(self) -> "SemaphoreSpec":
        if self.limit is None and self.rate is None:
            raise ValueError("limits nothing; give limit, rate, or both")
        return self


class SemaphoreHolder(Model):
    """One who holds a slot."""

    key: str = Field(default="", description="Which of the slots.")
    run: str = Field(description="Name of the run.")
    uid: str = Field(description="UID of the run.")
    step: str = Field(default="", description="Path of the step; empty for a run as a whole.")
    since: datetime = Field(description="Since when.")


class SemaphoreWaiter(SemaphoreHolder):
    """One who waits for a slot."""

    priority: int = Field(default=0, description="A level more is worth a minute of waiting.")


class SemaphoreStarts(Model):
    """Starts that still count towards the rate."""

    key: str = Field(default="", description="Of which key.")
    at: datetime = Field(description="When; of several that are counted as one, the latest moment.")
    count: int = Field(default=1, description="How many.")


class SemaphoreStatus(Model):
    """Who holds it and who waits. Written by the operator alone."""

    observed_generation: int = Field(default=-1, description="The metadata.generation that this status speaks of.")
    held: int = Field(default=0, description="How many slots are held, over all keys.")
    queued: int = Field(default=0, description="How many wait, over all keys.")
    holders: tuple[SemaphoreHolder, ...] = Field(default=(), description="Who holds it.")
    waiting: tuple[SemaphoreWaiter, ...] = Field(default=(), description="Who waits, in the order of their turns: the first 50 of them.")
    starts: tuple[SemaphoreStarts, ...] = Field(default=(), description="The starts that count towards the rate.")


class OnConflict(StrEnum):
    """What becomes of a run beyond the limit of its workflow."""

    QUEUE = "Queue"
    REFUSE = "Refuse"
    CANCEL_OLDEST = "CancelOldest"


class Concurrency(Model):
    """How many runs of a workflow go on at the same time, or begin within a time. It is the Workflow's own that counts, not a revision's."""

    limit: PositiveInt | None = Field(default=None, le=MOST_SLOTS, description="How many runs may go on at the same time, for each key.")
    key: Text = Field(
        default="", description="Which runs count together, as in ${ params.customer }; all of them where it is empty. Sees params and run."
    )
    rate: Rate | None = Field(default=None, description="How many runs may begin within a time, for each key.")
    on_conflict: OnConflict = Field(
        default=OnConflict.QUEUE,
        description="What becomes of a run beyond the limit. Queue: it waits for its turn. Refuse: it fails with ConcurrencyLimit. "
        "CancelOldest: the oldest runs of its key are cancelled, as many as are too many, and it begins when they have ended.",
    )

    @model_validator(mode="after")
    def _a_limit(self) -> "Concurrency":
        if self.limit is None and self.rate is None:
            raise ValueError("limits nothing; give limit, rate, or both")
        if self.limit is None and self.on_conflict is OnConflict.CANCEL_OLDEST:
            raise ValueError("CancelOldest needs a limit: cancelling makes no room under a rate")
        return self
