"""audit: is a run's journal whole and unchanged, and is its status what follows from it? If not: what is wrong, and where does it stand?

    found = audit(Subject(name, uid), status, [volume(name, spec) for each of the run's WorkflowJournals])
    found.verdict, found.findings

It takes nothing on trust and raises nothing: what cannot be read is a finding. The operator's own question, whether it may go on from a status,
is another one and cheaper (`journal.verify`).

What is proven: every field that `codec` reads from a status (the run's own, and the steps), the number of steps left out, and the conditions
Succeeded, Complete and Suspended. What is not: the other conditions and the words of all, `status`, `progress`, `step` and `observedGeneration`,
which are derived for eyes and never read back; and the spec, which is no part of the journal (the API server keeps it from changing).
Somebody who may write statuses and WorkflowJournals, and works out all hashes anew, can forge a journal that is sound in itself: hold it against
an export that was kept elsewhere (`extends`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from backstay.engine import journal
from backstay.engine.audit.chain import Chain
from backstay.engine.audit.compare import Difference, differences, findings_of, fold
from backstay.engine.audit.export import Section, checked, sections
from backstay.engine.audit.findings import STATUS, Audit, Finding, Kind, Place, Subject, Verdict, volume
from backstay.engine.audit.standing import is_count, short
from backstay.engine.codec import entry_to_json
from backstay.engine.model import Entry
from backstay.engine.policies.disruption import MAX_DISRUPTIONS
from backstay.errors import BackstayError
from backstay.names import child_name, job_name

__all__ = ["Audit", "Finding", "Kind", "Place", "Subject", "Verdict", "audit", "audit_file", "extends", "volume"]


def audit(
    subject: Subject, status: Mapping[str, Any], volumes: Sequence[Place] = (), shown: Place | None = None, where: str = STATUS
) -> Audit:
    """Audit one run: its status as the API server has it, and its WorkflowJournals in any order. Raises nothing.

    Where the entries of the status stand elsewhere, as in an export, `shown` is that place, and `where` says where the rest of the status is.
    """
    kept = status.get("journal")
    kept = kept if isinstance(kept, Mapping) else {}
    counts, wrong = _counts(kept, where)
    if shown is None:
        given = kept.get("entries")
        shown = Place(STATUS, given if isinstance(given, list | tuple) else ())
    head = kept.get("head")
    head = head if isinstance(head, str) else ""
    chain = Chain(subject, shown, volumes, sum(counts), counts[1], head).check()
    entries = tuple(one.entry for one in chain.ordered if one.entry is not None)
    seals = {one.number: one.seal for one in chain.ordered if one.seal}
    places = {one.number: one.where for one in chain.ordered}
    found = Audit(subject, (*wrong, *chain.findings), entries, counts[1], head, seals=seals, places=places)
    return _with_state(found, status, where)


def _counts(kept: Mapping[str, Any], where: str) -> tuple[tuple[int, int], list[Finding]]:
    """Return how many entries are in WorkflowJournals and how many are nowhere, as the status says."""
    found, wrong = [], []
    for name in ("archived", "dropped"):
        value = kept.get(name) or 0
        if not is_count(value):
            wrong.append(Finding(Kind.STATUS, where, f"journal.{name} is {short(value)}, which is no count"))
        found.append(value if is_count(value) else 0)
    return (found[0], found[1]), wrong


def _with_state(found: Audit, status: Mapping[str, Any], where: str) -> Audit:
    """Hold the status against the fold, as far as the chain is sound."""
    unsealed = [one for one in found.findings if one.kind is Kind.SEAL]
    if len(unsealed) < len(found.findings):
        return found
    if found.dropped:
        return found if unsealed else _of_the_rest(found, status, where)
    state, broken, why = fold(found.entries)
    if broken is not None:
        told = "it was changed: it has not the hash that seals the journal" if unsealed else "the hashes fit, but"
        words = f"{told}, and {why}" if unsealed else f"{told} it does not follow from those before it: {why}"
        return _found(found, [Finding(Kind.EDITED, found.places[broken.sequence], words, broken.sequence, broken.time)])
    differing = differences(status, state)
    if unsealed:
        return _found(found, [_end_of(unsealed[0], differing, found.entries[-1], where)])
    if differing and not found.entries:
        return _found(found, [Finding(Kind.TRUNCATED, where, f"it has no journal, and shows what one has led to: {differing[0].words}", 1)])
    if differing:
        return _found(found, [*findings_of(differing, found.entries, where)])
    return replace(found, state=state, notes=_notes(found))


def _found(found: Audit, findings: Sequence[Finding]) -> Audit:
    return replace(found, findings=tuple(findings))


def _of_the_rest(found: Audit, status: Mapping[str, Any], where: str) -> Audit:
    """The oldest entries are lost: hold the status against the others as far as they tell."""
    try:
        held = {
            **status,
            "journal": {
                **status["journal"],
                "archived": 0,
                "dropped": found.dropped,
                "entries": [entry_to_json(entry) for entry in found.entries],
            },
        }
        shown = {key: value for key, value in held.items() if key != "stepsOmitted"}
        state = journal.remains(shown) if status.get("stepsOmitted") else journal.verify(shown)
    except (BackstayError, TypeError, AttributeError, ValueError, KeyError) as error:
        return _found(found, [Finding(Kind.STATUS, where, str(error))])
    note = f"entries 1 to {found.dropped} are kept nowhere any more: what they did cannot be proven"
    return replace(found, state=state, notes=(note,))


def _end_of(finding: Finding, differing: Sequence[Difference], newest: Entry, where: str) -> Finding:
    """Tell whether the newest entry was changed, or newer ones were dropped: what the status shows and the journal does not tell, they did."""
    if newest.kind in (journal.FORGOTTEN, journal.DEADLINES_MOVED):
        return finding
    own = [one for one in differing if one.path == newest.path and one.key in newest.changes]
    if len(own) < len(differing):
        words = f"entry {newest.sequence} is not the one that is sealed: newer ones were dropped, or it was changed; {differing[0].words}"
        return Finding(Kind.TRUNCATED, where, words, newest.sequence + 1)
    if own:
        words = f"it was changed: it has not the hash that seals the journal, and {own[0].words}"
        return Finding(Kind.EDITED, finding.where, words, newest.sequence, newest.time)
    if differing:
        return finding
    words = f"{finding.message}; the status is what the entries lead to, so nothing that changed it is missing"
    return Finding(Kind.SEAL, finding.where, words, finding.sequence, finding.time)


def _notes(found: Audit) -> tuple[str, ...]:
    """Jobs and child runs are named for the UID of their run: they tell whether the journal was begun by another one."""
    name, uid = found.subject.name, found.subject.uid
    for entry in found.entries:
        job, child, attempt = entry.changes.get("job"), entry.changes.get("child"), entry.attempt
        if isinstance(job, str):
            own = (job_name(name, uid, entry.path, attempt, disruptions) for disruptions in range(MAX_DISRUPTIONS + 1))
            return () if job in own else (_copied(entry, f"Job {job}", uid),)
        if isinstance(child, str):
            return () if child == child_name(name, uid, entry.path, attempt) else (_copied(entry, f"child run {child}", uid),)
    return ()


def _copied(entry: Entry, what: str, uid: str) -> str:
    return (
        f"{what} of entry {entry.sequence} is not named for this run (UID {uid}): the run is a copy that was restored, or the whole journal is "
        "that of another run"
    )


def audit_file(lines: Iterable[bytes], name: str) -> Iterator[tuple[Section, Audit]]:
    """Audit every run of an export, without a cluster. Raises NoExport where it is none."""
    for section in sections(lines, name):
        yield section, checked(section, audit(section.subject, section.status, (), section.place, section.where))


def extends(newer: Audit, older: Audit) -> list[Finding]:
    """Tell whether a journal goes on from an earlier look at it, such as an export that was kept elsewhere: what nobody can forge afterwards."""
    known = {entry.sequence: entry for entry in older.entries}
    last = max(older.seals, default=0)
    if last > max(newer.seals, default=0):
        words = f"it ends with entry {max(newer.seals, default=0)}, and the export knows entries up to {last}"
        return [Finding(Kind.TRUNCATED, STATUS, words, max(newer.seals, default=0) + 1)]
    for number in sorted(older.seals.keys() & newer.seals.keys()):
        if older.seals[number] != newer.seals[number]:
            entry = known[number]
            words = f"it is another one than in the export, where it is {entry.kind} {entry.path}".rstrip()
            return [Finding(Kind.EDITED, newer.places[number], words, number, entry.time)]
    return []
