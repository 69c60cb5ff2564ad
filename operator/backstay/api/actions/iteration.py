"""Steps that are run again and again: for each item, or for as long as a condition holds."""

import re
from typing import TYPE_CHECKING, Final

from pydantic import Field, PositiveInt, model_validator

from backstay.api.base import Expression, Identifier, Json, Model
from backstay.expressions.words import quoted

if TYPE_CHECKING:
    from backstay.api.steps import Steps

PERCENTAGE: Final = r"(0|[1-9][0-9]?|100)%"
MOST_ITEMS: Final = 100_000
MOST_ITERATIONS: Final = 1_000_000
RESERVED: Final = frozenset({"params", "vars", "run", "steps", "index", "error", "self", "attempt", "lastError"})


class ForEach(Model):
    """The same steps for every item of a list or map, several items at a time."""

    in_: Json = Field(
        default=None,
        alias="in",
        description='The items: a list, or a map (then each item has key and value), mostly an expression, as in "${ params.lines }".',
    )
    count: int | Expression | None = Field(
        default=None,
        description="So many iterations instead of items; item and index are the number, from 0.",
        json_schema_extra={"x-kubernetes-int-or-string": True},
    )
    as_: Identifier = Field(default="item", alias="as", description="What expressions inside call the item, besides `item`.")
    parallelism: PositiveInt = Field(
        default=10, le=1000, description="How many iterations go on at the same time; 1 for one after the other."
    )
    tolerate: int | str = Field(
        default=0,
        description='How many iterations may fail, as a number or a percentage such as "10%"; one more fails the step.',
        json_schema_extra={"x-kubernetes-int-or-string": True, "pattern": f"^({PERCENTAGE})$"},
    )
    complete_when: Expression | None = Field(
        default=None,
        description="Checked whenever an iteration has ended; where it is true, the step succeeds and the rest is stopped. Sees done, failed, total.",
    )
    collect: Json = Field(
        default=None,
        description="What each iteration leaves behind, evaluated inside it; steps.NAME.outputs.items is the list of them, in order.",
    )
    add: Expression | None = Field(
        default=None, description="Items that an iteration has found: a list, evaluated inside it when it has succeeded; they are run, too."
    )
    until: Expression | None = Field(
        default=None, description="Stay open for more items, which people or programs add from outside, until this is true."
    )
    max_items: PositiveInt = Field(default=10_000, le=MOST_ITEMS, description="More items than this are an error (default 10,000).")
    steps: "Steps" = Field(description="The steps for one item.")

    @model_validator(mode="after")
    def _one_source(self) -> "ForEach":
        given = [name for name, field in (("in", "in_"), ("count", "count")) if field in self.model_fields_set]
        if len(given) != 1 or getattr(self, {"in": "in_", "count": "count"}[given[0]]) is None:
            raise ValueError("give exactly one of in (the items) and count (how many)")
        if "in_" in self.model_fields_set and not isinstance(self.in_, str | list | dict):
            raise ValueError(f"in: {quoted(self.in_)} is neither a list nor a map nor an expression")
        if isinstance(self.count, bool) or (isinstance(self.count, int) and self.count < 0):
            raise ValueError(f"count: {quoted(self.count)} is no number of iterations; write 0 or more, or an expression")
        if self.as_ in RESERVED:
            raise ValueError(f"as: {quoted(self.as_)} means something else already; choose another name")
        self.tolerated(1)
        return self

    def tolerated(self, total: int) -> int:
        """Return how many of `total` iterations may fail. Raises ValueError where `tolerate` cannot be read."""
        if isinstance(self.tolerate, str):
            if not re.fullmatch(PERCENTAGE, self.tolerate):
                raise ValueError(f'tolerate: {quoted(self.tolerate)} is neither a number nor a percentage; write 3 or "10%"')
            return total * int(self.tolerate[:-1]) // 100
        if isinstance(self.tolerate, bool) or self.tolerate < 0:
            raise ValueError(f'tolerate: {quoted(self.tolerate)} is neither a number nor a percentage; write 3 or "10%"')
        return self.tolerate


class While(Model):
    """The same steps again and again: while a condition holds, or until one does."""

    condition: Expression | None = Field(
        default=None,
        description="Looked at before each iteration, which begins where it is true. Sees vars and index, not the steps inside.",
    )
    until: Expression | None = Field(
        default=None, description="Looked at after each iteration, inside it: where it is true, no other follows. Sees the steps inside."
    )
    max_iterations: PositiveInt = Field(
        default=1000, le=MOST_ITERATIONS, description="More iterations than this are the error LimitExceeded (default 1,000)."
    )
    steps: "Steps" = Field(description="The steps of one iteration.")

    @model_validator(mode="after")
    def _one_condition(self) -> "While":
        if (self.condition is None) == (self.until is None):
            raise ValueError("give exactly one of condition (looked at before each iteration) and until (looked at after it)")
        return self
