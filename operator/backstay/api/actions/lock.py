"""lock: a modifier of any step, which then begins only when it holds a slot of a semaphore, and keeps it until it has ended."""

from enum import StrEnum
from typing import Final

from pydantic import Field

from backstay.api.base import Duration, Model, Name, Text

MAX_KEY_LENGTH: Final = 253


class LockScope(StrEnum):
    """Whom a lock keeps apart."""

    NAMESPACE = "Namespace"
    RUN = "Run"


class Lock(Model):
    """Begin the step only when it holds a slot, and give the slot back when the step has ended in any way, its handlers included."""

    name: Name = Field(
        description="Name of a Semaphore of the run's namespace. Where there is none, one with a single slot for each key is made."
    )
    key: Text = Field(
        default="",
        description="Which of its slots: those of different keys have nothing to do with each other. May hold expressions in ${ }.",
    )
    scope: LockScope = Field(
        default=LockScope.NAMESPACE,
        description="Namespace: all runs of the namespace share the slots. Run: only the steps of this run keep out of each other's way, "
        "one at a time for each name and key; no Semaphore is needed.",
    )
    timeout: Duration | None = Field(
        default=None,
        description="How long to wait for the slot; then the step fails with LockTimeout. Its own timeout counts from when it has it.",
    )
