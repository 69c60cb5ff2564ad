"""Hold the world's book against what each order was to do: nothing twice, nothing lost, in order, and wholly undone where it is undone.

Pure: lines of the book, the plan, how the run ended, and when the operator was killed, go in; broken rules come out, in words.

    rule                what it says
    known               every line is a deed of the plan, or its undoing
    once                no deed and no undoing takes effect twice; an attempt is one pod; no attempt is made that was not called for
    repeated            a request is repeated only after the operator was killed that had made it
    in order            a deed begins only when all of the stage before are done
    wholly              a run that has succeeded has done all its deeds and undone none; one that was to fail has done all there is before that
                        (not what goes on beside a refusal, which may come first)
    undone              otherwise each deed that is done is undone, exactly once; one of which nobody knows, at most once; what never began, never
    backwards           what came later is undone before what came sooner is; and nothing is begun any more once undoing has begun
    decided             a transaction that has begun to confirm confirms everywhere, and cancels nowhere
    at rest             nothing goes on when the run has ended, and nothing happens afterwards
    alone               no two pods under the same lock at the same time (of a whole namespace)
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.workload import ALONE, UNDO_FAILS, Deed, Order

_LATE_SECONDS = 2.0
"""How much later than it was sent a request may stand in the book, on a busy machine."""


@dataclass(frozen=True)
class Line:
    """One line of the world's book; `at` is a Unix time, `place` its number in the book, `unit` the pod or the key of a request, `run` the one
    that did it, which may be a child of the order's own."""

    at: float
    what: str
    by: str
    word: str
    order: str
    attempt: int
    unit: str
    run: str = ""
    place: int = 0


@dataclass(frozen=True)
class Ending:
    """How a run ended: its phase, "" where it is gone because it was deleted; and when, as a Unix time, where that is known."""

    phase: str
    at: float | None = None


