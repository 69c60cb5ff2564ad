"""The way to the API server in trouble: long, lossy, and cut off for a while. Runs take longer, and nothing is lost or done twice."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.control_plane import HERE, ControlPlane
from tests.cluster.network import NetworkError
from tests.cluster.processes import free_ports
from tests.scenarios.manifests import run_of
from tests.support.api import Object
from tests.support.cluster import QUICK, Cluster, Place, condition
from tests.support.lossy_link import LossyLink, lossy_link
from tests.support.metrics import metrics_of, total
from tests.support.operator_process import OperatorProcess
from tests.support.real_cluster import audit_arguments, cluster_on
from tests.support.slow_server import slowed
from tests.support.trip import Trip
from tests.support.waiting import wait_for

pytestmark = pytest.mark.e2e

CALL_SECONDS = 0.2
"""How much longer each call takes on the long way."""
LOST_PERCENT = 10
"""How many of a hundred packets are lost each way on the lossy one."""
CUT_CALLS = 3
"""The link stays cut until so many calls of the operator were lost on it."""


@dataclass(frozen=True)
class Site:
    """A cluster, and the link behind which an operator may stand; where this system cannot make one, the reason."""

    cluster: Cluster
    link: LossyLink | None
    reason: str = ""

    def place(self, purpose: str) -> Place:
        return self.cluster.place(purpose)

    @contextmanager
    def operator(self, kubeconfig: Path, enter: tuple[str, ...] = (), metrics_port: int = 0) -> Iterator[OperatorProcess]:
        ports = ("--metrics-port", str(metrics_port), "--health-port", "0")
        process = OperatorProcess(kubeconfig, self.cluster.folder, *ports, environment=QUICK, enter=enter)
        process.start()
        try:
            yield process
        finally:
            process.kill9()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("network")
    with ExitStack() as stack:
        try:
            link, reason = stack.enter_context(lossy_link(folder)), ""
        except NetworkError as error:
            link, reason = None, str(error)
        where = link.site if link else HERE
        control_plane = stack.enter_context(ControlPlane.start(folder, api_arguments=audit_arguments(folder), site=where))
        cluster = stack.enter_context(cluster_on(control_plane, folder))
        cluster.operator.kill9()
        yield Site(cluster, link, reason)


def loads(trip: Trip) -> list[Object]:
    """Runs of steps in a row, one that is undone half-way, and one with a timer: what each does is written in the trip's book."""
    no = {"name": "stop", "fail": {"error": "NoCar"}}
    in_a_row = [run_of(f"goes-on-{number}", *(trip.step(f"{word}{number}") for word in ("hotel", "flight", "car"))) for number in range(4)]
    pause = {"name": "pause", "wait": {"duration": "2s"}}
    return [*in_a_row, run_of("is-undone", trip.step("museum"), trip.step("dinner"), no), run_of("waits", pause, trip.step("late"))]


def assert_all_went_well(place: Place, trip: Trip) -> None:
    """Every run has come to its end, what it did is in the book once and in order, and no attempt had two Jobs."""
    ended = {name: place.ended(name) for name in ("waits", "is-undone", *(f"goes-on-{number}" for number in range(4)))}
    assert Counter(run["status"]["phase"] for run in ended.values()) == {"Succeeded": 5, "Failed": 1}
    assert condition(ended["is-undone"], "Compensated") == "True"
    for number in range(4):
        assert [word for word in trip.book if word.endswith(str(number))] == [f"hotel{number}", f"flight{number}", f"car{number}"]
    assert [word for word in trip.book if "museum" in word or "dinner" in word] == ["museum", "dinner", "no-dinner", "no-museum"]
    assert len(trip.book) == 4 * 3 + 4 + 1, sorted(trip.book)
    assert len(place.jobs()) == len(trip.book)
    made = Counter(write.name for write in place.cluster.writes(place.name) if (write.verb, write.resource, write.code) == CREATED)
    assert set(made.values()) == {1}, f"Jobs were made twice: {made}"


CREATED = ("create", "jobs", 201)


def test_an_api_server_200_ms_away_makes_runs_slower_and_nothing_else(site: Site, tmp_path: Path) -> None:
    place = site.place("far")
    trip = Trip(place, tmp_path)
    (port,) = free_ports(1)
    with (
        slowed(site.cluster.kubeconfig, tmp_path, delay_seconds=CALL_SECONDS) as kubeconfig,
        site.operator(kubeconfig, metrics_port=port) as operator,
    ):
        place.apply(*loads(trip))
        assert_all_went_well(place, trip)
        assert operator.is_running
        assert total(metrics_of(port), "backstay_api_request_duration_seconds_bucket", le="0.1") == 0, "some calls were as quick as ever"
    for number in range(4):
        spent = [str(write) for write in place.cluster.writes(place.name) if write.name.startswith(f"goes-on-{number}")]
        # Three Jobs, the status before, between and after them, and the finalizer put on and taken off: a stale view cost no write.
        assert len(spent) <= 2 * 3 + 1 + 2, spent


def test_lost_packets_and_a_link_that_is_cut_for_a_while_lose_no_run_and_repeat_no_step(site: Site, tmp_path: Path) -> None:
    if (link := site.link) is None:
        pytest.skip(f"left out, as this system has no lossy link for us: {site.reason}")
    place = site.place("lossy")
    trip = Trip(place, tmp_path)
    with site.operator(site.cluster.kubeconfig, link.enter) as operator:
        link.lose(LOST_PERCENT)
        place.apply(*loads(trip))
        trip.begun("flight0")
        before = link.lost()
        link.lose(100)  # no FIN, no RST: neither side is told
        wait_for(lambda: link.lost() - before >= CUT_CALLS, what="the operator says nothing")
        link.lose(LOST_PERCENT)
        assert_all_went_well(place, trip)
        link.lose(0)
        print(f"{link.lost()} packets were dropped by {link.means}")
        assert operator.is_running
