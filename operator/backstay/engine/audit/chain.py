"""The chain of a journal: are all entries there, each once, in order, and unchanged; and if not, which one is wrong and where does it stand?

Every entry gives the hash of the one before it, so one that was changed is told by the one after it. The checks go from what is sure to what is
worked out from the rest, and each hands on what it has put right, so that one fault is one finding:

    read        an entry that cannot be read, or is not as an operator writes it
    repeats     the same entry twice in one place; in a WorkflowJournal and in the status it may stand for a moment
    numbers     an entry that fits into its place but for its number
    rivals      two different entries of one number
    order       entries that are not in the longest part that is in order
    gaps        numbers that are missing, at the beginning and in between
    links       an entry whose hash is not the one that the next entry gives for it
    claims      what a WorkflowJournal, and the status, say of the entries in them
    end         an end that is older than a WorkflowJournal, or that the status does not seal
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from backstay.engine.audit.findings import Finding, Kind, Place, Subject
from backstay.engine.audit.standing import Standing, canonical, is_count, read, short
from backstay.names import journal_name


class Chain:
    """The entries of one run from all places, put in order, and what was found on the way."""

    def __init__(self, subject: Subject, status: Place, volumes: Sequence[Place], before: int, dropped: int, head: str) -> None:
        """As the status has it: `before` says how many entries it does not hold, `dropped` how many of these are nowhere, `head` seals them all."""
        self.subject = subject
        self.findings: list[Finding] = []
        self.ordered: list[Standing] = []
        self._status = status
        self._volumes = self._own(volumes)
        self._before, self._dropped, self._head = before, dropped, head
        self._shown: list[Standing] = []

    def check(self) -> "Chain":
        """Do all checks, in the order above."""
        standings = self._repeats(self._read())
        told = {self._head, *(one.previous for one in standings)}
        places = (*self._volumes, self._status)
        for place in places:
            self._numbers([one for one in standings if one.place is place], place, told)
        self.ordered, kept = self._rivals(standings)
        for place in places:
            self._order([one for one in standings if one.place is place and id(one) in kept])
        self._gaps()
        self._links()
        self._end()
        self._claims()
        return self

    # -------------------------------------------------------------------------------------------------------- places

    def _own(self, volumes: Sequence[Place]) -> list[Place]:
        """Return the WorkflowJournals of this run in order; blame those that are another's."""
        own = []
        for place in volumes:
            run = (place.claims or {}).get("run")
            of = run.get("uid") if isinstance(run, Mapping) else None
            if of == self.subject.uid:
                own.append(place)
            else:
                whose = f"run {short(run.get('name'))} with the UID {short(of)}" if isinstance(run, Mapping) else "no run"
                self._blame(Kind.EXCHANGED, place.name, f"it holds entries of {whose}, and not of this one (UID {self.subject.uid})")
        return sorted(own, key=lambda place: (_first(place), place.name))

    def _blame(self, kind: Kind, where: str, message: str, about: Standing | None = None) -> None:
        if about is None:
            self.findings.append(Finding(kind, where, message))
        else:
            self.findings.append(about.finding(kind, message))

    def _read(self) -> list[Standing]:
        standings: list[Standing] = []
        for place in (*self._volumes, self._status):
            found, findings = read(place, self._expected(place))
            standings += found
            self.findings += findings
            if place is self._status:
                self._shown = found
        return standings

    def _expected(self, place: Place) -> int:
        return self._before + 1 if place is self._status else _first(place)

    # ------------------------------------------------------------------------------------------------ each place by itself

    def _repeats(self, standings: Sequence[Standing]) -> list[Standing]:
        groups: defaultdict[tuple[int, str], list[Standing]] = defaultdict(list)
        for one in standings:
            if one.entry is not None:
                groups[one.number, one.seal].append(one)
        before = {id(after): one for one, after in pairwise(standings)}
        surplus: set[int] = set()
        for same in groups.values():
            in_status = [one for one in same if one.place is self._status]
            elsewhere = [one for one in same if one.place is not self._status]
            for alike in (in_status, elsewhere):
                kept = next((one for one in alike if _follows(before.get(id(one)), one)), alike[0] if alike else None)
                for one in alike:
                    if one is not kept and kept is not None:
                        surplus.add(id(one))
                        also = "" if one.place is kept.place else f", and in {kept.where}"
                        self._blame(Kind.REPEATED, "", f"it stands twice{also}", one)
            if elsewhere:
                surplus.update(map(id, in_status))
        return [one for one in standings if id(one) not in surplus]

    def _numbers(self, here: Sequence[Standing], place: Place, told: Collection[str | None]) -> None:
        """Find entries of which nothing but the number says that they belong elsewhere. One whose hash another one gives is what it was."""
        expected = self._expected(place)
        for index, one in enumerate(here):
            before, after = here[index - 1] if index else None, here[index + 1] if index + 1 < len(here) else None
            belongs = before.number + 1 if before else expected
            fits = after.number == belongs + 1 if after else _follows(before, one)
            if one.number != belongs and one.entry is not None and one.seal not in told and (fits or _follows(before, one)):
                said, one.number = one.number, belongs
                self._blame(Kind.EDITED, "", f"it says that it is entry {said}, and stands where entry {belongs} belongs", one)

    # ----------------------------------------------------------------------------------------------------- all in one order

    def _rivals(self, standings: Sequence[Standing]) -> tuple[list[Standing], set[int]]:
        """Put all in order by number; of two different ones the one that the others tell of is the right one."""
        by_number: defaultdict[int, list[Standing]] = defaultdict(list)
        for one in standings:
            by_number[one.number].append(one)
        ordered = []
        for number in sorted(by_number):
            rivals = by_number[number]
            told = {self._head, *(one.previous for one in by_number.get(number + 1, ()))}
            known = {one.seal for one in by_number.get(number - 1, ()) if one.seal}
            rivals.sort(key=lambda one: (one.entry is None, one.seal not in told, one.previous not in known))
            ordered.append(rivals[0])
            for other in rivals[1:]:
                if not other.is_blamed:
                    self._blame(Kind.INSERTED, "", f"there are two entries {number}: this one, and another in {rivals[0].where}", other)
        return ordered, set(map(id, ordered))

    def _order(self, here: Sequence[Standing]) -> None:
        in_order = _longest_ascending([one.number for one in here])
        for index, one in enumerate(here):
            if index not in in_order and not one.is_blamed:
                beside = [f"after entry {here[index - 1].number}"] if index else []
                beside += [f"before entry {here[index + 1].number}"] if index + 1 < len(here) else []
                self._blame(Kind.REORDERED, "", f"it does not belong where it stands, {' and '.join(beside)}", one)

    def _gaps(self) -> None:
        last = self._dropped
        before: Standing | None = None
        for one in self.ordered:
            if one.number > last + 1:
                self._blame_gap(last + 1, one.number - 1, before, one)
            last, before = max(last, one.number), one

    def _blame_gap(self, first: int, last: int, before: Standing | None, after: Standing) -> None:
        which = f"entry {first} is" if first == last else f"the entries {first} to {last} are"
        between = f"between entry {before.number} (in {before.where}) and " if before else "before "
        message = f"{which} missing {between}entry {after.number} (in {after.where})"
        self.findings.append(Finding(Kind.MISSING, self._home(first), message, first))

    def _home(self, number: int) -> str:
        """Say where an entry belongs that is missing."""
        for place in self._volumes:
            last = (place.claims or {}).get("last")
            if is_count(last) and _first(place) <= number <= last:
                return place.name
        if number > self._before:
            return self._status.name
        return f"WorkflowJournal {journal_name(self.subject.name, self.subject.uid, number)}"

    def _links(self) -> None:
        exchanged = self._exchanged()
        for place in exchanged:
            self._blame(Kind.EXCHANGED, place.name, "its entries are sound in themselves, and not those that were moved to it")
        for index, (one, after) in enumerate(pairwise(self.ordered)):
            if not self._is_broken(one, after) or one.place in exchanged or after.place in exchanged:
                continue
            if one.is_blamed or after.is_blamed:
                continue
            if self._is_confirmed(after, self._at(index + 2)):
                self._blame(Kind.EDITED, "", f"it was changed: entry {after.number}, written after it, gives another hash for it", one)
            else:
                self._blame(Kind.EDITED, "", f"it was changed: it does not give the hash of entry {one.number} before it", after)
        first = self.ordered[0] if self.ordered else None
        if first is not None and first.number == 1 and first.previous and not first.is_blamed:
            self._blame(Kind.EDITED, "", "it is the first one, and says that there is one before it", first)

    def _at(self, index: int) -> Standing | None:
        return self.ordered[index] if index < len(self.ordered) else None

    def _is_confirmed(self, one: Standing, after: Standing | None) -> bool:
        """Tell whether what comes after an entry says that it is what it was, or says nothing."""
        if after is None:
            return one.seal == self._head
        return _follows(one, after) or after.is_blamed or after.number != one.number + 1

    def _exchanged(self) -> list[Place]:
        """Return WorkflowJournals that are sound in themselves and do not fit to what stands beside them."""
        ends: dict[int, tuple[Place, bool, bool]] = {id(place): (place, False, False) for place in self._volumes}
        for index, (one, after) in enumerate(pairwise(self.ordered)):
            if one.place is not after.place and self._is_broken(one, after) and self._is_confirmed(after, self._at(index + 2)):
                if id(one.place) in ends:
                    place, begins, _ = ends[id(one.place)]
                    ends[id(one.place)] = (place, begins, True)
                if id(after.place) in ends:
                    place, _, stops = ends[id(after.place)]
                    ends[id(after.place)] = (place, True, stops)
        both = [place for place, begins, stops in ends.values() if begins and stops and self._is_sound(place)]
        if both:
            return both
        return [place for place, _, stops in ends.values() if stops and self._is_sound(place)]

    def _is_sound(self, place: Place) -> bool:
        here = [one for one in self.ordered if one.place is place]
        if not here or any(one.is_blamed for one in here) or any(self._is_broken(one, after) for one, after in pairwise(here)):
            return False
        return (place.claims or {}).get("head") == here[-1].seal

    @staticmethod
    def _is_broken(one: Standing, after: Standing) -> bool:
        return after.number == one.number + 1 and not _follows(one, after)

    # -------------------------------------------------------------------------------------------------------------- ends

    def _claims(self) -> None:
        """Hold what objects say of the entries in them against these; not where an entry was found to be wrong, which tells the same."""
        if self.findings:
            return
        for place in self._volumes:
            here = [one for one in self.ordered if one.place is place and one.entry is not None]
            said = place.claims or {}
            if not here:
                self._blame(Kind.EDITED, place.name, "it holds no entries")
                continue
            found = {
                "first": here[0].number,
                "last": here[-1].number,
                "count": len(here),
                "previous": here[0].previous or "",
                "head": here[-1].seal,
            }
            wrong = [name for name, value in found.items() if canonical(said.get(name, "")) != canonical(value)]
            if wrong:
                words = ", ".join(f"{name} {short(said.get(name))}" for name in wrong)
                holds = ", ".join(f"{name} {short(found[name])}" for name in wrong)
                self._blame(Kind.EDITED, place.name, f"it says {words} of its entries, and holds {holds}")

        first = min((one.number for one in self._shown), default=self._before + 1)
        if first != self._before + 1:
            self._blame(Kind.STATUS, self._status.name, f"it says that {self._before} entries are elsewhere, and begins with entry {first}")
        elif self._dropped and self.ordered and self.ordered[0].number <= self._dropped:
            self._blame(Kind.STATUS, self._status.name, f"it says that the {self._dropped} oldest entries are nowhere, and some are there")

    def _end(self) -> None:
        """Hold the end against what is beyond it, and against the seal that the status gives."""
        newest = self.ordered[-1] if self.ordered else None
        last_shown = max((one.number for one in self._shown), default=self._before)
        if newest is not None and newest.number > last_shown and not newest.is_blamed:
            words = f"it ends with entry {last_shown}, and {newest.where} goes on to entry {newest.number}: it was put back, or cut off"
            self.findings.append(Finding(Kind.TRUNCATED, self._status.name, words, last_shown + 1))
        elif newest is None and self._head:
            words = f"it has the seal {short(self._head)} and no entry that it seals: they were dropped"
            self.findings.append(Finding(Kind.TRUNCATED, self._status.name, words, self._dropped + 1))
        elif newest is not None and not newest.is_blamed and newest.seal != self._head:
            words = (
                f"its seal {short(self._head)} is not that of entry {newest.number}, the newest one: that entry was changed, the seal was, "
                "or newer entries were dropped"
            )
            self.findings.append(Finding(Kind.SEAL, newest.where, words, newest.number, newest.entry.time if newest.entry else None))


def _follows(one: Standing | None, after: Standing) -> bool:
    return one is not None and bool(one.seal) and after.previous == one.seal


def _first(place: Place) -> int:
    found: Any = (place.claims or {}).get("first")
    return found if is_count(found) and found else 1


def _longest_ascending(numbers: Iterable[int]) -> set[int]:
    """Return the indices of the longest part that ascends strictly (patience sorting, O(n log n))."""
    tops: list[int] = []
    top_index: list[int] = []
    came_from: list[int] = []
    for index, number in enumerate(numbers):
        pile = bisect_left(tops, number)
        came_from.append(top_index[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(number)
            top_index.append(index)
        else:
            tops[pile], top_index[pile] = number, index
    found: set[int] = set()
    index = top_index[-1] if top_index else -1
    while index >= 0:
        found.add(index)
        index = came_from[index]
    return found
