"""docs/patterns.md, written from the manifests in examples/patterns: `python -m tests.support.patterns_page`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backstay.api.validate import parse_workflow
from backstay.cli.views.drawing import mermaid
from backstay.cli.views.graph import graph
from tests.support.cluster import EXAMPLES, ROOT, documents
from tests.support.shown import deeds, shown

PAGE: Final = ROOT / "docs" / "patterns.md"
MANIFESTS: Final = {int(path.name[:2]): path for path in sorted((EXAMPLES / "patterns").glob("*.yaml"))}
"""By the number of the pattern."""


@dataclass(frozen=True)
class Pattern:
    """One of van der Aalst's catalogue: what it is called there, and what there is for it here, or why not and what to use instead."""

    name: str
    here: str


CATALOGUE: Final[dict[int, Pattern]] = {
    1: Pattern("Sequence", "a list of steps"),
    2: Pattern("Parallel split", "`parallel`; in a `dag`, several steps that depend on the same one"),
    3: Pattern("Synchronisation", "`parallel` with `join: All`; in a `dag`, several `dependsOn`"),
    4: Pattern("Exclusive choice", "`switch`, or `if` on steps"),
    5: Pattern("Simple merge", "the step after a `switch`"),
    6: Pattern("Multi-choice", "`switch` with `mode: Every`"),
    7: Pattern("Structured synchronising merge", "the step after a `switch` with `mode: Every`"),
    8: Pattern(
        "Multi-merge",
        "left out: what follows would run once for each path that arrives, without anybody knowing how often. Put the steps that are to run "
        "once for each path at the end of each path, as a block, or as a Workflow that both call (`workflow`)",
    ),
    9: Pattern("Structured discriminator", "`parallel` with `join: Any` and `cancelRest: false`"),
    10: Pattern("Arbitrary cycles", "`goto`, with `maxVisits`"),
    11: Pattern("Implicit termination", "always: a run ends when nothing is left to do"),
    12: Pattern(
        "Multiple instances without synchronisation",
        "left out: a run that nobody waits for is a run of its own, not a part of this one. Start it with `workflow` and `wait: false` inside "
        "a `forEach`: it goes on by itself, and this run does not wait for it",
    ),
    13: Pattern("Multiple instances with a priori design-time knowledge", "`forEach` with `count`"),
    14: Pattern("Multiple instances with a priori run-time knowledge", "`forEach` with `in`"),
    15: Pattern("Multiple instances without a priori run-time knowledge", "`forEach` with `add`, or with `until` and requests `AddItems`"),
    16: Pattern("Deferred choice", "`race`"),
    17: Pattern("Interleaved parallel routing", "`parallel`, and a `lock` with `scope: Run` on the steps"),
    18: Pattern("Milestone", "`wait` with a `condition`; its `timeout` is the expiry"),
    19: Pattern("Cancel task", "`cancel`, or a request `Cancel` from outside"),
    20: Pattern("Cancel case", "`spec.cancel` of a run; `kubectl backstay cancel`"),
    21: Pattern("Structured loop", "`while` with `condition` or `until`; `forEach`"),
    22: Pattern("Recursion", "`workflow` that names its own Workflow"),
    23: Pattern(
        "Transient trigger", "a request `Complete` for a `wait`: it is refused, and lost, where the step does not wait at that moment"
    ),
    24: Pattern(
        "Persistent trigger",
        "`wait` with a `condition` over variables, or `resource` that waits for an object: what has come is remembered. Messages with a buffer "
        "are still to come",
    ),
    25: Pattern("Cancel region", "`cancel` of a block"),
    26: Pattern("Cancel multiple instance task", "a request `Cancel` for a `forEach`, or `cancel`"),
    27: Pattern("Complete multiple instance task", "a request `Complete` for a `forEach`"),
    28: Pattern(
        "Blocking discriminator",
        "left out: it keeps count of several rounds of the same branches at once, which a structure that begins and ends as a whole does not "
        "need. Put the discriminator (9) into a `while` or `forEach`: each round has its own, and the next one waits for it",
    ),
    29: Pattern("Cancelling discriminator", "`parallel` with `join: Any`"),
    30: Pattern("Structured partial join", "`parallel` with `join: 2` and `cancelRest: false`"),
    31: Pattern("Blocking partial join", "left out, as 28. Put the partial join (30) into a `while` or `forEach`"),
    32: Pattern("Cancelling partial join", '`parallel` with `join: 2` or `"50%"`'),
    33: Pattern(
        "Generalised AND-join",
        "left out: it pairs tokens of different rounds, so that no reader can tell which ones belong together. Use `dag` with several "
        "`dependsOn`; for rounds, a `while` around it",
    ),
    34: Pattern("Static partial join for multiple instances", "`forEach` beside a branch that waits until enough are done"),
    35: Pattern("Cancelling partial join for multiple instances", "`forEach` with `completeWhen`"),
    36: Pattern(
        "Dynamic partial join for multiple instances",
        "left out as a pattern of its own: use `forEach` with `add` (15), and `completeWhen` over `done` and `total` (35), which counts what was added",
    ),
    37: Pattern(
        "Local synchronising merge",
        "left out: whether a join is still to wait would have to be guessed from the paths that may yet arrive. Structured joins say it: `switch` "
        "with `mode: Every` (7), or a `dag`, in which a step whose path was not taken is skipped",
    ),
    38: Pattern(
        "General synchronising merge",
        "left out, as 37; with cycles the question has no answer at all in general. Use 7, a `dag`, or `while`",
    ),
    39: Pattern("Critical section", "`lock` on blocks; with a Semaphore also across runs"),
    40: Pattern("Interleaved routing", "`lock` with `scope: Run` on the steps of a `dag` or `parallel`"),
    41: Pattern(
        "Thread merge",
        "left out: paths have names here and are no anonymous threads. `forEach` (13) with what follows behind it merges as many as there were",
    ),
    42: Pattern("Thread split", "left out, as 41. `forEach` with `count` (13) makes so many paths, each with an `index`"),
    43: Pattern("Explicit termination", "`end`"),
}

