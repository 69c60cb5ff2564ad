"""The operator as a pod of the chart's Deployment: killed, kept away, and started again, as OperatorProcess is."""

from tests.cluster.containers import ContainerCluster
from tests.cluster.deploy import NAMESPACE, RELEASE
from tests.support.api import Object
from tests.support.kubectl import Kubectl
from tests.support.waiting import wait_for

_LIMIT_SECONDS = 60
_PODS = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=operator"


class OperatorPod:
    """The operator of an installed chart. `starts` counts how often it was started."""

    def __init__(self, cluster: ContainerCluster) -> None:
        self._cluster = cluster
        self._kubectl = Kubectl(cluster.kubeconfig, NAMESPACE)
        self.starts = 1
        self.is_running = True

    def start(self, *, ready: bool = True) -> None:
        """Ask for one replica; with `ready` return only when it knows what is in the cluster."""
        assert not self.is_running, "it runs already"
        self.starts += 1
        self.is_running = True
        self._kubectl("scale", "deployment", RELEASE, "--replicas=1")
        if ready:
            self._kubectl("rollout", "status", "deployment", RELEASE, f"--timeout={_LIMIT_SECONDS}s")

    def kill9(self) -> None:
        """Kill its process between any two instructions, and return when nothing of it is left and no other comes.

        It stands still first: asked to end, which taking the replica away does, it would be gone in an orderly way before it could be killed;
        and killed before that, it would be started again.
        """
        if not self.is_running:
            return
        self.is_running = False
        stopped = self.pods()
        for pod in stopped:
            self._send(pod, "SIGSTOP")
        self._kubectl("scale", "deployment", RELEASE, "--replicas=0")
        for pod in stopped:
            self._send(pod, "SIGKILL")
            self._kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force", "--ignore-not-found")
        wait_for(lambda: not self.pods(), _LIMIT_SECONDS, what=lambda: f"its pods are still there: {self.pods()}")

    def restart(self) -> None:
        """Kill it and start the next one."""
        self.kill9()
        self.start()

    def pods(self) -> list[Object]:
        """Return the operator's pods."""
        return self._kubectl.json("get", "pods", "-l", _PODS)["items"]

    def log(self) -> str:
        """Return what the pod that runs has said."""
        return self._kubectl("logs", f"deployment/{RELEASE}", "--tail=-1")

    def _send(self, pod: Object, signal: str) -> None:
        node = next((node for node in self._cluster.nodes if node.name == pod["spec"].get("nodeName")), None)
        containers = pod["status"].get("containerStatuses") or []
        for container in (one for one in containers if "running" in one["state"] and node is not None):
            assert node is not None
            task = container["containerID"].removeprefix("containerd://")
            node.run("ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", signal, task)
