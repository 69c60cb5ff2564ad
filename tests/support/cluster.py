"""A cluster as the scenarios see it, whichever of the two it is: kubectl, a look at objects, the operator's process, and what it wrote."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import yaml

from tests.support.api import Api, Object
from tests.support.kubectl import Kubectl
from tests.support.operator_process import OperatorProcess
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
CRDS = ROOT / "crds"
EXAMPLES = ROOT / "examples"
IMAGES = EXAMPLES / "order" / "images.yaml"
"""What stands for the images of the example shop."""
MISSING_IMAGES = "missing/*"
"""Images that the node of a test cluster cannot pull."""

_KINDS = (
    "workflows.backstay.dev",
    "workflowruns.backstay.dev",
    "workflowjournals.backstay.dev",
    "semaphores.backstay.dev",
    "circuitbreakers.backstay.dev",
    "deadletters.backstay.dev",
)


@dataclass(frozen=True)
class Write:
    """One request that changes something, as the API server's audit log has it."""

    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{f'/{self.subresource}' if self.subresource else ''} {self.name} → {self.code}"


@dataclass
class Cluster:
    """A running API server with the controllers and the node that Jobs need. `kind` is embedded or real."""

    kind: str
    kubeconfig: Path
    folder: Path
    audit_log: Path
    api: Api = field(init=False)
    kubectl: Kubectl = field(init=False)
    operator: OperatorProcess = field(init=False)
    _places: int = 0

    def __post_init__(self) -> None:
        self.api = Api(self.kubeconfig)
        self.kubectl = Kubectl(self.kubeconfig)
        self.operator = OperatorProcess(self.kubeconfig, self.folder, "--metrics-port", "0", "--health-port", "0", environment=QUICK)

    def install(self) -> None:
        """Do what a user does to get Backstay: apply the CRDs, and start the operator."""
        self.apply_crds()
        self.operator.start()

    def apply_crds(self) -> None:
        """Apply the CRDs, and wait until they are served."""
        self.kubectl("apply", "--server-side", "-f", str(CRDS))
        wait_for(self._serves_our_kinds, what="the CRDs are not established")

    def _serves_our_kinds(self) -> bool:
        found = [self.api.get("customresourcedefinitions", None, name) for name in _KINDS]
        return all(crd is not None and condition(crd, "Established") == "True" for crd in found)

    def place(self, purpose: str) -> "Place":
        """Make a namespace of its own for a test."""
        self._places += 1
        name = f"{re.sub(r'[^a-z0-9]+', '-', purpose.lower()).strip('-')[:40].strip('-')}-{self._places}"
        return self._made(name)

    def remade(self, place: "Place") -> "Place":
        """Make a namespace again that was deleted."""
        return self._made(place.name)

    def _made(self, name: str) -> "Place":
        self.api.create("namespaces", None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        # No pod can be made before the namespace has a service account; the Job controller would try again only seconds later.
        wait_for(lambda: self.api.get("serviceaccounts", name, "default"), what=f"no service account in namespace {name}")
        return Place(self, name)

    def shop_address(self, database: Path) -> str:
        """Return where steps find the example's shop, which has its books in `database`: here they run where the file is."""
        return str(database)

    def writes(self, namespace: str) -> list[Write]:
        """Return what the operator asked the API server to change in a namespace, in order, by the server's own record."""
        return [write for agent, write in self._audited() if agent.startswith("backstay/") and write.namespace == namespace]

    def _audited(self) -> Iterator[tuple[str, Write]]:
        with self.audit_log.open() as lines:
            for line in lines:
                if not line.endswith("\n"):
                    return
                event = json.loads(line)
                if event["verb"] not in ("get", "list", "watch"):
                    yield event.get("userAgent", ""), _write_of(event)


QUICK = {"BACKSTAY_MISSING_WORKFLOW_SECONDS": "10", "BACKSTAY_HTTP_ALLOWED_HOSTS": "http://127.0.0.1:*"}
"""How the operator of the tests differs from its defaults: it gives up sooner on a workflow that nobody applies, and may call this machine."""


def _write_of(event: Object) -> Write:
    about = event.get("objectRef") or {}
    return Write(
        verb=event["verb"],
        resource=about.get("resource", ""),
        subresource=about.get("subresource", ""),
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        code=(event.get("responseStatus") or {}).get("code", 0),
    )


@dataclass
class Place:
    """One namespace of a cluster: what a test applies, runs and looks at."""

    cluster: Cluster
    name: str
    kubectl: Kubectl = field(init=False)

    def __post_init__(self) -> None:
        self.kubectl = Kubectl(self.cluster.kubeconfig, self.name)

    # --------------------------------------------------------------------------------------------------------- applying

    def apply(self, *manifests: Object | Path | str) -> str:
        """Apply manifests (objects, YAML text or files) with kubectl, all at once; returns what it prints."""
        found = [document for manifest in manifests for document in documents(manifest)]
        with NamedTemporaryFile("w", suffix=".yaml", dir=self.cluster.folder) as file:
            file.write("\n---\n".join(json.dumps(document) for document in found))
            file.flush()
            return self.kubectl("apply", "-f", file.name)

    def create(self, manifest: Object) -> Object:
        """Create an object without kubectl; an unknown field is an error, as it is for kubectl. Raises Refused."""
        return self.cluster.api.create(plural(manifest["kind"]), self.name, manifest)

    # ---------------------------------------------------------------------------------------------------------- looking

    def run(self, name: str) -> Object:
        """Return a run, which is there."""
        found = self.cluster.api.get("workflowruns", self.name, name)
        assert found is not None, f"there is no run {name}"
        return found

    def has_run(self, name: str) -> bool:
        return self.cluster.api.get("workflowruns", self.name, name) is not None

    def workflow(self, name: str) -> Object:
        """Return a workflow, which is there."""
        found = self.cluster.api.get("workflows", self.name, name)
        assert found is not None, f"there is no workflow {name}"
        return found

    def jobs(self, run: str | None = None) -> list[Object]:
        """Return the Jobs of a run, or of all runs of the namespace."""
        found = self.cluster.api.list("jobs", self.name)
        return [job for job in found if run is None or job["metadata"]["annotations"]["backstay.dev/run-name"] == run]

    def events(self, name: str) -> list[Object]:
        """Return the Events about an object of the namespace."""
        return [event for event in self.cluster.api.list("events", self.name) if event["involvedObject"]["name"] == name]

    # ---------------------------------------------------------------------------------------------------------- waiting

    def ended(self, name: str, limit_seconds: float = 60) -> Object:
        """Wait until a run has ended, and return it."""
        return self.until(name, lambda run: condition(run, "Complete") == "True", limit_seconds)

    def until(self, name: str, shows: Any, limit_seconds: float = 60) -> Object:
        """Wait until `shows(run)` is true, and return the run."""

        def look() -> Object | None:
            found = self.run(name)
            return found if shows(found) else None

        return wait_for(look, limit_seconds, what=lambda: self._where(name))

    def reached(self, name: str, step: str, phase: str = "Running", limit_seconds: float = 60) -> Object:
        """Wait until a step of a run is in a phase, and return the run."""
        return self.until(name, lambda run: phase_of(run, step) == phase, limit_seconds)

    def gone(self, name: str, limit_seconds: float = 60) -> None:
        """Wait until a run is no longer there."""
        wait_for(lambda: not self.has_run(name), limit_seconds, what=lambda: self._where(name))

    def _where(self, name: str) -> str:
        run = self.run(name)
        return f"run {self.name}/{name} is here:\n{yaml.safe_dump({**run.get('status', {}), 'journal': '…'}, sort_keys=False)[:6000]}"


def documents(manifest: Object | Path | str) -> list[Object]:
    """Return the documents of a manifest: an object as it is, a file or YAML text parsed."""
    if isinstance(manifest, dict):
        return [manifest]
    text = manifest.read_text() if isinstance(manifest, Path) else manifest
    return [document for document in yaml.safe_load_all(text) if document]


def plural(kind: str) -> str:
    """Return the name of a kind in paths."""
    return f"{kind.lower()}s"


def phase_of(run: Object, path: str) -> str:
    """Return the phase of a step, or "" before it has begun."""
    return next((step["phase"] for step in run.get("status", {}).get("steps", ()) if step["path"] == path), "")


def step_of(run: Object, path: str) -> Object:
    """Return what the status says of a step that has begun."""
    return next(step for step in run["status"]["steps"] if step["path"] == path)


def condition(run: Object, kind: str) -> str:
    """Return the status of a condition, or "" where it is not there."""
    return (condition_of(run, kind) or {}).get("status", "")


def condition_of(thing: Object, kind: str) -> Object | None:
    """Return a condition, or None where it is not there."""
    return next((item for item in thing.get("status", {}).get("conditions") or () if item["type"] == kind), None)
