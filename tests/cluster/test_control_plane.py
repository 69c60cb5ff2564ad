"""The real control plane starts in seconds, works as any other, and leaves nothing behind."""

import json
import os
import secrets
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext

import pytest

from tests.cluster.build import kubernetes_version
from tests.cluster.certificates import make_certificates
from tests.cluster.control_plane import ControlPlane, ControlPlaneError
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.e2e

_ROOT = Path(__file__).parents[2]
_JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "hello"},
    "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox", "command": ["true"]}]}}},
}


@pytest.fixture
def cluster(fresh_control_plane: ControlPlane) -> Iterator[Kubectl]:
    namespace = f"test-{secrets.token_hex(4)}"
    kubectl = Kubectl(fresh_control_plane.kubeconfig, namespace)
    kubectl("create", "namespace", namespace)
    yield kubectl
    kubectl("delete", "namespace", namespace, "--wait=false")


class _Kubelet(BaseHTTPRequestHandler):
    """A kubelet's log endpoint, and nothing else of a kubelet."""

    def do_GET(self) -> None:
        found = self.path.startswith("/containerLogs/")
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(f"logged at {self.path.split('?')[0]}\n".encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def node(cluster: Kubectl, tmp_path: Path) -> Iterator[str]:
    """A Ready node on 127.0.0.1 whose endpoint has a certificate that nobody signed but its own authority."""
    certificates = make_certificates(tmp_path)
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Kubelet) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        name = "node-of-a-test"
        cluster("create", "-f", "-", given={"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        room = {"cpu": "8", "memory": "8Gi", "pods": "100"}
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": server.server_port}},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Test", "message": "ready"}],
            "capacity": room,
            "allocatable": room,
        }
        cluster("patch", "node", name, "--subresource", "status", "--type", "merge", "--patch", json.dumps({"status": status}))
        yield name
        # A pod leaves when its kubelet says that it has ended, and this one never will.
        cluster("delete", "jobs,pods", "--all", "--force", "--grace-period", "0")
        cluster("delete", "node", name)
        server.shutdown()
        thread.join(timeout=10)


def test_it_is_the_kubernetes_of_the_module_and_has_no_nodes_of_its_own(cluster: Kubectl) -> None:
    assert cluster.json("version")["serverVersion"]["gitVersion"] == kubernetes_version()
    assert cluster("get", "nodes", "-o", "name") == ""


def test_a_job_becomes_a_pod_on_a_node_whose_logs_can_be_read(cluster: Kubectl, node: str) -> None:
    cluster("apply", "-f", "-", given=_JOB)
    where = ("get", "pods", "-l", "job-name=hello", "-o", "jsonpath={.items[*].spec.nodeName}")
    assert cluster.until(*where, shows=bool) == node
    pod = cluster("get", "pods", "-o", "name").strip().removeprefix("pod/")
    running = {"phase": "Running", "containerStatuses": [_container_status()]}
    cluster("patch", "pod", pod, "--subresource", "status", "--type", "merge", "--patch", json.dumps({"status": running}))
    assert cluster("logs", pod) == f"logged at /containerLogs/{cluster.namespace}/{pod}/main\n"


def _container_status() -> dict[str, object]:
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    return {"name": "main", "image": "busybox", "imageID": "busybox", "ready": True, "started": True, "restartCount": 0, "state": state}


def test_a_service_account_has_no_rights_that_nobody_gave_it(cluster: Kubectl) -> None:
    told = cluster.refused("get", "secrets", "--as", f"system:serviceaccount:{cluster.namespace}:default")
    assert "Forbidden" in told


def test_it_is_ready_in_seconds_and_stopping_it_leaves_no_process(tmp_path: Path) -> None:
    started = time.monotonic()
    with ControlPlane.start(tmp_path) as own:
        assert time.monotonic() - started < 30
        pids = own.pids
        assert set(pids) == {"etcd", "apiserver", "controller-manager", "scheduler"}
        assert Kubectl(own.kubeconfig)("get", "namespaces", "-o", "name").splitlines()[0] == "namespace/default"
    assert not [name for name, pid in pids.items() if Path("/proc", str(pid)).exists()]
    own.stop()


def test_a_component_that_ends_while_it_starts_is_shown_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(ControlPlaneError, match=r"(?s)apiserver ended with code 1.*apiserver\.log:.*unknown flag: --no-such-flag"):
        ControlPlane.start(tmp_path, api_arguments=["--no-such-flag"])
    assert _processes_in(tmp_path) == []


def test_it_ends_with_a_test_process_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tests.cluster.control_plane import ControlPlane\n"
        "print(*ControlPlane.start(Path(sys.argv[1])).pids.values(), flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT)
    assert process.stdin and process.stdout
    with process.stdin, process.stdout:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 4
        process.kill()
        process.wait(timeout=10)
    _wait_until_gone(pids)
    assert _processes_in(tmp_path) == []


def test_people_can_put_it_up_and_take_it_down_twice(tmp_path: Path) -> None:
    assert "is ready at https://127.0.0.1:" in _command("up", tmp_path)
    try:
        processes = _processes_in(tmp_path)
        assert len(processes) == 4
        assert "is running already at https://127.0.0.1:" in _command("up", tmp_path)
        assert _processes_in(tmp_path) == processes
    finally:
        told = _command("down", tmp_path)
    assert told == "the control plane is gone\n"
    assert _processes_in(tmp_path) == []
    assert _command("down", tmp_path) == "no control plane is running\n"


def _command(command: str, directory: Path) -> str:
    arguments = [sys.executable, "-m", "tests.cluster.control_plane", command, "--directory", str(directory)]
    return subprocess.run(arguments, cwd=_ROOT, capture_output=True, text=True, timeout=100, check=True).stdout


def _processes_in(directory: Path) -> list[int]:
    """Return the processes whose command line names `directory`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(directory).encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return sorted(found)


def _wait_until_gone(pids: list[int]) -> None:
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        readable, _, _ = select.select([handle], [], [], 20)
        os.close(handle)
        assert readable, f"process {pid} is still there"
