"""The bench's own arithmetic. Needs no cluster and runs with `make test`."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.bench.figures import Report, percentile, shown
from tests.bench.record import Record
from tests.bench.sampling import Samples, Trend, sampling
from tests.bench.sizes import Sizes
from tests.bench.steady import Rate


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


def test_the_full_size_is_a_variable_and_others_come_on_top_of_it() -> None:
    found = Sizes.from_environment({"BENCH_SIZE": "full", "BENCH_PARKED_RUNS": "3000, 100"})
    assert (found.active_runs, found.parked_runs) == (5000, (100, 3000))


@pytest.mark.parametrize("text", ["0", "-5", "many", ""])
def test_a_size_that_is_no_positive_number_is_refused_with_the_variable_that_holds_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"BENCH_ACTIVE_RUNS: .* is no positive number; write one, or unset it for 100"):
        Sizes.from_environment({"BENCH_ACTIVE_RUNS": text})


def test_an_unknown_size_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"BENCH_SIZE='huge' is no size; write quick or full"):
        Sizes.from_environment({"BENCH_SIZE": "huge"})


# ------------------------------------------------------------------------------------------------------------- over time


def test_so_many_runs_are_under_way_as_come_while_one_takes_its_time() -> None:
    """Little's law: 20 runs a second that take 282 s each are 5,640 at a time."""
    rate = Rate(per_minute=1200, active=5640, minutes=10)
    assert (rate.step_seconds, rate.ramp_seconds, rate.seconds, rate.runs) == (94, 282, 882, 17_640)


def test_runs_of_a_load_say_how_long_they_are_kept_where_it_does() -> None:
    assert "ttl" not in Rate(60, 6, 1).kind.manifest("run-1")["spec"]
    assert Rate(60, 6, 1, ttl="5m").kind.manifest("run-1")["spec"]["ttl"] == {"succeeded": "5m"}


def test_a_trend_is_told_by_its_slope_and_its_first_and_last_quarter() -> None:
    seconds = [float(number * 60) for number in range(60)]
    trend = Trend.of(seconds, [100 + moment / 60 for moment in seconds])
    assert (round(trend.slope_per_hour, 6), trend.first_quarter, trend.last_quarter) == (60, 107, 152)
    assert not trend.is_flat(share=0.1, room=10)


def test_what_comes_and_goes_is_flat() -> None:
    seconds = [float(number) for number in range(40)]
    assert Trend.of(seconds, [100.0, 120.0] * 20).is_flat(share=0.1, room=0)


async def test_samples_are_taken_until_the_end_of_the_block() -> None:
    looks: list[float] = []

    def look() -> dict[str, float]:
        looks.append(len(looks))
        return {"looks": looks[-1]}

    async with sampling(0.001, look) as samples:
        while len(samples.seconds) < 3:
            await asyncio.sleep(0.001)
    assert samples.values["looks"][:2] == [0, 1]
    assert samples.values["looks"][-1] == looks[-1], "one is taken at the end"
    assert len(samples.series()["seconds"]) == len(samples.series()["looks"])


def test_samples_of_a_time_are_found_again() -> None:
    samples = Samples([0, 10, 20, 30], {"rss_mb": [5, 6, 7, 8]})
    assert samples.between("rss_mb", 10, 20) == [6, 7]


async def test_a_sample_that_cannot_be_taken_fails_the_load() -> None:
    def look() -> dict[str, float]:
        raise FileNotFoundError("the process is gone")

    with pytest.raises(AssertionError, match="the process is gone"):
        async with sampling(0.001, look):
            for _ in range(50):
                await asyncio.sleep(0.001)


# -------------------------------------------------------------------------------------------------------------- record


def write(moment: str, agent: str, verb: str, resource: str, name: str, code: int = 200) -> str:
    """A line of the audit log, as the API server writes it."""
    plural, _, subresource = resource.partition("/")
    about = {"namespace": "load", "resource": plural, "subresource": subresource, "name": name}
    event = {"verb": verb, "userAgent": agent, "objectRef": about, "responseStatus": {"code": code}}
    return json.dumps({**event, "stageTimestamp": f"2026-11-23T10:00:{moment}Z"}, separators=(",", ":")) + "\n"


def two_steps(run: str, second: str) -> list[str]:
    """What is written of a run of two steps."""
    return [
        write("01.000000", "backstay/1", "create", "jobs", f"{run}-s1-abc", 201),
        write("01.100000", "kube-scheduler", "create", "pods/binding", f"{run}-s1-abc-x1", 201),
        write("02.000000", "fake-kubelet", "patch", "pods/status", f"{run}-s1-abc-x1"),
        write("02.010000", "backstay/1", "patch", "workflowruns/status", run),
        write(second, "backstay/1", "create", "jobs", f"{run}-s2-abc", 201),
        write("03.100000", "kube-scheduler", "create", "pods/binding", f"{run}-s2-abc-x2", 201),
    ]


@pytest.fixture
def audit_log(tmp_path: Path) -> Path:
    file = tmp_path / "audit.log"
    file.write_text("".join([*two_steps("run-1", "02.050000"), *two_steps("run-12", "02.250000"), '{"half": ']))
    return file


def test_the_record_tells_how_long_after_a_step_the_next_job_was_there(audit_log: Path) -> None:
    found = Record.of(audit_log, "load")
    assert [round(gap, 6) for _, gap in found.gaps] == [0.05, 0.25]
    assert found.writes == {"run-1": 3, "run-12": 3}
    assert found.wrong(runs=2, steps=2) == []


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (write("04.000000", "backstay/1", "create", "jobs", "run-1-s1-abc", 201), "Job run-1-s1-abc was made twice"),
        (write("04.000000", "kube-scheduler", "create", "pods/binding", "run-1-s1-abc-x9", 201), "5 pods were given to a node for 4 steps"),
    ],
)
def test_the_record_tells_what_was_done_twice(audit_log: Path, more: str, told: str) -> None:
    audit_log.write_text(audit_log.read_text().removesuffix('{"half": ') + more)
    assert told in Record.of(audit_log, "load").wrong(runs=2, steps=2)


def test_the_record_tells_of_a_run_that_was_forgotten(audit_log: Path) -> None:
    assert Record.of(audit_log, "load").wrong(runs=3, steps=2) != []
