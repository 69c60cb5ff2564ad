"""Every list of steps of a workflow, where it is, and which steps come before which. Read from the models: any field that holds steps is a list."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache, cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from backstay.api.actions.boundary import ESCALATION, Boundary
from backstay.api.actions.structures import Dag
from backstay.api.base import Model
from backstay.api.policies import Catch
from backstay.api.steps import Step, actions
from backstay.api.validate.latest import kept_for_the_latest
from backstay.api.validate.sees import Extra, names_inside, sees
from backstay.api.workflow import Parameter, Template, WorkflowSpec

ALWAYS: Final = ("params", "vars", "run", "steps")
"""Variables that every expression sees; `engine/scopes.py` binds them."""
_STRUCTURES: Final = frozenset(actions(Step, "structure"))
_IN_WORDS: Final = frozenset(("description",))
"""Fields that are for people and are never evaluated."""


@dataclass(frozen=True)
class Home:
    """What the lists of steps of one body share: the workflow's, or that of one of its templates."""

    parameters: tuple[Parameter, ...] = ()
    path: str = ""
    """Where the body is: empty for the workflow's own."""


NOWHERE: Final = Home()


@dataclass(frozen=True)
class Listing:
    """A list of steps at `path`, as in `steps[1].parallel.branches[0].steps`."""

    path: str
    steps: tuple[Step, ...]
    outer: "tuple[Level, ...]" = ()
    """What its expressions see of the lists around it, innermost first."""
    extra: tuple[Extra, ...] = ()
    """Variables besides those always there: what a catch calls its error; `self` and `error` in a compensation; `item` and `index`."""
    is_dag: bool = False
    depth: int = 1
    home: Home = NOWHERE
    is_finally: bool = False
    handles: bool = False
    """Whether it is the list of a catch."""
    edge: "Boundary | None" = None
    """The boundary event that it is the list of."""

    def place(self, index: int) -> str:
        """Return the path of one step."""
        return f"{self.path}[{index}]"

    @cached_property
    def index_of(self) -> dict[str, int]:
        """Where each step is, by name."""
        return {step.name: index for index, step in enumerate(self.steps)}

    @property
    def order(self) -> tuple[str, ...]:
        """The names of a dag's steps, each after those it depends on; empty where they go round in a circle."""
        return self._sorted[0]

    @cached_property
    def cycle(self) -> tuple[str, ...]:
        """The names of a cycle in a dag, the first one again at the end; empty where there is none."""
        return self._sorted[1]

    def comes_before(self, first: int, second: int) -> bool:
        """Tell whether a step must be done when another begins: above it in a list, a dependency of it, however far, in a dag."""
        if not self.is_dag:
            return first < second
        return bool(self.cycle) or bool(self._before[second] >> first & 1)

    def may_have_run(self, first: int, second: int) -> bool:
        """Tell whether a step may be done when another begins: one that comes before it, or any of a list that a goto goes round in."""
        return self.comes_before(first, second) or any(back <= second <= jump for back, jump in self.laps if back <= first <= jump)

    @cached_property
    def laps(self) -> tuple[tuple[int, int], ...]:
        """The ways back in this list: from which step a goto goes back to which; the earlier one first."""
        if self.is_dag:
            return ()
        jumps = (
            (self.index_of[target], index) for index, step in enumerate(self.steps) for target in jumps_of(step) if target in self.index_of
        )
        return tuple((target, index) for target, index in jumps if target <= index)

    def levels(self, index: int, *, with_itself: bool = False) -> "tuple[Level, ...]":
        """Return what an expression at the step `index` sees, innermost list first; a handler sees the step that failed as well."""
        return (Level(self, index, with_itself), *self.outer)

    @property
    def in_finally(self) -> bool:
        """Whether it is a `finally`, or a list inside one."""
        return self.is_finally or any(level.listing.is_finally for level in self.outer)

    def everything(self) -> "tuple[Level, ...]":
        """Return what a compensation sees: it may run after any step."""
        return (Level(self), *(Level(level.listing) for level in self.outer))

    def all_of_it(self) -> "tuple[Level, ...]":
        """Return what is seen once every step of this list may have run, and around it as before."""
        return (Level(self), *self.outer)

    @cached_property
    def _before(self) -> list[int]:
        """For each step of a dag a set of bits: the indexes of all it depends on. 5,000 steps take 3 MB and 20 ms."""
        before = [0] * len(self.steps)
        for name in self._sorted[0]:
            index = self.index_of[name]
            for other in self.steps[index].depends_on:
                if (position := self.index_of.get(other.step)) is not None:
                    before[index] |= before[position] | 1 << position
        return before

    @cached_property
    def _sorted(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        graph = {
            step.name: [item.step for item in step.depends_on if item.step in self.index_of and item.step != step.name]
            for step in self.steps
        }
        try:
            return tuple(TopologicalSorter(graph).static_order()), ()
        except CycleError as error:
            return (), tuple(error.args[1])


@dataclass(frozen=True)
class Level:
    """One list of steps as an expression in it, or further inside, sees it."""

    listing: Listing
    index: int | None = None
    """The step that the expression stands in; None where all steps may have run."""
    with_itself: bool = False
    watches: bool = False
    """Whether the expression is looked at again and again while other steps of a dag go on."""

    def sees(self, name: str) -> bool:
        """Tell whether a step of this list has run, or may have, when the expression is looked at."""
        other = self.listing.index_of[name]
        if self.index is None or (self.watches and self.listing.is_dag and other != self.index):
            return True
        if other == self.index and self.with_itself:
            return True
        return self.listing.may_have_run(other, self.index)


@dataclass(frozen=True)
class Inner:
    """A list of steps inside a step's action: where it is, and the part of the action that holds it."""

    path: str
    steps: tuple[Step, ...]
    owner: Any
    """The model with the list in it; the step itself for a block."""

    @property
    def is_dag(self) -> bool:
        return isinstance(self.owner, Dag)


@dataclass(frozen=True)
class Leaf:
    """A value in a step's action that is no list of steps: it may hold expressions."""

    path: str
    owner: Any
    """The model that it is a field of; the step itself for an action that is no model."""
    field: str
    """The field's name in Python."""
    value: Any
    names: tuple[tuple[str, str], ...] = ()
    """Names that the models around it add to what it sees, and how to find their types (see `Extra.kind`)."""


# ------------------------------------------------------------------------------------------------------------------- lists of steps


def body_of(spec: WorkflowSpec) -> Listing:
    """Return the outermost list of steps."""
    home = Home(spec.parameters)
    if spec.dag is not None:
        return Listing("dag.steps", spec.dag.steps, is_dag=True, home=home)
    return Listing("steps", spec.steps or (), home=home)


def bodies_of(spec: WorkflowSpec) -> Iterator[tuple[Listing, str, WorkflowSpec | Template]]:
    """Yield the outermost list of the workflow and of each of its templates, with the path and the model that they belong to."""
    yield body_of(spec), "", spec
    for index, template in enumerate(spec.templates):
        path = f"templates[{index}]"
        yield Listing(f"{path}.steps", template.steps, home=Home(template.parameters, path)), path, template


@kept_for_the_latest
def listings(spec: WorkflowSpec) -> Iterator[Listing]:
    """Return every list of steps, from the outside in, in the order of the manifest."""
    for body, _, owner in bodies_of(spec):
        yield from _with_inner(body)
        if isinstance(owner, WorkflowSpec):
            yield from _handlers(owner.catch, "catch", body, body.everything(), 1)
            yield from _finally(owner.finally_, "finally", body, body.everything(), 1)


def structures(step: Step, path: str) -> Iterator[Inner]:
    """Yield the lists of steps that a step's action holds."""
    if step.kind not in _STRUCTURES:
        return
    for part in parts_of(step, path):
        if isinstance(part, Inner):
            yield part


def parts_of(step: Step, path: str) -> Iterator[Inner | Leaf]:
    """Yield what a step's action is made of, in the order of its fields: lists of steps, and values."""
    yield from _parts(step, step.kind, step.action, f"{path}.{step.kind}")


def model_parts(model: Model, path: str, without: tuple[str, ...] = (), names: tuple[tuple[str, str], ...] = ()) -> Iterator[Inner | Leaf]:
    """Yield what a model is made of; fields that are left out go by their names in Python. `names` are what the models around it add."""
    for name, alias in _fields(type(model)):
        value = getattr(model, name)
        if value is not None and value != () and name not in without:
            yield from _parts(model, name, value, f"{path}.{alias}" if path else alias, names)


@cache
def _fields(model: type[Model]) -> tuple[tuple[str, str], ...]:
    """Return a model's fields that may hold expressions or steps: by their names in Python, and in manifests."""
    return tuple((name, field.alias or name) for name, field in model.model_fields.items() if name not in _IN_WORDS)


def _parts(owner: Any, field: str, value: Any, path: str, names: tuple[tuple[str, str], ...] = ()) -> Iterator[Inner | Leaf]:
    if isinstance(value, Model):
        yield from model_parts(value, path, names=(*sees(owner, field).names, *names))
    elif isinstance(value, tuple) and value and isinstance(value[0], Step):
        yield Inner(path, value, owner)
    elif isinstance(value, tuple) and value and isinstance(value[0], Model):
        for index, item in enumerate(value):
            yield from model_parts(item, f"{path}[{index}]", names=names)
    elif isinstance(value, (str, int, tuple, list, dict)) and not isinstance(value, Enum):
        yield Leaf(path, owner, field, value, names)


def _with_inner(listing: Listing) -> Iterator[Listing]:
    yield listing
    for index, step in enumerate(listing.steps):
        path, depth = listing.place(index), listing.depth + 1
        for inner in structures(step, path):
            yield from _with_inner(inside_of(listing, index, inner))
        yield from _handlers(step.catch, f"{path}.catch", listing, listing.levels(index, with_itself=True), depth)
        for place, event in enumerate(step.boundary):
            yield from _with_inner(edge_of(event, f"{path}.boundary[{place}]", listing, index))
        yield from _finally(step.finally_, f"{path}.finally", listing, listing.levels(index, with_itself=True), depth)
        if step.compensate is not None:
            extra = (*listing.extra, *undoing(step, listing, index))
            for part in model_parts(step.compensate, f"{path}.compensate"):
                if isinstance(part, Inner):
                    yield from _with_inner(Listing(part.path, part.steps, listing.everything(), extra, part.is_dag, depth, listing.home))


def inside_of(listing: Listing, index: int, inner: Inner) -> Listing:
    """Return a list inside the step `index` of a list, as its expressions see it."""
    extra = (*listing.extra, *names_inside(inner.owner, listing, index))
    return Listing(inner.path, inner.steps, listing.levels(index), extra, inner.is_dag, listing.depth + 1, listing.home)


def undoing(step: Step, listing: Listing, index: int) -> tuple[Extra, ...]:
    """Return what a compensation sees besides what its step sees."""
    return (Extra("self", "self", step, listing, index), Extra("error", "error"))


def _handlers(catches: tuple[Catch, ...], path: str, listing: Listing, outer: tuple[Level, ...], depth: int) -> Iterator[Listing]:
    for index, catch in enumerate(catches):
        yield from _with_inner(handler_of(catch, f"{path}[{index}]", listing, outer, depth))


def handler_of(catch: Catch, path: str, listing: Listing, outer: tuple[Level, ...], depth: int = 1) -> Listing:
    """Return the list of a catch, as its expressions see it; `listing` is the one around the step that it is at."""
    extra = (*listing.extra, Extra(catch.as_, "error"))
    return Listing(f"{path}.steps", catch.steps, outer, extra, depth=depth, home=listing.home, handles=True)


def edge_of(event: Boundary, path: str, listing: Listing, index: int) -> Listing:
    """Return the list of a boundary event of the step `index` of a list, as its expressions see it."""
    extra = listing.extra if event.escalation is None else (*listing.extra, Extra(ESCALATION, ESCALATION))
    outer = listing.levels(index, with_itself=True)
    return Listing(f"{path}.steps", event.steps, outer, extra, depth=listing.depth + 1, home=listing.home, edge=event)


def _finally(steps: tuple[Step, ...] | None, path: str, listing: Listing, outer: tuple[Level, ...], depth: int) -> Iterator[Listing]:
    if steps is not None:
        extra = (*listing.extra, Extra("ending", "ending"))
        yield from _with_inner(Listing(path, steps, outer, extra, depth=depth, home=listing.home, is_finally=True))


def asides(step: Step) -> tuple[Catch | Boundary, ...]:
    """Return the handlers and boundary events of a step: its lists that run in its place or beside it."""
    return (*step.catch, *step.boundary)


def jumps_of(step: Step) -> Iterator[str]:
    """Yield the names of the steps that a goto in a step, however deep, may go to."""
    waiting = [step]
    while waiting:
        found = waiting.pop()
        if found.goto is not None:
            yield found.goto.step
        waiting.extend(inner for part in structures(found, "") for inner in part.steps)
        waiting.extend(inner for part in asides(found) for inner in part.steps)
