"""The journal: what happened, sealed by a hash chain. The state is its fold, by construction: nothing else changes a state.

An entry's hash covers the entry and, through `previous`, all entries before it (as in RFC 6962's motivation, a chain instead of a tree:
entries are read in order). The newest entries stand in the status, the older ones in the run's WorkflowJournal objects; `bounds` says how
many stand where. A sequence number says which entry it is, so one that stands in both places for a moment counts once.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import orjson

from backstay.engine import codec, transitions
from backstay.engine.model import Entry, Json, Phase, RunRecord, State, StepRecord
from backstay.engine.paths import is_within
from backstay.errors import ArchiveNeeded, IllegalTransition, TamperedState

FORGOTTEN: Final = "IterationForgotten"
"""Kind of the entry that drops the records of an iteration, or of an early visit of a step that a goto leads back to; its path is theirs."""
DEADLINES_MOVED: Final = "DeadlinesMoved"
"""Kind of the entry, in a suspended run, that moves the deadlines of all steps that go on by the time since it was suspended."""
MERGED: Final = frozenset({"vars", "answers", "added", "collected"})
"""Fields that an entry adds to, key by key; it replaces all others."""


def without(steps: Mapping[str, StepRecord], prefix: str) -> dict[str, StepRecord]:
    """Return the records without those of an iteration, or of one visit of a step. Raises IllegalTransition where one of them still goes on."""
    left = dict(steps)
    for path in [path for path in steps if is_within(path, prefix)]:
        if not left.pop(path).has_ended:
            raise IllegalTransition(f"step {path!r} goes on and may not be forgotten")
    return left


def moved_deadlines(run: RunRecord, steps: Mapping[str, StepRecord], entry: Entry) -> dict[str, StepRecord]:
    """Return the records with their deadlines moved. Raises TamperedState where the run is not suspended."""
    if run.suspended_at is None:
        raise TamperedState(f"entry {entry.sequence} moves deadlines of a run that is not suspended")
    pause = entry.time - run.suspended_at
    late = {
        path: replace(record, deadline_at=record.deadline_at + pause)
        for path, record in steps.items()
        if record.deadline_at is not None and not record.has_ended
    }
    return {**steps, **late}


def hash_of(entry: Entry) -> str:
    """Return the seal of an entry: 32 hexadecimal digits of SHA-256 over its canonical JSON."""
    return hashlib.sha256(orjson.dumps(codec.entry_to_json(entry), option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


class Fold:
    """A state that entries are applied to, one after the other: what it costs does not grow with the number of records."""

    def __init__(self, state: State | None = None) -> None:
        state = state or State()
        self._run = state.run
        self._steps = dict(state.steps)
        self.sequence = state.sequence
        self._head = state.head

    def add(self, entry: Entry) -> None:
        """Apply the next entry. Raises IllegalTransition when the table forbids it, TamperedState when it does not fit."""
        if entry.sequence != self.sequence + 1 or entry.previous != self._head:
            raise TamperedState(f"entry {entry.sequence} does not follow entry {self.sequence}")
        if entry.kind == FORGOTTEN:
            self._steps = without(self._steps, entry.path)
        elif entry.kind == DEADLINES_MOVED:
            self._steps = moved_deadlines(self._run, self._steps, entry)
        elif entry.path:
            self._steps[entry.path] = changed_step(self._steps.get(entry.path), entry)
        else:
            self._run = changed_run(self._run, entry)
        self.sequence, self._head = entry.sequence, hash_of(entry)

    @property
    def state(self) -> State:
        """What the entries so far lead to."""
        return State(self._run, dict(self._steps), self.sequence, self._head)


def changed_run(run: RunRecord, entry: Entry) -> RunRecord:
    """Return the run's record after an entry."""
    after = replace(run, **_merged(run, codec.changes_from_json(RunRecord, entry.changes)))
    transitions.check_run(run.phase, after.phase)
    return after


def _merged(record: RunRecord | StepRecord | None, changes: dict[str, Any]) -> dict[str, Any]:
    added = {name: {**((getattr(record, name) if record else None) or {}), **(changes[name] or {})} for name in MERGED & changes.keys()}
    return {**changes, **added}


def changed_step(record: StepRecord | None, entry: Entry) -> StepRecord:
    """Return a step's record after an entry; the first entry of a step makes the record."""
    changes = _merged(record, codec.changes_from_json(StepRecord, entry.changes))
    if record is None:
        try:
            after = StepRecord(path=entry.path, **changes)
        except TypeError as error:
            raise TamperedState(f"entry {entry.sequence} begins step {entry.path!r} without kind and phase") from error
        before: Phase | None = None
    else:
        after, before = replace(record, **changes), record.phase
    transitions.check_step(entry.path, before, after.phase)
    return after


def fold(entries: Iterable[Entry], base: State | None = None) -> State:
    """Return the state that entries lead to: a whole journal from its first entry, or what comes after the entries of `base`."""
    found = Fold(base)
    for entry in entries:
        found.add(entry)
    return found.state


