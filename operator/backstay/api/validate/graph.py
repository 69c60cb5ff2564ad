"""What the order of the steps gives away: cycles, dependencies on what cannot be, cases never taken, variables that two write at once."""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any, Final

from backstay.api.actions.structures import Awaited, Parallel, SwitchMode
from backstay.api.faults import ANY
from backstay.api.steps import Step
from backstay.api.validate.constants import UNKNOWN, constant, is_always
from backstay.api.validate.places import Leaf, Listing, listings, parts_of, structures
from backstay.api.validate.reach import list_leaves
from backstay.api.workflow import WorkflowSpec
from backstay.errors import InvalidExpression, Problem
from backstay.expressions import find_expressions, references
from backstay.expressions.words import quoted, suggestion, there_are

_MOST_COMPARED = 200
"""Steps of a dag that write the same variable; more are not compared with each other."""


def check_graph(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the order of the steps, list by list."""
    for listing in listings(spec):
        yield from _check_dependencies(listing)
        if listing.is_dag:
            yield from _check_outcomes(listing)
            yield from _check_meetings(listing)
        for index, step in enumerate(listing.steps):
            yield from _check_join(step, listing.place(index))
            yield from _check_cases(step, listing.place(index))
        yield from _check_shared_variables(listing)


# -------------------------------------------------------------------------------------------------------------------- dependencies


def _check_dependencies(listing: Listing) -> Iterator[Problem]:
    names = listing.index_of
    for index, step in enumerate(listing.steps):
        path = f"{listing.place(index)}.dependsOn"
        if step.depends_on and not listing.is_dag:
            yield Problem(path, "is for the steps of a dag; steps in a list run in order, so remove it, or put the steps into a dag")
            continue
        awaited = [item.step for item in step.depends_on]
        for position, name in enumerate(awaited):
            if name == step.name:
                yield Problem(f"{path}[{position}]", f"{quoted(name)} depends on itself; remove it")
            elif name not in names:
                others = [other for other in names if other != step.name]
                yield Problem(
                    f"{path}[{position}]", f"there is no step {quoted(name)} in this dag; {there_are(others)}{suggestion(name, others)}"
                )
            elif step.depends_on[position] in step.depends_on[:position]:
                yield Problem(f"{path}[{position}]", f"{quoted(name)} stands there twice; remove one", "warning")
    if listing.is_dag and listing.cycle:
        yield Problem(
            listing.path, f"the steps depend on each other in a circle: {_arrows(listing.cycle)}; remove one of these dependencies"
        )


def _arrows(cycle: tuple[str, ...]) -> str:
    shown = cycle if len(cycle) <= 12 else (*cycle[:6], "…", *cycle[-5:])
    return " → ".join(shown)


# ------------------------------------------------------------------------------------------------------------------------ outcomes


def _check_outcomes(listing: Listing) -> Iterator[Problem]:
    """Yield what a step waits for that cannot come: an outcome that another step never has, or two that exclude each other."""
    for index, step in enumerate(listing.steps):
        path = f"{listing.place(index)}.dependsOn"
        wanted: dict[str, Awaited] = {}
        for position, item in enumerate(step.depends_on):
            other = listing.steps[listing.index_of[item.step]] if item.step in listing.index_of else None
            before = wanted.setdefault(item.step, item.outcome)
            if {before, item.outcome} in _EXCLUDED:
                words = f"{quoted(step.name)} is never begun: it waits for {quoted(item.step)} to end as {before} and as {item.outcome}"
                yield Problem(f"{path}[{position}]", f"{words}; write {{step: {item.step}, outcome: Done}} for both")
            elif other is not None and other is not step and (reason := _never_ends_as(other, item.outcome)):
                words = f"{quoted(step.name)} is never begun: {quoted(item.step)} never ends as {item.outcome}, {reason}"
                yield Problem(f"{path}[{position}]", f"{words}; remove the dependency, or the step")


_EXCLUDED: Final = ({Awaited.SUCCEEDED, Awaited.FAILED}, {Awaited.FAILED, Awaited.SKIPPED})


def _never_ends_as(step: Step, outcome: Awaited) -> str:
    """Say why a step never ends in a way; nothing where it may."""
    if outcome is Awaited.SKIPPED and step.if_ is None and not step.depends_on:
        return "as it has no if"
    if outcome is not Awaited.FAILED:
        return ""
    if any(ANY in catch.errors for catch in step.catch) and all(_is_sure(catch.steps) for catch in step.catch):
        return "as its handler deals with every error"
    return f"as {step.kind} cannot fail here" if _is_sure((step,)) else ""


def _is_sure(steps: tuple[Step, ...]) -> bool:
    """Tell whether steps cannot fail: they set constants, wait for a while, or end the run, and have no timeout and no lock."""
    return all(
        step.kind in _SURE
        and step.timeout is None
        and step.lock is None
        and step.finally_ is None
        and (step.if_ is None or constant(step.if_) is not UNKNOWN)
        and all(constant(part.value) is not UNKNOWN for part in parts_of(step, "") if isinstance(part, Leaf))
        for step in steps
    )


_SURE: Final = ("set", "wait", "end", "cancel")


def _check_meetings(listing: Listing) -> Iterator[Problem]:
    """Yield a step that depends, over several others, on a step that succeeds and on the same step that fails."""
    targets = {item.step for step in listing.steps for item in step.depends_on if item.outcome is Awaited.FAILED}
    if not targets or listing.cycle:
        return
    needs: dict[str, dict[str, tuple[Awaited, str]]] = {}
    for name in listing.order:
        index = listing.index_of[name]
        step = listing.steps[index]
        found: dict[str, tuple[Awaited, str]] = {}
        for item in step.depends_on:
            given = dict(needs.get(item.step, {})) if item.outcome in (Awaited.SUCCEEDED, Awaited.FAILED) else {}
            if item.step in targets and item.outcome in (Awaited.SUCCEEDED, Awaited.FAILED):
                given[item.step] = (item.outcome, item.step)
            for target, (outcome, _) in given.items():
                earlier = found.setdefault(target, (outcome, item.step))
                if earlier[0] is not outcome and earlier[1] != item.step:
                    ways = f"{quoted(earlier[1])} needs it to end as {earlier[0]}, {quoted(item.step)} as {outcome}"
                    message = f"{quoted(name)} is never begun: it joins two ways that {quoted(target)} parts: {ways}"
                    yield Problem(f"{listing.place(index)}.dependsOn", f"{message}; depend on one of them, or with outcome: Done")
                    break
        needs[name] = found


# --------------------------------------------------------------------------------------------------------------------------- joins


def _check_join(step: Step, path: str) -> Iterator[Problem]:
    """Yield a join that too many branches never come to: they fail, whatever the data."""
    if step.parallel is None:
        return
    failing = [branch.name for branch in step.parallel.branches if list_leaves(branch.steps) == "fails"]
    needed, count = step.parallel.needed(), len(step.parallel.branches)
    if failing and count - len(failing) < needed:
        names = " and ".join(map(quoted, failing[:5])) if len(failing) <= 5 else f"{len(failing)} of the branches"
        yield Problem(
            f"{path}.parallel.join",
            f"the join can never be met: it needs {needed} of {count} branches, and {names} always fail{'s' if len(failing) == 1 else ''}",
            "warning" if step.catch else "error",
        )


# ------------------------------------------------------------------------------------------------------------------------- cases


def _check_cases(step: Step, path: str) -> Iterator[Problem]:
    if is_always(step.if_, False):
        yield Problem(
            f"{path}.if", f"{quoted(step.name)} is never run: its condition is always false; remove the step or the condition", "warning"
        )
    if step.switch is None:
        return
    is_first = step.switch.mode is SwitchMode.FIRST
    seen: dict[str, int] = {}
    for index, case in enumerate(step.switch.cases):
        place = f"{path}.switch.cases[{index}]"
        if is_always(case.when, False):
            yield Problem(f"{place}.when", "the case is never taken: its condition is always false; remove it", "warning")
        earlier = seen.setdefault(case.when, index)
        if is_first and earlier != index and not is_always(case.when, False):
            yield Problem(
                f"{place}.when", f"the case is never taken: cases[{earlier}] before it has the same condition; remove one of the two"
            )
        if not is_always(case.when, True):
            continue
        if is_first and index + 1 < len(step.switch.cases):
            yield Problem(
                f"{path}.switch.cases[{index + 1}]", f"the case is never taken: cases[{index}] before it is always true; put that one last"
            )
        elif step.switch.default is not None:
            yield Problem(f"{path}.switch.default", f"the default is never taken: cases[{index}] is always true; remove one of the two")
        return


# ------------------------------------------------------------------------------------------------------------------ shared variables


def _check_shared_variables(listing: Listing) -> Iterator[Problem]:
    for index, step in enumerate(listing.steps):
        if step.parallel is not None and not _is_first_come(step.parallel):
            branches = [(branch.name, _written(branch.steps)) for branch in step.parallel.branches]
            yield from _told_once(branches, f"{listing.place(index)}.parallel.branches", "branches", _never_ordered)
    if listing.is_dag and not listing.cycle:
        steps = [(step.name, _written((step,))) for step in listing.steps]

        def is_ordered(first: int, second: int) -> bool:
            return listing.comes_before(first, second) or listing.comes_before(second, first)

        yield from _told_once(steps, listing.path, "steps", is_ordered)


def _is_first_come(parallel: Parallel) -> bool:
    """Tell whether the first branch that is done stops the others: that it says which one it was is what such a parallel is for."""
    return parallel.needed() == 1 and parallel.cancel_rest


def _told_once(parts: list[tuple[str, frozenset[str]]], path: str, kind: str, is_ordered: Callable[[int, int], bool]) -> Iterator[Problem]:
    """Yield a warning for each variable that two parts write with nothing to say which comes last."""
    writers: dict[str, list[int]] = {}
    for index, (_, variables) in enumerate(parts):
        for variable in variables:
            writers.setdefault(variable, []).append(index)
    for variable in sorted(writers):
        for first, second in combinations(writers[variable][:_MOST_COMPARED], 2):
            if not is_ordered(first, second):
                names = f"{quoted(parts[first][0])} and {quoted(parts[second][0])}"
                yield Problem(
                    f"{path}[{second}]",
                    f"the {kind} {names} run at the same time and both set {variable}; whichever comes last wins; use two variables",
                    "warning",
                )
                break


def _never_ordered(_first: int, _second: int) -> bool:
    return False


def _written(steps: tuple[Step, ...]) -> frozenset[str]:
    """Return the variables that steps set to something new, those of the steps inside them and of their handlers included.

    What is added to the value that is there, as in `${ vars.count + 1 }`, is left out: each comes after the other, and none is lost. So is what is
    set under a lock.
    """
    found: set[str] = set()
    waiting = list(steps)
    while waiting:
        step = waiting.pop()
        if step.lock is not None:
            continue
        found.update(name for name, value in (step.set or {}).items() if not _adds_to(name, value))
        waiting.extend(inner for part in structures(step, "") for inner in part.steps)
        waiting.extend(inner for catch in step.catch for inner in catch.steps)
        waiting.extend(step.finally_ or ())
    return frozenset(found)


def _adds_to(name: str, value: Any) -> bool:
    try:
        return any(chain[:2] == ("vars", name) for _, source in find_expressions(value) for chain in references(source))
    except InvalidExpression:
        return False
