"""`backstay dev`: everything in one terminal, and gone with it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backstay.local.dev import DevFailed, run
from tests.embedded.node.harness import POLL_SECONDS, STOP_SECONDS, processes_with

pytestmark = pytest.mark.embedded

HELLO = Path(__file__).parents[3] / "examples" / "hello.yaml"
MARKER = "BACKSTAY_TEST_DEV"
SCRIPT = """
import pathlib, sys
from backstay.local import dev
data = pathlib.Path(sys.argv[1]) if sys.argv[1] else None
say = lambda line: print(line, flush=True)
sys.exit(dev.run(data=data, port=0, kubeconfig=None, with_operator=True, say=say, manifests=[pathlib.Path(sys.argv[2])]))
"""


@dataclass
class Dev:
    """A session of `backstay dev` and what it has said."""

    process: subprocess.Popen[bytes]
    said: Path

    def until(self, pattern: str, count: int = 1, limit: float = 60) -> list[str]:
        """Wait until it has said something so often; returns what the groups of the pattern matched."""
        return wait_for(
            lambda: found if len(found := re.findall(pattern, self.said.read_text())) >= count else None, limit, self.said.read_text
        )

    @property
    def kubeconfig(self) -> Path:
        return Path(self.until("export KUBECONFIG=(.*)")[0])

    def kubectl(self, *arguments: str) -> str:
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    def interrupt(self) -> int:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_SECONDS)


def wait_for(look: Callable[[], list[str] | None], limit: float, what: Callable[[], str]) -> list[str]:
    deadline = time.monotonic() + limit
    while (found := look()) is None:
        assert time.monotonic() < deadline, f"still not after {limit} s:\n{what()}"
        time.sleep(POLL_SECONDS)
    return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Dev]]:
    """Start sessions of `backstay dev`; they end with the test, and so does all that they started."""
    sessions: list[Dev] = []
    marker = f"{MARKER}={tmp_path}"

    def begin(data: str) -> Dev:
        said = tmp_path / f"said-{len(sessions)}"
        with said.open("wb") as output:
            environment = os.environ | {MARKER: str(tmp_path)}
            process = subprocess.Popen([sys.executable, "-c", SCRIPT, data, str(HELLO)], stdout=output, stderr=output, env=environment)
        sessions.append(Dev(process, said))
        return sessions[-1]

    yield begin
    for session in sessions:
        session.process.kill()
        session.process.wait(STOP_SECONDS)
    wait_for(lambda: None if processes_with(marker) else [], 10, lambda: f"left over: {processes_with(marker)}")


def test_a_workflow_runs_and_the_operator_comes_back_when_it_is_killed(start: Callable[[str], Dev], tmp_path: Path) -> None:
    dev = start(str(tmp_path / "data"))
    dev.until("WorkflowRun hello is applied")
    dev.kubectl("wait", "--for=condition=Complete", "wfrun/hello", "--timeout=50s")
    assert "Succeeded" in dev.kubectl("get", "wfrun")
    dev.until("operator \\| .*ready: Jobs and Pods are known")
    [operator] = [
        pid for pid in processes_with(f"{MARKER}={tmp_path}") if b"operator" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    ]
    os.kill(operator, signal.SIGKILL)
    dev.until("the operator has ended with code 137; it is started again")
    dev.until("operator \\| .*ready: Jobs and Pods are known", count=2)
    assert dev.interrupt() == 0
    assert processes_with(f"{MARKER}={tmp_path}") == []
    again = start(str(tmp_path / "data"))
    assert "hello" in again.kubectl("get", "wfrun"), "what was in the folder is still there"


def test_without_a_folder_nothing_is_kept_and_a_kill_leaves_no_process(start: Callable[[str], Dev], tmp_path: Path) -> None:
    dev = start("")
    folder = dev.kubeconfig.parent
    assert "its state goes with it" in dev.said.read_text()
    assert dev.interrupt() == 0
    assert not folder.exists()
    dev = start("")
    dev.until("ready: Jobs and Pods are known")
    dev.process.kill()
    wait_for(lambda: None if processes_with(f"{MARKER}={tmp_path}") else [], 10, dev.said.read_text)


def test_a_folder_that_is_no_clusters_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(DevFailed, match="does not look like a cluster's folder, so it is not emptied"):
        run(data=tmp_path, port=0, kubeconfig=None, with_operator=False, say=lambda _: None, reset=True)
    assert (tmp_path / "precious").exists()


def test_a_manifest_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(DevFailed, match=r"broken\.yaml is neither YAML nor JSON"):
        run(data=None, port=0, kubeconfig=None, with_operator=False, say=lambda _: None, manifests=[tmp_path / "broken.yaml"])
