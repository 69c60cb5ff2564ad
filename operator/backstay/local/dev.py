"""`backstay dev`: the embedded cluster with the custom resources and the operator, in one terminal. For laptops and tests.

    the embedded cluster (this process) ── pods as processes
      └─ the operator (a process of its own, started again when it ends) ── its log, shown here

Everything of it ends with this process, however that ends.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop
import yaml

from backstay import errors
from backstay.api.crd.definitions import definitions
from backstay.kube.backoff import Backoff
from backstay.kube.client import Client, Object
from backstay.kube.login import from_files
from backstay.kube.resources import Resource
from backstay.local.apiserver.store import InUse
from backstay.local.cluster import ClusterOptions, EmbeddedCluster
from backstay.local.node.logs import LogQuery, read_log
from backstay.local.node.process import Command, ContainerProcess, Launcher

Say = Callable[[str], None]
"""Shows a line to whoever started it."""

CRDS: Final = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
MANAGER: Final = "backstay-dev"
OPERATOR_PAUSE_SECONDS: Final = (1.0, 30.0)
OPERATOR_HEALTHY_SECONDS: Final = 60.0
OPERATOR_GRACE_SECONDS: Final = 10.0
ESTABLISHED_SECONDS: Final = 10.0
MARK: Final = "cluster.sqlite3"
"""What tells a data folder of a cluster from any other folder."""


class DevFailed(errors.BackstayError):
    """The cluster for development cannot begin; the message says what to do."""


def run(
    *,
    data: Path | None,
    port: int,
    kubeconfig: Path | None,
    with_operator: bool,
    say: Say,
    image_map: Path | None = None,
    manifests: Sequence[Path] = (),
    reset: bool = False,
) -> int:
    """Run the cluster until SIGINT or SIGTERM; returns the exit code, 0.

    Without `data` nothing is kept. `manifests` are files or folders of YAML that are applied once everything is ready. `reset` forgets what
    an earlier cluster kept in `data`.

    Raises:
        DevFailed: the folder is in use or not one of ours, the port is taken, or a file is wrong.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        given = [(file, manifest) for file in _files(manifests) for manifest in _documents(file)]
        with _folder(data, reset=reset) as folder:
            options = ClusterOptions(folder.absolute(), port=port, kubeconfig=kubeconfig, image_map=image_map)
            uvloop.run(_Dev(options, say, kept=data is not None).run(given, with_operator=with_operator))
    except (InUse, OSError, ValueError) as fault:
        raise DevFailed(str(fault)) from fault
    return 0


@contextlib.contextmanager
def _folder(data: Path | None, *, reset: bool) -> Iterator[Path]:
    if data is None:
        with tempfile.TemporaryDirectory(prefix="backstay-dev-") as folder:
            yield Path(folder)
        return
    if reset and data.exists():
        if not (data / MARK).exists() and any(data.iterdir()):
            raise DevFailed(
                f"{data} does not look like a cluster's folder, so it is not emptied; name the folder that `backstay dev --data` made"
            )
        shutil.rmtree(data)
    yield data


@dataclass(frozen=True, slots=True)
class _Dev:
    """One session, from start to Ctrl-C."""

    options: ClusterOptions
    say: Say
    kept: bool

    async def run(self, manifests: Sequence[tuple[Path, Object]], *, with_operator: bool) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with EmbeddedCluster(self.options) as cluster:
            kubeconfig = cluster.server.kubeconfig.absolute()
            async with Client(await asyncio.to_thread(from_files, str(kubeconfig))) as client:
                await _install(client)
                self._greet(kubeconfig)
                operator = asyncio.create_task(self._operate(kubeconfig, stop)) if with_operator else None
                await self._apply(client, manifests)
                await stop.wait()
                self.say("stopping")
                if operator is not None:
                    await operator

    def _greet(self, kubeconfig: Path) -> None:
        kept = f"its state is kept in {self.options.data}" if self.kept else "its state goes with it; --data DIR would keep it"
        self.say("a cluster for laptops and tests: pods run as processes of this machine and as you; nothing listens beyond loopback")
        self.say(f"{kept}; Ctrl-C ends it")
        self.say(f"export KUBECONFIG={kubeconfig}")

    # ----------------------------------------------------------------------------------------------------- manifests

    async def _apply(self, client: Client, manifests: Sequence[tuple[Path, Object]]) -> None:
        """Apply what was named on the command line. What is refused is told, and the rest is applied all the same."""
        for file, manifest in manifests:
            name = f"{manifest.get('kind', '?')} {(manifest.get('metadata') or {}).get('name', '?')}"
            try:
                await _apply(client, manifest)
            except errors.ApiError as fault:
                self.say(f"{file}: {name} is refused: {fault.message}")
            else:
                self.say(f"{file}: {name} is applied")

    # ------------------------------------------------------------------------------------------------------ operator

    async def _operate(self, kubeconfig: Path, stop: asyncio.Event) -> None:
        """Keep an operator running until it is time to stop. It dies with this process, as the containers do."""
        launcher, folder = Launcher(), self.options.data / "operator"
        folder.mkdir(exist_ok=True)
        await launcher.open(folder)
        backoff = Backoff(*OPERATOR_PAUSE_SECONDS)
        try:
            while not stop.is_set():
                process = await launcher.start(_operator_command(kubeconfig, folder), after=asyncio.sleep(0))
                showing = asyncio.create_task(self._show_log(folder / "operator.log", process))
                end = await _ended_or_stopped(process, stop)
                await showing
                if stop.is_set():
                    return
                if (end.at - end.since).total_seconds() > OPERATOR_HEALTHY_SECONDS:
                    backoff.reset()
                pause = backoff.next()
                self.say(
                    f"the operator has ended with code {end.code}{f' ({end.fault})' if end.fault else ''}; it is started again in {pause:.1f} s"
                )
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), pause)
        finally:
            await launcher.close()

    async def _show_log(self, log: Path, process: ContainerProcess) -> None:
        await process.started()
        rest = b""
        async for chunk in read_log(log, LogQuery(follow=True), lambda: not process.ended):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self.say(f"operator | {line.decode(errors='replace')}")


