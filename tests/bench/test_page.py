"""docs/performance.md says what the kept figures say, and its plots show them. Needs no cluster and runs with `make test`."""

import xml.etree.ElementTree as ElementTree

import pytest

from tests.bench.page import GOALS, KEPT, PAGE, Goal, kept, page, plots
from tests.bench.plots import bars, lines

_SVG = "{http://www.w3.org/2000/svg}"


def test_the_page_holds_the_figures_that_are_kept() -> None:
    assert PAGE.read_text() == page(PAGE.read_text(), kept()), "run `make performance`"


def test_the_plots_are_those_of_the_figures_that_are_kept() -> None:
    assert {file.stem: file.read_text() for file in KEPT.glob("*.svg")} == plots(kept()), "run `make performance`"


@pytest.mark.parametrize(("measured", "reached"), [(4000, "yes"), (3999.5, "no")])
def test_a_goal_says_whether_it_is_reached(measured: float, reached: str) -> None:
    found = {"bench": {"one_step": {"runs_per_minute": measured, "runs": 300}}}
    assert GOALS[0].row(found) == f"| one-step runs a minute | ≥ 4,000 | {measured:,.0f} (runs: 300) | {reached} | `make bench` |"


def test_a_goal_without_a_figure_says_so() -> None:
    assert GOALS[0].row({}) == "| one-step runs a minute | ≥ 4,000 | not measured | | `make bench` |"


def test_memory_is_that_with_the_most_active_runs() -> None:
    goal = Goal("memory", 400, "bench", "active_*", "operator_rss_mb", "MB", size="active_runs")
    parts = {
        f"active_{runs}": {"operator_rss_mb": megabytes, "active_runs": runs} for runs, megabytes in ((100, 90), (10_000, 380), (1000, 150))
    }
    assert "380 MB (active runs: 10,000) | yes" in goal.row({"bench": parts})


def test_a_page_without_a_place_for_figures_is_refused_with_what_to_write() -> None:
    with pytest.raises(ValueError, match="write <!-- figures: goals --> and, below it, <!-- end of figures -->"):
        page("# Performance\n", {})


def test_a_line_goes_through_its_points_from_left_to_right() -> None:
    root = ElementTree.fromstring(lines("Cost", "runs", "ms", {"operator": [(100, 4), (1000, 4), (10_000, 8)]}, goal=8, log_x=True))
    drawn = root.find(f"{_SVG}polyline")
    assert drawn is not None
    points = [tuple(map(float, pair.split(","))) for pair in drawn.attrib["points"].split()]
    assert [x for x, _ in points] == [70.0, 385.0, 700.0], "on a logarithmic axis a factor of ten is everywhere as wide"
    assert points[0][1] == points[1][1] > points[2][1]


def test_bars_are_as_high_as_what_they_show() -> None:
    root = ElementTree.fromstring(bars("Runs", "a minute", {"one step": {"ours": 4000, "theirs": 2000}}, goals={"one step": 4000}))
    heights = [float(bar.attrib["height"]) for bar in root.iter(f"{_SVG}rect") if "fill" in bar.attrib and float(bar.attrib["height"]) > 10]
    ours, theirs = heights[1:]
    assert ours == pytest.approx(2 * theirs, rel=0.01)
