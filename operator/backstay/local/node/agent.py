"""The node: registers itself, follows the pods that are bound to it, and runs each one once.

API server ── Reflector ── NodeAgent ─┬─ PodRunner ── shims ── processes
                                      └─ ...
"""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from backstay import errors
from backstay.kube.login import Login
from backstay.local.node.api import TRANSIENT, Api, Obj, Reflector
from backstay.local.node.background import beside
from backstay.local.node.claims import Claims
from backstay.local.node.images import ImageMap
from backstay.local.node.kubelet import Endpoint, Kubelet
from backstay.local.node.pod import Delays, PodRunner, Workshop
from backstay.local.node.process import Launcher
from backstay.local.node.records import Records
from backstay.local.node.registration import NodeInfo, Registration
from backstay.local.node.sandbox import Sandbox
from backstay.local.node.state import is_terminal

log = logging.getLogger(__name__)

RELEASE_RETRY_SECONDS: Final = 0.5
REPORT_LIMIT_SECONDS: Final = 10.0
"""How long a node that stops tries to tell the API server how its pods ended."""


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """How a node is set up. `folder` is its own: logs, volumes, and the record of what it began."""

    name: str
    folder: Path
    image_map: Path | None = None
    missing_images: Sequence[str] = ()
    max_pods: int = 110
    capacity: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    port: int = 0
    """Of the log endpoint on loopback; 0 is any free one."""
    kubelet_token: str | None = None
    """What a caller of the log endpoint has to know."""
    client_authority: Path | None = None
    """Whose certificates its callers have to show. With neither it is open to every user of this machine."""
    delays: Delays = field(default_factory=Delays)


class NodeAgent:
    """Runs the pods of one node. Made by `running_node`."""

    def __init__(self, api: Api, shop: Workshop, options: NodeOptions) -> None:
        self._api, self._shop, self._options = api, shop, options
        self._runners: dict[str, PodRunner] = {}
        self._ended: set[str] = set()
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._reflector = Reflector(api, "/api/v1/pods", fieldSelector=f"spec.nodeName={options.name}")
        self._reflector.listen(self._on_pod)

    async def follow(self) -> None:
        """Take pods until cancelled. What a former agent left of pods that no longer exist is removed once the pods are known."""
        sweep = asyncio.create_task(self._sweep())
        try:
            await self._reflector.run()
        finally:
            sweep.cancel()

    async def shut_down(self) -> None:
        """End all pods as disruptions, report them, and start nothing new."""
        self._closing = True
        for runner in self._runners.values():
            runner.shut_down()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._options.delays.shutdown_grace + REPORT_LIMIT_SECONDS)
            for task in late:
                task.cancel()

    def find_log(self, namespace: str, name: str, container: str, *, previous: bool) -> tuple[Sandbox | None, bool]:
        """Return the newest run of a container, or the one before it, and whether it may still write. None where nothing ran.

        Raises:
            KeyError: this node has no such pod, or the pod has no such container.
        """
        pod = self._named(namespace, name)
        spec = next((c for key in ("initContainers", "containers") for c in pod["spec"].get(key) or () if c["name"] == container), None)
        if spec is None:
            raise KeyError(f"container {container} is not valid for pod {name}")
        uid = pod["metadata"]["uid"]
        last = Sandbox.newest(spec, self._shop.pod_folder(uid))
        if last is None or not previous:
            return last, uid in self._runners
        return (self._shop.sandbox(uid, spec, last.restarts - 1) if last.restarts else None), False

    def _named(self, namespace: str, name: str) -> Obj:
        for pod in self._reflector.cache.values():
            if pod["metadata"]["name"] == name and pod["metadata"]["namespace"] == namespace:
                return pod
        raise KeyError(f"node {self._options.name} has no pod {namespace}/{name}")

    # ----------------------------------------------------------------------------------------------------- events

    def _on_pod(self, kind: str, pod: Obj) -> None:
        uid = pod["metadata"]["uid"]
        runner = self._runners.get(uid)
        if kind == "DELETED":
            if runner is not None:
                runner.gone()
            else:
                self._spawn(self._forget(uid))
        elif runner is not None:
            runner.update(pod)
        elif is_terminal(pod) or uid in self._ended:
            self._ended.add(uid)
            if pod["metadata"].get("deletionTimestamp"):
                self._spawn(self._release(pod))
        elif not self._closing:
            self._runners[uid] = PodRunner(pod, self._shop)
            self._spawn(self._run(uid, self._runners[uid]))

    async def _run(self, uid: str, runner: PodRunner) -> None:
        try:
            await runner.run()
        finally:
            self._ended.add(uid)
            del self._runners[uid]
        if self._reflector.cache.get(uid) is None:
            await self._forget(uid)
        elif runner.pod["metadata"].get("deletionTimestamp"):
            await self._release(runner.pod)

    async def _release(self, pod: Obj) -> None:
        """Let the object of an ended pod go: its grace is over when nothing of it runs. Finalizers of others may still keep it."""
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        while self._reflector.cache.get(metadata["uid"]) is not None:
            try:
                await self._api.delete(path, {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}})
                return
            except (errors.NotFound, errors.Conflict):
                return
            except TRANSIENT:
                pass
            except errors.ApiError as fault:
                log.warning("pod %s/%s cannot be released: %s", metadata["namespace"], metadata["name"], fault)
                return
            await asyncio.sleep(RELEASE_RETRY_SECONDS)

    async def _forget(self, uid: str) -> None:
        self._ended.discard(uid)
        await asyncio.to_thread(shutil.rmtree, self._shop.pod_folder(uid), ignore_errors=True)
        self._shop.records.forget(uid)

    async def _sweep(self) -> None:
        await self._reflector.synced.wait()
        folders = self._shop.folder / "pods"
        known = {entry.name for entry in folders.iterdir()} if folders.exists() else set()
        for uid in (known | self._shop.records.all()) - self._reflector.cache.uids():
            await self._forget(uid)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("a task of node %s failed", self._options.name, exc_info=fault)


@contextlib.asynccontextmanager
async def running_node(login: Login, options: NodeOptions) -> AsyncIterator[NodeAgent]:
    """Run a node from registration to an orderly end; the body sees it registered and Ready.

    On leaving, its pods are ended as disruptions and reported, then the node is not Ready any more.

    Raises:
        NodeBusy: another node works in `options.folder`.
        LoginFailed: the login does not work.
        ApiError: the API server refuses the node.
    """
    options.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    launcher = Launcher()
    try:
        await launcher.open(options.folder)
        async with Api(login, agent=f"backstay-node/{options.name}") as api:
            shop = Workshop(
                api=api,
                launcher=launcher,
                records=Records(options.folder / "begun"),
                images=ImageMap(options.image_map, missing=options.missing_images),
                folder=options.folder,
                slots=asyncio.Semaphore(options.max_pods),
                delays=options.delays,
            )
            agent = NodeAgent(api, shop, options)
            endpoint = Endpoint(options.folder, options.port, options.kubelet_token, options.client_authority)
            async with Kubelet(agent.find_log, endpoint) as kubelet:
                registration = Registration(api, NodeInfo(options.name, kubelet.port, options.max_pods, options.capacity, options.labels))
                await registration.register()
                claims = Claims(api, shop.claims, options.name)
                async with beside(agent.follow(), registration.keep_alive(), claims.run()):
                    try:
                        yield agent
                    finally:
                        await registration.leave()
                        await agent.shut_down()
    finally:
        await launcher.close()