def _operator_command(kubeconfig: Path, folder: Path) -> Command:
    argv = [
        sys.executable,
        "-m",
        "backstay.cli.main",
        "operator",
        "--kubeconfig",
        str(kubeconfig),
        "--metrics-port",
        "0",
        "--health-port",
        "0",
    ]
    return Command(argv, dict(os.environ), Path.cwd(), folder / "operator.log", folder / "operator.exit")


async def _ended_or_stopped(process: ContainerProcess, stop: asyncio.Event) -> Any:
    """Wait for the end of the operator; when it is time to stop, ask it to end and insist after a while."""
    ended, stopped = asyncio.create_task(process.wait()), asyncio.create_task(stop.wait())
    await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not ended.done():
        process.signal(signal.SIGTERM)
        await asyncio.wait({ended}, timeout=OPERATOR_GRACE_SECONDS)
        process.signal(signal.SIGKILL)
    return await ended


async def _install(client: Client) -> None:
    """Apply the custom resources that this package knows, and wait until the server serves them."""
    for manifest in definitions().values():
        await client.patch(CRDS, None, manifest["metadata"]["name"], manifest, kind="apply", field_manager=MANAGER, force=True)
    for manifest in definitions().values():
        await _until_established(client, manifest["metadata"]["name"])


async def _until_established(client: Client, name: str) -> None:
    async with asyncio.timeout(ESTABLISHED_SECONDS):
        while True:
            conditions = ((await client.get(CRDS, None, name)).get("status") or {}).get("conditions") or ()
            if any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions):
                return
            await asyncio.sleep(0.05)


async def _apply(client: Client, manifest: Object) -> None:
    """Apply a manifest on the server's side, into the namespace that it names or `default`."""
    resource = await _resource_of(client, str(manifest.get("apiVersion")), str(manifest.get("kind")))
    metadata = manifest.get("metadata") or {}
    namespace = (metadata.get("namespace") or "default") if resource.namespaced else None
    if metadata.get("name"):
        await client.patch(resource, namespace, metadata["name"], manifest, kind="apply", field_manager=MANAGER, force=True)
    else:
        await client.create(resource, namespace, manifest)


async def _resource_of(client: Client, api_version: str, kind: str) -> Resource:
    """Ask the server where it keeps a kind. Raises NotFound for one that it does not serve."""
    found = orjson.loads(await client.text(f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"))
    group, _, version = api_version.rpartition("/")
    for entry in found["resources"]:
        if entry["kind"] == kind and "/" not in entry["name"]:
            return Resource(group, version, entry["name"], kind, namespaced=entry["namespaced"])
    raise errors.NotFound(404, "NotFound", f'no matches for kind "{kind}" in version "{api_version}"')


def _files(manifests: Sequence[Path]) -> Iterator[Path]:
    for path in manifests:
        if path.is_dir():
            yield from sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml", ".json"))
        else:
            yield path


def _documents(file: Path) -> list[Object]:
    try:
        found = list(yaml.safe_load_all(file.read_text()))
    except yaml.YAMLError as fault:
        raise DevFailed(f"{file} is neither YAML nor JSON: {fault}") from fault
    documents = [
        item for document in found if document for item in (document.get("items", ()) if document.get("kind") == "List" else [document])
    ]
    if not all(isinstance(document, dict) for document in documents):
        raise DevFailed(f"{file} holds something that is no manifest")
    return documents
