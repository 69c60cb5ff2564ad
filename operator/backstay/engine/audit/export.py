"""An export: runs with their whole journals as JSON lines, to be kept elsewhere and verified without a cluster.

    {"apiVersion":"backstay.dev/v1alpha1","journal":{…},"kind":"RunExport","run":{…},"seal":"…","status":{…}}
    {"kind":"RunStarted","sequence":1, …}
    {"kind":"StepStarted","previous":"…","sequence":2, …}

The same run gives the same bytes. A line is the JSON that is hashed: keys sorted, no spaces, UTF-8. So an entry's hash is the SHA-256 of its line,
the first 32 digits of it, and stands in the next line as `previous`; that of the last one is `journal.head` of the header, whose own `seal` is the
SHA-256 of the header without it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from backstay import names
from backstay.engine import codec
from backstay.engine.audit.findings import Audit, Finding, Kind, Place, Subject, Unreadable
from backstay.engine.audit.standing import canonical, is_count, short
from backstay.errors import BackstayError

KIND: Final = "RunExport"
_MOST_DIGITS: Final = 32


class NoExport(BackstayError):
    """A file that does not begin as an export does."""


def lines_of(manifest: Mapping[str, Any], found: Audit) -> Iterator[bytes]:
    """Yield the lines of one run, without line ends: its header, then each of its entries."""
    meta, spec = manifest["metadata"], manifest.get("spec") or {}
    about = {
        "name": meta["name"],
        "namespace": meta.get("namespace"),
        "uid": meta.get("uid"),
        "createdAt": meta.get("creationTimestamp"),
        "startedBy": (meta.get("annotations") or {}).get(names.ANNOTATION_STARTED_BY),
        "workflow": (spec.get("workflow") or {}).get("name"),
    }
    journal = {"count": len(found.entries), "dropped": found.dropped, "head": found.head}
    header = {
        "apiVersion": names.API_VERSION,
        "kind": KIND,
        "run": {key: value for key, value in about.items() if value},
        "journal": journal,
        "status": {key: value for key, value in (manifest.get("status") or {}).items() if key != "journal"},
    }
    yield canonical({**header, "seal": _seal(header)})
    for entry in found.entries:
        yield canonical(codec.entry_to_json(entry))


def _seal(header: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical({key: value for key, value in header.items() if key != "seal"})).hexdigest()[:_MOST_DIGITS]


@dataclass(frozen=True, slots=True)
class Section:
    """The lines of one run in a file, parsed as far as that is possible."""

    name: str
    header: Mapping[str, Any]
    header_line: int
    entries: Sequence[Any]
    lines: Sequence[int]
    findings: tuple[Finding, ...]

    @property
    def run(self) -> Mapping[str, Any]:
        """What the header says of the run."""
        return _mapping(self.header.get("run"))

    @property
    def subject(self) -> Subject:
        return Subject(str(self.run.get("name") or "?"), str(self.run.get("uid") or ""))

    @property
    def where(self) -> str:
        """Where its header stands."""
        return f"{self.name}, line {self.header_line}"

    @property
    def place(self) -> Place:
        return Place(self.name, self.entries, lines=self.lines)

    @property
    def status(self) -> dict[str, Any]:
        """The run's status, with what the header says of its journal."""
        journal = _mapping(self.header.get("journal"))
        return {**_mapping(self.header.get("status")), "journal": {"head": journal.get("head"), "dropped": journal.get("dropped")}}


def sections(lines: Iterable[bytes], name: str) -> Iterator[Section]:
    """Read an export: yield each run's part of it. Raises NoExport where the file does not begin with a header."""
    header: Mapping[str, Any] | None = None
    header_line, entries, numbers, findings = 0, list[Any](), list[int](), list[Finding]()
    for number, line in enumerate(lines, 1):
        value, trouble = _parsed(line.rstrip(b"\r\n"))
        begins = isinstance(value, Mapping) and value.get("kind") == KIND and "sequence" not in value
        if header is None and not begins:
            raise NoExport(f"{name}, line {number}: an export begins with a header of kind {KIND}, and this is {trouble or short(value)}")
        if begins:
            if header is not None:
                yield Section(name, header, header_line, entries, numbers, tuple(findings))
            header, header_line, entries, numbers = value, number, [], []
            findings = [Finding(Kind.EDITED, f"{name}, line {number}", trouble)] if trouble else []
        else:
            entries.append(Unreadable(trouble, _sequence(value)) if trouble else value)
            numbers.append(number)
    if header is None:
        raise NoExport(f"{name} is empty: an export begins with a header of kind {KIND}")
    yield Section(name, header, header_line, entries, numbers, tuple(findings))


def _parsed(line: bytes) -> tuple[Any, str]:
    """Return the value of a line, and what is wrong with it: every line is exactly as it was exported."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return None, f"it is no JSON: {error}"
    try:
        return value, "" if canonical(value) == line else "it is not as it was exported: keys in order, each once, and no spaces"
    except (TypeError, ValueError, RecursionError) as error:
        return None, f"it is no JSON: {error}"


def _sequence(value: Any) -> int | None:
    found = _mapping(value).get("sequence")
    return found if is_count(found) else None


def checked(section: Section, found: Audit) -> Audit:
    """Add to an audit of a section what its header says of it."""
    findings = [*section.findings]
    if section.header.get("seal") != _seal(section.header):
        findings.append(Finding(Kind.EDITED, section.where, "the header was changed: its seal is not that of what it says"))
    count = _mapping(section.header.get("journal")).get("count")
    if count != len(section.entries) or isinstance(count, bool):
        last = max(found.seals, default=0)
        words = f"it says that {short(count)} entries follow, and there are {len(section.entries)}"
        if not found.findings and not findings:
            is_cut = is_count(count) and count > len(section.entries)
            findings.append(Finding(Kind.TRUNCATED if is_cut else Kind.EDITED, section.where, words, last + 1 if is_cut else None))
    return replace(found, findings=(*findings, *found.findings)) if findings else found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
