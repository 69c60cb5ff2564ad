"""The cluster with real containers itself: pods, services and nodes are real, and nothing is left of it afterwards."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import cgroups, containers
from tests.cluster.containers import ContainerCluster
from tests.cluster.processes import end_child
from tests.support.bound import spawn_bound
from tests.support.kubectl import Kubectl
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerCluster]:
    with ContainerCluster.start(tmp_path_factory.mktemp("cluster"), nodes=2) as running:
        yield running


@pytest.fixture
def kubectl(real: ContainerCluster) -> Kubectl:
    return Kubectl(real.kubeconfig, "default")


def run_on(kubectl: Kubectl, node: str, name: str, script: str, *options: str) -> None:
    """Start a pod on a node that runs a script."""
    spec = {"spec": {"nodeName": node, "terminationGracePeriodSeconds": 0}}
    options = ("--image=busybox:1.36", "--restart=Never", f"--overrides={json.dumps(spec)}", *options)
    kubectl("run", name, *options, "--command", "--", "sh", "-ec", script)


def phase(kubectl: Kubectl, name: str) -> str:
    return kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}")


def ended(kubectl: Kubectl, name: str) -> str:
    """Wait until a pod has ended well, and return what it printed."""
    wait_for(lambda: phase(kubectl, name) in ("Succeeded", "Failed"), 60, what=lambda: kubectl("describe", "pod", name))
    printed = kubectl("logs", name)
    assert phase(kubectl, name) == "Succeeded", printed
    return printed


def test_a_pod_on_one_node_answers_a_pod_on_the_other_through_a_service(kubectl: Kubectl) -> None:
    run_on(kubectl, "node-1", "server", "echo well > /tmp/index.html; exec httpd -f -p 8080 -h /tmp", "--port=8080", "--labels=app=server")
    kubectl("expose", "pod", "server", "--port=80", "--target-port=8080")
    kubectl("wait", "pod", "server", "--for=condition=Ready", "--timeout=60s")
    address = kubectl("get", "service", "server", "-o", "jsonpath={.spec.clusterIP}")
    ask = f"for try in $(seq 50); do wget -q -O - http://{address} && exit; sleep 0.2; done; exit 1"
    for node in ("node-1", "node-2"):
        run_on(kubectl, node, f"client-{node}", ask)
        assert ended(kubectl, f"client-{node}") == "well\n"


def test_a_container_is_confined_to_the_memory_that_it_may_use(kubectl: Kubectl) -> None:
    limits = {"resources": {"limits": {"memory": "16Mi"}}}
    container = {"name": "greedy", "image": "busybox:1.36", "command": ["sh", "-c", "tail /dev/zero"], **limits}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "greedy"}, "spec": {"restartPolicy": "Never", "containers": [container]}}
    kubectl("create", "-f", "-", given=pod)
    why = "jsonpath={.status.containerStatuses[0].state.terminated.reason}"
    kubectl.until("get", "pod", "greedy", "-o", why, shows=lambda reason: reason == "OOMKilled", limit_seconds=60)


def test_a_node_without_power_is_seen_to_be_gone_and_comes_back_with_its_disk(real: ContainerCluster, kubectl: Kubectl) -> None:
    node = real.nodes[1]
    ready = ("get", "node", node.name, "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}")
    node.power_off()
    try:
        kubectl.until(*ready, shows=lambda status: status == "Unknown", limit_seconds=60)
    finally:
        node.power_on()
    kubectl.until(*ready, shows=lambda status: status == "True", limit_seconds=60)
    run_on(kubectl, node.name, "afterwards", "echo here again")
    assert ended(kubectl, "afterwards") == "here again\n"


# ------------------------------------------------------------------------------------------------------------- leftovers


NOTHING: dict[str, list[str]] = {"processes": [], "links": [], "mounts": []}


def links() -> set[str]:
    """Return this machine's links to clusters."""
    found = json.loads(subprocess.run(["ip", "-json", "link"], capture_output=True, check=True, timeout=10).stdout)
    return {link["ifname"] for link in found if link["ifname"].startswith("backstay")}


def belongs_to_others(link: str, folder: Path) -> bool:
    """Tell whether the process that holds a link's namespace, whose number is in its name, was started for another folder."""
    holder = Path("/proc", link.removeprefix("backstay"), "cmdline")
    return holder.exists() and str(folder).encode() not in holder.read_bytes()


def traces(folder: Path, before: set[str]) -> dict[str, list[str]]:
    """Return what is on this machine of a cluster in `folder`, by kind; links of `before` belong to others."""
    commands = [
        path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists() and path.parent.name != str(os.getpid())
    ]
    return {
        "processes": [text.decode() for text in commands if str(folder).encode() in text],
        "links": sorted(link for link in links() - before if not belongs_to_others(link, folder)),
        "mounts": [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(folder) in line],
    }


def groups() -> set[str]:
    """Return the control groups of clusters that are there, in any hierarchy."""
    return {str(group) for top in cgroups.hierarchies() for group in (top / cgroups.BRANCH).glob("*") if group.is_dir()}


def command_line(*arguments: str) -> str:
    """Run what `make cluster` and `make cluster-down` run, and return what it says."""
    command = [sys.executable, "-m", "tests.cluster", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_brought_up_twice_it_is_the_same_and_taken_down_twice_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    others, before = links(), groups()
    options = ("--bare", "--nodes", "1", "--folder", str(folder))
    try:
        assert "the cluster is ready" in command_line("up", *options)
        assert Kubectl(containers.kubeconfig_in(folder))("get", "nodes", "-o", "name") == "node/node-1\n"
        assert "the cluster runs already" in command_line("up", *options)
        assert len(traces(folder, others)["links"]) == 1
        assert len(groups()) > len(before)
    finally:
        told = command_line("down", *options)
    assert "the cluster is gone" in told
    assert traces(folder, others) == NOTHING
    assert groups() == before
    assert not folder.exists()
    assert "no cluster is running" in command_line("down", *options)


_HOLDER = """
import signal, sys
from pathlib import Path
from tests.cluster.containers import ContainerCluster
with ContainerCluster.start(Path(sys.argv[1]), nodes=1):
    print("it is up", flush=True)
    signal.pause()
"""


def test_it_does_not_outlive_the_process_that_started_it_however_that_ends(tmp_path: Path) -> None:
    folder, log = tmp_path / "cluster", tmp_path / "holder.log"
    others = links()
    holder = spawn_bound([sys.executable, "-c", _HOLDER, str(folder)], log)
    try:
        wait_for(lambda: "it is up" in log.read_text(), 90, what=log.read_text)
        assert traces(folder, others)["processes"]
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
        wait_for(lambda: traces(folder, others) == NOTHING, 30, what=lambda: traces(folder, others))
    finally:
        end_child(holder)
    # Control groups are the one thing that no kernel takes back; the next cluster sweeps them.
    before = groups()
    cgroups.sweep()
    assert len(groups()) < len(before)
