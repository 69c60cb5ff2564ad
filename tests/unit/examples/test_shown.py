"""The sentences about a journal: each one holds where it is true, and says what was found where it is not."""

from datetime import UTC, datetime

import pytest

from backstay.engine.model import Entry
from tests.support.shown import wrong

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
STORY = (
    ("", "RunStarted", {"phase": "Running"}),
    ("a", "AttemptStarted", {"phase": "Running"}),
    ("b", "LockWanted", {"phase": "Waiting"}),
    ("a", "StepSucceeded", {"phase": "Succeeded"}),
    ("b", "AttemptStarted", {"phase": "Running"}),
    ("p[0]/x", "AttemptStarted", {"phase": "Running"}),
    ("b", "StepCancelled", {"phase": "Cancelled"}),
    ("p[1]/x", "AttemptStarted", {"phase": "Running"}),
    ("p[0]/x", "StepSucceeded", {"phase": "Succeeded"}),
    ("p[1]/x", "StepSucceeded", {"phase": "Succeeded"}),
    ("a~2", "AttemptStarted", {"phase": "Running"}),
    ("a~2", "StepSucceeded", {"phase": "Succeeded"}),
    ("s", "StepSkipped", {"phase": "Skipped"}),
    ("", "RequestRefused", {"answers": {"early": "Refused: no step has begun"}}),
    ("", "RequestMet", {"answers": {"late": "Done"}}),
)
ENTRIES = [Entry(number, NOW, kind, path, changes=changes) for number, (path, kind, changes) in enumerate(STORY, 1)]


@pytest.mark.parametrize(
    "line",
    [
        "a~1 ends before b begins",
        "b begins before b ends",
        "a begins 2 times",
        "a ends Succeeded",
        "b ends Cancelled",
        "s ends Skipped",
        "s never begins",
        "a~1 and b never overlap",
        "p[0]/x and p[1]/x overlap",
        "p/x begins 2 times",
        "b ends before p/x ends",
        "early is refused",
        "late is met",
    ],
)
def test_a_true_sentence_holds(line: str) -> None:
    assert list(wrong([line], ENTRIES)) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("b begins before a~1 ends", "entry 5 does not come before entry 4"),
        ("a ends before b begins", "entry 12 does not come before entry 5"),
        ("c ends before b begins", "c never ends; there are a, b, p[0]/x, p[1]/x, a~2"),
        ("a begins 1 time", "it begins 2 times"),
        ("b ends Succeeded", "it ends Cancelled"),
        ("c ends Succeeded", "it ends never, as it does not begin"),
        ("b never begins", "it begins"),
        ("a~1 and b overlap", "a and b do not"),
        ("p[0]/x and p[1]/x never overlap", "p[0]/x and p[1]/x overlap"),
        ("c and b overlap", "one of them never begins"),
        ("early is met", "the answer is: Refused: no step has begun"),
        ("other is met", "the answer is: none yet"),
        ("a is done", "this is no sentence that is understood here"),
    ],
)
def test_a_false_sentence_says_what_was_found(line: str, found: str) -> None:
    assert list(wrong([line], ENTRIES)) == [f"{line}: {found}"]
