"""The bench's own arithmetic. Needs no cluster and runs with `make test`."""

import json
from pathlib import Path

import pytest

from tests.bench.figures import Report, percentile, shown
from tests.bench.sizes import Sizes


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [
        ([3.0], 50, 3.0),
        ([1.0, 2.0, 3.0, 4.0], 50, 2.0),
        ([5.0, 1.0, 3.0], 50, 3.0),
        ([float(number) for number in range(1, 101)], 99, 99.0),
        ([float(number) for number in range(1, 11)], 99, 10.0),
    ],
)
def test_a_percentile_is_a_value_that_was_measured(values: list[float], share: float, found: float) -> None:
    assert percentile(values, share) == found


@pytest.mark.parametrize(("value", "text"), [(300, "300"), (4477.9, "4,478"), (3.0, "3"), (2.987654, "2.99"), (0.0712, "0.0712")])
def test_a_figure_is_shown_with_the_digits_that_mean_something(value: float, text: str) -> None:
    assert shown(value) == text


def test_a_report_is_written_part_by_part(tmp_path: Path) -> None:
    file = tmp_path / "new" / "bench.json"
    Report({"cores": 2}, {"recovery": {"first_new_job_seconds": 1.5}}).write(file)
    assert json.loads(file.read_text()) == {"machine": {"cores": 2}, "recovery": {"first_new_job_seconds": 1.5}}


def test_sizes_come_from_the_environment() -> None:
    assert Sizes.from_environment({"BENCH_ONE_STEP_RUNS": "3000"}) == Sizes(one_step_runs=3000)


@pytest.mark.parametrize("text", ["0", "-5", "many", ""])
def test_a_size_that_is_no_positive_number_is_refused_with_the_variable_that_holds_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"BENCH_ACTIVE_RUNS=.* is no positive number; write one, or unset it for 100"):
        Sizes.from_environment({"BENCH_ACTIVE_RUNS": text})
