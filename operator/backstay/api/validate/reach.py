"""Which steps are ever reached, and which circles of steps are ever left. Nothing is said of what data decides."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from backstay.api.actions.structures import Awaited
from backstay.api.faults import matches
from backstay.api.policies import Catch
from backstay.api.steps import Step
from backstay.api.validate.constants import is_always
from backstay.api.validate.places import Listing, jumps_of, listings, structures
from backstay.api.workflow import WorkflowSpec
from backstay.errors import Problem
from backstay.expressions.words import quoted


def check_reached(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield the steps that nothing leads to, and the circles that nothing leads out of."""
    catches_limits = any("LimitExceeded" in catch.errors for catch in _all_catches(spec))
    for listing in listings(spec):
        if listing.is_dag:
            yield from _check_dag(listing)
            continue
        yield from _check_list(listing)
        if not catches_limits:
            yield from _check_circles(listing)


def _all_catches(spec: WorkflowSpec) -> Iterator[Catch]:
    yield from spec.catch
    for listing in listings(spec):
        for step in listing.steps:
            yield from step.catch


# ------------------------------------------------------------------------------------------------------- how a list is left


def never_goes_on(step: Step) -> str:
    """Say how a step always leaves its list (`fails`, `ends the run`); nothing where what follows it can be reached."""
    if step.if_ is not None and not is_always(step.if_, True):
        return ""
    if step.end is not None:
        return "ends the run"
    if step.goto is not None:
        return f"goes on at {quoted(step.goto.step)}"
    if step.fail is not None:
        found = "fails"
        return "" if any(step.fail.rethrow or matches(step.fail.error or "", catch.errors) for catch in step.catch) else found
    found = _structure_leaves(step)
    return "" if ("fails" in found and step.catch) or any(event.interrupting for event in step.boundary) else found


def _structure_leaves(step: Step) -> str:
    lists = [list_leaves(part.steps) for part in structures(step, "")]
    if step.for_each is not None or (step.while_ is not None and step.while_.condition is not None):
        return ""
    if step.parallel is not None:
        return next(filter(None, lists), "") if step.parallel.join == "All" else ""
    if step.switch is not None:
        is_taken = step.switch.default is not None or any(is_always(case.when, True) for case in step.switch.cases)
        return _one_of(lists) if is_taken and all(lists) else ""
    if step.race is not None:
        return _one_of(lists) if len(lists) == len(step.race) and all(lists) else ""
    return next(filter(None, lists), "")


def _one_of(ways: Iterable[str]) -> str:
    return " or ".join(sorted(set(ways)))


def list_leaves(steps: tuple[Step, ...]) -> str:
    """Say how a list of steps is always left before its end; nothing where it may come to its end, or goes back in itself."""
    if any(target in {step.name for step in steps} for step in steps for target in jumps_of(step)):
        return ""
    return next(filter(None, map(never_goes_on, steps)), "")


# ------------------------------------------------------------------------------------------------------------------------- lists


def _check_list(listing: Listing) -> Iterator[Problem]:
    """Yield the first step that nothing leads to; those after it are told when it is mended."""
    reached = _reached(listing)
    for index, (before, step) in enumerate(pairwise(listing.steps)):
        if index + 1 not in reached and index in reached:
            yield Problem(
                listing.place(index + 1),
                f"{quoted(step.name)} is never reached: {quoted(before.name)} before it always {never_goes_on(before)}; "
                f"remove it, or give {quoted(before.name)} an if",
            )
            return


def _reached(listing: Listing) -> set[int]:
    """Return the indexes of the steps that may begin: the first one, those after one that goes on, and those that a goto leads to."""
    reached: set[int] = set()
    waiting = [0]
    while waiting:
        index = waiting.pop()
        if index in reached or index >= len(listing.steps):
            continue
        reached.add(index)
        waiting.extend(_following(listing, index))
    return reached


def _following(listing: Listing, index: int) -> Iterator[int]:
    step = listing.steps[index]
    if not never_goes_on(step):
        yield index + 1
    yield from (listing.index_of[target] for target in jumps_of(step) if target in listing.index_of)


# ----------------------------------------------------------------------------------------------------------------------- circles


def _check_circles(listing: Listing) -> Iterator[Problem]:
    """Yield a goto that leads into a circle which no step leads out of; errors of the steps' work are no way out."""
    if not listing.laps:
        return
    reached = _reached(listing)
    ends = {index for index in reached if _may_leave(listing, index)}
    while more := {index for index in reached - ends if ends & set(_following(listing, index))}:
        ends |= more
    for target, index in listing.laps:
        if index in reached - ends:
            first, last = listing.steps[target].name, listing.steps[index].name
            yield Problem(
                listing.place(index),
                f"the steps from {quoted(first)} to {quoted(last)} go round for ever: nothing leads out of the circle before maxVisits ends it "
                f"with LimitExceeded; give {quoted(last)} an if",
            )
            return


def _may_leave(listing: Listing, index: int) -> bool:
    """Tell whether the list may come to its end with a step, or be left in it: by an end, a fail, or a goto to a list around it."""
    step = listing.steps[index]
    if index == len(listing.steps) - 1 and not never_goes_on(step):
        return True
    waiting, names = [step], set(listing.index_of)
    while waiting:
        found = waiting.pop()
        if found.end is not None or found.fail is not None or found.catch or found.boundary:
            return True
        inside = [inner for part in structures(found, "") for inner in part.steps]
        names |= {inner.name for inner in inside}
        if found.goto is not None and found.goto.step not in names:
            return True
        waiting.extend(inside)
    return False


# -------------------------------------------------------------------------------------------------------------------------- dags


def _check_dag(listing: Listing) -> Iterator[Problem]:
    leaving = {step.name: reason for step in listing.steps if (reason := never_goes_on(step))}
    for index, step in enumerate(listing.steps):
        for position, item in enumerate(step.depends_on):
            reason = leaving.get(item.step, "")
            if reason and (item.outcome in (Awaited.SUCCEEDED, Awaited.SKIPPED) or "fails" not in reason):
                yield Problem(
                    f"{listing.place(index)}.dependsOn[{position}]",
                    f"{quoted(step.name)} is never reached: {quoted(item.step)} always {reason}; "
                    f"remove the dependency, or give {quoted(item.step)} an if",
                )
