"""Modifiers that mean nothing where they stand, or that no error can ever meet: retries, timeouts, catches, compensations, names."""

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from backstay.api.base import IDENTIFIER_PATTERN, format_duration
from backstay.api.faults import ANY, BUILT_IN, PERMANENT, TRANSIENT, class_of, matches
from backstay.api.policies import Catch, Retry
from backstay.api.steps import Compensate, Step, actions
from backstay.api.validate.places import ALWAYS, listings
from backstay.api.workflow import Defaults, WorkflowSpec
from backstay.errors import Problem
from backstay.expressions.cel import NOT_AFTER_A_DOT, RESERVED
from backstay.expressions.words import closest, quoted

WORKING: Final = actions(Step, "work")
"""Kinds of steps that do work which can be tried again."""
STRUCTURES: Final = actions(Step, "structure")
INSTANT: Final = actions(Step, "instant")
"""Kinds of steps that are over as soon as they begin."""


def check_policies(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the modifiers of the steps and of the workflow."""
    raised = _raised(spec)
    yield from _check_names(spec)
    yield from _check_timeouts("defaults", spec.defaults.timeout, spec.defaults.attempt_timeout)
    yield from _check_retry(spec.defaults.retry, "defaults.retry", raised)
    yield from _check_catches(spec.catch, "catch", raised)
    for listing in listings(spec):
        for index, step in enumerate(listing.steps):
            path = listing.place(index)
            yield from _check_work(step, path)
            yield from _check_step_timeouts(step, path, spec.defaults)
            yield from _check_retry(step.retry, f"{path}.retry", raised)
            yield from _check_step_catches(step, path, raised)
            yield from _check_compensate(step, path, raised)
            yield from _check_variables(step, path)


# ----------------------------------------------------------------------------------------------------------------- retry and timeout


def _check_work(step: Step, path: str) -> Iterator[Problem]:
    given = [name for name, value in (("retry", step.retry), ("attemptTimeout", step.attempt_timeout)) if value is not None]
    if step.kind in WORKING:
        return
    for name in given:
        if step.kind in STRUCTURES:
            yield Problem(f"{path}.{name}", f"{step.kind} makes no attempts of its own; put {name} on the steps inside")
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


def _check_retry(retry: Retry | None, path: str, raised: frozenset[str]) -> Iterator[Problem]:
    if retry is None:
        return
    if "errors" in retry.model_fields_set:
        yield from _check_types(retry.errors, f"{path}.errors", raised)
    if retry.interval > retry.max_delay and "interval" in retry.model_fields_set:
        message = f"interval ({format_duration(retry.interval)}) is longer than maxDelay ({format_duration(retry.max_delay)}), which cuts it; raise maxDelay"
        yield Problem(f"{path}.interval", message, "warning")


# --------------------------------------------------------------------------------------------------------------------------- catch


def _check_step_catches(step: Step, path: str, raised: frozenset[str]) -> Iterator[Problem]:
    if step.catch and step.end is not None:
        yield Problem(f"{path}.catch", "end raises no error that could be caught; remove catch")
    elif step.catch and step.fail is not None:
        for index, catch in enumerate(step.catch):
            if not matches(step.fail.error, catch.errors):
                yield Problem(
                    f"{path}.catch[{index}]", f"this fail raises {quoted(step.fail.error)} alone, so the handler is never taken; remove it"
                )
    yield from _check_catches(step.catch, f"{path}.catch", raised)


def _check_catches(catches: Sequence[Catch], path: str, raised: frozenset[str]) -> Iterator[Problem]:
    for index, catch in enumerate(catches):
        place = f"{path}[{index}]"
        yield from _check_types(catch.errors, f"{place}.errors", raised)
        earlier = [(number, kind) for number, other in enumerate(catches[:index]) for kind in other.errors]
        for position, wanted in enumerate(catch.errors):
            if taken := next((found for found in earlier if _covers(found[1], wanted)), None):
                message = (
                    f"{quoted(wanted)} is never caught here: {path.rpartition('.')[2]}[{taken[0]}] before it takes {_in_words(taken[1])}"
                )
                everything = len(catch.errors) == 1 and taken[1] == ANY
                yield Problem(
                    f"{place}.errors[{position}]",
                    f"{message}; {'put that one last' if taken[1] == ANY else 'remove one'}",
                    "error" if everything else "warning",
                )
                break
        if catch.as_ in RESERVED or catch.as_ in (*ALWAYS, "self"):
            yield Problem(f"{place}.as", f"{quoted(catch.as_)} means something else in expressions; choose another name, such as problem")


def _covers(taken: str, wanted: str) -> bool:
    return taken in (ANY, wanted) or (
        taken in (TRANSIENT, PERMANENT) and class_of(wanted) == taken and wanted not in (ANY, TRANSIENT, PERMANENT)
    )


def _in_words(taken: str) -> str:
    return "every error" if taken == ANY else f"{taken} errors" if taken in (TRANSIENT, PERMANENT) else "it"


def _check_types(types: Sequence[str], path: str, raised: frozenset[str]) -> Iterator[Problem]:
    """Warn of a type that looks like a slip. A container may raise any type, so an unknown one is no mistake by itself."""
    known = {*BUILT_IN, TRANSIENT, PERMANENT, ANY, *raised}
    for index, name in enumerate(types):
        if name not in known and (meant := closest(name, known)):
            yield Problem(f"{path}[{index}]", f"{quoted(name)} is no error type of this workflow; did you mean {quoted(meant)}?", "warning")


def _raised(spec: WorkflowSpec) -> frozenset[str]:
    return frozenset(step.fail.error for listing in listings(spec) for step in listing.steps if step.fail is not None)


# ---------------------------------------------------------------------------------------------------------------------- compensation


def _check_compensate(step: Step, path: str, raised: frozenset[str]) -> Iterator[Problem]:
    undo: Compensate | None = step.compensate
    if undo is None:
        return
    place = f"{path}.compensate"
    if step.kind in ("fail", "end"):
        yield Problem(place, f"{step.kind} does nothing that could be undone; remove compensate")
    yield from _check_timeouts(place, undo.timeout, undo.attempt_timeout)
    yield from _check_retry(undo.retry, f"{place}.retry", raised)
    if undo.job is None:
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
