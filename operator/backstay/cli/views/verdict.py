"""Verdicts on journals: what `backstay verify` says, in lines and as data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from backstay.cli.views.glyphs import GLYPHS
from backstay.cli.views.text import Line, Span, clean, counted, line, moment, one_line
from backstay.engine import codec
from backstay.engine.audit import Audit, Finding, Verdict
from backstay.engine.model import Phase

_WORDS: Final = 600
_GLYPHS: Final = {
    Verdict.PROVEN: (GLYPHS[Phase.SUCCEEDED], Phase.SUCCEEDED),
    Verdict.UNPROVEN: (GLYPHS[Phase.PAUSED], Phase.RETRYING),
    Verdict.BROKEN: (GLYPHS[Phase.FAILED], Phase.FAILED),
}


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found of one run, without its entries: there may be thousands of runs."""

    name: str
    namespace: str
    uid: str
    verdict: Verdict
    entries: int
    dropped: int
    head: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    source: str = ""
    """The file that it was read from; empty for a run of the cluster."""

    @property
    def is_proven(self) -> bool:
        return self.verdict is Verdict.PROVEN


def judged(found: Audit, namespace: str, more: Sequence[Finding] = (), source: str = "") -> Judged:
    """Return what an audit found, and `more` findings besides."""
    findings = (*found.findings, *more)
    verdict = Verdict.BROKEN if findings else found.verdict
    subject = found.subject
    return Judged(
        subject.name, namespace, subject.uid, verdict, len(found.entries), found.dropped, found.head, findings, found.notes, source
    )


def lines_of(found: Judged) -> Iterator[Line]:
    """Yield the lines about one run: the verdict, what was found, and what is worth knowing."""
    glyph, style = _GLYPHS[found.verdict]
    source = f"  ({clean(found.source)})" if found.source else ""
    yield line(Span(f"{glyph} ", style), Span(clean(found.name), "bold"), f"{source}  ", Span(_verdict(found), style))
    for finding in found.findings:
        yield line(f"    {about(finding)}: {clean(one_line(finding.message), _WORDS)}")
    for note in found.notes:
        yield line(Span(f"    note: {clean(one_line(note), _WORDS)}", "dim"))


def _verdict(found: Judged) -> str:
    entries = counted(found.entries, "entry") if found.entries == 1 else f"{found.entries:,} entries"
    if found.verdict is Verdict.BROKEN:
        return f"BROKEN: {counted(len(found.findings), 'finding')} in {entries}"
    if found.verdict is Verdict.UNPROVEN:
        return f"not proven: the {entries} that are left fit, and the {found.dropped:,} before them are kept nowhere"
    if not found.entries:
        return "proven: nothing has happened yet"
    return f"proven: {entries}, unbroken up to the seal {clean(found.head)}, and the status is exactly what follows"


def about(finding: Finding) -> str:
    """Say in a few words which entry a finding is about, and where it stands."""
    where = clean(finding.where)
    if finding.sequence is None:
        return f"{finding.kind}, {where}"
    time = f" of {moment(finding.time)}" if finding.time else ""
    return f"{finding.kind}, entry {finding.sequence}{time}, {where}"


def summary(verdicts: Sequence[Verdict], namespace: str) -> Line:
    """Say in one line what came of a namespace."""
    if not verdicts:
        return line(f"there are no runs in namespace {clean(namespace)}")
    counts = {verdict: verdicts.count(verdict) for verdict in Verdict}
    told = [f"{count:,} {words}" for verdict, words in _SUMMED.items() if (count := counts[verdict])]
    return line(f"{counted(len(verdicts), 'run')} in namespace {clean(namespace)}: {', '.join(told)}")


_SUMMED: Final = {Verdict.PROVEN: "proven", Verdict.UNPROVEN: "not proven", Verdict.BROKEN: "BROKEN"}


def data_of(found: Judged) -> dict[str, Any]:
    """Return what was found as data."""
    about = {
        "name": found.name,
        "namespace": found.namespace,
        "uid": found.uid,
        "file": found.source,
        "verdict": str(found.verdict),
        "entries": found.entries,
        "dropped": found.dropped,
        "seal": found.head,
        "findings": [_finding_data(finding) for finding in found.findings],
        "notes": list(found.notes),
    }
    return {key: value for key, value in about.items() if key != "file" or value}


def _finding_data(finding: Finding) -> dict[str, Any]:
    about = {
        "kind": str(finding.kind),
        "sequence": finding.sequence,
        "time": codec.time_to_json(finding.time) if finding.time else None,
        "where": finding.where,
        "message": finding.message,
    }
    return {key: value for key, value in about.items() if value is not None}
