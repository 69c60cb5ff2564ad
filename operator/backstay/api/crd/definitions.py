"""The CustomResourceDefinitions: names, columns, schemas."""

from dataclasses import dataclass
from typing import Any, Final

import yaml
from pydantic import BaseModel

from backstay.api.base import Model
from backstay.api.circuit import CircuitBreakerSpec, CircuitBreakerStatus
from backstay.api.crd.rules import LETTER_RESOLVED_ONCE, Rule, written
from backstay.api.crd.structural import Schema, structural
from backstay.api.dead_letter import DeadLetterSpec, DeadLetterStatus
from backstay.api.journal import WorkflowJournalSpec
from backstay.api.run import WorkflowRunSpec, WorkflowRunStatus
from backstay.api.semaphore import SemaphoreSpec, SemaphoreStatus
from backstay.api.workflow import WorkflowSpec, WorkflowStatus
from backstay.names import (
    ANNOTATION_STARTED_BY,
    BREAKER,
    BREAKERS,
    CATEGORY,
    DEAD_LETTER,
    DEAD_LETTERS,
    GROUP,
    JOURNAL,
    JOURNALS,
    RUN,
    RUNS,
    SEMAPHORE,
    SEMAPHORES,
    VERSION,
    WORKFLOW,
    WORKFLOWS,
)

HEADER: Final = "# Generated from operator/backstay/api by `python -m backstay.api.crd`; `make crds` writes it again.\n"

Column = dict[str, Any]
_AGE: Final[Column] = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "When it was created."}


@dataclass(frozen=True)
class Kind:
    """What is particular to one kind."""

    kind: str
    plural: str
    short_name: str
    description: str
    spec: type[Model]
    status: type[Model] | None
    """None where an object has no state: it is what it is."""
    step_levels: int
    """How many lists of steps inside each other are typed; each level makes the schema about eight times as large."""
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    """Rules that look at spec and status together."""