@dataclass
class Judge:
    """Judges one order. `kills` are the Unix times at which the operator that looks after it was killed."""

    order: Order
    lines: Sequence[Line]
    ending: Ending
    kills: Sequence[float] = ()
    by_word: dict[str, list[Line]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for line in self.lines:
            self.by_word.setdefault(line.word, []).append(line)
        self.deeds = self.order.plan.deeds
        self.undoing = {deed.undo: deed for deed in self.deeds.values() if deed.undo}

    def broken(self) -> list[str]:
        """Return every rule that is broken, in words that begin with the order's name."""
        rules = (
            self._known,
            self._once,
            self._repeated,
            self._in_order,
            self._as_it_ended,
            self._backwards,
            self._at_rest,
        )
        return [f"{self.order.name} ({self._said()}): {words}" for rule in rules for words in rule()]

    def _said(self) -> str:
        plan = self.order.plan
        return f"{plan.workflow}{' that fails' * plan.fails}, {self.order.deed or 'left alone'}, ended as {self.ending.phase or 'gone'}"

    # --------------------------------------------------------------------------------------------------- what was done

    def _done(self, word: str) -> bool:
        return any(line.what == "done" for line in self.by_word.get(word, ()))

    def _stage_is_done(self, number: int) -> bool:
        return all(self._done(deed.word) for deed in self.order.plan.stages[number])

    @property
    def _is_confirmed(self) -> bool:
        plan = self.order.plan
        if plan.decided_after < 0 or plan.decided_after + 1 >= len(plan.stages):
            return False
        return any(deed.word in self.by_word for deed in plan.stages[plan.decided_after + 1])

    # -------------------------------------------------------------------------------------------------------- the rules

    def _known(self) -> Iterator[str]:
        for word in self.by_word.keys() - self.deeds.keys() - self.undoing.keys():
            yield f"{word} is none of its deeds"

    def _once(self) -> Iterator[str]:
        for word, lines in self.by_word.items():
            done = sum(line.what == "done" for line in lines)
            if done > 1:
                yield f"{word} was done {done} times"
            pods = Counter(line.attempt for line in lines if line.what == "begun")
            for attempt, count in pods.items():
                if count > 1:
                    yield f"attempt {attempt} of {word} was {count} pods"
            most = 1 + (self.deeds[word].fails if word in self.deeds else UNDO_FAILS.get(word, 0))
            if (highest := max(line.attempt for line in lines)) > most:
                yield f"{word} came to attempt {highest}, and attempt {most} is the last that is called for"

    def _repeated(self) -> Iterator[str]:
        for word, lines in self.by_word.items():
            requests = [line for line in lines if line.by == "call"]
            repeats = len(requests) - 1
            if repeats < 1:
                continue
            killed = sum(requests[0].at - _LATE_SECONDS <= kill <= requests[-1].at for kill in self.kills)
            if repeats > killed:
                yield f"{word} was asked for {repeats} times more, and the operator was killed {killed} times meanwhile"

    def _in_order(self) -> Iterator[str]:
        stages = self.order.plan.stages
        for sooner, later in pairwise(stages):
            for deed in later:
                first = min((line.place for line in self.by_word.get(deed.word, ())), default=None)
                for before in sooner:
                    done = min((line.place for line in self.by_word.get(before.word, ()) if line.what == "done"), default=None)
                    if first is not None and (done is None or done > first):
                        yield f"{deed.word} began before {before.word} was done"

    def _as_it_ended(self) -> Iterator[str]:
        plan, phase = self.order.plan, self.ending.phase
        expected = {"": {"Failed" if plan.fails else "Succeeded"}, "Cancel": {"Succeeded", "Failed", "Cancelled"}, "Delete": {"", phase}}
        if phase not in expected[self.order.deed]:
            yield f"it should have ended as {' or '.join(sorted(expected[self.order.deed]))}"
        if phase == "Succeeded" or (phase == "" and not plan.fails and self._is_all_done() and not self._is_undoing()):
            yield from self._wholly()
        elif self._is_confirmed:
            yield from self._decided()
        else:
            if phase == "Failed" and plan.fails:
                sure = (deed for stage in plan.stages if not any(deed.refuses for deed in stage) for deed in stage)
                yield from (f"{deed.word} was never done" for deed in sure if not self._done(deed.word))
            for number, stage in enumerate(plan.stages):
                for deed in stage:
                    yield from self._undone(deed, could_begin=number == 0 or self._stage_is_done(number - 1))

    def _is_all_done(self) -> bool:
        return all(self._done(word) for word in self.deeds)

    def _is_undoing(self) -> bool:
        return bool(self.by_word.keys() & self.undoing.keys())

    def _wholly(self) -> Iterator[str]:
        yield from (f"{word} was never done" for word in self.deeds if not self._done(word))
        yield from (f"{word} was done, and nothing was to be undone" for word in self.undoing if word in self.by_word)

    def _decided(self) -> Iterator[str]:
        plan = self.order.plan
        confirming = plan.stages[plan.decided_after + 1]
        yield from (f"{deed.word} was never done, and others were confirmed" for deed in confirming if not self._done(deed.word))
        yield from (f"{word} was done, and the transaction was confirmed" for word in self.undoing if word in self.by_word)

    def _undone(self, deed: Deed, *, could_begin: bool) -> Iterator[str]:
        if not deed.undo:
            return
        undone = self._done(deed.undo)
        if self._done(deed.word) and not undone:
            yield f"{deed.word} is done and not undone"
        if undone and not (could_begin or deed.word in self.by_word):
            yield f"{deed.word} is undone, and cannot even have begun"
        if undone and deed.refuses and not self.order.deed:
            yield f"{deed.word} is undone, and had said that it did nothing"

    def _backwards(self) -> Iterator[str]:
        for line in self.lines:
            if (
                line.word in self.deeds
                and line.what == "begun"
                and line.place > min(self._undoings_that_end(line.word), default=line.place)
            ):
                yield f"{line.word} began after undoing had begun"
        stages = self.order.plan.stages
        for number, stage in enumerate(stages):
            for deed in stage:
                for later in (other for others in stages[number + 1 :] for other in others):
                    mine = [line.place for line in self.by_word.get(deed.undo, ())]
                    theirs = [line.place for line in self.by_word.get(later.undo, ()) if line.what != "repeated"]
                    if mine and theirs and max(theirs) > min(mine):
                        yield f"{deed.undo} began before {later.undo} was done"

    def _undoings_that_end(self, word: str) -> list[int]:
        """Return where the undoings stand after which a deed is not begun: all; in a transaction, whose participants go side by side, its own."""
        words = self.undoing if self.order.plan.decided_after < 0 else [self.deeds[word].undo]
        return [line.place for undo in words for line in self.by_word.get(undo, ())]

    def _at_rest(self) -> Iterator[str]:
        ended = {line.unit for line in self.lines if line.what in ("done", "failed", "gone")}
        for line in self.lines:
            if line.what == "begun" and line.unit not in ended:
                yield f"{line.word} still goes on"
            if self.ending.at is not None and line.what in ("begun", "done") and line.at > self.ending.at:
                yield f"{line.word} was {line.what} {line.at - self.ending.at:.3f} s after its run had ended"


def together(lines: Iterable[Line]) -> Iterator[str]:
    """Yield where two pods of a namespace held the printer at the same time, by the order of its book."""
    holder: Line | None = None
    for line in lines:
        if line.word not in ALONE or line.by != "pod":
            continue
        if line.what == "begun":
            if holder is not None:
                yield f"{line.order} began to {line.word} while {holder.order} was going to {holder.word}"
            holder = line
        elif holder is not None and holder.unit == line.unit:
            holder = None
