"""Where `goto` and `cancel` lead: a step that is there, and that may be led to."""

from collections.abc import Iterator

from backstay.api.actions.structures import DEFAULT_CASE, Parallel, Switch
from backstay.api.steps import RaceBranch, Step
from backstay.api.validate.places import Level, Listing, listings, structures
from backstay.api.workflow import WorkflowSpec
from backstay.errors import Problem
from backstay.expressions.words import quoted, suggestion, there_are


def check_control(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the steps that `goto` and `cancel` name."""
    for listing in listings(spec):
        for index, step in enumerate(listing.steps):
            if step.goto is not None and (mistake := _goto_mistake(step.goto.step, listing, index)):
                yield Problem(f"{listing.place(index)}.goto.step", mistake)
            if step.cancel is not None:
                yield from _check_cancel(step.cancel.step, listing, index)


# ------------------------------------------------------------------------------------------------------------------------- goto


def _goto_mistake(name: str, listing: Listing, index: int) -> str:
    if listing.is_dag:
        return "a goto cannot be a step of a dag, whose steps have no order; put it into a block with the step that it leads to"
    reached = list(_reached(listing, index))
    for level in reached:
        if level.listing.index_of.get(name) == level.index and level.listing is listing:
            return f"{quoted(name)} leads to itself; name the step to go on at"
        if name in level.listing.index_of:
            return ""
    known = list(dict.fromkeys(step.name for level in reached for step in level.listing.steps if step is not listing.steps[index]))
    beyond = listing.levels(index)[len(reached) :]
    if any(name in level.listing.index_of for level in beyond):
        what = "a dag" if beyond[0].listing.is_dag else "a compensation, or of the workflow's catch"
        what = "a finally" if reached[-1].listing.is_finally else what
        what = "a boundary event that does not interrupt" if _runs_beside(reached[-1].listing) else what
        return f"{quoted(name)} is beyond the edge of {what}, which no goto crosses; {there_are(known)}"
    return f"there is no step {quoted(name)} in this list or those around it; {there_are(known)}{suggestion(name, known)}"


def _reached(listing: Listing, index: int) -> Iterator[Level]:
    """The lists that a goto may lead to: its own and those around it, up to the edge of a dag, a finally, a compensation, or the workflow's catch."""
    for level in listing.levels(index):
        if level.listing.is_dag or level.index is None:
            return
        yield level
        if level.listing.is_finally or _runs_beside(level.listing):
            return


def _runs_beside(listing: Listing) -> bool:
    return listing.edge is not None and not listing.edge.interrupting


# ----------------------------------------------------------------------------------------------------------------------- cancel


def _check_cancel(target: str, listing: Listing, index: int) -> Iterator[Problem]:
    place = f"{listing.place(index)}.cancel.step"
    first, *rest = target.split("/")
    levels = listing.levels(index)
    level = next((level for level in levels if first in level.listing.index_of), None)
    if level is None:
        known = list(dict.fromkeys(step.name for level in levels for step in level.listing.steps))
        mistake = f"there is no step {quoted(first)} in this list or those around it"
        yield Problem(place, f"{mistake}; {there_are(known)}{suggestion(first, known)}")
        return
    position = level.listing.index_of[first]
    if level.listing is listing and position == index:
        yield Problem(place, f"{quoted(first)} would cancel itself; name a step that goes on at the same time")
    elif level.index == position and not rest and any(inner.listing.is_finally for inner in levels[: levels.index(level)]):
        yield Problem(place, f"{quoted(first)} waits for this finally, and cannot be cancelled in it; name a step that goes on elsewhere")
    elif mistake := _way_mistake(level.listing.steps[position], rest):
        yield Problem(place, mistake)
    elif not level.listing.is_dag and level.index != position and not _goes_on_after(level.listing.steps[position]):
        words = f"{quoted(first)} never goes on when this step begins, as the steps of a list run one after the other"
        yield Problem(place, f"{words}; put both into branches of a parallel, or into a dag", "warning")


def _goes_on_after(step: Step) -> bool:
    """Tell whether something of a step may go on when those after it have begun: a parallel whose rest goes on."""
    return step.parallel is not None and not step.parallel.cancel_rest


def _way_mistake(step: Step, rest: list[str]) -> str:
    """Follow a target into a structure: names of branches and cases, and of steps."""
    while rest:
        lists = dict(_lists(step))
        name, *after = rest
        if "" not in lists:
            if name not in lists:
                return f"there is no {quoted(name)} in {quoted(step.name)}; {there_are(lists) if lists else 'it holds no steps'}"
            if not after:
                return f"{quoted(name)} is a part of {quoted(step.name)} and no step; put its steps into a block, and name that"
            steps, (name, *after) = lists[name], after
        else:
            steps = lists[""]
        found = {inner.name: inner for inner in steps}
        if name not in found:
            return f"there is no step {quoted(name)} there; {there_are(found)}{suggestion(name, found)}"
        step, rest = found[name], after
    return ""


def _lists(step: Step) -> Iterator[tuple[str, tuple[Step, ...]]]:
    """The lists of steps inside a step, by the name that stands between in paths; nothing stands between for those with one list."""
    match step.action:
        case Parallel() as parallel:
            yield from ((branch.name, branch.steps) for branch in parallel.branches)
        case Switch() as switch:
            yield from ((case.name or str(index), case.steps) for index, case in enumerate(switch.cases))
            yield from [(DEFAULT_CASE, switch.default)] if switch.default is not None else []
        case (RaceBranch(), *_) as branches:
            yield from ((branch.name or str(index), branch.steps or ()) for index, branch in enumerate(branches))
        case _:
            yield from (("", inner.steps) for inner in structures(step, ""))
