"""One command from a fresh checkout to an order in real containers; `make cluster` and `make kind` run it.

python -m tests.cluster up [--with containers|kind]      bring a cluster up, install the chart, run the order example
python -m tests.cluster down [--with containers|kind]    take it away again
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster.build import BuildError
from tests.cluster.cgroups import GroupsLeft
from tests.cluster.control_plane import ControlPlaneError
from tests.cluster.deploy import DeployError, Deployment
from tests.cluster.network import NetworkError
from tests.cluster.node import NodeError
from tests.cluster.packages import PackagesMissing
from tests.cluster.processes import ProcessesLeft
from tests.cluster.providers import FOLDER, Containers, Kind, Provider, ToolMissing
from tests.support import tools
from tests.support.cache import CacheBusy

_TOLD = (
    BuildError,
    CacheBusy,
    ControlPlaneError,
    DeployError,
    GroupsLeft,
    NetworkError,
    NodeError,
    PackagesMissing,
    ProcessesLeft,
    ToolMissing,
    subprocess.CalledProcessError,
    tools.ToolMissing,
)
"""Errors whose message says what to do: shown without a traceback."""


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description="A cluster with real containers, and Backstay in it.")
    parser.add_argument("command", choices=["up", "down"])
    parser.add_argument("--with", dest="kind", choices=["containers", "kind"], default="containers", help="default: containers, no Docker")
    parser.add_argument("--bare", action="store_true", help="the cluster and the images only: install nothing")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where its state is (default: .backstay/cluster of the checkout)")
    parser.add_argument("--nodes", type=int, default=2, help="of a cluster without Docker (default: 2); kind's are in kind-config.yaml")
    asked = parser.parse_args()
    provider: Provider = Kind(asked.folder) if asked.kind == "kind" else Containers(asked.folder, asked.nodes)
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - began:5.1f} s] {line}", flush=True)

    try:
        if asked.command == "down":
            provider.down(say)
            return
        provider.up(say)
        if not asked.bare:
            deployment = Deployment(provider.kubeconfig, say)
            deployment.install()
            say(deployment.check())
            deployment.sell()
        say(f"all is there; look at it with\n\n  export KUBECONFIG={provider.kubeconfig}\n  kubectl get wfrun -A\n")
    except _TOLD as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