INTRODUCTION: Final = """\
# Workflow patterns

The catalogue of control-flow patterns by van der Aalst, ter Hofstede, Kiepuszewski, Barros and Russell
([workflowpatterns.com](http://www.workflowpatterns.com/patterns/control/)), and what there is for each of them.

33 of the 43 have a manifest of their own. The tests run all of them on the embedded cluster and on a real control plane, and hold the journal of each run
against what its manifest says of the order of events. For the other ten the table says why they are left out and what to use instead: nearly all of them are
about several rounds of the same path that go on at once without anybody keeping them apart, and here everything that goes on has a path of its own.

This page is written by `make patterns`; the pictures are those of `kubectl backstay graph`.
"""


def page() -> str:
    """Return the whole page."""
    rows = [f"| {number} | {_title(number)} | {pattern.here} |" for number, pattern in CATALOGUE.items()]
    table = "\n".join(["| number | pattern | here |", "|---|---|---|", *rows])
    return "\n".join([INTRODUCTION, table, *(_section(number, path) for number, path in MANIFESTS.items()), ""])


def _title(number: int) -> str:
    name = CATALOGUE[number].name
    return f"[{name}](#{_anchor(number)})" if number in MANIFESTS else name


def _anchor(number: int) -> str:
    return f"{number} {CATALOGUE[number].name}".lower().replace(" ", "-")


def _section(number: int, path: Path) -> str:
    lines = [line.removeprefix("# ") for line in path.read_text().partition("\n# Ends ")[0].splitlines()]
    workflow = next(document for document in documents(path) if document["kind"] == "Workflow")
    picture = mermaid(graph(parse_workflow(workflow["spec"]), workflow["metadata"]["name"]))
    outside = [f"When `{deed.step}` begins, somebody {_deed(deed.kind, deed.what)}." for deed in deeds(path)]
    return "\n\n".join(
        [
            f"\n## {number} {CATALOGUE[number].name}",
            _words(lines),
            " ".join([*outside, f"The journal of [{path.name}](../examples/patterns/{path.name}) shows:"]),
            "\n".join(["```text", *shown(path), "```"]),
            "<details><summary>Picture</summary>",
            f"```mermaid\n{picture.rstrip()}\n```",
            "</details>",
        ]
    )


def _words(lines: list[str]) -> str:
    text = re.sub(r"^Pattern [0-9]+, [^:]+: ", "", " ".join(lines))
    return text[0].upper() + text[1:]


def _deed(kind: str, what: object) -> str:
    assert isinstance(what, dict)
    return (
        f"cancels the run ({what['reason']})" if kind == "cancel" else f"asks for `{what['action']}` of `{what['step']}` ({what['reason']})"
    )


if __name__ == "__main__":
    PAGE.write_text(page())
