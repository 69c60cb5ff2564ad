"""boundary: events at the edge of a step, which may happen while it goes on; and `escalate`, which raises one kind of them from inside."""

from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field, model_validator

from backstay.api.base import JsonObject, Model, Name, Text

if TYPE_CHECKING:
    from backstay.api.steps import Steps, WaitAction

ESCALATION: Final = "escalation"
ANY_CODE: Final = "*"
_CODE: Final = r"[A-Za-z][A-Za-z0-9._-]*"

Code = Annotated[str, Field(pattern=rf"^{_CODE}$", min_length=1, max_length=63)]
"""What an escalation is called."""
HeardCode = Annotated[str, Field(pattern=rf"^({_CODE}|\*)$", min_length=1, max_length=63)]
"""What an escalation that is heard is called; * is any."""


class Boundary(Model):
    """One event at the edge of a step, and the steps for when it happens while the step goes on."""

    name: Name | None = Field(default=None, description="Its name in paths, as in pack:boundary-late; its position where it has none.")
    interrupting: bool = Field(
        default=True,
        description="Stop the step, then run these steps in its place. false: run them beside the step, which does not end before they have.",
    )
    wait: "WaitAction | None" = Field(
        default=None,
        description="Happens when the time has passed since the step began, or the condition is true. Once.",
    )
    escalation: HeardCode | None = Field(
        default=None, description="Happens when an escalate step inside raises this code; * is any. Where it does not interrupt: each time."
    )
    steps: "Steps" = Field(description="The steps for when it happens, in order. Those of an escalation see it as escalation.")
    outputs: JsonObject | None = Field(
        default=None,
        description="Of one that interrupts: what the step produced after all, once these steps have succeeded, seen as steps.NAME.outputs. "
        "Values may hold expressions.",
    )

    @model_validator(mode="after")
    def _one_event(self) -> "Boundary":
        given = [name for name in EVENTS if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"has {' and '.join(given)}" if given else "has no event"
            raise ValueError(f"{found}; give exactly one of {', '.join(EVENTS)}")
        if self.outputs is not None and not self.interrupting:
            raise ValueError("outputs go with an event that interrupts: one that does not leaves the step's own outputs as they are")
        return self

    @property
    def kind(self) -> str:
        """Which event it is: the name of its field."""
        return next(name for name in EVENTS if getattr(self, name) is not None)

    @property
    def event(self) -> Any:
        """The model of its event, or the code of the escalation."""
        return getattr(self, self.kind)


EVENTS: Final = ("wait", ESCALATION)
"""The fields of `Boundary` that are events."""


def called(boundary: Boundary, index: int) -> str:
    """Return how a boundary event is called in paths: by its name, or its position."""
    return str(index) if boundary.name is None else f"-{boundary.name}"


class EscalateAction(Model):
    """Tell whoever is around that something needs attention, and go on. No error: where nobody hears it, nothing happens."""

    code: Code = Field(description="What it is called: a boundary event of a step around this one hears it by this name, as in STUCK.")
    message: Text = Field(default="", description="Words for people; may hold expressions in ${ }.")
