"""A step that undoes a part of what the run has done, so that it can go on another way (partial rollback, forward recovery)."""

from pydantic import Field, model_validator

from backstay.api.base import Model, Name


class UndoAction(Model):
    """Undo completed steps while the run goes on, the last one first; without `to` and `within`, all of them so far."""

    to: Name | None = Field(
        default=None,
        description="A savepoint: any step before this one, of this list or of one around it. What was completed after it is undone, it itself not.",
    )
    within: Name | None = Field(
        default=None,
        description="A step before this one, or around it: it is undone, or what was completed inside it, and nothing else.",
    )

    @model_validator(mode="after")
    def _at_most_one(self) -> "UndoAction":
        if self.to is not None and self.within is not None:
            raise ValueError("give to (back to a savepoint) or within (one step and what is inside it), not both")
        return self
