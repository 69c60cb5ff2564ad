"""One pod's life on this node, from the binding to its end.

    wait for a slot ── volumes ── init containers in order ── containers together ── report the end
      └────────── deletion, deadline, shutdown, or a vanished object end it at any point ─────────┘

A pod that ends within SHORT_SECONDS is reported once, any other twice: that it runs, and how it ended.
"""

import asyncio
import contextlib
import logging
import shutil
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

import orjson

from backstay.local.node.api import TRANSIENT, Api, Obj
from backstay.local.node.images import ImageError, ImageMap
from backstay.local.node.process import Command, ContainerProcess, Exit, Launcher
from backstay.local.node.records import Records
from backstay.local.node.references import ReferenceMissing, References
from backstay.local.node.reporting import Reporter
from backstay.local.node.sandbox import Sandbox
from backstay.local.node.state import RUNTIME, Container, PodState, Running, Terminated, Waiting, is_terminal, unfinished_as_lost
from backstay.local.node.volumes import Volumes

log = logging.getLogger(__name__)
Found = TypeVar("Found")

SHORT_SECONDS: Final = 0.05
PENDING_SECONDS: Final = 1.0
DEFAULT_GRACE_SECONDS: Final = 30.0
HEALTHY_SECONDS: Final = 600.0
"""A container that ran so long starts its restart delays anew, as the kubelet has it."""
PULL_SHOWN_SECONDS: Final = 1.0
"""How long a failed pull shows as ErrImagePull before it shows as ImagePullBackOff."""


