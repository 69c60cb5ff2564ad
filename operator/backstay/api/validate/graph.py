"""What the order of the steps gives away: cycles, dependencies on nothing, steps that nothing leads to, variables that two write at once."""

from collections.abc import Callable, Iterator
from itertools import combinations

from backstay.api.steps import Awaited, Step
from backstay.api.validate.places import Listing, listings, structures
from backstay.api.workflow import WorkflowSpec
from backstay.errors import InvalidExpression, Problem
from backstay.expressions import whole_expression
from backstay.expressions.words import quoted, suggestion, there_are

_MOST_COMPARED = 200
"""Steps of a dag that write the same variable; more are not compared with each other."""


def check_graph(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the order of the steps, list by list."""
    for listing in listings(spec):
        yield from _check_dependencies(listing)
        yield from _check_reached(listing)
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
            elif name in awaited[:position]:
                yield Problem(f"{path}[{position}]", f"{quoted(name)} stands there twice; remove one", "warning")
    if listing.is_dag and listing.cycle:
        yield Problem(
            listing.path, f"the steps depend on each other in a circle: {_arrows(listing.cycle)}; remove one of these dependencies"
        )


def _arrows(cycle: tuple[str, ...]) -> str:
    shown = cycle if len(cycle) <= 12 else (*cycle[:6], "…", *cycle[-5:])
    return " → ".join(shown)


# ------------------------------------------------------------------------------------------------------------------------ reachable


def _check_reached(listing: Listing) -> Iterator[Problem]:
    for index, step in enumerate(listing.steps):
        yield from _check_cases(step, listing.place(index))
    if listing.is_dag:
        yield from _check_dag_reached(listing)
        return
    for index, step in enumerate(listing.steps[:-1]):
        if reason := never_goes_on(step):
            following = listing.steps[index + 1]
            yield Problem(
                listing.place(index + 1),
                f"{quoted(following.name)} is never reached: {quoted(step.name)} before it always {reason}; remove it, or give {quoted(step.name)} an if",
            )
            return


def _check_dag_reached(listing: Listing) -> Iterator[Problem]:
    leaving = {step.name: reason for step in listing.steps if (reason := never_goes_on(step))}
    for index, step in enumerate(listing.steps):
        for position, name in enumerate(item.step for item in step.depends_on if item.outcome in (Awaited.SUCCEEDED, Awaited.SKIPPED)):
            if name in leaving:
                yield Problem(
                    f"{listing.place(index)}.dependsOn[{position}]",
                    f"{quoted(step.name)} is never reached: {quoted(name)} always {leaving[name]}; remove the dependency, or give {quoted(name)} an if",
                )


def never_goes_on(step: Step) -> str:
    """Say how a step always leaves its list (`fails`, `ends the run`); nothing where what follows it can be reached."""
    if step.if_ is not None:
        return ""
    if step.end is not None:
        return "ends the run"
    if step.fail is not None:
        return "" if step.catch else "fails"
    lists = [_list_leaves(part.steps) for part in structures(step, "")]
    if step.parallel is not None:
        found = next(filter(None, lists), "") if step.parallel.join == "All" else ""
    elif step.switch is not None:
        found = " or ".join(sorted(set(lists))) if step.switch.default is not None and all(lists) else ""
    else:
        found = next(filter(None, lists), "")
    return "" if "fails" in found and step.catch else found


def _list_leaves(steps: tuple[Step, ...]) -> str:
    return next(filter(None, map(never_goes_on, steps)), "")


def _check_cases(step: Step, path: str) -> Iterator[Problem]:
    if constant_condition(step.if_) == "false":
        yield Problem(
            f"{path}.if", f"{quoted(step.name)} is never run: its condition is always false; remove the step or the condition", "warning"
        )
    if step.switch is None:
        return
    for index, case in enumerate(step.switch.cases):
        place = f"{path}.switch.cases[{index}]"
        if constant_condition(case.when) == "false":
            yield Problem(f"{place}.when", "the case is never taken: its condition is always false; remove it", "warning")
        if constant_condition(case.when) != "true":
            continue
        if index + 1 < len(step.switch.cases):
            yield Problem(
                f"{path}.switch.cases[{index + 1}]", f"the case is never taken: cases[{index}] before it is always true; put that one last"
            )
        elif step.switch.default is not None:
            yield Problem(f"{path}.switch.default", f"the default is never taken: cases[{index}] is always true; remove one of the two")
        return


def constant_condition(text: str | None) -> str:
    """Return `true` or `false` for a condition that is written out so, else nothing."""
    try:
        source = whole_expression(text) if text is not None else None
    except InvalidExpression:
        return ""
    return source if source in ("true", "false") else ""


# ------------------------------------------------------------------------------------------------------------------ shared variables


def _check_shared_variables(listing: Listing) -> Iterator[Problem]:
    for index, step in enumerate(listing.steps):
        if step.parallel is not None:
            branches = [(branch.name, _written(branch.steps)) for branch in step.parallel.branches]
            yield from _told_once(branches, f"{listing.place(index)}.parallel.branches", "branches", _never_ordered)
    if listing.is_dag and not listing.cycle:
        steps = [(step.name, _written((step,))) for step in listing.steps]

        def is_ordered(first: int, second: int) -> bool:
            return listing.comes_before(first, second) or listing.comes_before(second, first)

        yield from _told_once(steps, listing.path, "steps", is_ordered)


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
    """Return the variables that steps set, those of the steps inside them and of their handlers included."""
    found: set[str] = set()
    waiting = list(steps)
    while waiting:
        step = waiting.pop()
        found.update(step.set or ())
        waiting.extend(inner for part in structures(step, "") for inner in part.steps)
        waiting.extend(inner for catch in step.catch for inner in catch.steps)
    return frozenset(found)
