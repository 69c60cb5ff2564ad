"""The status against what follows from the journal: field by field, step by step, strictly (`true` is not `1`)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from backstay.engine import codec, journal
from backstay.engine.audit.findings import STATUS, Finding, Kind
from backstay.engine.audit.standing import canonical, is_count, short
from backstay.engine.conditions import forged_conditions
from backstay.engine.model import Entry, RunRecord, State, StepRecord
from backstay.errors import IllegalTransition, TamperedState

MOST_FINDINGS: Final = 100
"""What differs in more fields than this is told up to here."""
_TROUBLE: Final = (TamperedState, IllegalTransition, TypeError, AttributeError, ValueError, KeyError, RecursionError)
"""What reading something that was forged may raise."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that is not what the journal says. `path` is that of a step, or empty for the run."""

    path: str
    key: str
    words: str


def fold(entries: Sequence[Entry]) -> tuple[State, Entry | None, str]:
    """Fold a whole journal, from its first entry. Where one cannot follow from those before it, return what came before, that entry, and why."""
    found = journal.Fold()
    for entry in entries:
        try:
            found.add(entry)
        except _TROUBLE as error:
            return found.state, entry, str(error)
    return found.state, None, ""


def differences(status: Mapping[str, Any], folded: State) -> list[Difference]:
    """Return what of a status is not what follows from its journal."""
    try:
        return list(_differences(status, codec.state_from_status(status), folded))
    except _TROUBLE as error:
        return [Difference("", "", f"it cannot be read: {error}")]


def _differences(status: Mapping[str, Any], shown: State, folded: State) -> Iterator[Difference]:
    yield from _of_record("", RunRecord, shown.run, folded.run)
    paths = [str(item["path"]) for item in status.get("steps") or ()]
    for path in sorted({path for path in paths if paths.count(path) > 1} if len(paths) != len(shown.steps) else ()):
        yield Difference(path, "", f"step {path} stands in it twice")
    for path, record in shown.steps.items():
        known = folded.steps.get(path)
        if known is None:
            yield Difference(path, "", f"it shows step {path}, of which the journal does not tell")
        else:
            yield from _of_record(path, StepRecord, record, known)
    yield from _left_out(status, shown, folded)
    for kind, words in forged_conditions(status.get("conditions"), folded.run):
        yield Difference("", f"conditions[{kind}]", words)


def _of_record(path: str, kind: type, shown: RunRecord | StepRecord, known: RunRecord | StepRecord) -> Iterator[Difference]:
    if shown == known and _written(kind, shown) == _written(kind, known):
        return
    here, there = (codec.changes_to_json(kind, {name: getattr(one, name) for name in kind.__slots__}) for one in (shown, known))  # type: ignore[attr-defined]
    for key, value in there.items():
        if canonical(here[key]) != canonical(value):
            what = f"{key} of step {path}" if path else key
            yield Difference(path, key, f"{what} is {short(here[key])}, and the journal says {short(value)}")


def _written(kind: type, record: RunRecord | StepRecord) -> bytes:
    return canonical(codec.changes_to_json(kind, {name: getattr(record, name) for name in kind.__slots__}))  # type: ignore[attr-defined]


def _left_out(status: Mapping[str, Any], shown: State, folded: State) -> Iterator[Difference]:
    omitted = status.get("stepsOmitted") or 0
    missing = [path for path in folded.steps if path not in shown.steps]
    if not is_count(omitted) or omitted != len(missing):
        names = f" ({', '.join(missing[:5])}{' …' if len(missing) > 5 else ''})" if missing else ""
        yield Difference("", "stepsOmitted", f"it leaves out {len(missing)} steps{names}, and says {short(omitted)}")


def findings_of(found: Sequence[Difference], entries: Sequence[Entry], where: str = STATUS) -> Iterator[Finding]:
    """Say of each difference which entry the field has its value from."""
    writers = _writers(entries) if found else {}
    for one in found[:MOST_FINDINGS]:
        writer = writers.get((one.path, one.key)) or writers.get((one.path, ""))
        since = f", since entry {writer.sequence}" if writer else ""
        yield Finding(Kind.STATUS, where, one.words + since, writer.sequence if writer else None, writer.time if writer else None)
    if len(found) > MOST_FINDINGS:
        yield Finding(Kind.STATUS, where, f"{len(found) - MOST_FINDINGS} more fields are not what the journal says")


def _writers(entries: Sequence[Entry]) -> dict[tuple[str, str], Entry]:
    """Return the entry that wrote each field last, and for the key "" the last one about each step."""
    writers: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        for key in entry.changes:
            writers[entry.path, key] = entry
        if entry.path:
            writers[entry.path, ""] = entry
    return writers
