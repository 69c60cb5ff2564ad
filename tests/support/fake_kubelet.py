"""A kubelet that runs nothing: one Ready node, whose pods succeed at once or after a while. For benches, where real pods would be the limit.

    python -m tests.support.fake_kubelet --kubeconfig FILE [--delay SECONDS] [--message TEXT]

    a pod of the node                 becomes
    Pending, with a delay             Running at once, Succeeded when the delay is over
    Pending, without one; Running     Succeeded, with TEXT as the termination message of each container
    to be deleted                     gone

A container with the variable FAKE_KUBELET_SECONDS says by itself how long its pod runs.

Pods are found by list and watch, so a kubelet that is started anew takes over those of the one before: ending a kubelet with a long delay
and starting one with none ends all pods.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import uvloop

from backstay.errors import AlreadyExists, ApiError, NotFound
from backstay.kube.client import Client
from backstay.kube.login import find_login
from backstay.kube.resources import PODS, Resource
from tests.cluster.processes import end_child, tail
from tests.support.bound import spawn_bound
from tests.support.waiting import wait_for

Object = dict[str, Any]

NODE: Final = "fake"
OUTPUT: Final = '{"v":1}'
USER_AGENT: Final = "fake-kubelet"
SECONDS: Final = "FAKE_KUBELET_SECONDS"
"""The variable by which a container says how long its pod runs."""

_NODES: Final = Resource("", "v1", "nodes", "Node", namespaced=False)
_ROOM: Final = {"cpu": "10000", "memory": "100000Gi", "pods": "100000", "ephemeral-storage": "100000Gi"}
_READY: Final = "node fake is ready"
_READY_LIMIT_SECONDS: Final = 30
_HEARTBEAT_SECONDS: Final = 10
"""The node controller takes a node for lost after 50 s of silence."""
_WATCH_SECONDS: Final = 300
_PAUSE_SECONDS: Final = 0.2

log = logging.getLogger(__name__)


# ------------------------------------------------------------------------------------------------------- for tests


@contextmanager
def fake_node(kubeconfig: Path, folder: Path, *, delay_seconds: float = 0) -> Iterator[int]:
    """Have the node while the block lasts; its process id is what is given, and its log is in `folder`."""
    log_file = folder / "fake-kubelet.log"
    options = ["--kubeconfig", str(kubeconfig), "--delay", str(delay_seconds)]
    root = {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = spawn_bound([sys.executable, "-m", "tests.support.fake_kubelet", *options], log_file, root)

    def is_ready() -> bool:
        assert process.poll() is None, f"the fake kubelet ended with code {process.returncode}; it says\n{tail(log_file)}"
        return _READY in log_file.read_text(errors="replace")

    try:
        wait_for(is_ready, _READY_LIMIT_SECONDS, what=lambda: f"the fake kubelet is not ready; it says\n{tail(log_file)}")
        yield process.pid
    finally:
        end_child(process)


# ----------------------------------------------------------------------------------------------------- the process


class FakeKubelet:
    """The node and its pods. Pods run side by side, and each is taken once."""

    def __init__(self, client: Client, delay_seconds: float, message: str) -> None:
        self._client = client
        self._delay_seconds = delay_seconds
        self._message = message
        self._taken: set[str] = set()

    async def run(self) -> None:
        """Register the node and serve it until cancelled. An answer that nobody expected ends it."""
        await self._register()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            await self._follow(group)

    # ------------------------------------------------------------------------------------------------------ node

    async def _register(self) -> None:
        labels = {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels}}
        try:
            await self._client.create(_NODES, None, node)
        except AlreadyExists:
            log.info("the node is there already, and taken over")
        await self._report()
        # Every new node is tainted as not ready; the node controller would take some seconds to see that it is.
        await self._client.patch(_NODES, None, NODE, {"spec": {"taints": None}})
        log.info(_READY)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            await self._report()

    async def _report(self) -> None:
        ready = {"type": "Ready", "status": "True", "reason": "Fake", "lastHeartbeatTime": _now(), "lastTransitionTime": _now()}
        status = {"capacity": _ROOM, "allocatable": _ROOM, "conditions": [ready]}
        await self._client.patch(_NODES, None, NODE, {"status": status}, subresource="status")

    # ------------------------------------------------------------------------------------------------------ pods

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        """Hear of the node's pods for ever; a watch that ends or breaks is begun anew with a list."""
        selector = f"spec.nodeName={NODE}"
        while True:
            try:
                page = await self._client.list(PODS, field_selector=selector)
                for pod in page.items:
                    self._take("ADDED", pod, group)
                events = self._client.watch(
                    PODS, field_selector=selector, resource_version=page.resource_version, timeout_seconds=_WATCH_SECONDS
                )
                async with aclosing(events):
                    async for event, pod in events:
                        self._take(event, pod, group)
            except ApiError as error:
                log.warning("following pods: %s; listing them again", error)
                await asyncio.sleep(_PAUSE_SECONDS)

    def _take(self, event: str, pod: Object, group: asyncio.TaskGroup) -> None:
        if event == "BOOKMARK":
            return
        meta = pod["metadata"]
        leaves = "deletionTimestamp" in meta
        mark = f"{meta['uid']}{' leaves' if leaves else ''}"
        if event == "DELETED":
            self._taken -= {meta["uid"], f"{meta['uid']} leaves"}
        elif mark not in self._taken and (leaves or pod["status"]["phase"] in ("Pending", "Running")):
            self._taken.add(mark)
            group.create_task(self._remove(meta) if leaves else self._carry(pod))

    async def _carry(self, pod: Object) -> None:
        """Bring a pod to its end."""
        begun = pod["status"].get("startTime") or _now()
        delay_seconds = _seconds_of(pod, self._delay_seconds)
        if delay_seconds:
            if pod["status"]["phase"] == "Pending":
                await self._tell(pod, "Running", begun, {"running": {"startedAt": begun}})
            await asyncio.sleep(delay_seconds)
        end = {"exitCode": 0, "reason": "Completed", "startedAt": begun, "finishedAt": _now(), "message": self._message}
        await self._tell(pod, "Succeeded", begun, {"terminated": end})

    async def _tell(self, pod: Object, phase: str, begun: str, state: Object) -> None:
        runs = "running" in state
        containers = [
            {
                "name": each["name"],
                "image": each["image"],
                "imageID": "fake",
                "ready": runs,
                "started": runs,
                "restartCount": 0,
                "state": state,
            }
            for each in pod["spec"]["containers"]
        ]
        status = {"phase": phase, "startTime": begun, "containerStatuses": containers}
        meta = pod["metadata"]
        try:
            await self._client.patch(PODS, meta["namespace"], meta["name"], {"status": status}, subresource="status")
        except NotFound:
            log.info("pod %s/%s went before it was %s", meta["namespace"], meta["name"], phase)

    async def _remove(self, meta: Object) -> None:
        try:
            await self._client.delete(PODS, meta["namespace"], meta["name"], uid=meta["uid"], grace_period_seconds=0)
        except NotFound:
            log.info("pod %s/%s is gone already", meta["namespace"], meta["name"])


def _seconds_of(pod: Object, otherwise: float) -> float:
    variables = (each for container in pod["spec"]["containers"] for each in container.get("env") or ())
    return next((float(each["value"]) for each in variables if each["name"] == SECONDS), otherwise)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def _serve(asked: argparse.Namespace) -> None:
    login = find_login(str(asked.kubeconfig))
    async with Client(login(), login, user_agent=USER_AGENT) as client:
        await FakeKubelet(client, asked.delay, asked.message).run()


def main() -> None:
    """Run the command line until the process is killed."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.fake_kubelet", description="One Ready node, whose pods succeed.")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--delay", type=float, default=0, metavar="SECONDS", help="how long a pod runs (default: it ends at once)")
    parser.add_argument("--message", default=OUTPUT, metavar="TEXT", help=f"what each container leaves as output (default: {OUTPUT})")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    uvloop.run(_serve(asked))


if __name__ == "__main__":
    main()
