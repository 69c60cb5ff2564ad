"""A cluster with one node that runs pods as processes, embedded or real, and the few things that tests of it do."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from backstay import errors
from backstay.kube.login import find_login
from backstay.local.node.api import Api, Obj

MISSING_IMAGES = "backstay.test/missing*"
START_SECONDS = 60.0
STOP_SECONDS = 20.0
WAIT_SECONDS = 20.0
POLL_SECONDS = 0.02
JOB_BACKOFF_SECONDS = 2.0
"""In the embedded cluster of the tests; 10 s in a real one. It counts from the failure, whose time is told in whole seconds."""


@dataclass
class Daemon:
    """A process of ours that prints one line when it is ready, and can be ended or killed and started again."""

    command: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it; returns the line that it prints when it is ready."""
        with self.log.open("ab") as errors:
            self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
        os.set_blocking(self.process.stdout.fileno(), False)
        deadline, line = time.monotonic() + START_SECONDS, b""
        while not line.endswith(b"\n"):
            line += self.process.stdout.read() or b""
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"{self.command} is not ready:\n{self.log.read_text()[-4000:]}")
            time.sleep(POLL_SECONDS)
        return line.decode()

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> int:
        """Ask it to end; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self.kill()

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_SECONDS)
        if self.process is not None:
            self.process.stdout.close()


def node_command(kubeconfig: Path, name: str, data: Path, *more: str) -> list[str]:
    """Return the command line of a node beside a control plane."""
    command = [sys.executable, "-m", "backstay.local.node", "--kubeconfig", str(kubeconfig), "--name", name, "--data", str(data)]
    return [*command, "--missing-images", MISSING_IMAGES, *more]


@contextmanager
def running(daemon: Daemon) -> Iterator[Daemon]:
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.kill()


@dataclass
class Cluster:
    """Where tests run: `daemon` is the process that runs the pods of node `node`; the image map is `images`."""

    kubeconfig: Path
    daemon: Daemon
    node: str
    images: Path


@dataclass
class Namespace:
    """What a test does in a namespace of its own."""

    api: Api
    name: str
    cluster: Cluster
    marker: str = field(default_factory=lambda: uuid.uuid4().hex)

    def path(self, kind: str, name: str = "") -> str:
        group = "/apis/batch/v1" if kind == "jobs" else "/api/v1"
        return f"{group}/namespaces/{self.name}/{kind}" + (f"/{name}" if name else "")

    async def until_ready(self) -> None:
        """Wait for the service account without which a real cluster admits no pod; the embedded one asks for none."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                await self.run("exit 0", name="first")
                break
            except errors.ApiError as fault:
                assert "serviceaccount" in fault.message and time.monotonic() < deadline, fault
                await asyncio.sleep(POLL_SECONDS)
        await self.delete("pods", "first", gracePeriodSeconds=0)

    async def clear(self) -> None:
        """Delete the namespace and all that runs in it."""
        for kind in ("jobs", "pods"):
            for obj in (await self.api.get(self.path(kind)))["items"]:
                with suppress(errors.NotFound):
                    await self.delete(kind, obj["metadata"]["name"], gracePeriodSeconds=0, propagationPolicy="Background")
        await self.api.delete(f"/api/v1/namespaces/{self.name}")
        await self.until_no_process()

    async def create(self, kind: str, obj: Obj) -> Obj:
        return await self.api.create(self.path(kind), obj)

    async def get(self, kind: str, name: str) -> Obj:
        return await self.api.get(self.path(kind, name))

    async def delete(self, kind: str, name: str, **options: Any) -> None:
        await self.api.delete(self.path(kind, name), options)

    async def run(self, script: str = "", **changes: Any) -> Obj:
        """Create a pod with one container `main` that runs a shell script; `changes` as for `pod`."""
        return await self.create("pods", pod(self.marker, script, **changes))

    async def job(self, script: str, name: str = "work", pod_changes: Obj | None = None, **spec: Any) -> Obj:
        """Create a Job whose pods run a shell script, without retries unless `spec` says so."""
        manifest = pod(self.marker, script, **(pod_changes or {}))
        template = {"spec": manifest["spec"], "metadata": {"labels": {"test": name}}}
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name},
            "spec": {"backoffLimit": 0, "template": template, **spec},
        }
        return await self.create("jobs", job)

    async def pods(self, selector: str = "") -> list[Obj]:
        return (await self.api.get(self.path("pods"), **({"labelSelector": selector} if selector else {})))["items"]

    async def until(self, kind: str, name: str, holds: Callable[[Obj], Any], limit: float = WAIT_SECONDS) -> Obj:
        """Wait until something holds of an object; returns the object then."""
        deadline = time.monotonic() + limit
        while True:
            obj = await self.get(kind, name)
            if holds(obj):
                return obj
            assert time.monotonic() < deadline, f"still not after {limit} s: {orjson.dumps(obj, option=orjson.OPT_INDENT_2).decode()}"
            await asyncio.sleep(POLL_SECONDS)

    async def until_gone(self, kind: str, name: str, limit: float = WAIT_SECONDS) -> None:
        deadline = time.monotonic() + limit
        while True:
            try:
                obj = await self.get(kind, name)
            except errors.NotFound:
                return
            assert time.monotonic() < deadline, f"still there after {limit} s: {obj['metadata']}"
            await asyncio.sleep(POLL_SECONDS)

    async def ended(self, obj: Obj) -> Obj:
        """Wait until a pod has ended."""
        return await self.until("pods", obj["metadata"]["name"], lambda pod: phase(pod) in ("Succeeded", "Failed"))

    async def finished(self, name: str = "work", limit: float = WAIT_SECONDS) -> Obj:
        """Wait until a Job is Complete or Failed."""
        return await self.until("jobs", name, lambda job: condition(job, "Complete") or condition(job, "Failed"), limit)

    def kubectl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["kubectl", "--kubeconfig", str(self.cluster.kubeconfig), "-n", self.name, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    def processes(self) -> list[int]:
        """Return the pids of all processes that descend from containers of this test, by an environment variable of theirs."""
        return processes_with(f"TEST_MARKER={self.marker}")

    async def until_no_process(self, limit: float = WAIT_SECONDS) -> None:
        deadline = time.monotonic() + limit
        while left := self.processes():
            assert time.monotonic() < deadline, f"still running after {limit} s: {left}"
            await asyncio.sleep(POLL_SECONDS)

    async def until_processes(self, count: int) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while len(self.processes()) < count:
            assert time.monotonic() < deadline, f"only {len(self.processes())} of {count} processes run"
            await asyncio.sleep(POLL_SECONDS)


async def until(holds: Callable[[], bool], limit: float = WAIT_SECONDS) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < deadline, f"still not after {limit} s"
        await asyncio.sleep(POLL_SECONDS)


def processes_with(variable: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and variable.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def program_of(pid: int) -> str:
    return Path(f"/proc/{pid}/exe").readlink().name


def pod(marker: str, script: str = "", *, name: str = "", container: Obj | None = None, **spec: Any) -> Obj:
    """Return a pod whose container `main` runs a script; `container` and `spec` are merged over what is usual."""
    main = {
        "name": "main",
        "image": "busybox:1.36",
        "command": ["sh", "-c", script],
        "env": [{"name": "TEST_MARKER", "value": marker}, {"name": "BACKSTAY_OUTPUT", "value": "/dev/termination-log"}],
    }
    for key, value in (container or {}).items():
        main[key] = [*main["env"], *value] if key == "env" else value
    metadata = {"name": name} if name else {"generateName": "pod-"}
    usual = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "containers": [{k: v for k, v in main.items() if v is not None}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": usual | spec}


def phase(pod: Obj) -> str:
    return pod["status"].get("phase", "Pending")


def container(pod: Obj, name: str = "main", kind: str = "containerStatuses") -> Obj:
    """Return the status of a container; empty where there is none yet."""
    return next((status for status in pod["status"].get(kind) or () if status["name"] == name), {})


def end(pod: Obj, name: str = "main") -> Obj:
    """Return how a container ended."""
    return container(pod, name).get("state", {}).get("terminated", {})


def waiting(pod: Obj, name: str = "main") -> Obj:
    return container(pod, name).get("state", {}).get("waiting", {})


def is_running(pod: Obj) -> bool:
    return "running" in container(pod).get("state", {})


def condition(obj: Obj, kind: str) -> Obj | None:
    """Return a condition that is True."""
    return next((c for c in obj.get("status", {}).get("conditions") or () if c["type"] == kind and c["status"] == "True"), None)


def load(kubeconfig: Path) -> Api:
    return Api(find_login(str(kubeconfig)), agent="tests")


def embedded_command(data: Path, kubeconfig: Path, images: Path, *more: str) -> list[str]:
    """Return the command line of an embedded cluster whose node is called `tests`."""
    command = [sys.executable, "-m", "backstay.local.cluster", "--data", str(data / "cluster"), "--kubeconfig", str(kubeconfig)]
    return [
        *command,
        "--job-backoff",
        str(JOB_BACKOFF_SECONDS),
        "--node",
        "tests",
        "--image-map",
        str(images),
        "--missing-images",
        MISSING_IMAGES,
        *more,
    ]
