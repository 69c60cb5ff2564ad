"""`python -m backstay.local.node`: attach a node to the cluster of a kubeconfig, until SIGTERM or SIGINT.

Prints one line when the node is Ready. Ends with 0 after an orderly stop, 1 when it could not run, 2 for a wrong command line.
"""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

import uvloop

from backstay.errors import BackstayError
from backstay.kube.login import Login, find_login
from backstay.local.node.agent import NodeOptions, running_node
from backstay.local.node.arguments import add_node_arguments, capacity_from

DESCRIPTION = """Attach a node that runs pods as processes of this machine: for laptops and tests.
It is no container runtime: a pod sees the files of this machine and runs as the user who started the node."""


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m backstay.local.node", description=DESCRIPTION)
    options.add_argument("--kubeconfig", type=Path, required=True, metavar="FILE")
    options.add_argument("--context", help="of the kubeconfig; by default its current one")
    options.add_argument("--name", required=True, metavar="NODE")
    options.add_argument("--data", type=Path, metavar="DIR", help="the node's folder; default .backstay/nodes/NODE")
    options.add_argument("--kubelet-port", type=int, default=0, metavar="PORT", help="of the log endpoint on loopback; default any")
    options.add_argument("--kubelet-token-file", type=Path, metavar="FILE", help="ask callers of the log endpoint for this bearer token")
    options.add_argument("--kubelet-client-ca", type=Path, metavar="FILE", help="ask them for a certificate of this authority")
    add_node_arguments(options)
    return options


def options_from(arguments: argparse.Namespace) -> NodeOptions:
    return NodeOptions(
        name=arguments.name,
        folder=(arguments.data or Path(".backstay") / "nodes" / arguments.name).absolute(),
        image_map=arguments.image_map,
        missing_images=arguments.missing_images,
        max_pods=arguments.max_pods,
        capacity=capacity_from(arguments),
        port=arguments.kubelet_port,
        kubelet_token=arguments.kubelet_token_file.read_text().strip() if arguments.kubelet_token_file else None,
        client_authority=arguments.kubelet_client_ca,
    )


async def run(login: Login, options: NodeOptions) -> None:
    """Run the node until a signal asks for its end."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running_node(login, options):
        print(f"node {options.name} is ready: pods run as processes below {options.folder}", flush=True)  # noqa: T201
        await stop.wait()


def main() -> int:
    arguments = parser().parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    try:
        uvloop.run(run(find_login(str(arguments.kubeconfig), arguments.context), options_from(arguments)))
    except (BackstayError, OSError, ValueError) as fault:
        print(f"backstay node: {fault}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
