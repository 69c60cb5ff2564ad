"""State to the JSON of a status, and back. Field by field, so that journal entries and the status speak the same language."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from pydantic.alias_generators import to_camel

from backstay.engine.model import Entry, Fault, Json, Phase, RunRecord, State, StepRecord
from backstay.errors import TamperedState


@lru_cache(maxsize=256)  # of the entries of a turn, and of the records that they begin, all have the same time
def time_to_json(moment: datetime) -> str:
    """Write a moment as RFC 3339 with microseconds in UTC, as metav1.MicroTime does."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def time_from_json(text: str) -> datetime:
    """Read RFC 3339; raises ValueError on anything else, and on a time without a zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.astimezone(UTC)


def fault_to_json(fault: Fault) -> dict[str, Json]:
    """Write an error, without what is empty."""
    named = {"type": fault.type, "title": fault.title, "detail": fault.detail, "step": fault.step, "attempt": fault.attempt}
    return {key: value for key, value in named.items() if value}


def fault_from_json(data: Mapping[str, Json]) -> Fault:
    """Read an error."""
    return Fault(data["type"], data.get("title", ""), data.get("detail", ""), data.get("step", ""), data.get("attempt", 0))


_WRITERS: dict[type, Callable[[Any], Json]] = {datetime: time_to_json, Fault: fault_to_json, Phase: str}
_TIMES = {
    "started_at",
    "attempt_started_at",
    "finished_at",
    "due_at",
    "deadline_at",
    "suspended_at",
    "held_since",
    "starting_since",
    "locked_at",
    "resumed_at",
}
_READERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(_TIMES, time_from_json),
    "error": fault_from_json,
    "phase": Phase,
    "result": Phase,
    "then": Phase,
    "finishing": Phase,
}
_KEYS: dict[type, dict[str, str]] = {
    kind: {field.name: to_camel(field.name) for field in fields(kind)} for kind in (RunRecord, StepRecord, Entry)
}
_NAMES: dict[type, dict[str, str]] = {kind: {key: name for name, key in keys.items()} for kind, keys in _KEYS.items()}
_DEFAULTS: dict[type, dict[str, Any]] = {
    kind: {field.name: field.default for field in fields(kind)} for kind in (RunRecord, StepRecord, Entry)
}


def changes_to_json(kind: type, changes: Mapping[str, Any]) -> dict[str, Json]:
    """Write changed fields of a record under their JSON names; None stays, it removes a field."""
    keys = _KEYS[kind]
    return {keys[name]: _write(value) for name, value in changes.items()}


def changes_from_json(kind: type, changes: Mapping[str, Json]) -> dict[str, Any]:
    """Read changed fields of a record; a field that is null or unknown to the record raises TamperedState where it must not be."""
    names = _NAMES[kind]
    try:
        return {names[key]: _read(names[key], value) for key, value in changes.items()}
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise TamperedState(f"a {kind.__name__} cannot be read: {error!r}") from error


def record_to_json(record: StepRecord) -> dict[str, Json]:
    """Write a step's record, without what has its default value."""
    return _without_defaults(record, StepRecord)


def _without_defaults(record: Any, kind: type) -> dict[str, Json]:
    defaults = _DEFAULTS[kind]
    found = {}
    for name, key in _KEYS[kind].items():
        value = getattr(record, name)
        if value is not None and value != defaults[name]:
            found[key] = _write(value)
    return found


def canonical(value: Json) -> Json:
    """Return a JSON value as the API server gives it back: it keeps no difference between 3.0 and 3, nor integers beyond 64 bits.

    Go reads a number without a fraction or an exponent as int64 where it fits and as float64 where it does not, and writes a float64 that
    is whole without a fraction (k8s.io/apimachinery, util/json). What is written must read back the same, or its seal would break.
    """
    match value:
        case bool() | str() | None:
            return value
        case float():
            return int(value) if value.is_integer() and _MIN_INTEGER <= value < -_MIN_INTEGER else value
        case int():
            return value if _MIN_INTEGER <= value < -_MIN_INTEGER else float(value)
        case Mapping():
            return {name: canonical(item) for name, item in value.items()}
        case list() | tuple():
            return [canonical(item) for item in value]
    return value


