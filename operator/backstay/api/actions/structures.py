"""Steps that consist of other steps: dags, branches at the same time, cases."""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from backstay.api.base import (
    ANY_JSON,
    NAME_PATTERN,
    Expression,
    Model,
    Name,
    unique,
)
from backstay.expressions.words import quoted

if TYPE_CHECKING:
    from backstay.api.steps import Steps

PERCENTAGE = "([1-9][0-9]?|100)%"
DEFAULT_CASE: Final = "default"
"""What the steps where no case is true are called in paths."""


class Awaited(StrEnum):
    """How a step of a dag must end for another one that depends on it to begin."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    DONE = "Done"


class Dependency(Model):
    """What a step of a dag waits for. A bare name stands for one that must succeed."""

    step: Name = Field(description="The step of the same dag.")
    outcome: Awaited = Field(
        default=Awaited.SUCCEEDED,
        description="How it must end: Succeeded (or be skipped by its own if), Failed, Skipped, or Done, which is any of these.",
    )


def _dependency(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not re.fullmatch(NAME_PATTERN, value) or len(value) > 63:
        raise ValueError(f"{quoted(value)} is no name; write lower-case letters, digits and dashes, as in card-check")
    return Dependency(step=value)


def _written_dependency(value: Dependency) -> Any:
    return value.step if value.outcome is Awaited.SUCCEEDED else {"step": value.step, "outcome": str(value.outcome)}


Dependencies = tuple[
    Annotated[Dependency, BeforeValidator(_dependency), PlainSerializer(_written_dependency), WithJsonSchema(ANY_JSON)],
    ...,
]
"""What a step of a dag waits for: names, or names with an outcome."""


class Dag(Model):
    """Steps that start as soon as those they depend on have ended as they should."""

    fail_fast: bool = Field(
        default=True,
        description="Stop the other steps at the first failure that no step deals with; false lets those go on that do not depend on it.",
    )
    steps: "Steps" = Field(description="The steps; dependsOn says what each one waits for.")


class Branch(Model):
    """One of several lists of steps that run at the same time."""

    name: Name = Field(description="Its name, unique among the branches.")
    steps: "Steps" = Field(description="Its steps, in order.")


class Parallel(Model):
    """Branches that run at the same time, and how many of them are awaited."""

    join: int | str = Field(
        default="All",
        description='How many branches must succeed: All, Any, a number, or a percentage such as "50%".',
        json_schema_extra={"x-kubernetes-int-or-string": True, "pattern": f"^(All|Any|{PERCENTAGE})$"},
    )
    cancel_rest: bool = Field(
        default=True,
        description="Stop the other branches once enough have succeeded; false lets them go on while what follows begins. "
        "The list of steps around it ends when they have ended, too.",
    )
    branches: Annotated[tuple[Branch, ...], unique("branch", lambda item: item.name)] = Field(
        min_length=1, max_length=500, description="The branches."
    )

    @model_validator(mode="after")
    def _join_can_be_met(self) -> "Parallel":
        self.needed()
        return self

    def needed(self) -> int:
        """Return how many branches must succeed. Raises ValueError where the join can never be met."""
        count = len(self.branches)
        if self.join == "All":
            return count
        if self.join == "Any":
            return 1
        if isinstance(self.join, str):
            if not re.fullmatch(PERCENTAGE, self.join):
                raise ValueError(f'{quoted(self.join)} is no join; write All, Any, a number of branches, or a percentage such as "50%"')
            return -(-count * int(self.join[:-1]) // 100)
        if isinstance(self.join, bool) or not 1 <= self.join <= count:
            raise ValueError(f"join {self.join} can never be met with {count} branch{'es' * (count > 1)}; write a number from 1 to {count}")
        return self.join


class Case(Model):
    """A condition and the steps for it."""

    name: Name | None = Field(default=None, description="Its name in paths; its position where it has none.")
    when: Expression = Field(description="A condition in ${ }; the first case that is true is taken, or every one, as mode says.")
    steps: "Steps" = Field(description="The steps for this case.")


class SwitchMode(StrEnum):
    """How many cases are taken."""

    FIRST = "First"
    EVERY = "Every"


class Switch(Model):
    """One of several ways, or every one that is open."""

    mode: SwitchMode = Field(
        default=SwitchMode.FIRST,
        description="First: the first case that is true. Every: all that are true, at the same time; the step ends when all of them have.",
    )
    cases: tuple[Case, ...] = Field(min_length=1, max_length=500, description="The cases, tried in order.")
    default: "Steps | None" = Field(default=None, description="The steps where no case is true; nothing happens where it is missing.")

    @model_validator(mode="after")
    def _cases_told_apart(self) -> "Switch":
        told_apart("case", [case.name for case in self.cases], [DEFAULT_CASE])
        return self


def told_apart(what: str, given: Sequence[str | None], taken: Sequence[str] = ()) -> None:
    """Raise ValueError where two of several have the same name; one without a name is called by its position."""
    names = [*taken, *(name or str(index) for index, name in enumerate(given))]
    for name in given:
        if name is not None and names.count(name) > 1:
            raise ValueError(
                f"two are called {quoted(name)} (a {what} without a name is called by its position); give each {what} a name of its own"
            )
