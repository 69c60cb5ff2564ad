"""The journal: what happened, sealed by a hash chain. The state is its fold, by construction: nothing else changes a state.

An entry's hash covers the entry and, through `previous`, all entries before it (as in RFC 6962's motivation, a chain instead of a tree:
entries are read in order). The newest entries stand in the status; how many is limited by count and by bytes.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import orjson

from backstay.engine import codec, transitions
from backstay.engine.model import Entry, Json, Phase, RunRecord, State, StepRecord
from backstay.errors import TamperedState

MAX_ENTRIES: Final = 400
MAX_BYTES: Final = 256 * 1024
ALWAYS_FIT: Final = 20
"""An entry is at most some 10 KiB (a step's outputs are at most 4,096 bytes, escaped), so this many need not be measured."""


def hash_of(entry: Entry) -> str:
    """Return the seal of an entry: 32 hexadecimal digits of SHA-256 over its canonical JSON."""
    return hashlib.sha256(orjson.dumps(codec.entry_to_json(entry), option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def apply(state: State, entry: Entry) -> State:
    """Return the state after an entry. Raises IllegalTransition when the table forbids it, TamperedState when it does not fit."""
    if entry.sequence != state.sequence + 1 or entry.previous != state.head:
        raise TamperedState(f"entry {entry.sequence} does not follow entry {state.sequence}")
    run, steps = state.run, state.steps
    if entry.path:
        steps = {**steps, entry.path: changed_step(steps.get(entry.path), entry)}
    else:
        run = changed_run(run, entry)
    return State(run, steps, entry.sequence, hash_of(entry))


def changed_run(run: RunRecord, entry: Entry) -> RunRecord:
    """Return the run's record after an entry. Variables are merged, all else is replaced."""
    changes = codec.changes_from_json(RunRecord, entry.changes)
    if "vars" in changes:
        changes["vars"] = {**run.vars, **changes["vars"]}
    after = replace(run, **changes)
    transitions.check_run(run.phase, after.phase)
    return after


def changed_step(record: StepRecord | None, entry: Entry) -> StepRecord:
    """Return a step's record after an entry; the first entry of a step makes the record."""
    changes = codec.changes_from_json(StepRecord, entry.changes)
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


def fold(entries: Iterable[Entry]) -> State:
    """Return the state that a whole journal, from its first entry, leads to."""
    state = State()
    for entry in entries:
        state = apply(state, entry)
    return state


def verify(status: Mapping[str, Any]) -> State:
    """Read a status and hold it against its journal. Return the state; raise TamperedState naming what does not fit.

    While no entry has been dropped the status must equal the fold. Later the kept entries must form a chain that ends in `head`,
    and every field they changed last must have that value in the status.
    """
    state = codec.state_from_status(status)
    journal = status.get("journal") or {}
    entries = [codec.entry_from_json(data) for data in journal.get("entries") or ()]
    dropped = journal.get("dropped", 0)
    if not isinstance(dropped, int) or (entries and entries[0].sequence != dropped + 1):
        raise TamperedState(
            f"the journal begins at entry {entries[0].sequence if entries else '?'}, and says that {dropped!r} are missing before"
        )
    if not dropped:
        folded = fold(entries)
        if folded != state:
            raise TamperedState(_difference(state, folded))
        return state
    _check_chain(entries, state.head)
    _check_newest(entries, state)
    return state


def _check_chain(entries: Sequence[Entry], head: str) -> None:
    for before, after in pairwise(entries):
        if after.previous != hash_of(before) or after.sequence != before.sequence + 1:
            raise TamperedState(f"journal entry {after.sequence} does not follow entry {before.sequence}")
    if not entries or hash_of(entries[-1]) != head:
        raise TamperedState("the journal does not end in the hash that seals it")


def _check_newest(entries: Sequence[Entry], state: State) -> None:
    newest: dict[tuple[str, str], Json] = {}
    for entry in entries:
        for key, value in entry.changes.items():
            newest[entry.path, key] = value
    run_json = codec.changes_to_json(RunRecord, {name: getattr(state.run, name) for name in RunRecord.__slots__})
    for (path, key), value in newest.items():
        record = state.steps.get(path)
        found = codec.changes_to_json(StepRecord, {n: getattr(record, n) for n in StepRecord.__slots__}) if path and record else run_json
        differs = any(found[key].get(name) != v for name, v in value.items()) if key == "vars" else found.get(key) != value
        if differs or (path and record is None):
            raise TamperedState(f"{path or 'the run'}: {key} is not what its journal says")


def _difference(state: State, folded: State) -> str:
    if state.head != folded.head:
        return "the journal does not end in the hash that seals it"
    if state.run != folded.run:
        names = [name for name in RunRecord.__slots__ if getattr(state.run, name) != getattr(folded.run, name)]
        return f"the run's {', '.join(names)} is not what its journal says"
    paths = [path for path in {**state.steps, **folded.steps} if state.steps.get(path) != folded.steps.get(path)]
    return f"step {paths[0] if paths else '?'} is not what its journal says"


def kept(before: Mapping[str, Any], new: Sequence[Entry], head: str) -> dict[str, Json]:
    """Return `status.journal` after `new` entries: the newest that fit the limits, and how many were dropped."""
    entries = [*(before.get("entries") or ()), *map(codec.entry_to_json, new)]
    dropped = int(before.get("dropped") or 0)
    surplus = max(0, len(entries) - MAX_ENTRIES)
    if len(entries) > ALWAYS_FIT:
        sizes = [len(orjson.dumps(entry)) for entry in entries]
        size = sum(sizes[surplus:])
        while size > MAX_BYTES and surplus < len(entries) - 1:
            size -= sizes[surplus]
            surplus += 1
    found: dict[str, Json] = {"head": head, "entries": entries[surplus:]}
    if dropped + surplus:
        found["dropped"] = dropped + surplus
    return found
