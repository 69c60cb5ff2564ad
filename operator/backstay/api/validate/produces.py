"""What steps say that they produce, and errors that nothing inside a step can raise."""

from collections.abc import Iterator
from typing import Final

from backstay.api.faults import ANY, BUILT_IN, PERMANENT, TRANSIENT
from backstay.api.steps import Step, actions
from backstay.api.validate.places import asides, listings, structures
from backstay.api.validate.schemas import InvalidSchema, compile_schema
from backstay.api.workflow import WorkflowSpec
from backstay.errors import Problem
from backstay.expressions.types import type_of_schema
from backstay.expressions.words import closest, quoted

_WORK: Final = frozenset(actions(Step, "work"))
_BY_WORK: Final = frozenset(
    """ExitCode OOMKilled StorageExceeded Evicted NodeLost PodDeleted JobDeleted ImagePull Unschedulable StartTimeout HttpUnavailable HttpStatus
    HostForbidden Forbidden InvalidRequest Unavailable Conflict NotFound AlreadyExists FieldConflict InvalidResource UnknownKind ResourceFailed
    SecretNotFound InvalidOutput InvalidJob AdmissionDenied ChildFailed""".split()  # noqa: SIM905
)
"""Built-in errors that only a step which does work raises."""


def check_produced(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the outputs that steps declare, and handlers for errors that cannot come."""
    for listing in listings(spec):
        for index, step in enumerate(listing.steps):
            path = listing.place(index)
            if step.outputs is not None:
                yield from _check_outputs(step, f"{path}.outputs")
            if step.kind not in _WORK and step.fail is None:
                yield from _check_handlers(step, path)


def _check_outputs(step: Step, path: str) -> Iterator[Problem]:
    if step.kind not in _WORK:
        yield Problem(path, f"says what a step that does work produces ({', '.join(sorted(_WORK))}); {step.kind} does none, so remove it")
        return
    try:
        compile_schema(step.outputs or {})
    except InvalidSchema as error:
        yield Problem(f"{path}.{error.path}" if error.path else path, error.message)
        return
    found = type_of_schema(step.outputs)
    if found.is_never("map"):
        yield Problem(path, f"outputs have names, and this schema says that they are {found}; write {{type: object, properties: {{…}}}}")


def _check_handlers(step: Step, path: str) -> Iterator[Problem]:
    """Warn of a handler for an error that is not raised inside: nothing inside does work, which might raise any."""
    if not step.catch:
        return
    inside = list(_all_inside(step))
    if any(inner.kind in _WORK or inner.kind in ("template", "transaction") or (inner.fail and inner.fail.rethrow) for inner in inside):
        return
    raised = {inner.fail.error for inner in inside if inner.fail is not None and inner.fail.error is not None}
    for index, catch in enumerate(step.catch):
        for position, name in enumerate(catch.errors):
            is_slip = name not in BUILT_IN and closest(name, {*BUILT_IN, *raised, TRANSIENT, PERMANENT}) is not None
            if name in raised or name in (ANY, TRANSIENT, PERMANENT) or (name in BUILT_IN and name not in _BY_WORK) or is_slip:
                continue
            words = f"nothing in {quoted(step.name)} raises {quoted(name)}: no step of it does work, and none of its fails is of that type"
            yield Problem(f"{path}.catch[{index}].errors[{position}]", f"{words}; remove it", "warning")


def _all_inside(step: Step) -> Iterator[Step]:
    yield step
    for part in structures(step, ""):
        for inner in part.steps:
            yield from _all_inside(inner)
            yield from (deeper for part in asides(inner) for handled in part.steps for deeper in _all_inside(handled))
            yield from (deeper for last in inner.finally_ or () for deeper in _all_inside(last))
