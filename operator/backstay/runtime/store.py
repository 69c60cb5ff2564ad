"""What is known of each run: the newest object, and the state that was read from or written to it.

A status that we wrote ourselves is trusted as it is. Any other is held against its journal before it is believed; one that does
not follow from its journal is not believed at all, and what we last knew is written again.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from backstay.engine import journal
from backstay.engine.codec import alike
from backstay.engine.conditions import forged_conditions
from backstay.engine.model import Fault, Refusal, State
from backstay.engine.program import Program
from backstay.errors import ArchiveNeeded, IllegalTransition, TamperedState
from backstay.kube.limiter import Priority
from backstay.runtime.queue import Key
from backstay.runtime.view import Object, has_begun, has_finalizer, key_of, light, turn_of, version_of

MAX_LEFT: Final = 20_000


@dataclass(slots=True)
class Known:
    """One run. `state` is None until it has been read once.

    While nobody looks at it the object is kept as text: a third of the size, and nothing for the garbage collector to go through.
    """

    _run: Object | None
    """None while it is kept as text."""
    state: State | None = None
    _status: Mapping[str, Any] | None = field(default_factory=dict)
    """None where it is that of the object, while that is kept as text."""
    refused: dict[str, Refusal] = field(default_factory=dict)
    held: dict[str, Fault] = field(default_factory=dict)
    vanished: set[str] = field(default_factory=set)
    claims: set[str] = field(default_factory=set)
    """Names of the PersistentVolumeClaims that are known to be made."""
    has_left: bool = False
    """Whether the watch told that it is gone; only the API server knows whether it is."""
    final: Object | None = None
    """How it was when it left the watch, where the watch has told."""
    program: Program | None = None
    """What it carries out, once this process has looked at it."""
    wrote: bool = False
    """Whether this process has written its status, so that nobody else has since."""
    guarded: bool = False
    """Whether our finalizer was seen on it."""
    terminating: bool = False
    """Whether its namespace is being deleted; that cannot be taken back."""
    since: float = 0.0
    """Since when, by the loop's clock, the run waits for its workflow; 0 while it does not."""
    taken: bool = False
    """Whether this process has looked at the run, so that something of it may have been begun here."""
    ended_at: float | None = None
    """When, by the loop's clock, there was news that a step has ended, until what follows is begun: for metrics."""

    version: int = field(init=False)
    """That of the object; this and the next three are at hand also while it is kept as text."""
    metadata: Mapping[str, Any] = field(init=False)
    turn: Priority = field(init=False)
    has_begun: bool = field(init=False)
    _text: bytes = field(init=False, default=b"")

    def __post_init__(self) -> None:
        self._describe(self.run)

    def _describe(self, run: Object) -> None:
        self.version, self.metadata, self.turn, self.has_begun = version_of(run), run["metadata"], turn_of(run), has_begun(run)
        self.guarded = self.guarded or has_finalizer(run)

    @property
    def run(self) -> Object:
        """The newest object."""
        if self._run is None:
            self._run = run = orjson.loads(self._text)
            self._status = run["status"] if self._status is None else self._status
            self._text = b""
        return self._run

    @run.setter
    def run(self, run: Object) -> None:
        self._status = self.status  # of the object before, if that was kept as text
        self._run, self._text = run, b""
        self._describe(run)

    @property
    def status(self) -> Mapping[str, Any]:
        """The status that `state` was read from or written as."""
        if self._status is None:
            self._status = self.run["status"]
        return self._status

    @status.setter
    def status(self, status: Mapping[str, Any]) -> None:
        self._status = status

    def rest(self) -> None:
        """Nobody looks at the run for a while."""
        if self._run is not None:
            if self._status is self._run.get("status"):
                self._status = None
            # Copied, because what orjson returns lies in a buffer of up to three times its size.
            self._text, self._run = bytes(memoryview(orjson.dumps(self._run))), None

    def disown(self) -> None:
        """Another process looks at the run from now on: what was thought and tried here is of no use."""
        self.taken = self.wrote = False
        self.program, self.state, self.status = None, None, {}
        self.since, self.ended_at = 0.0, None
        self.refused.clear()
        self.held.clear()


@dataclass(frozen=True, slots=True)
class Reading:
    """What to go on from: a state, the status it is written in, and whether that status must be written again."""

    run: Object
    """The object that was read. What is decided on it may only be written where it is still the newest."""
    state: State
    status: Mapping[str, Any]
    tampered: str = ""
    """What did not fit, where the status was not believed."""


