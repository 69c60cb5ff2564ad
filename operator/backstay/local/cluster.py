"""The embedded cluster in one process: API server, Job controller, scheduler and a node. For laptops and tests, and for nothing else.

    python -m backstay.local.cluster --data DIR --kubeconfig FILE

Prints one line when it is ready, and ends in order on SIGTERM or SIGINT: its pods as disruptions, then everything else. Started again with the
same DIR it goes on where it stopped, also after `kill -9`. Ends with 0, with 1 when it could not run, with 2 for a wrong command line.
"""

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import uvloop

from backstay.errors import BackstayError
from backstay.kube.login import Access
from backstay.local.apiserver.server import NotLoopback, Server, serve
from backstay.local.apiserver.store import InUse
from backstay.local.controllers.job_plan import Backoff
from backstay.local.controllers.manager import running_controllers
from backstay.local.node.agent import NodeOptions, running_node
from backstay.local.node.arguments import add_node_arguments, capacity_from
from backstay.local.node.pod import Delays

DESCRIPTION: Final = """A Kubernetes cluster in one process: for laptops and tests.
Pods run as processes of this machine and as this user. Nothing listens beyond loopback."""


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """How a cluster is set up. `port` 0 is the one that the same `data` had before, else any free one."""

    data: Path
    port: int = 0
    kubeconfig: Path | None = None
    image_map: Path | None = None
    missing_images: Sequence[str] = ()
    node: str = "local"
    max_pods: int = 110
    capacity: dict[str, str] = field(default_factory=dict)
    audit_log: Path | None = None
    delays: Delays = field(default_factory=Delays)
    backoff: Backoff = field(default_factory=Backoff)


class EmbeddedCluster:
    """A running cluster; an async context manager. Inside, `server` is the API server, and the node is Ready.

    Raises:
        InUse: another process has the data folder.
        NodeBusy: containers of an earlier cluster are still there.
        OSError: the port is taken.
        ValueError: the image map is none.
    """

    server: Server

    def __init__(self, options: ClusterOptions) -> None:
        self._options = options
        self._parts = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        options = self._options
        options.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with contextlib.AsyncExitStack() as parts:
            port = options.port or _former_port(options.data)
            served = serve(options.data, port=port, kubeconfig=options.kubeconfig, audit_log=options.audit_log)
            self.server = await parts.enter_async_context(served)
            _remember_port(options.data, self.server.url)
            access = _access(self.server)
            await parts.enter_async_context(running_controllers(lambda: access, backoff=options.backoff))
            await parts.enter_async_context(running_node(lambda: access, self._node_options()))
            self._parts = parts.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._parts.__aexit__(kind, error, trace)

    def _node_options(self) -> NodeOptions:
        options = self._options
        return NodeOptions(
            name=options.node,
            folder=options.data / "node",
            image_map=options.image_map,
            missing_images=options.missing_images,
            max_pods=options.max_pods,
            capacity=options.capacity,
            client_authority=self.server.credentials.ca_file,
            delays=options.delays,
        )


def _access(server: Server) -> Access:
    """Return how the cluster's own parts reach its API server: as its one user, trusting its one authority."""
    trust = ssl.create_default_context(cafile=str(server.credentials.ca_file))
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return Access(server=server.url, headers=(("Authorization", f"Bearer {server.token}"),), tls=trust)


def _former_port(data: Path) -> int:
    """Return the port that this cluster had, so that clients find it again; 0 where there was none or another program has it now."""
    try:
        port = int((data / "port").read_text())
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except (OSError, ValueError):
        return 0
    return port


def _remember_port(data: Path, url: str) -> None:
    (data / "port").write_text(url.rpartition(":")[2])


# ---------------------------------------------------------------------------------------------------------- command line


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m backstay.local.cluster", description=DESCRIPTION)
    options.add_argument("--data", type=Path, required=True, metavar="DIR", help="where the cluster keeps everything; made if need be")
    options.add_argument("--kubeconfig", type=Path, metavar="FILE", help="where to write the kubeconfig (default: DIR/kubeconfig)")
    options.add_argument("--port", type=int, default=0, help="on loopback; 0 is the one of last time, or any free one (default)")
    options.add_argument("--audit-log", type=Path, metavar="FILE", help="append a JSON line for every write")
    options.add_argument(
        "--job-backoff",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="before a Job's pod is replaced that failed; doubles (default: %(default)s)",
    )
    options.add_argument("--node", default="local", metavar="NAME", help="name of the node (default: %(default)s)")
    add_node_arguments(options)
    return options


def options_from(arguments: argparse.Namespace) -> ClusterOptions:
    return ClusterOptions(
        data=arguments.data.absolute(),
        port=arguments.port,
        kubeconfig=arguments.kubeconfig,
        image_map=arguments.image_map,
        missing_images=arguments.missing_images,
        node=arguments.node,
        max_pods=arguments.max_pods,
        capacity=capacity_from(arguments),
        audit_log=arguments.audit_log,
        backoff=Backoff(base_seconds=arguments.job_backoff),
    )


async def run(options: ClusterOptions) -> None:
    """Run a cluster until a signal asks for its end."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with EmbeddedCluster(options) as cluster:
        print(f"the cluster is ready at {cluster.server.url}, kubeconfig {cluster.server.kubeconfig}", flush=True)  # noqa: T201
        await stop.wait()


def main() -> int:
    arguments = parser().parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    try:
        uvloop.run(run(options_from(arguments)))
    except (BackstayError, InUse, NotLoopback, OSError, ValueError) as fault:
        print(f"backstay cluster: {fault}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
