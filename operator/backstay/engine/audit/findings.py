"""What an audit is told (places with entries), and what it answers (findings, each with the entry and the object that it is about)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from backstay.engine.model import Entry, State

STATUS: Final = "the status"


class Kind(StrEnum):
    """What is wrong. They are interface: programs read them in `backstay verify -o json`."""

    EDITED = "Edited"
    """An entry, or what an object says of the entries in it, is not what was written."""
    MISSING = "Missing"
    """Entries between others stand nowhere."""
    REPEATED = "Repeated"
    """An entry stands twice in the same place, or in two WorkflowJournals."""
    REORDERED = "Reordered"
    """An entry stands where another one belongs."""
    INSERTED = "Inserted"
    """There is a second entry of the same number that is another one."""
    TRUNCATED = "Truncated"
    """The newest entries stand nowhere, or the status is older than a WorkflowJournal."""
    EXCHANGED = "Exchanged"
    """A WorkflowJournal holds entries of another run, or others than those that were moved to it."""
    SEAL = "Seal"
    """The hash that seals the journal is not that of its newest entry."""
    STATUS = "Status"
    """A field of the status is not what follows from the journal."""


class Verdict(StrEnum):
    """What an audit comes to."""

    PROVEN = "Proven"
    """Every entry from the first to the last is there and unchanged, and the status is exactly what follows from them."""
    UNPROVEN = "Unproven"
    """The oldest entries are kept nowhere any more: what is there fits, and the rest cannot be proven."""
    BROKEN = "Broken"
    """Something is wrong; the findings name it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where, about which entry, and in words. `sequence` and `time` are None where it is about no single entry."""

    kind: Kind
    where: str
    message: str
    sequence: int | None = None
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """The run that is audited."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What stands in the place of an entry and cannot be read as one. `sequence` is what it says of its number, if it says that."""

    why: str
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Entries as one object holds them, oldest first, and what it says of itself. Nothing of it is taken on trust."""

    name: str
    entries: Sequence[Any]
    claims: Mapping[str, Any] | None = None
    """The spec of a WorkflowJournal; None for the status."""
    lines: Sequence[int] = ()
    """The number of each entry's line, where the place is a file."""

    def where(self, index: int) -> str:
        """Say where the entry with an index stands."""
        return f"{self.name}, line {self.lines[index]}" if self.lines else self.name


def volume(name: str, spec: Any) -> Place:
    """Return the place that a WorkflowJournal is, from its name and its spec as the API server has it."""
    claims = spec if isinstance(spec, Mapping) else {}
    entries = claims.get("entries")
    return Place(f"WorkflowJournal {name}", entries if isinstance(entries, list | tuple) else (), claims)


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found of one run's journal and status."""

    subject: Subject
    findings: tuple[Finding, ...] = ()
    entries: tuple[Entry, ...] = ()
    """All entries that were found and can be read, in order, each once."""
    dropped: int = 0
    """How many of the oldest entries are kept nowhere, as the status says."""
    head: str = ""
    """The hash that seals the journal."""
    state: State = field(default_factory=State)
    """What follows from the journal; only where it is proven."""
    notes: tuple[str, ...] = ()
    """What is worth knowing and no fault."""
    seals: Mapping[int, str] = field(default_factory=dict)
    """The hash of each entry, by its number."""
    places: Mapping[int, str] = field(default_factory=dict)
    """Where each entry stands, by its number."""

    @property
    def verdict(self) -> Verdict:
        """What it comes to."""
        if self.findings:
            return Verdict.BROKEN
        return Verdict.UNPROVEN if self.dropped else Verdict.PROVEN

    @property
    def is_proven(self) -> bool:
        return self.verdict is Verdict.PROVEN
