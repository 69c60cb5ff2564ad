"""Who is next: first come, first served; a higher priority goes first and nobody starves; never more than the limit, never faster than the rate."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backstay.engine.policies.queueing import Claim, Lines, Rate, Slots, Starts, counting, next_in_turn, noted, ordinal

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def claim(name: str, seconds: float = 0, *, key: str = "", priority: int = 0) -> Claim:
    """One who wants a slot, so many seconds after noon."""
    return Claim(name, f"uid-{name}", "", key, NOON + timedelta(seconds=seconds), priority)


def line_of(*claims: Claim) -> Lines:
    lines = Lines()
    for one in claims:
        lines.add(one)
    return lines


def names(claims: list[Claim]) -> list[str]:
    return [one.run for one in claims]


def granted(lines: Lines, slots: Slots, held: dict[str, int] | None = None, starts: tuple[Starts, ...] = (), most: int = 2000) -> list[str]:
    return names(next_in_turn(slots, held or {}, lines, starts, NOON, most)[0])


def test_who_came_first_is_served_first() -> None:
    assert granted(line_of(claim("late", 9), claim("first", 1), claim("second", 5)), Slots(2)) == ["first", "second"]


def test_who_came_at_the_same_moment_is_served_in_the_order_in_which_they_asked() -> None:
    assert granted(line_of(claim("b"), claim("a"), claim("c")), Slots(2)) == ["b", "a"]


def test_a_higher_priority_goes_first_among_those_who_came_at_about_the_same_time() -> None:
    assert granted(line_of(claim("usual", 0), claim("urgent", 59, priority=1)), Slots(1)) == ["urgent"]


def test_nobody_starves_a_level_of_priority_is_worth_a_minute_of_waiting() -> None:
    waiting = claim("waiting", 0)
    crowd = [claim(f"urgent-{number}", 60 * number, priority=10) for number in range(1, 100)]
    order = granted(line_of(waiting, *crowd), Slots(100))
    assert order.index("waiting") == 9, "only those who came within ten minutes after it may overtake it"


def test_a_slot_of_one_key_is_no_slot_of_another() -> None:
    lines = line_of(claim("a", 0, key="x"), claim("b", 1, key="x"), claim("c", 2, key="y"))
    assert granted(lines, Slots(1), {"x": 1}) == ["c"]
    assert granted(lines, Slots(1)) == ["a", "c"]


def test_a_limit_of_none_gives_everybody_a_slot_and_a_limit_of_zero_nobody() -> None:
    lines = line_of(claim("a"), claim("b"))
    assert granted(lines, Slots(None)) == ["a", "b"]
    assert granted(lines, Slots(0)) == []


def test_where_all_keys_together_have_a_bound_the_earliest_turn_goes_first_whatever_its_key() -> None:
    lines = line_of(claim("a1", 5, key="a"), claim("a2", 6, key="a"), claim("b1", 1, key="b"), claim("c1", 3, key="c"))
    assert granted(lines, Slots(2), {"a": 1}, most=3) == ["b1", "c1"]


def test_places_are_told_within_the_line_of_a_key() -> None:
    lines = line_of(claim("a", 3, key="x"), claim("b", 1, key="x"), claim("c", 2, key="y"))
    assert [lines.place(f"uid-{name}/") for name in "abc"] == [(2, 2), (1, 2), (1, 1)]
    lines.remove("uid-b/")
    assert lines.place("uid-a/") == (1, 1)
    assert lines.place("uid-b/") == (0, 0)


def test_another_priority_is_another_place_and_asking_again_is_none() -> None:
    lines = line_of(claim("a", 0), claim("b", 1))
    lines.add(claim("a", 0))
    assert [one.run for one in lines] == ["a", "b"]
    lines.add(claim("b", 1, priority=5))
    assert ([one.run for one in lines], len(lines)) == (["b", "a"], 2)


# ------------------------------------------------------------------------------------------------------------------ rates


def test_a_rate_lets_so_many_begin_and_says_when_the_next_one_may() -> None:
    rate = Rate(2, timedelta(seconds=10))
    starts = (Starts("", NOON - timedelta(seconds=4)), Starts("", NOON - timedelta(seconds=1)))
    found, due = next_in_turn(Slots(None, rate), {}, line_of(claim("a")), starts, NOON)
    assert (found, due) == ([], NOON + timedelta(seconds=6))
    assert counting(starts, rate, NOON + timedelta(seconds=6)) == [starts[1]]


def test_a_rate_counts_each_key_by_itself() -> None:
    rate = Rate(1, timedelta(seconds=10))
    lines = line_of(claim("a", key="x"), claim("b", key="x"), claim("c", key="y"))
    assert granted(lines, Slots(None, rate)) == ["a", "c"]


@given(
    limit=st.integers(1, 60),
    seconds=st.sampled_from([1, 7, 60, 3600]),
    pauses=st.lists(st.floats(0, 400), min_size=1, max_size=80),
)
def test_a_rate_is_never_exceeded_in_any_stretch_of_its_length_and_little_of_it_is_lost(
    limit: int, seconds: int, pauses: list[float]
) -> None:
    rate, now, starts, began = Rate(limit, timedelta(seconds=seconds)), NOON, [], []
    for pause in pauses:
        now += timedelta(seconds=pause)
        starts = counting(starts, rate, now)
        found, due = next_in_turn(Slots(None, rate), {}, line_of(claim("a", 0)), starts, now)
        if found:
            starts = noted(starts, "", rate, now)
            began.append(now)
        else:
            assert due is not None
            assert now < due <= now + rate.per * 1.05
    for first in began:
        assert sum(first <= one < first + rate.per for one in began) <= limit
    assert len(starts) <= max(20, min(limit, 21))


# ------------------------------------------------------------------------------------------- a model: fair, bounded, no leak


class Queue(RuleBasedStateMachine):
    """Any mixture of asking, leaving, ending, crashing and of limits that change: what is held never exceeds what the limit was when given."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(2)
        self.lines = Lines()
        self.held: dict[str, Claim] = {}
        self.seconds = 0
        self.count = 0

    @rule(key=st.sampled_from("xy"), priority=st.integers(-3, 3), pause=st.integers(0, 200))
    def ask(self, key: str, priority: int, pause: int) -> None:
        self.seconds += pause
        self.count += 1
        self.lines.add(claim(str(self.count), self.seconds, key=key, priority=priority))

    @rule(limit=st.integers(0, 4))
    def change_the_limit(self, limit: int) -> None:
        self.slots = Slots(limit)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def end_or_crash(self, data: st.DataObject) -> None:
        del self.held[data.draw(st.sampled_from(sorted(self.held)))]

    @precondition(lambda self: len(self.lines))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.lines.remove(data.draw(st.sampled_from(sorted(one.id for one in self.lines))))

    @rule()
    def settle(self) -> None:
        held = Counter(one.key for one in self.held.values())
        before = list(self.lines)
        found, _ = next_in_turn(self.slots, held, self.lines, (), NOON)
        for one in found:
            self.lines.remove(one.id)
            self.held[one.id] = one
            held[one.key] += 1
            assert held[one.key] <= (self.slots.limit or 0), "more than the limit"
            ahead = [other for other in before if other.key == one.key and other.id in self.lines and other.turn < one.turn]
            assert not ahead, "somebody with an earlier turn was left out"
        for key in "xy":
            assert held[key] >= (self.slots.limit or 0) or not [1 for one in self.lines if one.key == key], "a slot stays empty"

    @invariant()
    def the_line_is_in_order_and_nobody_is_in_it_twice(self) -> None:
        turns = [one.turn for one in self.lines]
        assert turns == sorted(turns)
        assert len({one.id for one in self.lines}) == len(self.lines) == len(turns)
        assert not any(one.id in self.held for one in self.lines)


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize(("number", "words"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (21, "21st")])
def test_places_are_told_in_words(number: int, words: str) -> None:
    assert ordinal(number) == words
