"""Words and lines: nothing that a user wrote can steer a terminal, and lengths of time read as people write them."""

from datetime import timedelta

import pytest

from backstay.cli.views.text import Span, clean, fit, length, line, listed


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain words", "plain words"),
        ("Grüße, 世界 ✔", "Grüße, 世界 ✔"),
        ("a\nb\tc\r\nd", "a b c  d"),
        ("\x1b[2J\x1b[31mred", "\\x1b[2J\\x1b[31mred"),
        ("\x07bell\x00", "\\x07bell\\x00"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202edcba", "abc\\u202edcba"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_could_steer_a_terminal_is_shown_instead(given: str, shown: str) -> None:
    assert clean(given) == shown


def test_text_is_cut_at_the_limit_and_says_so() -> None:
    assert clean("x" * 20, 10) == "xxxxxxxxx…"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-3, "0.0s"),
        (0, "0.0s"),
        (0.04, "0.0s"),
        (3.24, "3.2s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.6, "1m"),
        (75, "1m15s"),
        (3600, "1h"),
        (3_725, "1h2m"),
        (90_061, "1d1h"),
        (10 * 86_400, "10d"),
    ],
)
def test_lengths_of_time_have_two_units_at_most(seconds: float, shown: str) -> None:
    assert length(timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize(
    ("items", "words"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c"), (list("abcdefg"), "a, b, c, d, e and 2 more")],
)
def test_lists_read_as_sentences(items: list[str], words: str) -> None:
    assert listed(items) == words


def test_a_tree_that_does_not_fit_keeps_what_goes_on_in_view() -> None:
    lines = [line(f"line {number}", active=number == 60) for number in range(100)]
    shown = [item.text for item in fit(lines, 20)]
    assert len(shown) <= 20
    assert shown[0] == "line 0" and "line 60" in shown
    assert shown[1].endswith("more above") and shown[-1].endswith("more below")
    hidden = sum(int(text.split()[1]) for text in (shown[1], shown[-1]))
    assert hidden + len(shown) - 2 == 100


@pytest.mark.parametrize("height", [1, 3, 4, 5, 10, 99, 100, 101])
def test_a_tree_never_takes_more_lines_than_there_are(height: int) -> None:
    assert len(fit([line(Span(str(number))) for number in range(100)], height)) <= height
