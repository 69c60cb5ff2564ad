"""Limits that would make steps wait for each other for ever, that change nothing, or that cannot be worked out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from backstay.api.actions.lock import Lock, LockScope
from backstay.api.steps import Step
from backstay.api.validate.places import Level, Listing, listings
from backstay.api.workflow import WorkflowSpec
from backstay.errors import InvalidExpression, Problem
from backstay.expressions import compile_expression, find_expressions
from backstay.expressions.words import quoted

KEY_SEES: Final = ("params", "run")
"""What is there before a run begins."""
_MOST_PAIRS: Final = 1000
"""Locks inside each other; more are not held against each other."""


@dataclass(frozen=True)
class _Taken:
    """A lock that is taken at `path` while another is held."""

    lock: Lock
    held: Lock
    step: str
    path: str
    way: tuple[Level, ...]
    """The steps from that one outwards, with the lists that they stand in."""


def check_locks(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the locks of a workflow, and with the limit on its runs."""
    yield from _check_key(spec)
    pairs: list[_Taken] = []
    for listing in listings(spec):
        held = list(_held_around(listing))
        for index, step in enumerate(listing.steps):
            if step.lock is not None:
                yield from _check_inside(step.lock, f"{listing.place(index)}.lock", held)
                pairs += _pairs(step, step.lock, listing, index, held)
    yield from _check_circles(pairs[:_MOST_PAIRS])


def _check_key(spec: WorkflowSpec) -> Iterator[Problem]:
    if spec.concurrency is None:
        return
    try:
        for _, source in find_expressions(spec.concurrency.key):
            for chain in compile_expression(source, ("params", "run", "vars", "steps")).references:
                if chain[0] not in KEY_SEES:
                    yield Problem(
                        "concurrency.key", f"{chain[0]} is not there before a run begins; use params, as in ${{ params.customer }}"
                    )
                    return
    except InvalidExpression:
        return  # told where all expressions are looked at


# -------------------------------------------------------------------------------------------------------------------- inside each other


def _held_around(listing: Listing) -> Iterator[tuple[Lock, str]]:
    """Yield the locks that are held while a list runs, innermost first, each with the name of the step that holds it."""
    for level in listing.outer:
        step = None if level.index is None else level.listing.steps[level.index]
        if step is not None and step.lock is not None:
            yield step.lock, step.name


def _check_inside(lock: Lock, path: str, held: list[tuple[Lock, str]]) -> Iterator[Problem]:
    for outer, name in held:
        if _is_same(lock, outer):
            words = f"{quoted(name)} around it holds the same lock, so it never waits and keeps nobody apart"
            yield Problem(path, f"{words}; remove it, or give it another name or key", "warning")
        elif (
            lock.name == outer.name
            and lock.scope is outer.scope is LockScope.NAMESPACE
            and lock.timeout is None
            and _may_differ(lock, outer)
        ):
            words = f"takes a second key of {quoted(lock.name)} while {quoted(name)} holds one: with another run that has them the other way round"
            yield Problem(
                path,
                f"{words} it may wait for ever; give the keys one order, as the smaller one first, or give the lock a timeout",
                "warning",
            )


def _is_same(lock: Lock, other: Lock) -> bool:
    return (lock.name, lock.key, lock.scope) == (other.name, other.key, other.scope)


def _may_differ(lock: Lock, other: Lock) -> bool:
    """Tell whether the keys of two locks may be others in another run."""
    return "${" in lock.key or "${" in other.key


def _pairs(step: Step, lock: Lock, listing: Listing, index: int, held: list[tuple[Lock, str]]) -> Iterator[_Taken]:
    for outer, _ in held:
        if lock.timeout is None and not _is_same(lock, outer):
            yield _Taken(lock, outer, step.name, f"{listing.place(index)}.lock", listing.levels(index))


def _check_circles(pairs: list[_Taken]) -> Iterator[Problem]:
    """Two that take the same locks in opposite orders, and may do so at the same time, may each hold what the other waits for."""
    told: set[str] = set()
    for number, second in enumerate(pairs):
        for first in pairs[:number]:
            crossed = _is_same(first.lock, second.held) and _is_same(first.held, second.lock)
            if crossed and second.path not in told and _may_meet(first, second):
                told.add(second.path)
                words = (
                    f"takes {quoted(second.lock.name)} while it holds {quoted(second.held.name)}, and {quoted(first.step)} ({first.path})"
                )
                yield Problem(
                    second.path,
                    f"{words} the other way round: they may wait for each other for ever; take them in one order, or give one a timeout",
                    "warning",
                )


def _may_meet(first: _Taken, second: _Taken) -> bool:
    """Tell whether two may be at it at the same time: in two runs, or in one where its steps go on side by side."""
    locks = (first.lock, first.held)
    if all(lock.scope is LockScope.NAMESPACE for lock in locks):
        return True
    ours = [(level.listing, level.index) for level in reversed(first.way)]
    theirs = [(level.listing, level.index) for level in reversed(second.way)]
    for (listing, index), (other, place) in zip(ours, theirs, strict=False):
        if listing.path != other.path:  # two branches, cases, or a body and a handler of the step around both
            return _branch_of(listing) != "" and _branch_of(listing) == _branch_of(other)
        if index != place:
            return listing.is_dag and index is not None and place is not None and not _ordered(listing, index, place)
        if index is not None and _has_many_at_once(listing.steps[index]):
            return True
    return False


def _branch_of(listing: Listing) -> str:
    """Return the parallel that a list is a branch of; empty for any other list."""
    around, found, _ = listing.path.rpartition(".parallel.branches[")
    return around if found and "." not in listing.path[len(around) + len(found) :].removesuffix(".steps") else ""


def _ordered(listing: Listing, first: int, second: int) -> bool:
    return listing.comes_before(first, second) or listing.comes_before(second, first)


def _has_many_at_once(step: Step) -> bool:
    return step.for_each is not None and step.for_each.parallelism != 1