_MIN_INTEGER: Final = -(2**63)


def alike(one: Any, other: Any) -> bool:
    """Tell whether two values are the same as JSON: for `==` alone `true` is 1, and `false` 0. 1.0 is 1, as for the API server (`canonical`)."""
    if one is other:
        return True
    if isinstance(one, bool) or isinstance(other, bool) or one != other:
        return False  # True and False are one object each: two that are alike were found above
    if isinstance(one, dict):
        return all(alike(value, other[key]) for key, value in one.items())
    if isinstance(one, Fault):
        return alike(one.attempt, other.attempt)
    return not isinstance(one, list | tuple) or all(map(alike, one, other))


def unlike(one: RunRecord | StepRecord, other: RunRecord | StepRecord) -> list[str]:
    """Return the names of the fields in which two records of a kind differ as JSON."""
    differs: list[str] = []
    for name in _KEYS[type(one)]:
        here, there = getattr(one, name), getattr(other, name)
        if here is not there and not alike(here, there):
            differs.append(name)
    return differs


def _write(value: Any) -> Json:
    writer = _WRITERS.get(type(value))
    return writer(value) if writer else canonical(value)


def _read(name: str, value: Json) -> Any:
    reader = _READERS.get(name)
    return reader(value) if reader and value is not None else value


# ------------------------------------------------------------------------------------------------------ entries, state


def entry_to_json(entry: Entry) -> dict[str, Json]:
    """Write a journal entry, without what has its default value. Its changes are JSON already."""
    found: dict[str, Json] = {"sequence": entry.sequence, "time": time_to_json(entry.time), "kind": entry.kind}
    if entry.path:
        found["path"] = entry.path
    if entry.attempt:
        found["attempt"] = entry.attempt
    if entry.actor != "operator":
        found["actor"] = entry.actor
    if entry.reason:
        found["reason"] = entry.reason
    if entry.changes:
        found["changes"] = entry.changes
    if entry.previous:
        found["previous"] = entry.previous
    return found


def entry_from_json(data: Mapping[str, Json]) -> Entry:
    """Read a journal entry. Raises TamperedState when it is none."""
    try:
        known = {_NAMES[Entry][key]: value for key, value in data.items()}
        return Entry(**{**known, "time": time_from_json(data["time"])})
    except (KeyError, ValueError, TypeError) as error:
        raise TamperedState(f"a journal entry cannot be read: {error!r}") from error


def run_to_json(run: RunRecord) -> dict[str, Json]:
    """Write the run's own fields as they stand at the top of a status."""
    found = _without_defaults(run, RunRecord)
    name, number = found.pop("revisionName", ""), found.pop("revisionNumber", 0)
    if name:
        found["revision"] = {"name": name, "number": number}
    return {name: value for name, value in found.items() if value or name not in ("vars", "answers")}


def run_from_json(status: Mapping[str, Json]) -> RunRecord:
    """Read the run's own fields from a status. Raises TamperedState when they cannot be read."""
    known = {key: value for key, value in status.items() if key in _NAMES[RunRecord]}
    revision = status.get("revision") or {}
    return RunRecord(
        **changes_from_json(RunRecord, known), revision_name=revision.get("name", ""), revision_number=revision.get("number", 0)
    )


def state_from_status(status: Mapping[str, Json]) -> State:
    """Read the state out of a WorkflowRun's status. Raises TamperedState when it cannot be one."""
    try:
        steps = {}
        for data in status.get("steps") or ():
            record = StepRecord(**changes_from_json(StepRecord, data))
            steps[record.path] = record
        journal = status.get("journal") or {}
        entries = journal.get("entries") or ()
        sequence = entries[-1]["sequence"] if entries else 0
        return State(run_from_json(status), steps, sequence, journal.get("head", ""))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise TamperedState(f"the status cannot be read: {error!r}") from error
