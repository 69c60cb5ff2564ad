"""What follows once there is a cluster with the images on its nodes, whichever cluster: install the chart, check it, sell something.

The operator runs as a pod in a namespace that enforces the restricted Pod Security Standard, with the chart's own service account and rights.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.tools import helm, kubectl

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "backstay"
ORDER = ROOT / "examples" / "order"
RELEASE = "backstay"
NAMESPACE = "backstay-system"
SHOP = "shop"
RUNS = {"good": "Succeeded", "shipping-fails": "Failed"}
"""The orders of the example that are placed, and how each must end."""

_LIMIT_SECONDS = 240

Say = Callable[[str], None]


class DeployError(RuntimeError):
    """A step did not do what it must; the message has the command and what it said."""


class Deployment:
    """The steps, on the cluster of a kubeconfig. Each may be repeated."""

    def __init__(self, kubeconfig: Path, say: Say) -> None:
        self._kubeconfig = kubeconfig
        self._say = say

    def install(self, *options: str, chart: Path = CHART) -> None:
        """Install or upgrade the chart and wait until the operator is ready; `options` go to helm."""
        self._say(f"installing the chart into namespace {NAMESPACE}")
        self.restricted_namespace(NAMESPACE)
        wait = ["--wait", "--timeout", "120s", "--set", "image.tag=dev"]
        self._helm("upgrade", "--install", RELEASE, str(chart), *wait, *options)

    def check(self) -> str:
        """Run the chart's own test and return what it says."""
        self._say("helm test: a hello workflow")
        return self._helm("test", RELEASE, "--logs", "--timeout", "120s")

    def uninstall(self) -> str:
        """Uninstall the chart and return what helm says of what stays."""
        return self._helm("uninstall", RELEASE, "--wait", "--timeout", "120s")

    def sell(self) -> None:
        """Open the shop of examples/order and place an order that goes well and one that is undone."""
        self._say(f"opening the shop of examples/order in namespace {SHOP}")
        self.restricted_namespace(SHOP)
        self.kubectl("apply", "-n", SHOP, "-f", str(ORDER / "shop.yaml"))
        address = self.kubectl("get", "-n", SHOP, "service", "shop", "-o", "jsonpath={.spec.clusterIP}")
        # By address, not by name: not every cluster for tests has a DNS server.
        books = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop"}, "data": {"database": f"http://{address}:8080"}}
        self.kubectl("apply", "-n", SHOP, "-f", "-", text=json.dumps(books))
        self.kubectl("rollout", "status", "-n", SHOP, "deployment/shop", "--timeout", "120s")
        self.kubectl("apply", "-n", SHOP, "-f", str(ORDER / "workflow.yaml"))
        for example, expected in RUNS.items():
            self._order(example, expected)

    def restricted_namespace(self, name: str) -> None:
        """Make a namespace, if it is not there, that admits nothing but restricted pods."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        self.kubectl("apply", "-f", "-", text=json.dumps(manifest))

    def kubectl(self, *arguments: str, text: str = "") -> str:
        """Run kubectl and return what it prints; raises DeployError."""
        return self._run([str(kubectl()), "--kubeconfig", str(self._kubeconfig), *arguments], text)

    def _order(self, example: str, expected: str) -> None:
        manifest = ORDER / "runs" / f"{example}.yaml"
        name = self.kubectl("apply", "-n", SHOP, "-f", str(manifest), "-o", "jsonpath={.metadata.name}")
        self.kubectl("wait", "-n", SHOP, f"wfrun/{name}", "--for=condition=Complete", "--timeout", "180s")
        phase = self.kubectl("get", "-n", SHOP, f"wfrun/{name}", "-o", "jsonpath={.status.phase}")
        self._say(self._run([sys.executable, "-m", "backstay.cli.main", "tree", "--kubeconfig", str(self._kubeconfig), "-n", SHOP, name]))
        if phase != expected:
            raise DeployError(f"the order {name} ended as {phase}, not as {expected}; `kubectl describe -n {SHOP} wfrun/{name}` shows why")

    def _helm(self, *arguments: str) -> str:
        return self._run([str(helm()), "--kubeconfig", str(self._kubeconfig), "--namespace", NAMESPACE, *arguments])

    def _run(self, command: list[str], text: str = "") -> str:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False)
        if done.returncode:
            raise DeployError(f"{' '.join(command)} ended with code {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout
