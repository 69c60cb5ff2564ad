"""Handlers that are never taken, and errors that cannot be raised again."""

from collections.abc import Iterator, Sequence

from backstay.api.faults import ANY, matches
from backstay.api.policies import Catch
from backstay.api.steps import Step
from backstay.api.validate.constants import is_always
from backstay.api.validate.error_types import check_types, covers, in_words
from backstay.api.validate.places import ALWAYS, Listing, listings
from backstay.api.workflow import WorkflowSpec
from backstay.errors import Problem
from backstay.expressions.cel import RESERVED
from backstay.expressions.words import quoted


def raised_in(spec: WorkflowSpec) -> frozenset[str]:
    """Return the error types of a workflow's own: those that its `fail` steps raise, and that its jobs' exit codes stand for."""
    steps = [step for listing in listings(spec) for step in listing.steps]
    own = {step.fail.error for step in steps if step.fail is not None and step.fail.error is not None}
    return frozenset(own.union(*(step.job.exit_codes.values() for step in steps if step.job is not None)))


def check_rethrows(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield the steps that raise an error again where none is handled."""
    for listing in listings(spec):
        for index, step in enumerate(listing.steps):
            if step.fail is not None and step.fail.rethrow and not _handles(listing):
                yield Problem(
                    f"{listing.place(index)}.fail.rethrow", "no catch is around it, so there is no error to raise again; name one in error"
                )


def _handles(listing: Listing) -> bool:
    """Tell whether a list is in a catch: of this part of the run, for a compensation runs when nothing is handled any more."""
    for inner, outer in zip((None, *listing.outer), (listing, *(level.listing for level in listing.outer)), strict=True):
        if inner is not None and inner.index is None:
            return False
        if outer.handles:
            return True
    return False


def check_step_catches(step: Step, path: str, raised: frozenset[str]) -> Iterator[Problem]:
    """Yield what is wrong with the catches of a step."""
    if step.catch and step.end is not None:
        yield Problem(f"{path}.catch", "end raises no error that could be caught; remove catch")
    elif step.catch and step.fail is not None and step.fail.error is not None:
        for index, catch in enumerate(step.catch):
            if not matches(step.fail.error, catch.errors):
                words = f"this fail raises {quoted(step.fail.error)} alone, so the handler is never taken; remove it"
                yield Problem(f"{path}.catch[{index}]", words)
    yield from check_catches(step.catch, f"{path}.catch", raised)


def check_catches(catches: Sequence[Catch], path: str, raised: frozenset[str]) -> Iterator[Problem]:
    """Yield what is wrong with a list of catches: those that others before them leave nothing for, above all."""
    for index, catch in enumerate(catches):
        place = f"{path}[{index}]"
        yield from check_types(catch.errors, f"{place}.errors", raised)
        yield from _check_reached(catches, index, path)
        if is_always(catch.when, False):
            yield Problem(f"{place}.when", "the condition is always false, so the handler is never taken; remove it", "warning")
        if catch.as_ in RESERVED or catch.as_ in (*ALWAYS, "self", "attempt", "lastError"):
            yield Problem(f"{place}.as", f"{quoted(catch.as_)} means something else in expressions; choose another name, such as problem")


def _check_reached(catches: Sequence[Catch], index: int, path: str) -> Iterator[Problem]:
    """Yield what of a catch an earlier one takes, which takes it whatever the error says: a condition may leave some for later ones."""
    wholly = [(number, other) for number, other in enumerate(catches[:index]) if other.when is None or is_always(other.when, True)]
    earlier = [(number, kind) for number, other in wholly for kind in other.errors]
    for position, wanted in enumerate(catches[index].errors):
        if taken := next((found for found in earlier if covers(found[1], wanted)), None):
            message = f"{quoted(wanted)} is never caught here: {path.rpartition('.')[2]}[{taken[0]}] before it takes {in_words(taken[1])}"
            everything = len(catches[index].errors) == 1 and taken[1] == ANY
            yield Problem(
                f"{path}[{index}].errors[{position}]",
                f"{message}; {'put that one last' if taken[1] == ANY else 'remove one'}",
                "error" if everything else "warning",
            )
            return
