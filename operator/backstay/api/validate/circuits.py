"""Circuit breakers that no attempt ever asks, and what is said about them that never comes to pass."""

from collections.abc import Iterator
from typing import Final

from backstay.api.circuit import WhenOpen
from backstay.api.steps import Step, actions
from backstay.api.validate.places import listings
from backstay.api.workflow import WorkflowSpec
from backstay.errors import Problem

CIRCUIT_OPEN: Final = "CircuitOpen"
WORKING: Final = actions(Step, "work")
STRUCTURES: Final = actions(Step, "structure")


def check_circuits(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the circuits of a workflow's steps."""
    for listing in listings(spec):
        for index, step in enumerate(listing.steps):
            path = listing.place(index)
            if step.circuit is not None:
                yield from _check_circuit(step, path)
            elif step.when_open is not None:
                words = "says what becomes of an attempt that a circuit breaker does not let through; name the breaker in circuit"
                yield Problem(f"{path}.whenOpen", words)


def _check_circuit(step: Step, path: str) -> Iterator[Problem]:
    if step.kind not in WORKING:
        mend = "put circuit on the steps inside" if step.kind in STRUCTURES else "remove circuit"
        yield Problem(f"{path}.circuit", f"{step.kind} makes no attempts that could be let through; {mend}")
        return
    if step.retriable and step.when_open is WhenOpen.FAIL:
        words = "a retriable step is tried until it succeeds, so it waits while its circuit breaker is open; remove whenOpen"
        yield Problem(f"{path}.whenOpen", words, "warning")
    if step.retry is not None and CIRCUIT_OPEN in step.retry.errors:
        words = f"{CIRCUIT_OPEN} of its own circuit breaker is never tried again; write whenOpen: Wait to have the step wait"
        yield Problem(f"{path}.retry.errors", words, "warning")
    if step.when_open is WhenOpen.WAIT:
        for number, handler in enumerate(step.catch):
            if handler.errors == (CIRCUIT_OPEN,):
                words = f"with whenOpen: Wait the step waits and raises no {CIRCUIT_OPEN}; remove the handler, or write whenOpen: Fail"
                yield Problem(f"{path}.catch[{number}]", words, "warning")