# ------------------------------------------------------------------------------------------------- what a status holds


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a journal that stands in a status."""

    entries: tuple[Entry, ...]
    """The newest ones, oldest first."""
    archived: int
    """How many older ones stand in WorkflowJournal objects."""
    dropped: int
    """How many of the very oldest are nowhere any more."""
    omitted: int
    """How many records the status leaves out."""
    head: str

    @property
    def before(self) -> int:
        """Number of the last entry that is no longer in the status."""
        return self.archived + self.dropped


def window_of(status: Mapping[str, Any]) -> Window:
    """Read what a status holds of its journal. Raises TamperedState where it cannot be read, or does not begin where it says."""
    journal = status.get("journal") or {}
    try:
        entries = tuple(codec.entry_from_json(data) for data in journal.get("entries") or ())
        counts = [journal.get("archived") or 0, journal.get("dropped") or 0, status.get("stepsOmitted") or 0]
    except (TypeError, AttributeError) as error:
        raise TamperedState(f"the journal cannot be read: {error!r}") from error
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        raise TamperedState(f"the journal counts what is elsewhere as {counts}, which is no count")
    window = Window(entries, counts[0], counts[1], counts[2], str(journal.get("head") or ""))
    if (entries[0].sequence if entries else 1) != window.before + 1:
        begins = entries[0].sequence if entries else "?"
        raise TamperedState(f"the journal begins at entry {begins}, and says that {window.before} are elsewhere")
    return window


def verify(status: Mapping[str, Any], base: State | None = None) -> State:
    """Read a status and hold it against its journal. Return the whole state; raise TamperedState naming what does not fit.

    `base` is what is known for certain: the fold of the run's entries up to one of them, such as those in its WorkflowJournals. Where
    the entries go on from there (or from the first one), the status must equal their fold. Where some are missing in between, they must
    form a chain that ends in `head`, and every field that they changed last must have that value in the status; unless the status leaves
    out records, which only the missing entries know: then ArchiveNeeded is raised.
    """
    shown = codec.state_from_status(status)
    window = window_of(status)
    base = base or State()
    if base.sequence >= window.before:
        return _exactly(shown, window, base)
    if window.omitted:
        raise ArchiveNeeded(f"the status leaves out {window.omitted} steps; entries {base.sequence + 1} to {window.before} tell of them")
    check_chain(window.entries, window.head)
    _check_newest(window.entries, shown)
    return shown


def remains(status: Mapping[str, Any]) -> State:
    """Return what a status shows, where the older entries are lost and with them what it leaves out. Raises TamperedState as `verify` does."""
    shown = codec.state_from_status(status)
    window = window_of(status)
    check_chain(window.entries, window.head)
    _check_newest([entry for entry in window.entries if not entry.path or entry.path in shown.steps], shown)
    return shown


def _exactly(shown: State, window: Window, base: State) -> State:
    if base.sequence > window.before + len(window.entries):
        raise TamperedState("the status is older than what was written before")
    known = [entry for entry in window.entries if entry.sequence <= base.sequence]
    if known:
        check_chain(known, base.head)
    folded = fold(window.entries[len(known) :], base)
    _compare(shown, window, folded)
    return folded


def _compare(shown: State, window: Window, folded: State) -> None:
    if window.head != folded.head:
        raise TamperedState("the journal does not end in the hash that seals it")
    if names := codec.unlike(shown.run, folded.run):
        raise TamperedState(f"the run's {', '.join(names)} is not what its journal says")
    for path, record in shown.steps.items():
        known = folded.steps.get(path)
        if known is None or codec.unlike(record, known):
            raise TamperedState(f"step {path} is not what its journal says")
    if len(shown.steps) + window.omitted != len(folded.steps):
        told = f"it shows {len(shown.steps)} steps and leaves out {window.omitted}; its journal tells of {len(folded.steps)}"
        raise TamperedState(f"the status does not show all its steps: {told}")


def check_chain(entries: Sequence[Entry], head: str) -> None:
    """Raise TamperedState unless entries follow one another without a gap and end in the hash that seals them."""
    for before, after in pairwise(entries):
        if after.previous != hash_of(before) or after.sequence != before.sequence + 1:
            raise TamperedState(f"journal entry {after.sequence} does not follow entry {before.sequence}")
    if not entries or hash_of(entries[-1]) != head:
        raise TamperedState("the journal does not end in the hash that seals it")


def _check_newest(entries: Sequence[Entry], state: State) -> None:
    """Hold the fields that entries changed last against a state of which the older entries are not at hand."""
    for path, changes in _newest(entries).items():
        record: RunRecord | StepRecord | None = state.steps.get(path) if path else state.run
        if record is None:
            raise TamperedState(f"step {path} is missing, although its journal tells of it")
        kind = StepRecord if path else RunRecord
        found = codec.changes_to_json(kind, {name: getattr(record, name) for name in kind.__slots__})
        for key, value in changes.items():
            added = key in MERGED
            shown = {name: (found[key] or {}).get(name) for name in value} if added else found.get(key)
            if not codec.alike(shown, value):
                raise TamperedState(f"{path or 'the run'}: {key} is not what its journal says")


def _newest(entries: Sequence[Entry]) -> dict[str, dict[str, Json]]:
    """Return the fields that entries changed last, by path; not of records that were dropped since."""
    newest: dict[str, dict[str, Json]] = {}
    for entry in entries:
        if entry.kind == FORGOTTEN:
            newest = {path: changes for path, changes in newest.items() if not is_within(path, entry.path)}
            continue
        if entry.kind == DEADLINES_MOVED:
            newest = {
                path: {key: value for key, value in changes.items() if not path or key != "deadlineAt"} for path, changes in newest.items()
            }
        changes = newest.setdefault(entry.path, {})
        for key, value in entry.changes.items():
            changes[key] = {**(changes.get(key) or {}), **(value or {})} if key in MERGED else value
    return newest
