"""Every place where a workflow may hold expressions, and what they see there. Read from the models: any value of an action may hold some."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from backstay.api.actions.boundary import Boundary
from backstay.api.policies import Catch
from backstay.api.steps import Step
from backstay.api.validate import sees
from backstay.api.validate.latest import kept_for_the_latest
from backstay.api.validate.places import (
    ALWAYS,
    NOWHERE,
    Home,
    Inner,
    Leaf,
    Level,
    Listing,
    bodies_of,
    edge_of,
    handler_of,
    inside_of,
    listings,
    model_parts,
    parts_of,
    undoing,
)
from backstay.api.validate.sees import CONDITION, Extra
from backstay.api.workflow import WorkflowSpec

_NO_MODIFIERS: Final = (
    *("name", "description", "if_", "depends_on", "catch", "boundary", "compensate", "outputs"),
    *(
        name
        for name, field in Step.model_fields.items()
        if isinstance(field.json_schema_extra, dict) and "x-backstay-action" in field.json_schema_extra
    ),
)
"""Fields of a step that are no modifiers, or that are looked at by themselves."""
_OF_WORKFLOW: Final = ("description", "parameters", "defaults", "on_failure", "catch", "finally_", "steps", "dag", "outputs", "templates")
"""Fields of a workflow that hold no expressions of their own."""


@dataclass(frozen=True)
class Site:
    """One value that may hold expressions: where it is, what they see there, and what has to come of it."""

    path: str
    value: Any
    levels: tuple[Level, ...]
    extra: tuple[Extra, ...] = ()
    home: Home = NOWHERE
    gives: str = ""
    """What has to come of it: one of the words of `sees.py`."""
    sets_variables: bool = False
    """Whether it is what a `set` step gives its variables."""

    @property
    def names(self) -> tuple[str, ...]:
        """The variables that are there besides those that always are."""
        return tuple(dict.fromkeys(extra.name for extra in self.extra))

    @property
    def variables(self) -> tuple[str, ...]:
        """All variables that are there."""
        return (*ALWAYS, *self.names)


@kept_for_the_latest
def sites(spec: WorkflowSpec) -> Iterator[Site]:
    """Return every value that may hold expressions, in the order of the manifest as far as steps go; then the outputs."""
    for listing in listings(spec):
        for index, step in enumerate(listing.steps):
            yield from _of_step(step, listing, index)
    for body, path, owner in bodies_of(spec):
        outside = Site(path, None, (), (), body.home)
        if isinstance(owner, WorkflowSpec):
            yield from (_of_leaf(part, outside) for part in model_parts(owner, "", _OF_WORKFLOW) if isinstance(part, Leaf))
            at_the_end = replace(outside, levels=body.everything())
            yield from _of_catches(owner.catch, "catch", body, body.everything())
            yield from (_of_leaf(part, at_the_end) for part in model_parts(owner.on_failure, "onFailure") if isinstance(part, Leaf))
        for index, output in enumerate(owner.outputs):
            place = f"{path}.outputs[{index}].value" if path else f"outputs[{index}].value"
            yield replace(outside, path=place, value=output.value, levels=body.everything())


def _of_step(step: Step, listing: Listing, index: int) -> Iterator[Site]:
    path = listing.place(index)
    here = Site(path, None, listing.levels(index), listing.extra, listing.home)
    if step.if_ is not None:
        yield replace(here, path=f"{path}.if", value=step.if_, gives=CONDITION)
    parts = list(parts_of(step, path))
    inner = {id(part.owner): part for part in parts if isinstance(part, Inner)}
    for part in parts:
        if isinstance(part, Leaf):
            yield _of_leaf(part, here, listing, index, inner.get(id(part.owner)))
    yield from (_of_leaf(part, here, listing, index) for part in model_parts(step, path, _NO_MODIFIERS) if isinstance(part, Leaf))
    yield from _of_catches(step.catch, f"{path}.catch", listing, listing.levels(index, with_itself=True))
    for number, event in enumerate(step.boundary):
        yield from _of_edge(event, f"{path}.boundary[{number}]", listing, index)
    if step.compensate is not None:
        place = replace(here, levels=listing.everything(), extra=(*listing.extra, *undoing(step, listing, index)))
        for part in model_parts(step.compensate, f"{path}.compensate"):
            if isinstance(part, Leaf):
                yield _of_leaf(part, place, listing, index)


def _of_catches(catches: tuple[Catch, ...], path: str, listing: Listing, outer: tuple[Level, ...]) -> Iterator[Site]:
    """What a catch looks at before its steps, and what it gives after them."""
    for index, catch in enumerate(catches):
        inner = handler_of(catch, f"{path}[{index}]", listing, outer)
        here = Site(f"{path}[{index}]", None, outer, inner.extra, listing.home)
        if catch.when is not None:
            yield replace(here, path=f"{here.path}.when", value=catch.when, gives=CONDITION)
        if catch.outputs is not None:
            yield replace(here, path=f"{here.path}.outputs", value=catch.outputs, levels=inner.all_of_it())


def _of_edge(event: Boundary, path: str, listing: Listing, index: int) -> Iterator[Site]:
    """What a boundary event waits for, and what it gives after its steps."""
    inner = edge_of(event, path, listing, index)
    here = Site(path, None, inner.outer, listing.extra, listing.home)
    yield from (_of_leaf(part, here) for part in model_parts(event, path, ("steps", "outputs")) if isinstance(part, Leaf))
    if event.outputs is not None:
        yield replace(here, path=f"{path}.outputs", value=event.outputs, levels=inner.all_of_it(), extra=inner.extra)


def _of_leaf(leaf: Leaf, here: Site, listing: Listing | None = None, index: int = 0, inner: Inner | None = None) -> Site:
    """Return a value of an action as it is looked at: see `sees.FIELDS`."""
    look = sees.sees(leaf.owner, leaf.field)
    extra = tuple(
        Extra(name, kind, None if listing is None else listing.steps[index], listing, index) for name, kind in (*look.names, *leaf.names)
    )
    is_set = leaf.field == "set" and isinstance(leaf.owner, Step)
    site = replace(here, path=leaf.path, value=leaf.value, gives=look.gives, extra=(*extra, *here.extra), sets_variables=is_set)
    if look.watches:
        site = replace(site, levels=tuple(replace(level, watches=True) for level in site.levels))
    if look.inside and inner is not None and listing is not None:
        inside = inside_of(listing, index, inner)
        return replace(site, levels=inside.all_of_it(), extra=inside.extra)
    return site
