"""Modifiers that mean nothing where they stand, or that no error can ever meet: retries, timeouts, catches, compensations, names."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from backstay.api.base import IDENTIFIER_PATTERN, format_duration
from backstay.api.steps import Compensate, Step, actions
from backstay.api.validate.catches import check_catches, check_step_catches, raised_in
from backstay.api.validate.places import listings
from backstay.api.validate.retries import check_retry, check_step_retry
from backstay.api.workflow import Defaults, WorkflowSpec
from backstay.errors import Problem
from backstay.expressions.cel import NOT_AFTER_A_DOT
from backstay.expressions.words import quoted

WORKING: Final = actions(Step, "work")
"""Kinds of steps that do work which can be tried again."""
STRUCTURES: Final = actions(Step, "structure")
INSTANT: Final = actions(Step, "instant")
"""Kinds of steps that are over as soon as they begin."""


def check_policies(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the modifiers of the steps and of the workflow."""
    raised = raised_in(spec)
    yield from _check_names(spec)
    yield from _check_timeouts("defaults", spec.defaults.timeout, spec.defaults.attempt_timeout)
    yield from check_retry(spec.defaults.retry, "defaults.retry", raised)
    yield from check_catches(spec.catch, "catch", raised)
    for listing in listings(spec):
        for index, step in enumerate(listing.steps):
            path = listing.place(index)
            yield from _check_work(step, path)
            yield from _check_step_timeouts(step, path, spec.defaults)
            yield from check_retry(step.retry, f"{path}.retry", raised)
            if step.kind in WORKING:
                yield from check_step_retry(step, path, spec.defaults)
            yield from check_step_catches(step, path, raised)
            yield from _check_compensate(step, path, raised)
            yield from _check_variables(step, path)


# ----------------------------------------------------------------------------------------------------------------- retry and timeout


def _check_work(step: Step, path: str) -> Iterator[Problem]:
    modifiers = {"retry": step.retry, "attemptTimeout": step.attempt_timeout, "onExhausted": step.on_exhausted, "retriable": step.retriable}
    given = [name for name, value in modifiers.items() if value]
    if step.kind in WORKING:
        return
    for name in given:
        if step.kind in STRUCTURES:
            inside = "the phases of its participants" if step.transaction is not None else "the steps inside"
            yield Problem(f"{path}.{name}", f"{step.kind} makes no attempts of its own; put {name} on {inside}")
        else:
            yield Problem(f"{path}.{name}", f"{step.kind} does no work that could be tried again; remove {name}")
    if step.timeout is not None and step.kind in INSTANT:
        yield Problem(f"{path}.timeout", f"{step.kind} is over as soon as it begins; remove the timeout", "warning")


def _check_step_timeouts(step: Step, path: str, defaults: Defaults) -> Iterator[Problem]:
    if step.kind in WORKING and (step.timeout is not None or step.attempt_timeout is not None):
        yield from _check_timeouts(path, step.timeout or defaults.timeout, step.attempt_timeout or defaults.attempt_timeout)


def _check_timeouts(path: str, timeout: timedelta | None, attempt: timedelta | None) -> Iterator[Problem]:
    if timeout is not None and attempt is not None and attempt > timeout:
        message = f"attemptTimeout ({format_duration(attempt)}) is longer than timeout ({format_duration(timeout)}) and never comes to pass; make it shorter"
        yield Problem(f"{path}.attemptTimeout", message, "warning")


# ---------------------------------------------------------------------------------------------------------------------- compensation


def _check_compensate(step: Step, path: str, raised: frozenset[str]) -> Iterator[Problem]:
    undo: Compensate | None = step.compensate
    if undo is None:
        return
    place = f"{path}.compensate"
    if step.kind in ("fail", "end", "undo", "escalate"):
        yield Problem(place, f"{step.kind} does nothing that could be undone; remove compensate")
    yield from _check_timeouts(place, undo.timeout, undo.attempt_timeout)
    yield from check_retry(undo.retry, f"{place}.retry", raised)
    if undo.steps is not None:
        for name, value in (("retry", undo.retry), ("attemptTimeout", undo.attempt_timeout)):
            if value is not None:
                yield Problem(f"{place}.{name}", f"steps make no attempts of their own; put {name} on the steps inside")


# --------------------------------------------------------------------------------------------------------------------------- names


def _check_names(spec: WorkflowSpec) -> Iterator[Problem]:
    for index, parameter in enumerate(spec.parameters):
        if parameter.name in NOT_AFTER_A_DOT:
            yield Problem(f"parameters[{index}].name", f"expressions cannot say params.{parameter.name}; choose another name")


def _check_variables(step: Step, path: str) -> Iterator[Problem]:
    for name in step.set or ():
        if not re.fullmatch(IDENTIFIER_PATTERN, name) or name in NOT_AFTER_A_DOT or len(name) > 63:
            yield Problem(
                f"{path}.set", f"{quoted(name)} is no name for a variable; write letters, digits and underscores, as in orderTotal"
            )
    if step.set is not None and not step.set:
        yield Problem(f"{path}.set", "sets nothing; give it a variable, as in set: {total: 1}")
