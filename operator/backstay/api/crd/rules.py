"""What the API server can check beyond types: rules in CEL, where they fit into its cost budget.

A rule's estimated cost is multiplied by the most items that the lists around it may have (10 million a rule, 100 million a CRD). That leaves rules for the
outermost list of steps; further in, the operator and `backstay lint` say the same. Plain `oneOf` would cost nothing there and name the wrong mend:
for a step without an action it says that `job` is required.
"""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel

from backstay.api.actions.structures import Parallel
from backstay.api.base import Model
from backstay.api.circuit import MOST_CALLS, WINDOW_COUNT, CircuitBreakerSpec, CircuitWindow
from backstay.api.dead_letter import DeadLetterSpec, LetterResolution
from backstay.api.journal import WorkflowJournalSpec
from backstay.api.run import WorkflowRef, WorkflowRunSpec
from backstay.api.semaphore import Concurrency, SemaphoreSpec
from backstay.api.steps import Compensate, FailAction, Step, WaitAction, actions
from backstay.api.workflow import WorkflowSpec

Rule = tuple[str, str]
"""An expression over `self`, and the message where it is false."""

LIMITED: Final = "has(self.limit) || has(self.rate)"
LETTER_RESOLVED_ONCE: Final[Rule] = (
    "!has(oldSelf.spec.resolution) || (has(self.spec.resolution) && self.spec.resolution == oldSelf.spec.resolution)"
    " || (has(oldSelf.status) && has(oldSelf.status.phase) && oldSelf.status.phase == 'Failed'"
    " && has(self.spec.resolution) && self.spec.resolution.id != oldSelf.spec.resolution.id)",
    "a resolution is set once; another one, with another id, may be set when this one has failed (status.phase is Failed)",
)
"""Of a whole DeadLetter."""


def _kept(model: type[Model], *others: str) -> tuple[Rule, ...]:
    """Return the rules that let no field of a model change but the `others`."""
    names = [field.alias or name for name, field in model.model_fields.items() if (field.alias or name) not in others]
    required = {field.alias or name for name, field in model.model_fields.items() if field.is_required()}
    return tuple(
        (
            f"self.{name} == oldSelf.{name}"
            if name in required
            else f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})",
            f"{name} is a record of what happened; of a {model.__name__.removesuffix('Spec')} only {', '.join(others)} is for you to set",
        )
        for name in names
    )


_EXCLUSIVE: Final[dict[type[BaseModel], tuple[str, ...]]] = {
    Step: actions(Step),
    Compensate: actions(Compensate),
    WaitAction: ("duration", "until", "condition"),
    WorkflowRef: ("name", "inline"),
    CircuitWindow: ("count", "duration"),
}
"""Fields of which exactly one must be given."""

_WHAT: Final[dict[type[BaseModel], str]] = {
    Step: "a step has exactly one action",
    Compensate: "compensate has exactly one action",
    WaitAction: "wait needs exactly one of these",
    WorkflowRef: "a run needs exactly one of these",
    CircuitWindow: "a window needs exactly one of these",
}

_RULES: Final[dict[type[BaseModel], tuple[Rule, ...]]] = {
    Parallel: (
        (
            "!has(self.join) || type(self.join) != int || (self.join >= 1 && self.join <= size(self.branches))",
            "join can never be met; write a number from 1 to the number of branches",
        ),
    ),
    SemaphoreSpec: ((LIMITED, "limits nothing; give limit, rate, or both"),),
    CircuitBreakerSpec: (
        ("!has(self.failureRate) || !has(self.failures)", "give failureRate or failures, not both"),
        *(
            (
                f"!has(self.{name}) || self.{name} <= (has(self.window) ? (has(self.window.count) ? self.window.count : {MOST_CALLS}) : {WINDOW_COUNT})",
                f"{name} is more than the results that the window holds, so it would never open; raise window.count",
            )
            for name in ("minimumCalls", "failures")
        ),
    ),
    Concurrency: (
        (LIMITED, "limits nothing; give limit, rate, or both"),
        (
            "!has(self.onConflict) || self.onConflict != 'CancelOldest' || has(self.limit)",
            "CancelOldest needs a limit: cancelling makes no room under a rate",
        ),
    ),
    FailAction: (
        (
            "!has(self.error) || !(self.error in ['*', 'Transient', 'Permanent'])",
            "that is a class of errors; raise one type, as in PaymentOverdue",
        ),
        (
            "has(self.error) != (has(self.rethrow) && self.rethrow)",
            "give error: the type that is raised; or, in a catch, rethrow: true",
        ),
    ),
    DeadLetterSpec: _kept(DeadLetterSpec, "resolution"),
    LetterResolution: (
        ("self.action != 'Discard' || (has(self.reason) && self.reason != '')", "Discard needs a reason"),
        ("self.action != 'Discard' || (!has(self.edit) && !has(self.parameters))", "edit and parameters go with Replay"),
    ),
    WorkflowJournalSpec: (("self == oldSelf", "a WorkflowJournal is written once and never changed"),),
    WorkflowSpec: (
        (
            "has(self.steps) != has(self.dag) || (has(self.templates) && !has(self.steps) && !has(self.dag))",
            "the body of a workflow is exactly one of these: steps, dag",
        ),
    ),
    WorkflowRef: (
        ("!has(self.revision) || has(self.name)", "revision goes with name; an inline definition has none"),
        ("!has(self.template) || has(self.name)", "template goes with name; an inline definition runs its body"),
    ),
    WorkflowRunSpec: (
        ("self.workflow == oldSelf.workflow", "a run keeps the workflow it was created with; create another run for a different one"),
        (
            "has(self.parameters) == has(oldSelf.parameters) && (!has(self.parameters) || self.parameters == oldSelf.parameters)",
            "a run keeps the parameters it was created with; create another run for different ones",
        ),
        (
            "has(self.serviceAccountName) == has(oldSelf.serviceAccountName)"
            " && (!has(self.serviceAccountName) || self.serviceAccountName == oldSelf.serviceAccountName)",
            "a run keeps the service account it was created with; create another run for a different one",
        ),
        (
            "!has(oldSelf.requests) || (has(self.requests) && oldSelf.requests.all(old, self.requests.exists(new, new == old)))",
            "requests are only ever added, never changed or taken back",
        ),
        ("!has(oldSelf.cancel) || has(self.cancel)", "a cancellation cannot be taken back; create another run instead"),
        ("!has(oldSelf.compensate) || has(self.compensate)", "undoing a run cannot be taken back; create another run instead"),
    ),
}


def rules_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the CEL rules of a model as a part of its schema."""
    return written((*_exactly_one(model), *_RULES.get(model, ())))


def written(rules: Sequence[Rule]) -> dict[str, Any]:
    """Return rules as a part of a schema."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]} if rules else {}


def _exactly_one(model: type[BaseModel]) -> list[Rule]:
    fields = _EXCLUSIVE.get(model, ())
    if not fields:
        return []
    given = ", ".join(f"has(self.{_escaped(name)})" for name in fields)
    rule = f"has(self.{fields[0]}) != has(self.{fields[1]})" if len(fields) == 2 else f"[{given}].exists_one(given, given)"
    return [(rule, f"{_WHAT[model]}: {', '.join(fields)}")]


def _escaped(name: str) -> str:
    """Write a field's name as the API server's CEL wants words that it reserves (KEP-2876, "Escaping")."""
    return f"__{name}__" if name in ("if", "in", "as", "for", "while", "var", "import", "package", "namespace", "return") else name
