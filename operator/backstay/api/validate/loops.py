"""Loops that never end, or never begin; conditions that nothing inside can change; iterations of which no failure counts."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from backstay.api.actions.iteration import ForEach, While
from backstay.api.steps import Step
from backstay.api.validate.constants import UNKNOWN, constant, is_always
from backstay.api.validate.places import Listing, asides, jumps_of, listings, structures
from backstay.api.workflow import WorkflowSpec
from backstay.errors import EvaluationError, InvalidExpression, Problem
from backstay.expressions import compile_expression, references, whole_expression

_MOST_TRIED: Final = 50
"""Items of a forEach up to which completeWhen is tried with every number of them done and failed."""


def check_loops(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the loops and iterations of a workflow, as far as it is so at every run."""
    for listing in listings(spec):
        for index, step in enumerate(listing.steps):
            if step.while_ is not None:
                yield from _check_while(step, step.while_, f"{listing.place(index)}.while", listing)
            if step.for_each is not None:
                yield from _check_for_each(step.for_each, f"{listing.place(index)}.forEach")


# ------------------------------------------------------------------------------------------------------------------------- while


def _check_while(step: Step, loop: While, path: str, listing: Listing) -> Iterator[Problem]:
    field = "condition" if loop.condition is not None else "until"
    text = loop.condition or loop.until
    found = constant(text)
    goes_on = loop.condition is not None
    if found is goes_on:
        if not _is_left(step):
            words = f"the loop never ends by itself: its condition is always {str(found).lower()}, and no step in it leaves it"
            yield Problem(f"{path}.{field}", f"{words}; after {loop.max_iterations:,} iterations it fails with LimitExceeded")
    elif isinstance(found, bool):
        words = (
            "the steps are never run: the condition is always false"
            if goes_on
            else "the steps are run only once: the condition is always true"
        )
        yield Problem(f"{path}.{field}", f"{words}; remove the loop", "warning")
    elif text is not None and _is_fixed(text, loop, listing):
        words = "the condition refers to nothing that changes while the loop goes on, so that it is run once, for ever, or not at all"
        yield Problem(f"{path}.{field}", f"{words}; refer to index, a variable that it sets, or a step in it", "warning")


def _is_left(step: Step) -> bool:
    """Tell whether a step in a loop leads out of it, or the loop has a handler for what ends it."""
    if step.catch or step.boundary:
        return True
    inside = list(_all_inside(step))
    names = {inner.name for inner in inside}
    is_out = any(target not in names for target in jumps_of(step))
    return is_out or any(inner.end is not None or inner.fail is not None for inner in inside)


def _is_fixed(text: str, loop: While, listing: Listing) -> bool:
    """Tell whether nothing that a condition refers to can change between two iterations. Variables may be set elsewhere at the same time."""
    try:
        source = whole_expression(text)
        chains = references(source) if source is not None else [("index",)]
    except InvalidExpression:
        return False
    return all(chain[0] in _FIXED or (chain[0] == "steps" and _is_done(chain, loop, listing)) for chain in chains)


_FIXED: Final = ("params", "run", "item", "error", "self")


def _is_done(chain: tuple[str, ...], loop: While, listing: Listing) -> bool:
    """Tell whether a step stands outside of a loop and has ended when it begins: not so for the steps of a dag around it."""
    if len(chain) == 1 or any(step.name == chain[1] for step in loop.steps):
        return False
    levels = (listing, *(level.listing for level in listing.outer))
    return not any(level.is_dag for level in levels) and any(chain[1] in level.index_of for level in levels)


def _all_inside(step: Step) -> Iterator[Step]:
    for part in structures(step, ""):
        for inner in part.steps:
            yield inner
            yield from _all_inside(inner)
            yield from (handled for part in asides(inner) for handled in part.steps)


# ----------------------------------------------------------------------------------------------------------------------- forEach


def _check_for_each(action: ForEach, path: str) -> Iterator[Problem]:
    total = _total(action)
    if is_always(action.until, False):
        yield Problem(
            f"{path}.until", "the iterations never end: until is always false; remove it, or write when no more items are to come"
        )
    elif is_always(action.until, True):
        yield Problem(f"{path}.until", "until is always true, so that it never stays open; remove it", "warning")
    if total is not None and total > action.max_items:
        yield Problem(f"{path}.maxItems", f"there are {total:,} items, and maxItems allows {action.max_items:,}; raise it")
    may_grow = action.add is not None or action.until is not None
    if total == 0 and not may_grow:
        yield Problem(path, "the steps are never run: there are no items; remove the step", "warning")
    elif _tolerates_all(action, None if may_grow else total):
        words = f"tolerate: {action.tolerate} means that the step succeeds even where every iteration fails"
        yield Problem(f"{path}.tolerate", f"{words}; write fewer, or catch the errors inside", "warning")
    if action.complete_when is not None and total and not may_grow:
        yield from _check_complete_when(action.complete_when, total, f"{path}.completeWhen")


def _total(action: ForEach) -> int | None:
    """Return how many items there are, where that is the same at every run."""
    found = constant(action.count if action.count is not None else action.in_)
    if isinstance(found, (list, Mapping)):
        return len(found)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _tolerates_all(action: ForEach, total: int | None) -> bool:
    if isinstance(action.tolerate, str):
        return action.tolerate == "100%"
    return total is not None and 0 < total <= action.tolerate


def _check_complete_when(text: str, total: int, path: str) -> Iterator[Problem]:
    """Try a condition that looks at nothing but the counts with all that they may be."""
    try:
        source = whole_expression(text)
        if source is None or total > _MOST_TRIED or not {chain[0] for chain in references(source)} <= {"done", "failed", "total"}:
            return
        program = compile_expression(source, ("done", "failed", "total"))
        tried = {_answer(program, done, failed, total) for done in range(1, total + 1) for failed in range(done + 1)}
    except InvalidExpression:
        return
    if tried == {False}:
        yield Problem(
            path, f"the condition never holds: it is false for every number of the {total} iterations that are done or failed", "warning"
        )
    elif tried == {True}:
        yield Problem(path, "the condition holds as soon as the first iteration has ended; the others are never waited for", "warning")


def _answer(program: Any, done: int, failed: int, total: int) -> Any:
    try:
        return program.evaluate({"done": done, "failed": failed, "total": total})
    except EvaluationError:
        return UNKNOWN