@dataclass(frozen=True, slots=True)
class Delays:
    """Pauses in seconds: (first, longest) before a restart and before looking again for what is missing; the grace of a shutdown."""

    restart: tuple[float, float] = (10.0, 300.0)
    missing: tuple[float, float] = (0.5, 3.0)
    shutdown_grace: float = 5.0


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every pod of the node works with. `slots` limits how many run at a time."""

    api: Api
    launcher: Launcher
    records: Records
    images: ImageMap
    folder: Path
    slots: asyncio.Semaphore
    delays: Delays = Delays()

    def pod_folder(self, uid: str) -> Path:
        return self.folder / "pods" / uid

    @property
    def claims(self) -> Path:
        """Where the folders of PersistentVolumeClaims are."""
        return self.folder / "claims"

    def sandbox(self, uid: str, container: Obj, restarts: int) -> Sandbox:
        """Return where a run of a container lies, or will lie; the first is number 0."""
        return Sandbox(container, self.pod_folder(uid), restarts)


class PodRunner:
    """Runs one pod, once. `update` and `gone` tell it what the watch says; `run` returns when the outcome is in the pod's status."""

    def __init__(self, pod: Obj, shop: Workshop) -> None:
        self._shop = shop
        self._uid: str = pod["metadata"]["uid"]
        self._state = PodState.of(pod)
        self._reporter = Reporter(pod, self._state, shop.api)
        self._references = References(shop.api, pod)
        self._volumes: dict[str, Path] = {}
        self._processes: dict[str, ContainerProcess] = {}
        self._changed = asyncio.Event()
        self._shutting_down = False

    @property
    def pod(self) -> Obj:
        return self._reporter.pod

    def update(self, pod: Obj) -> None:
        """Take a newer version of the pod; an older one is ignored."""
        if self._reporter.take(pod):
            self._changed.set()

    def gone(self) -> None:
        """The object is no more: kill what runs, and tell nobody."""
        self._reporter.gone = True
        self._changed.set()

    def shut_down(self) -> None:
        """The node ends: stop the pod as a disruption, which does not have to count against its Job's retries."""
        self._shutting_down = True
        self._changed.set()

    def is_running(self, name: str) -> bool:
        """Tell whether a container may still write to its log."""
        return name in self._processes and not self._processes[name].ended

    async def run(self) -> None:
        """Bring the pod to its end and report it; nothing of it runs afterwards."""
        if is_terminal(self.pod):
            return
        if self._shop.records.has_begun(self._uid):
            self._reporter.state = self._state = self._find_lost()
        else:
            await self._live()
            if self._shutting_down and not self._shop.records.has_begun(self._uid):
                return  # nothing was executed: the next agent takes it from here
        await self._reporter.report()
        await asyncio.to_thread(self._clean_up)

    # ---------------------------------------------------------------------------------------------------- the whole

    async def _live(self) -> None:
        """Execute until the end, or until something else ends it."""
        self._state.started_at = datetime.now(UTC)
        self._reporter.report_later(PENDING_SECONDS)
        work, end = asyncio.create_task(self._execute()), asyncio.create_task(self._wanted_end())
        try:
            await asyncio.wait({work, end}, return_when=asyncio.FIRST_COMPLETED)
            reason = "" if work.done() else end.result()
        finally:
            work.cancel()
            end.cancel()
            await asyncio.wait({work, end})
        await self._stop(reason)
        self._judge(reason, None if work.cancelled() else work.exception())

    async def _execute(self) -> None:
        """Do what the pod asks for, in order; returns when its containers have ended for good."""
        async with self._shop.slots, asyncio.TaskGroup() as sidecars:
            self._volumes = await self._once_there(self._prepare_volumes, self._state.containers, "ContainerCreating")
            beside = []
            for init in self._state.inits:
                process = await self._launch(init)
                if init.is_sidecar:
                    beside.append(sidecars.create_task(self._keep(init, process)))
                    continue
                await self._keep(init, process)
                if not init.succeeded:
                    break
            else:
                await self._run_mains()
            for task in beside:
                task.cancel()

    async def _run_mains(self) -> None:
        for main in self._state.mains:
            main.state = Waiting("ContainerCreating")
        async with asyncio.TaskGroup() as group:
            for main in self._state.mains:
                group.create_task(self._run(main))

    async def _wanted_end(self) -> str:
        """Wait until something other than the containers ends the pod; returns what."""
        while True:
            self._changed.clear()
            if self._reporter.gone:
                return "gone"
            if self.pod["metadata"].get("deletionTimestamp"):
                return "deleted"
            if self._shutting_down:
                return "shutdown"
            left = self._until_deadline()
            if left is not None and left <= 0:
                return "deadline"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)

    def _until_deadline(self) -> float | None:
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        if seconds is None or self._state.started_at is None:
            return None
        return (self._state.started_at + timedelta(seconds=seconds) - datetime.now(UTC)).total_seconds()

    def _judge(self, reason: str, fault: BaseException | None) -> None:
        """Write the end of the pod as a whole into the state."""
        self._state.finished = True
        if fault is not None:
            log.error("pod %s: the node could not run it", self._reporter.path, exc_info=fault)
            self._state.failure = ("NodeError", f"the node could not run the pod: {fault!r}")
        elif reason == "deadline":
            self._state.failure = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
        elif reason == "shutdown":
            self._state.disrupted = "Pod was terminated in response to imminent node shutdown."
            self._state.failure = ("Terminated", self._state.disrupted)

    def _find_lost(self) -> PodState:
        """Work out how a pod ended that a former agent had begun: as the shims wrote it down, the rest is unknown."""
        ends = {}
        for container in self._state.containers:
            sandbox = Sandbox.newest(container.spec, self._shop.pod_folder(self._uid))
            with contextlib.suppress(FileNotFoundError, ValueError):  # there is none, or the disk was full
                if sandbox is not None:
                    ends[container.name] = _terminated(sandbox, Exit.of(orjson.loads(sandbox.exit_file.read_bytes())), "")
        return unfinished_as_lost(self.pod, ends, datetime.now(UTC))

    def _clean_up(self) -> None:
        """Remove what only running containers need; logs and exit records stay until the pod object goes."""
        shutil.rmtree(self._shop.pod_folder(self._uid) / "volumes", ignore_errors=True)
        for container in self._state.containers:
            for restarts in range(container.restarts + 1):
                self._shop.sandbox(self._uid, container.spec, restarts).discard()

    # ------------------------------------------------------------------------------------------------ one container

    async def _run(self, container: Container) -> None:
        await self._keep(container, await self._launch(container))

    async def _keep(self, container: Container, process: ContainerProcess) -> None:
        """Follow a container, and start it again as long as the restart policy wants it, with growing pauses."""
        failures = 0
        while True:
            await process.wait()
            end = self._settle(container)
            self._reporter.report_later(SHORT_SECONDS)
            if not self._restarts(container, end):
                return
            failures = 1 if (end.finished_at - end.started_at).total_seconds() > HEALTHY_SECONDS else failures + 1
            container.last = end
            await self._pause_before_restart(container, failures)
            container.restarts += 1
            process = await self._launch(container)

    def _restarts(self, container: Container, end: Terminated) -> bool:
        policy = "Always" if container.is_sidecar else self.pod["spec"].get("restartPolicy") or "Always"
        return policy != "Never" and (end.exit_code != 0 or (policy == "Always" and (container.is_sidecar or not container.is_init)))

    async def _pause_before_restart(self, container: Container, failures: int) -> None:
        """The first restart is immediate, the second after the base delay, then doubling (kubelet's image and restart back-off)."""
        base, longest = self._shop.delays.restart
        if failures < 2:
            return
        seconds = min(base * 2 ** (failures - 2), longest)
        metadata = self.pod["metadata"]
        pod = f"{metadata['name']}_{metadata['namespace']}({self._uid})"
        await self._wait(
            container, Waiting("CrashLoopBackOff", f"back-off {seconds:g}s restarting failed container={container.name} pod={pod}")
        )
        await asyncio.sleep(seconds)

    async def _launch(self, container: Container) -> ContainerProcess:
        """Start a container as soon as all that it needs is there, and take it to Running. That it is begun is on the disk before."""
        sandbox = self._shop.sandbox(self._uid, container.spec, container.restarts)

        async def prepare() -> Command:
            image = self._shop.images.resolve(container.spec.get("image", ""), has_command=bool(container.spec.get("command")))
            return await sandbox.prepare(image, self._volumes, self._references)

        command = await self._once_there(prepare, [container], "CreateContainerConfigError")
        process = await self._shop.launcher.start(command, after=self._shop.records.begin(self._uid))
        self._processes[container.name] = process
        container.container_id = f"{RUNTIME}://{self._uid}/{container.name}/{container.restarts}"
        since = await process.started()
        if since is not None:
            container.state = Running(since)
            self._reporter.report_later(SHORT_SECONDS)
        return process

    def _settle(self, container: Container) -> Terminated:
        """Take a container whose command has ended to Terminated."""
        sandbox = self._shop.sandbox(self._uid, container.spec, container.restarts)
        end = _terminated(sandbox, self._processes[container.name].exit, container.container_id)
        container.state = end
        return end

    async def _prepare_volumes(self) -> dict[str, Path]:
        return await Volumes(self._references, self._shop.pod_folder(self._uid) / "volumes", self._shop.claims).prepare()

    async def _once_there(self, attempt: Callable[[], Awaitable[Found]], waiting: list[Container], reason: str) -> Found:
        """Try until nothing is missing; meanwhile the containers wait, and their status says for what."""
        pause, longest = self._shop.delays.missing
        while True:
            try:
                return await attempt()
            except ImageError as fault:
                await self._show_pull(waiting[0], fault)
            except ReferenceMissing as fault:
                for container in waiting:
                    await self._wait(container, Waiting(reason, str(fault)))
            except TRANSIENT as fault:
                log.info("pod %s: %s", self._reporter.path, fault)
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)
            self._references = References(self._shop.api, self.pod)

    async def _show_pull(self, container: Container, fault: ImageError) -> None:
        if fault.reason != "ErrImagePull":
            await self._wait(container, Waiting(fault.reason, fault.message))
        elif not (isinstance(container.state, Waiting) and container.state.reason == "ImagePullBackOff"):
            await self._wait(container, Waiting(fault.reason, fault.message))
            await asyncio.sleep(PULL_SHOWN_SECONDS)
            image = container.spec.get("image", "")
            await self._wait(container, Waiting("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {fault.message}'))

    async def _wait(self, container: Container, state: Waiting) -> None:
        container.state = state
        await self._reporter.report()

    # -------------------------------------------------------------------------------------------------------- ending

    async def _stop(self, reason: str) -> None:
        """End what still runs: SIGTERM to each group, SIGKILL to all descendants after the grace, which a second deletion can shorten."""
        running = {name: process for name, process in self._processes.items() if not process.ended}
        began = asyncio.get_running_loop().time()
        if running and self._grace(reason) > 0:
            for process in running.values():
                process.signal(signal.SIGTERM)
            await self._until_ended(running, lambda: began + self._grace(reason))
        for process in running.values():
            process.signal(signal.SIGKILL)
        for process in running.values():
            await process.wait()
        for container in self._state.containers:
            if container.name in self._processes and not isinstance(container.state, Terminated):
                self._settle(container)

    async def _until_ended(self, running: dict[str, ContainerProcess], deadline: Callable[[], float]) -> None:
        ends = asyncio.create_task(_all_ended(running))
        try:
            while not ends.done() and (left := deadline() - asyncio.get_running_loop().time()) > 0:
                self._changed.clear()
                changed = asyncio.create_task(self._changed.wait())
                await asyncio.wait({ends, changed}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
        finally:
            ends.cancel()

    def _grace(self, reason: str) -> float:
        """Return how many seconds the containers have from SIGTERM to SIGKILL."""
        if self._reporter.gone:
            return 0.0
        spec_seconds = self.pod["spec"].get("terminationGracePeriodSeconds")
        usual = DEFAULT_GRACE_SECONDS if spec_seconds is None else float(spec_seconds)
        asked = self.pod["metadata"].get("deletionGracePeriodSeconds")
        grace = usual if asked is None else float(asked)
        return min(grace, self._shop.delays.shutdown_grace) if reason == "shutdown" or self._shutting_down else grace


async def _all_ended(running: dict[str, ContainerProcess]) -> None:
    for process in running.values():
        await process.wait()


def _terminated(sandbox: Sandbox, end: Exit, container_id: str) -> Terminated:
    if end.fault:
        return Terminated(
            end.code, "StartError", finished_at=end.at, message=f"failed to create containerd task: {end.fault}", container_id=container_id
        )
    if end.lost:
        return Terminated(
            end.code,
            "ContainerStatusUnknown",
            message="The container's supervisor was killed, and the container with it",
            container_id=container_id,
        )
    reason = "Completed" if end.code == 0 else "Error"
    return Terminated(end.code, reason, end.since, end.at, sandbox.termination_message(end.code), container_id)
