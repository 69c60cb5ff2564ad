"""Where `undo` goes back to, and what a `pivot` leaves without a meaning."""

import re
from collections.abc import Iterator
from typing import Final

from backstay.api.actions.structures import SwitchMode
from backstay.api.steps import Step
from backstay.api.validate.places import Level, Listing, jumps_of, listings, structures
from backstay.api.workflow import WorkflowSpec
from backstay.errors import Problem
from backstay.expressions.words import quoted, suggestion, there_are

_LINES: Final = (
    (re.compile(r"\.parallel\.branches\[\d+\]\.steps$"), "branch", "parallel"),
    (re.compile(r"\.forEach\.steps$"), "iteration", "forEach"),
    (re.compile(r"\.boundary\[\d+\]\.steps$"), "boundary event", "step"),
)
"""Lists that go on beside others: how their paths end, and what they are called."""
_CASE: Final = re.compile(r"\.switch\.(cases\[\d+\]\.steps|default)$")
_NO_PIVOTS: Final = ("goto", "cancel", "undo", "fail", "end", "escalate")


def check_sagas(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the steps that `undo` names, and with pivots."""
    undoes = any(_says_how(step) for listing in listings(spec) for step in listing.steps)
    for listing in listings(spec):
        for index, step in enumerate(listing.steps):
            if step.undo is not None:
                yield from _check_undo(step, listing, index, undoes=undoes)
            if step.pivot:
                yield from _check_pivot(step, listing, index)
        yield from _check_after_pivot(listing)


# ------------------------------------------------------------------------------------------------------------------------- undo


def _check_undo(step: Step, listing: Listing, index: int, *, undoes: bool) -> Iterator[Problem]:
    place = f"{listing.place(index)}.undo"
    assert step.undo is not None
    if listing.is_dag:
        yield Problem(
            place, "an undo cannot be a step of a dag, whose steps have no order; put it into a catch of the dag, or into a block"
        )
    elif _undoes(listing):
        yield Problem(place, "an undo cannot be part of a compensation: the run's own undoing comes to every step; remove it")
    elif step.undo.to is not None and (mistake := _mistake(step.undo.to, listing, index, is_savepoint=True)):
        yield Problem(f"{place}.to", mistake)
    elif step.undo.within is not None and (mistake := _mistake(step.undo.within, listing, index, is_savepoint=False)):
        yield Problem(f"{place}.within", mistake)
    elif not undoes:
        yield Problem(place, "there is nothing that it could undo: no step says how (compensate); give the steps before it one", "warning")


def _undoes(listing: Listing) -> bool:
    return any(extra.kind == "self" for extra in listing.extra)


def _mistake(name: str, listing: Listing, index: int, *, is_savepoint: bool) -> str:
    """Say why a name is none that an undo can go back to; nothing where it is."""
    levels = listing.levels(index)
    level = next((level for level in levels if name in level.listing.index_of), None)
    if level is None:
        known = list(dict.fromkeys(step.name for level in levels for step in level.listing.steps if step is not listing.steps[index]))
        return f"there is no step {quoted(name)} in this list or those around it; {there_are(known)}{suggestion(name, known)}"
    position = level.listing.index_of[name]
    if level.listing is listing and position == index:
        return f"{quoted(name)} names itself; name a step before it"
    if edge := _edge_before(levels, levels.index(level), is_around=level.index == position):
        return f"{quoted(name)} is outside of the {edge[0]} that this step is in, and others may rely on it; put the undo after the {edge[1]}, or into its catch"
    if level.index == position:
        return f"{quoted(name)} is around this step and has not ended; write within: {name}" if is_savepoint else ""
    if level.index is not None and not level.listing.may_have_run(position, level.index):
        return f"{quoted(name)} comes later; an undo goes back to a step before it"
    return ""


def _edge_before(levels: tuple[Level, ...], count: int, *, is_around: bool) -> tuple[str, str] | None:
    """Return what stands between a step and the list that is so many lists further out, where an undo does not reach across it."""
    for position in range(count):
        if line := _line_of(levels[position].listing, levels[position + 1]):
            return line
    return ("step", "dag") if levels[count].listing.is_dag and not is_around else None


def _line_of(listing: Listing, outer: Level) -> tuple[str, str] | None:
    """Return what a list is called that goes on beside others, and the structure that it is of."""
    for pattern, name, owner in _LINES:
        if pattern.search(listing.path):
            return name, owner
    if _CASE.search(listing.path) and outer.index is not None:
        switch = outer.listing.steps[outer.index].switch
        return ("case", "switch") if switch is not None and switch.mode is SwitchMode.EVERY else None
    return ("step", "dag") if listing.is_dag else None


# ------------------------------------------------------------------------------------------------------------------------ pivot


def _check_pivot(step: Step, listing: Listing, index: int) -> Iterator[Problem]:
    place = f"{listing.place(index)}.pivot"
    if step.kind in _NO_PIVOTS:
        yield Problem(place, f"{step.kind} does nothing that there could be no way back from; put pivot on the step that does")
    elif _undoes(listing):
        yield Problem(place, "a compensation cannot be past a pivot, after which nothing is undone any more; remove it")


def _check_after_pivot(listing: Listing) -> Iterator[Problem]:
    """Warn of what comes only after a pivot that must have succeeded, and can therefore never be undone, or undo anything."""
    pivot = next((index for index, step in enumerate(listing.steps) if _must_pass(step)), None)
    if pivot is None or _is_jumped_over(listing, pivot):
        return
    name = listing.steps[pivot].name
    for index, step in enumerate(listing.steps):
        if index != pivot and listing.comes_before(pivot, index):
            for path, inner in _with_inner(step, listing.place(index)):
                if inner.compensate is not None:
                    words = f"is never used: {quoted(inner.name)} comes after the pivot {quoted(name)}, and nothing is undone after that; remove it"
                    yield Problem(f"{path}.compensate", words, "warning")
                if inner.undo is not None:
                    words = f"undoes nothing: it comes after the pivot {quoted(name)}, and nothing is undone after that; remove it"
                    yield Problem(f"{path}.undo", words, "warning")


def _must_pass(step: Step) -> bool:
    """Tell whether what follows a step is only reached after a pivot, which is the step itself or inside it, has succeeded."""
    if step.if_ is not None or step.catch:
        return False
    return step.pivot or (step.steps is not None and any(map(_must_pass, step.steps)) and not any(map(_jumps, step.steps)))


def _jumps(step: Step) -> bool:
    return next(jumps_of(step), None) is not None


def _is_jumped_over(listing: Listing, pivot: int) -> bool:
    if listing.is_dag:
        return any(item.outcome != "Succeeded" for step in listing.steps for item in step.depends_on)
    targets = [listing.index_of[name] for step in listing.steps[:pivot] for name in jumps_of(step) if name in listing.index_of]
    return any(target > pivot for target in targets)


def _with_inner(step: Step, path: str) -> Iterator[tuple[str, Step]]:
    """Yield a step and all that are inside it, handlers included."""
    yield path, step
    for part in structures(step, path):
        for index, inner in enumerate(part.steps):
            yield from _with_inner(inner, f"{part.path}[{index}]")
    for number, catch in enumerate(step.catch):
        for index, inner in enumerate(catch.steps):
            yield from _with_inner(inner, f"{path}.catch[{number}].steps[{index}]")


def _says_how(step: Step) -> bool:
    """Tell whether there is a way to undo a step: its own, or that of a child run."""
    return step.compensate is not None or step.workflow is not None
