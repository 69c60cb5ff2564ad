"""The judge of the kill tests: a book in which all is as it should be breaks no rule, and each fault that is planted into it is found. Needs no cluster."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

import pytest

from tests.chaos.rules import Ending, Judge, Line, together
from tests.chaos.workload import Deed, Order, drawn, plan_of

Lines = list[Line]
CALLS = (
    "seat",
    "fee",
    "ticket",
    "sign",
    "strike",
    "ring",
    "hush",
    "try-one",
    "confirm",
    "cancel",
    "tell",
    "no-seat",
    "no-visa",
    "no-guide",
    "no-fee",
)


def order(workflow: str, *, fails: bool = False, deed: str = "") -> Order:
    return Order("run-1", plan_of(workflow, fails=fails), deed)


def numbered(lines: Sequence[Line]) -> Lines:
    """A line a second."""
    return [replace(line, at=float(number), place=number) for number, line in enumerate(lines)]


def doing(deed: Deed) -> Lines:
    """What the book says of a deed that is done as it should be."""
    if deed.word.startswith(CALLS):
        return [Line(0, "done", "call", deed.word, "ns.run-1", 1, f"key of {deed.word}")]
    ends = ["failed"] * deed.fails + ["failed" if deed.refuses else "done"]
    lines: Lines = []
    for attempt, end in enumerate(ends, 1):
        begun = Line(0, "begun", "pod", deed.word, "ns.run-1", attempt, f"pod {attempt} of {deed.word}")
        lines += [begun, replace(begun, what=end)]
    return lines


def undoing(deed: Deed) -> Lines:
    return doing(Deed(deed.undo, fails=1 if deed.undo == "no-hotel" else 0)) if deed.undo and not deed.refuses else []


def forwards(asked: Order) -> Lines:
    return [line for stage in asked.plan.stages for deed in stage for line in doing(deed)]


def there_and_back(asked: Order) -> Lines:
    return forwards(asked) + [line for stage in reversed(asked.plan.stages) for deed in stage for line in undoing(deed)]


def broken(asked: Order, lines: Sequence[Line], phase: str, kills: Sequence[float] = (), at: float | None = None) -> list[str]:
    return Judge(asked, numbered(lines), Ending(phase, at), kills).broken()


@pytest.mark.parametrize("workflow", ["trip", "desk", "deal", "calls", "short"])
def test_a_run_that_has_succeeded_and_did_all_breaks_no_rule(workflow: str) -> None:
    asked = order(workflow)
    assert broken(asked, forwards(asked), "Succeeded", at=100) == []


@pytest.mark.parametrize("workflow", ["trip", "desk", "deal", "calls"])
def test_a_run_that_has_failed_and_is_undone_breaks_no_rule(workflow: str) -> None:
    asked = order(workflow, fails=True)
    assert broken(asked, there_and_back(asked), "Failed", at=100) == []


@pytest.mark.parametrize("workflow", ["trip", "desk", "calls"])
def test_a_run_that_was_deleted_on_its_way_and_is_undone_breaks_no_rule(workflow: str) -> None:
    asked = order(workflow, deed="Delete")
    first = asked.plan.stages[0][0]
    assert broken(asked, doing(first) + undoing(first), "") == []


def test_a_participant_that_was_not_asked_before_another_one_refused_breaks_no_rule() -> None:
    asked = order("deal", fails=True)
    assert broken(asked, [line for line in forwards(asked) if line.word != "try-one"], "Failed") == []


def test_a_request_that_is_repeated_after_a_kill_breaks_no_rule() -> None:
    asked = order("calls")
    lines = forwards(asked)
    assert broken(asked, [lines[0], replace(lines[0], what="repeated"), *lines[1:]], "Succeeded", kills=[0.5]) == []


def without(word: str, what: str = "") -> Callable[[Lines], Lines]:
    return lambda lines: [line for line in lines if line.word != word or (what and line.what != what)]


def only(*words: str) -> Callable[[Lines], Lines]:
    return lambda lines: [line for line in lines if line.word in words]


def again(word: str, /, **changes: object) -> Callable[[Lines], Lines]:
    """Have the last line of a word there twice, the second time changed."""

    def plant(lines: Lines) -> Lines:
        place = max(number for number, line in enumerate(lines) if line.word == word)
        return [*lines[: place + 1], replace(lines[place], **changes), *lines[place + 1 :]]  # type: ignore[arg-type]

    return plant


def last_first(lines: Lines) -> Lines:
    return [lines[-1], *lines[:-1]]


def swapped(one: str, other: str) -> Callable[[Lines], Lines]:
    """Have the lines of two words change places."""

    def plant(lines: Lines) -> Lines:
        firsts, seconds = ([line for line in lines if line.word == word] for word in (one, other))
        given = {one: iter(seconds), other: iter(firsts)}
        found: Lines = []
        for line in lines:
            found += given.get(line.word, [line])
        return found

    return plant


FAULTS = [
    (order("short"), "Succeeded", without("only"), "only was never done"),
    (order("short"), "Succeeded", again("only", unit="another pod"), "only was done 2 times"),
    (order("short"), "Succeeded", again("only", what="begun", unit="another pod"), "attempt 1 of only was 2 pods"),
    (order("short"), "Succeeded", without("only", "done"), "only still goes on"),
    (order("short"), "Succeeded", again("only", word="lunch"), "lunch is none of its deeds"),
    (order("short"), "Failed", lambda lines: lines, "it should have ended as Succeeded"),
    (order("calls"), "Succeeded", again("ring-1", what="repeated"), "was asked for 1 times more, and the operator was killed 0 times"),
    (order("calls"), "Succeeded", again("ring-1", attempt=2), "came to attempt 2, and attempt 1 is the last"),
    (order("calls"), "Succeeded", swapped("ring-0", "ring-1"), "ring-1 began before ring-0 was done"),
    (order("calls"), "Succeeded", again("ring-left", word="hush-left"), "hush-left was done, and nothing was to be undone"),
    (order("trip", fails=True), "Failed", without("no-seat-2"), "seat-2 is done and not undone"),
    (order("trip", fails=True), "Failed", again("no-fee"), "no-fee was done 2 times"),
    (order("trip", fails=True), "Failed", swapped("no-fee", "no-guide"), "no-guide began before no-fee was done"),
    (order("trip", fails=True), "Failed", without("visa", "done"), "visa was never done"),
    (order("desk", fails=True), "Failed", swapped("print", "shred"), "print began after undoing had begun"),
    (order("desk", deed="Delete"), "", without("shred"), "print is done and not undone"),
    (order("calls", deed="Cancel"), "Cancelled", only("ring-0", "hush-0", "hush-2"), "ring-2 is undone, and cannot even have begun"),
    (order("deal"), "Succeeded", without("confirm-two"), "confirm-two was never done"),
    (order("deal", deed="Cancel"), "Cancelled", without("confirm-two"), "confirm-two was never done, and others were confirmed"),
    (
        order("deal", deed="Cancel"),
        "Cancelled",
        again("confirm-two", word="cancel-two"),
        "cancel-two was done, and the transaction was confirmed",
    ),
    (order("deal", fails=True), "Failed", again("cancel-one", word="cancel-two"), "try-two is undone, and had said that it did nothing"),
]


@pytest.mark.parametrize(("asked", "phase", "plant", "words"), FAULTS, ids=[words for *_, words in FAULTS])
def test_a_fault_that_is_planted_into_the_book_is_found(asked: Order, phase: str, plant: Callable[[Lines], Lines], words: str) -> None:
    right = forwards(asked) if phase == "Succeeded" or (asked.plan.workflow == "deal" and asked.deed) else there_and_back(asked)
    assert any(words in rule for rule in broken(asked, plant(right), phase)), broken(asked, plant(right), phase)


def test_what_happens_after_the_end_of_a_run_is_found() -> None:
    asked = order("short")
    assert any("was done 0.500 s after its run had ended" in rule for rule in broken(asked, forwards(asked), "Succeeded", at=0.5))


def test_two_pods_that_hold_the_same_lock_at_the_same_time_are_found() -> None:
    one = Line(0, "begun", "pod", "print", "ns.run-1", 1, "a")
    other = replace(one, order="ns.run-2", unit="b")
    apart = [one, replace(one, what="gone"), other, replace(other, what="done")]
    assert list(together(apart)) == []
    assert list(together([one, other])) == ["ns.run-2 began to print while ns.run-1 was going to print"]


def test_the_same_seed_draws_the_same_orders_and_another_one_draws_others() -> None:
    def some(seed: int) -> list[Order]:
        generator, numbers = random.Random(seed), count()
        return [drawn(generator, f"run-{next(numbers)}") for _ in range(50)]

    assert some(7) == some(7) != some(8)
    assert {(each.plan.workflow, each.deed) for each in some(7)} >= {("trip", ""), ("desk", ""), ("calls", ""), ("deal", "")}
