"""Who can be measured: this checkout, another Backstay, or the controller of Argo Workflows, whose binary is given."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from backstay.kube.resources import Resource
from tests.bench.load import OURS, Kind, Object, workflow
from tests.bench.record import AGENT
from tests.cluster.processes import end_child, tail
from tests.support.bound import spawn_bound
from tests.support.cluster import CRDS, Cluster, Place, condition
from tests.support.waiting import wait_for


@dataclass(frozen=True)
class Peer(ABC):
    """Somebody who carries out workflows, as one process: `program` with the arguments that it needs, and then `arguments`, which win."""

    name: str
    program: Sequence[str | Path]
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    agent: str = ""
    """What the user agent of its requests holds."""

    @contextmanager
    def working(self, cluster: Cluster) -> Iterator[int]:
        """Install it into a cluster, and have it work there while the block lasts; gives its process id."""
        self.install(cluster)
        log = cluster.folder / f"{self.name}.log"
        process = spawn_bound([*self.program, *self.needed(cluster), *self.arguments], log, self.environment)
        try:
            yield process.pid
            assert process.poll() is None, f"{self.name} ended with code {process.returncode}; it says\n{tail(log)}"
        except AssertionError as error:
            error.add_note(f"{self.name} says\n{tail(log)}")
            raise
        finally:
            end_child(process)

    @abstractmethod
    def install(self, cluster: Cluster) -> None:
        """Make what it needs in the cluster."""

    @abstractmethod
    def needed(self, cluster: Cluster) -> Sequence[str]:
        """Return the arguments that it needs."""

    @abstractmethod
    def prepare(self, place: Place, steps: int) -> Kind:
        """Make what runs of so many steps in a row need in a namespace, and return what such a run is."""


# ------------------------------------------------------------------------------------------------------------ Backstay


@dataclass(frozen=True)
class Backstay(Peer):
    """A Backstay: this one, or another release of it with its own CRDs."""

    agent: str = AGENT
    crds: Path = CRDS

    def install(self, cluster: Cluster) -> None:
        cluster.kubectl("apply", "--server-side", "-f", str(self.crds))
        wait_for(lambda: _established(cluster, "workflowruns.backstay.dev"), what="the CRDs are not established")

    def needed(self, cluster: Cluster) -> Sequence[str]:
        return ["operator", "--kubeconfig", str(cluster.kubeconfig), "--metrics-port", "0", "--health-port", "0"]

    def prepare(self, place: Place, steps: int) -> Kind:
        place.create(workflow("w", steps))
        wait_for(lambda: place.workflow("w").get("status", {}).get("revision"), 60, what="the workflow has no revision")
        return OURS


def _established(cluster: Cluster, name: str) -> bool:
    crd = cluster.api.get("customresourcedefinitions", None, name)
    return crd is not None and condition(crd, "Established") == "True"


# ---------------------------------------------------------------------------------------------------------------- Argo

ARGO: Final = Resource("argoproj.io", "v1alpha1", "workflows", "Workflow")
TUNED: Final = ("--qps=500", "--burst=1000", "--workflow-workers=64", "--pod-cleanup-workers=16")
"""As Argo's page on scaling advises (docs/scaling.md there): without its client's own limit of 20 requests a second, which is the first to bite."""
_TUNED_ENVIRONMENT: Final = {"DEFAULT_REQUEUE_TIME": "100ms"}
"""Its workflow queue otherwise looks at a workflow once in ten seconds."""
_ARGO_NAMESPACE: Final = "argo"
_ARGO_KINDS: Final = {
    "workflows": ("Workflow", "Namespaced", False),
    "workflowtemplates": ("WorkflowTemplate", "Namespaced", False),
    "clusterworkflowtemplates": ("ClusterWorkflowTemplate", "Cluster", False),
    "cronworkflows": ("CronWorkflow", "Namespaced", False),
    "workfloweventbindings": ("WorkflowEventBinding", "Namespaced", False),
    "workflowtaskresults": ("WorkflowTaskResult", "Namespaced", False),
    "workflowtasksets": ("WorkflowTaskSet", "Namespaced", True),
    "workflowartifactgctasks": ("WorkflowArtifactGCTask", "Namespaced", True),
}
"""Kind, scope, and whether it has a status of its own; without schemas, as in Argo's minimal CRDs (manifests/base/crds/minimal there)."""


@dataclass(frozen=True)
class Argo(Peer):
    """The controller of Argo Workflows, one replica that elects nobody. Its pods succeed without its executor: they have no outputs."""

    agent: str = "argo-controller"
    crds: Path | None = None
    """Its release's own CRDs, where ours are not to stand for them."""

    def install(self, cluster: Cluster) -> None:
        if self.crds:
            cluster.kubectl("apply", "--server-side", "-f", str(self.crds))
        else:
            for plural, (kind, scope, has_status) in _ARGO_KINDS.items():
                cluster.kubectl("apply", "--server-side", "-f", "-", given=_argo_crd(plural, kind, scope, has_status))
        for plural in _ARGO_KINDS:
            wait_for(partial(_established, cluster, f"{plural}.{ARGO.group}"), what=f"the CRD of {plural} is not established")
        cluster.kubectl("create", "namespace", _ARGO_NAMESPACE)
        config = {"metricsConfig": "enabled: false"}
        meta = {"name": "workflow-controller-configmap", "namespace": _ARGO_NAMESPACE}
        cluster.kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": config})

    def needed(self, cluster: Cluster) -> Sequence[str]:
        where = ["--kubeconfig", str(cluster.kubeconfig), "--namespace", _ARGO_NAMESPACE]
        return [*where, "--executor-image", "fake:1", "--loglevel", "error"]

    def prepare(self, place: Place, steps: int) -> Kind:
        return Kind(ARGO, partial(_argo_workflow, steps), _argo_phase_at_end)


def argo(binary: Path, arguments: Sequence[str], crds: Path | None = None) -> list[Peer]:
    """Return Argo as it is delivered, and tuned; `arguments` come on top of both."""
    alone = {"LEADER_ELECTION_DISABLE": "true"}
    return [
        Argo("argo", [binary], arguments, alone, crds=crds),
        Argo("argo_tuned", [binary], [*TUNED, *arguments], alone | _TUNED_ENVIRONMENT, crds=crds),
    ]


def _argo_crd(plural: str, kind: str, scope: str, has_status: bool) -> Object:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": ARGO.version, "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
    spec = {
        "group": ARGO.group,
        "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
        "scope": scope,
        "versions": [version | ({"subresources": {"status": {}}} if has_status else {})],
    }
    meta = {"name": f"{plural}.{ARGO.group}"}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": meta, "spec": spec}


def _argo_workflow(steps: int, name: str) -> Object:
    """A workflow of the same shape as ours; its definition is in it, which costs Argo less than a template that it has to look up."""
    container = {"container": {"image": "fake:1", "command": ["true"]}}
    one = {"name": "one", **container}
    row = {"name": "row", "steps": [[{"name": f"s{number}", "template": "one"}] for number in range(1, steps + 1)]}
    spec = {"entrypoint": "one", "templates": [one]} if steps == 1 else {"entrypoint": "row", "templates": [row, one]}
    return {"apiVersion": f"{ARGO.group}/{ARGO.version}", "kind": ARGO.kind, "metadata": {"name": name}, "spec": spec}


def _argo_phase_at_end(found: Object) -> str | None:
    phase = str(found.get("status", {}).get("phase", ""))
    return phase if phase in ("Succeeded", "Failed", "Error") else None
