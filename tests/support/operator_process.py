"""The operator as a process of its own, as a user starts it: to be killed, and to be started again."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.processes import end_child, tail
from tests.support.bound import spawn_bound
from tests.support.waiting import wait_for

IDENTITY = "operator"
"""What every operator of the tests is called in its Lease: the next one goes on at once where one was killed, as a container does that is started
again in its pod. Those that are to stand by for each other have names of their own."""
_READY = "ready: Jobs and Pods are known"
_READY_LIMIT_SECONDS = 60
_STOP_LIMIT_SECONDS = 20


class OperatorProcess:
    """`backstay operator` against a kubeconfig. `starts` counts how often it was started; all logs are kept in `folder`."""

    def __init__(
        self, kubeconfig: Path, folder: Path, *arguments: str, environment: dict[str, str] | None = None, enter: Sequence[str] = ()
    ) -> None:
        """`enter` is what the command begins with, as in `nsenter --net=…`."""
        self._command = [*enter, sys.executable, "-m", "backstay.cli.main", "operator", "--kubeconfig", str(kubeconfig), *arguments]
        self._environment = {"BACKSTAY_IDENTITY": IDENTITY} | (environment or {})
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    @property
    def log(self) -> Path:
        """What the newest process says."""
        return self._folder / f"operator-{self.starts}.log"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, ready: bool = True) -> None:
        """Start the operator; with `ready` return only when it knows what is in the cluster."""
        assert not self.is_running, "it runs already"
        self.starts += 1
        self._process = spawn_bound(self._command, self.log, self._environment)
        if ready:
            wait_for(self._is_ready, _READY_LIMIT_SECONDS, what=lambda: f"the operator is not ready; it says\n{tail(self.log)}")

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the operator ended with code {self._process.returncode}; it says\n{tail(self.log)}"
        return _READY in self.log.read_text(errors="replace")

    def kill9(self) -> None:
        """Kill it between any two instructions, and wait until it is gone."""
        if self._process is not None:
            end_child(self._process)
            self._process = None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP freezes it, as a machine that is put to sleep does, and SIGCONT wakes it."""
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)

    def stop(self) -> int:
        """Ask it to end, as Kubernetes does; return its exit code."""
        self.send(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Wait until it ends; return its exit code."""
        assert self._process is not None, "it does not run"
        try:
            return self._process.wait(_STOP_LIMIT_SECONDS)
        finally:
            self.kill9()

    def restart(self) -> None:
        """Kill it and start the next one."""
        self.kill9()
        self.start()
