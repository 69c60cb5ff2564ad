"""Boundary events that cannot happen, and escalations that nobody hears."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from backstay.api.actions.boundary import ANY_CODE, Boundary
from backstay.api.base import format_duration
from backstay.api.steps import Step, actions
from backstay.api.validate.constants import constant_duration
from backstay.api.validate.places import Listing, asides, listings, structures
from backstay.api.workflow import WorkflowSpec
from backstay.errors import Problem
from backstay.expressions.words import quoted

_STRUCTURES: Final = actions(Step, "structure")
_AT_ONCE: Final = tuple(kind for kind in actions(Step, "instant"))
_ELSEWHERE: Final = ("template",)
"""Kinds whose steps stand elsewhere in the workflow."""


def check_boundaries(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the boundary events of a workflow, and with its escalations."""
    for listing in listings(spec):
        for index, step in enumerate(listing.steps):
            path = listing.place(index)
            if step.boundary and step.kind in _AT_ONCE:
                words = f"{step.kind} is over as soon as it begins, so nothing can happen while it goes on; remove boundary"
                yield Problem(f"{path}.boundary", words, "warning")
                continue
            for place, event in enumerate(step.boundary):
                yield from _check_event(step, event, place, f"{path}.boundary[{place}]")
            if step.escalate is not None and not listing.home.path and not _is_heard(listing, step.escalate.code, index):
                words = f"no step around it has a boundary event for {quoted(step.escalate.code)}, so nobody hears it"
                yield Problem(f"{path}.escalate", f"{words}; add one, as in boundary: [{{escalation: {step.escalate.code}, …}}]", "warning")


def _check_event(step: Step, event: Boundary, place: int, path: str) -> Iterator[Problem]:
    if event.escalation is not None:
        yield from _check_escalation(step, event.escalation, place, path)
    after = constant_duration(event.wait.duration) if event.wait is not None else None
    if after is not None and step.timeout is not None and after >= step.timeout:
        words = f"never happens: the step's timeout ({format_duration(step.timeout)}) does not come after it ({format_duration(after)})"
        yield Problem(f"{path}.wait.duration", f"{words}; make one of them fit the other", "warning")


def _check_escalation(step: Step, code: str, place: int, path: str) -> Iterator[Problem]:
    for number, other in enumerate(step.boundary[:place]):
        if other.escalation in (code, ANY_CODE):
            heard = "every escalation" if other.escalation == ANY_CODE else "it"
            mend = "put that one last" if other.escalation == ANY_CODE != code else "remove one"
            yield Problem(f"{path}.escalation", f"never happens: boundary[{number}] before it hears {heard}; {mend}")
            return
    raised = None if step.kind not in _STRUCTURES else _raised(step)
    if step.kind not in _STRUCTURES:
        yield Problem(f"{path}.escalation", f"never happens: there is no step inside {step.kind} that could escalate; remove it", "warning")
    elif raised is not None and not (raised if code == ANY_CODE else code in raised):
        what = "anything" if code == ANY_CODE else quoted(code)
        yield Problem(f"{path}.escalation", f"never happens: no step inside escalates {what}; there are: {_listed(raised)}", "warning")


def _listed(codes: set[str]) -> str:
    return ", ".join(sorted(codes)) or "none"


def _raised(step: Step) -> set[str] | None:
    """Return the codes that the steps inside a structure raise, in their handlers and boundary events as well; None where some are elsewhere."""
    found: set[str] = set()
    waiting = [step]
    while waiting:
        looked_at = waiting.pop()
        if looked_at.kind in _ELSEWHERE:
            return None
        inside = [inner for part in structures(looked_at, "") for inner in part.steps]
        if looked_at is not step:
            inside += [inner for part in asides(looked_at) for inner in part.steps]
            inside += looked_at.finally_ or ()
        found.update(inner.escalate.code for inner in inside if inner.escalate is not None)
        waiting.extend(inside)
    return found


def _is_heard(listing: Listing, code: str, index: int) -> bool:
    """Tell whether a step around the step `index` of a list hears a code: one that the list is a part of the work of."""
    around = listing.levels(index)
    for inner, level in pairwise(around):
        aside = inner.listing.handles or inner.listing.edge is not None or inner.listing.is_finally
        if level.index is None:
            return False
        if not aside and any(event.escalation in (code, ANY_CODE) for event in level.listing.steps[level.index].boundary):
            return True
    return False
