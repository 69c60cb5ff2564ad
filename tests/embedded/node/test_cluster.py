"""The embedded cluster as a whole: what a restart keeps, and that nobody else gets in."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.embedded.node.harness import (
    Cluster,
    Daemon,
    Namespace,
    condition,
    embedded_command,
    end,
    is_running,
    load,
    phase,
    running,
    until,
)

pytestmark = pytest.mark.embedded

IGNORE_DISRUPTIONS = {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]}


@pytest.fixture
def own(tmp_path: Path, image_map: Path) -> Iterator[Cluster]:
    """A cluster of the test's own, to be killed and started again."""
    kubeconfig = tmp_path / "kubeconfig"
    with running(Daemon(embedded_command(tmp_path, kubeconfig, image_map), tmp_path / "log")) as daemon:
        yield Cluster(kubeconfig, daemon, "tests", image_map)


@pytest.fixture
async def ns(own: Cluster) -> AsyncIterator[Namespace]:
    async with load(own.kubeconfig) as api:
        await api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        yield Namespace(api, "shop", own)


async def test_a_killed_cluster_goes_on_where_it_stopped(ns: Namespace, own: Cluster, tmp_path: Path) -> None:
    script = f"echo ran >> {tmp_path}/runs; exit 0"
    await ns.job(script, "before")
    await ns.finished("before")
    await ns.job(f"echo ran >> {tmp_path}/long; sleep 100", "during")
    await until(lambda: (tmp_path / "long").exists())
    address = own.kubeconfig.read_text()
    own.daemon.kill()
    await ns.until_no_process(limit=3)
    own.daemon.start()
    assert own.kubeconfig.read_text() == address, "clients find it where it was"
    assert condition(await ns.get("jobs", "before"), "Complete")
    assert condition(await ns.finished("during"), "Failed")
    [pod] = await ns.pods("job-name=during")
    assert end(pod)["reason"] == "ContainerStatusUnknown"
    assert (tmp_path / "runs").read_text() == (tmp_path / "long").read_text() == "ran\n"
    await ns.job(script, "after")
    assert condition(await ns.finished("after"), "Complete")


async def test_a_cluster_that_is_asked_to_end_reruns_disrupted_pods_when_it_is_back(ns: Namespace, own: Cluster, tmp_path: Path) -> None:
    script = f"echo ran >> {tmp_path}/runs; [ -e {tmp_path}/go ] || sleep 100"
    await ns.job(script, podFailurePolicy=IGNORE_DISRUPTIONS, podReplacementPolicy="Failed")
    await until(lambda: (tmp_path / "runs").exists())
    (tmp_path / "go").touch()
    assert own.daemon.stop() == 0
    assert ns.processes() == []
    own.daemon.start()
    assert condition(await ns.finished(), "Complete")
    assert (tmp_path / "runs").read_text() == "ran\nran\n"


async def test_no_pod_is_lost_or_run_twice_when_the_cluster_is_killed_in_the_middle(ns: Namespace, own: Cluster, tmp_path: Path) -> None:
    script = f"echo $$JOB >> {tmp_path}/runs; sleep 0.1"
    for number in range(10):
        env = {"container": {"env": [{"name": "JOB", "value": f"job-{number}"}]}}
        await ns.job(script, f"job-{number}", pod_changes=env)
        if number in (3, 7):
            own.daemon.kill()
            own.daemon.start()
            await ns.pods()  # the client notices that its connections are gone; a read may be repeated, a create may not
    jobs = [await ns.finished(f"job-{number}") for number in range(10)]
    runs = (tmp_path / "runs").read_text().split()
    assert sorted(runs) == sorted(set(runs)), "a pod ran twice"
    for job in jobs:
        name = job["metadata"]["name"]
        assert len(await ns.pods(f"job-name={name}")) == 1
        assert not condition(job, "Complete") or name in runs


async def test_a_running_pod_does_not_notice_a_client_that_goes_away(ns: Namespace) -> None:
    pod = await ns.run("sleep 0.3; exit 0")
    await ns.until("pods", pod["metadata"]["name"], is_running)
    assert phase(await ns.ended(pod)) == "Succeeded"


async def test_two_clusters_cannot_share_a_folder(own: Cluster) -> None:
    second = await asyncio.create_subprocess_exec(*own.daemon.command, stderr=subprocess.PIPE)
    _, told = await asyncio.wait_for(second.communicate(), 60)
    assert second.returncode == 1
    assert told.splitlines()[-1].startswith(b"backstay cluster: ")


async def test_nobody_without_the_token_gets_an_answer(ns: Namespace, own: Cluster) -> None:
    port = (own.daemon.log.parent / "cluster" / "port").read_text()
    node_port = (await ns.api.get("/api/v1/nodes/tests"))["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as stranger:
        async with stranger.get(f"https://127.0.0.1:{port}/api/v1/pods", ssl=False) as answer:
            assert answer.status == 401
        with pytest.raises((aiohttp.ClientError, OSError)):
            await stranger.get(f"https://127.0.0.1:{node_port}/healthz", ssl=False)


def test_a_wrong_image_map_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "images.yaml").write_text('"shop/*": {comand: [python3]}\n')
    command = [sys.executable, "-m", "backstay.local.cluster", "--data", str(tmp_path / "c"), "--image-map", str(tmp_path / "images.yaml")]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 1
    [line] = answer.stderr.splitlines()
    assert """"shop/*": unknown field 'comand'; an entry has the fields args, command, env, path, workingDir""" in line
