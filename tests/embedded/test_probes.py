"""The operator's process as Kubernetes and Prometheus look at it, over HTTP."""

import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.request import urlopen

import pytest

from tests.cluster.processes import free_ports
from tests.scenarios.manifests import run_of, shell
from tests.support.cluster import QUICK, Cluster
from tests.support.embedded_cluster import embedded_cluster
from tests.support.metrics import metrics_of, total
from tests.support.operator_process import OperatorProcess
from tests.support.waiting import wait_for

pytestmark = pytest.mark.embedded


@dataclass(frozen=True)
class Probed:
    """An operator whose pages can be read."""

    cluster: Cluster
    health_port: int
    metrics_port: int

    def page(self, name: str) -> tuple[int, str]:
        """Return what a page answers; 0 and nothing where nobody does."""
        try:
            with urlopen(f"http://127.0.0.1:{self.health_port}/{name}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        return total(metrics_of(self.metrics_port), name, **labels)


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probed]:
    with embedded_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.operator.kill9()
        health_port, metrics_port = free_ports(2)
        folder = cluster.folder / "probed"
        folder.mkdir()
        arguments = ("--health-port", str(health_port), "--metrics-port", str(metrics_port))
        process = OperatorProcess(cluster.kubeconfig, folder, *arguments, environment=QUICK)
        process.start(ready=False)
        try:
            yield Probed(cluster, health_port, metrics_port)
        finally:
            process.kill9()


def test_it_becomes_ready_once_it_knows_what_is_there_and_says_what_was_looked_at(probed: Probed) -> None:
    seen: list[tuple[int, str]] = []

    def ready() -> bool:
        seen.append(probed.page("readyz"))
        return seen[-1][0] == 200

    wait_for(ready, 60, what=lambda: seen[-1])
    for code, text in seen:
        assert code in (0, 200) or text.endswith("readyz check failed\n"), text
    assert seen[-1][1] == "[+]operator ok\n[+]informers ok\nreadyz check passed\n"
    assert probed.page("healthz") == (200, "[+]informers ok\n[+]queue ok\nhealthz check passed\n")


def test_what_it_does_can_be_read(probed: Probed) -> None:
    place = probed.cluster.place("probed")
    place.apply(run_of("seen", {"name": "a", "job": shell()}, {"name": "b", "job": shell()}))
    assert place.ended("seen")["status"]["phase"] == "Succeeded"
    wait_for(lambda: probed.metric("backstay_runs_finished_total", phase="Succeeded"), what="the run is not counted")
    assert probed.metric("backstay_step_to_step_seconds_count") == 1
    assert probed.metric("backstay_queue_wait_seconds_count", priority="new") >= 1
    assert probed.metric("backstay_pass_seconds_count", part="observe") >= 3
    assert probed.metric("backstay_api_requests_total", verb="create", resource="jobs", code="201") == 2
    assert probed.metric("backstay_informer_lag_seconds_count", resource="jobs") >= 1
    assert probed.metric("backstay_loop_late_seconds_count") >= 1
    assert probed.metric("backstay_api_waiting") == 0
    assert probed.metric("process_open_fds") > 0
