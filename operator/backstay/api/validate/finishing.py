"""What may not stand in a `finally`: it is carried through, whatever happens, and is never undone."""

from collections.abc import Iterator
from typing import Final

from backstay.api.validate.places import listings
from backstay.api.workflow import WorkflowSpec
from backstay.errors import Problem

_UNFIT: Final = {
    "end": "the run, or what is around this step, has an end already, and ending.phase says which; write fail where that is to be a failure",
    "undo": "what is to be undone is decided before; put it into a catch",
}
"""Kinds of steps that may not stand in a finally, and what to do instead."""


def check_finally(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what stands in a finally and cannot."""
    for listing in listings(spec):
        if not listing.in_finally:
            continue
        for index, step in enumerate(listing.steps):
            path = listing.place(index)
            if step.compensate is not None:
                yield Problem(f"{path}.compensate", "a finally is never undone; remove compensate, or move the step out of the finally")
            if step.kind in _UNFIT:
                yield Problem(f"{path}.{step.kind}", f"a finally cannot hold {step.kind}: {_UNFIT[step.kind]}")
