"""Steps that say where the run goes on: at another step, or no further in one that goes on."""

from typing import Annotated, Final

from pydantic import Field, PositiveInt

from backstay.api.base import Model, Name

MOST_VISITS: Final = 1000
TARGET_PATTERN: Final = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(/[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"

Target = Annotated[str, Field(pattern=TARGET_PATTERN, min_length=1, max_length=512)]
"""A step of this list or of one around it, and from there on down: `quotes/north/ask` is step ask of branch north of quotes."""


class GotoAction(Model):
    """Go on at another step, before this one or after it. What is left behind is stopped first."""

    step: Name = Field(description="The step to go on at: one of this list, or of a list around it.")
    max_visits: PositiveInt = Field(
        default=100,
        le=MOST_VISITS,
        description="How often that step may be begun at most (default 100); once more is the error LimitExceeded.",
    )


class CancelAction(Model):
    """Cancel a step that goes on, with all that is in it. The run goes on after that step; what was completed in it stays done."""

    step: Target = Field(
        description="A step of this list or of one around it, as in quotes, or one further in, as in quotes/north/ask. "
        "Where it does not go on, nothing happens."
    )
    compensate: bool = Field(
        default=False,
        description="Undo what was completed in it before the run goes on after it; and the step itself, where it may have been done.",
    )
