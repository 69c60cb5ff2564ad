"""Which names an expression sees besides those that are always there, and what has to come of it: one row a structure or action.

A field that has no row is looked at as any other: it sees what its step sees, and may give anything.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from backstay.api.actions.child import RecoveryWorkflow
from backstay.api.actions.http import HttpAction, HttpError
from backstay.api.actions.iteration import ForEach, While
from backstay.api.actions.resource import OBJECT, ResourceAction, ResourceWait
from backstay.api.actions.structures import Case
from backstay.api.actions.transaction import Participant, PhaseAction
from backstay.api.steps import Compensate, Step, WaitAction

if TYPE_CHECKING:
    from backstay.api.validate.places import Listing


@dataclass(frozen=True)
class Extra:
    """A name that is there in some places only, and where what it stands for comes from: `kind` says how to find its type."""

    name: str
    kind: str
    """error, self, item, count (a whole number), response, or any."""
    step: Step | None = None
    listing: "Listing | None" = None
    index: int = 0


CONDITION: Final = "condition"
DURATION: Final = "duration"
MOMENT: Final = "moment"
ITEMS: Final = "items"
LIST: Final = "list"
COUNT: Final = "count"
VALUE: Final = ""


@dataclass(frozen=True)
class Sees:
    """How one field is looked at: what has to come of it, whether it sees the steps inside, and the names that only it sees."""

    gives: str = VALUE
    inside: bool = False
    watches: bool = False
    """Whether it is looked at again and again while other steps go on."""
    names: tuple[tuple[str, str], ...] = ()
    """Names and how to find their types (see `Extra.kind`)."""


_COUNTS: Final = (("done", "count"), ("failed", "count"), ("total", "count"))
_OBJECT: Final = ((OBJECT, "any"),)
_RESPONSE: Final = (("response", "response"),)
_ATTEMPT: Final = (("attempt", "count"), ("lastError", "error"))
_INDEX: Final = (("index", "count"),)
_FIRST: Final = (("self", "first phase"),)
_LAST: Final = (("self", "last phase"),)
_ALL: Final = (*_LAST, ("participants", "participants"))

_WORKING: Final = ("job", "http", "resource", "workflow")
"""Kinds of work whose action is resolved for each attempt."""

FIELDS: Final[dict[tuple[type, str], Sees]] = {
    (Step, "if_"): Sees(CONDITION),
    **{(RecoveryWorkflow, field): Sees(names=(("error", "error"), ("state", "any"))) for field in ("name", "version", "params")},
    (Case, "when"): Sees(CONDITION),
    (WaitAction, "duration"): Sees(DURATION),
    (WaitAction, "until"): Sees(MOMENT),
    (WaitAction, "condition"): Sees(CONDITION, watches=True),
    (ForEach, "in_"): Sees(ITEMS),
    (ForEach, "count"): Sees(COUNT),
    (ForEach, "complete_when"): Sees(CONDITION, names=_COUNTS),
    (ForEach, "until"): Sees(CONDITION, names=_COUNTS),
    (ForEach, "collect"): Sees(inside=True),
    (ForEach, "add"): Sees(LIST, inside=True),
    (While, "condition"): Sees(CONDITION, names=_INDEX),
    (While, "until"): Sees(CONDITION, inside=True),
    (ResourceAction, "until"): Sees(CONDITION, names=_OBJECT),
    (ResourceAction, "fail_when"): Sees(CONDITION, names=_OBJECT),
    (ResourceAction, "outputs"): Sees(names=_OBJECT),
    (ResourceWait, "condition"): Sees(CONDITION, names=_OBJECT),
    (ResourceWait, "fail_when"): Sees(CONDITION, names=_OBJECT),
    **{
        (model, field): Sees(names=_ATTEMPT)
        for model in (Step, Compensate, PhaseAction)
        for field in _WORKING
        if field in model.model_fields
    },
    (HttpAction, "output"): Sees(names=_RESPONSE),
    (HttpError, "when"): Sees(CONDITION, names=_RESPONSE),
    (HttpError, "message"): Sees(names=_RESPONSE),
    (Participant, "prepare"): Sees(names=_FIRST),
    (Participant, "try_"): Sees(names=_FIRST),
    (Participant, "commit"): Sees(names=_ALL),
    (Participant, "confirm"): Sees(names=_ALL),
    (Participant, "abort"): Sees(names=_LAST),
    (Participant, "cancel"): Sees(names=_LAST),
}
"""By model and field (its name in Python). The names of a field that is a model go for all that is in it."""

INSIDE: Final[dict[type, Callable[[Any], tuple[tuple[str, str], ...]]]] = {
    ForEach: lambda action: tuple((name, "item") for name in dict.fromkeys(("item", action.as_))) + _INDEX,
    While: lambda _: _INDEX,
}
"""By model: the names that the steps inside it see, and how to find their types."""


def sees(owner: object, field: str) -> Sees:
    """Return how a field of a model is looked at."""
    return FIELDS.get((type(owner), field), Sees())


def names_inside(owner: object, listing: "Listing", index: int) -> tuple[Extra, ...]:
    """Return the names that the steps inside a structure see, which is the step `index` of a list."""
    given = INSIDE.get(type(owner))
    step = listing.steps[index]
    return tuple(Extra(name, kind, step, listing, index) for name, kind in given(owner)) if given else ()