class RunStore:
    """Runs by key. Single-threaded; nothing here waits."""

    def __init__(self) -> None:
        self._known: dict[Key, Known] = {}
        self._by_uid: dict[str, Key] = {}
        self._left: OrderedDict[Key, int] = OrderedDict()
        """Versions of runs that are forgotten: a late event of an older one is no news."""

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Key]:
        return iter(list(self._known))

    def get(self, key: Key) -> Known | None:
        """Return what is known of a run, or None."""
        return self._known.get(key)

    def key_of_uid(self, uid: str) -> Key | None:
        """Return the key of the run with a UID, or None."""
        return self._by_uid.get(uid)

    def is_news(self, run: Object) -> bool:
        """Tell whether an object is newer than what is, or was, known of the run."""
        key = key_of(run)
        known = self._known.get(key)
        return version_of(run) > (self._left.get(key, -1) if known is None else known.version)

    def remember(self, run: Object) -> Key:
        """Take in an object; an older one than is, or was, known changes nothing. Returns its key."""
        key = key_of(run)
        known = self._known.get(key)
        if known is None and version_of(run) <= self._left.get(key, -1):
            return key
        if known is None:
            self._known[key] = Known(light(run))
            self._by_uid[key.uid] = key
        elif version_of(run) > known.version:
            known.run = light(run)
        return key

    def recall(self, run: Object) -> Key:
        """Take in an object that was just read or written, also where it is known to have left: a finished run may have to be looked at again."""
        key = key_of(run)
        if version_of(run) >= self._left.get(key, -1):
            self._left.pop(key, None)
        return self.remember(run)

    def wrote(self, key: Key, run: Object, state: State) -> None:
        """Note that a state is now written: the answer of the API server is the newest object."""
        known = self._known.get(key)
        if known is not None and version_of(run) >= known.version:
            known.run, known.state, known.status, known.wrote = light(run), state, run.get("status") or {}, True

    def forget(self, key: Key) -> None:
        """A run is finished or gone."""
        known = self._known.pop(key, None)
        self._by_uid.pop(key.uid, None)
        if known is not None:
            self._left[key] = known.version
            if len(self._left) > MAX_LEFT:
                self._left.popitem(last=False)


def read_state(known: Known, base: State | None = None) -> Reading:
    """Return the state to go on from. `base` is what the run's WorkflowJournals tell, where they were read.

    Raises ArchiveNeeded where they have to be, TamperedState where nothing that can be believed is left.
    """
    status = known.run.get("status") or {}
    if known.state is not None and _is_same(status, known.status):
        return Reading(known.run, known.state, status)
    certain = base or known.state
    try:
        state = journal.verify(status, certain)
        if certain is not None and state.sequence < certain.sequence:
            raise TamperedState("the status is older than what was written before")
    except ArchiveNeeded:
        raise
    except TamperedState as error:
        return _restored(known, status, base, error)
    forgery = _forgery(known, state, status)
    if forgery is not None:
        return forgery
    known.state, known.status = state, status
    return Reading(known.run, state, status)


def _is_same(status: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Tell whether a status is what it was, to the bit: `true` is not 1, as it is for `==`. Mostly it is the same object."""
    return status is before or (status == before and orjson.dumps(status) == orjson.dumps(before))


def _forgery(known: Known, state: State, status: Mapping[str, Any]) -> Reading | None:
    """Return what to go on from where the journal is whole and something else in the status is not what was written with it; else None.

    What is derived for eyes differs from release to release, so it is held against what stood there before, with the same journal: nobody who
    may write it does so without an entry, once a run has begun. Where that is not known, the conditions that all releases give alike are checked.
    """
    if state.run.phase is None:
        return None
    before = known.state is not None and known.state.head == state.head
    changed = [
        name for name in sorted(status.keys() | known.status.keys()) if before and not alike(status.get(name), known.status.get(name))
    ]
    if changed:
        return Reading(known.run, state, known.status, tampered=f"{', '.join(changed)} changed, and the journal did not")
    wrong = dict(forged_conditions(status.get("conditions"), state.run))
    if not wrong:
        return None
    kept = [item for item in status.get("conditions") or () if item.get("type") not in wrong]
    return Reading(known.run, state, {**status, "conditions": kept}, tampered="; ".join(wrong.values()))


def _restored(known: Known, status: Mapping[str, Any], base: State | None, error: TamperedState) -> Reading:
    """Go back to what is certain: what a whole and unbroken journal says, or what we wrote ourselves.

    The journal comes first where it goes on from what we wrote: the last of it may be a write of ours to which no answer came.
    """
    if known.state is not None:
        try:
            state = _by_the_journal(journal.window_of(status), known.state, error)
        except (TamperedState, IllegalTransition):
            state = known.state
        if state.sequence == known.state.sequence:
            return Reading(known.run, known.state, known.status, tampered=str(error))
        return Reading(known.run, state, {"journal": status["journal"]}, tampered=str(error))
    window = journal.window_of(status)
    if window.dropped:
        raise error
    certain = base or State()
    if certain.sequence < window.before:
        raise ArchiveNeeded(str(error))
    return Reading(known.run, _by_the_journal(window, certain, error), {"journal": status.get("journal") or {}}, tampered=str(error))


def _by_the_journal(window: journal.Window, certain: State, error: TamperedState) -> State:
    """Return what the entries that came after a state lead to. Raises TamperedState where they do not go on from it to the head of their chain."""
    if certain.sequence < window.before:
        raise error
    state = journal.fold([entry for entry in window.entries if entry.sequence > certain.sequence], certain)
    if state.head != window.head or state.sequence < certain.sequence:
        raise error
    return state
