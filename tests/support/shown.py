"""What a manifest says that its journal shows, in the comment at its head, read and held against the journal of a run.

# Ends Succeeded with {"sent": true}
# The journal shows:
#   write ends before check begins           one moment of one step before one of another
#   write and print overlap                  each begins before the other ends; "never overlap": one is over when the other begins
#   review/read begins 3 times               in all iterations and laps
#   print ends Cancelled                     how a step ends
#   print never begins
#   enough is met                            what was asked from outside, by its id; or "is refused"
# Meanwhile:
#   when pack[1] begins, ask: {id: enough, step: pack, action: Cancel}      what people do from outside, and when: an item of spec.requests
#   when flight begins, cancel: {reason: rain}                              spec.cancel

A path without the number of an iteration or lap means all of them: "review/read ends" is when the last one ends, "begins" when the first one
begins. The first lap of several is `check~1`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from backstay.engine.model import ENDED, Entry
from backstay.engine.paths import static

_ENDS = re.compile(r"^# Ends (Succeeded|Failed|Cancelled)(?: with (.+))?$", re.MULTILINE)
_PATH = r"(\S+)"
_BEFORE = re.compile(rf"{_PATH} (begins|ends) before {_PATH} (begins|ends)")
_OVERLAP = re.compile(rf"{_PATH} and {_PATH} (never )?overlap")
_TIMES = re.compile(rf"{_PATH} begins (\d+) times?")
_NEVER = re.compile(rf"{_PATH} never begins")
_PHASE = re.compile(rf"{_PATH} ends ([A-Z]\w+)")
_ANSWER = re.compile(rf"{_PATH} is (met|refused)")
_DEED = re.compile(rf"when {_PATH} begins, (ask|cancel): (.+)")


@dataclass(frozen=True)
class End:
    """How a run ends: its phase, and the outputs of one that succeeds or the error type of one that does not."""

    phase: str
    outputs: Any = None
    error: str | None = None


@dataclass(frozen=True)
class Deed:
    """What somebody does from outside, once a step has begun: what is merged into the run's spec."""

    step: str
    kind: str
    what: Mapping[str, Any]


def promised(manifest: Path) -> End:
    """Read how a run ends, by its manifest's own words: `# Ends Succeeded with {"a": 1}`, `# Ends Failed with CardDeclined`."""
    phase, rest = _ENDS.findall(manifest.read_text())[0]
    return End(phase, json.loads(rest), None) if rest.startswith("{") else End(phase, None, rest or None)


def shown(manifest: Path) -> list[str]:
    """Read what the journal of its run shows."""
    return _lines_after(manifest, "# The journal shows:")


def deeds(manifest: Path) -> list[Deed]:
    """Read what is done from outside meanwhile. Raises ValueError for a line that cannot be read."""
    found = []
    for line in _lines_after(manifest, "# Meanwhile:"):
        if (match := _DEED.fullmatch(line)) is None:
            raise ValueError(f"{line!r} is no deed; write: when STEP begins, ask: {{…}} or cancel: {{…}}")
        found.append(Deed(match[1], match[2], yaml.safe_load(match[3])))
    return found


def _lines_after(manifest: Path, heading: str) -> list[str]:
    lines = iter(manifest.read_text().splitlines())
    for line in lines:
        if line == heading:
            break
    found = []
    for line in lines:
        if not line.startswith("#   "):
            break
        found.append(line[4:].strip())
    return found


# ---------------------------------------------------------------------------------------------------------------------- checking


class Story:
    """When each step of a run began and ended, by the numbers of its journal's entries."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.began: dict[str, int] = {}
        self.ended: dict[str, int] = {}
        self.phases: dict[str, str] = {}
        self.answers: dict[str, str] = {}
        """What became of each request, by its id."""
        for entry in entries:
            phase = entry.changes.get("phase")
            if not entry.path:
                self.answers |= entry.changes.get("answers") or {}
                continue
            if phase in ENDED:
                self.phases[entry.path] = str(phase)
                self.ended.setdefault(entry.path, entry.sequence)
            if phase != "Skipped" and not entry.kind.startswith("Lock"):
                self.began.setdefault(entry.path, entry.sequence)

    def of(self, path: str) -> list[str]:
        """The visits of a step: one where it is named with its numbers, else every iteration and lap of it."""
        known = list(dict.fromkeys((*self.began, *self.phases)))
        if static(path) != path:
            return [other for other in known if other == path.removesuffix("~1")]
        return [other for other in known if static(other) == path]

    def moment(self, path: str, what: str) -> int:
        """The number of the entry with which a step begins (the first visit of it) or ends (the last one). Raises Wrong where it does not."""
        numbers = [self.visit(visit, what) for visit in self.of(path) or [path]]
        return min(numbers) if what == "begins" else max(numbers)

    def visit(self, path: str, what: str) -> int:
        """The same of one visit, by its own path."""
        number = (self.began if what == "begins" else self.ended).get(path)
        if number is None:
            raise Wrong(f"{path} never {what}; there are {', '.join(self.began)}")
        return number


class Wrong(Exception):
    """A line does not hold."""


def wrong(lines: Sequence[str], entries: Iterable[Entry]) -> Iterator[str]:
    """Hold each line against a journal; yield those that do not hold, with what was found."""
    story = Story(entries)
    for line in lines:
        try:
            _check(line, story)
        except Wrong as problem:
            yield f"{line}: {problem}"


def _check(line: str, story: Story) -> None:
    if match := _BEFORE.fullmatch(line):
        first, second = story.moment(match[1], match[2]), story.moment(match[3], match[4])
        _require(first < second, f"entry {first} does not come before entry {second}")
    elif match := _OVERLAP.fullmatch(line):
        pairs = [(one, two) for one in story.of(match[1]) for two in story.of(match[2])]
        for one, two in pairs:
            begun, ended = ([story.visit(visit, what) for visit in (one, two)] for what in ("begins", "ends"))
            overlap = max(begun) < min(ended)
            _require(overlap is not bool(match[3]), f"{one} and {two} {'overlap' if overlap else 'do not'}")
        _require(bool(pairs), "one of them never begins")
    elif match := _TIMES.fullmatch(line):
        count = sum(visit in story.began for visit in story.of(match[1]))
        _require(count == int(match[2]), f"it begins {count} times")
    elif match := _NEVER.fullmatch(line):
        _require(not any(visit in story.began for visit in story.of(match[1])), "it begins")
    elif match := _ANSWER.fullmatch(line):
        answer = story.answers.get(match[1], "none yet")
        _require(answer.startswith("Refused" if match[2] == "refused" else "Done"), f"the answer is: {answer}")
    elif match := _PHASE.fullmatch(line):
        phases = [story.phases.get(visit, "still going on") for visit in story.of(match[1])]
        _require(bool(phases) and set(phases) == {match[2]}, f"it ends {', '.join(phases) or 'never, as it does not begin'}")
    else:
        raise Wrong("this is no sentence that is understood here")


def _require(holds: bool, found: str) -> None:
    if not holds:
        raise Wrong(found)
