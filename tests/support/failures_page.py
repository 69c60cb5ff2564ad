"""docs/failures.md, written from the catalogue in tests/scenarios/catalogue: `python -m tests.support.failures_page`."""

from collections.abc import Iterator
from typing import Final

from tests.scenarios.catalogue.all import CATALOGUE, ROWS, SCENARIOS
from tests.scenarios.catalogue.rows import MINE, Row
from tests.support.cluster import ROOT

PAGE: Final = ROOT / "docs" / "failures.md"

INTRODUCTION: Final = """\
# When something fails

{rows} things that go wrong, what Backstay does then, what you see of it, and what there is to do. Each is shown by a test: {scenarios} are scenarios of one
table, which is played against the embedded cluster (`make test`) and a real control plane (`make e2e`); the others need a kubelet, a node that dies, or a fault
in the operator itself, and have tests of their own.

What is true of all of them: what was decided is written before it is done, so whoever looks next can go on; each attempt of a step is one Job; every
completed step that says how to undo it is undone exactly once, after the steps that came after it, or the run says why not. Where you look first:

    kubectl get wfrun                  # STATUS: Waiting and Stalled want to be looked at
    backstay why RUN                   # what it waits for, and what to do
    kubectl describe wfrun RUN         # conditions, steps, Events: the story of the run

[troubleshooting.md](troubleshooting.md) has the words in which these say it.

This page is written by `make failures` from `tests/scenarios/catalogue`. A name in the last column that leads to no file is a row of
`{mine}`.
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield INTRODUCTION.format(rows=len(ROWS), scenarios=len(SCENARIOS), mine=MINE)
    number = 0
    for heading, rows in CATALOGUE.items():
        yield f"## {heading}\n"
        yield "| | what happens | what Backstay does | what you see | what to do | shown by |"
        yield "|---|---|---|---|---|---|"
        for name, row in rows.items():
            number += 1
            cells = [str(number), row.happens, row.does, row.sees, row.todo, _shown_by(name, row)]
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
        yield ""


def _shown_by(name: str, row: Row) -> str:
    own = [f"`{name}`"] if row.scenario is not None else []
    return "<br>".join([*own, *(_link(test) for test in row.tests)])


def _link(test: str) -> str:
    file, _, name = test.partition("::")
    return f"[{name.removeprefix('test_').replace('_', ' ')}](../{file})"


if __name__ == "__main__":
    PAGE.write_text(page())
