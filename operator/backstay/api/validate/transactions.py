"""What is wrong with transactions beyond their fields: limits that never come to pass, and phases that could not keep their promise."""

from collections.abc import Iterator
from typing import Final

from backstay.api.actions.transaction import PHASES, PhaseAction, Transaction
from backstay.api.base import format_duration
from backstay.api.steps import Step
from backstay.api.validate.places import listings
from backstay.api.workflow import WorkflowSpec
from backstay.errors import Problem

_FIRST: Final = frozenset(names[0] for names in PHASES.values())
"""The phases before the decision."""
_LIMITING: Final = ("maxAttempts", "errors", "within", "rules")
"""What of a retry says when to give up."""


def check_transactions(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the transactions of a workflow."""
    for listing in listings(spec):
        for index, step in enumerate(listing.steps):
            if step.transaction is not None:
                yield from _check(step, step.transaction, f"{listing.place(index)}.transaction")


def _check(step: Step, action: Transaction, path: str) -> Iterator[Problem]:
    if len(action.participants) == 1:
        yield Problem(
            f"{path}.participants", "one participant alone needs no transaction; write its work as a step, or name the others", "warning"
        )
    if step.timeout is not None and step.timeout < action.decision_timeout and "decision_timeout" in action.model_fields_set:
        words = f"decisionTimeout ({format_duration(action.decision_timeout)}) is longer than the step's timeout ({format_duration(step.timeout)})"
        yield Problem(f"{path}.decisionTimeout", f"{words} and never comes to pass; make it shorter", "warning")
    for place, name, phase in action.phases():
        yield from _check_phase(name, phase, f"{path}.{place}")
        if name in _FIRST and phase.timeout is not None and phase.timeout > action.decision_timeout:
            words = (
                f"timeout ({format_duration(phase.timeout)}) is longer than decisionTimeout ({format_duration(action.decision_timeout)})"
            )
            yield Problem(f"{path}.{place}.timeout", f"{words} and never comes to pass; make one of them fit the other", "warning")


def _check_phase(name: str, phase: PhaseAction, path: str) -> Iterator[Problem]:
    if phase.workflow is not None and not phase.workflow.wait:
        yield Problem(f"{path}.workflow.wait", "a transaction answers for its participants and has to wait for them; remove wait: false")
    if name in _FIRST:
        return
    if phase.timeout is not None:
        yield Problem(
            f"{path}.timeout", f"{name} is tried until it succeeds, so nothing ends it; write attemptTimeout for a single attempt"
        )
    given = [limit for limit in _LIMITING if phase.retry is not None and limit in _written(phase)]
    if given:
        yield Problem(f"{path}.retry", f"{name} is tried until it succeeds, whatever the error; remove {', '.join(given)}")


def _written(phase: PhaseAction) -> set[str]:
    return set(phase.to_json().get("retry") or {})
