"""Several operators as processes: one works, the others stand by or work on shards of their own. What was done is told by the jobs' own book."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.scenarios.manifests import run_of, shell
from tests.support.api import Object
from tests.support.cluster import QUICK, Place
from tests.support.operator_process import OperatorProcess
from tests.support.waiting import wait_for

STOPPED_SECONDS = float(os.environ.get("BACKSTAY_STOPPED_SECONDS", "12"))
"""For how long the old leader is stopped: well beyond its Lease. BACKSTAY_STOPPED_SECONDS=60 is what docs/high-availability.md tells of."""

Crew = Callable[..., OperatorProcess]
patient = pytest.mark.timeout(300)
"""On a busy machine two processes more take their time to start."""


@pytest.fixture
def crew(place: Place, tmp_path: Path) -> Iterator[Crew]:
    """Starts operators of the test's namespace alone, by name, while the cluster's own one does not run."""
    place.cluster.operator.kill9()
    made: list[OperatorProcess] = []

    def start(name: str, **variables: object) -> OperatorProcess:
        folder = tmp_path / name
        folder.mkdir()
        environment = QUICK | {"BACKSTAY_IDENTITY": name} | {f"BACKSTAY_{key.upper()}": str(value) for key, value in variables.items()}
        options = ("--namespace", place.name, "--metrics-port", "0", "--health-port", "0")
        operator = OperatorProcess(place.cluster.kubeconfig, folder, *options, environment=environment)
        made.append(operator)
        operator.start()
        return operator

    yield start
    for operator in made:
        operator.kill9()


def leases(place: Place) -> dict[str, str]:
    """Return who holds which Lease, by the name of its operator."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{place.name}/leases"
    found = {
        item["metadata"]["name"]: (item.get("spec") or {}).get("holderIdentity") or ""
        for item in place.cluster.api.call("GET", path)["items"]
    }
    return {name: holder.rpartition("_")[0] for name, holder in found.items()}


def held_by(place: Place, **wanted: int) -> None:
    """Wait until operators hold so many shards, or the one Lease, each."""

    def as_wanted() -> bool:
        held = Counter(holder for name, holder in leases(place).items() if holder and not name.startswith("backstay-of-"))
        return held == wanted

    wait_for(as_wanted, 30, what=lambda: f"the Leases are {leases(place)}, wanted is {wanted}")


def working(book: Path, name: str, count: int) -> Object:
    """A run whose steps each write a line into a book, and take a moment."""
    return run_of(name, *({"name": f"s{number}", "job": shell(f"echo {name}-{number} >> {book}; sleep 0.3")} for number in range(count)))


def lines(book: Path) -> list[str]:
    return book.read_text().split() if book.exists() else []


@patient
def test_an_old_leader_that_was_stopped_and_is_woken_does_no_harm_and_stands_by_from_then_on(
    place: Place, crew: Crew, tmp_path: Path
) -> None:
    book, runs, steps = tmp_path / "book", [f"run-{number}" for number in range(4)], 4
    old = crew("old")
    held_by(place, old=1)
    new = crew("new")
    place.apply(*(working(book, name, steps) for name in runs))
    wait_for(lambda: len(lines(book)) > 2, what="nothing has begun")
    old.send(signal.SIGSTOP)
    stopped = time.monotonic()
    held_by(place, new=1)
    for name in runs:
        assert place.ended(name)["status"]["phase"] == "Succeeded"
    place.kubectl("delete", "wfrun", runs[0], runs[1])
    wait_for(lambda: time.monotonic() - stopped > STOPPED_SECONDS, STOPPED_SECONDS + 5)  # the fault that is injected
    old.send(signal.SIGCONT)
    wait_for(lambda: "another process has it now" in old.log.read_text(), what=lambda: old.log.read_text())
    place.apply(working(book, "after", 2))
    place.ended("after")
    assert leases(place)["backstay"] == "new"
    expected = Counter(f"{name}-{number}" for name in runs for number in range(steps)) + Counter(["after-0", "after-1"])
    assert Counter(lines(book)) == expected, "something was done twice, or not at all"
    assert new.stop() == 0
    place.apply(working(book, "last", 1))
    assert place.ended("last")["status"]["phase"] == "Succeeded", "the old leader does not work any more"
    assert leases(place)["backstay"] == "old"


@patient
def test_where_the_leader_is_killed_the_one_that_stands_by_goes_on(place: Place, crew: Crew, tmp_path: Path) -> None:
    book, runs, steps = tmp_path / "book", [f"run-{number}" for number in range(4)], 30
    first = crew("first")
    held_by(place, first=1)
    crew("second")
    place.apply(*(working(book, name, steps) for name in runs))
    wait_for(lambda: len(lines(book)) > 4, what="nothing has begun")
    first.kill9()
    killed = time.monotonic()
    held_by(place, second=1)
    took, under_way = time.monotonic() - killed, len(place.jobs())
    wait_for(lambda: len(place.jobs()) > under_way + len(runs), what="the next one begins nothing")
    print(
        f"{place.cluster.kind}: the Lease was taken over {took:.1f} s after the kill, new Jobs were there after {time.monotonic() - killed:.1f} s"
    )
    for name in runs:
        place.kubectl("patch", "wfrun", name, "--type=merge", "-p", '{"spec": {"cancel": {"reason": "seen enough"}}}')
    for name in runs:
        assert place.ended(name)["status"]["phase"] == "Cancelled"
    assert max(Counter(lines(book)).values()) == 1, "something was done twice"


@patient
def test_shards_are_shared_by_those_that_are_there_and_every_run_is_run_once(place: Place, crew: Crew, tmp_path: Path) -> None:
    book, runs = tmp_path / "book", [f"run-{number}" for number in range(12)]
    crew("first", shards=4)
    held_by(place, first=4)
    place.apply(*(working(book, name, 2) for name in runs))
    second = crew("second", shards=4)
    held_by(place, first=2, second=2)
    for name in runs:
        assert place.ended(name)["status"]["phase"] == "Succeeded"
    assert second.stop() == 0
    held_by(place, first=4)
    place.apply(*(working(book, f"late-{number}", 1) for number in range(4)))
    for number in range(4):
        place.ended(f"late-{number}")
    assert Counter(lines(book)) == Counter(
        [f"{name}-{step}" for name in runs for step in range(2)] + [f"late-{number}-0" for number in range(4)]
    )
    assert place.kubectl("get", "leases").count("backstay-") == 5, "four shards, and the one process that is left"
