"""What every check asks of a definition is worked out once: the answers for the definition that was asked about last are kept."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import TypeVar

from backstay.api.workflow import WorkflowSpec

Item = TypeVar("Item")


def kept_for_the_latest(work: Callable[[WorkflowSpec], Iterable[Item]]) -> Callable[[WorkflowSpec], tuple[Item, ...]]:
    """Keep the result for the latest definition, by identity: models hold what cannot be hashed. Definitions may be judged in several threads."""
    latest: tuple[WorkflowSpec, tuple[Item, ...]] | None = None

    @wraps(work)
    def answer(spec: WorkflowSpec) -> tuple[Item, ...]:
        nonlocal latest
        known = latest
        if known is None or known[0] is not spec:
            known = latest = (spec, tuple(work(spec)))
        return known[1]

    return answer
