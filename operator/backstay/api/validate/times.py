"""Timeouts and waits that can never come to pass, because something around them, or beside them, is over before."""

from collections.abc import Iterator
from datetime import timedelta

from backstay.api.base import format_duration
from backstay.api.faults import matches
from backstay.api.steps import RaceBranch, Step
from backstay.api.validate.constants import constant_duration, is_always
from backstay.api.validate.places import Listing, listings
from backstay.api.workflow import WorkflowSpec
from backstay.errors import Problem
from backstay.expressions.words import quoted


def check_times(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield timeouts and waits that are longer than what is around them, and events that cannot be the first."""
    for listing in listings(spec):
        limit = _limit_around(listing, spec)
        for index, step in enumerate(listing.steps):
            path = listing.place(index)
            yield from _check_limits(step, path, limit)
            yield from _check_wait(step, path, limit)
            if step.race is not None:
                yield from _check_race(step.race, f"{path}.race")


def _limit_around(listing: Listing, spec: WorkflowSpec) -> tuple[timedelta, str] | None:
    """Return the shortest timeout of the structures around a list, and of the run; None for a compensation, which has its own time."""
    if ".compensate." in listing.path:
        return None
    limits = [(spec.timeout, "the workflow")] if spec.timeout is not None else []
    for level in listing.outer:
        if level.index is not None and not level.with_itself:
            step = level.listing.steps[level.index]
            limits += [(step.timeout, quoted(step.name))] if step.timeout is not None else []
    return min(limits, key=lambda found: found[0]) if limits else None


def _check_limits(step: Step, path: str, limit: tuple[timedelta, str] | None) -> Iterator[Problem]:
    if limit is None:
        return
    for name, found in (("timeout", step.timeout), ("attemptTimeout", step.attempt_timeout if step.timeout is None else None)):
        if found is not None and found > limit[0]:
            words = f"{name} ({format_duration(found)}) is longer than the timeout of {limit[1]} around it ({format_duration(limit[0])})"
            yield Problem(f"{path}.{name}", f"{words} and never comes to pass; make it shorter", "warning")


def _check_wait(step: Step, path: str, limit: tuple[timedelta, str] | None) -> Iterator[Problem]:
    if step.wait is None or step.if_ is not None:
        return
    if is_always(step.wait.condition, False) and step.timeout is None:
        yield Problem(f"{path}.wait.condition", "the wait is never over: its condition is always false; give it a condition, or a timeout")
    duration = constant_duration(step.wait.duration)
    if duration is None:
        return
    if step.timeout is not None and duration > step.timeout and not any(matches("Timeout", catch.errors) for catch in step.catch):
        words = f"the wait of {format_duration(duration)} is never over: its timeout of {format_duration(step.timeout)} ends it before"
        yield Problem(f"{path}.wait.duration", f"{words}; make one of them fit the other", "warning")
    elif step.timeout is None and limit is not None and duration > limit[0]:
        words = f"the wait of {format_duration(duration)} is never over: the timeout of {limit[1]} around it is {format_duration(limit[0])}"
        yield Problem(f"{path}.wait.duration", f"{words}; make one of them fit the other", "warning")


# -------------------------------------------------------------------------------------------------------------------------- races


def _check_race(branches: tuple[RaceBranch, ...], path: str) -> Iterator[Problem]:
    """Yield the events that never come first: of several waits of known length only the shortest can, the first of equals."""
    durations = {index: found for index, branch in enumerate(branches) if (found := _length(branch)) is not None}
    for index, branch in enumerate(branches):
        if branch.wait is not None and is_always(branch.wait.condition, False):
            yield Problem(f"{path}[{index}].wait.condition", "the event never comes: its condition is always false; remove it", "warning")
        if index not in durations:
            continue
        rivals = [(found, other) for other, found in durations.items() if other != index and (found, other) < (durations[index], index)]
        if rivals:
            length, winner = min(rivals)
            words = "is over at once" if not length else f"is over after {format_duration(length)}"
            yield Problem(f"{path}[{index}]", f"this event never comes first: race[{winner}] {words}, always before it; remove one of them")


def _length(branch: RaceBranch) -> timedelta | None:
    """Return how long an event takes where that is known; no time at all for a condition that is always true."""
    if branch.wait is None:
        return None
    return timedelta() if is_always(branch.wait.condition, True) else constant_duration(branch.wait.duration)
