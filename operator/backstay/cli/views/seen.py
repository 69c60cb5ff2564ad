"""A run as the command line sees it: its manifest, the state in its status, and the program that it runs.

Reading is lenient where the operator is strict: a field that this version does not know is left out, a step that cannot be read is
left out with a note. What people look at most is a status that is not as it should be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic.alias_generators import to_camel

from backstay.engine import codec
from backstay.engine.conditions import shown_status
from backstay.engine.model import RunRecord, State, StepRecord
from backstay.engine.program import NOTHING, Program
from backstay.errors import TamperedState

Object = Mapping[str, Any]

_STEP_FIELDS = {to_camel(name) for name in StepRecord.__slots__}


@dataclass(frozen=True, slots=True)
class Run:
    """A run, read. `program` is None where its definition cannot be had; `notes` say what could not be read."""

    manifest: Object
    state: State
    program: Program | None = None
    notes: tuple[str, ...] = ()
    conditions: Mapping[str, Object] = field(default_factory=dict)
    """By type."""
    children: "Mapping[str, Run]" = field(default_factory=dict)
    """Its child runs by name, as far as they were asked for."""

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.manifest["metadata"].get("namespace") or "")

    @property
    def uid(self) -> str:
        return str(self.manifest["metadata"].get("uid") or "")

    @property
    def spec(self) -> Object:
        return _mapping(self.manifest.get("spec"))

    @property
    def status(self) -> Object:
        return _mapping(self.manifest.get("status"))

    @property
    def workflow(self) -> str:
        """The name of its Workflow; empty where the definition is written in the run."""
        return str(_mapping(self.spec.get("workflow")).get("name") or "")

    @property
    def is_finished(self) -> bool:
        return self.state.run.is_finished

    @property
    def is_deleted(self) -> bool:
        """Somebody has asked for the run to be deleted."""
        return bool(self.manifest["metadata"].get("deletionTimestamp"))

    @property
    def suspend(self) -> bool:
        """Somebody has asked for the run to be suspended; whether it is, says the state."""
        return bool(self.spec.get("suspend"))

    @property
    def cancel(self) -> Object | None:
        """What somebody who cancelled the run has asked for."""
        found = self.spec.get("cancel")
        return None if found is None else _mapping(found)

    @property
    def created_at(self) -> datetime | None:
        return _time(self.manifest["metadata"].get("creationTimestamp"))

    @property
    def shown_phase(self) -> str:
        """One word for eyes, as in the STATUS column."""
        if self.state.run.phase is None and self.status.get("status"):
            return str(self.status["status"])
        return shown_status(self.program or NOTHING, self.state)

    @property
    def definition(self) -> str:
        """What it runs, in words: `order, revision 3`."""
        number = self.state.run.revision_number
        template = _mapping(self.spec.get("workflow")).get("template")
        what = (self.workflow or "inline definition") + (f", template {template}" if template else "")
        return what + (f", revision {number}" if number else "")


def read_run(manifest: Object, program: Program | None = None, notes: Sequence[str] = (), whole: State | None = None) -> Run:
    """Read a run's manifest as far as it can be read. `whole` is its state, where the status leaves out steps and they were read elsewhere."""
    status = _mapping(manifest.get("status"))
    found = list(notes)
    try:
        run = codec.run_from_json(status)
    except (TamperedState, TypeError, AttributeError) as error:
        found.append(f"the status cannot be read: {error}")
        run = RunRecord()
    steps = _read_steps(status.get("steps"), found)
    journal = _mapping(status.get("journal"))
    conditions = {item["type"]: item for item in _items(status.get("conditions")) if isinstance(item.get("type"), str)}
    return Run(manifest, whole or State(run, steps, head=str(journal.get("head") or "")), program, tuple(found), conditions)


def _read_steps(given: Any, notes: list[str]) -> dict[str, StepRecord]:
    steps: dict[str, StepRecord] = {}
    for item in _items(given):
        known = {key: value for key, value in item.items() if key in _STEP_FIELDS}
        try:
            record = StepRecord(**codec.changes_from_json(StepRecord, known))
            steps[str(record.path)] = record
        except (TamperedState, TypeError):
            notes.append(f"step {item.get('path')!r} of the status cannot be read by this version of backstay and is left out")
    return steps


def _items(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _time(text: Any) -> datetime | None:
    try:
        return codec.time_from_json(text)
    except (ValueError, TypeError):
        return None