KINDS: Final = (
    Kind(
        kind=WORKFLOW,
        plural=WORKFLOWS,
        short_name="wf",
        description="The definition of a process. A WorkflowRun is one execution of it.",
        spec=WorkflowSpec,
        status=WorkflowStatus,
        step_levels=2,
        columns=(
            {
                "name": "Valid",
                "type": "string",
                "jsonPath": '.status.conditions[?(@.type=="Valid")].status',
                "description": "Whether it can be run.",
            },
            {"name": "Revision", "type": "integer", "jsonPath": ".status.revision.number", "description": "What a new run starts with."},
            _AGE,
            {
                "name": "Message",
                "type": "string",
                "priority": 1,
                "jsonPath": '.status.conditions[?(@.type=="Valid")].message',
                "description": "What is wrong with it.",
            },
        ),
    ),
    Kind(
        kind=RUN,
        plural=RUNS,
        short_name="wfrun",
        description="One execution of a Workflow. Its status is the whole state of the execution.",
        spec=WorkflowRunSpec,
        status=WorkflowRunStatus,
        step_levels=1,
        columns=(
            {"name": "Workflow", "type": "string", "jsonPath": ".spec.workflow.name", "description": "What it runs."},
            {"name": "Status", "type": "string", "jsonPath": ".status.status", "description": "Where it stands."},
            {"name": "Progress", "type": "string", "jsonPath": ".status.progress", "description": "Steps done and steps known."},
            {"name": "Step", "type": "string", "jsonPath": ".status.step", "description": "What is going on now."},
            _AGE,
            {
                "name": "Started-By",
                "type": "string",
                "priority": 1,
                "jsonPath": ".metadata.annotations." + ANNOTATION_STARTED_BY.replace(".", "\\."),
                "description": "Who started it.",
            },
        ),
        selectable=(".spec.workflow.name", ".spec.compensate.reason", ".status.phase"),
    ),
    Kind(
        kind=SEMAPHORE,
        plural=SEMAPHORES,
        short_name="sem",
        description="Slots that steps of different runs share: a step with a lock of this name begins only when it holds one.",
        spec=SemaphoreSpec,
        status=SemaphoreStatus,
        step_levels=0,
        columns=(
            {"name": "Limit", "type": "integer", "jsonPath": ".spec.limit", "description": "How many may hold it, for each key."},
            {"name": "Held", "type": "integer", "jsonPath": ".status.held", "description": "How many slots are held, over all keys."},
            {"name": "Waiting", "type": "integer", "jsonPath": ".status.queued", "description": "How many wait, over all keys."},
            _AGE,
        ),
    ),
    Kind(
        kind=BREAKER,
        plural=BREAKERS,
        short_name="cb",
        description="Leaves alone for a while what steps call and what fails too often: a step with a circuit of this name asks it before each attempt.",
        spec=CircuitBreakerSpec,
        status=CircuitBreakerStatus,
        step_levels=0,
        columns=(
            {"name": "State", "type": "string", "jsonPath": ".status.state", "description": "Closed, Open or HalfOpen."},
            {"name": "Failures", "type": "string", "jsonPath": ".status.failed", "description": "Failures of results in its window."},
            {"name": "Since", "type": "date", "jsonPath": ".status.since", "description": "Since when it is in this state."},
            {"name": "Until", "type": "string", "jsonPath": ".status.openUntil", "description": "Until when it lets nothing through."},
            _AGE,
            {"name": "Error", "type": "string", "priority": 1, "jsonPath": ".status.lastError.type", "description": "The latest failure."},
            {"name": "Forced", "type": "string", "priority": 1, "jsonPath": ".spec.forced.state", "description": "Held there by a person."},
        ),
    ),
    Kind(
        kind=JOURNAL,
        plural=JOURNALS,
        short_name="wfjournal",
        description="Older entries of a WorkflowRun's journal: appended once, never changed, and gone with the run.",
        spec=WorkflowJournalSpec,
        status=None,
        step_levels=0,
        columns=(
            {"name": "Run", "type": "string", "jsonPath": ".spec.run.name", "description": "The run that the entries are of."},
            {"name": "First", "type": "integer", "jsonPath": ".spec.first", "description": "Number of the first entry."},
            {"name": "Last", "type": "integer", "jsonPath": ".spec.last", "description": "Number of the last entry."},
            {"name": "Entries", "type": "integer", "jsonPath": ".spec.count", "description": "How many entries it holds."},
            _AGE,
        ),
        selectable=(".spec.run.name",),
    ),
    Kind(
        kind=DEAD_LETTER,
        plural=DEAD_LETTERS,
        short_name="dl",
        description="A step that gave up, with its error, its inputs and its run: to be replayed or discarded. It survives its run.",
        spec=DeadLetterSpec,
        status=DeadLetterStatus,
        step_levels=0,
        columns=(
            {"name": "Run", "type": "string", "jsonPath": ".spec.run.name", "description": "The run that waits, or waited."},
            {"name": "Step", "type": "string", "jsonPath": ".spec.step", "description": "The step that gave up."},
            {"name": "Error", "type": "string", "jsonPath": ".spec.error.type", "description": "Why."},
            {"name": "Phase", "type": "string", "jsonPath": ".status.phase", "description": "Where it stands."},
            _AGE,
            {
                "name": "Goes-On-As",
                "type": "string",
                "priority": 1,
                "jsonPath": ".status.run.name",
                "description": "The run that goes on with it.",
            },
            {"name": "Message", "type": "string", "priority": 1, "jsonPath": ".status.message", "description": "How it stands, in words."},
        ),
        selectable=(".spec.run.name", ".spec.error.type", ".status.phase"),
        rules=(LETTER_RESOLVED_ONCE,),
    ),
)


def definitions() -> dict[str, dict[str, Any]]:
    """Return the CRD of each kind as a manifest, by its plural name."""
    return {kind.plural: _definition(kind) for kind in KINDS}


def file_name(plural: str) -> str:
    """Return the name of a CRD's file, as controller-gen would call it."""
    return f"{GROUP}_{plural}.yaml"


def to_yaml(manifest: dict[str, Any]) -> str:
    """Return a manifest as YAML for people, the same text for the same models."""
    return HEADER + yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=140)


def _definition(kind: Kind) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short_name],
                "categories": [CATEGORY],
            },
            "versions": [_version(kind)],
        },
    }


def _version(kind: Kind) -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        **({"subresources": {"status": {}}} if kind.status else {}),
        "additionalPrinterColumns": [dict(column) for column in kind.columns],
        **({"selectableFields": [{"jsonPath": path} for path in kind.selectable]} if kind.selectable else {}),
        "schema": {"openAPIV3Schema": _schema(kind)},
    }


def _schema(kind: Kind) -> Schema:
    models = _models(Model)
    return {
        "description": kind.description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "The version of the API that the object is written in."},
            "kind": {"type": "string", "description": "What the object is."},
            "metadata": {"type": "object"},
            "spec": structural(kind.spec, kind.step_levels, models),
            **({"status": structural(kind.status, 0, models)} if kind.status else {}),
        },
        **written(kind.rules),
    }


def _models(base: type[BaseModel]) -> dict[str, type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {base.__name__: base}
    for model in base.__subclasses__():
        found |= _models(model)
    return found


class _Dumper(yaml.SafeDumper):
    """Writes lists indented no further than their key, and never uses anchors."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True
